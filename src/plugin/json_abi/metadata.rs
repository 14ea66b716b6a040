//! What plugins tell those after them: one JSON object for each exchange, of which nothing is read
//! but its keys. Its values go on as they stand, numbers with all their digits.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use super::super::failure::CallError;
use super::explain::{is_paired, shown};
use super::output::Members;
use super::text::write_key;
use crate::limits;

/// The object `have` with the members of `more` merged into it; `None` if nothing changes. Refused
/// if it becomes too large.
pub(in super::super) fn merged(
    have: &str,
    more: Option<&RawValue>,
) -> Result<Option<String>, CallError> {
    let Some(more) = more.map(RawValue::get) else {
        return Ok(None);
    };
    check_size(more.len())?;
    if !is_paired(more) {
        return Err(CallError::bad_output(
            "output is not what the ABI says: metadata holds half of a surrogate pair (\\ud800 to \
             \\udfff), which is no character",
        ));
    }
    let Members(more) = serde_json::from_str(more).map_err(|_| not_an_object(more))?;
    if more.is_empty() {
        return Ok(None);
    }
    let Members(have) = serde_json::from_str(have).unwrap_or_default();
    // In the order in which they were first said.
    let mut all: Vec<(Cow<'_, str>, &RawValue)> = Vec::with_capacity(have.len() + more.len());
    let mut places: HashMap<Cow<'_, str>, usize, ahash::RandomState> = HashMap::default();
    for (key, value) in have.into_iter().chain(more) {
        let place = *places.entry(key.clone()).or_insert(all.len());
        match all.get_mut(place) {
            Some(known) => known.1 = value,
            None => all.push((key, value)),
        }
    }
    let mut json = Vec::new();
    for (key, value) in all {
        json.push(if json.is_empty() { b'{' } else { b',' });
        write_key(&mut json, &key);
        json.extend_from_slice(value.get().as_bytes());
    }
    json.push(b'}');
    check_size(json.len())?;
    // Made of texts.
    Ok(String::from_utf8(json).ok())
}

fn not_an_object(metadata: &str) -> CallError {
    let got = shown(metadata);
    CallError::bad_output(format!(
        "output is not what the ABI says: metadata: got {got}, expected an object"
    ))
}

fn check_size(got: usize) -> Result<(), CallError> {
    let most = limits::PLUGIN_METADATA_BYTES_MAX;
    if got > most {
        return Err(CallError::bad_output(format!(
            "metadata of this exchange would be {got} bytes, limit is {most}"
        )));
    }
    Ok(())
}
