//! The configuration: YAML text to a [`Config`], or every error of the text at once.
//!
//! Control thread only; it may read files and allocate. The stages stand in files of their own:
//! text to located nodes, variables filled in (`tree`, `expand`), nodes to sections (`server`,
//! `wasm`, `service`, made of the parts in `decode`), and here what concerns several sections.
//! A file is never half used: one error anywhere and there is no [`Config`].
//!
//! What it leaves out: whether addresses resolve, plugin files exist and modules load. That is
//! known when a snapshot is compiled.

mod address;
mod aggregation;
mod clients;
mod decode;
mod errors;
mod expand;
mod fleet;
mod keys;
mod mirror;
mod kv;
mod listen;
mod model;
mod model_clients;
mod model_fleet;
mod model_limits;
mod model_listen;
mod model_origins;
mod model_routes;
mod model_wasm;
mod modules;
mod near;
mod origins;
mod remote;
mod routes;
mod schema;
mod server;
mod service;
mod settled;
mod split;
mod tracing;
mod tree;
mod value;
mod variables;
pub mod view;
mod view_aggregation;
mod view_clients;
mod view_fleet;
mod view_kv;
mod view_limits;
mod view_modules;
pub mod view_origins;
mod view_routes;
mod view_tracing;
mod wasm;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

pub use decode::FITTING_NUMBER;
pub use errors::{ConfigError, ConfigErrors};
pub(super) use expand::{mask as masked, unmask as unmasked};
pub use fleet::{Shared, check_prefix, document, endpoint as etcd_endpoint, secrets};
pub use model::*;
pub use model_clients::*;
pub use model_fleet::*;
pub use model_limits::*;
pub use model_listen::*;
pub use model_origins::*;
pub use model_routes::*;
pub use model_wasm::*;
pub use modules::{Login, Modules, Shown, default_cache_dir};
pub use remote::{Reference, Remote, authority};
pub use tracing::{Endpoint, Otlp, Tracing};
pub use variables::Variables;

use super::courtesy::yield_core;
use crate::limits;
use decode::{Item, Section};
use errors::Errors;
use settled::Unread;
use tree::Node;

/// What runs when there is no file: the echo behind `/` on the loopback address, no plugins.
const EMBEDDED: &str = include_str!("../../config/minimal.yaml");
/// The embedded configuration's name in errors and in the log.
const EMBEDDED_NAME: &str = "built-in configuration";

/// Reads a duration as the configuration writes it: `5s`, `500ms`, `1m30s`, `1h`.
///
/// # Errors
/// What a duration looks like.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    value::duration(text)
}

/// The JSON Schema (draft 2020-12) of a configuration file, as a text that ends with a line.
pub fn json_schema() -> String {
    let mut text = format!("{:#}", schema::document());
    text.push('\n');
    text
}

/// Where the configuration is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Located {
    /// In this file.
    File(PathBuf),
    /// In the program: no file was named and none is where one is looked for.
    Embedded,
    /// Made by the program, and called so in errors.
    Given {
        /// Its YAML.
        text: String,
        /// What errors call it.
        name: String,
    },
}

impl Located {
    /// Loads what was found.
    ///
    /// # Errors
    /// As [`load`]; the embedded configuration has none.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        match self {
            Self::File(path) => load(path),
            Self::Embedded => parse(EMBEDDED, EMBEDDED_NAME, &environment),
            Self::Given { text, name } => parse(text, name, &environment),
        }
    }

    /// Loads what is to take the place of what runs: nothing of a file that is being written.
    /// Blocks until it rests, at most for [`limits::CONFIG_SETTLE_TIMEOUT`].
    ///
    /// # Errors
    /// As [`load`]; somebody goes on writing it.
    pub fn load_settled(&self) -> Result<Config, NotLoaded> {
        let Self::File(path) = self else { return self.load().map_err(NotLoaded::Wrong) };
        let name = path.display().to_string();
        let refuse = |text: String| ConfigErrors::of_file(&name, text);
        let read = settled::read(path, limits::CONFIG_BYTES_MAX as u64 + 1);
        let bytes = read.map_err(|unread| match unread {
            Unread::Written(text) => NotLoaded::Unsettled(refuse(text)),
            Unread::Failed(text) => NotLoaded::Wrong(refuse(text)),
        })?;
        parse_bytes(&bytes, &name, &environment).map_err(NotLoaded::Wrong)
    }
}

/// Why what is to take the place of what runs was not loaded.
#[derive(Debug)]
pub enum NotLoaded {
    /// Somebody is still writing it.
    Unsettled(ConfigErrors),
    /// It can't be read, or what it says is wrong.
    Wrong(ConfigErrors),
}

