//! The keys of `kv`.

use super::{DURATION, Keys, Kind, key};
use crate::limits;

/// `kv`.
pub(in crate::control::config) const KV: Keys = Keys {
    allowed: &[
        key(
            "backend",
            Kind::Word(&["memory", "redis"]),
            "Where plugins keep what their instances share (kv_get, kv_incr and the like): \
             memory (of this process, exact over all workers) or redis (exact over gateways \
             too). Default: memory. A plugin's own config may say otherwise: backend, redis, \
             kvNamespace.",
        )
        .default("memory")
        .when("several gateways share limits"),
        key(
            "redis",
            Kind::Section(&REDIS),
            "The Redis of plugins that say \"backend: redis\" and name none. Default: none.",
        )
        .otherwise("none")
        .when("plugins say `backend: redis`, or the line above does"),
        key(
            "memory",
            Kind::Section(&MEMORY),
            "Bounds of what is in memory. Taken at start; a reload does not change it.",
        )
        .form("map; taken at start, a reload doesn't change it"),
    ],
    later: &[],
};

/// `kv.redis`.
pub(in crate::control::config) const REDIS: Keys = Keys {
    allowed: &[
        key("host", Kind::Text, "Its name or address, with a port if that is not 6379. Required.")
            .form("`name` or `name:port`")
            .required()
            .otherwise("required, port 6379")
            .example("redis:6379"),
        key(
            "tls",
            Kind::Boolean,
            "By TLS; \"rediss://\" in front of the host says the same. Its certificate must be \
             for the host and signed by somebody whom the system (or SSL_CERT_FILE, \
             SSL_CERT_DIR) trusts. Default: false.",
        )
        .form("boolean; `rediss://` in front of `host` is the same")
        .default("false")
        .when("Redis is on another machine"),
        key("db", Kind::Integer(0, u32::MAX as i64), "Its database. Default: 0.")
            .form("whole number")
            .default("0")
            .when("others use that database"),
        key(
            "username",
            Kind::Text,
            "The user. Default: none; without a username the password is that of Redis's default \
             user.",
        )
        .form("text, with `password`")
        .otherwise("the default user")
        .when("Redis has ACLs")
        .example("odin"),
        key("password", Kind::Text, "Its password; never shown. Default: none.")
            .form("text; never printed")
            .otherwise("none")
            .when("Redis asks for it")
            .example("${REDIS_PASSWORD}"),
        key(
            "timeout",
            DURATION,
            "For one call, the wait for a connection included. Default: 1s. Over it the call \
             fails, and the plugin's failureMode decides.",
        )
        .form("duration, one call")
        .default("1s")
        .when("less, so that plugins fail sooner when it hangs"),
        key("prefix", Kind::Text, "In front of every key. Default: \"odin:\".")
            .form("text in front of every key")
            .default("'odin:'")
            .otherwise("`odin:`")
            .when("gateways that must not share use one Redis")
            .example("\"gateway:\""),
    ],
    later: &[],
};

/// `kv.memory`.
pub(in crate::control::config) const MEMORY: Keys = Keys {
    allowed: &[
        key(
            "bytesMax",
            Kind::Size(limits::KV_MEMORY_BYTES_FLOOR as u64, limits::KV_MEMORY_BYTES_CEILING),
            "Bytes of all entries, what they cost to keep included. Default: 64MiB. Over it the \
             oldest go.",
        )
        .form("size from 2098304 bytes")
        .default("64MiB")
        .when("entries are evicted too early"),
        key(
            "namespaceBytesMax",
            Kind::Size(limits::KV_MEMORY_BYTES_FLOOR as u64, limits::KV_MEMORY_BYTES_CEILING),
            "Bytes of one plugin's entries. Default: half of bytesMax.",
        )
        .form("as above, for one plugin")
        .otherwise("half of `bytesMax`")
        .when("one plugin needs most of it")
        .example("16MiB"),
    ],
    later: &[],
};
