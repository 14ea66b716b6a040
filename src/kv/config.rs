//! What the configuration says of the shared state: the gateway's `kv` section, and the keys that a
//! plugin's own `config` may have. Runs on the control thread.
//!
//! A plugin's `config` belongs to the plugin: only `backend`, `redis` and `kvNamespace` are looked
//! at, and only where the plugin imports the state's host functions. Another plugin may mean
//! something else by them.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::limits;

const REDIS_PORT: u16 = 6379;

/// The gateway's `kv` section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// What a plugin that says nothing gets.
    pub backend: BackendName,
    /// The Redis of plugins that say `backend: redis` and no more.
    pub redis: Option<RedisConfig>,
    /// The process's memory store.
    pub memory: MemoryConfig,
}

/// `kv.backend`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendName {
    /// One store in this process.
    #[default]
    Memory,
    /// A Redis server.
    Redis,
}

/// `kv.memory`. Taken at start; a reload does not change it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MemoryConfig {
    /// Bytes of all entries, overhead included.
    pub bytes_max: usize,
    /// Bytes of one plugin's entries.
    pub namespace_bytes_max: usize,
}

impl Default for MemoryConfig {
    fn default() -> MemoryConfig {
        MemoryConfig {
            bytes_max: limits::KV_MEMORY_BYTES_MAX,
            namespace_bytes_max: limits::KV_NAMESPACE_BYTES_MAX,
        }
    }
}

impl Config {
    /// What is wrong with the section beyond its form: one text per mistake, each beginning with
    /// its key.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let least = limits::KV_KEY_BYTES_MAX + limits::KV_VALUE_BYTES_MAX;
        let least = least + limits::KV_ENTRY_OVERHEAD_BYTES;
        let MemoryConfig { bytes_max, namespace_bytes_max } = self.memory;
        for (key, got) in [("bytesMax", bytes_max), ("namespaceBytesMax", namespace_bytes_max)] {
            if got < least {
                mistakes.push(format!(
                    "kv.memory.{key} is {got}, at least {least}: the largest value must fit"
                ));
            }
        }
        if self.backend == BackendName::Redis && self.redis.is_none() {
            mistakes.push("kv.backend is redis, but there is no kv.redis.host".to_owned());
        }
        mistakes
    }
}

/// Where a Redis is and how to be let in. `{host: "redis:6379", tls: false, db: 0, username,
/// password, timeout: 1s, prefix: "odin:"}`, only `host` being required. Its `Debug` hides the
/// password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RedisKeys")]
pub struct RedisConfig {
    /// Name or address, without brackets.
    pub host: String,
    /// 6379 unless `host` ends in another.
    pub port: u16,
    /// By TLS, or else not at all.
    pub tls: bool,
    /// The database, as in `SELECT`.
    pub db: u32,
    /// The user of Redis 6 ACLs; without it the password is that of the default user.
    pub username: Option<String>,
    /// For `AUTH`.
    pub password: Option<String>,
    /// For one call, connecting included.
    pub timeout: Duration,
    /// In front of every key.
    pub prefix: String,
}

impl RedisConfig {
    /// The Redis at `NAME` or `NAME:PORT`, `rediss://` in front for TLS, everything else as by
    /// default.
    pub fn at(host: &str) -> Result<RedisConfig, String> {
        let host = Some(host.to_owned());
        RedisConfig::try_from(RedisKeys { host, ..RedisKeys::default() })
    }

    /// `host:port`, as it stands in messages.
    pub fn name(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("name", &self.name())
            .field("tls", &self.tls)
            .field("db", &self.db)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("timeout", &self.timeout)
            .field("prefix", &self.prefix)
            .finish()
    }
}

/// The keys of a `redis` object as written.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RedisKeys {
    host: Option<String>,
    tls: Option<bool>,
    db: Option<u32>,
    username: Option<String>,
    password: Option<String>,
    #[serde(deserialize_with = "duration")]
    timeout: Option<Duration>,
    prefix: Option<String>,
}

impl TryFrom<RedisKeys> for RedisConfig {
    type Error = String;

    fn try_from(keys: RedisKeys) -> Result<RedisConfig, String> {
        let host = keys.host.as_deref().ok_or("host is missing, as in host: redis:6379")?;
        let (is_secure, host) = scheme(host)?;
        let (host, port) = host_and_port(host)?;
        if is_secure == Some(true) && keys.tls == Some(false) {
            return Err("host begins with rediss://, and tls is false".to_owned());
        }
        if keys.username.is_some() && keys.password.is_none() {
            return Err("username stands without a password".to_owned());
        }
        Ok(RedisConfig {
            host,
            port,
            tls: keys.tls.or(is_secure).unwrap_or(false),
            db: keys.db.unwrap_or(0),
            username: keys.username,
            password: keys.password,
            timeout: keys.timeout.unwrap_or(limits::KV_REDIS_TIMEOUT),
            prefix: keys.prefix.unwrap_or_else(|| "odin:".to_owned()),
        })
    }
}

