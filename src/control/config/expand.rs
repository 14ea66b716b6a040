//! `${NAME}` and `${NAME:-default}` in scalars.
//!
//! [`expand`] runs on text that YAML has been taken out of already, and what it yields is never
//! read as YAML again: a variable can't add a key, end a string or change a type.
//!
//! [`mask`] runs before YAML is read: in `{token: ${TOKEN}}` the variable's braces are YAML's own,
//! and users write that. It changes only the braces, one character for one, so places stay.

use std::borrow::Cow;

/// Looks up an environment variable.
pub(super) type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// What stands for a variable's `{` and `}` while YAML is read: noncharacters, which Unicode keeps
/// out of texts and YAML lets through.
const OPEN: char = '\u{fdd0}';
const CLOSE: char = '\u{fdd1}';

/// `text` with the braces of its variables masked; `None` if there is nothing to mask (or if it
/// holds the masks itself, so that unmasking would change it).
pub(super) fn mask(text: &str) -> Option<String> {
    if !text.contains("${") || text.contains([OPEN, CLOSE]) {
        return None;
    }
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let inner = &rest[at + 2..];
        out.push_str(&rest[..=at]);
        rest = match inner.split_once('}') {
            Some((variable, after)) if is_variable(variable) => {
                out.push(OPEN);
                out.push_str(variable);
                out.push(CLOSE);
                after
            }
            _ => {
                out.push('{');
                inner
            }
        };
    }
    out.push_str(rest);
    Some(out)
}

/// Undoes [`mask`] on a piece of the text.
pub(super) fn unmask(text: &str) -> String {
    text.replace(OPEN, "{").replace(CLOSE, "}")
}

/// Whether `NAME` or `NAME:-default` on one line.
fn is_variable(inner: &str) -> bool {
    let (name, default) = inner.split_once(":-").unwrap_or((inner, ""));
    is_name(name) && !default.contains(['{', '\n', '\r'])
}

/// `text` with its variables filled in, borrowed if it has none; `$${` gives `${`.
///
/// # Errors
/// What is wrong and what to do, for one variable that isn't set or isn't written right.
pub(super) fn expand<'t>(text: &'t str, env: Env<'_>) -> Result<Cow<'t, str>, String> {
    if !text.contains("${") {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if let Some(before) = rest[..at].strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let end = inner
            .find('}')
            .ok_or("\"${\" is never closed by \"}\"; write \"$${\" for the text \"${\"")?;
        out.push_str(&variable(&inner[..end], env)?);
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

/// The value of `NAME` or `NAME:-default`.
fn variable(inner: &str, env: Env<'_>) -> Result<String, String> {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    if !is_name(name) {
        return Err(format!(
            "{:?} is not a variable: a name is letters, digits and \"_\" and may be followed by \
             \":-\" and a default; write \"$${{\" for the text \"${{\"",
            format!("${{{inner}}}")
        ));
    }
    if default.is_some_and(|default| default.contains("${")) {
        return Err(format!(
            "the default of ${{{name}}} holds another variable; a default is plain text"
        ));
    }
    match (env(name), default) {
        // As in a shell, ":-" stands in for an empty variable too.
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!(
            "environment variable {name} is not set; set it, or give a default: \
             ${{{name}:-default}}"
        )),
    }
}

fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.first().is_some_and(|first| !first.is_ascii_digit())
        && bytes.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("db".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICKY" => Some("${HOST}: [x]\n- y".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_defaults_and_escapes_expand() {
        for (text, want) in [
            ("plain $5 $HOST {x}", "plain $5 $HOST {x}"),
            ("${HOST}", "db"),
            ("http://${HOST}:${PORT:-80}/", "http://db:80/"),
            ("${EMPTY}|${EMPTY:-e}|${NONE:-}", "|e|"),
            ("${HOST:-x:-y}", "db"),
            ("${NONE:-x:-y}", "x:-y"),
            ("$${HOST} $$${HOST}", "${HOST} $${HOST}"),
            ("caf\u{e9} ${HOST} \u{1f980}", "caf\u{e9} db \u{1f980}"),
        ] {
            assert_eq!(expand(text, &env).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn masking_changes_the_braces_of_variables_only_and_can_be_undone() {
        for (text, masked) in [
            ("{a: ${B}}", Some("{a: $<B>}")),
            ("${A:-x y}${B}", Some("$<A:-x y>$<B>")),
            ("$${A} ${", Some("$$<A> ${")),
            ("${1} ${a b} ${A:-${B}}", Some("${1} ${a b} ${A:-$<B>}")),
            ("${A:-x\n}", Some("${A:-x\n}")),
            ("{a: $b}", None),
            ("\u{fdd0}${A}", None),
        ] {
            let got = mask(text);
            let shown = got.as_ref().map(|got| got.replace(OPEN, "<").replace(CLOSE, ">"));
            assert_eq!(shown.as_deref(), masked);
            if let Some(got) = got {
                assert_eq!(unmask(&got), text);
                assert_eq!(got.chars().count(), text.chars().count());
            }
        }
    }

    #[test]
    fn a_value_is_not_expanded_again() {
        assert_eq!(expand("${TRICKY}", &env).unwrap(), "${HOST}: [x]\n- y");
    }

    #[test]
    fn what_is_no_variable_is_refused_with_the_way_out() {
        for (text, want) in [
            ("${NONE}", "NONE is not set; set it, or give a default"),
            ("${HOST", "never closed"),
            ("a ${} b", "is not a variable"),
            ("${1X}", "is not a variable"),
            ("${A-B}", "is not a variable"),
            ("${A:-${HOST}}", "a default is plain text"),
        ] {
            let error = expand(text, &env).unwrap_err();
            assert!(error.contains(want), "{text}: {error}");
        }
    }
}
