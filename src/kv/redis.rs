//! The Redis backend: commands over a worker's one connection to a server.
//!
//! Runs on the worker; only [`Endpoint::resolve`] belongs elsewhere, since it blocks. The
//! connection (queue, reconnection, time-outs) is `link`'s, the bytes are `resp`'s.
//!
//! Increments and compare-and-set are scripts, the one way to make them atomic in one round trip:
//! `SET NX PX` + `INCRBY` would make a key without a time to live when the old one expires between
//! the two. The scripts are loaded when the connection is made and called by their hash; a server
//! that forgot them (`SCRIPT FLUSH`, `NOSCRIPT`) or forbids loading is sent the text.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::config::RedisConfig;
use super::link::Link;
use super::resp::{Command, Reply};
use super::{Cas, Error, check_expected, check_key, check_value};
use crate::limits;
use crate::upstream::tls::Tls;

/// Gives the sum as text: a number of Lua is exact to 53 bits only.
const INCR: &str = "local fresh = ARGV[2] ~= '0' and redis.call('EXISTS', KEYS[1]) == 0 \
    redis.call('INCRBY', KEYS[1], ARGV[1]) \
    if fresh then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end \
    return redis.call('GET', KEYS[1])";

/// Arguments: 1 if a value is expected, that value, the new one, milliseconds or 0. Gives the
/// number 1, or the value that is there instead, or nil.
const CAS: &str = "local current = redis.call('GET', KEYS[1]) \
    local same = not current \
    if ARGV[1] == '1' then same = current == ARGV[2] end \
    if not same then return current end \
    if ARGV[4] == '0' then redis.call('SET', KEYS[1], ARGV[3]) \
    else redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) end \
    return 1";

/// A script: its text, and under which name this connection's server knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    Incr,
    Cas,
}

impl Script {
    pub(super) const ALL: [Script; 2] = [Script::Incr, Script::Cas];

    pub(super) fn text(self) -> &'static str {
        match self {
            Script::Incr => INCR,
            Script::Cas => CAS,
        }
    }
}

/// The hashes that a server gave for [`Script::ALL`].
#[derive(Clone, Debug, Default)]
pub(super) struct Loaded(pub(super) [Option<Vec<u8>>; 2]);

impl Loaded {
    fn hash(&self, script: Script) -> Option<&[u8]> {
        self.0[script as usize].as_deref()
    }
}

/// A server's name and where it is today.
#[derive(Debug)]
pub struct Endpoint {
    host: String,
    port: u16,
    /// The last answer to its name, or why there was none.
    addresses: ArcSwap<Result<Vec<SocketAddr>, Arc<str>>>,
}

impl Endpoint {
    /// An endpoint by address, which is known at once, or by name, which waits for
    /// [`Endpoint::resolve`].
    pub fn new(host: &str, port: u16) -> Endpoint {
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => Ok(vec![SocketAddr::new(address, port)]),
            Err(_) => Err(Arc::from(format!("{host} is not resolved yet"))),
        };
        Endpoint { host: host.to_owned(), port, addresses: ArcSwap::from_pointee(addresses) }
    }

    /// Asks the system for the addresses of the name. Blocks, so never on a worker. When the name
    /// has no answer, the addresses of an earlier one stay.
    pub fn resolve(&self) -> Result<(), String> {
        if self.host.parse::<IpAddr>().is_ok() {
            return Ok(());
        }
        let found = match (self.host.as_str(), self.port).to_socket_addrs() {
            Ok(found) => found.collect::<Vec<_>>(),
            Err(error) => return Err(self.unresolved(&error.to_string())),
        };
        if found.is_empty() {
            return Err(self.unresolved("the name has no address"));
        }
        self.addresses.store(Arc::new(Ok(found)));
        Ok(())
    }

    fn unresolved(&self, why: &str) -> String {
        let reason = format!("{} does not resolve: {why}", self.host);
        if self.addresses.load().is_err() {
            self.addresses.store(Arc::new(Err(Arc::from(reason.as_str()))));
        }
        reason
    }

    pub(super) fn addresses(&self) -> Result<Vec<SocketAddr>, Arc<str>> {
        Result::clone(&self.addresses.load())
    }
}

