//! What a configuration file says of plugins; the companion of `model`.
//!
//! Control thread only. Files are named here, not read; patterns compile but are kept as text,
//! because each worker wants its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Place;
use crate::limits;
use crate::plugin::BodyMode;

/// `wasm`.
#[derive(Debug, Clone, PartialEq)]
pub struct Wasm {
    /// Whether plugins run at all; false: the chain is empty, whatever `plugins` says.
    pub enabled: bool,
    /// Where relative plugin paths start, as written.
    pub plugin_dir: PathBuf,
    /// Most memory of an instance, in pages of 64 KiB.
    pub max_memory_pages: u32,
    /// Most instances of a plugin over all workers.
    pub max_instances: u32,
    /// Whether compiled modules are kept on disk.
    pub cache_enabled: bool,
    /// Where they are kept; `None`: a folder of the user that the process runs as.
    pub cache_dir: Option<PathBuf>,
    /// Wall time of a call for plugins that set none.
    pub timeout: Duration,
    /// The plugins in the order of the file, disabled ones too. Names are unique.
    pub plugins: Vec<Plugin>,
}

impl Wasm {
    /// The plugin's file: its path, under `plugin_dir` if it is relative.
    pub fn file_of(&self, plugin: &Plugin) -> PathBuf {
        self.plugin_dir.join(&plugin.path)
    }
}

impl Default for Wasm {
    fn default() -> Self {
        Self {
            enabled: true,
            plugin_dir: Path::new("/etc/odin/plugins").to_owned(),
            max_memory_pages: limits::PLUGIN_MEMORY_PAGES_MAX,
            max_instances: limits::PLUGIN_INSTANCES_MAX,
            cache_enabled: true,
            cache_dir: None,
            timeout: limits::PLUGIN_TIMEOUT,
            plugins: Vec::new(),
        }
    }
}

/// One of `wasm.plugins`.
#[derive(Debug, Clone, PartialEq)]
pub struct Plugin {
    /// Where the entry begins.
    pub place: Place,
    /// Its name: 1 to 128 of `A-Z a-z 0-9 . _ -`, unique.
    pub name: String,
    /// Its file as written: absolute or under `wasm.plugin_dir` (see [`Wasm::file_of`]).
    pub path: PathBuf,
    /// Where its module is if it is on another machine; `sha256` is given then.
    pub remote: Option<super::Remote>,
    /// What it is for.
    pub kind: PluginType,
    /// Whether it runs.
    pub enabled: bool,
    /// Its rank in the chain: lower runs first, equal ones in the order of the file.
    pub priority: i64,
    /// Wall time of a call; `None`: `wasm.timeout`.
    pub timeout: Option<Duration>,
    /// It runs on paths that one of these matches; empty: on every path.
    pub allowed_urls: Vec<Pattern>,
    /// It runs on the services of these names; empty: on every service.
    pub services: Vec<String>,
    /// What it is handed: an object, or a text for a foreign filter.
    pub config: serde_json::Value,
    /// What happens to the request when it fails; `None`: by its type.
    pub failure_mode: Option<FailureMode>,
    /// How it is given bodies; `None`: by its type.
    pub body: Option<BodyMode>,
    /// What happens to a body beyond `server.limits.pluginBodyBytesMax`.
    pub on_body_too_large: OnBodyTooLarge,
    /// What becomes of the content codings of bodies that it is given.
    pub encoding: Encoding,
    /// Whether requests share instances.
    pub isolation: Isolation,
    /// Instances that each worker makes before the plugin serves; `None`:
    /// [`limits::PLUGIN_INSTANCES_PREMADE`], or fewer where `max_instances` allows no more.
    pub instances: Option<u32>,
    /// Instances over all workers; `None`: `wasm.max_instances`.
    pub max_instances: Option<u32>,
    /// Memory of an instance in pages of 64 KiB; `None`: `wasm.max_memory_pages`.
    pub max_memory_pages: Option<u32>,
    /// The only SHA-256 that its file may have.
    pub sha256: Option<[u8; 32]>,
    /// What becomes of values of fields that are not UTF-8; `None`: by its ABI.
    pub non_utf8: Option<NonUtf8>,
    /// Between two ticks; `None`: it has none.
    pub tick: Option<Duration>,
    /// Who ticks.
    pub tick_on: TickOn,
    /// Which root of a foreign filter's module it is.
    pub root_id: String,
    /// Whose shared data and queues a foreign filter shares.
    pub vm_id: String,
    /// What a foreign filter's start reads.
    pub vm_config: String,
}

impl Plugin {
    /// The same, wherever in a file it stands.
    #[must_use]
    pub fn without_places(&self) -> Self {
        let mut plugin = self.clone();
        plugin.place = Place::default();
        plugin.allowed_urls.iter_mut().for_each(|pattern| pattern.place = Place::default());
        plugin
    }