impl std::fmt::Display for Located {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Embedded => f.write_str(EMBEDDED_NAME),
            Self::Given { name, .. } => f.write_str(name),
        }
    }
}

/// The places where a configuration is looked for after `--config` and `$ODIN_CONFIG`, in order.
pub const FILES: [&str; 2] = ["./config/odin.yaml", "/etc/odin/config.yaml"];

/// The first of: `explicit` (`--config`), `$ODIN_CONFIG`, [`FILES`], the embedded one. A file that
/// is named is taken whether it exists or not; loading it says so.
pub fn locate(explicit: Option<&Path>) -> Located {
    // What can't be looked at (no right to, say) counts as there, so that loading complains of it.
    locate_with(explicit, &environment, &|path| path.try_exists().unwrap_or(true))
}

fn locate_with(
    explicit: Option<&Path>,
    env: &dyn Fn(&str) -> Option<String>,
    exists: &dyn Fn(&Path) -> bool,
) -> Located {
    let named = explicit.map(Path::to_owned);
    named
        .or_else(|| env("ODIN_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from))
        .or_else(|| FILES.iter().map(PathBuf::from).find(|path| exists(path)))
        .map_or(Located::Embedded, Located::File)
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Reads and parses the file at `path`, variables taken from the process's environment.
///
/// # Errors
/// The file can't be read, is larger than [`limits::CONFIG_BYTES_MAX`], or what [`parse`] refuses.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let name = path.display().to_string();
    let refuse = |text: String| ConfigErrors::of_file(&name, text);
    let mut bytes = Vec::new();
    let most = limits::CONFIG_BYTES_MAX as u64 + 1;
    File::open(path)
        .and_then(|file| file.take(most).read_to_end(&mut bytes))
        .map_err(|error| refuse(format!("can't be read: {error}; give a file with --config")))?;
    parse_bytes(&bytes, &name, &environment)
}

/// Parses the bytes of a file, see [`parse`].
///
/// # Errors
/// They aren't UTF-8, or what [`parse`] refuses.
pub fn parse_bytes(
    bytes: &[u8],
    file_name: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigErrors> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text, file_name, env),
        Err(_) => Err(not_utf8(file_name, bytes)),
    }
}

/// The error of a file that isn't UTF-8, with the place of its first bad byte.
fn not_utf8(name: &str, bytes: &[u8]) -> ConfigErrors {
    let valid = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let line_start = valid.rfind('\n').map_or(0, |at| at + 1);
    let place = Place {
        line: valid.matches('\n').count() + 1,
        column: valid[line_start..].chars().count() + 1,
    };
    let got = bytes.get(valid.len()).copied().unwrap_or_default();
    let mut errors = Errors::default();
    let text = format!("got the byte 0x{got:02x}, which is not UTF-8; save the file as UTF-8");
    errors.push(place, text);
    match errors.into_result(name, ()) {
        Ok(()) => ConfigErrors::of_file(name, "is not UTF-8".to_owned()),
        Err(errors) => errors,
    }
}

/// Parses a text as [`load`] does a file.
///
/// # Errors
/// As [`parse`].
pub fn parse_text(text: &str, file_name: &str) -> Result<Config, ConfigErrors> {
    parse(text, file_name, &environment)
}

