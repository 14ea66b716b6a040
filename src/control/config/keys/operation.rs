//! The keys of `admin`, `logging` and `tracing`.

use super::{ADMIN_LISTENER, DURATION, Keys, Kind, TCP_LISTEN, key};
use crate::limits;
use crate::trace::access_log::Field;

/// `admin`.
pub(in crate::control::config) const ADMIN: Keys = Keys {
    allowed: &[
        key(
            "listen",
            Kind::Either(&[Kind::Word(&["off"]), TCP_LISTEN, Kind::Section(&ADMIN_LISTENER)]),
            "Where the admin API listens, host:port or off. Default: 127.0.0.1:8081. With TLS: \
             {address: 0.0.0.0:8081, tls: {...}}, as of a listener.",
        )
        .form("`host:port` or `[::]:port`, `off`, or a map")
        .default("127.0.0.1:8081")
        .when("to reach it from elsewhere; then it needs a token")
        .example("off"),
        key(
            "token",
            Kind::Shaped(r"^[!-~]*$"),
            "What callers of the admin API must show (Authorization: Bearer ...). Default: none; \
             an empty one is none. An address that other machines can reach needs one.",
        )
        .form("text of printable ASCII without spaces; empty is none")
        .otherwise("none")
        .when("always when others can log in to the machine; never printed")
        .example("${ODIN_ADMIN_TOKEN}"),
    ],
    later: &[],
};

/// `logging`.
pub(in crate::control::config) const LOGGING: Keys = Keys {
    allowed: &[
        key(
            "level",
            Kind::Word(&["off", "error", "warn", "info", "debug", "trace"]),
            "off, error, warn, info, debug or trace. Default: info. debug shows plugins' debug \
             lines too.",
        )
        .default("info")
        .when("`debug` shows plugins' debug lines as well (for one plugin: `config.logLevel`)"),
        key(
            "format",
            Kind::Word(&["text", "json"]),
            "text or json (one object per line, for log collectors). Default: text.",
        )
        .default("text")
        .when("a log collector reads it"),
        key(
            "accessLog",
            Kind::Shaped(r"^(off|stdout|.*/.*)$"),
            "A line for each exchange: off, stdout, or a path with a \"/\" in it (appended to; a \
             new file has mode 0640; a link is refused). Default: off.",
        )
        .form("`off`, `stdout` or a path with a `/` in it")
        .default("off")
        .when("a line for each request is wanted; see below")
        .example("/var/log/odin/access.log"),
        key(
            "accessLogFields",
            Kind::List(&Kind::Field, 1, Field::ALL.len()),
            "What the line tells, in this order; docs/configuration.md lists all fields.",
        )
        .form("list of fields, in the order of the line")
        .otherwise(
            "`time`, `request_id`, `client`, `method`, `path`, `status`, `body_bytes_sent`, \
             `tunnel_bytes_received`, `duration_ms`, `service`, `upstream`, `error`",
        )
        .when("a line shall tell more or less")
        .example("[status, path]"),
    ],
    later: &[],
};

/// `tracing`.
pub(in crate::control::config) const TRACING: Keys = Keys {
    allowed: &[
        key(
            "enabled",
            Kind::Boolean,
            "Whether requests are traced by W3C Trace Context: traceparent and tracestate are \
             continued, or begun where a request has none. Default: true where this section \
             stands, false without it; then the two pass as they come.",
        )
        .otherwise("`true` where the section stands, else off")
        .when("to turn it off for a while")
        .example("true"),
        key(
            "incoming",
            Kind::Word(&["continue", "restart"]),
            "What a request's own traceparent is worth: continue, or restart where clients are \
             not to choose ids and what is sampled. Default: continue.",
        )
        .default("continue")
        .otherwise("`continue`: a request's own `traceparent` is believed")
        .when("`restart` where clients are strangers: else they choose ids, and what is sampled"),
        key(
            "sampleRate",
            Kind::Number(0.0, 1.0),
            "The share of the traces that begin here which are sampled, 0 to 1. Default: 1. \
             Traces that are continued keep what whoever began them has decided.",
        )
        .form("number from 0 to 1")
        .default("1")
        .when(
            "there is much traffic: the share of the traces begun here that are sampled. \
            Continued ones keep their flag",
        )
        .example("0.01"),
        key(
            "otlp",
            Kind::Section(&OTLP),
            "Where the spans of sampled traces go. Default: none, nowhere.",
        )
        .otherwise("none: nothing is exported")
        .when("a collector shall have spans"),
    ],
    later: &[],
};

/// `tracing.otlp`.
pub(in crate::control::config) const OTLP: Keys = Keys {
    allowed: &[
        key(
            "endpoint",
            Kind::Shaped(r"^https?://[^?#@\s]+$"),
            "Its base URL, http or https; /v1/traces is added. Required.",
        )
        .form("base URL, `http` or `https`; `/v1/traces` is added")
        .required()
        .example("http://127.0.0.1:4318"),
        key("timeout", DURATION, "For one message. Default: 10s.")
            .form("duration, one message")
            .default("10s")
            .when("the collector is far away"),
        key(
            "headers",
            Kind::Headers(limits::TRACE_HEADERS_MAX),
            "Sent with each message, keys for example; never shown. Default: none.",
        )
        .form("map of name to value, at most 64; values are never shown")
        .otherwise("none")
        .when("the collector asks for a key")
        .example("{x-api-key: \"${OTLP_KEY}\"}"),
        key("serviceName", Kind::Text, "What the gateway is called. Default: odin.")
            .default("odin")
            .when("several gateways send to one collector")
            .example("edge"),
    ],
    later: &[],
};
