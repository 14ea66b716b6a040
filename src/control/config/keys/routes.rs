//! The keys of a service that are about which requests are its own, and what becomes of them.

use super::{Key, Keys, Kind, TOKEN, key};
use crate::limits;

/// A host, or all below one.
const HOST: Kind = Kind::Shaped(r"^(\*\.)?[A-Za-z0-9._\u0080-\uffff-]+$|^\[[0-9A-Fa-f:.]+\]$");
/// A path without a query.
const PATH: Kind = Kind::Shaped(r"^/[!-~]*$");

pub(super) const HOSTS: Key = key(
    "hosts",
    Kind::List(&HOST, 0, limits::SERVICE_HOSTS_MAX),
    "The hosts whose requests come here: names, or *. in front of one. Default: any.",
)
.form("list of hosts, at most 256: `api.example.com`, `*.example.com`")
.otherwise("any host")
.when("requests of several hosts come here: [Routes](#routes)")
.example("[api.example.com]");

pub(super) const METHODS: Key = key(
    "methods",
    Kind::List(&Kind::Shaped("^[A-Z0-9-]+$"), 0, limits::SERVICE_METHODS_MAX),
    "The methods whose requests come here. Default: any.",
)
.form("list of methods, at most 16")
.otherwise("any method")
.when("reading and writing go to different services")
.example("[GET, HEAD]");

pub(super) const MATCH_KEY: Key = key(
    "match",
    Kind::Section(&MATCH),
    "What else requests must have that come here. Default: nothing.",
)
.otherwise("none")
.when("canaries, versions, tenants");

/// `services[].match`.
pub(in crate::control::config) const MATCH: Keys = Keys {
    allowed: &[
        key("headers", Kind::Anything, "Headers and what their values must be. Default: none.")
            .form("map of header name to condition, at most 16")
            .otherwise("none")
            .when("a text that its value is; `{regex: expression}`, found in it; `{present: true}`")
            .example("{X-Canary: 'yes'}"),
        key("cookies", Kind::Anything, "Cookies and what their values must be. Default: none.")
            .form("map of cookie to condition, at most 16")
            .otherwise("none")
            .when("the same of a cookie; the first of its name counts")
            .example("{canary: 'yes'}"),
        key(
            "query",
            Kind::Anything,
            "Parameters of the query and what their values must be. Default: none.",
        )
        .form("map of parameter to condition, at most 16")
        .otherwise("none")
        .when("the same of a parameter of the query, escapes undone")
        .example("{v: '2'}"),
    ],
    later: &[],
};

/// What a value must be, where that is more than a text.
pub(in crate::control::config) const MATCH_TEST: Keys = Keys {
    allowed: &[
        key("regex", Kind::Text, "What is found in it."),
        key("present", Kind::Boolean, "Whether it is enough that it is there."),
    ],
    later: &[],
};

pub(super) const INTERNAL: Key = key(
    "internal",
    Kind::Boolean,
    "Whether no request comes to it by itself, only what split, aggregation and plugins send \
     there. Default: false.",
)
.default("false")
.when("it is a part of a `split`, or called by others, and no path of the gateway's leads to it");

pub(super) const SPLIT_KEY: Key = key(
    "split",
    Kind::List(&Kind::Section(&SPLIT), 1, limits::SPLIT_MAX),
    "To which other services its requests go, by weight or by what they have; in the place of \
     targets. Default: to its own targets.",
)
.form("list, 1 to 32")
.otherwise("none: requests go to its own targets")
.when("canaries and gradual releases: [Splits](#splits)");

/// `services[].split[]`.
pub(in crate::control::config) const SPLIT: Keys = Keys {
    allowed: &[
        key("service", Kind::Name, "The service. Required.")
            .form("name of a service without a `split`")
            .required()
            .example("other-service"),
        key(
            "weight",
            Kind::Integer(0, limits::SPLIT_WEIGHT_MAX as i64),
            "Its share of the requests beside the others; 0: none. Default: 1, with match 0.",
        )
        .form("0 to 1000000")
        .otherwise("`1`, with `match` `0`")
        .when("not all get the same; 0 for what is switched off")
        .example("90"),
        key("match", Kind::Section(&MATCH), "What requests have that go there at any weight."),
    ],
    later: &[],
};

pub(super) const STICKY_KEY: Key = key(
    "sticky",
    Kind::Section(&STICKY),
    "What keeps a client with its part of the split. Default: each request is drawn anew.",
)
.otherwise("none: each request is drawn anew")
.when("a client shall not see two versions in turn");

/// `services[].sticky`.
pub(in crate::control::config) const STICKY: Keys = Keys {
    allowed: &[
        key("header", TOKEN, "This header's value. Default: none.")
            .form("header name")
            .otherwise("none")
            .when("equal values go the same way")
            .example("X-User"),
        key("cookie", TOKEN, "The value of this cookie, which targets set. Default: none.")
            .form("cookie name")
            .otherwise("none")
            .when("the same of a cookie that the application sets")
            .example("session"),
        key("ip", Kind::Boolean, "The client's address. Default: false.")
            .otherwise("`false`")
            .when("the same of the client's address"),
        key("setCookie", TOKEN, "A cookie of this name, which the gateway sets. Default: none.")
            .form("cookie name")
            .otherwise("none")
            .when("clients have nothing of the kind: the gateway sets it, with the service's name")
            .example("odin-split"),
        key("maxAge", Kind::Duration(1000), "How long that cookie lasts. Default: the session.")
            .otherwise("until the browser is closed")
            .when("with `setCookie`: visitors come back")
            .example("24h"),
    ],
    later: &[],
};

