//! What each plugin may reach, read from its `config`: hosts looked up, files read, state opened.
//!
//! Control thread only, when a snapshot is compiled; what blocks (names, files) blocks here. Names
//! are looked up again every `NAME_REFRESH_INTERVAL` as long as a snapshot uses them ([`Upkeep`]):
//! an answer replaces the last one, no answer leaves it.

mod addresses;

use std::collections::{BTreeSet, HashMap};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Instant;

use arc_swap::ArcSwap;
use serde_json::Value;

use super::trust::Trust;
use crate::files;
use crate::kv::config::Selection;
use crate::kv::memory::MemoryStore;
use crate::kv::{self, Backends};
use crate::limits;
use crate::plugin::{
    Callee, GivenFile, Origin, Outbound, Plugin, Reach, Scheme, Url, authority_of,
};
use crate::upstream::call::Bounds;
use crate::upstream::condition::Condition;
use crate::upstream::tls::Tls;

/// Longest text of a `config` that may be a path: Linux's own bound.
const PATH_BYTES_MAX: usize = 4096;

/// An origin's name in the process: scheme, host, port.
pub type OriginKey = (Scheme, String, u16);

/// Gives plugins what they may reach, over all snapshots of the process.
pub struct Reaching {
    backends: Backends,
    origins: HashMap<OriginKey, Weak<Origin>>,
    names: Arc<ArcSwap<Names>>,
}

/// The names in use that may change their addresses.
#[derive(Default)]
struct Names {
    origins: Vec<Weak<Origin>>,
    redis: Vec<Weak<kv::redis::Endpoint>>,
}

/// What the plugins of one configuration have in common.
pub struct Common<'a> {
    /// The gateway's `kv`.
    pub kv: &'a kv::config::Config,
    /// The services, sorted by name.
    pub services: Arc<Vec<Callee>>,
    /// Bounds of the gateway's own calls.
    pub bounds: Bounds,
    /// Whom to trust.
    pub trust: &'a Trust,
}

impl Reaching {
    /// Nothing is reached yet. The sizes of the memory store are those of this configuration.
    pub fn new(kv: &kv::config::Config) -> Self {
        Self {
            backends: Backends::new(kv, Instant::now()),
            origins: HashMap::new(),
            names: Arc::default(),
        }
    }

    /// The work that goes on while the process runs.
    pub fn upkeep(&self) -> Upkeep {
        Upkeep { memory: Arc::clone(self.backends.memory()), names: Arc::clone(&self.names) }
    }

    /// Gives a loaded plugin what its module imports and its `config` names. `id_of` numbers
    /// origins among endpoints, and among targets. What cannot be had is a warning; a `config` that
    /// contradicts itself is an error: the plugin cannot run.
    pub fn equip(
        &mut self,
        plugin: &Plugin,
        common: &Common<'_>,
        id_of: impl FnMut(&OriginKey) -> (usize, usize, Arc<Condition>),
        warnings: &mut Vec<String>,
    ) -> Result<Reach, String> {
        let (uses, config) = (plugin.uses(), plugin.spec.config());
        let mut reach = Reach::default();
        let mut mistakes = Vec::new();
        if uses.http {
            reach.outbound = Outbound {
                services: Arc::clone(&common.services),
                origins: self.origins(config, common.trust, id_of, &mut mistakes),
                bounds: common.bounds,
            };
        }
        if uses.files {
            reach.files = files(config, &mut mistakes);
        }
        if uses.state {
            let selection = Selection::from_plugin_config(config, common.kv)?;
            let tls = |host: &str| common.trust.redis(host);
            reach.state = Some(self.backends.bind(&selection, &plugin.spec.name, &tls)?);
        }
        let name = &plugin.spec.name;
        warnings.extend(mistakes.iter().map(|mistake| format!("plugin {name}: {mistake}")));
        Ok(reach)
    }

    /// Looks up the names of the Redis servers in use, and takes note of all that are to be
    /// refreshed. To be called when all plugins are equipped.
    pub fn settle(&mut self, warnings: &mut Vec<String>) {
        let redis = self.backends.endpoints();
        for endpoint in &redis {
            if let Err(why) = endpoint.resolve() {
                warnings.push(format!("redis: {why}; calls to it fail until it does"));
            }
        }
        self.origins.retain(|_, origin| origin.strong_count() > 0);
        self.names.store(Arc::new(Names {
            origins: self.origins.values().cloned().collect(),
            redis: redis.iter().map(Arc::downgrade).collect(),
        }));
    }