    /// Its path as it may be shown.
    pub fn shown_path(&self) -> String {
        match &self.remote {
            Some(remote) => remote.to_string(),
            None => self.path.to_string_lossy().into_owned(),
        }
    }

    /// Takes over what `earlier` has in the keys that are not given for this one.
    pub fn take_over(&mut self, earlier: &Self, is_given: impl Fn(&str) -> bool) {
        macro_rules! keep {
            ($($key:literal: $field:ident,)+) => {
                // Every field stands here, so that a new one cannot be forgotten.
                let Self { place: _, name: _, $($field),+ } = self;
                $(if !is_given($key) {
                    *$field = earlier.$field.clone();
                })+
            };
        }
        keep! {
            "path": path,
            "path": remote,
            "type": kind,
            "enabled": enabled,
            "priority": priority,
            "timeout": timeout,
            "allowedUrls": allowed_urls,
            "services": services,
            "config": config,
            "failureMode": failure_mode,
            "body": body,
            "onBodyTooLarge": on_body_too_large,
            "encoding": encoding,
            "isolation": isolation,
            "instances": instances,
            "maxInstances": max_instances,
            "maxMemoryPages": max_memory_pages,
            "sha256": sha256,
            "nonUtf8": non_utf8,
            "tick": tick,
            "tickOn": tick_on,
            "rootId": root_id,
            "vmId": vm_id,
            "vmConfig": vm_config,
        }
    }
}

/// `plugins[].type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PluginType {
    /// May this request pass?
    Auth,
    /// Has this client had enough?
    RateLimit,
    /// Changes requests.
    Request,
    /// Changes responses.
    Response,
    /// Both phases.
    Middleware,
    /// Makes one response of several.
    Aggregation,
}

impl PluginType {
    /// The word that stands in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::RateLimit => "ratelimit",
            Self::Request => "request",
            Self::Response => "response",
            Self::Middleware => "middleware",
            Self::Aggregation => "aggregation",
        }
    }
}

/// A regular expression of `plugins[].allowedUrls`. It compiles within
/// [`limits::PATTERN_COMPILED_BYTES_MAX`]; build it with [`Pattern::build`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The expression, unanchored.
    pub source: String,
    /// Where it stands.
    pub place: Place,
}

impl Pattern {
    /// The compiled expression.
    ///
    /// # Errors
    /// A syntax error, or an expression that compiles to more than
    /// [`limits::PATTERN_COMPILED_BYTES_MAX`] (not for one that a [`Config`] holds).
    pub fn build(&self) -> Result<regex::Regex, regex::Error> {
        regex::RegexBuilder::new(&self.source)
            .size_limit(limits::PATTERN_COMPILED_BYTES_MAX)
            .build()
    }
}

/// All expressions of one plugin as one.
///
/// # Errors
/// Together they compile to more than [`limits::PATTERNS_COMPILED_BYTES_MAX`] (not for those that a
/// [`Config`] holds).
pub fn pattern_set(patterns: &[Pattern]) -> Result<regex::RegexSet, String> {
    let sources = patterns.iter().map(|pattern| &pattern.source);
    let most = limits::PATTERNS_COMPILED_BYTES_MAX;
    regex::RegexSetBuilder::new(sources).size_limit(most).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            let count = patterns.len();
            format!(
                "got {count} patterns that compile to more than {most} bytes together; list \
                     or repeat less, or say more with one"
            )
        }
        other => other.to_string(),
    })
}

/// `plugins[].failureMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureMode {
    /// The exchange goes on without the plugin.
    Open,
    /// The client gets 502 or 503.
    Closed,
}

/// `plugins[].onBodyTooLarge`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnBodyTooLarge {
    /// 413 for a request, 502 for a response.
    #[default]
    Reject,
    /// The body streams past the plugin, which sees none.
    Pass,
}

/// `plugins[].encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// Bodies are given, and go on, without a content coding.
    #[default]
    Decode,
    /// The same is asked for, and what is coded all the same is refused: 415, a response 502.
    Identity,
    /// Bodies are given as they are.
    Raw,
}

/// `plugins[].nonUtf8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonUtf8 {
    /// The message is refused.
    Reject,
    /// The plugin is not told of them.
    Hide,
    /// They are given as they are.
    Pass,
}

/// `plugins[].tickOn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TickOn {
    /// Each instance of each worker.
    #[default]
    Each,
    /// One in the process.
    One,
}

impl TickOn {
    /// As it is configured.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Each => "each",
            Self::One => "one",
        }
    }
}

impl Isolation {
    /// As it is configured.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Request => "request",
        }
    }
}

/// `plugins[].isolation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Instances are reused; what a plugin keeps in memory lives as long as its worker's instance.
    #[default]
    Shared,
    /// Each request gets a fresh instance.
    Request,
}
