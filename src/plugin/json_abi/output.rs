//! The output of one call as it stands in the guest's JSON: read, not yet believed.
//!
//! Strings borrow from the text where they hold no escapes. Unknown keys are passed over, so that
//! a plugin may answer with more than this version knows.
//!
//! Two parsers. simd-json is the faster one by a third, and reads what most plugins say. But it
//! unescapes in place and takes half a surrogate pair for a character, and a number that 64 bits
//! don't hold ends it wherever it stands: what has an escape, metadata, or anything that it does
//! not like, is read by serde_json.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use super::super::failure::CallError;
use super::explain;
use crate::limits;

/// What `execute` answers.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a, M: Deserialize<'de> + Default"))]
pub(super) struct Output<'a, M = Option<&'a RawValue>> {
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
    #[serde(borrow)]
    pub(super) upstream: Option<Upstream<'a>>,
    /// As it stands: numbers keep all their digits.
    pub(super) metadata: M,
}

/// `upstream` of an output: who is to be asked.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Upstream<'a> {
    #[serde(borrow)]
    pub(super) service: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) endpoint: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) hash_key: Option<Text<'a>>,
}

/// A `response` or `request` of an output.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Message<'a> {
    pub(super) status_code: Option<Status>,
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

/// Whether `bytes` are read by [`parse_plain`] first: no string of them has an escape. An error for
/// what is no object or nested too deeply.
pub(super) fn is_plain(bytes: &[u8]) -> Result<bool, CallError> {
    check_beginning(bytes)?;
    let most = limits::PLUGIN_JSON_DEPTH_MAX;
    if is_deeper_than(bytes, most) {
        return Err(CallError::bad_output(format!("output is nested deeper than {most}")));
    }
    Ok(memchr::memchr(b'\\', bytes).is_none())
}

/// An error for what does not begin like an object.
pub(super) fn check_beginning(bytes: &[u8]) -> Result<(), CallError> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'{') {
        return Ok(());
    }
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
    Err(CallError::bad_output(format!("output is not a JSON object, it begins {shown:?}")))
}

/// Reads an output without escapes and without metadata; the bytes are as before if there is none.
pub(super) fn parse_plain<'a>(
    bytes: &'a mut [u8],
    buffers: &mut simd_json::Buffers,
) -> Option<Output<'a>> {
    let output: Output<'a, NoMetadata> =
        simd_json::serde::from_slice_with_buffers(bytes, buffers).ok()?;
    Some(Output {
        modified: output.modified,
        continues: output.continues,
        continue_in_rust: output.continue_in_rust,
        response: output.response,
        request: output.request,
        error: output.error,
        upstream: output.upstream,
        metadata: None,
    })
}

/// Reads any output.
pub(super) fn parse(bytes: &[u8]) -> Result<Output<'_>, CallError> {
    let text = text_of(bytes)?;
    serde_json::from_str(text).map_err(|error| explain::refusal(text, &error))
}

/// The text of an output.
pub(super) fn text_of(bytes: &[u8]) -> Result<&str, CallError> {
    simdutf8::basic::from_utf8(bytes)
        .map_err(|_| CallError::bad_output("output is not JSON: it is not UTF-8"))
}

/// No `metadata`, or an empty one, as some languages always write it.
#[derive(Debug, Default)]
struct NoMetadata;

impl<'de> Deserialize<'de> for NoMetadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NoMetadataVisitor)
    }
}

struct NoMetadataVisitor;

impl<'de> Visitor<'de> for NoMetadataVisitor {
    type Value = NoMetadata;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an empty object")
    }

    fn visit_unit<E: de::Error>(self) -> Result<NoMetadata, E> {
        Ok(NoMetadata)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NoMetadata, A::Error> {
        match map.next_key::<IgnoredAny>()? {
            None => Ok(NoMetadata),
            Some(_) => Err(de::Error::custom("it is kept as it stands")),
        }
    }
}

/// The members of a JSON object, in their order, values as they stand.
#[derive(Debug, Default)]
pub(in super::super) struct Members<'a>(pub(in super::super) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Members::default();
        while let Some(name) = map.next_key::<Text<'de>>()? {
            members.0.push((name.0, map.next_value()?));
        }
        Ok(members)
    }
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

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
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

/// A status code as the guest gives it. Languages whose numbers are all of one kind write `200.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status(pub(super) i64);

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_i64(StatusVisitor)
    }
}

struct StatusVisitor;

impl Visitor<'_> for StatusVisitor {
    type Value = Status;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_i64<E: de::Error>(self, status: i64) -> Result<Status, E> {
        Ok(Status(status))
    }

    fn visit_u64<E: de::Error>(self, status: u64) -> Result<Status, E> {
        Ok(Status(i64::try_from(status).unwrap_or(i64::MAX)))
    }

    fn visit_f64<E: de::Error>(self, status: f64) -> Result<Status, E> {
        let is_whole = status.fract() == 0.0 && status.abs() < 1e6;
        let whole = is_whole.then_some(Status(status as i64));
        whole.ok_or_else(|| E::invalid_type(de::Unexpected::Float(status), &self))
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

    /// How many names there are.
    pub(super) fn names(&self) -> usize {
        self.names.len()
    }

    /// Refuses more than any message could take.
    fn check<E: de::Error>(&self) -> Result<(), E> {
        let most = limits::PLUGIN_HEADERS_MAX;
        if self.names.len() > most || self.values.len() > most {
            return Err(E::custom(format!("more than {most} headers")));
        }
        Ok(())
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
            headers.check()?;
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
        let most = limits::PLUGIN_HEADERS_MAX;
        while let Some(value) = values.next_element::<Text<'de>>()? {
            if self.0.len() == most {
                return Err(de::Error::custom(format!("more than {most} headers")));
            }
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