    /// The origins that a `config` names: every string that is a URL, and `allowedHosts`.
    fn origins(
        &mut self,
        config: &Value,
        trust: &Trust,
        mut id_of: impl FnMut(&OriginKey) -> (usize, usize, Arc<Condition>),
        mistakes: &mut Vec<String>,
    ) -> Vec<Arc<Origin>> {
        let mut keys = named_origins(config, mistakes);
        keys.sort_unstable_by(|a, b| (&a.1, a.2, a.0.as_str()).cmp(&(&b.1, b.2, b.0.as_str())));
        keys.dedup();
        let most = limits::PLUGIN_ORIGINS_MAX;
        if keys.len() > most {
            mistakes.push(format!("config names {} hosts, limit is {most}", keys.len()));
            keys.truncate(most);
        }
        let mut origin = |key: &OriginKey| {
            let tls = match key.0 {
                Scheme::Http => Ok(None),
                Scheme::Https => trust.tls(&key.1).map(Some),
            };
            let grpc_tls = tls.as_ref().ok().and_then(Option::as_ref);
            let grpc_tls = grpc_tls.and_then(|_| trust.grpc(&key.1).ok());
            match tls {
                Ok(tls) => Some(self.origin(key, (tls, grpc_tls), id_of(key), mistakes)),
                Err(why) => {
                    mistakes.push(format!("https://{} cannot be called: {why}", key.1));
                    None
                }
            }
        };
        keys.iter().filter_map(&mut origin).collect()
    }

    fn origin(
        &mut self,
        key: &OriginKey,
        (tls, grpc_tls): (Option<Tls>, Option<Tls>),
        (id, target, condition): (usize, usize, Arc<Condition>),
        mistakes: &mut Vec<String>,
    ) -> Arc<Origin> {
        let earlier = self.origins.get(key).and_then(Weak::upgrade);
        let origin = earlier.filter(|earlier| earlier.tls == tls).unwrap_or_else(|| {
            let unresolved = Err("is not looked up yet".to_owned());
            Arc::new(Origin {
                tls,
                grpc_tls,
                scheme: key.0,
                host: key.1.clone(),
                port: key.2,
                id,
                target,
                condition,
                addresses: ArcSwap::from_pointee(unresolved),
            })
        });
        self.origins.insert(key.clone(), Arc::downgrade(&origin));
        if let Err(why) = refresh(&origin) {
            mistakes.push(format!("{why}; calls to it fail until it does"));
        }
        origin
    }
}

/// Whether a plugin of this `config` may call a URL that leads to no service. For an author's
/// tests: nothing is looked up.
pub fn names_url(config: &Value, url: &Url<'_>) -> bool {
    let port = url.port.unwrap_or(url.scheme.port());
    let keys = named_origins(config, &mut Vec::new());
    keys.iter().any(|key| (key.0, key.1.as_str(), key.2) == (url.scheme, url.host.as_str(), port))
}

/// Whether a plugin of this `config` may read a file. For an author's tests: nothing is read.
pub fn names_file(config: &Value, path: &str) -> bool {
    let mut is_named = false;
    each_string(config, &mut |text| is_named |= text == path);
    is_named
}

fn named_origins(config: &Value, mistakes: &mut Vec<String>) -> Vec<OriginKey> {
    let mut keys = Vec::new();
    each_string(config, &mut |text| {
        // Only the origin counts: a template such as http://host/users/{id} names its host.
        let host = text.find("://").map_or(text.len(), |at| at + 3);
        let end = text[host..].find(['/', '?', '#']).map_or(text.len(), |at| host + at);
        let origin = &text[..end];
        if let Ok(url) = Url::parse(origin) {
            keys.push((url.scheme, url.host, url.port.unwrap_or(url.scheme.port())));
        }
    });
    let hosts = config.get("allowedHosts").and_then(Value::as_array);
    for host in hosts.into_iter().flatten() {
        let text = host.as_str().unwrap_or_default();
        if text.contains("://") {
            continue; // seen above
        }
        match authority_of(text) {
            Ok((host, port)) => {
                for scheme in [Scheme::Http, Scheme::Https] {
                    keys.push((scheme, host.clone(), port.unwrap_or(scheme.port())));
                }
            }
            Err(why) => mistakes.push(format!(
                "config.allowedHosts has {host}, which {why}; write host, host:port or a URL"
            )),
        }
    }
    keys
}

