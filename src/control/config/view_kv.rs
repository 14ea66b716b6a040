//! `kv` as the admin API shows it.

use serde_json::{Value, json};

use super::view::{MASK, span};
use crate::kv::config::{BackendName, Config, RedisConfig};

pub(super) fn kv(kv: &Config) -> Value {
    let backend = match kv.backend {
        BackendName::Memory => "memory",
        BackendName::Redis => "redis",
    };
    json!({
        "backend": backend,
        "redis": kv.redis.as_ref().map(redis),
        "memory": {
            "bytesMax": kv.memory.bytes_max,
            "namespaceBytesMax": kv.memory.namespace_bytes_max,
        },
    })
}

fn redis(redis: &RedisConfig) -> Value {
    json!({
        "host": redis.name(),
        "tls": redis.tls,
        "db": redis.db,
        "username": redis.username,
        "password": redis.password.as_ref().map(|_| MASK),
        "timeout": span(redis.timeout),
        "prefix": redis.prefix,
    })
}