/// Takes `redis://` or `rediss://` (true) off. What else a URL could have stands in keys of its
/// own.
fn scheme(written: &str) -> Result<(Option<bool>, &str), String> {
    let (is_secure, rest) = match written.split_once("://") {
        None => return Ok((None, written)),
        Some(("redis", rest)) => (false, rest),
        Some(("rediss", rest)) => (true, rest),
        Some((other, _)) => {
            return Err(format!("host begins with {other}://, expected rediss:// or nothing"));
        }
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    match rest.contains(['@', '/', '?']) {
        // Not with its words: there may be a password among them.
        true => Err("host has more than a name and a port; what a URL has beside them stands in \
                     username, password and db"
            .to_owned()),
        false => Ok((Some(is_secure), rest)),
    }
}

/// Splits `redis`, `redis:6379`, `10.0.0.1:6379`, `[::1]:6379` or `::1`.
fn host_and_port(written: &str) -> Result<(String, u16), String> {
    let wrong = || format!("host is {written:?}, expected NAME or NAME:PORT, as in redis:6379");
    let (host, port) = match written.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or_else(wrong)?;
            let port = after.strip_prefix(':');
            if port.is_none() && !after.is_empty() {
                return Err(wrong());
            }
            (host, port)
        }
        None => match written.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => (host, Some(port)),
            _ => (written, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|&port| port > 0).ok_or_else(wrong)?,
        None => REDIS_PORT,
    };
    let is_address = host.parse::<std::net::Ipv6Addr>().is_ok();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if host.is_empty() || !(is_address || host.bytes().all(allowed)) {
        return Err(wrong());
    }
    Ok((host.to_owned(), port))
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let Some(written) = Option::<String>::deserialize(from)? else {
        return Ok(None);
    };
    parse_duration(&written).map(Some).map_err(serde::de::Error::custom)
}

fn parse_duration(written: &str) -> Result<Duration, String> {
    let digits = written.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = written.split_at(digits);
    let ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => 0,
    };
    let ms = number.parse::<u64>().ok().and_then(|number| number.checked_mul(ms));
    match ms {
        Some(ms @ 1..=600_000) => Ok(Duration::from_millis(ms)),
        _ => Err(format!("timeout is {written:?}, expected 1ms to 10m, as in 500ms or 1s")),
    }
}

/// The backend that a plugin gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The process's store.
    Memory,
    /// This Redis.
    Redis(RedisConfig),
}

/// What a plugin's configuration selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Where its state is.
    pub backend: Backend,
    /// Its namespace, where that is not the plugin's name.
    pub namespace: Option<String>,
}

impl Selection {
    /// Reads `backend`, `redis` and `kvNamespace` of a plugin's `config`.
    ///
    /// - `backend: memory | redis` decides; without it `redis` means Redis; without both, the
    ///   gateway's `kv.backend` does.
    /// - `redis: {host, …}` is a Redis of its own. Nothing of the gateway's is taken over, so that
    ///   a plugin can't send the gateway's password to a host that it names.
    /// - `redis: {…}` without a host is the gateway's with another `db`, `prefix` or `timeout`.
    ///
    /// Errors begin with the key, as in `config.redis.host`.
    pub fn from_plugin_config(config: &Value, gateway: &Config) -> Result<Selection, String> {
        let named = match config.get("backend") {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) if name == "memory" => Some(BackendName::Memory),
            Some(Value::String(name)) if name == "redis" => Some(BackendName::Redis),
            Some(other) => {
                return Err(format!("config.backend is {other}, expected memory or redis"));
            }
        };
        let own = match config.get("redis") {
            None | Some(Value::Null) => None,
            Some(own @ Value::Object(_)) => Some(own),
            Some(other) => {
                return Err(format!(
                    "config.redis is {}, expected an object, as in redis: {{host: redis:6379}}",
                    kind(other)
                ));
            }
        };
        let own_means = own.map(|_| BackendName::Redis);
        let backend = match named.or(own_means).unwrap_or(gateway.backend) {
            BackendName::Memory => Backend::Memory,
            BackendName::Redis => Backend::Redis(select_redis(own, gateway.redis.as_ref())?),
        };
        Ok(Selection { backend, namespace: namespace(config)? })
    }
}

fn select_redis(own: Option<&Value>, gateway: Option<&RedisConfig>) -> Result<RedisConfig, String> {
    let Some(own) = own else {
        return gateway.cloned().ok_or_else(|| {
            "config.backend is redis, but neither config.redis.host nor kv.redis.host is set"
                .to_owned()
        });
    };
    let own = RedisKeys::deserialize(own).map_err(|error| format!("config.redis: {error}"))?;
    if own.host.is_some() {
        return RedisConfig::try_from(own).map_err(|error| format!("config.redis.{error}"));
    }
    let Some(gateway) = gateway.cloned() else {
        return Err("config.redis.host is missing, and kv.redis.host is not set".to_owned());
    };
    if own.username.is_some() || own.password.is_some() || own.tls.is_some() {
        return Err(
            "config.redis has a username, password or tls, but no host: it would be tried \
                    at the gateway's kv.redis; add the host"
                .to_owned(),
        );
    }
    Ok(RedisConfig {
        db: own.db.unwrap_or(gateway.db),
        timeout: own.timeout.unwrap_or(gateway.timeout),
        prefix: own.prefix.unwrap_or(gateway.prefix),
        ..gateway
    })
}

fn namespace(config: &Value) -> Result<Option<String>, String> {
    match config.get("kvNamespace") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) if !name.is_empty() && name.len() <= 128 => {
            Ok(Some(name.clone()))
        }
        Some(other) => {
            Err(format!("config.kvNamespace is {other}, expected a name of 1 to 128 bytes"))
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
