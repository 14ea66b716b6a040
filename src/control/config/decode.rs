//! The parts that every section's decoder is made of: sections, lists, scalars.
//!
//! A decoder takes an [`Item`] and gives a value, or `None` after it has pushed an error. Callers
//! go on with a default then: what they make is thrown away, the errors after it are real all the
//! same.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::Place;
use super::errors::Errors;
use super::keys::Keys;
use super::near::nearest;
use super::tree::{Entry, Node, Scalar, Value, Written};
use super::value::{self, Plain};
use crate::limits;

/// A node and the key that leads to it.
pub(super) struct Item<'n> {
    pub(super) node: &'n Node,
    pub(super) key: String,
}

impl<'n> Item<'n> {
    pub(super) fn place(&self) -> Place {
        self.node.place
    }

    /// The item at `index` of a list.
    pub(super) fn at(&self, index: usize) -> Option<Self> {
        let Value::List(nodes) = &self.node.value else {
            return None;
        };
        Some(Self { node: nodes.get(index)?, key: format!("{}[{index}]", self.key) })
    }

    /// An error of this value.
    pub(super) fn refuse(&self, errors: &mut Errors, text: impl Into<String>) {
        errors.push_at(self.place(), &self.key, text);
    }

    /// The error that this value is not what its key takes.
    pub(super) fn expected(&self, errors: &mut Errors, what: &str) {
        if !matches!(self.node.value, Value::Broken) {
            self.refuse(errors, format!("got {}, expected {what}", self.node.describe()));
        }
    }

    pub(super) fn scalar(&self) -> Option<&'n Scalar> {
        match &self.node.value {
            Value::Scalar(scalar) if !scalar.is_null() => Some(scalar),
            _ => None,
        }
    }

    /// What it says, if that is true or false.
    pub(super) fn as_boolean(&self) -> Option<bool> {
        match self.unquoted().map(Plain::of) {
            Some(Plain::Bool(value)) => Some(value),
            _ => None,
        }
    }

    /// Bare or expanded text: what may be a number or a boolean.
    fn unquoted(&self) -> Option<&'n str> {
        let scalar = self.scalar()?;
        (scalar.written != Written::Quoted).then_some(scalar.text.as_str())
    }
}

/// A map with known keys.
pub(super) struct Section<'n> {
    pub(super) key: String,
    pub(super) place: Place,
    keys: &'static Keys,
    entries: &'n [Entry],
}

impl<'n> Section<'n> {
    /// Opens a map and reports the keys that it may not have. A section without anything in it is
    /// an empty map: its entries may all be commented out.
    pub(super) fn open(item: &Item<'n>, keys: &'static Keys, errors: &mut Errors) -> Option<Self> {
        let entries: &[Entry] = match &item.node.value {
            Value::Map(entries) => entries,
            _ if item.node.is_null() => &[],
            _ => {
                item.expected(errors, &format!("a map of: {}", keys.listed()));
                return None;
            }
        };
        let section = Self { key: item.key.clone(), place: item.place(), keys, entries };
        for entry in entries {
            section.check_key(entry, errors);
        }
        Some(section)
    }

    fn check_key(&self, entry: &Entry, errors: &mut Errors) {
        let Keys { later, .. } = self.keys;
        if self.keys.find(&entry.key).is_some() {
            return;
        }
        let key = self.path_of(&entry.key);
        if let Some((_, instead)) = later.iter().find(|(key, _)| *key == entry.key) {
            return errors.push_at(entry.place, &key, format!("is not supported yet; {instead}"));
        }
        let meant = nearest(&entry.key, self.keys.names());
        let hint = meant.map_or_else(String::new, |meant| format!("did you mean {meant:?}? "));
        let list = self.keys.listed();
        errors.push_at(entry.place, &key, format!("unknown key; {hint}allowed here: {list}"));
    }

    fn path_of(&self, key: &str) -> String {
        join(&self.key, key)
    }

