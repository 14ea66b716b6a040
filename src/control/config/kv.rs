//! Decodes `kv`: where the plugins' shared state is.

use super::decode::{Item, Section, boolean, duration, integer, size, string, word};
use super::errors::Errors;
use super::keys;
use crate::kv::config::{BackendName, Config, MemoryConfig, RedisConfig};
use crate::limits;

/// `kv`.
pub(super) fn kv(item: &Item<'_>, errors: &mut Errors) -> Option<Config> {
    let map = Section::open(item, &keys::KV, errors)?;
    let backends = [("memory", BackendName::Memory), ("redis", BackendName::Redis)];
    let redis = map.filled("redis");
    let config = Config {
        backend: map
            .read("backend", errors, |item, errors| word(item, &backends, errors))
            .unwrap_or_default(),
        redis: redis.as_ref().and_then(|item| self::redis(item, errors)),
        memory: map.read("memory", errors, memory).unwrap_or_default(),
    };
    if config.backend == BackendName::Redis && redis.is_none() {
        item.refuse(errors, "backend is redis, but there is no kv.redis; give its host");
    }
    Some(config)
}

fn memory(item: &Item<'_>, errors: &mut Errors) -> Option<MemoryConfig> {
    let map = Section::open(item, &keys::MEMORY, errors)?;
    let mut bytes = |key: &str| {
        let range = limits::KV_MEMORY_BYTES_FLOOR as u64..=limits::KV_MEMORY_BYTES_CEILING;
        map.read(key, errors, |item, errors| size(item, range, errors))
            .and_then(|bytes| usize::try_from(bytes).ok())
    };
    let bytes_max = bytes("bytesMax").unwrap_or(limits::KV_MEMORY_BYTES_MAX);
    let half = (bytes_max / 2).max(limits::KV_MEMORY_BYTES_FLOOR);
    let namespace_bytes_max = bytes("namespaceBytesMax").unwrap_or(half);
    Some(MemoryConfig { bytes_max, namespace_bytes_max })
}

fn redis(item: &Item<'_>, errors: &mut Errors) -> Option<RedisConfig> {
    let map = Section::open(item, &keys::REDIS, errors)?;
    let tls = map.read("tls", errors, boolean);
    let db = map.read("db", errors, |item, errors| integer(item, 0..=u32::MAX, errors));
    let username = map.read("username", errors, string);
    let password = map.read("password", errors, string);
    let timeout = map.read("timeout", errors, duration);
    let prefix = map.read("prefix", errors, string);
    if username.is_some() && map.get("password").is_none() {
        item.refuse(errors, "username stands without a password");
    }
    let mut redis = map.require("host", "as in redis:6379", errors, |item, errors| {
        let host = string(item, errors)?;
        RedisConfig::at(&host).map_err(|why| item.refuse(errors, why)).ok()
    })?;
    if redis.tls && tls == Some(false) {
        item.refuse(errors, "host begins with rediss://, and tls is false");
    }
    redis.tls = tls.unwrap_or(redis.tls);
    redis.db = db.unwrap_or(redis.db);
    redis.timeout = timeout.unwrap_or(redis.timeout);
    redis.prefix = prefix.unwrap_or(redis.prefix);
    (redis.username, redis.password) = (username, password);
    Some(redis)
}
