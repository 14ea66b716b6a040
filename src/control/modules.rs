//! Plugin modules of other machines: fetched, held against their digest and their signature, and
//! kept where they are found again without any network.
//!
//! A module is known by its SHA-256 alone: where it came from and what has become of that place do
//! not matter any more once it is here. What a configuration lacks is fetched before it is
//! compiled; a module that cannot be had is a plugin that does not load, which a reload refuses and
//! a start tells of. Nothing runs that was not whole when it was read: the compiler holds it
//! against its digest once more.

mod fetch;
mod logins;
mod push;
mod registry;
mod retry;
mod signature;
mod store;
mod trouble;
mod web;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::config::{Config, Modules, Plugin, Remote};
use crate::limits::MODULE_FETCHES_AT_ONCE;
use crate::snapshot::Snapshot;
use fetch::Fetch;
pub use push::{Artifact, Registries, with_line};
pub use retry::run;
use signature::Keys;
pub use signature::sign;
use store::{Store, Trimmed};
pub use trouble::Cause;
use trouble::Trouble;
use web::Web;

/// A SHA-256.
pub type Digest = [u8; 32];

/// Fetches modules for the configurations of a process, one after the other.
#[derive(Debug, Default)]
pub struct Fetcher {
    counts: Counts,
}

/// What has been fetched since the process started.
#[derive(Debug, Default)]
struct Counts {
    fetched: AtomicU64,
    bytes: AtomicU64,
    failed: [AtomicU64; Cause::ALL.len()],
    /// What is on disk.
    kept: AtomicU64,
}

/// Why modules cannot be had, by the names of their plugins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lacking(HashMap<String, String>);

impl Lacking {
    /// Why this plugin has no module.
    pub fn reason(&self, plugin: &str) -> Option<&str> {
        self.0.get(plugin).map(String::as_str)
    }

    /// The plugins.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// The digest of a module.
pub fn digest(wasm: &[u8]) -> Digest {
    super::courtesy::sha256(wasm)
}

/// Whether a file of signatures has one of a module by a key of these files.
///
/// # Errors
/// A file has no key, in words.
pub fn is_signed(keys: &[PathBuf], module: &Digest, text: &[u8]) -> Result<bool, String> {
    let keys = Keys::read(keys).map_err(|trouble| trouble.to_string())?;
    Ok(keys.have_signed(module, Some(text)))
}

/// A module that a configuration names.
#[derive(Debug, Clone)]
struct Want {
    digest: Digest,
    /// Where it is: the first that has it will do.
    places: Vec<Remote>,
    /// Whose it is.
    plugins: Vec<String>,
    /// Whether its code is in memory or on disk.
    is_here: bool,
    /// Whether signatures are on disk that hold, or none needs to.
    is_signed: bool,
}

impl Fetcher {
    /// Makes sure that the modules of the plugins that `concerns` tells are on this machine and
    /// signed; what runs already in `published` is not asked for. Takes as long as
    /// `modules.timeout` says at most. Dropped, it leaves nothing half-written.
    pub async fn obtain(
        &self,
        config: &Config,
        concerns: impl Fn(&Plugin) -> bool,
        published: Option<&Snapshot>,
    ) -> Lacking {
        let wants = wants(config, concerns, published);
        if wants.is_empty() {
            return Lacking::default();
        }
        let failures = match self.obtain_all(config, &wants).await {
            Ok(failures) => failures,
            // What concerns all of them.
            Err(trouble) => {
                self.count(&trouble);
                wants.iter().map(|want| (want.digest, trouble.to_string())).collect()
            }
        };
        let of_want = |want: &Want| failures.get(&want.digest).cloned();
        let lacking = wants.into_iter().filter_map(|want| Some((of_want(&want)?, want.plugins)));
        let by_plugin = lacking.flat_map(|(reason, plugins)| {
            plugins.into_iter().map(move |plugin| (plugin, reason.clone()))
        });
        Lacking(by_plugin.collect())
    }

