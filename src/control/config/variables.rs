//! What variables have brought into a configuration: none of it is shown.
//!
//! A value of the environment may be a secret wherever it was put, by mistake most of all. So the
//! reader of the file notes each, and errors, warnings and the view show the variable as it is
//! written. The names of hosts and services that stand in the file's own keys are told as they are:
//! logs and metrics are about them.

use std::sync::Arc;

/// A shorter value is a number or a word such as `info`, which stands in texts that have nothing to
/// do with it; only what is told of the value itself is searched for it.
const TELLING_BYTES_MIN: usize = 6;

/// The values, longest first.
#[derive(Clone, Default)]
pub struct Variables(Arc<[Filled]>);

/// A value, and how it is written.
#[derive(Clone, PartialEq, Eq)]
struct Filled {
    value: String,
    written: String,
}

impl std::fmt::Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|filled| &filled.written)).finish()
    }
}

/// They are no part of what a configuration means.
impl PartialEq for Variables {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Variables {
    /// Of pairs: a value, and what stands in the file for it.
    pub(super) fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let pairs = pairs.into_iter().filter(|(value, _)| !value.is_empty());
        let mut all: Vec<_> = pairs.map(|(value, written)| Filled { value, written }).collect();
        all.sort_by(|a, b| (b.value.len(), &a.value).cmp(&(a.value.len(), &b.value)));
        all.dedup_by(|a, b| a.value == b.value);
        Self(all.into())
    }

    /// These and those of another text.
    #[must_use]
    pub(super) fn with(&self, other: &Self) -> Self {
        let all = self.0.iter().chain(other.0.iter());
        Self::new(all.map(|filled| (filled.value.clone(), filled.written.clone())))
    }

    /// `text` with the variables in the place of what they hold.
    pub fn hide(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for Filled { value, written } in self.0.iter() {
            if value.len() < TELLING_BYTES_MIN {
                break;
            }
            // As it is, as texts quote it, and cut as they cut it.
            let quoted = value.escape_debug().to_string();
            let cut: String = value.chars().take(TELLING_CHARS_MAX).collect();
            for form in [value.as_str(), quoted.as_str(), cut.as_str()] {
                if text.contains(form) {
                    text = text.replace(form, written);
                }
            }
        }
        text
    }

    /// The same in every text of a value; one that is nothing but a variable's, however short.
    pub(super) fn hide_in(&self, value: &mut serde_json::Value) {
        use serde_json::Value;
        match value {
            Value::String(text) => {
                let whole = self.0.iter().find(|filled| filled.value == *text);
                *text = whole.map_or_else(|| self.hide(text), |filled| filled.written.clone());
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.hide_in(item)),
            Value::Object(entries) => entries.values_mut().for_each(|value| self.hide_in(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// What of a value a text that cuts it still shows; see [`super::value::short`].
const TELLING_CHARS_MAX: usize = 40;

/// Whether a text about this very value gives a part of it away.
pub(super) fn tells(text: &str, value: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let mut parts = value.split(|c: char| !c.is_alphanumeric()).filter(|part| part.len() > 2);
    parts.any(|part| text.contains(&part.to_ascii_lowercase()))
        || !value.trim().is_empty() && text.contains(&format!("\"{}", value.escape_debug()))
}
