//! What a case expects of an output, and what it says where that is not so.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::cases::lists;
use odin::plugin::trial::Passed;

/// What is not named may be anything.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    #[serde(default, rename = "continue", deserialize_with = "named")]
    continues: Option<Value>,
    modified: Option<bool>,
    status: Option<u16>,
    url: Option<String>,
    body: Option<String>,
    json: Option<Value>,
    error: Option<String>,
    metadata: Option<Value>,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    log: Vec<String>,
    calls: Option<Vec<String>>,
    /// What of the body goes on, piece by piece.
    passed: Option<String>,
    /// How the plugin ends the exchange while the body passes.
    ended: Option<String>,
}

impl Expect {
    /// What is not as expected of a body that has passed.
    pub(crate) fn check_passed(&self, passed: &Result<Passed, String>) -> Vec<String> {
        let mut failures = Failures(Vec::new());
        let passed = match passed {
            Ok(passed) => passed,
            Err(failed) => {
                match &self.error {
                    Some(expected) if failed.contains(expected) => {}
                    _ => failures.0.push(format!("a call for a piece failed: {failed}")),
                }
                return failures.0;
            }
        };
        let body = String::from_utf8_lossy(&passed.bytes);
        if let Some(expected) = self.passed.as_ref().filter(|expected| **expected != body) {
            failures.differ("passed", &format!("{expected:?}"), &format!("{body:?}"));
        }
        let ended = super::splits::ended(passed).unwrap_or_else(|| "not".to_owned());
        match &self.ended {
            Some(expected) if !ended.starts_with(expected.as_str()) => {
                failures.differ("ended", expected, &ended);
            }
            None if passed.ended.is_some() && self.passed.is_some() => {
                failures.differ("ended", "not", &ended);
            }
            _ => {}
        }
        failures.0
    }
}

/// `null` is something else than nothing.
fn named<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

impl Expect {
    /// What is not as expected, each in words with both sides; empty if all is.
    pub(crate) fn check(
        &self,
        output: &Result<String, String>,
        log: &[String],
        calls: &[String],
    ) -> Vec<String> {
        let mut failures = Failures(Vec::new());
        match output {
            Ok(text) => self.check_output(text, &mut failures),
            // A gateway takes no output that reports an error: a case may expect just that.
            Err(failed) => match &self.error {
                Some(expected) if failed.contains(expected) => {}
                Some(expected) => failures.differ("error", expected, failed),
                None => failures.0.push(format!("the call failed: {failed}")),
            },
        }
        for expected in &self.log {
            if !log.iter().any(|line| line.contains(expected)) {
                failures.differ("log", &format!("a line with {expected:?}"), &format!("{log:?}"));
            }
        }
        if let Some(expected) = &self.calls
            && expected != calls
        {
            failures.differ("calls", &format!("{expected:?}"), &format!("{calls:?}"));
        }
        failures.0
    }

    fn check_output(&self, text: &str, failures: &mut Failures) {
        let output: Value = match serde_json::from_str(text) {
            Ok(output) => output,
            Err(error) => return failures.0.push(format!("the output is not JSON: {error}")),
        };
        let null = Value::Null;
        let message = ["request", "response"].iter().find_map(|name| output.get(*name));
        let of = |name: &str| message.and_then(|message| message.get(name)).unwrap_or(&null);
        let top = |name: &str| output.get(name).unwrap_or(&null);
        if let Some(expected) = &self.continues {
            // Both spellings are the ABI's.
            let got = output.get("continue").or_else(|| output.get("continue_")).unwrap_or(&null);
            failures.compare("continue", expected, got);
        }
        let compared = [
            ("modified", self.modified.map(Value::from), top("modified")),
            ("status", self.status.map(Value::from), of("statusCode")),
            ("url", self.url.clone().map(Value::from), of("url")),
            ("body", self.body.clone().map(Value::from), of("body")),
        ];
        for (name, expected, got) in compared {
            if let Some(expected) = expected {
                failures.compare(name, &expected, got);
            }
        }
        if let Some(expected) = &self.json {
            let body = of("body").as_str().unwrap_or("null");
            match serde_json::from_str::<Value>(body) {
                Ok(got) => failures.compare("json", expected, &got),
                Err(_) => failures.differ("json", &expected.to_string(), body),
            }
        }
        if let Some(expected) = &self.metadata {
            let empty = Value::Object(Map::new());
            let got = output.get("metadata").unwrap_or(&empty);
            failures.compare("metadata", expected, got);
        }
        if let Some(expected) = &self.error {
            let got = top("error").as_str().unwrap_or_default();
            if !got.contains(expected) {
                failures.differ("error", expected, got);
            }
        }
        self.check_headers(of("headers"), failures);
    }

    fn check_headers(&self, got: &Value, failures: &mut Failures) {
        for (name, expected) in lists(&self.headers) {
            let found = got.as_object().into_iter().flatten();
            let mut found = found.filter(|(other, _)| other.eq_ignore_ascii_case(&name));
            let got = found.next().map_or(Value::Null, |(_, value)| value.clone());
            // null: the header is not changed; an empty list: it is removed.
            let is_untouched = expected.get(0).is_some_and(Value::is_null);
            let expected = if is_untouched { Value::Null } else { expected };
            failures.compare(&format!("header {name}"), &expected, &got);
        }
    }
}

struct Failures(Vec<String>);

impl Failures {
    fn compare(&mut self, what: &str, expected: &Value, got: &Value) {
        if expected != got {
            let shown = |value: &Value| {
                serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
            };
            self.differ(what, &shown(expected), &shown(got));
        }
    }

    /// One line for each side, or the lines that differ where there are many.
    fn differ(&mut self, what: &str, expected: &str, got: &str) {
        let (ours, theirs): (Vec<_>, Vec<_>) = (expected.lines().collect(), got.lines().collect());
        if ours.len() <= 1 && theirs.len() <= 1 {
            self.0.push(format!("{what}: expected {expected}, got {got}"));
            return;
        }
        let same_start = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
        let same_end = ours[same_start..]
            .iter()
            .rev()
            .zip(theirs[same_start..].iter().rev())
            .take_while(|(a, b)| a == b)
            .count();
        let mut text = format!("{what} differs (- expected, + got):");
        for line in &ours[same_start..ours.len() - same_end] {
            text.push_str(&format!("\n  - {line}"));
        }
        for line in &theirs[same_start..theirs.len() - same_end] {
            text.push_str(&format!("\n  + {line}"));
        }
        self.0.push(text);
    }
}
