//! Writes a change into the configuration file, which stays its author's: comments, order and
//! spelling around the change are kept.
//!
//! The new text is read back before it replaces the file, and must say exactly what was meant: a
//! change that the editing library cannot make where the author wrote something unusual (an alias,
//! say) is refused, the file is not touched.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Map, Value};
use yamlpatch::{Op, Patch};
use yamlpath::{Document, route};

use super::super::config::{self, Config, Plugin};
use crate::files::Replacement;
use crate::limits::CONFIG_BYTES_MAX;

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
    let document = Document::new(text.as_str()).map_err(|error| format!("{file}: {error}"))?;
    let patches = patches(&document, &before, edit)?;
    let refused = |why: String| {
        format!("{file} can't be changed by the gateway ({why}); change it by hand and reload")
    };
    let after = yamlpatch::apply_yaml_patches(&document, &patches)
        .map_err(|error| refused(error.to_string()))?;
    let text = after.source().to_owned();
    let after = config::parse_text(&text, &name).map_err(|error| refused(error.to_string()))?;
    if says(&before, &after, edit, expected) {
        Ok(text)
    } else {
        Err(refused("the text would say something else".to_owned()))
    }
}

fn patches<'t>(
    document: &Document,
    config: &Config,
    edit: &Edit,
) -> Result<Vec<Patch<'t>>, String> {
    let plugins = &config.wasm.plugins;
    let position = |name: &str| plugins.iter().position(|plugin| plugin.name == name);
    let patch = |route, operation| Patch { route, operation };
    Ok(match edit {
        Edit::Remove(name) => match position(name) {
            // It was never written.
            None => Vec::new(),
            Some(_) if plugins.len() == 1 => {
                let empty = yaml_serde::Value::Sequence(Vec::new());
                vec![patch(route!("wasm", "plugins"), Op::Replace(empty))]
            }
            Some(at) => vec![patch(route!("wasm", "plugins", at), Op::Remove)],
        },
        Edit::Set(keys) => match position(edit.name()) {
            // Turned on or off, but loaded without being written.
            None if !keys.contains_key("path") => {
                return Err(format!(
                    "{} has no plugin named {}; load it with \"persist\": true first",
                    config.file,
                    edit.name()
                ));
            }
            None => vec![added(document, plugins.is_empty(), yaml(&Value::Object(keys.clone()))?)],
            Some(at) => {
                let keys = keys.iter().filter(|(key, _)| *key != "name");
                let set = keys.map(|(key, value)| {
                    let value = yaml(value)?;
                    let route = route!("wasm", "plugins", at).with_key(key.clone());
                    Ok(match document.query_exists(&route) {
                        true => patch(route, Op::Replace(value)),
                        false => {
                            let key = key.clone();
                            patch(route!("wasm", "plugins", at), Op::Add { key, value })
                        }
                    })
                });
                set.collect::<Result<_, String>>()?
            }
        },
    })
}

/// The patch that adds a plugin to the list, which may not be there yet.
fn added<'t>(document: &Document, is_first: bool, entry: yaml_serde::Value) -> Patch<'t> {
    let list = yaml_serde::Value::Sequence(vec![entry.clone()]);
    let key = "plugins".to_owned();
    if !document.query_exists(&route!("wasm")) {
        let plugins = [(key.into(), list)].into_iter().collect();
        let value = yaml_serde::Value::Mapping(plugins);
        return Patch { route: route!(), operation: Op::Add { key: "wasm".to_owned(), value } };
    }
    let (route, operation) = match document.query_exists(&route!("wasm", "plugins")) {
        false => (route!("wasm"), Op::Add { key, value: list }),
        true if is_first => (route!("wasm", "plugins"), Op::Replace(list)),
        true => (route!("wasm", "plugins"), Op::Append { value: entry }),
    };
    Patch { route, operation }
}

/// What was sent has no variables, and the file would take them for some.
fn yaml(value: &Value) -> Result<yaml_serde::Value, String> {
    let mut value = value.clone();
    escape(&mut value);
    yaml_serde::to_value(value).map_err(|error| error.to_string())
}

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
    let mode = path.metadata().map_err(failed)?.permissions().mode();
    // Readable by nobody else until all of it is as it was: it may hold secrets.
    let written = Replacement::of(&path, 0o600).and_then(|mut file| {
        file.write(text.as_bytes())?;
        file.set_mode(mode)?;
        file.commit()
    });
    written.map_err(failed)
}
