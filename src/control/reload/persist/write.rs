//! JSON values as YAML, as a person would write them: blocks with two spaces a level, words bare
//! where nothing can take them for something else.

use std::fmt::Write as _;

use serde_json::Value;

/// A value that fits beside its key; `None` for one that goes below it, in lines of its own. Within
/// brackets everything fits.
pub(super) fn inline(value: &Value, is_flow: bool) -> Option<String> {
    match value {
        Value::String(text) => Some(string(text)),
        Value::Array(items) if !items.is_empty() => is_flow.then(|| {
            let items: Vec<_> = items.iter().filter_map(|item| inline(item, true)).collect();
            format!("[{}]", items.join(", "))
        }),
        Value::Object(entries) if !entries.is_empty() => is_flow.then(|| {
            let pairs: Vec<_> = entries.iter().map(|(key, value)| pair(key, value, None)).collect();
            format!("{{{}}}", pairs.join(", "))
        }),
        // Numbers with all their digits, `null`, booleans, `[]` and `{}`: as in JSON.
        other => Some(other.to_string()),
    }
}

/// A key with its value. The lines below it stand two columns deeper than `column`; within brackets
/// (`None`) there are none.
pub(super) fn pair(key: &str, value: &Value, column: Option<usize>) -> String {
    let key = string(key);
    match (inline(value, column.is_none()), column) {
        (None, Some(column)) => format!("{key}:\n{}", block(value, column + 2)),
        (new, _) => format!("{key}: {}", new.unwrap_or_default()),
    }
}

/// A list or map in lines, the first indented as all of them and none with its line end.
pub(super) fn block(value: &Value, column: usize) -> String {
    let indent = " ".repeat(column);
    let mut out = String::new();
    let mut line = |text: String| {
        let end = if out.is_empty() { "" } else { "\n" };
        let written = write!(out, "{end}{indent}{text}");
        debug_assert!(written.is_ok(), "text in memory");
    };
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                line(pair(key, value, Some(column)));
            }
        }
        Value::Array(items) => {
            for item in items {
                // The first line of what is nested stands beside the dash.
                let text = inline(item, false)
                    .unwrap_or_else(|| block(item, column + 2).trim_start().to_owned());
                line(format!("- {text}"));
            }
        }
        scalar => line(inline(scalar, false).unwrap_or_default()),
    }
    out
}

/// Bare where that can be nothing but this text, in any version of YAML; else as in JSON.
fn string(text: &str) -> String {
    let is_word =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/');
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    // What YAML 1.1 takes for a boolean or nothing.
    let taken = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_taken = taken.iter().any(|word| text.eq_ignore_ascii_case(word));
    if begins && text.bytes().all(is_word) && !is_taken {
        return text.to_owned();
    }
    Value::from(text).to_string()
}
