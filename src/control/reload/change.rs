//! A change of the configuration: from the one that runs to the next one.
//!
//! Nothing here touches what runs: a change makes a configuration, or says why it cannot.

use std::path::{Component, Path};

use serde_json::{Map, Value};
use sha2::Digest;

use super::super::compile::Scope;
use super::super::config::{self, Config, Located, NotLoaded, Plugin};
use super::persist::{self, Edit};
use super::{Refusal, RefusalKind};

/// What is to change.
#[derive(Debug, Clone)]
pub enum Change {
    /// Everything, as the configuration file says now. What the admin API has changed and not
    /// written to the file is undone.
    File,
    /// The module of a plugin has come that was not to be had: nothing else is compiled.
    Module {
        /// The plugin's name.
        name: String,
    },
    /// Nothing but where the names of targets lead: no file is read.
    Addresses,
    /// A plugin is added or replaced: `name`, `path` and any other key of `wasm.plugins[]`. Keys
    /// that are not given keep the value that the plugin of this name has.
    Load {
        /// The keys.
        keys: Map<String, Value>,
        /// Whether the file is changed too.
        persist: bool,
    },
    /// A plugin is taken out.
    Unload {
        /// Its name.
        name: String,
        /// Whether the file is changed too.
        persist: bool,
    },
    /// A plugin runs or does not.
    Enable {
        /// Its name.
        name: String,
        /// Whether it runs.
        enabled: bool,
        /// Whether the file is changed too.
        persist: bool,
    },
}

/// Who asked for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// SIGHUP.
    Signal,
    /// A file changed on disk.
    Watch,
    /// A call of the admin API.
    Admin,
    /// A target's name resolves to other addresses.
    Names,
    /// A module was fetched that had been lacking.
    Modules,
}

impl Cause {
    /// What was asked for and by whom.
    pub(super) fn describe(self, change: &Change) -> String {
        let by = match self {
            Self::Signal => "SIGHUP",
            Self::Watch => "a file changed",
            Self::Admin => "admin API",
            Self::Names => "a target's addresses changed",
            Self::Modules => "it had been lacking",
        };
        let what = match change {
            Change::File => "configuration reloaded".to_owned(),
            Change::Addresses => "targets looked up again".to_owned(),
            Change::Module { name } => format!("module of plugin {name} fetched"),
            Change::Load { keys, .. } => {
                let name = keys.get("name").and_then(Value::as_str).unwrap_or_default();
                format!("plugin {} loaded", name.escape_default())
            }
            Change::Unload { name, .. } => format!("plugin {} unloaded", name.escape_default()),
            Change::Enable { name, enabled, .. } => {
                let word = if *enabled { "enabled" } else { "disabled" };
                format!("plugin {} {word}", name.escape_default())
            }
        };
        format!("{what} ({by})")
    }
}

/// The configuration that a change leads to.
pub(super) struct Next {
    pub(super) config: Config,
    /// Writes it to the file, once it is known to work.
    pub(super) persist: Option<Persist>,
}

/// Writes the file; gives the digest of what is in it then.
pub(super) type Persist = Box<dyn FnOnce() -> Result<[u8; 32], String> + Send>;

impl Change {
    /// Whose failure is this change's failure, as [`super::super::compile::Failure::what`] has it,
    /// even if it failed before.
    pub(super) fn subject(&self) -> Option<String> {
        let name = match self {
            Self::File | Self::Addresses | Self::Unload { .. } | Self::Module { .. } => {
                return None;
            }
            Self::Load { keys, .. } => keys.get("name")?.as_str()?,
            Self::Enable { name, .. } => name,
        };
        Some(format!("plugin {name}"))
    }

    /// What it touches.
    pub(super) fn scope(&self) -> Scope {
        match self {
            Self::File => Scope::All,
            Self::Addresses => Scope::Addresses,
            Self::Load { keys, .. } => {
                let name = keys.get("name").and_then(Value::as_str);
                Scope::Plugin(name.unwrap_or_default().to_owned())
            }
            Self::Unload { name, .. } | Self::Enable { name, .. } | Self::Module { name } => {
                Scope::Plugin(name.clone())
            }
        }
    }

