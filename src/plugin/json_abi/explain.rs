//! Why an output is refused, in the words of its author: which key, what came, what is allowed.
//!
//! Reads the text once more and by itself, since the parsers tell of positions and types of Rust.
//! The text is short: what is large in an output has been taken out by `pieces`.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::super::failure::CallError;
use super::output::Members;
use crate::limits;

/// What `error`, which a parser has found, means.
pub(super) fn refusal(text: &str, error: &serde_json::Error) -> CallError {
    let top: &RawValue = match serde_json::from_str(text) {
        Ok(top) => top,
        Err(error) if error.is_eof() => {
            return CallError::bad_output(format!(
                "output is not JSON: it ends too soon, after {} bytes",
                text.len()
            ));
        }
        Err(error) => return CallError::bad_output(format!("output is not JSON: {error}")),
    };
    let found = members("", top, |key, path, value| match key {
        "continue" | "continue_" | "modified" => boolean(path, value),
        "error" => string(path, value),
        "metadata" => members(path, value, |_, _, _| None),
        "upstream" => members(path, value, |key, path, value| match key {
            "service" | "endpoint" | "hashKey" => string(path, value),
            _ => None,
        }),
        "response" | "request" => members(path, value, member_of_message),
        _ => None,
    });
    let why = found.unwrap_or_else(|| error.to_string());
    CallError::bad_output(format!("output is not what the ABI says: {why}"))
}

fn member_of_message(key: &str, path: &str, value: &RawValue) -> Option<String> {
    match key {
        "statusCode" => {
            let number: Result<f64, _> = serde_json::from_str(value.get());
            let is_whole = number.is_ok_and(|number| number.fract() == 0.0 && number.abs() < 1e6);
            (!is_whole).then(|| mistyped(path, value, STATUS))
        }
        "method" | "url" | "body" | "bodyEncoding" => string(path, value),
        "headers" => members_like(path, value, HEADERS, |_, path, value| values(path, value))
            .or_else(|| count(path, value)),
        _ => None,
    }
}

/// What `statusCode` may be.
pub(super) const STATUS: &str = "a whole number from 200 to 599";
const HEADERS: &str = "an object of header names, each with a list of strings or one string";

fn boolean(path: &str, value: &RawValue) -> Option<String> {
    let is_one = matches!(value.get(), "true" | "false" | "null");
    (!is_one).then(|| mistyped(path, value, "true or false"))
}

fn string(path: &str, value: &RawValue) -> Option<String> {
    match value.get().as_bytes().first() {
        Some(b'"') => half(path, value.get()),
        Some(b'n') => None,
        _ => Some(mistyped(path, value, "a string")),
    }
}

/// The values of one header.
fn values(path: &str, value: &RawValue) -> Option<String> {
    match value.get().as_bytes().first() {
        Some(b'"') => half(path, value.get()),
        Some(b'n') => None,
        Some(b'[') => {
            let list: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
            let mut places = list.iter().enumerate();
            places.find_map(|(place, item)| match item.get().as_bytes().first() {
                Some(b'"') => half(&format!("{path}[{place}]"), item.get()),
                _ => Some(mistyped(&format!("{path}[{place}]"), item, "a string")),
            })
        }
        _ => Some(mistyped(path, value, "a list of strings or one string")),
    }
}

fn count(path: &str, value: &RawValue) -> Option<String> {
    let Members(all) = serde_json::from_str(value.get()).ok()?;
    let most = limits::PLUGIN_HEADERS_MAX;
    let lists = all.iter().filter_map(|(_, list)| {
        serde_json::from_str::<Vec<&RawValue>>(list.get()).ok().map(|list| list.len())
    });
    let got = all.len().max(lists.sum());
    (got > most).then(|| format!("{path}: got {got} headers, limit is {most}"))
}

/// Looks at the members of an object: at each by itself, and whether one stands there twice.
fn members(
    path: &str,
    value: &RawValue,
    look: impl Fn(&str, &str, &RawValue) -> Option<String>,
) -> Option<String> {
    members_like(path, value, "an object", look)
}

fn members_like(
    path: &str,
    value: &RawValue,
    expected: &str,
    look: impl Fn(&str, &str, &RawValue) -> Option<String>,
) -> Option<String> {
    match value.get().as_bytes().first() {
        Some(b'{') => {}
        Some(b'n') => return None,
        _ => return Some(mistyped(path, value, expected)),
    }
    let Ok(Members(all)) = serde_json::from_str(value.get()) else {
        return Some(format!("{path}: a key holds {HALF}"));
    };
    let mut known: Vec<&str> = Vec::new();
    for (key, value) in &all {
        let below =
            if path.is_empty() { Cow::from(&**key) } else { format!("{path}.{key}").into() };
        if let Some(found) = look(key, &below, value) {
            return Some(found);
        }
        if KNOWN.contains(&&**key) {
            if known.contains(&&**key) {
                return Some(format!("{below} stands there twice"));
            }
            known.push(key);
        }
    }
    None
}

/// Keys that may not stand twice where they mean something.
const KNOWN: [&str; 16] = [
    "continue",
    "continue_",
    "modified",
    "response",
    "request",
    "error",
    "metadata",
    "upstream",
    "service",
    "endpoint",
    "hashKey",
    "statusCode",
    "method",
    "url",
    "headers",
    "body",
];

const HALF: &str = "half of a surrogate pair (\\ud800 to \\udfff), which is no character";

fn half(path: &str, text: &str) -> Option<String> {
    let is_whole = serde_json::from_str::<Cow<'_, str>>(text).is_ok();
    (!is_whole).then(|| format!("{path} holds {HALF}"))
}

fn mistyped(path: &str, value: &RawValue, expected: &str) -> String {
    format!("{path}: got {}, expected {expected}", shown(value.get()))
}

/// A value as an error shows it: not more of it than one takes in at a glance.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    const MOST: usize = 60;
    let cut = match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]).into(),
        None => Cow::from(text),
    };
    match text.as_bytes().first() {
        Some(b'{') => "an object".into(),
        Some(b'[') => "a list".into(),
        Some(b'"') => format!("the string {cut}").into(),
        Some(b't' | b'f') => format!("the boolean {cut}").into(),
        Some(b'n') => "null".into(),
        _ => format!("the number {cut}").into(),
    }
}

/// Whether every escaped surrogate of a JSON text has its other half. The text is known to be JSON,
/// so that an escape is whole and stands in a string.
pub(super) fn is_paired(text: &str) -> bool {
    let mut rest = text.as_bytes();
    while let Some(at) = memchr::memchr(b'\\', rest) {
        rest = &rest[at..];
        match (unit(rest), unit(rest.get(6..).unwrap_or_default())) {
            (Some(0xdc00..0xe000), _) => return false,
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => rest = &rest[12..],
            (Some(0xd800..0xdc00), _) => return false,
            (Some(_), _) => rest = &rest[6..],
            // The character that is escaped may be a backslash.
            (None, _) => rest = rest.get(2..).unwrap_or_default(),
        }
    }
    true
}

/// The number of an escape `\uXXXX` that begins here.
pub(super) fn unit(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, &digit| Some(unit * 16 + char::from(digit).to_digit(16)?))
}
