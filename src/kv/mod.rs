//! The plugins' shared state: keys with a time to live, counters, compare-and-set.
//!
//! Two backends behind one [`Store`]: `memory`, one bounded store per process that all workers
//! share, and Redis, over one pipelined connection per worker, which gateways share. A plugin's
//! configuration selects one ([`Selection`]), the control thread binds it ([`Backends::bind`]),
//! each worker opens its [`Store`] from that ([`Stores::open`]).
//!
//! Every plugin has its own namespace, named as the plugin or as its `config.kvNamespace`. In Redis
//! a key is `PREFIX` + namespace + `:` + key, with the prefix `odin:` unless configured: the plugin
//! `limiter`'s key `ip:10.0.0.1` is `odin:limiter:ip:10.0.0.1`. In the namespace, `%` and `:` are
//! written `%25` and `%3A`, so that no two namespaces share a key. Values are the plugin's bytes,
//! counters decimal text. Gateways with the same Redis, db, prefix and plugin name share.
//!
//! What a limiter needs is exact in both: increments and compare-and-set are atomic, and an
//! increment sets the time to live only when it makes the key.
//!
//! Left out: the guest's side of it (pointers, host functions) is `plugin`'s; Redis Cluster and
//! Sentinel.

pub mod config;
mod handshake;
mod link;
pub mod memory;
pub mod redis;
pub mod resp;
mod shard;
mod space;
mod wait;

use std::collections::HashMap;
use std::fmt;
use std::rc::{Rc, Weak as LocalWeak};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use std::cell::RefCell;

use crate::limits;
use crate::upstream::tls::Tls;
use config::{Backend, Config, RedisConfig, Selection};
use memory::{MemoryStore, Namespace};
use redis::{Client, Endpoint, Target};

/// Why an operation failed. The plugin sees the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A key that is empty or longer than [`limits::KV_KEY_BYTES_MAX`].
    KeySize(usize),
    /// A value longer than [`limits::KV_VALUE_BYTES_MAX`].
    ValueSize(usize),
    /// An expected value longer than [`limits::KV_EXPECTED_BYTES_MAX`].
    ExpectedSize(usize),
    /// An increment of a value that is not a decimal number of 64 bits.
    NotAnInteger,
    /// An increment beyond 64 bits. The counter is as it was.
    Overflow,
    /// No room was made within a bounded effort.
    Full,
    /// Redis is not connected; the reason of the last attempt.
    Unavailable(Arc<str>),
    /// The connection broke while the call waited: the write may have been made or not.
    Broken(Arc<str>),
    /// No answer within the time in milliseconds: the write may have been made or not.
    Timeout(u64),
    /// Too many calls wait for this Redis.
    Busy,
    /// Redis refused, with its words.
    Refused(Arc<str>),
}

impl Error {
    /// The value of a metric's `kind` label.
    pub fn label(&self) -> &'static str {
        match self {
            Error::KeySize(_) | Error::ValueSize(_) | Error::ExpectedSize(_) => "size",
            Error::NotAnInteger | Error::Overflow => "number",
            Error::Full => "full",
            Error::Unavailable(_) | Error::Broken(_) => "unavailable",
            Error::Timeout(_) => "timeout",
            Error::Busy => "busy",
            Error::Refused(_) => "refused",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::KeySize(0) => write!(f, "the key is empty"),
            Error::KeySize(got) => {
                write!(f, "the key is {got} bytes, limit is {}; hash it", limits::KV_KEY_BYTES_MAX)
            }
            Error::ValueSize(got) => {
                write!(f, "the value is {got} bytes, limit is {}", limits::KV_VALUE_BYTES_MAX)
            }
            Error::ExpectedSize(got) => {
                let limit = limits::KV_EXPECTED_BYTES_MAX;
                write!(f, "the expected value is {got} bytes, limit is {limit}")
            }
            Error::NotAnInteger => write!(f, "the value is not a decimal number of 64 bits"),
            Error::Overflow => write!(f, "the counter would go beyond 64 bits"),
            Error::Full => write!(
                f,
                "the store is full (kv.memory.bytesMax, kv.memory.namespaceBytesMax, or redis \
                 maxmemory)"
            ),
            Error::Unavailable(reason) => write!(f, "redis is unavailable: {reason}"),
            Error::Broken(reason) => write!(f, "redis may or may not have done it: {reason}"),
            Error::Timeout(ms) => {
                write!(f, "redis may or may not have done it: no answer in {ms} ms (redis.timeout)")
            }
            Error::Busy => write!(
                f,
                "too many calls wait for redis, limit is {} per worker",
                limits::KV_REDIS_WAITING_MAX
            ),
            Error::Refused(words) => write!(f, "redis refused: {words}"),
        }
    }
}

