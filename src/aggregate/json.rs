//! JSON as text: finding what a path leads to, and putting something else there.
//!
//! The text has been checked once ([`text_of`]); from then on every part of it is a JSON text too.
//! A level is read when a step goes through it, never more than one at a time, so that no nesting
//! recurses deeper than a path has steps.

use std::fmt;
use std::ops::ControlFlow;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::path::Step;
use crate::limits::AGGREGATION_ITEMS_MAX;

/// `bytes` without the white space around them, if they are one JSON text.
pub fn text_of(bytes: &[u8]) -> Option<&str> {
    let raw: &RawValue = serde_json::from_slice(bytes).ok()?;
    Some(raw.get())
}

/// Shows `visit` everything that `steps` lead to in `text`, with the indexes that each `[*]` stands
/// for, in the order of the text. Of one array at most the first [`AGGREGATION_ITEMS_MAX`]
/// elements.
pub fn select<'t>(
    text: &'t str,
    steps: &[Step],
    visit: &mut dyn FnMut(&[usize], &'t str) -> ControlFlow<()>,
) {
    // Whether the visitor has had enough does not matter any more.
    let _ended = select_from(text, steps, &mut Vec::new(), visit);
}

fn select_from<'t>(
    text: &'t str,
    steps: &[Step],
    indexes: &mut Vec<usize>,
    visit: &mut dyn FnMut(&[usize], &'t str) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let Some((step, rest)) = steps.split_first() else {
        return visit(indexes, text);
    };
    match step {
        Step::Name(name) => match member(text, name) {
            Some(child) => select_from(child, rest, indexes, visit),
            None => ControlFlow::Continue(()),
        },
        Step::Index(index) => match elements(text, index.saturating_add(1)).get(*index) {
            Some(child) => select_from(child.get(), rest, indexes, visit),
            None => ControlFlow::Continue(()),
        },
        Step::Each => {
            for (index, child) in elements(text, AGGREGATION_ITEMS_MAX).iter().enumerate() {
                indexes.push(index);
                let flow = select_from(child.get(), rest, indexes, visit);
                indexes.pop();
                flow?;
            }
            ControlFlow::Continue(())
        }
    }
}

/// The member `name` of the object `text`: the last of that name, as most parsers have it.
fn member<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    if !text.starts_with('{') {
        return None;
    }
    let found = Member(name).deserialize(&mut serde_json::Deserializer::from_str(text));
    found.ok()?.map(RawValue::get)
}

/// The first elements of the array `text`, at most `most`; none if it is no array.
fn elements(text: &str, most: usize) -> Vec<&RawValue> {
    if !text.starts_with('[') {
        return Vec::new();
    }
    let read = Elements(most).deserialize(&mut serde_json::Deserializer::from_str(text));
    read.unwrap_or_default()
}

struct Member<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_it) = map.next_key_seed(IsName(self.0))? {
            if is_it {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Whether a key is this one.
struct IsName<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for IsName<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsName<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

struct Elements(usize);

impl<'de> DeserializeSeed<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while elements.len() < self.0
            && let Some(element) = array.next_element()?
        {
            elements.push(element);
        }
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(elements)
    }
}

/// A JSON text on its way to a place in a document.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'i, 't> {
    /// Which element each `[*]` on the way is.
    pub indexes: &'i [usize],
    /// The text.
    pub text: &'t str,
}

/// A document in which parts are being replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node<'t> {
    /// A JSON text that nothing has been put into.
    Text(&'t str),
    /// An object that something has been put into: its members in their order.
    Object(Vec<(String, Node<'t>)>),
    /// An array that something has been put into.
    Array(Vec<Node<'t>>),
}

impl<'t> Node<'t> {
    /// Puts values where `steps` lead to. Objects on the way that are missing (or null) are made,
    /// elements of arrays are not: what finds no room is left out. Each level is gone into once for
    /// all values, which stand in the order of their indexes.
    pub fn put(&mut self, steps: &[Step], values: &[Placed<'_, 't>]) {
        self.put_from(steps, 0, values);
    }

    /// The same, where `depth` of the indexes lie behind.
    fn put_from(&mut self, steps: &[Step], depth: usize, values: &[Placed<'_, 't>]) {
        let Some(last) = values.last() else {
            return;
        };
        let Some((step, rest)) = steps.split_first() else {
            *self = Self::Text(last.text);
            return;
        };
        self.open();
        if self.is_null() && matches!(step, Step::Name(_)) {
            *self = Node::Object(Vec::new());
        }
        let child = match (step, self) {
            (Step::Name(name), Node::Object(members)) => {
                // Only an object can be made on the way; what is put there replaces it.
                let may_be_made = matches!(rest.first(), None | Some(Step::Name(_)));
                member_mut(members, name, may_be_made)
            }
            (Step::Index(index), Node::Array(elements)) => elements.get_mut(*index),
            (Step::Each, Node::Array(elements)) => {
                let index_of = |value: &Placed<'_, 't>| value.indexes.get(depth).copied();
                for values in values.chunk_by(|a, b| index_of(a) == index_of(b)) {
                    let index = values.first().and_then(index_of);
                    if let Some(element) = index.and_then(|index| elements.get_mut(index)) {
                        element.put_from(rest, depth + 1, values);
                    }
                }
                return;
            }
            _ => return,
        };
        if let Some(child) = child {
            child.put_from(rest, depth, values);
        }
    }

    fn is_null(&self) -> bool {
        matches!(self, Self::Text("null"))
    }

    /// Reads one level of an object or array, unless that is done.
    fn open(&mut self) {
        let Self::Text(text) = self else {
            return;
        };
        if text.starts_with('{') {
            let members = Members.deserialize(&mut serde_json::Deserializer::from_str(text));
            // One whose keys are no Unicode (a lone surrogate) stays as it is.
            if let Ok(members) = members {
                *self = Self::Object(members);
            }
        } else if text.starts_with('[') {
            let elements = elements(text, usize::MAX);
            let nodes = elements.iter().map(|element| Self::Text(element.get()));
            *self = Self::Array(nodes.collect());
        }
    }

    /// Appends the document as text.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => out.extend_from_slice(text.as_bytes()),
            Self::Object(members) => {
                out.push(b'{');
                for (index, (name, node)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    write_name(name, out);
                    node.write(out);
                }
                out.push(b'}');
            }
            Self::Array(elements) => {
                out.push(b'[');
                for (index, node) in elements.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    node.write(out);
                }
                out.push(b']');
            }
        }
    }
}

/// The member `name`; if there is none and it may be made, a new one that is null.
fn member_mut<'m, 't>(
    members: &'m mut Vec<(String, Node<'t>)>,
    name: &str,
    may_be_made: bool,
) -> Option<&'m mut Node<'t>> {
    let at = match members.iter().rposition(|(have, _)| have == name) {
        Some(at) => at,
        None if may_be_made => {
            members.push((name.to_owned(), Node::Text("null")));
            members.len() - 1
        }
        None => return None,
    };
    Some(&mut members[at].1)
}

/// Appends `"name":`.
pub(super) fn write_name(name: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, name).expect("a text is written to memory");
    out.push(b':');
}

/// All members of an object.
struct Members;

impl<'de> DeserializeSeed<'de> for Members {
    type Value = Vec<(String, Node<'de>)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, Node<'de>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, raw)) = map.next_entry::<String, &RawValue>()? {
            members.push((name, Node::Text(raw.get())));
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests;
