//! A keyword's value read as what the keyword needs, with its place in the errors.

use odin_plugin::Error;
use regex_lite::Regex;
use serde_json::{Map, Value};

use super::Type;

/// A keyword's value, and where it stands.
pub(super) struct Part<'p, 's> {
    pub(super) object: &'s Map<String, Value>,
    pub(super) value: &'s Value,
    pub(super) at: &'p str,
    pub(super) depth: usize,
}

impl<'s> Part<'_, 's> {
    pub(super) fn wrong(&self, wanted: &str) -> Error {
        Error::new(format!("schema: {}: {} is not {wanted}", self.at, self.value))
    }

    pub(super) fn number(&self) -> Result<f64, Error> {
        self.value.as_f64().ok_or_else(|| self.wrong("a number"))
    }

    pub(super) fn positive(&self) -> Result<f64, Error> {
        match self.number()? {
            number if number > 0.0 => Ok(number),
            _ => Err(self.wrong("above 0")),
        }
    }

    pub(super) fn count(&self) -> Result<usize, Error> {
        count(self.value).ok_or_else(|| self.wrong("a whole number of 0 or more"))
    }

    pub(super) fn sibling_count(&self, name: &str) -> Result<Option<usize>, Error> {
        let Some(value) = self.object.get(name) else {
            return Ok(None);
        };
        count(value).map(Some).ok_or_else(|| Error::new(format!("schema: {}: {name}", self.at)))
    }

    pub(super) fn text(&self) -> Result<&'s str, Error> {
        self.value.as_str().ok_or_else(|| self.wrong("a string"))
    }

    pub(super) fn array(&self) -> Result<&'s Vec<Value>, Error> {
        self.value.as_array().ok_or_else(|| self.wrong("an array"))
    }

    pub(super) fn texts(&self) -> Result<Vec<String>, Error> {
        let texts = self.array()?.iter().map(|value| value.as_str().map(str::to_owned));
        texts.collect::<Option<_>>().ok_or_else(|| self.wrong("an array of strings"))
    }

    pub(super) fn entries<'e>(
        &'e self,
    ) -> Result<impl Iterator<Item = (&'s String, Part<'e, 's>)>, Error> {
        let Value::Object(entries) = self.value else {
            return Err(self.wrong("an object"));
        };
        let (object, at, depth) = (self.object, self.at, self.depth);
        Ok(entries.iter().map(move |(name, value)| (name, Part { object, value, at, depth })))
    }

    pub(super) fn types(&self) -> Result<Vec<Type>, Error> {
        let names = match self.value {
            Value::String(name) => vec![name.clone()],
            _ => self.texts()?,
        };
        let types = names.iter().map(|name| Type::named(name));
        types.collect::<Option<_>>().ok_or_else(|| self.wrong("a type or a list of types"))
    }

    pub(super) fn regex(&self, pattern: &str) -> Result<Regex, Error> {
        Regex::new(pattern).map_err(|cause| {
            Error::new(format!("schema: {}: the pattern {pattern:?}: {cause}", self.at))
        })
    }
}

fn count(value: &Value) -> Option<usize> {
    let whole = value.as_u64().or_else(|| {
        let number = value.as_f64().filter(|number| (0.0..1e15).contains(number))?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "just bounded")]
        (number.fract() == 0.0).then_some(number as u64)
    })?;
    usize::try_from(whole).ok()
}
