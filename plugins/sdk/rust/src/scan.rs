//! JSON text in: values found by skipping over others.
//!
//! A plugin looks at a few of an input's values, and the gateway wrote the input, so nothing is built
//! or proved of what is skipped: a string ends at its quote, an object at its bracket. What a plugin
//! asks for is then parsed, and proved to be JSON, by serde. (Deserializing the whole with serde
//! took 34 instructions a byte, this takes 5.)

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use crate::Error;

/// The text of one JSON value; empty where there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Raw<'a>(pub(crate) &'a [u8]);

impl<'a> Raw<'a> {
    pub(crate) fn is_null(self) -> bool {
        matches!(self.0.first(), None | Some(b'n'))
    }

    pub(crate) fn is_object(self) -> bool {
        self.0.first() == Some(&b'{')
    }

    /// A string, decoded; "" if it is none. It borrows from the input unless it has escapes.
    pub(crate) fn text(self) -> Cow<'a, str> {
        match self.0 {
            [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => String::from_utf8_lossy(inner),
            [b'"', .., b'"'] => {
                serde_json::from_slice(self.0).map_or(Cow::Borrowed(""), Cow::Owned)
            }
            _ => Cow::Borrowed(""),
        }
    }

    /// Parsed as the type it should have.
    pub(crate) fn parse<T: DeserializeOwned>(self) -> Result<T, Error> {
        Ok(serde_json::from_slice(self.0)?)
    }

    /// The keys (as they stand between their quotes) and values of an object; none if it is none.
    pub(crate) fn entries(self) -> Entries<'a> {
        Entries { text: self.0, at: self.inside(b'{') }
    }

    /// The values of an array; none if it is none.
    pub(crate) fn items(self) -> impl Iterator<Item = Raw<'a>> {
        let mut at = self.inside(b'[');
        std::iter::from_fn(move || {
            let (value, next) = self.value(at)?;
            at = next;
            Some(value)
        })
    }

    /// The value under a key that has no escapes.
    pub(crate) fn get(self, key: &str) -> Self {
        let found = self.entries().find(|(name, _)| *name == key.as_bytes());
        found.map_or(Raw(b""), |(_, value)| value)
    }

    /// Where the content behind this opening bracket begins; the end of the text if it is another.
    fn inside(self, bracket: u8) -> usize {
        if self.0.first() == Some(&bracket) { 1 } else { self.0.len() }
    }

    /// The value at `at`, and where the next one begins.
    fn value(self, at: usize) -> Option<(Self, usize)> {
        let from = skip_space(self.0, at);
        let to = skip_value(self.0, from)?;
        let comma = skip_space(self.0, to);
        // Without a comma this was the last one: its bracket, at which nothing begins, is next.
        let next = if self.0.get(comma) == Some(&b',') { comma + 1 } else { comma };
        Some((Self(self.0.get(from..to)?), next))
    }
}

/// A walk over the entries of an object.
#[derive(Clone, Copy)]
pub(crate) struct Entries<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Entries<'a> {
    /// The next key. Its value is to be taken before the next one is asked for.
    pub(crate) fn key(&mut self) -> Option<&'a [u8]> {
        let from = skip_space(self.text, self.at);
        if self.text.get(from) != Some(&b'"') {
            return None;
        }
        let to = skip_string(self.text, from + 1)?;
        // Behind the colon.
        let colon = skip_space(self.text, to);
        self.at = skip_space(self.text, colon + 1);
        self.text.get(from + 1..to - 1)
    }

    /// The value of the key.
    pub(crate) fn value(&mut self) -> Option<Raw<'a>> {
        let (value, next) = Raw(self.text).value(self.at)?;
        self.at = next;
        Some(value)
    }

    /// The value of the key with all that follows it: where it ends is not looked for.
    pub(crate) fn rest(&self) -> Raw<'a> {
        Raw(self.text.get(self.at..).unwrap_or_default())
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], Raw<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.key()?, self.value()?))
    }
}

fn skip_space(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

/// Where the value that begins at `at` ends; `None` if there is none.
fn skip_value(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' => skip_string(text, at + 1),
        b'{' | b'[' => skip_nested(text, at),
        b'}' | b']' | b',' | b':' => None,
        _ => {
            let length = text[at..].iter().position(|byte| b",]} \n\r\t".contains(byte));
            Some(length.map_or(text.len(), |length| at + length))
        }
    }
}

