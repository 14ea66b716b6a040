//! Every error of a configuration, gathered in one run and printed by place.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::PathBuf;

use super::Place;
use super::expand::FILE;
use super::value::quote;
use super::variables::{Variables, tells};
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
#[derive(Default)]
pub(super) struct Errors {
    found: Vec<ConfigError>,
    /// The scalars with variables in them: where, how they are written, what they hold.
    filled: HashMap<Place, (String, String)>,
    /// What the variables hold, each alone.
    values: Vec<(String, String)>,
    /// The files that values were read from.
    files: BTreeSet<PathBuf>,
    /// The variables without a value, where that is no error, and where they stand.
    unset: BTreeSet<String>,
    unset_at: BTreeSet<Place>,
}

impl Errors {
    /// A scalar at `place`, written so, holds `value` now, by variables of these names and values.
    pub(super) fn fill(
        &mut self,
        place: Place,
        written: &str,
        value: &str,
        variables: Vec<(String, String)>,
    ) {
        self.filled.insert(place, (written.to_owned(), value.to_owned()));
        let files = variables.iter().filter_map(|(name, _)| name.strip_prefix(FILE));
        self.files.extend(files.map(PathBuf::from));
        let each = variables.into_iter().map(|(name, value)| (value, format!("${{{name}}}")));
        self.values.extend(each);
    }

    /// A variable without a value, which is no error here.
    pub(super) fn note_unset(&mut self, place: Place, name: String) {
        self.unset.insert(name);
        self.unset_at.insert(place);
    }

    /// The variables without a value, by name.
    pub(super) fn unset(&self) -> Vec<String> {
        self.unset.iter().cloned().collect()
    }

    /// What errors do not show, for those who come later.
    pub(super) fn variables(&self) -> Variables {
        let scalars = self.filled.values().map(|(written, value)| (value.clone(), written.clone()));
        Variables::new(scalars.chain(self.values.iter().cloned()))
    }

    /// The files that values were read from.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.files.iter().cloned().collect()
    }

    /// Whether nothing is wrong so far.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// An error of the text at `place`.
    pub(super) fn push(&mut self, place: Place, text: impl Into<String>) {
        self.push_at(place, "", text);
    }

    /// An error of the value of `key`, which stands at `place`.
    pub(super) fn push_at(&mut self, place: Place, key: &str, text: impl Into<String>) {
        // What stands there is not known, so nothing is wrong with it.
        if self.unset_at.contains(&place) {
            return;
        }
        let mut text = text.into();
        if let Some((written, value)) = self.filled.get(&place)
            && tells(&text, value)
        {
            let written = quote(written);
            text = format!(
                "got {written}, and what the environment gives for it is not what stands here (it \
                 is not shown)"
            );
        }
        self.found.push(ConfigError { place: Some(place), key: key.to_owned(), text });
    }

    /// `value`, unless there are errors.
    pub(super) fn into_result<T>(mut self, file: &str, value: T) -> Result<T, ConfigErrors> {
        if self.found.is_empty() {
            return Ok(value);
        }
        // A node that aliases repeat is decoded, and complained of, once for each.
        self.found.sort_by_key(|error| error.place);
        self.found.dedup();
        // One value may be told of where another stands.
        let variables = self.variables();
        self.found.iter_mut().for_each(|error| error.text = variables.hide(&error.text));
        Err(ConfigErrors { file: file.to_owned(), errors: self.found })
    }
}