/// One server as a plugin's configuration reaches it.
#[derive(Debug)]
pub struct Target {
    endpoint: Arc<Endpoint>,
    config: RedisConfig,
    tls: Option<Tls>,
}

impl Target {
    /// `endpoint` is the one of `config`'s host and port, `tls` is given if `config` asks for it.
    pub(super) fn new(endpoint: Arc<Endpoint>, config: RedisConfig, tls: Option<Tls>) -> Target {
        debug_assert_eq!(config.tls, tls.is_some());
        Target { endpoint, config, tls }
    }

    /// How it was configured.
    pub fn config(&self) -> &RedisConfig {
        &self.config
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Whether both are the same server, reached in the same way.
    pub(super) fn is_same_as(&self, other: &Target) -> bool {
        self.config == other.config && self.tls == other.tls
    }

    /// Whether one connection can serve both. The prefix is not the connection's.
    pub(super) fn same_server(&self, other: &Target) -> bool {
        let (a, b) = (&self.config, &other.config);
        Arc::ptr_eq(&self.endpoint, &other.endpoint)
            && a.db == b.db
            && a.timeout == b.timeout
            && a.username == b.username
            && a.password == b.password
            && self.tls == other.tls
    }
}

/// How a worker's connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// `host:port`.
    pub redis: String,
    /// The database.
    pub db: u32,
    /// Whether calls are answered.
    pub connected: bool,
    /// Why it is not connected.
    pub reason: Option<String>,
    /// Calls that wait for a reply.
    pub waiting: usize,
    /// Connections made so far.
    pub connects: u64,
}

/// A worker's connection to one server and database. Dropping it closes the connection and fails
/// the calls that wait.
#[derive(Debug)]
pub struct Client {
    link: Rc<Link>,
}

impl Client {
    /// Begins to connect. Must run inside a monoio runtime with its timer enabled. Until the first
    /// attempt has ended, calls wait for it; later ones fail at once while there is no connection.
    pub fn start(target: Arc<Target>) -> Client {
        let link = Rc::new(Link::new(target));
        crate::io::spawn(Rc::clone(&link).run());
        Client { link }
    }

    /// How it is now.
    pub fn status(&self) -> Status {
        self.link.status()
    }

    pub(super) fn target(&self) -> &Target {
        self.link.target()
    }

    /// Runs a script on one key, by hash and if need be by text.
    async fn script(
        &self,
        script: Script,
        key: (&[u8], &[u8]),
        args: &[&[u8]],
    ) -> Result<Reply, Error> {
        let by_hash = |out: &mut Vec<u8>, loaded: &Loaded| {
            write_script(out, script, loaded.hash(script), key, args);
        };
        let reply = self.link.call(by_hash).await?;
        if matches!(&reply, Reply::Error(words) if words.starts_with("NOSCRIPT")) {
            let by_text =
                |out: &mut Vec<u8>, _: &Loaded| write_script(out, script, None, key, args);
            return self.link.call(by_text).await;
        }
        Ok(reply)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.link.close();
    }
}

fn write_script(
    out: &mut Vec<u8>,
    script: Script,
    hash: Option<&[u8]>,
    key: (&[u8], &[u8]),
    args: &[&[u8]],
) {
    let mut command = Command::new(out, 4 + args.len());
    match hash {
        Some(hash) => command.arg(b"EVALSHA").arg(hash),
        None => command.arg(b"EVAL").arg(script.text().as_bytes()),
    };
    command.arg(b"1").joined(key.0, key.1);
    for arg in args {
        command.arg(arg);
    }
}

/// A plugin's part of a Redis.
#[derive(Clone, Debug)]
pub struct Namespace {
    client: Rc<Client>,
    /// What stands in front of each of its keys.
    prefix: Rc<[u8]>,
}

impl Namespace {
    /// The keys that begin with `prefix`, the namespace's name (`%` and `:` escaped) and `:`.
    pub fn new(client: Rc<Client>, prefix: &str, namespace: &str) -> Namespace {
        let name = namespace.replace('%', "%25").replace(':', "%3A");
        let prefix = format!("{prefix}{name}:");
        Namespace { client, prefix: Rc::from(prefix.into_bytes()) }
    }

