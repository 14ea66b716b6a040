//! The keys of a service.

use super::aggregation::AGGREGATION;
use super::clients::{COMPRESSION_KEY, CORS_KEY};
use super::origins::{
    ADDRESSES, HASH_KEY, HEALTH_CHECK_KEY, LOAD_BALANCING, OUTLIER_KEY, RESOLVE, RETRY_COUNT,
    RETRY_DELAY, RETRY_KEY, SLOW_START, TLS_KEY,
};
use super::routes::{
    HOSTS, INTERNAL, MATCH_KEY, METHODS, MIRROR_KEY, REDIRECT_KEY, REQUEST_HEADERS,
    RESPONSE_HEADERS, REWRITE_KEY, SPLIT_KEY, STICKY_KEY,
};
use super::{DURATION, Keys, Kind, TARGET_URL, TOKEN, key};
use crate::limits;

/// `services[]`.
pub(in crate::control::config) const SERVICE: Keys = Keys {
    allowed: &[
        key(
            "name",
            Kind::Name,
            "What it is called: A-Z a-z 0-9 . _ -, up to 128, unique. Required.",
        )
        .required()
        .example("users-service"),
        HOSTS,
        key(
            "basePath",
            Kind::Shaped(r"^/[!-~]*$"),
            "The path under which it is reached, whole segments: /api has /api and /api/x, not \
             /apis. The longest one that matches wins. Default: /.",
        )
        .form("normalised path")
        .default("/")
        .when("the longest one that matches on segment borders wins")
        .example("/api"),
        METHODS,
        MATCH_KEY,
        key(
            "stripBasePath",
            Kind::Boolean,
            "Whether basePath is taken off before the request goes on; the target is told it in \
             X-Forwarded-Prefix. Default: false.",
        )
        .default("false")
        .when("the target doesn't know the prefix; it is told it in `X-Forwarded-Prefix`"),
        REDIRECT_KEY,
        REWRITE_KEY,
        INTERNAL,
        SPLIT_KEY,
        STICKY_KEY,
        MIRROR_KEY,
        CORS_KEY,
        COMPRESSION_KEY,
        key(
            "targets",
            Kind::List(
                &Kind::Either(&[TARGET_URL, Kind::Section(&TARGET)]),
                1,
                limits::TARGETS_MAX,
            ),
            "One or more of: http://host:port, https://host:port, h2://host:port (HTTP/2), \
             http://unix:/path, or with a share of the requests. Or builtin:echo alone, which \
             answers with the request as an origin would see it. Required, unless \
             aggregation.calls, redirect or split answer.",
        )
        .form("list of targets, 1 to 256")
        .required_unless(&["aggregation", "redirect", "split"])
        .otherwise("required, but for services with `aggregation.calls`, `redirect` or `split`")
        .example("[http://127.0.0.1:9001]"),
        LOAD_BALANCING,
        HASH_KEY,
        OUTLIER_KEY,
        SLOW_START,
        RETRY_KEY,
        RETRY_COUNT,
        RETRY_DELAY,
        HEALTH_CHECK_KEY,
        TLS_KEY,
        RESOLVE,
        ADDRESSES,
        key(
            "timeout",
            Kind::Either(&[Kind::Word(&["off"]), DURATION]),
            "From the routed request to the relayed response; off: as long as it takes. Default: \
             60s. Over it: 504. Raise it for long downloads, switch it off for streams.",
        )
        .form("duration, routed request to relayed response, or `off`")
        .example("30s")
        .default("60s")
        .when("long uploads get 408, slow targets 504, long downloads get cut"),
        key(
            "timeouts",
            Kind::Section(&SERVICE_TIMEOUTS),
            "Bounds of waiting for its targets, in the place of the server's.",
        ),
        key(
            "headers",
            Kind::Headers(limits::SERVICE_HEADERS_MAX),
            "Headers to set on what goes to these targets, and to nobody else. Default: none.",
        )
        .form("map of name to value, at most 64")
        .otherwise("none")
        .when("the target wants them on every request")
        .example("{X-Gateway: Odin}"),
        REQUEST_HEADERS,
        RESPONSE_HEADERS,
        key(
            "requestTrailers",
            Kind::List(&TOKEN, 0, limits::SERVICE_TRAILERS_MAX),
            "Trailers (fields behind a chunked body) that targets get of clients. Of plugins only \
             Envoy filters see them. Default: none.",
        )
        .form("list of header names, at most 32")
        .otherwise("none: trailers of requests are dropped")
        .when("targets need some: they come behind the body, when plugins have passed the head")
        .example("[X-Checksum]"),
        key(
            "responseTrailers",
            Kind::List(&TOKEN, 0, limits::SERVICE_TRAILERS_MAX),
            "Trailers of targets that clients get although a plugin runs on the response. Where \
             none does, all pass. Default: none.",
        )
        .form("list of header names, at most 32")
        .otherwise("none pass where a plugin runs on the response; else all do")
        .when("clients need some, past plugins")
        .example("[X-Checksum]"),
        key(
            "preserveHost",
            Kind::Boolean,
            "Whether the target sees the client's Host. Default: true; false: it sees its own.",
        )
        .default("true")
        .otherwise("`true`: the target sees the client's `Host`")
        .when("`false` where the target only answers to its own name"),
        key(
            "upgrades",
            Kind::List(
                &Kind::Shaped(r"^[!#$%&'*+.^_`|~/0-9A-Za-z-]{1,64}$"),
                0,
                limits::UPGRADES_MAX,
            ),
            "The protocols that clients may switch to (the Upgrade header, and :protocol of \
             HTTP/2). Others are left out of the request. Default: [websocket].",
        )
        .form("list of protocols, at most 16; never `h2c`")
        .default("[websocket]")
        .otherwise("`[websocket]`")
        .when("`[]` where no client should; more where targets speak others")
        .example("[]"),
        key(
            "limits",
            Kind::Section(&SERVICE_LIMITS),
            "How many requests targets get at once, over all workers. Who finds no target with \
             room waits in a short queue, or gets 503.",
        ),
        key(
            "aggregation",
            Kind::Section(&AGGREGATION),
            "How responses are made of those of other services (docs/aggregation.md). Default: \
             none.",
        )
        .otherwise("none")
        .when(
            "responses are made of those of several services: \
            [aggregation.md](aggregation.md)",
        ),
    ],
    later: &[],
};

