//! The one spelling of a path (RFC 3986 section 6.2.2).
//!
//! Percent-encoded unreserved characters are decoded, other escapes get upper-case digits, bytes
//! that may not stand in a path are encoded, `//` becomes `/`, dot segments are resolved. What
//! would read differently to different origins is refused: see [`normalise`].

use crate::error::Error;

/// Writes the normal form of `path` (which begins with `/`) to `out`, or refuses it:
/// an escape that is not two hexadecimal digits; a control character; `..` above the root; an
/// encoded `/` or `\`, which many origins decode and then split, unless `keeps_slashes`; a dot
/// segment with a parameter (`..;x`), which some origins take for `..`.
pub fn normalise(path: &str, keeps_slashes: bool, out: &mut String) -> Result<(), Error> {
    out.clear();
    if !path.starts_with('/') {
        return Err(Error::BadRequest("path does not begin with /"));
    }
    if is_normal(path.as_bytes()) {
        out.push_str(path);
        return Ok(());
    }
    resolve(path, keeps_slashes, out)
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
            other if is_path_byte(other) => Class::Plain,
            _ => Class::Other,
        };
        byte += 1;
    }
    classes
};

/// The closer look: see [`normalise`].
fn resolve(path: &str, keeps_slashes: bool, out: &mut String) -> Result<(), Error> {
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'/' => end_segment(out, false)?,
            b'%' => push_escaped(escape(&mut bytes)?, keeps_slashes, out)?,
            byte if is_path_byte(byte) => out.push(char::from(byte)),
            byte => push_escaped(byte, false, out)?,
        }
    }
    end_segment(out, true)
}

/// Called at each `/` and at the end: resolves the segment that stands at the end of `out`, and
/// makes `out` end in `/` unless the path does not.
fn end_segment(out: &mut String, is_last: bool) -> Result<(), Error> {
    let Some(slash) = out.rfind('/') else {
        out.push('/');
        return Ok(());
    };
    let name = out[slash + 1..].split(';').next().unwrap_or_default();
    let has_parameter = out[slash + 1..].len() > name.len();
    match name {
        "." | ".." if has_parameter => {
            return Err(Error::BadRequest("path has a dot segment with a parameter"));
        }
        "." => out.truncate(slash + 1),
        ".." => {
            let parent =
                out[..slash].rfind('/').ok_or(Error::BadRequest("path leads above the root"))?;
            out.truncate(parent + 1);
        }
        "" if !has_parameter => {}
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

fn push_escaped(byte: u8, keeps_slashes: bool, out: &mut String) -> Result<(), Error> {
    match byte {
        0..0x20 | 0x7f => return Err(Error::BadRequest("path has a control character")),
        b'/' | b'\\' if !keeps_slashes => {
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
        normalise(path, false, &mut out).map(|()| out)
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
            ("/a;v=1/b", "/a;v=1/b"),
            ("/.../x", "/.../x"),
            ("/a/;/b", "/a/;/b"),
            ("/a|b\"", "/a%7Cb%22"),
        ] {
            assert_eq!(normal(path).as_deref(), Ok(expected), "{path}");
            assert_eq!(normal(expected).as_deref(), Ok(expected), "{path} again");
        }
    }

    #[test]
    fn a_path_taken_at_a_glance_is_what_a_closer_look_makes_of_it() {
        const PIECES: [&str; 9] = ["/", ".", "a", "~x", ";", "%2F", "%41", " ", ":@"];
        for number in 0..PIECES.len().pow(5) {
            let pieces =
                (0..5).map(|place| PIECES[number / PIECES.len().pow(place) % PIECES.len()]);
            let path: String = std::iter::once("/").chain(pieces).collect();
            for keeps_slashes in [false, true] {
                let (mut fast, mut slow) = (String::new(), String::new());
                let outcome = normalise(&path, keeps_slashes, &mut fast);
                assert_eq!(outcome, resolve(&path, keeps_slashes, &mut slow), "{path}");
                assert!(outcome.is_err() || fast == slow, "{path}: {fast}, {slow}");
            }
        }
    }

    #[test]
    fn encoded_slashes_stay_encoded_where_they_are_kept() {
        let mut out = String::new();
        assert_eq!(normalise("/a%2fb/..%5c", true, &mut out), Ok(()));
        assert_eq!(out, "/a%2Fb/..%5C");
        assert!(normalise("/a\\b", true, &mut out).is_err());
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
            "a",
        ] {
            assert!(normal(path).is_err(), "{path}");
        }
    }
}
