//! The keys of a service that are about how requests are shared out and about targets that fail.

use super::{DURATION, Key, Keys, Kind, TOKEN, key};
use crate::limits;

/// A part of something.
const PART: Kind = Kind::Part;

pub(super) const LOAD_BALANCING: Key = key(
    "loadBalancing",
    Kind::Word(&["round-robin", "least-connections", "p2c", "random", "consistent-hash"]),
    "Who gets a request, by weight: round-robin (in turn), least-connections, p2c (the better of \
     two that are drawn, by requests under way and latency), random, consistent-hash (by a key of \
     the request). Default: round-robin.",
)
.default("round-robin")
.when(
    "requests differ much in what they cost (`least-connections`), targets differ in speed \
     (`p2c`), a target knows its users (`consistent-hash`). All go by weight: [Origins](#origins)",
);

pub(super) const HASH_KEY: Key = key(
    "hash",
    Kind::Section(&HASH),
    "What the key is, with loadBalancing: consistent-hash. Default: ip: true.",
)
.form("map, for `consistent-hash`")
.otherwise("`ip: true`");

/// `services[].hash`.
pub(in crate::control::config) const HASH: Keys = Keys {
    allowed: &[
        key("header", TOKEN, "The header whose value leads to the target. Default: none.")
            .form("header name")
            .otherwise("none")
            .when("this header's value leads to the target")
            .example("X-User"),
        key("cookie", TOKEN, "The cookie whose value leads to the target. Default: none.")
            .form("cookie name")
            .otherwise("none")
            .when("this cookie's value does")
            .example("session"),
        key(
            "ip",
            Kind::Boolean,
            "Whether the client's address leads to the target. Default: true where no other is \
             given.",
        )
        .otherwise("`true` where no other is given")
        .when("the client's address does"),
        key(
            "plugin",
            Kind::Boolean,
            "Whether what a plugin says leads to the target (upstream.hashKey). Default: false.",
        )
        .default("false")
        .when("only a plugin knows what belongs together: a tenant, a shard"),
        key(
            "boundedLoad",
            Kind::Number(1.01, 10.0),
            "Who has more than so many times its part of the requests is passed over. Default: \
             none.",
        )
        .otherwise("none: a key always goes to its target")
        .when(
            "one key may be asked for more than one target can bear: one that has so many times \
             its part of the requests is passed over",
        )
        .example("1.25"),
    ],
    later: &[],
};

pub(super) const OUTLIER_KEY: Key = key(
    "outlier",
    Kind::Either(&[Kind::Word(&["off"]), Kind::Section(&OUTLIER)]),
    "Which failures keep a target from getting requests for a while; off: none do. A target that \
     takes no connection is left alone for a second at first, whatever stands here. Default: on.",
)
.form("map, or `off`")
.otherwise("on")
.when("which failures keep a target from getting requests for a while");

/// `services[].outlier`.
pub(in crate::control::config) const OUTLIER: Keys = Keys {
    allowed: &[
        key(
            "consecutiveErrors",
            Kind::Integer(0, limits::OUTLIER_ERRORS_CEILING as i64),
            "Failed requests one after the other. Default: 5. 0: none do.",
        )
        .default("5")
        .when("failed requests one after the other; 0: none do"),
        key(
            "errorRate",
            PART,
            "Failed part of the requests of an interval. Default: 50%. 0%: none does.",
        )
        .default("50%")
        .when("failed part of a worker's requests in an interval, of 20 or more; 0%: none does"),
        key("interval", DURATION, "The interval that errorRate is about. Default: 10s.")
            .default("10s"),
        key("ejection", DURATION, "For how long, at first. Default: 30s.")
            .default("30s")
            .when("the first; each that follows is twice as long, up to 5 minutes"),
        key(
            "ejectedMax",
            PART,
            "The part of the targets that may be ejected at once. Default: 50%.",
        )
        .default("50%")
        .when(
            "the part of the targets that may be ejected for their answers (of two or more at \
             least one, never all); the others bear their load",
        ),
    ],
    later: &[],
};

pub(super) const SLOW_START: Key = key(
    "slowStart",
    Kind::Duration(0),
    "How long a target that is new or back takes to its whole share. Default: 0s.",
)
.form("duration")
.default("0s")
.otherwise("`0s`: at once")
.when("a target that is new or back gets a growing part of its share for so long");

pub(super) const RETRY_KEY: Key = key(
    "retry",
    Kind::Section(&RETRY),
    "When a request that was sent is sent to another target. Default: never.",
)
.otherwise("none: what was sent is sent once")
.when("another target may answer what one could not");

