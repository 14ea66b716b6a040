//! Every error of a configuration, gathered in one run and printed by place.

use std::fmt;

use super::Place;
use crate::limits;

/// One error: where, at which key, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where; `None` if the file as a whole is meant (it can't be read).
    pub place: Option<Place>,
    /// The key, such as `wasm.plugins[0].priority`; empty if the text itself is meant.
    pub key: String,
    /// What was got, what is allowed, what to do. Lowercase, no full stop, one line.
    pub text: String,
}

/// All errors of one file, by place; never empty. Prints one line for each, up to
/// [`limits::CONFIG_ERRORS_MAX`], and how many more there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    file: String,
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    /// An error of the file as a whole.
    pub fn of_file(file: &str, text: String) -> Self {
        let (place, key) = (None, String::new());
        Self { file: file.to_owned(), errors: vec![ConfigError { place, key, text }] }
    }

    /// The file's name, as it was given.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The errors, by place.
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index == limits::CONFIG_ERRORS_MAX {
                let more = self.errors.len() - index;
                return write!(f, "\n{}: {more} more errors are not shown", self.file);
            }
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{}", self.file)?;
            if let Some(Place { line, column }) = error.place {
                write!(f, ":{line}:{column}")?;
            }
            let key_end = if error.key.is_empty() { "" } else { ": " };
            write!(f, ": {}{key_end}{}", error.key, error.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Where the loader's stages put what they find.
#[derive(Debug, Default)]
pub(super) struct Errors(Vec<ConfigError>);

impl Errors {
    /// An error of the text at `place`.
    pub(super) fn push(&mut self, place: Place, text: impl Into<String>) {
        self.push_at(place, "", text);
    }

    /// An error of the value of `key`, which stands at `place`.
    pub(super) fn push_at(&mut self, place: Place, key: &str, text: impl Into<String>) {
        self.0.push(ConfigError { place: Some(place), key: key.to_owned(), text: text.into() });
    }

    /// `value`, unless there are errors.
    pub(super) fn into_result<T>(mut self, file: &str, value: T) -> Result<T, ConfigErrors> {
        if self.0.is_empty() {
            return Ok(value);
        }
        // A node that aliases repeat is decoded, and complained of, once for each.
        self.0.sort_by_key(|error| error.place);
        self.0.dedup();
        Err(ConfigErrors { file: file.to_owned(), errors: self.0 })
    }
}
