//! The one spelling of a path (RFC 3986 section 6.2.2).
//!
//! Percent-encoded unreserved characters are decoded, other escapes get upper-case digits, bytes
//! that may not stand in a path are encoded, `//` becomes `/`, dot segments are resolved. What
//! would read differently to different origins is refused: see [`normalise`].

use crate::error::Error;

/// What a path may have in it although origins read it in different ways. By default nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// An encoded `/` or `\`, which many origins decode and then split.
    pub keeps_slashes: bool,
    /// Parameters: what stands behind a `;` in a segment.
    pub parameters: Parameters,
    /// Escapes of bytes that are not UTF-8, the overlong forms of ASCII (`%C0%AE`) among them.
    pub keeps_non_utf8: bool,
}

impl Rules {
    /// Those for a path that the operator has written: all of it is meant.
    pub const OWN: Self =
        Self { keeps_slashes: true, parameters: Parameters::Keep, keeps_non_utf8: true };
}

/// What becomes of a path with parameters (`/a;v=1/b`). Servlet containers take them off before
/// they look for what serves the path; others see a part of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parameters {
    /// It is refused, and so is one with an encoded `;`, which some decode first.
    #[default]
    Reject,
    /// They are taken off: for matching and for the origin. An encoded `;` is refused.
    Strip,
    /// They stay, and are matched as they stand.
    Keep,
}

/// Writes the normal form of `path` (which begins with `/`) to `out`, or refuses it: an escape that
/// is not two hexadecimal digits; a control character; `..` above the root; what `rules` do not
/// allow; and whatever they say, a dot segment with a parameter (`..;x`), which some origins take
/// for `..`.
pub fn normalise(path: &str, rules: Rules, out: &mut String) -> Result<(), Error> {
    out.clear();
    if !path.starts_with('/') {
        return Err(Error::BadRequest("path does not begin with /"));
    }
    if is_normal(path.as_bytes()) {
        out.push_str(path);
        return Ok(());
    }
    resolve(path, rules, out)
}

/// Whether a path that begins with `/` is its own normal form, as nearly all are. Not that every
/// one of those is seen: a segment that begins with a dot needs a closer look.
fn is_normal(path: &[u8]) -> bool {
    let mut after_slash = false;
    for &byte in path {
        let class = CLASSES[usize::from(byte)];
        if class == Class::Other || after_slash && class != Class::Plain {
            return false;
        }
        after_slash = class == Class::Slash;
    }
    true
}

/// What a byte can be to [`is_normal`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Plain,
    Slash,
    Dot,
    Other,
}

static CLASSES: [Class; 256] = {
    let mut classes = [Class::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'/' => Class::Slash,
            b'.' => Class::Dot,
            b';' => Class::Other,
            other if is_path_byte(other) => Class::Plain,
            _ => Class::Other,
        };
        byte += 1;
    }
    classes
};

/// The closer look: see [`normalise`].
fn resolve(path: &str, rules: Rules, out: &mut String) -> Result<(), Error> {
    let mut bytes = path.bytes();
    let mut text = Utf8::default();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'/' => {
                text.end(rules)?;
                end_segment(rules, out, false)?;
                continue;
            }
            b';' if rules.parameters == Parameters::Reject => {
                return Err(Error::BadRequest(PARAMETER));
            }
            b'%' => {
                let byte = escape(&mut bytes)?;
                push_escaped(byte, rules, out)?;
                byte
            }
            byte if is_path_byte(byte) => {
                out.push(char::from(byte));
                byte
            }
            byte => {
                push_escaped(byte, Rules { keeps_slashes: false, ..rules }, out)?;
                byte
            }
        };
        text.take(byte, rules)?;
    }
    text.end(rules)?;
    end_segment(rules, out, true)
}

const PARAMETER: &str = "path has a parameter (a ; or %3B), which origins read in different ways; \
                         server.pathParameters says what becomes of it";
const NOT_UTF8: &str = "path has an escape that is not UTF-8 (server.nonUtf8Paths)";

/// The bytes of a path as they come by, escapes decoded: whether they are UTF-8.
#[derive(Default)]
struct Utf8 {
    /// Those of a character that is not complete yet.
    part: [u8; 4],
    length: usize,
}