/// `services[].retry`.
pub(in crate::control::config) const RETRY: Keys = Keys {
    allowed: &[
        key(
            "tries",
            Kind::Integer(1, limits::TRIES_MAX as i64),
            "Tries of one request, the first included. Default: 2.",
        )
        .default("2")
        .when("tries of one request, the first included. Those without a connection do not count"),
        key(
            "on",
            Kind::List(
                &Kind::Shaped("^(connect|reset|timeout|5[0-9][0-9])$"),
                0,
                limits::RETRY_ON_MAX,
            ),
            "What is tried again: connect, reset, timeout, statuses from 500 to 599. Default: \
             [connect, reset, 502, 503, 504].",
        )
        .form("list of `connect`, `reset`, `timeout`, statuses 500 to 599")
        .default("[connect, reset, 502, 503, 504]")
        .when("what is tried again; `connect` always is")
        .example("[connect, timeout, 503]"),
        key(
            "perTry",
            DURATION,
            "How long a try may take that is not the last. Default: none.",
        )
        .otherwise("none")
        .when(
            "a target that hangs is left for another one after so long; the last try has all the \
             time that is left",
        ),
        key("budget", PART, "Tries beside the first ones, of the requests. Default: 20%.")
            .default("20%")
            .when(
                "tries beside the first ones, of the requests of a worker; with a few besides, so \
                 that seldom requests have one",
            ),
        key("delay", Kind::Duration(0), "How long the next try waits. Default: 0s.")
            .form("duration")
            .default("0s")
            .when("how long the next try waits"),
        key(
            "methods",
            Kind::Either(&[
                Kind::Word(&["idempotent", "safe"]),
                Kind::List(&Kind::Word(&["GET", "HEAD", "PUT", "DELETE", "OPTIONS"]), 0, 5),
            ]),
            "Of which requests: idempotent, safe, or a list such as [GET, PUT]. Default: \
             idempotent.",
        )
        .form("`idempotent`, `safe`, or a list of `GET`, `HEAD`, `PUT`, `DELETE`, `OPTIONS`")
        .default("idempotent")
        .when("targets that do not keep to RFC 9110 section 9.2.2"),
    ],
    later: &[],
};

pub(super) const RETRY_COUNT: Key = key(
    "retryCount",
    Kind::Integer(0, limits::TRIES_MAX as i64 - 1),
    "The original's key for retry.tries, less one. Default: 0.",
)
.default("0")
.when("the original's key: `retry.tries` less one");

pub(super) const RETRY_DELAY: Key =
    key("retryDelay", Kind::Duration(0), "The original's key for retry.delay. Default: 0s.")
        .form("duration")
        .otherwise("`0s`")
        .when("the original's key: `retry.delay`");

pub(super) const HEALTH_CHECK_KEY: Key = key(
    "healthCheck",
    Kind::Section(&HEALTH_CHECK),
    "How targets are checked. Default: by their requests alone.",
)
.otherwise("none: targets are known by their requests alone");

/// `services[].healthCheck`.
pub(in crate::control::config) const HEALTH_CHECK: Keys = Keys {
    allowed: &[
        key("path", Kind::Shaped("^/[!\"$-~]*$"), "What a target is asked for. Default: /.")
            .form("path")
            .default("/")
            .when("what a target is asked for")
            .example("/healthz"),
        key(
            "host",
            Kind::Shaped("^[^ /@]+$"),
            "The Host that it is asked with. Default: the target's.",
        )
        .form("host")
        .otherwise("the target's")
        .when("the `Host` it is asked with")
        .example("app.internal"),
        key(
            "interval",
            Kind::Duration(limits::CHECK_INTERVAL_MIN.as_millis() as u64),
            "Between two checks of a target. Default: 5s.",
        )
        .form("duration, from `100ms`")
        .default("5s")
        .when("between two checks of a target, by the whole process"),
        key("timeout", DURATION, "For a whole check. Default: 1s.")
            .default("1s")
            .when("for a check"),
        key(
            "healthyAfter",
            Kind::Integer(1, limits::CHECKS_CEILING as i64),
            "Passed checks that make a sick target well. Default: 2.",
        )
        .default("2")
        .when(
            "passed checks that make a sick target well, whatever requests have ejected it for \
             meanwhile",
        ),
        key(
            "unhealthyAfter",
            Kind::Integer(1, limits::CHECKS_CEILING as i64),
            "Failed checks that make a well target sick. Default: 3.",
        )
        .default("3")
        .when(
            "failed checks that make a well target sick. The first check of a target decides alone",
        ),
        key(
            "status",
            Kind::List(
                &Kind::Shaped(r"^[1-5][0-9][0-9](\s*-\s*[1-5][0-9][0-9])?$"),
                0,
                limits::CHECK_STATUSES_MAX,
            ),
            "Statuses, and ranges of them, that pass. Default: [200-399].",
        )
        .form("list of statuses and ranges, at most 32")
        .default("[200-399]")
        .when("what passes")
        .example("[200, 204-206]"),
        key("jitter", PART, "By how much of it an interval is longer or shorter. Default: 20%.")
            .default("20%")
            .when("by how much intervals differ, so that many gateways do not check in step"),
        key("tcp", Kind::Boolean, "Whether a connection is enough. Default: false.")
            .default("false")
            .when("it is enough that the target takes a connection"),
        key(
            "grpc",
            Kind::Either(&[Kind::Boolean, Kind::Shaped("^[!-~]{1,256}$")]),
            "Whether targets are asked by gRPC's health checking protocol; or for which service. \
             Default: false.",
        )
        .form("boolean, or the name of a service")
        .default("false")
        .when(
            "targets speak gRPC and have `grpc.health.v1.Health`: `true` asks how the server \
             stands, a name how this service does; over HTTP/2, by TLS for `https://`",
        )
        .example("shop.v1.Orders"),
    ],
    later: &[],
};