    async fn obtain_all(
        &self,
        config: &Config,
        wants: &[Want],
    ) -> Result<HashMap<Digest, String>, Trouble> {
        let modules = config.modules.clone();
        let dir = config.module_dir().ok_or_else(|| Trouble::store(NO_FOLDER.to_owned()))?;
        let (store, keys, missing) = {
            let (modules, wants) = (modules.clone(), wants.to_vec());
            blocking(move || {
                let store = Store::open(&dir)?;
                let keys = Keys::read(&modules.signed_by)?;
                let mut missing = Vec::new();
                for mut want in wants {
                    let signatures = store.signatures(&want.digest);
                    if want.is_here {
                        store.note_use(&want.digest);
                    } else {
                        want.is_here = store.has(&want.digest);
                    }
                    want.is_signed = keys.have_signed(&want.digest, signatures.as_deref());
                    if !want.is_here || !want.is_signed {
                        missing.push(want);
                    }
                }
                Ok((Arc::new(store), Arc::new(keys), missing))
            })
            .await?
        };
        if missing.is_empty() {
            return Ok(HashMap::new());
        }
        let deadline = Instant::now() + modules.timeout;
        let timeout = modules.timeout;
        let web = Arc::new(blocking(move || Web::new(modules)).await?);
        let turns = Semaphore::new(MODULE_FETCHES_AT_ONCE);
        let fetches = missing.iter().map(|want| {
            let fetch = Fetch { web: &web, store: &store, keys: &keys };
            let turns = &turns;
            async move {
                let fetching = async {
                    // Nobody closes it.
                    let _turn = turns.acquire().await;
                    fetch.any(want).await
                };
                let fetched = timeout_at(deadline, fetching).await;
                (want, fetched.unwrap_or_else(|_| Err(Trouble::late(timeout))))
            }
        });
        let mut fetches: FuturesUnordered<_> = fetches.collect();
        let mut failures = HashMap::new();
        while let Some((want, fetched)) = fetches.next().await {
            match fetched {
                Ok(bytes) => self.count_fetched(want, bytes),
                Err(trouble) => {
                    self.count(&trouble);
                    failures.insert(want.digest, trouble.to_string());
                }
            }
        }
        Ok(failures)
    }

    fn count_fetched(&self, want: &Want, bytes: u64) {
        // Relaxed: counters, they order nothing.
        self.counts.fetched.fetch_add(1, Relaxed);
        self.counts.bytes.fetch_add(bytes, Relaxed);
        let (plugins, sha256) = (want.plugins.join(", "), crate::text::hex(&want.digest));
        tracing::info!(plugins, sha256, bytes, "module fetched");
    }

    fn count(&self, trouble: &Trouble) {
        self.counts.failed[trouble.cause as usize].fetch_add(1, Relaxed);
    }

    /// Modules fetched and their bytes since the process started.
    pub fn fetched(&self) -> (u64, u64) {
        (self.counts.fetched.load(Relaxed), self.counts.bytes.load(Relaxed))
    }

    /// Modules that could not be had since the process started, for this cause.
    pub fn failed(&self, cause: Cause) -> u64 {
        self.counts.failed[cause as usize].load(Relaxed)
    }
}

impl Fetcher {
    /// Frees the disk of modules that neither this configuration names nor the bound leaves room
    /// for, on a thread of its own.
    pub fn trim(self: &Arc<Self>, config: Arc<Config>) {
        let fetcher = Arc::clone(self);
        // How it went is in the log.
        drop(tokio::task::spawn_blocking(move || fetcher.trim_now(&config)));
    }

    fn trim_now(&self, config: &Config) {
        let named: HashSet<Digest> = remotes(config).filter_map(|plugin| plugin.sha256).collect();
        let Some(dir) = config.module_dir().filter(|dir| dir.is_dir()) else { return };
        let trimmed = Store::open(&dir).and_then(|store| {
            store.trim(&named, config.modules.cache_bytes_max, std::time::SystemTime::now())
        });
        match trimmed {
            Ok(Trimmed { kept, freed }) => {
                self.counts.kept.store(kept, Relaxed);
                if freed > 0 {
                    tracing::info!(freed, kept, "fetched modules removed that nothing names");
                }
            }
            Err(trouble) => tracing::warn!("fetched modules cannot be removed: {trouble}"),
        }
    }