impl std::error::Error for Error {}

/// The outcome of a compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cas {
    /// The key has the new value.
    Swapped,
    /// The key has this value instead of the expected one, `None`: it isn't there.
    Conflict(Option<Arc<[u8]>>),
}

fn check_key(key: &[u8]) -> Result<(), Error> {
    let fits = !key.is_empty() && key.len() <= limits::KV_KEY_BYTES_MAX;
    if fits { Ok(()) } else { Err(Error::KeySize(key.len())) }
}

fn check_value(value: &[u8]) -> Result<(), Error> {
    let fits = value.len() <= limits::KV_VALUE_BYTES_MAX;
    if fits { Ok(()) } else { Err(Error::ValueSize(value.len())) }
}

fn check_expected(expected: Option<&[u8]>) -> Result<(), Error> {
    match expected {
        Some(bytes) if bytes.len() > limits::KV_EXPECTED_BYTES_MAX => {
            Err(Error::ExpectedSize(bytes.len()))
        }
        _ => Ok(()),
    }
}

/// A plugin's shared state on one worker. The memory backend answers without suspending.
#[derive(Clone, Debug)]
pub enum Store {
    /// In this process.
    Memory(Namespace),
    /// In Redis, over this worker's connection.
    Redis(redis::Namespace),
}

impl Store {
    /// The value of a key; `None`: it isn't there or has expired.
    pub async fn get(&self, key: &[u8], now: Instant) -> Result<Option<Arc<[u8]>>, Error> {
        match self {
            Store::Memory(namespace) => namespace.get(key, now),
            Store::Redis(namespace) => namespace.get(key).await,
        }
    }

    /// Sets a key, for `ttl` or for good; a `ttl` it had is replaced. A `ttl` below a millisecond
    /// is one, above [`limits::KV_TTL_MAX`] that.
    pub async fn set(
        &self,
        key: &[u8],
        value: &[u8],
        ttl: Option<Duration>,
        now: Instant,
    ) -> Result<(), Error> {
        match self {
            Store::Memory(namespace) => namespace.set(key, value, ttl, now),
            Store::Redis(namespace) => namespace.set(key, value, ttl).await,
        }
    }

    /// Adds to a counter and gives the sum; a key that isn't there counts as 0. Only the increment
    /// that makes the key sets its `ttl`.
    pub async fn incr(
        &self,
        key: &[u8],
        by: i64,
        ttl: Option<Duration>,
        now: Instant,
    ) -> Result<i64, Error> {
        match self {
            Store::Memory(namespace) => namespace.incr(key, by, ttl, now),
            Store::Redis(namespace) => namespace.incr(key, by, ttl).await,
        }
    }

    /// Removes a key; tells whether it was there.
    pub async fn delete(&self, key: &[u8], now: Instant) -> Result<bool, Error> {
        match self {
            Store::Memory(namespace) => namespace.delete(key, now),
            Store::Redis(namespace) => namespace.delete(key).await,
        }
    }

    /// Sets a key if its value is `expected` (`None`: if it isn't there), with `ttl` as in `set`;
    /// else tells what it is. What an exact sliding window or token bucket is made of.
    pub async fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        value: &[u8],
        ttl: Option<Duration>,
        now: Instant,
    ) -> Result<Cas, Error> {
        match self {
            Store::Memory(namespace) => namespace.compare_and_set(key, expected, value, ttl, now),
            Store::Redis(namespace) => namespace.compare_and_set(key, expected, value, ttl).await,
        }
    }
}

/// A plugin's shared state in the snapshot: what each worker opens its [`Store`] from. While one
/// lives, the plugin's namespace in memory does.
#[derive(Clone, Debug)]
pub enum Binding {
    /// A namespace of the process's store.
    Memory(Namespace),
    /// A Redis, and the namespace in it.
    Redis(Arc<Target>, Box<str>),
}

impl Binding {
    /// Whether both are the same state, reached in the same way.
    pub fn is_same_as(&self, other: &Binding) -> bool {
        match (self, other) {
            (Binding::Memory(ours), Binding::Memory(theirs)) => ours.is_same_as(theirs),
            (Binding::Redis(ours, our_space), Binding::Redis(theirs, their_space)) => {
                ours.is_same_as(theirs) && our_space == their_space
            }
            _ => false,
        }
    }
}