pub(super) const MIRROR_KEY: Key = key(
    "mirror",
    Kind::Section(&MIRROR),
    "To which other service copies of its requests go, whose responses nobody gets. Default: none.",
)
.otherwise("none")
.when("a new version is to be tried with real requests: [Mirrors](#mirrors)");

/// `services[].mirror`.
pub(in crate::control::config) const MIRROR: Keys = Keys {
    allowed: &[
        key("service", Kind::Name, "The service that gets the copies. Required.")
            .form("name of another service with targets")
            .required()
            .example("other-service"),
        key(
            "percent",
            Kind::Number(0.0, 100.0),
            "How many of the requests are copied, drawn by chance. Default: 100.",
        )
        .form("0 to 100, up to two digits behind the point")
        .default("100")
        .when("not every request is to be sent twice")
        .example("2.5"),
    ],
    later: &[],
};

pub(super) const REDIRECT_KEY: Key = key(
    "redirect",
    Kind::Section(&REDIRECT),
    "Where clients are sent instead; targets may be left out then. Default: nowhere.",
)
.otherwise("none")
.when("clients are sent elsewhere instead; request plugins run before. The query is kept");

/// `services[].redirect`.
pub(in crate::control::config) const REDIRECT: Keys = Keys {
    allowed: &[
        key("scheme", Kind::Word(&["http", "https"]), "By which scheme. Default: the client's.")
            .otherwise("the client's")
            .when("everything is to come by TLS")
            .example("https"),
        key("host", Kind::Text, "To which host, with its port. Default: the one that was asked.")
            .form("host, with its port if it has one")
            .otherwise("the one that was asked")
            .when("a name has moved")
            .example("www.example.com"),
        key("path", PATH, "To which path. Default: the one that was asked for.")
            .form("path")
            .otherwise("the one that was asked for")
            .when("it takes the place of the whole path")
            .example("/new"),
        key("status", Kind::Integer(301, 308), "301, 302, 303, 307 or 308. Default: 302.")
            .form("`301`, `302`, `303`, `307`, `308`")
            .default("302")
            .when("it is for good")
            .example("301"),
    ],
    later: &[],
};

pub(super) const REWRITE_KEY: Key = key(
    "rewrite",
    Kind::Section(&REWRITE),
    "What becomes of the path. Default: the target gets what was matched.",
)
.otherwise("none: the target gets the path that was matched");

/// `services[].rewrite`.
pub(in crate::control::config) const REWRITE: Keys = Keys {
    allowed: &[
        key("prefix", PATH, "What takes the place of basePath.")
            .form("path")
            .when("it takes the place of `basePath`")
            .example("/v2"),
        key("regex", Kind::Text, "What is replaced in the path, where it is found.")
            .form("regular expression, with `to`")
            .when("what it finds in the path is replaced; a path that it does not find stays")
            .example("^/users/([0-9]+)$"),
        key("to", PATH, "What takes its place; $1 is its first group.")
            .form("path, `$1` for the first group")
            .example("/people/$1"),
    ],
    later: &[],
};

pub(super) const REQUEST_HEADERS: Key = key(
    "requestHeaders",
    Kind::Section(&HEADER_EDIT),
    "What becomes of the headers that targets get, behind every plugin. Default: nothing else.",
)
.otherwise("none")
.when("what becomes of the headers that the targets get, behind every plugin");

pub(super) const RESPONSE_HEADERS: Key = key(
    "responseHeaders",
    Kind::Section(&HEADER_EDIT),
    "What becomes of the headers that clients get of it, behind every plugin. Default: nothing.",
)
.otherwise("none")
.when(
    "what becomes of the headers that clients get of this service, behind every plugin; not of \
     refusals and errors of the gateway",
);

/// `services[].requestHeaders` and `services[].responseHeaders`.
pub(in crate::control::config) const HEADER_EDIT: Keys = Keys {
    allowed: &[
        key(
            "set",
            Kind::Headers(limits::SERVICE_HEADERS_MAX),
            "In the place of those that came. Default: none.",
        )
        .form("map of name to value, at most 64")
        .otherwise("none")
        .when("in the place of those that came")
        .example("{X-Tenant: a}"),
        key(
            "add",
            Kind::Headers(limits::SERVICE_HEADERS_MAX),
            "Beside those that came. Default: none.",
        )
        .form("map of name to value, at most 64")
        .otherwise("none")
        .when("beside those that came")
        .example("{X-More: a}"),
        key(
            "remove",
            Kind::List(&TOKEN, 0, limits::SERVICE_HEADERS_MAX),
            "Names that are taken out. Default: none.",
        )
        .form("list of header names, at most 64")
        .otherwise("none")
        .when("a header tells what nobody is to know")
        .example("[X-Debug]"),
    ],
    later: &[],
};