    /// The value of a key; `None`: it isn't there.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Arc<[u8]>>, Error> {
        check_key(key)?;
        let command = |out: &mut Vec<u8>, _: &Loaded| {
            Command::new(out, 2).arg(b"GET").joined(&self.prefix, key);
        };
        match self.client.link.call(command).await? {
            Reply::Bulk(value) => Ok(Some(Arc::from(value))),
            Reply::Nil => Ok(None),
            other => Err(refused(other)),
        }
    }

    /// Sets a key, for `ttl` or for good.
    pub async fn set(&self, key: &[u8], value: &[u8], ttl: Option<Duration>) -> Result<(), Error> {
        check_key(key)?;
        check_value(value)?;
        let command = |out: &mut Vec<u8>, _: &Loaded| {
            let mut command = Command::new(out, if ttl.is_some() { 5 } else { 3 });
            command.arg(b"SET").joined(&self.prefix, key).arg(value);
            if ttl.is_some() {
                command.arg(b"PX").number(millis(ttl));
            }
        };
        match self.client.link.call(command).await? {
            Reply::Status(_) => Ok(()),
            other => Err(refused(other)),
        }
    }

    /// Adds to a counter; the increment that makes the key sets its `ttl`.
    pub async fn incr(&self, key: &[u8], by: i64, ttl: Option<Duration>) -> Result<i64, Error> {
        check_key(key)?;
        let (by, ttl) = (by.to_string(), millis(ttl).to_string());
        let args = [by.as_bytes(), ttl.as_bytes()];
        let reply = self.client.script(Script::Incr, (&self.prefix, key), &args).await?;
        match reply {
            Reply::Bulk(sum) => std::str::from_utf8(&sum)
                .ok()
                .and_then(|sum| sum.parse().ok())
                .ok_or(Error::NotAnInteger),
            other => Err(refused(other)),
        }
    }

    /// Removes a key; tells whether it was there.
    pub async fn delete(&self, key: &[u8]) -> Result<bool, Error> {
        check_key(key)?;
        let command = |out: &mut Vec<u8>, _: &Loaded| {
            Command::new(out, 2).arg(b"DEL").joined(&self.prefix, key);
        };
        match self.client.link.call(command).await? {
            Reply::Integer(removed) => Ok(removed > 0),
            other => Err(refused(other)),
        }
    }

    /// Sets a key if its value is `expected`; else tells what it is.
    pub async fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<Cas, Error> {
        check_key(key)?;
        check_expected(expected)?;
        check_value(value)?;
        let ttl = millis(ttl).to_string();
        let is_expected: &[u8] = if expected.is_some() { b"1" } else { b"0" };
        let args = [is_expected, expected.unwrap_or_default(), value, ttl.as_bytes()];
        let reply = self.client.script(Script::Cas, (&self.prefix, key), &args).await?;
        match reply {
            Reply::Integer(_) => Ok(Cas::Swapped),
            Reply::Bulk(current) => Ok(Cas::Conflict(Some(Arc::from(current)))),
            Reply::Nil => Ok(Cas::Conflict(None)),
            other => Err(refused(other)),
        }
    }
}

/// A time to live as `PX` takes it; 0: none.
fn millis(ttl: Option<Duration>) -> i64 {
    ttl.map_or(0, |ttl| (ttl.min(limits::KV_TTL_MAX).as_millis() as i64).max(1))
}

/// The error that a reply of an unexpected kind is.
fn refused(reply: Reply) -> Error {
    match reply {
        Reply::Error(words) if words.contains("not an integer") => Error::NotAnInteger,
        Reply::Error(words) if words.contains("would overflow") => Error::Overflow,
        Reply::Error(words) if words.starts_with("OOM") => Error::Full,
        Reply::Error(words) => Error::Refused(Arc::from(words)),
        Reply::Status(_) | Reply::Integer(_) | Reply::Bulk(_) | Reply::Nil => {
            Error::Refused(Arc::from("it gave a reply that is not one of the command's"))
        }
    }
}
