//! A change of the configuration: from the one that runs to the next one.
//!
//! Nothing here touches what runs: a change makes a configuration, or says why it cannot.

use std::path::{Component, Path};

use serde_json::{Map, Value};
use sha2::Digest;

use super::super::compile::Scope;
use super::super::config::{self, Config, Document, Located, NotLoaded, Plugin};
use super::super::fleet::Cache;
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
    /// What all nodes of the fleet share, as this document says; what is the node's own stays.
    Document(Document),
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
    /// The fleet's document, in etcd.
    Fleet,
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
            Self::Fleet => "fleet",
            Self::Names => "a target's addresses changed",
            Self::Modules => "it had been lacking",
        };
        let what = match change {
            Change::File => "configuration reloaded".to_owned(),
            Change::Document(document) => format!("revision {} applied", document.revision),
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

/// Writes the file; gives the digest of what is in the configuration file then, if it was that.
pub(super) type Persist = Box<dyn FnOnce() -> Result<Option<[u8; 32]>, String> + Send>;

impl Change {
    /// Whose failure is this change's failure, as [`super::super::compile::Failure::what`] has it,
    /// even if it failed before.
    pub(super) fn subject(&self) -> Option<String> {
        let name = match self {
            Self::File
            | Self::Document(_)
            | Self::Addresses
            | Self::Unload { .. }
            | Self::Module { .. } => return None,
            Self::Load { keys, .. } => keys.get("name")?.as_str()?,
            Self::Enable { name, .. } => name,
        };
        Some(format!("plugin {name}"))
    }

    /// What it touches.
    pub(super) fn scope(&self) -> Scope {
        match self {
            Self::File | Self::Document(_) => Scope::All,
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

    /// What the next document would silently undo is refused.
    fn is_for_the_fleet(&self, running: &Config) -> Option<Refusal> {
        let is_local = match self {
            Self::File | Self::Document(_) | Self::Addresses | Self::Module { .. } => true,
            Self::Load { .. } | Self::Unload { .. } | Self::Enable { .. } => false,
        };
        let document = running.document.as_ref().filter(|_| !is_local)?;
        let revision = document.revision;
        Some(Refusal::new(
            RefusalKind::Elsewhere,
            format!(
                "plugins of this gateway come from its fleet (revision {revision}), whose next \
                 revision would undo the change; change the fleet's document and push it: \
                 odin-cli fleet push FILE"
            ),
        ))
    }

    /// Makes the next configuration. May read files.
    pub(super) fn apply(self, running: &Config, located: &Located) -> Result<Next, Refusal> {
        if let Some(refusal) = self.is_for_the_fleet(running) {
            return Err(refusal);
        }
        let mut config = running.clone();
        let plugins = &mut config.wasm.plugins;
        let lasting = match self {
            Self::File => return read_file(running, located),
            Self::Document(document) => return apply_document(running, document),
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

/// The node's part of what runs together with another document, which is on disk before it is
/// published.
fn apply_document(running: &Config, document: Document) -> Result<Next, Refusal> {
    let invalid = |reason: String| Refusal::new(RefusalKind::Invalid, reason);
    let fleet = running.fleet.as_ref().ok_or_else(|| invalid("it is in no fleet".to_owned()))?;
    let cache = Cache::of(fleet).map_err(invalid)?;
    let config = running.of_fleet(&document).map_err(|errors| invalid(errors.to_string()))?;
    let persist: Persist = Box::new(move || cache.store(&document).map(|()| None));
    Ok(Next { config, persist: Some(persist) })
}

fn read_file(running: &Config, located: &Located) -> Result<Next, Refusal> {
    let config = located.load_settled().map_err(|not_loaded| match not_loaded {
        NotLoaded::Unsettled(why) => Refusal::new(RefusalKind::Busy, why.to_string()),
        NotLoaded::Wrong(errors) => Refusal::new(RefusalKind::Invalid, errors.to_string()),
    })?;
    let invalid = |reason: String| Refusal::new(RefusalKind::Invalid, reason);
    let config = match (&running.document, &config.fleet) {
        (Some(document), Some(_)) => {
            config.of_fleet(document).map_err(|errors| invalid(errors.to_string()))?
        }
        (None, None) => config,
        (Some(_), None) => {
            return Err(invalid(
                "fleet: missing, and this gateway is in one; restart it to leave \
                                its fleet"
                    .to_owned(),
            ));
        }
        (None, Some(_)) => {
            return Err(invalid(
                "fleet: new in the file; restart the gateway to join it".to_owned(),
            ));
        }
    };
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
        Ok(Some(sha2::Sha256::digest(text.as_bytes()).into()))
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