    /// Makes the next configuration. May read files.
    pub(super) fn apply(self, running: &Config, located: &Located) -> Result<Next, Refusal> {
        let mut config = running.clone();
        let plugins = &mut config.wasm.plugins;
        let lasting = match self {
            Self::File => return read_file(located),
            Self::Addresses | Self::Module { .. } => None,
            Self::Load { keys, persist } => {
                load(&mut config, keys.clone())?;
                persist.then_some(Edit::Set(keys))
            }
            Self::Unload { name, persist } => {
                plugins.remove(find(plugins, &name)?);
                persist.then_some(Edit::Remove(name))
            }
            Self::Enable { name, enabled, persist } => {
                let at = find(plugins, &name)?;
                plugins[at].enabled = enabled;
                let keys = [("name", name.into()), ("enabled", enabled.into())];
                let keys = keys.map(|(key, value)| (key.to_owned(), value));
                persist.then_some(Edit::Set(keys.into_iter().collect()))
            }
        };
        let persist = lasting.map(|edit| writer(edit, &config, located)).transpose()?;
        Ok(Next { config, persist })
    }
}

fn read_file(located: &Located) -> Result<Next, Refusal> {
    let config = located.load_settled().map_err(|not_loaded| match not_loaded {
        NotLoaded::Unsettled(why) => Refusal::new(RefusalKind::Busy, why.to_string()),
        NotLoaded::Wrong(errors) => Refusal::new(RefusalKind::Invalid, errors.to_string()),
    })?;
    Ok(Next { config, persist: None })
}

/// Prepares the new text of the file, and what writes it.
fn writer(edit: Edit, config: &Config, located: &Located) -> Result<Persist, Refusal> {
    let broken = |reason: String| Refusal::new(RefusalKind::Broken, reason);
    let Located::File(path) = located else {
        return Err(broken(format!("persist: {located} is no file that could be written to")));
    };
    // What somebody is writing would be cut off, and theirs go to a file that is no longer there.
    if let Err(NotLoaded::Unsettled(why)) = located.load_settled() {
        return Err(Refusal::new(RefusalKind::Busy, why.to_string()));
    }
    let expected = config.wasm.plugins.iter().find(|plugin| plugin.name == edit.name());
    let text = persist::edited(path, &edit, expected).map_err(broken)?;
    let path = path.clone();
    Ok(Box::new(move || {
        persist::replace(&path, &text)?;
        Ok(sha2::Sha256::digest(text.as_bytes()).into())
    }))
}

fn find(plugins: &[Plugin], name: &str) -> Result<usize, Refusal> {
    plugins.iter().position(|plugin| plugin.name == name).ok_or_else(|| {
        let known: Vec<_> = plugins.iter().map(|plugin| plugin.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let name = name.escape_default();
        Refusal::new(RefusalKind::Unknown, format!("no plugin named {name}; known: {known}"))
    })
}

/// Adds a plugin, or replaces the one of its name where it stands.
fn load(config: &mut Config, mut keys: Map<String, Value>) -> Result<(), Refusal> {
    let invalid = |reason: String| Refusal::new(RefusalKind::Invalid, reason);
    check_path(&keys).map_err(invalid)?;
    let given: Vec<String> = keys.keys().cloned().collect();
    let name = keys.get("name").and_then(Value::as_str).map(str::to_owned);
    let mut plugins = config.wasm.plugins.iter();
    let earlier = plugins.find(|plugin| Some(&plugin.name) == name.as_ref()).cloned();
    if let Some(earlier) = &earlier
        && !keys.contains_key("path")
    {
        keys.insert("path".to_owned(), earlier.path.to_string_lossy().into_owned().into());
        // One on another machine stands with its digest.
        if let Some(digest) = earlier.sha256.filter(|_| !keys.contains_key("sha256")) {
            keys.insert("sha256".to_owned(), crate::text::hex(&digest).into());
        }
    }
    let plugin = config::parse_plugin(&Value::Object(keys), config);
    let mut plugin = plugin.map_err(|errors| invalid(errors.to_string()))?;
    match earlier {
        Some(earlier) => {
            let is_given = |key: &str| given.iter().any(|given| given == key);
            plugin.take_over(&earlier, is_given);
            let at = find(&config.wasm.plugins, &plugin.name)?;
            config.wasm.plugins[at] = plugin;
        }
        None => config.wasm.plugins.push(plugin),
    }
    let (got, most) = (config.wasm.plugins.len(), crate::limits::PLUGINS_MAX);
    if got > most {
        return Err(invalid(format!("that would be {got} plugins, limit is {most}; unload some")));
    }
    Ok(())
}

/// A relative path stays under `wasm.pluginDir`.
fn check_path(keys: &Map<String, Value>) -> Result<(), String> {
    let Some(path) = keys.get("path").and_then(Value::as_str) else {
        return Ok(());
    };
    if Path::new(path).components().any(|part| part == Component::ParentDir) {
        let path = path.escape_default();
        return Err(format!("path: got {path}, which has \"..\" in it; write where it leads"));
    }
    Ok(())
}