    /// The value of `key`, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<Item<'n>> {
        debug_assert!(self.keys.find(key).is_some(), "{key} is in the table of keys");
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(Item { node: &entry.node, key: self.path_of(key) })
    }

    /// The value of `key`, if it is there and not left empty (`services:` with every entry under it
    /// commented out).
    pub(super) fn filled(&self, key: &str) -> Option<Item<'n>> {
        self.get(key).filter(|item| !item.node.is_null())
    }

    /// The decoded value of `key`, if it is there and right.
    pub(super) fn read<T>(
        &self,
        key: &str,
        errors: &mut Errors,
        decode: impl FnOnce(&Item<'n>, &mut Errors) -> Option<T>,
    ) -> Option<T> {
        decode(&self.get(key)?, errors)
    }

    /// The decoded value of `key`, which must be there; `why` follows "missing; ".
    pub(super) fn require<T>(
        &self,
        key: &str,
        why: &str,
        errors: &mut Errors,
        decode: impl FnOnce(&Item<'n>, &mut Errors) -> Option<T>,
    ) -> Option<T> {
        let item = self.get(key);
        if item.is_none() {
            errors.push_at(self.place, &self.path_of(key), format!("missing; {why}"));
        }
        decode(&item?, errors)
    }
}

/// The way to `key` of the section `parent`; an odd key is quoted, so that an error stays a line.
fn join(parent: &str, key: &str) -> String {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    match (parent, !key.is_empty() && key.bytes().all(is_word)) {
        ("", true) => value::short(key),
        (_, true) => format!("{parent}.{}", value::short(key)),
        (_, false) => format!("{parent}[{}]", value::quote(key)),
    }
}

/// The decoded items of a list of at most `max`; those with errors are left out.
pub(super) fn list<'n, T>(
    item: &Item<'n>,
    max: usize,
    errors: &mut Errors,
    mut decode: impl FnMut(&Item<'n>, &mut Errors) -> Option<T>,
) -> Option<Vec<T>> {
    let nodes = match &item.node.value {
        Value::List(nodes) => nodes.as_slice(),
        _ if item.node.is_null() => &[],
        _ => {
            item.expected(errors, "a list");
            return None;
        }
    };
    if nodes.len() > max {
        let got = nodes.len();
        item.refuse(errors, format!("got a list of {got}, limit is {max}; take some out"));
        return None;
    }
    let items = nodes
        .iter()
        .enumerate()
        .map(|(index, node)| Item { node, key: format!("{}[{index}]", item.key) });
    Some(items.filter_map(|item| decode(&item, errors)).collect())
}

/// A map of any keys, as items in their order.
pub(super) fn map<'n>(item: &Item<'n>, errors: &mut Errors) -> Option<Vec<(&'n Entry, Item<'n>)>> {
    let entries: &[Entry] = match &item.node.value {
        Value::Map(entries) => entries,
        _ if item.node.is_null() => &[],
        _ => {
            item.expected(errors, "a map");
            return None;
        }
    };
    let items = entries.iter().map(|entry| {
        let key = join(&item.key, &entry.key);
        let node = &*entry.node;
        (entry, Item { node, key })
    });
    Some(items.collect())
}

/// Any text, numbers as they are written; not empty.
pub(super) fn string(item: &Item<'_>, errors: &mut Errors) -> Option<String> {
    match item.scalar() {
        Some(scalar) if !scalar.text.is_empty() => Some(scalar.text.clone()),
        Some(_) => {
            item.refuse(errors, "got an empty string, expected a text");
            None
        }
        None => {
            item.expected(errors, "a text");
            None
        }
    }
}

/// The name of a plugin or service.
pub(super) fn name(item: &Item<'_>, errors: &mut Errors) -> Option<String> {
    let name = string(item, errors)?;
    let max = limits::NAME_BYTES_MAX;
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.len() <= max && name.bytes().all(is_name_byte) {
        return Some(name);
    }
    let allowed = format!("a name of 1 to {max} of A-Z a-z 0-9 . _ -");
    item.expected(errors, &allowed);
    None
}

/// A file or folder, as written.
pub(super) fn path(item: &Item<'_>, errors: &mut Errors) -> Option<PathBuf> {
    let text = string(item, errors)?;
    if text.contains('\0') {
        item.expected(errors, "a path; it can't hold a NUL");
        return None;
    }
    Some(PathBuf::from(text))
}

pub(super) fn boolean(item: &Item<'_>, errors: &mut Errors) -> Option<bool> {
    let value = item.as_boolean();
    if value.is_none() {
        item.expected(errors, "true or false");
    }
    value
}

