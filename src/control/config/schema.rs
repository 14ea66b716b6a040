//! The keys that each section of a configuration may have.
//!
//! One table, so that errors can list them and the tests can hold `config/odin.yaml` and
//! `docs/configuration.md` against it.

/// The keys of one section.
#[derive(Debug)]
pub(super) struct Keys {
    /// What it may hold, in the order of the documentation.
    pub(super) allowed: &'static [&'static str],
    /// Keys of the format that this version can't do, with what to do instead.
    pub(super) later: &'static [(&'static str, &'static str)],
}

const fn keys(allowed: &'static [&'static str]) -> Keys {
    Keys { allowed, later: &[] }
}

pub(super) const ROOT: Keys =
    keys(&["server", "admin", "logging", "tracing", "kv", "wasm", "services"]);

pub(super) const SERVER: Keys = Keys {
    allowed: &[
        "listen",
        "workers",
        "pinCores",
        "ioDriver",
        "trustForwarded",
        "underscoresInHeaders",
        "encodedSlashes",
        "pathParameters",
        "nonUtf8Paths",
        "halfClosedClients",
        "serverTiming",
        "limits",
        "timeouts",
        "drainTimeout",
        "upgradeTimeout",
    ],
    later: &[("tls", "end TLS in front of the gateway and take the key out")],
};

pub(super) const LIMITS: Keys = keys(&[
    "headBytesMax",
    "headFieldsMax",
    "uriBytesMax",
    "bodyBytesMax",
    "bodyRateMin",
    "pluginBodyBytesMax",
    "bufferedBytesMax",
    "connectionsMax",
    "upstreamConnectionsMax",
    "upstreamIdleMax",
]);

pub(super) const TIMEOUTS: Keys =
    keys(&["head", "idle", "body", "connect", "firstByte", "upstreamIdle"]);

pub(super) const ADMIN: Keys = keys(&["listen", "token"]);

pub(super) const LOGGING: Keys = keys(&["level", "format", "accessLog", "accessLogFields"]);

pub(super) const TRACING: Keys = keys(&["enabled", "incoming", "sampleRate", "otlp"]);

pub(super) const OTLP: Keys = keys(&["endpoint", "timeout", "headers", "serviceName"]);

pub(super) const KV: Keys = keys(&["backend", "redis", "memory"]);

pub(super) const KV_REDIS: Keys =
    keys(&["host", "tls", "db", "username", "password", "timeout", "prefix"]);

pub(super) const KV_MEMORY: Keys = keys(&["bytesMax", "namespaceBytesMax"]);

pub(super) const WASM: Keys = keys(&[
    "enabled",
    "pluginDir",
    "maxMemoryPages",
    "maxInstances",
    "cacheEnabled",
    "cacheDir",
    "timeout",
    "plugins",
]);

pub(super) const PLUGIN: Keys = keys(&[
    "name",
    "path",
    "type",
    "enabled",
    "priority",
    "timeout",
    "allowedUrls",
    "services",
    "config",
    "failureMode",
    "body",
    "onBodyTooLarge",
    "encoding",
    "isolation",
    "instances",
    "maxInstances",
    "maxMemoryPages",
    "sha256",
]);

pub(super) const SERVICE: Keys = Keys {
    allowed: &[
        "name",
        "basePath",
        "stripBasePath",
        "targets",
        "loadBalancing",
        "hash",
        "outlier",
        "slowStart",
        "retry",
        "retryCount",
        "retryDelay",
        "healthCheck",
        "tls",
        "resolve",
        "addresses",
        "timeout",
        "headers",
        "requestTrailers",
        "responseTrailers",
        "preserveHost",
        "limits",
        "aggregation",
    ],
    later: &[],
};

pub(super) const HASH: Keys = keys(&["header", "cookie", "ip", "boundedLoad"]);

pub(super) const OUTLIER: Keys =
    keys(&["consecutiveErrors", "errorRate", "interval", "ejection", "ejectedMax"]);

pub(super) const RETRY: Keys = keys(&["tries", "on", "perTry", "budget", "delay", "methods"]);