impl Utf8 {
    fn take(&mut self, byte: u8, rules: Rules) -> Result<(), Error> {
        if rules.keeps_non_utf8 {
            return Ok(());
        }
        if byte.is_ascii() {
            return self.end(rules);
        }
        // Never more than four: the standard library knows after each whether it can go on.
        self.part[self.length] = byte;
        self.length += 1;
        match std::str::from_utf8(&self.part[..self.length]) {
            Ok(_) => self.length = 0,
            Err(error) if error.error_len().is_none() => {}
            Err(_) => return Err(Error::BadRequest(NOT_UTF8)),
        }
        Ok(())
    }

    /// Called where no character can go on.
    fn end(&self, rules: Rules) -> Result<(), Error> {
        match self.length == 0 || rules.keeps_non_utf8 {
            true => Ok(()),
            false => Err(Error::BadRequest(NOT_UTF8)),
        }
    }
}

/// Called at each `/` and at the end: resolves the segment that stands at the end of `out`, and
/// makes `out` end in `/` unless the path does not.
fn end_segment(rules: Rules, out: &mut String, is_last: bool) -> Result<(), Error> {
    let Some(slash) = out.rfind('/') else {
        out.push('/');
        return Ok(());
    };
    let segment = &out[slash + 1..];
    let after_dots = segment.trim_start_matches('.');
    let has_dots = matches!(segment.len() - after_dots.len(), 1 | 2);
    if has_dots && (after_dots.starts_with(';') || after_dots.starts_with("%3B")) {
        return Err(Error::BadRequest("path has a dot segment with a parameter"));
    }
    if rules.parameters == Parameters::Strip
        && let Some(name) = segment.find(';')
    {
        out.truncate(slash + 1 + name);
    }
    match &out[slash + 1..] {
        "." => out.truncate(slash + 1),
        ".." => {
            let parent =
                out[..slash].rfind('/').ok_or(Error::BadRequest("path leads above the root"))?;
            out.truncate(parent + 1);
        }
        "" => {}
        _ if is_last => {}
        _ => out.push('/'),
    }
    Ok(())
}

/// The byte of the escape whose `%` has been read.
fn escape(bytes: &mut impl Iterator<Item = u8>) -> Result<u8, Error> {
    let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
    match (digit(), digit()) {
        (Some(high), Some(low)) => Ok((high << 4 | low) as u8),
        _ => Err(Error::BadRequest("path has a malformed percent escape")),
    }
}