/// `services[].timeouts`.
pub(in crate::control::config) const SERVICE_TIMEOUTS: Keys = Keys {
    allowed: &[
        key("connect", DURATION, "For a connection to a target. Default: the server's.")
            .otherwise("`server.timeouts.connect`")
            .when("its targets are near, or far"),
        key(
            "firstByte",
            DURATION,
            "From the sent request to the first byte of the response. Default: the server's.",
        )
        .otherwise("`server.timeouts.firstByte`")
        .when("its targets think for long, or never should"),
        key(
            "idle",
            DURATION,
            "Between two pieces of a body, to or from a target. Default: the server's.",
        )
        .otherwise("`server.timeouts.body`")
        .when("streams are silent for long: with `timeout: off` it is what ends them"),
        key(
            "tunnel",
            DURATION,
            "For a WebSocket through which nothing passes either way. Default: the server's.",
        )
        .otherwise("`server.timeouts.tunnel`")
        .when("its clients send no pings, or should be gone sooner"),
    ],
    later: &[],
};

/// `services[].limits`.
pub(in crate::control::config) const SERVICE_LIMITS: Keys = Keys {
    allowed: &[
        key(
            "connections",
            Kind::Integer(1, limits::CONNECTIONS_CEILING as i64),
            "Requests under way at one target, 1 to 1048576. Default: three quarters of \
             server.limits.upstreamConnectionsMax.",
        )
        .form("1 to 1048576, whole process")
        .otherwise("three quarters of `server.limits.upstreamConnectionsMax`")
        .when(
            "requests under way at one target: what it can do at once. The next target that \
            has room is taken, else the request waits",
        )
        .example("1024"),
        key(
            "pending",
            Kind::Integer(0, limits::UPSTREAM_PENDING_CEILING as i64),
            "Requests that wait for one target, 0 to 65536. Default: 256. Over it: 503 at once.",
        )
        .form("0 to 65536, whole process")
        .default("256")
        .when(
            "requests that wait for one target; over it 503 with `Retry-After` at once. 0: \
            nobody waits",
        ),
        key("pendingTimeout", DURATION, "How long they wait. Default: 500ms. Over it: 503.")
            .default("500ms")
            .when("how long they wait, then 503"),
        key(
            "bodyBytesMax",
            Kind::Size(0, limits::BODY_BYTES_CEILING),
            "Bytes of a request's body, 0 to 1TiB. Default: the server's. Over it: 413.",
        )
        .form("size, 0 to 1TiB")
        .otherwise("`server.limits.bodyBytesMax`")
        .when("larger uploads come here than elsewhere, or smaller ones only: over it 413")
        .example("10MiB"),
        key(
            "headBytesMax",
            Kind::Size(limits::HEAD_BYTES_FLOOR as u64, limits::HEAD_BYTES_CEILING as u64),
            "Bytes of a request's head, beside the server's limit. Default: none. Over it: 431.",
        )
        .form("size, 1KiB to 1MiB")
        .otherwise("none but `server.limits.headBytesMax`, which is held before a service is known")
        .when("its targets take less than others: over it 431")
        .example("8KiB"),
        key(
            "headFieldsMax",
            Kind::Integer(1, limits::HEAD_FIELDS_CEILING as i64),
            "Fields of a request's head, beside the server's limit. Default: none. Over it: 431.",
        )
        .form("1 to 1000")
        .otherwise("none but `server.limits.headFieldsMax`")
        .when("as above")
        .example("50"),
        key(
            "uriBytesMax",
            Kind::Size(limits::URI_BYTES_FLOOR as u64, limits::HEAD_BYTES_CEILING as u64),
            "Bytes of a request's target, beside the server's limit. Default: none. Over it: 414.",
        )
        .form("size, 64 to 1MiB")
        .otherwise("none but `server.limits.uriBytesMax`")
        .when("as above: over it 414")
        .example("2KiB"),
    ],
    later: &[],
};

/// `services[].targets[]`.
pub(in crate::control::config) const TARGET: Keys = Keys {
    allowed: &[
        key("url", TARGET_URL, "Where it is. Required.")
            .form(
                "`http://host:port`, `https://host:port`, `h2://host:port` (HTTP/2 in the clear), \
            `http://unix:/path`, `builtin:echo` (the only target then)",
            )
            .required()
            .otherwise("required; the target may also be this text alone")
            .example("http://127.0.0.1:9002"),
        key(
            "weight",
            Kind::Integer(1, limits::TARGET_WEIGHT_MAX as i64),
            "Its share of the requests beside the others. Default: 1.",
        )
        .form("1 to 1000")
        .default("1")
        .when("targets differ in size"),
    ],
    later: &[],
};
