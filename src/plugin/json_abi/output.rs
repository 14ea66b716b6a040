//! The output of one call as it stands in the guest's JSON: read, not yet believed.
//!
//! Strings borrow from the buffer where they hold no escapes. Unknown keys are passed over, so that
//! a plugin may answer with more than this version knows.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::{Map, Value};

use super::super::failure::CallError;
use crate::limits;

/// What `execute` answers.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Output<'a> {
    pub(super) modified: Option<bool>,
    #[serde(rename = "continue")]
    pub(super) continues: Option<bool>,
    /// Rust's `continue` is a keyword: the original's sample writes it so.
    #[serde(rename = "continue_")]
    pub(super) continue_in_rust: Option<bool>,
    #[serde(borrow)]
    pub(super) response: Option<Message<'a>>,
    #[serde(borrow)]
    pub(super) request: Option<Message<'a>>,
    #[serde(borrow)]
    pub(super) error: Option<Text<'a>>,
    pub(super) metadata: Option<Map<String, Value>>,
}

/// A `response` or `request` of an output.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Message<'a> {
    pub(super) status_code: Option<i64>,
    #[serde(borrow)]
    pub(super) method: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) url: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) headers: Option<Headers<'a>>,
    #[serde(borrow)]
    pub(super) body: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) body_encoding: Option<Text<'a>>,
}

/// Reads an output; the buffer is used up.
pub(super) fn parse<'a>(
    bytes: &'a mut [u8],
    buffers: &mut simd_json::Buffers,
) -> Result<Output<'a>, CallError> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        return Err(CallError::bad_output(format!(
            "output is not a JSON object, it begins {shown:?}"
        )));
    }
    let most = limits::PLUGIN_JSON_DEPTH_MAX;
    if is_deeper_than(bytes, most) {
        return Err(CallError::bad_output(format!("output is nested deeper than {most}")));
    }
    simd_json::serde::from_slice_with_buffers(bytes, buffers)
        .map_err(|error| CallError::bad_output(format!("output is not what the ABI says: {error}")))
}

/// Whether objects and lists are nested deeper than `most`. The parser behind this recurses without
/// a bound of its own. Almost always the count of brackets alone says no.
fn is_deeper_than(bytes: &[u8], most: usize) -> bool {
    // `[` and `{` differ in one bit. (`{` and `[` alone: no other byte becomes `{` by it.)
    let brackets = bytes.iter().filter(|&&byte| byte | 0x20 == b'{').count();
    if brackets <= most {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for &byte in bytes {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > most {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// A string that borrows if it can. (A `Cow` inside of a list or a map never borrows in serde.)
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

/// `headers`: names with their values, all values in one list.
#[derive(Debug, Default)]
pub(super) struct Headers<'a> {
    names: Vec<(Text<'a>, Range<usize>)>,
    values: Vec<Text<'a>>,
}

impl<'a> Headers<'a> {
    /// Each name with its values, in the order of the output.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[Text<'a>])> {
        self.names.iter().map(|(name, range)| (&*name.0, &self.values[range.clone()]))
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Headers<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeadersVisitor)
    }
}

struct HeadersVisitor;

impl<'de> Visitor<'de> for HeadersVisitor {
    type Value = Headers<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of header names, each with a list of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers<'de>, A::Error> {
        let mut headers = Headers::default();
        while let Some(name) = map.next_key::<Text<'de>>()? {
            let start = headers.values.len();
            map.next_value_seed(Values(&mut headers.values))?;
            headers.names.push((name, start..headers.values.len()));
        }
        Ok(headers)
    }
}

/// The values of one header: a list of strings, one string, or null for none.
struct Values<'v, 'a>(&'v mut Vec<Text<'a>>);

impl<'de> DeserializeSeed<'de> for Values<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a header's values: a list of strings or one string")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        while let Some(value) = values.next_element::<Text<'de>>()? {
            self.0.push(value);
        }
        Ok(())
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<(), E> {
        self.0.push(Text(Cow::Borrowed(text)));
        Ok(())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        self.0.push(Text(Cow::Owned(text.to_owned())));
        Ok(())
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
