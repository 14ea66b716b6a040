//! The keys of a service that are about what it does for its clients beside passing responses on.

use super::{Key, Keys, Kind, TOKEN, key};
use crate::limits;

/// A coding that responses can be compressed with.
const CODING: Kind = Kind::Word(&["zstd", "br", "gzip"]);
const CODINGS: Kind = Kind::List(&CODING, 1, 3);
/// A media type, or several.
const MEDIA_TYPE: Kind = Kind::Shaped(r"^[A-Za-z0-9.+_-]+/(\*?[A-Za-z0-9.+_-]+|\*)$");
/// A name of a header field, or `*`.
const NAMES: Kind = Kind::List(&TOKEN, 0, limits::CORS_NAMES_MAX);

pub(super) const COMPRESSION_KEY: Key = key(
    "compression",
    Kind::Either(&[CODINGS, Kind::Section(&COMPRESSION)]),
    "Which codings responses are compressed with, for clients that take them, the preferred one \
     first. Default: none.",
)
.form("list of `zstd`, `br`, `gzip`, or map")
.otherwise("none: bodies go on as they come")
.when(
    "targets send text plainly and the network costs more than the processor: \
     [Compression](#compression)",
)
.example("[zstd, br, gzip]");

/// `services[].compression`, where it is more than a list.
pub(in crate::control::config) const COMPRESSION: Keys = Keys {
    allowed: &[
        key("codings", CODINGS, "Which codings, the preferred one first. Required.")
            .form("list of `zstd`, `br`, `gzip`")
            .required()
            .example("[zstd, br, gzip]"),
        key(
            "types",
            Kind::List(&MEDIA_TYPE, 1, limits::COMPRESSION_TYPES_MAX),
            "Which types of content. Default: those of text, but for text/event-stream.",
        )
        .form("list of media types, at most 64: `text/html`, `text/*`, `application/*+json`")
        .otherwise("text, JSON, XML, JavaScript, SVG, WebAssembly: [Compression](#compression)")
        .when("others are worth it too, or fewer")
        .example("[text/html, application/json]"),
        key(
            "minBytes",
            Kind::Size(0, limits::COMPRESSION_BYTES_CEILING),
            "Bodies that are known to be shorter stay plain. Default: 1KiB.",
        )
        .default("1KiB")
        .when("short bodies are worth it, or the processor is not"),
    ],
    later: &[],
};

pub(super) const CORS_KEY: Key = key(
    "cors",
    Kind::Section(&CORS),
    "Which pages of other origins may read the responses. Default: what the targets say.",
)
.otherwise("none: what the targets say passes")
.when("browsers ask from other origins; preflights are answered here: [CORS](#cors)");

/// `services[].cors`.
pub(in crate::control::config) const CORS: Keys = Keys {
    allowed: &[
        key(
            "origins",
            Kind::List(
                &Kind::Either(&[Kind::Text, Kind::Section(&CORS_ORIGIN)]),
                1,
                limits::CORS_ORIGINS_MAX,
            ),
            "The origins whose pages may read. Required.",
        )
        .form(
            "list, at most 256: `https://app.example.com`, `https://*.example.com`, \
             `{regex: expression}`, `\"*\"` (any, without credentials), `\"null\"`",
        )
        .required()
        .example("['https://app.example.com']"),
        key("methods", NAMES, "What they may send. Default: [GET, HEAD, POST].")
            .form("list of methods, at most 64; `\"*\"`: any")
            .default("[GET, HEAD, POST]")
            .when("pages write with PUT, PATCH or DELETE")
            .example("[GET, PUT, DELETE]"),
        key("headers", NAMES, "Which headers they may set. Default: none but those that all may.")
            .form("list of header names, at most 64; `\"*\"`: any")
            .otherwise("none but those that every page may set")
            .when("pages send JSON (`Content-Type`) or `Authorization`")
            .example("[Content-Type, Authorization]"),
        key(
            "exposeHeaders",
            NAMES,
            "Which headers of responses they may read. Default: none but those that all may.",
        )
        .form("list of header names, at most 64; `\"*\"`: any, without credentials")
        .otherwise("none but those that every page may read")
        .example("[X-Request-Id]"),
        key(
            "credentials",
            Kind::Boolean,
            "Whether cookies are sent and what they bring may be read. Default: false.",
        )
        .default("false")
        .when("pages are logged in by cookie; not together with `origins: [\"*\"]`"),
        key(
            "maxAge",
            Kind::Duration(1000),
            "How long a browser keeps the answer to a preflight. Default: the browser's.",
        )
        .otherwise("the browser's: some seconds")
        .when("preflights are many; browsers have bounds of their own, hours")
        .example("10m"),
    ],
    later: &[],
};

/// One of `services[].cors.origins`, where it is an expression.
pub(in crate::control::config) const CORS_ORIGIN: Keys = Keys {
    allowed: &[key("regex", Kind::Text, "What the whole origin must fit. Required.")
        .required()
        .when("names follow a pattern; it must fit the whole origin")
        .example("https://pr-[0-9]+\\.example\\.com")],
    later: &[],
};
