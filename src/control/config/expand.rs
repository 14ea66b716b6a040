//! `${NAME}`, `${file:PATH}`, and either with `:-default`, in scalars.
//!
//! [`expand`] runs on text that YAML has been taken out of already, and what it yields is never
//! read as YAML again: a variable can't add a key, end a string or change a type.
//!
//! [`mask`] runs before YAML is read: in `{token: ${TOKEN}}` the variable's braces are YAML's own,
//! and users write that. It changes only the braces, one character for one, so places stay.

use std::borrow::Cow;
use std::path::Path;

use super::value;
use crate::files;
use crate::limits::SECRET_FILE_BYTES_MAX;

/// Looks up an environment variable.
pub(super) type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Looks up what stands in `${...}` before a default: the name of an environment variable, or
/// [`FILE`] and a path. `None` if there is no such thing; an error says what is wrong with it.
pub(super) type LookUp<'e> = &'e dyn Fn(&str) -> Result<Option<String>, String>;

/// What a path begins with in the place of a name.
pub(super) const FILE: &str = "file:";

/// What stands for a variable's `{` and `}` while YAML is read: noncharacters, which Unicode keeps
/// out of texts and YAML lets through.
const OPEN: char = '\u{fdd0}';
const CLOSE: char = '\u{fdd1}';

/// `text` with the braces of its variables masked; `None` if there is nothing to mask (or if it
/// holds the masks itself, so that unmasking would change it).
pub(in crate::control) fn mask(text: &str) -> Option<String> {
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
pub(in crate::control) fn unmask(text: &str) -> String {
    text.replace(OPEN, "{").replace(CLOSE, "}")
}

/// Whether `NAME` or `NAME:-default` on one line.
fn is_variable(inner: &str) -> bool {
    let (name, default) = inner.split_once(":-").unwrap_or((inner, ""));
    let is_path = |path: &str| !path.is_empty() && !path.contains(['{', '\n', '\r']);
    (is_name(name) || name.strip_prefix(FILE).is_some_and(is_path))
        && !default.contains(['{', '\n', '\r'])
}

/// `text` with its variables filled in, borrowed if it has none; `$${` gives `${`.
///
/// # Errors
/// What is wrong and what to do, for one variable that isn't set or isn't written right.
pub(super) fn expand<'t>(text: &'t str, look_up: LookUp<'_>) -> Result<Cow<'t, str>, String> {
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
        out.push_str(&variable(&inner[..end], look_up)?);
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

/// The value of `NAME`, `file:PATH`, or either with `:-default`.
fn variable(inner: &str, look_up: LookUp<'_>) -> Result<String, String> {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let file = name.strip_prefix(FILE);
    if !is_name(name) && file.is_none_or(str::is_empty) {
        return Err(format!(
            "{:?} is not a variable: a name is letters, digits and \"_\" (or file: and a path) and \
             may be followed by \":-\" and a default; write \"$${{\" for the text \"${{\"",
            format!("${{{inner}}}")
        ));
    }
    if default.is_some_and(|default| default.contains("${")) {
        return Err(format!(
            "the default of ${{{name}}} holds another variable; a default is plain text"
        ));
    }
    match (look_up(name)?, default) {
        // As in a shell, ":-" stands in for an empty variable too.
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) if file.is_some() => Err(format!(
            "the file {} is not there; write it, or give a default: ${{{name}:-default}}",
            value::quote(file.unwrap_or_default())
        )),
        (None, None) => Err(format!(
            "environment variable {name} is not set; set it, or give a default: \
             ${{{name}:-default}}"
        )),
    }
}

/// What the file at `path` holds, without the line's end that editors and `echo` put behind it;
/// `None` if there is no such file.
///
/// # Errors
/// It can't be read, is empty or is no text: in words, without what it holds.
pub(super) fn of_file(path: &str) -> Result<Option<String>, String> {
    let refuse = |why: &str| format!("the file {} {why}", value::quote(path));
    if Path::new(path).try_exists().is_ok_and(|exists| !exists) {
        return Ok(None);
    }
    let bytes = files::read(Path::new(path), SECRET_FILE_BYTES_MAX).map_err(|why| refuse(&why))?;
    let text = String::from_utf8(bytes).map_err(|_| refuse("is not UTF-8; save it as UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    // A secret that is nothing would be none, and what it guards open.
    if text.is_empty() {
        return Err(refuse("is empty; write the value into it"));
    }
    Ok(Some(text.to_owned()))
}

fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.first().is_some_and(|first| !first.is_ascii_digit())
        && bytes.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Result<Option<String>, String> {
        Ok(match name {
            "HOST" => Some("db".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICKY" => Some("${HOST}: [x]\n- y".to_owned()),
            "file:/run/secrets/a:b" => Some("s3cret".to_owned()),
            "file:/bad" => return Err("the file \"/bad\" is bad".to_owned()),
            _ => None,
        })
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
            ("x${file:/run/secrets/a:b}y", "xs3crety"),
            ("${file:/none:-d}|${file:/none:-}", "d|"),
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
            ("{a: ${file:/run/x}}", Some("{a: $<file:/run/x>}")),
            ("{a: ${file:}}", Some("{a: ${file:}}")),
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
            ("${file:}", "is not a variable"),
            ("${file:/none}", "the file \"/none\" is not there; write it, or give a default"),
            ("${file:/bad:-x}", "is bad"),
        ] {
            let error = expand(text, &env).unwrap_err();
            assert!(error.contains(want), "{text}: {error}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "tests are no workers")]
    fn a_files_text_is_taken_without_its_last_line_end() {
        let path = std::env::temp_dir().join(format!("odin-secret-{}", std::process::id()));
        let name = path.to_str().unwrap();
        for (bytes, want) in [
            (&b"s3cret"[..], Ok("s3cret")),
            (b"s3cret\n", Ok("s3cret")),
            (b"s3cret\r\n", Ok("s3cret")),
            (b" s3 cret \n\n", Ok(" s3 cret \n")),
            (b"", Err("is empty; write the value into it")),
            (b"\n", Err("is empty")),
            (b"s3cret\xff", Err("is not UTF-8")),
            (&[b'x'; SECRET_FILE_BYTES_MAX + 1], Err("is larger than")),
        ] {
            std::fs::write(&path, bytes).unwrap();
            match (of_file(name), want) {
                (Ok(Some(got)), Ok(want)) => assert_eq!(got, want),
                (Err(got), Err(want)) => {
                    assert!(got.contains(want) && !got.contains("s3cret"), "{got}");
                }
                (got, want) => panic!("{got:?}, not {want:?}"),
            }
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(of_file(name), Ok(None));
        assert!(of_file("/").unwrap_err().contains("is not a regular file"));
        assert!(of_file("/proc/self/environ").unwrap_err().contains("is never read"));
    }
}