fn push_escaped(byte: u8, rules: Rules, out: &mut String) -> Result<(), Error> {
    match byte {
        0..0x20 | 0x7f => return Err(Error::BadRequest("path has a control character")),
        b';' if rules.parameters != Parameters::Keep => {
            return Err(Error::BadRequest(PARAMETER));
        }
        b'/' | b'\\' if !rules.keeps_slashes => {
            return Err(Error::BadRequest("path has an encoded or backward slash"));
        }
        byte if is_unreserved(byte) => out.push(char::from(byte)),
        byte => {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    Ok(())
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `pchar` of RFC 3986 section 3.3 but for `%`.
const fn is_path_byte(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'!' | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(path: &str) -> Result<String, Error> {
        let mut out = String::new();
        normalise(path, Rules::default(), &mut out).map(|()| out)
    }

    fn with(parameters: Parameters, path: &str) -> Result<String, Error> {
        let mut out = String::new();
        normalise(path, Rules { parameters, ..Rules::default() }, &mut out).map(|()| out)
    }

    #[test]
    fn every_spelling_of_a_path_has_one_normal_form() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("//a///b", "/a/b"),
            ("/a/./b/.", "/a/b/"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/%2e%2E/b", "/b"),
            ("/%61pi/%7euser", "/api/~user"),
            ("/a%2cb%3f", "/a%2Cb%3F"),
            ("/a b", "/a%20b"),
            ("/caf\u{e9}", "/caf%C3%A9"),
            ("/.../x", "/.../x"),
            ("/%f0%9f%a6%80", "/%F0%9F%A6%80"),
            ("/a|b\"", "/a%7Cb%22"),
        ] {
            assert_eq!(normal(path).as_deref(), Ok(expected), "{path}");
            assert_eq!(normal(expected).as_deref(), Ok(expected), "{path} again");
        }
    }

    #[test]
    fn a_path_taken_at_a_glance_is_what_a_closer_look_makes_of_it() {
        const PIECES: [&str; 10] = ["/", ".", "a", "~x", ";", "%2F", "%41", " ", ":@", "%C3"];
        for number in 0..PIECES.len().pow(5) {
            let pieces =
                (0..5).map(|place| PIECES[number / PIECES.len().pow(place) % PIECES.len()]);
            let path: String = std::iter::once("/").chain(pieces).collect();
            let strip = Rules { parameters: Parameters::Strip, ..Rules::default() };
            for rules in [Rules::default(), strip, Rules::OWN] {
                let (mut fast, mut slow) = (String::new(), String::new());
                let outcome = normalise(&path, rules, &mut fast);
                assert_eq!(outcome, resolve(&path, rules, &mut slow), "{path}");
                assert!(outcome.is_err() || fast == slow, "{path}: {fast}, {slow}");
            }
        }
    }

    #[test]
    fn encoded_slashes_stay_encoded_where_they_are_kept() {
        let mut out = String::new();
        let rules = Rules { keeps_slashes: true, ..Rules::default() };
        assert_eq!(normalise("/a%2fb/..%5c", rules, &mut out), Ok(()));
        assert_eq!(out, "/a%2Fb/..%5C");
        assert!(normalise("/a\\b", rules, &mut out).is_err());
    }

    #[test]
    fn parameters_are_refused_taken_off_or_matched_as_they_stand() {
        for (path, stripped, kept) in [
            ("/a;v=1/b", "/a/b", "/a;v=1/b"),
            ("/a/b;", "/a/b", "/a/b;"),
            ("/a;x/;y/b;z", "/a/b", "/a;x/;y/b;z"),
            ("/;/a", "/a", "/;/a"),
            ("/a;b%41c;d/%7e", "/a/~", "/a;bAc;d/~"),
            ("/a;x/../b", "/b", "/b"),
            ("/...;x/b", "/.../b", "/...;x/b"),
        ] {
            assert!(normal(path).is_err(), "{path}");
            assert_eq!(with(Parameters::Strip, path).as_deref(), Ok(stripped), "{path}");
            assert_eq!(with(Parameters::Keep, path).as_deref(), Ok(kept), "{path}");
        }
        assert_eq!(with(Parameters::Keep, "/a%3bv=1").as_deref(), Ok("/a%3Bv=1"));
        for parameters in [Parameters::Reject, Parameters::Strip] {
            assert!(with(parameters, "/a%3bv=1").is_err(), "an origin may decode it first");
        }
        for path in ["/a/..;/b", "/a/.;x/b", "/%2e%2e;/b", "/a/..%3bx/b", "/a/.%2E%3b", "/a;%2fb"] {
            for parameters in [Parameters::Reject, Parameters::Strip, Parameters::Keep] {
                assert!(with(parameters, path).is_err(), "{path}");
            }
        }
    }

    #[test]
    fn escapes_that_are_no_utf_8_are_refused_unless_they_are_kept() {
        for path in [
            "/%ff",
            "/a%80",
            "/%c0%ae%c0%ae/b",
            "/%c0%af",
            "/%e0%80%af",
            "/%f0%80%80%af",
            "/%ed%a0%80",
            "/%f4%90%80%80",
            "/%c3",
            "/%c3/%a9",
            "/%c3x",
            "/%e2%82%c3%a9",
            "/%c3%41",
            "/%c3.",
        ] {
            assert_eq!(normal(path), Err(Error::BadRequest(NOT_UTF8)), "{path}");
            let mut out = String::new();
            let rules = Rules { keeps_non_utf8: true, ..Rules::default() };
            assert_eq!(normalise(path, rules, &mut out), Ok(()), "{path}");
        }
    }

    #[test]
    fn what_origins_could_read_differently_is_refused() {
        for path in [
            "/..",
            "/a/../..",
            "/%2e%2e/x",
            "/a%2fb",
            "/a%5Cb",
            "/a\\b",
            "/a%00",
            "/a%",
            "/a%g0",
            "/a%2",
            "/a%0ab",
            "/a%7f",
            "/a/..;/b",
            "/a/.;x/b",
            "/%2e%2e;/b",
            "/api/admin;x/users",
            "/api/admin;",
            "/%c0%ae%c0%ae/x",
            "a",
        ] {
            assert!(normal(path).is_err(), "{path}");
        }
    }
}