pub(super) const RESOLVE: Key = key(
    "resolve",
    Kind::Either(&[
        Kind::Word(&["ttl"]),
        Kind::Duration(limits::RESOLVE_INTERVAL_MIN.as_millis() as u64),
    ]),
    "How often the names of targets are looked up; ttl: as name servers say. Default: 10s, ttl for \
     SRV records and with server.nameServers.",
)
.form("duration, from `500ms`, or `ttl`")
.otherwise("`10s`; `ttl` for SRV records and with `server.nameServers`")
.when(
    "how often the names of its targets are looked up. `ttl`: when the answer's time to live is \
     over (1 s to 5 minutes); name servers are asked then, by the system's configuration or \
     `server.nameServers`",
)
.example("ttl");

pub(super) const ADDRESSES: Key = key(
    "addresses",
    Kind::Word(&["each", "together"]),
    "Whether each address of a name is a target of its own (each), or all of them are one \
     (together). Default: each.",
)
.default("each")
.otherwise("`each`: every address of a name is a target of its own")
.when("`together`: the name is one target, its addresses are tried one after the other");

pub(super) const TLS_KEY: Key = key(
    "tls",
    Kind::Section(&SERVICE_TLS),
    "How targets of https:// are called. Default: by whom the system trusts, under the URL's name.",
)
.form("map, for targets of `https://`")
.when("their certificates are no public ones");

/// `services[].tls`.
pub(in crate::control::config) const SERVICE_TLS: Keys = Keys {
    allowed: &[
        key("ca", Kind::Path, "Who signs their certificates. Default: whom the system trusts.")
            .form("file of certificates in PEM")
            .otherwise("whom the system trusts")
            .when("who signs the targets' certificates; nobody else is trusted then")
            .example("/etc/odin/tls/origins.pem"),
        key("serverName", Kind::Text, "The name in their certificates. Default: the URL's.")
            .form("name or address")
            .otherwise("the URL's")
            .when("the name in their certificates is another; they are asked for it (SNI)")
            .example("app.internal"),
        key("insecure", Kind::Boolean, "Whether any certificate will do. Default: false.")
            .default("false")
            .when(
                "any certificate will do: whoever answers is taken for the target. The log says so \
                 at each start and reload",
            ),
        key("cert", Kind::Path, "What the gateway shows of its own. Default: none.")
            .form("file of a certificate in PEM, with its chain")
            .otherwise("none")
            .when("targets ask who calls them")
            .example("/etc/odin/tls/gateway.pem"),
        key("key", Kind::Path, "The key of the gateway's own certificate. Default: none.")
            .form("file of its key in PEM")
            .otherwise("none")
            .when("goes with `cert`")
            .example("/etc/odin/tls/gateway.key"),
        key(
            "alpn",
            Kind::List(&Kind::Word(&["h2", "http/1.1"]), 1, 2),
            "What is spoken, as they choose: h2, http/1.1. Default: [http/1.1].",
        )
        .form("list of `h2`, `http/1.1`, at least one")
        .default("[http/1.1]")
        .otherwise("`[http/1.1]`")
        .when("`[h2, http/1.1]` where targets speak HTTP/2: many requests over one connection")
        .example("[h2, http/1.1]"),
    ],
    later: &[],
};