pub(super) const HEALTH_CHECK: Keys = Keys {
    allowed: &[
        "path",
        "host",
        "interval",
        "timeout",
        "healthyAfter",
        "unhealthyAfter",
        "status",
        "jitter",
        "tcp",
    ],
    later: &[("grpc", "use tcp: true, or a path that answers over HTTP/1.1")],
};

pub(super) const SERVICE_TLS: Keys = Keys {
    allowed: &["ca", "serverName", "insecure", "cert", "key"],
    later: &[("alpn", "take the key out; targets are asked for http/1.1")],
};

pub(super) const SERVICE_LIMITS: Keys = keys(&["connections", "pending", "pendingTimeout"]);

pub(super) const TARGET: Keys = keys(&["url", "weight"]);

pub(super) const AGGREGATION: Keys = keys(&["mode", "failOnError", "calls", "dependencies"]);

pub(super) const CALL: Keys = keys(&["name", "service", "path"]);

pub(super) const DEPENDENCY: Keys =
    keys(&["service", "path", "condition", "parameterMapping", "resultMapping"]);

pub(super) const MAPPING: Keys = keys(&["from", "to"]);

/// Every section by its own key: `[]` for an entry of a list, empty for the file.
#[cfg(test)]
pub(super) const ALL: &[(&str, &Keys)] = &[
    ("", &ROOT),
    ("server", &SERVER),
    ("server.limits", &LIMITS),
    ("server.timeouts", &TIMEOUTS),
    ("admin", &ADMIN),
    ("logging", &LOGGING),
    ("tracing", &TRACING),
    ("tracing.otlp", &OTLP),
    ("kv", &KV),
    ("kv.redis", &KV_REDIS),
    ("kv.memory", &KV_MEMORY),
    ("wasm", &WASM),
    ("wasm.plugins[]", &PLUGIN),
    ("services[]", &SERVICE),
    ("services[].hash", &HASH),
    ("services[].outlier", &OUTLIER),
    ("services[].retry", &RETRY),
    ("services[].healthCheck", &HEALTH_CHECK),
    ("services[].tls", &SERVICE_TLS),
    ("services[].limits", &SERVICE_LIMITS),
    ("services[].targets[]", &TARGET),
    ("services[].aggregation", &AGGREGATION),
    ("services[].aggregation.calls[]", &CALL),
    ("services[].aggregation.dependencies[]", &DEPENDENCY),
    ("services[].aggregation.dependencies[].parameterMapping[]", &MAPPING),
    ("services[].aggregation.dependencies[].resultMapping[]", &MAPPING),
];

/// The one of `known` that `got` is most likely meant to be; `None` if none is near.
pub(super) fn nearest<'k>(got: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let bare = |name: &str| -> Vec<u8> {
        let letters = name.bytes().filter(u8::is_ascii_alphanumeric);
        letters.map(|byte| byte.to_ascii_lowercase()).collect()
    };
    // The cost is quadratic; no key is near one of that length.
    if got.len() > 64 {
        return None;
    }
    let got = bare(got);
    let best = known
        .into_iter()
        .map(|name| (distance(&got, &bare(name)), name))
        .min_by_key(|(distance, _)| *distance)?;
    let (distance, name) = best;
    (distance <= name.len() / 3).then_some(name)
}

/// How many letters to put in, take out or change (Levenshtein) to get from `a` to `b`.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_keys_are_found_and_far_ones_are_not() {
        for (got, want) in [
            ("max_memory_pages", Some("maxMemoryPages")),
            ("maxmemorypages", Some("maxMemoryPages")),
            ("maxMemoryPage", Some("maxMemoryPages")),
            ("plugin", Some("plugins")),
            ("tiemout", Some("timeout")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(got, WASM.allowed.iter().copied()), want, "{got}");
        }
    }

    #[test]
    fn no_key_stands_twice() {
        for (section, keys) in ALL {
            let mut all: Vec<_> = keys.allowed.to_vec();
            all.extend(keys.later.iter().map(|(key, _)| *key));
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), keys.allowed.len() + keys.later.len(), "{section}");
        }
    }
}