fn skip_nested(text: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0usize;
    loop {
        let byte = *text.get(at)?;
        at += 1;
        match byte {
            b'"' => at = skip_string(text, at)?,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
}

/// Where the string ends whose content begins at `at`: behind its closing quote. Eight bytes are
/// looked at together; most of a string is neither quote nor backslash.
fn skip_string(text: &[u8], mut at: usize) -> Option<usize> {
    while let Some(eight) = text.get(at..at + 8) {
        let word = u64::from_le_bytes(eight.try_into().expect("eight bytes were taken"));
        let found = equal_bytes(word, b'"') | equal_bytes(word, b'\\');
        if found == 0 {
            at += 8;
            continue;
        }
        at += found.trailing_zeros() as usize / 8;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// A word whose lowest set bit is in the first byte of `word` that equals `byte`; 0 if none does.
/// (Bytes behind the first may be marked wrongly: the subtraction borrows.)
fn equal_bytes(word: u64, byte: u8) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let different = word ^ (ONES * u64::from(byte));
    different.wrapping_sub(ONES) & !different & (ONES << 7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn values_are_found_whatever_stands_around_them() {
        let text =
            br#" { "a" : [1, {"b":"}\\"}] , "c" : "x\"y" , "n":null, "t" : true,"f":-1.5e2}"#;
        let root = Raw(text.trim_ascii_start());
        assert_eq!(root.get("a").0, br#"[1, {"b":"}\\"}]"#);
        assert_eq!(root.get("c").text(), "x\"y");
        assert!(root.get("n").is_null() && root.get("none").is_null());
        assert_eq!(root.get("t").0, b"true");
        assert_eq!(root.get("f").parse::<f64>().unwrap(), -150.0);
        let items: Vec<_> = root.get("a").items().map(|item| item.0).collect();
        assert_eq!(items, [&b"1"[..], br#"{"b":"}\\"}"#]);
    }

    #[test]
    fn strings_end_at_their_quote_at_every_length_and_escape() {
        for length in 0..40 {
            for escapes in ["", "\\\"", "\\\\", "\\\\\\\"", "ü€𝄞"] {
                let plain = "x".repeat(length);
                let text = format!("[\"{plain}{escapes}{plain}\",\"{escapes}\"]");
                let read: Vec<String> =
                    Raw(text.as_bytes()).items().map(|item| item.text().into_owned()).collect();
                assert_eq!(read, serde_json::from_str::<Vec<String>>(&text).unwrap(), "{text}");
            }
        }
    }

    #[test]
    fn every_beginning_of_a_text_is_read_without_a_panic() {
        let text = br#"{"a":[1,{"b":"\u00e4\\"}],"c":{"d":null} , "e":"f"}"#;
        for end in 0..text.len() {
            let raw = Raw(&text[..end]);
            for (_, value) in raw.entries() {
                value.items().for_each(|item| drop(item.text()));
                value.entries().for_each(|(_, value)| drop(value.text()));
            }
        }
        for text in ["", "[", "{\"", "{\"a", "{\"a\"", "{\"a\":", "[\"\\", "[}", "{:}", "[,]", "]"]
        {
            let raw = Raw(text.as_bytes());
            assert!(raw.entries().count() + raw.items().count() <= 1, "{text}");
        }
    }

    #[test]
    fn the_rest_of_an_entry_reads_like_its_value() {
        let text = br#"{"a":1,"b": {"c":2,"d":[3]},"e":4}"#;
        let mut entries = Raw(text).entries();
        assert_eq!(entries.next().map(|(name, _)| name), Some(&b"a"[..]));
        assert_eq!(entries.key(), Some(&b"b"[..]));
        let rest = entries.rest();
        assert_eq!(
            (rest.get("c").0, rest.get("d").0, rest.get("e").0),
            (&b"2"[..], &b"[3]"[..], &b""[..])
        );
        assert_eq!(entries.value().map(|value| value.0), Some(&br#"{"c":2,"d":[3]}"#[..]));
        assert_eq!(entries.key(), Some(&b"e"[..]));
    }

    #[test]
    fn entries_are_those_that_serde_finds() {
        let text = r#"{"x":{"y":[[],{}]},"":"","k":"a,b]}","n":1e5 ,"m":[ ] }"#;
        let wanted: Value = serde_json::from_str(text).unwrap();
        let found: Vec<_> = Raw(text.as_bytes()).entries().collect();
        assert_eq!(found.len(), wanted.as_object().unwrap().len());
        for (name, value) in found {
            let name = std::str::from_utf8(name).unwrap();
            assert_eq!(value.parse::<Value>().unwrap(), wanted[name], "{name}");
        }
    }
}
