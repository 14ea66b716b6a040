//! Paths into JSON: `$`, `.name`, `['name']`, `[0]`, `[*]`, and no more of JSONPath.
//!
//! The part of RFC 9535 of which every step is plain: no filters, no recursion, no slices, so that
//! the cost of a path is bounded by its steps.

use std::fmt;

use crate::limits;

/// What a path looks like, for errors.
pub const FORM: &str = "a path such as $.items[*].id, made of $, .name, ['name'], [0] and [*]";

/// A path into JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    steps: Vec<Step>,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The member of an object.
    Name(String),
    /// One element of an array, counted from 0.
    Index(usize),
    /// Every element of an array.
    Each,
}

impl Path {
    /// Reads a whole text as a path.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (path, rest) = Self::parse_prefix(text)?;
        match rest {
            "" => Ok(path),
            rest => Err(format!("there is no step {rest:?}")),
        }
    }

    /// Reads the path that `text` begins with; what follows it.
    ///
    /// # Errors
    /// Why it begins with none.
    pub fn parse_prefix(text: &str) -> Result<(Self, &str), String> {
        let mut rest = text.strip_prefix('$').ok_or_else(|| "it begins with $".to_owned())?;
        let mut steps = Vec::new();
        while let Some((step, after)) = step(rest)? {
            let max = limits::AGGREGATION_PATH_STEPS_MAX;
            if steps.len() == max {
                return Err(format!("it has more than {max} steps"));
            }
            steps.push(step);
            rest = after;
        }
        Ok((Self { steps }, rest))
    }

    /// The steps, from the whole document on.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The steps up to the last `[*]`: what they lead to are the items that the path goes over.
    /// Empty for a path that leads to one place.
    pub fn items(&self) -> &[Step] {
        let last = self.steps.iter().rposition(|step| *step == Step::Each);
        &self.steps[..last.map_or(0, |last| last + 1)]
    }

    /// How many `[*]` there are.
    pub fn each_count(&self) -> usize {
        let is_each = |step: &&Step| **step == Step::Each;
        self.steps.iter().filter(is_each).count()
    }
}

/// The step that `text` begins with, and what follows; `None` if it begins with none.
fn step(text: &str) -> Result<Option<(Step, &str)>, String> {
    if let Some(rest) = text.strip_prefix('.') {
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        return match rest.split_at(end) {
            ("", _) => Err("a dot is followed by a name; odd names stand in ['...']".to_owned()),
            (name, rest) => Ok(Some((Step::Name(name.to_owned()), rest))),
        };
    }
    let Some(rest) = text.strip_prefix('[') else {
        return Ok(None);
    };
    let unclosed = || "a [ is not closed".to_owned();
    if let Some(quote @ ('\'' | '"')) = rest.chars().next() {
        let (name, rest) = rest[1..].split_once(quote).ok_or_else(unclosed)?;
        let rest = rest.strip_prefix(']').ok_or_else(unclosed)?;
        return Ok(Some((Step::Name(name.to_owned()), rest)));
    }
    let (inside, rest) = rest.split_once(']').ok_or_else(unclosed)?;
    if inside == "*" {
        return Ok(Some((Step::Each, rest)));
    }
    let is_number = !inside.is_empty() && inside.bytes().all(|byte| byte.is_ascii_digit());
    match inside.parse() {
        Ok(index) if is_number => Ok(Some((Step::Index(index), rest))),
        _ => Err(format!("[{inside}] is no step")),
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        self.steps.iter().try_for_each(|step| match step {
            Step::Name(name) if name.contains('\'') => write!(f, "[\"{name}\"]"),
            Step::Name(name) => write!(f, "['{name}']"),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Each => f.write_str("[*]"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Step {
        Step::Name(name.to_owned())
    }

    #[test]
    fn every_step_of_the_subset_is_read() {
        for (text, steps) in [
            ("$", vec![]),
            ("$.a", vec![name("a")]),
            ("$.a_b-c.d", vec![name("a_b-c"), name("d")]),
            ("$['a b']['it.s']", vec![name("a b"), name("it.s")]),
            ("$[\"it's\"]", vec![name("it's")]),
            ("$[0][12]", vec![Step::Index(0), Step::Index(12)]),
            ("$.items[*].id", vec![name("items"), Step::Each, name("id")]),
            ("$[*]", vec![Step::Each]),
            ("$.gr\u{f6}\u{df}e", vec![name("gr\u{f6}\u{df}e")]),
        ] {
            let path = Path::parse(text).unwrap();
            assert_eq!(path.steps(), steps, "{text}");
            assert_eq!(Path::parse(&path.to_string()), Ok(path), "{text} again");
        }
    }

    #[test]
    fn what_is_not_in_the_subset_is_refused() {
        for text in [
            "",
            "a",
            ".a",
            "$.",
            "$..a",
            "$a",
            "$[",
            "$[]",
            "$[-1]",
            "$[+1]",
            "$[1:2]",
            "$['a'",
            "$['a",
            "$[?(@.a)]",
            "$.a ",
            "$.*",
            "$[99999999999999999999999]",
            "$.a[*",
            "$['a'x]",
        ] {
            assert!(Path::parse(text).is_err(), "{text}");
        }
        let long = format!("${}", ".a".repeat(limits::AGGREGATION_PATH_STEPS_MAX + 1));
        assert!(Path::parse(&long).is_err());
    }

    #[test]
    fn items_are_what_the_last_wildcard_leads_to() {
        let path = Path::parse("$.orders[*].lines[*].product.id").unwrap();
        let items = Path::parse("$.orders[*].lines[*]").unwrap();
        assert_eq!(path.items(), items.steps());
        assert_eq!(path.each_count(), 2);
        assert!(Path::parse("$.a[0].b").unwrap().items().is_empty());
    }
}
