//! Writes a change into the configuration file, which stays its author's: comments, order and
//! spelling around the change are kept.
//!
//! The new text is read back before it replaces the file, and must say exactly what was meant: a
//! change that the editing library cannot make where the author wrote something unusual (an alias,
//! say) is refused, the file is not touched.

mod text;
mod write;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use self::text::{Entry, Node, Text};
use super::super::config::{self, Config, Plugin};
use crate::files::Replacement;
use crate::limits::{self, CONFIG_BYTES_MAX};

/// What is written: what the admin API was asked for.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    /// Keys of one plugin, a new one if none has the name.
    Set(Map<String, Value>),
    /// A plugin is taken out.
    Remove(String),
}

impl Edit {
    /// The plugin that it is about.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Remove(name) => name,
            Self::Set(keys) => keys.get("name").and_then(Value::as_str).unwrap_or_default(),
        }
    }
}

/// The file's text with `edit` in it. `expected` is what the plugin of that name must be then.
pub(super) fn edited(
    path: &Path,
    edit: &Edit,
    expected: Option<&Plugin>,
) -> Result<String, String> {
    let file = path.display();
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(CONFIG_BYTES_MAX as u64).read_to_string(&mut text))
        .map_err(|error| format!("{file} can't be read: {error}"))?;
    let name = path.display().to_string();
    let before = config::load(path)
        .map_err(|errors| format!("{file} has errors, so nothing is written to it: {errors}"))?;
    let refused = |why: String| {
        format!("{file} can't be changed by the gateway ({why}); change it by hand and reload")
    };
    let text = changed(text, &before, edit).map_err(refused)?;
    let after = config::parse_text(&text, &name).map_err(|error| refused(error.to_string()))?;
    if says(&before, &after, edit, expected) {
        Ok(text)
    } else {
        Err(refused("the text would say something else".to_owned()))
    }
}

/// The text with the change, which is yet to be read back.
fn changed(text: String, config: &Config, edit: &Edit) -> Result<String, String> {
    let plugins = &config.wasm.plugins;
    let position = plugins.iter().position(|plugin| plugin.name == edit.name());
    match edit {
        Edit::Remove(_) => match position {
            // It was never written.
            None => Ok(text),
            Some(at) => without(&text, at),
        },
        Edit::Set(keys) => {
            let mut keys = keys.clone();
            keys.values_mut().for_each(escape);
            match position {
                Some(at) => with_keys(text, at, &keys),
                // Turned on or off, but loaded without being written.
                None if !keys.contains_key("path") => Err(format!(
                    "{} has no plugin named {}; load it with \"persist\": true first",
                    config.file,
                    edit.name()
                )),
                None => with_plugin(&text, keys.into()),
            }
        }
    }
}

/// The entry `wasm.plugins` and the map that it stands in.
fn plugins<'n>(text: &'n Text<'_>) -> Option<(&'n Node, &'n Entry)> {
    let wasm = &text.root.entry("wasm")?.node;
    Some((wasm, wasm.entry("plugins")?))
}

const ODD: &str = "the list of plugins is written in an unusual way";

/// Keys of the plugin at a place of the list.
fn with_keys(mut text: String, at: usize, keys: &Map<String, Value>) -> Result<String, String> {
    // Each step changes one value, and none twice.
    for _ in 0..limits::CONFIG_EDITS_MAX {
        let read = Text::read(&text)?;
        let (_, list) = plugins(&read).ok_or(ODD)?;
        let plugin = list.node.items().get(at).filter(|plugin| plugin.is_map()).ok_or(ODD)?;
        let Some(splice) = read.toward(plugin, keys, false) else {
            return Ok(text);
        };
        text = read.with(splice);
    }
    Err(ODD.to_owned())
}

/// A plugin more, in a list that may not be there yet.
fn with_plugin(text: &str, plugin: Value) -> Result<String, String> {
    let read = Text::read(text)?;
    let root = &read.root;
    let list = Value::Array(vec![plugin.clone()]);
    let splice = match (root.entry("wasm"), plugins(&read)) {
        (_, Some((_, entry))) if !entry.node.items().is_empty() => {
            read.appended(&entry.node, &plugin).ok_or(ODD)?
        }
        (_, Some((wasm, entry))) => read.replaced(wasm, entry, &list),
        (Some(wasm), None) if !wasm.node.is_empty_map() => read.added(&wasm.node, "plugins", &list),
        (wasm, None) => {
            let value = serde_json::json!({ "plugins": list });
            match wasm {
                Some(wasm) => read.replaced(root, wasm, &value),
                None => read.added(root, "wasm", &value),
            }
        }
    };
    Ok(read.with(splice))
}

/// The plugin at a place of the list less.
fn without(text: &str, at: usize) -> Result<String, String> {
    let read = Text::read(text)?;
    let (wasm, list) = plugins(&read).ok_or(ODD)?;
    let splice = match list.node.items().len() {
        0 | 1 => read.replaced(wasm, list, &Value::Array(Vec::new())),
        _ => read.removed(&list.node, at).ok_or(ODD)?,
    };
    Ok(read.with(splice))
}

/// What was sent has no variables, and the file would take them for some.
fn escape(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.replace("${", "$${"),
        Value::Array(items) => items.iter_mut().for_each(escape),
        Value::Object(entries) => entries.values_mut().for_each(escape),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether `after` is `before` with the edit, and nothing else.
fn says(before: &Config, after: &Config, edit: &Edit, expected: Option<&Plugin>) -> bool {
    let named = |plugin: &&Plugin| plugin.name == edit.name();
    let others = |config: &Config| {
        let mut config = config.without_places();
        config.wasm.plugins.retain(|plugin| !named(&plugin));
        config
    };
    let written = after.wasm.plugins.iter().find(named).map(Plugin::without_places);
    others(before) == others(after) && written == expected.map(Plugin::without_places)
}

/// Puts `text` in the place of the file at once: who reads it meanwhile gets the old or the new
/// one, whole. Behind a link, the file that it leads to.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), String> {
    let file = path.display();
    let failed = |error: std::io::Error| format!("{file} can't be written: {error}");
    let path = path.canonicalize().map_err(failed)?;
    let original = File::open(&path).map_err(failed)?;
    // Readable by nobody else until all of it is as it was: it may hold secrets.
    let written = Replacement::of(&path, 0o600).and_then(|mut file| {
        file.write(text.as_bytes())?;
        file.take_after(&original)?;
        file.commit()
    });
    written.map_err(failed)
}

#[cfg(test)]
mod tests;
