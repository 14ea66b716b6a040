//! The path of a call: as it is, or with `{names}` that values are put into.
//!
//! A value comes out of a response, that is from anyone. It is percent-encoded to the last byte
//! that could mean something, so that it stays within the segment (or the query value) it is put
//! into.

use std::fmt;

use crate::limits::{AGGREGATION_TEXT_BYTES_MAX, URI_BYTES_MAX};
use crate::route::path::{Rules, normalise};

/// A path, with its query if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Slot(String),
}

/// Why a value cannot stand in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It is empty: another resource would be asked for.
    Empty,
    /// It would be a dot segment, which no encoding hides.
    DotSegment,
    /// The path would be longer than a request target may be.
    TooLong,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the value for its path is empty"),
            Self::DotSegment => f.write_str("the value for its path is a dot segment"),
            Self::TooLong => write!(f, "its path would be over {URI_BYTES_MAX} bytes"),
        }
    }
}

impl Template {
    /// Reads a path.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let max = AGGREGATION_TEXT_BYTES_MAX;
        if text.len() > max {
            return Err(format!("it has at most {max} bytes"));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) =
                after.split_once('}').ok_or_else(|| "a { is not closed".to_owned())?;
            check_slot(name)?;
            push_text(&mut parts, before)?;
            parts.push(Part::Slot(name.to_owned()));
            rest = after;
        }
        push_text(&mut parts, rest)?;
        let template = Self { parts };
        template.check()?;
        Ok(template)
    }

    /// The names that it has room for.
    pub fn slots(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Slot(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The path with the values of all names, each encoded.
    ///
    /// # Errors
    /// A value cannot stand where it would.
    pub fn fill<'v>(&self, value: &dyn Fn(&str) -> &'v str) -> Result<String, Unfit> {
        let mut path = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => path.push_str(text),
                Part::Slot(name) => match value(name) {
                    "" => return Err(Unfit::Empty),
                    value => encode(value, &mut path),
                },
            }
        }
        if path.len() > URI_BYTES_MAX {
            return Err(Unfit::TooLong);
        }
        let end = path.find('?').unwrap_or(path.len());
        let is_dots = |segment: &str| {
            let name = segment.split(';').next().unwrap_or_default();
            matches!(name, "." | "..")
        };
        if path[..end].split('/').any(is_dots) {
            return Err(Unfit::DotSegment);
        }
        Ok(path)
    }

    /// What stands in the file must be in the form that requests' paths are brought to: then what
    /// comes of it is, too.
    fn check(&self) -> Result<(), String> {
        let not_normal =
            || "it is written as requests' paths are: no //, ., .., needless %".to_owned();
        let sample = self.fill(&|_| "x").map_err(|_| not_normal())?;
        if !sample.starts_with('/') {
            return Err("it begins with \"/\"".to_owned());
        }
        let is_target_byte = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        if !sample.bytes().all(is_target_byte) {
            return Err("it has no fragment, no space and nothing but ASCII".to_owned());
        }
        let path = sample.split('?').next().unwrap_or_default();
        let mut normal = String::new();
        match normalise(path, Rules::OWN, &mut normal) {
            Ok(()) if normal == path => Ok(()),
            Ok(()) => Err(not_normal()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn check_slot(name: &str) -> Result<(), String> {
    let is_slot_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !name.is_empty() && name.bytes().all(is_slot_byte) {
        return Ok(());
    }
    Err(format!("{{{name}}} is no name; names are made of A-Z a-z 0-9 _ -"))
}

fn push_text(parts: &mut Vec<Part>, text: &str) -> Result<(), String> {
    if text.contains('}') {
        return Err("a } has no {".to_owned());
    }
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
    Ok(())
}

/// Appends `value` with all but the unreserved characters of RFC 3986 section 2.3 encoded.
fn encode(value: &str, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Slot(name) => write!(f, "{{{name}}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, value: &'static str) -> Result<String, Unfit> {
        Template::parse(template).unwrap().fill(&|_| value)
    }

    #[test]
    fn values_stay_in_their_segment() {
        for (value, path) in [
            ("7", "/p/7/x"),
            ("a b", "/p/a%20b/x"),
            ("../admin", "/p/..%2Fadmin/x"),
            ("a?b=c&d#e", "/p/a%3Fb%3Dc%26d%23e/x"),
            ("%2f", "/p/%252f/x"),
            ("%2e%2e", "/p/%252e%252e/x"),
            ("..;a", "/p/..%3Ba/x"),
            ("caf\u{e9}\r\n\0", "/p/caf%C3%A9%0D%0A%00/x"),
            ("...", "/p/.../x"),
            ("\\", "/p/%5C/x"),
        ] {
            assert_eq!(filled("/p/{id}/x", value).as_deref(), Ok(path), "{value:?}");
        }
        assert_eq!(filled("/p?id={id}&y=1", "a&b=..").as_deref(), Ok("/p?id=a%26b%3D..&y=1"));
    }

    #[test]
    fn values_that_no_encoding_makes_harmless_are_refused() {
        for value in [".", ".."] {
            assert_eq!(filled("/p/{id}/x", value), Err(Unfit::DotSegment), "{value}");
        }
        assert_eq!(filled("/p/.{id}", "."), Err(Unfit::DotSegment));
        assert_eq!(filled("/p/{id};v=1", ".."), Err(Unfit::DotSegment));
        assert_eq!(filled("/p/{id}", ""), Err(Unfit::Empty));
        let long = Template::parse("/{id}").unwrap();
        let value = "x".repeat(URI_BYTES_MAX);
        assert_eq!(long.fill(&|_| &value), Err(Unfit::TooLong));
    }

    #[test]
    fn paths_of_the_file_are_checked() {
        for good in ["/", "/a/{b}/{c-d}?e={f}&g", "/a%2Cb", "/{a}{b}", "/a?q=%20"] {
            assert_eq!(Template::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "a",
            "{a}",
            "/a/{",
            "/a/}",
            "/{}",
            "/{a b}",
            "/{a}}",
            "/a//b",
            "/a/../b",
            "/a/./b",
            "/a#b",
            "/a b",
            "/caf\u{e9}",
            "/a%2fb",
            "/%61",
            "/a?b c",
            "/a?b#c",
        ] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }
}