    /// Bytes of modules on disk, as of the last change.
    pub fn kept_bytes(&self) -> u64 {
        self.counts.kept.load(Relaxed)
    }
}

const NO_FOLDER: &str = "there is no folder to keep it in, for the user that Odin runs as has \
                         none; set modules.cacheDir";

/// The plugins whose modules are on other machines, those that do not run included.
fn remotes(config: &Config) -> impl Iterator<Item = &Plugin> {
    config.wasm.plugins.iter().filter(|plugin| plugin.remote.is_some())
}

/// What is to be at hand, each module once.
fn wants(
    config: &Config,
    concerns: impl Fn(&Plugin) -> bool,
    published: Option<&Snapshot>,
) -> Vec<Want> {
    let mut wants: Vec<Want> = Vec::new();
    let runs = |plugin: &&Plugin| config.wasm.enabled && plugin.enabled;
    for plugin in remotes(config).filter(runs).filter(|plugin| concerns(plugin)) {
        // One without a digest was refused when the configuration was read.
        let (Some(place), Some(digest)) = (plugin.remote.clone(), plugin.sha256) else { continue };
        match wants.iter_mut().find(|want| want.digest == digest) {
            Some(want) => {
                want.plugins.push(plugin.name.clone());
                if !want.places.contains(&place) {
                    want.places.push(place);
                }
            }
            None => {
                let loaded = published.map_or(&[][..], |snapshot| &snapshot.plugins);
                let is_here = loaded.iter().any(|loaded| loaded.digest() == Some(&digest));
                let (places, plugins) = (vec![place], vec![plugin.name.clone()]);
                wants.push(Want { digest, places, plugins, is_here, is_signed: false });
            }
        }
    }
    wants
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Trouble::store("a defect of the gateway: it panicked".to_owned())))
}

/// A copy of what is at hand for `config` in a folder that goes with the value, and the
/// configuration that uses it: what is fetched for that leaves nothing behind. Blocks.
///
/// # Errors
/// The folder cannot be made, in words.
pub fn set_aside(config: &Config) -> Result<(Config, Aside), String> {
    let random = getrandom::u64().map_err(|error| error.to_string())?;
    let dir = std::env::temp_dir().join(format!("odin-modules-{random:016x}"));
    let store = Store::open(&dir).map_err(|trouble| trouble.to_string())?;
    let aside = Aside(dir);
    for plugin in remotes(config) {
        if let (Some(from), Some(digest)) = (config.module_dir(), &plugin.sha256) {
            store.copy_from(&from, digest);
        }
    }
    let mut config = config.clone();
    config.modules.cache_dir = Some(aside.0.clone());
    Ok((config, aside))
}

/// A folder that goes with the value.
#[derive(Debug)]
pub struct Aside(PathBuf);

impl Drop for Aside {
    fn drop(&mut self) {
        // What is left of it is of no use to anybody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Config {
    /// Where fetched modules are kept; `None`: nowhere is named, and the user has no folder.
    pub fn module_dir(&self) -> Option<PathBuf> {
        let own = self.modules.cache_dir.clone();
        let compiled = || self.wasm.cache_dir.clone().or_else(super::config::default_cache_dir);
        own.or_else(|| Some(compiled()?.join("modules")))
    }

    /// The file of a plugin's module: its path, under `wasm.pluginDir` if it is relative; where a
    /// fetched one is kept.
    pub fn file_of(&self, plugin: &Plugin) -> PathBuf {
        match (&plugin.remote, &plugin.sha256, self.module_dir()) {
            (Some(_), Some(digest), Some(dir)) => Modules::file_in(&dir, digest),
            _ => self.wasm.file_of(plugin),
        }
    }
}