/// What the control thread keeps for all plugins, over all snapshots.
#[derive(Debug)]
pub struct Backends {
    memory: Arc<MemoryStore>,
    /// One endpoint per host and port, so that a worker's connection made under an older snapshot
    /// sees the addresses of today.
    endpoints: HashMap<String, Weak<Endpoint>>,
}

impl Backends {
    /// Begins with an empty memory store of the configured size. The sizes are those of the first
    /// configuration: a reload does not change them.
    pub fn new(config: &Config, now: Instant) -> Backends {
        let memory = &config.memory;
        Backends {
            memory: MemoryStore::new(memory.bytes_max, memory.namespace_bytes_max, now),
            endpoints: HashMap::new(),
        }
    }

    /// The process's memory store, for `sweep` (every second or so) and `usage`.
    pub fn memory(&self) -> &Arc<MemoryStore> {
        &self.memory
    }

    /// Opens what a plugin selected. A Redis that is down or whose name doesn't resolve is no
    /// error: calls fail fast until it is there. Resolving names is left to the caller, see
    /// [`Backends::endpoints`]. `tls` says how to call a host by TLS, or why that cannot be: the
    /// one error there is.
    pub fn bind(
        &mut self,
        selection: &Selection,
        plugin: &str,
        tls: &dyn Fn(&str) -> Result<Tls, String>,
    ) -> Result<Binding, String> {
        let namespace = selection.namespace.as_deref().unwrap_or(plugin);
        Ok(match &selection.backend {
            Backend::Memory => Binding::Memory(self.memory.namespace(namespace)),
            Backend::Redis(redis) => {
                let tls = redis.tls.then(|| tls(&redis.host)).transpose();
                let tls = tls.map_err(|why| format!("redis {}: {why}", redis.name()))?;
                let target = Target::new(self.endpoint(redis), redis.clone(), tls);
                Binding::Redis(Arc::new(target), namespace.into())
            }
        })
    }

    fn endpoint(&mut self, config: &RedisConfig) -> Arc<Endpoint> {
        let name = config.name();
        if let Some(endpoint) = self.endpoints.get(&name).and_then(Weak::upgrade) {
            return endpoint;
        }
        let endpoint = Arc::new(Endpoint::new(&config.host, config.port));
        self.endpoints.insert(name, Arc::downgrade(&endpoint));
        endpoint
    }

    /// The Redis endpoints in use. Call [`Endpoint::resolve`] on each, on a thread that may block:
    /// before a snapshot with a new one is published, and every ten seconds or so.
    pub fn endpoints(&mut self) -> Vec<Arc<Endpoint>> {
        self.endpoints.retain(|_, endpoint| endpoint.strong_count() > 0);
        self.endpoints.values().filter_map(Weak::upgrade).collect()
    }
}

/// A worker's connections to Redis, one per server, db and user. Lives and stays on the worker.
#[derive(Debug, Default)]
pub struct Stores {
    clients: RefCell<Vec<LocalWeak<Client>>>,
}

impl Stores {
    /// None yet.
    pub fn new() -> Stores {
        Stores::default()
    }

    /// A plugin's store on this worker. Must run inside the worker's runtime: the first one of a
    /// Redis starts its connection, which ends with the last.
    pub fn open(&self, binding: &Binding) -> Store {
        match binding {
            Binding::Memory(namespace) => Store::Memory(namespace.clone()),
            Binding::Redis(target, namespace) => {
                let prefix = &target.config().prefix;
                Store::Redis(redis::Namespace::new(self.client(target), prefix, namespace))
            }
        }
    }

    fn client(&self, target: &Arc<Target>) -> Rc<Client> {
        let mut clients = self.clients.borrow_mut();
        clients.retain(|client| client.strong_count() > 0);
        let open = clients.iter().filter_map(LocalWeak::upgrade);
        if let Some(client) = open.into_iter().find(|client| client.target().same_server(target)) {
            return client;
        }
        let client = Rc::new(Client::start(Arc::clone(target)));
        clients.push(Rc::downgrade(&client));
        client
    }

    /// How each connection of this worker is, for the admin API and the metrics.
    pub fn status(&self) -> Vec<redis::Status> {
        let clients = self.clients.borrow();
        clients.iter().filter_map(LocalWeak::upgrade).map(|client| client.status()).collect()
    }
}