fn each_string(value: &Value, see: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => see(text),
        Value::Array(values) => values.iter().for_each(|value| each_string(value, see)),
        Value::Object(object) => object.values().for_each(|value| each_string(value, see)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Looks an origin up. Blocks. When there is no answer an earlier one stays.
fn refresh(origin: &Origin) -> Result<(), String> {
    take_answer(origin, look_up(&origin.host, origin.port))
}

fn take_answer(origin: &Origin, looked_up: Result<Vec<SocketAddr>, String>) -> Result<(), String> {
    let outcome = looked_up.as_ref().map(|_| ()).map_err(String::clone);
    if looked_up.is_ok() || origin.addresses.load().is_err() {
        origin.addresses.store(Arc::new(looked_up));
    }
    outcome
}

fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("{host} does not resolve: {error}"))?;
    allowed(host, found)
}

/// Of the addresses that a name has, those that plugins may call.
fn allowed(host: &str, found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, String> {
    let (allowed, refused): (Vec<_>, Vec<_>) =
        found.partition(|address| addresses::refusal(address.ip()).is_none());
    match refused.first() {
        _ if !allowed.is_empty() => Ok(allowed),
        Some(address) => {
            let (ip, why) = (address.ip(), addresses::refusal(address.ip()).unwrap_or_default());
            Err(format!("{host} resolves to {ip}, where plugins may not call: {why}"))
        }
        None => Err(format!("{host} does not resolve: it has no address")),
    }
}

/// The files that a `config` names: strings that are paths of regular files. An absolute path that
/// can't be read is kept with its error, for the plugin that asks for it.
fn files(config: &Value, mistakes: &mut Vec<String>) -> Vec<GivenFile> {
    let mut texts: BTreeSet<String> = BTreeSet::new();
    each_string(config, &mut |text| {
        if !text.is_empty() && text.len() <= PATH_BYTES_MAX && !text.contains(['\0', '\n']) {
            texts.insert(text.to_owned());
        }
    });
    let most = limits::PLUGIN_FILES_MAX;
    let read = files::within(limits::FILE_READ_TIMEOUT, move || Ok(read_all(texts, most + 1)));
    let read = read.unwrap_or_else(|why| {
        mistakes.push(format!("a file that config names {why}"));
        Vec::new()
    });
    if read.len() > most {
        mistakes.push(format!("config names more than {most} files, the limit"));
    }
    let given = read.into_iter().take(most).map(|(is_there, file)| {
        if let (true, Err(why)) = (is_there, &file.contents) {
            mistakes.push(format!("config names the file {}, which {why}", file.path));
        }
        file
    });
    given.collect()
}

/// The first files that these texts name, and whether each is there.
fn read_all(texts: BTreeSet<String>, most: usize) -> Vec<(bool, GivenFile)> {
    let read = texts.into_iter().filter_map(|text| {
        let path = Path::new(&text);
        let is_there = path.is_file();
        if !is_there && !text.starts_with(['/', '.']) {
            return None;
        }
        let contents = files::open(path)
            .and_then(|(file, bytes)| files::contents(file, bytes, limits::PLUGIN_FILE_BYTES_MAX));
        Some((is_there, GivenFile { contents: contents.map(Arc::from), path: text }))
    });
    read.take(most).collect()
}

/// What goes on while the process runs: expired entries leave the memory store, names are looked
/// up again.
pub struct Upkeep {
    memory: Arc<MemoryStore>,
    names: Arc<ArcSwap<Names>>,
}

impl Upkeep {
    /// Runs for as long as it is polled, on the control thread.
    pub async fn run(self) {
        let mut refreshed = Instant::now();
        loop {
            tokio::time::sleep(limits::KV_SWEEP_INTERVAL).await;
            self.memory.sweep(Instant::now());
            if refreshed.elapsed() >= limits::NAME_REFRESH_INTERVAL {
                let names = self.names.load_full();
                // A name server may take its time, which is not the control thread's.
                let _ended = tokio::task::spawn_blocking(move || names.refresh()).await;
                refreshed = Instant::now();
            }
        }
    }
}

impl Names {
    fn refresh(&self) {
        for origin in self.origins.iter().filter_map(Weak::upgrade) {
            if let Err(why) = refresh(&origin) {
                tracing::warn!("{why}; the last answer is used");
            }
        }
        for endpoint in self.redis.iter().filter_map(Weak::upgrade) {
            if let Err(why) = endpoint.resolve() {
                tracing::warn!("redis: {why}; the last answer is used");
            }
        }
    }
}

#[cfg(test)]
mod tests;