/// Parses a configuration. `file_name` is what errors begin with, `env` gives the variables.
///
/// # Errors
/// All that is wrong with the text, by place. After an error of YAML itself (or a text beyond the
/// limits of size) the rest can't be read and only what stands before it is reported.
pub fn parse(
    text: &str,
    file_name: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigErrors> {
    let (got, max) = (text.len(), limits::CONFIG_BYTES_MAX);
    if got > max {
        let text = format!("has more than {max} bytes, the limit; is it a configuration?");
        return Err(ConfigErrors::of_file(file_name, text));
    }
    let default = default_server(env)?;
    let mut errors = Errors::default();
    let root = tree::read(text, Some(env), &mut errors);
    yield_core();
    if errors.is_empty() && root.as_ref().is_none_or(|root| root.is_null()) {
        // What is left of a file that was emptied, or is about to be written.
        let place = Place { line: 1, column: 1 };
        errors.push(place, "the file has no content; config/minimal.yaml is the least of use");
    }
    let mut config = decode_root(root.as_deref(), file_name, default, &mut errors);
    config.variables = errors.variables();
    config.secret_files = errors.files();
    errors.into_result(file_name, config)
}

/// What holds of `server` where the file says nothing. `$ODIN_LISTEN` takes the place of the
/// loopback address: an image's default must be one that is reached from outside its container.
fn default_server(env: &dyn Fn(&str) -> Option<String>) -> Result<Server, ConfigErrors> {
    const NAME: &str = "ODIN_LISTEN";
    let mut server = Server::default();
    if let Some(text) = env(NAME).filter(|text| !text.is_empty()) {
        let address = address::listen(&text).map_err(|form| {
            // What stands in quotes there does so for YAML's sake.
            let form = form.replace('"', "");
            let text = format!("got {}, expected {form}", value::quote(&text));
            ConfigErrors::of_file(&format!("${NAME}"), text)
        })?;
        server.listen = vec![Listener::plain(address)];
    }
    Ok(server)
}

/// Reads one plugin, given as JSON with the keys of `wasm.plugins[]`, that is to run in `config`.
/// It comes from outside: `${NAME}` in it is a text, so that nobody reads our environment by it.
///
/// # Errors
/// All that is wrong with it, as in a file.
pub fn parse_plugin(json: &serde_json::Value, config: &Config) -> Result<Plugin, ConfigErrors> {
    const NAME: &str = "request";
    let mut errors = Errors::default();
    // JSON is YAML.
    let root = tree::read(&json.to_string(), None, &mut errors);
    let plugin = root.as_deref().and_then(|node| {
        let item = Item { node, key: String::new() };
        wasm::lone_plugin(&item, &config.services, config.wasm.max_instances, &mut errors)
    });
    let none = || ConfigErrors::of_file(NAME, "is not a plugin".to_owned());
    errors.into_result(NAME, plugin)?.ok_or_else(none)
}

fn decode_root(
    root: Option<&Node>,
    file_name: &str,
    default: Server,
    errors: &mut Errors,
) -> Config {
    let dir = Path::new(file_name).parent().map(Path::to_owned);
    let mut config = Config {
        file: file_name.to_owned(),
        dir: dir.unwrap_or_default(),
        server: default.clone(),
        admin: Admin::default(),
        logging: Logging::default(),
        tracing: Tracing::default(),
        kv: Default::default(),
        modules: Modules::default(),
        wasm: Wasm::default(),
        services: Vec::new(),
        speaks_of_services: false,
        fleet: None,
        document: None,
        variables: Variables::default(),
        secret_files: Vec::new(),
    };
    let Some(node) = root else {
        return config;
    };
    let key = String::new();
    let Some(map) = Section::open(&Item { node, key }, &keys::ROOT, errors) else {
        return config;
    };
    let server = map.read("server", errors, |item, errors| server::server(item, default, errors));
    if let Some(server) = server {
        config.server = server;
    }
    if let Some(admin) = map.read("admin", errors, server::admin) {
        config.admin = admin;
    }
    if let Some(logging) = map.read("logging", errors, server::logging) {
        config.logging = logging;
    }
    if let Some(tracing) = map.read("tracing", errors, tracing::tracing) {
        config.tracing = tracing;
    }
    if let Some(kv) = map.read("kv", errors, kv::kv) {
        config.kv = kv;
    }
    if let Some(modules) = map.read("modules", errors, modules::modules) {
        config.modules = modules;
    }
    let services = map.filled("services").and_then(|item| service::services(&item, errors));
    let wasm =
        map.read("wasm", errors, |item, errors| wasm::wasm(item, services.as_deref(), errors));
    if let Some(wasm) = wasm {
        config.wasm = wasm;
    }
    config.speaks_of_services = services.is_some();
    config.services = services.unwrap_or_default();
    if map.get("fleet").is_some() {
        config.fleet = map.read("fleet", errors, fleet::fleet);
        fleet::check_node(&map, errors);
    }
    check_admin_address(&map, &config, errors);
    config
}

/// The admin API has a port of its own.
fn check_admin_address(root: &Section<'_>, config: &Config, errors: &mut Errors) {
    let Some(listen) = &config.admin.listen else {
        return;
    };
    let is_free = matches!(listen, Listen::Tcp { port: 0, .. });
    if is_free || !config.server.listen.iter().any(|one| one.address == *listen) {
        return;
    }
    let place = ["admin", "server"].iter().find_map(|key| root.get(key));
    let place = place.map_or(root.place, |item| item.place());
    let text = format!("{listen} is one of server.listen; take another port, or off");
    errors.push_at(place, "admin.listen", text);
}

#[cfg(test)]
mod cure_tests;
#[cfg(test)]
mod error_tests;
#[cfg(test)]
mod page_tests;
#[cfg(test)]
mod tests;