/// One of a closed set of words.
pub(super) fn word<T: Copy>(
    item: &Item<'_>,
    words: &[(&str, T)],
    errors: &mut Errors,
) -> Option<T> {
    let got = item.scalar().map(|scalar| scalar.text.as_str());
    let found = words.iter().find(|(word, _)| Some(*word) == got);
    if found.is_none() {
        let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let what = match got.and_then(|got| nearest(got, all.iter().copied())) {
            Some(meant) => format!("one of {}; did you mean {meant:?}?", all.join(", ")),
            None => format!("one of {}", all.join(", ")),
        };
        item.expected(errors, &what);
    }
    found.map(|(_, value)| *value)
}

/// A whole number within bounds.
pub(super) fn integer<T>(
    item: &Item<'_>,
    range: RangeInclusive<T>,
    errors: &mut Errors,
) -> Option<T>
where
    T: TryFrom<i128> + PartialOrd + std::fmt::Display,
{
    if let Some(Plain::Integer(number)) = item.unquoted().map(Plain::of)
        && let Ok(number) = T::try_from(number)
        && range.contains(&number)
    {
        return Some(number);
    }
    let (min, max) = range.into_inner();
    item.expected(errors, &format!("a whole number from {min} to {max}"));
    None
}

/// A number of bytes within bounds.
pub(super) fn size(
    item: &Item<'_>,
    range: RangeInclusive<u64>,
    errors: &mut Errors,
) -> Option<u64> {
    let bounds = format!("from {} to {} bytes", range.start(), range.end());
    match item.scalar().map(|scalar| value::size(&scalar.text)) {
        Some(Ok(bytes)) if range.contains(&bytes) => return Some(bytes),
        Some(Err(form)) => item.expected(errors, &form),
        _ => item.expected(errors, &format!("a size such as 16KiB or 1MiB, {bounds}")),
    }
    None
}

/// A duration of more than nothing.
pub(super) fn duration(item: &Item<'_>, errors: &mut Errors) -> Option<Duration> {
    duration_from(item, Duration::from_millis(1), errors)
}

/// A duration of `min` or more.
pub(super) fn duration_from(
    item: &Item<'_>,
    min: Duration,
    errors: &mut Errors,
) -> Option<Duration> {
    let max = limits::DURATION_MAX;
    match item.scalar().map(|scalar| value::duration(&scalar.text)) {
        Some(Ok(duration)) if (min..=max).contains(&duration) => return Some(duration),
        Some(Err(form)) => item.expected(errors, &form),
        _ => {
            let (min, max) = (value::show_duration(min), value::show_duration(max));
            item.expected(errors, &format!("a duration such as 500ms or 5s, from {min} to {max}"));
        }
    }
    None
}

/// What a number of a plugin's `config` is, in the file and in the admin API.
pub const FITTING_NUMBER: &str =
    "a number that fits into 64 bits and into JSON, or a text in quotes";

/// Any value as JSON. Bare text is null, a boolean or a number if it looks like one; text with a
/// variable in it stays a string, so that no value of the environment changes a type.
pub(super) fn json(item: &Item<'_>, errors: &mut Errors) -> Option<serde_json::Value> {
    match &item.node.value {
        Value::Broken => None,
        Value::List(nodes) => list(item, nodes.len(), errors, json).map(serde_json::Value::Array),
        Value::Map(_) => {
            let mut object = serde_json::Map::new();
            for (entry, item) in map(item, errors)? {
                if let Some(value) = json(&item, errors) {
                    object.insert(entry.key.clone(), value);
                }
            }
            Some(serde_json::Value::Object(object))
        }
        Value::Scalar(scalar) if scalar.written != Written::Plain => {
            Some(scalar.text.clone().into())
        }
        Value::Scalar(scalar) => {
            let value = json_scalar(&scalar.text);
            if value.is_none() {
                item.expected(errors, FITTING_NUMBER);
            }
            value
        }
    }
}

fn json_scalar(text: &str) -> Option<serde_json::Value> {
    Some(match Plain::of(text) {
        Plain::Null => serde_json::Value::Null,
        Plain::Bool(value) => value.into(),
        Plain::Integer(number) => match u64::try_from(number) {
            Ok(number) => number.into(),
            Err(_) => i64::try_from(number).ok()?.into(),
        },
        Plain::Float(number) => serde_json::Number::from_f64(number)?.into(),
        Plain::Huge => return None,
        Plain::Text => text.into(),
    })
}
