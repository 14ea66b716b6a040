//! A fleet: many gateways, one configuration, in etcd.
//!
//! A node's file has what is the machine's and names the fleet; the rest is a document that all
//! nodes share (`document`), under keys that `store` knows. `node` follows it while the gateway
//! runs, `cache` has the last one for starts without etcd, `operator` is behind `odin-cli fleet`.
//! etcd is spoken by `etcd` alone; everything is on the control thread, and no worker knows of it.

mod cache;
pub mod diff;
pub mod document;
pub mod etcd;
mod node;
pub mod operator;
pub mod rollout;
mod standing;
pub mod store;

use crate::control::config::{self, Config};
use crate::limits::{FLEET_FIRST_TIMEOUT, FLEET_RECONNECT};
use etcd::{Etcd, Failure};
use store::Keys;

pub use cache::Cache;
pub use node::run;
pub use standing::{Link, Nodes, Place, Refused, Standing};

/// A gateway that belongs to a fleet.
#[derive(Debug)]
pub struct Member {
    node: String,
    /// Tells this process from every other one.
    instance: String,
    /// How it stands.
    pub place: Place,
}

impl Member {
    /// By a configuration that has a document; `None`: it belongs to none.
    ///
    /// # Errors
    /// The host has no name that a node could have, in words.
    pub fn of(config: &Config) -> Result<Option<Self>, String> {
        let Some(fleet) = &config.fleet else { return Ok(None) };
        let node = name(fleet)?;
        let instance = format!("{:016x}", getrandom::u64().map_err(|error| error.to_string())?);
        let applied = config.document.as_ref().map(|document| document.revision);
        let place = Place::new(node.clone(), applied);
        Ok(Some(Self { node, instance, place }))
    }
}

/// What a node is called.
#[expect(clippy::disallowed_methods, reason = "the control thread asks, once")]
fn name(fleet: &config::Fleet) -> Result<String, String> {
    if let Some(name) = &fleet.node {
        return Ok(name.clone());
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let max = crate::limits::NAME_BYTES_MAX;
    if host.is_empty() || host.len() > max || !host.bytes().all(is_name_byte) {
        return Err(format!(
            "fleet.node: missing, and the host's name ({host:?}) is none for a node; give it one \
             of 1 to {max} of A-Z a-z 0-9 . _ -"
        ));
    }
    Ok(host.to_owned())
}

/// Why a node has nothing to start by.
#[derive(Debug)]
pub enum NoStart {
    /// What it has, or its file, is wrong.
    Wrong(String),
    /// etcd cannot be asked, or has nothing: later it may.
    Nothing(String),
}

/// What a node starts by: its file together with the revision that it applied last or, where it
/// never had one, with the fleet's current one. Of a gateway that is in no fleet, its file. Blocks.
///
/// # Errors
/// There is none, or it is wrong on this node.
pub fn begin(node: Config) -> Result<Config, NoStart> {
    let Some(fleet) = node.fleet.clone() else { return Ok(node) };
    let cache = Cache::of(&fleet).map_err(NoStart::Wrong)?;
    name(&fleet).map_err(NoStart::Wrong)?;
    let damaged = match cache.load() {
        Ok(Some(document)) => {
            return node.of_fleet(&document).map_err(|errors| NoStart::Wrong(errors.to_string()));
        }
        Ok(None) => None,
        Err(why) => Some(why),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| NoStart::Nothing(format!("cannot start: {error}")))?;
    let first = runtime.block_on(first(&fleet));
    runtime.shutdown_background();
    let document = first.map_err(|why| {
        let never = damaged.unwrap_or_else(|| {
            "this node has never applied a revision of its fleet (nothing is in fleet.cacheDir)"
                .to_owned()
        });
        NoStart::Nothing(format!("{never}, and there is none to be had: {why}"))
    })?;
    node.of_fleet(&document).map_err(|errors| NoStart::Wrong(errors.to_string()))
}

/// The current document, as soon as etcd gives it.
async fn first(fleet: &config::Fleet) -> Result<config::Document, String> {
    let mut etcd = Etcd::new(fleet.etcd.clone(), 0);
    let keys = Keys::under(&fleet.etcd.prefix);
    let mut last = "etcd does not answer".to_owned();
    let asking = async {
        loop {
            match current(&mut etcd, &keys).await {
                Ok(Some(document)) => return document,
                Ok(None) => {
                    return Err(format!(
                        "etcd has no document under {}; write one: odin-cli fleet push FILE",
                        fleet.etcd.prefix
                    ));
                }
                Err(Failure::Refused(why)) => return Err(why),
                Err(Failure::Away(why)) => last = why,
            }
            tokio::time::sleep(FLEET_RECONNECT.min).await;
        }
    };
    let asked = tokio::time::timeout(FLEET_FIRST_TIMEOUT, asking).await;
    asked.unwrap_or_else(|_| {
        Err(format!("etcd cannot be reached within {FLEET_FIRST_TIMEOUT:?}: {last}; start it"))
    })
}

async fn current(
    etcd: &mut Etcd,
    keys: &Keys,
) -> Result<Option<Result<config::Document, String>>, Failure> {
    etcd.connect().await?;
    let (live, _) = store::live(etcd, keys).await?;
    match live.revision() {
        0 => Ok(None),
        revision => store::read(etcd, keys, revision).await,
    }
}

/// A node's file together with the revision that it applied last; `None`: it never had one, or is
/// in no fleet. Blocks.
///
/// # Errors
/// There is one, and it is of no use on this node.
pub fn kept(node: &Config) -> Result<Option<Config>, String> {
    let Some(fleet) = &node.fleet else { return Ok(None) };
    let Some(document) = Cache::of(fleet)?.load()? else { return Ok(None) };
    node.of_fleet(&document).map(Some).map_err(|errors| errors.to_string())
}

/// Puts what a node is about to serve on its disk, if that is not there. Blocks.
///
/// # Errors
/// It cannot be written: then it is not served.
pub fn keep(config: &Config) -> Result<(), String> {
    let (Some(fleet), Some(document)) = (&config.fleet, &config.document) else { return Ok(()) };
    let cache = Cache::of(fleet)?;
    match cache.load() {
        Ok(Some(kept)) if kept == *document => Ok(()),
        _ => cache.store(document),
    }
}
