//! When a dependency is called: `$.a == literal`, `$.a != literal`, or `$.a` for presence.

use std::fmt;
use std::ops::ControlFlow;

use serde_json::Value;

use super::json;
use super::path::{FORM, Path};

/// A condition over a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    path: Path,
    test: Test,
}

/// What is asked of that to which the path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    /// Something is there that is not null.
    Present,
    /// One of what is there is this.
    Is(Value),
    /// None of what is there is this; also where nothing is there.
    IsNot(Value),
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.test {
            Test::Present => write!(f, "{path}"),
            Test::Is(value) => write!(f, "{path} == {value}"),
            Test::IsNot(value) => write!(f, "{path} != {value}"),
        }
    }
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (path, rest) = Path::parse_prefix(text.trim()).map_err(|why| form(&why))?;
        let rest = rest.trim_start();
        let test = if rest.is_empty() {
            Test::Present
        } else if let Some(value) = rest.strip_prefix("==") {
            Test::Is(literal(value.trim())?)
        } else if let Some(value) = rest.strip_prefix("!=") {
            Test::IsNot(literal(value.trim())?)
        } else {
            return Err(form(&format!("nothing is known of {rest:?}")));
        };
        Ok(Self { path, test })
    }

    /// Whether it holds for the JSON text `document`.
    pub fn holds(&self, document: &str) -> bool {
        match &self.test {
            Test::Present => self.finds(document, &|found| found != "null"),
            Test::Is(value) => self.finds(document, &|found| is_equal(found, value)),
            Test::IsNot(value) => !self.finds(document, &|found| is_equal(found, value)),
        }
    }

    fn finds(&self, document: &str, is_it: &dyn Fn(&str) -> bool) -> bool {
        let mut has_found = false;
        json::select(document, self.path.steps(), &mut |_, found| {
            has_found |= is_it(found);
            if has_found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        has_found
    }
}

fn form(why: &str) -> String {
    format!(
        "a condition such as $.a == true, $.a != 'x' or $.a (it is there); \
         the left side is {FORM}; {why}"
    )
}

/// The right side: a text in either kind of quotes, a number, true, false or null.
fn literal(text: &str) -> Result<Value, String> {
    let quoted = text
        .strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''))
        .filter(|inside| !inside.contains('\''));
    if let Some(inside) = quoted {
        return Ok(Value::String(inside.to_owned()));
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(_) | Value::Array(_)) | Err(_) => {
            Err(form(&format!("{text:?} is no text in quotes, number, true, false or null")))
        }
        Ok(value) => Ok(value),
    }
}

/// Whether the JSON text `found` is `value`; 1, 1.0 and 1e0 are one number.
fn is_equal(found: &str, value: &Value) -> bool {
    if found.starts_with(['{', '[']) {
        return false;
    }
    let Ok(found) = serde_json::from_str::<Value>(found) else {
        return false;
    };
    match (&found, value) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| a == b)
        }
        (found, value) => found == value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operator_holds_when_it_should() {
        let document = r#"{"a":true,"n":1.0,"s":"x","z":null,"l":[{"k":"p"},{"k":"q"}],"o":{}}"#;
        for (condition, holds) in [
            ("$.a == true", true),
            ("$.a==true", true),
            ("$.a == false", false),
            ("$.a != true", false),
            ("$.a != false", true),
            ("$.n == 1", true),
            ("$.n == '1'", false),
            ("$.s == 'x'", true),
            ("$.s == \"x\"", true),
            ("$.s != \"y\"", true),
            ("$.z == null", true),
            ("$.none == null", false),
            ("$.none != 1", true),
            ("$.a", true),
            ("  $['a']  ", true),
            ("$.z", false),
            ("$.none", false),
            ("$.o", true),
            ("$.o == null", false),
            ("$.l[*].k == 'q'", true),
            ("$.l[*].k != 'q'", false),
            ("$.l[1].k == 'q'", true),
            ("$.l[*].none", false),
        ] {
            let parsed = Condition::parse(condition).unwrap();
            assert_eq!(parsed.holds(document), holds, "{condition}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for text in [
            "",
            "a == 1",
            "$.a = 1",
            "$.a === 1",
            "$.a ==",
            "$.a == x",
            "$.a == {}",
            "$.a > 1",
            "$.a == 1 && $.b",
            "$.a == 'x",
            "$.a == 'it's'",
        ] {
            assert!(Condition::parse(text).is_err(), "{text}");
        }
    }
}
