//! The keys of `services[].aggregation`.

use super::{Keys, Kind, key};
use crate::limits;

/// `services[].aggregation`.
pub(in crate::control::config) const AGGREGATION: Keys = Keys {
    allowed: &[
        key(
            "mode",
            Kind::Word(&["merge"]),
            "How answers are joined: merge, the only mode. Default: merge.",
        )
        .default("merge"),
        key(
            "failOnError",
            Kind::Boolean,
            "Whether a failed call fails the request (502). Default: false, it is logged and \
             left out.",
        )
        .default("false")
        .otherwise("`false`: a failed call is logged and left out")
        .when("half a response is worse than none: a failed call is then 502"),
        key(
            "calls",
            Kind::List(&Kind::Section(&CALL), 0, limits::AGGREGATION_CALLS_CONFIGURED_MAX),
            "What is asked at once, instead of the service's own targets. Default: none.",
        )
        .form("list, at most 32")
        .otherwise("none")
        .when("what is asked, instead of `targets`"),
        key(
            "dependencies",
            Kind::List(&Kind::Section(&DEPENDENCY), 0, limits::AGGREGATION_DEPENDENCIES_MAX),
            "What completes the service's own response. Default: none.",
        )
        .form("list, at most 32")
        .otherwise("none")
        .when("what completes the response"),
    ],
    later: &[],
};

/// `services[].aggregation.calls[]`.
pub(in crate::control::config) const CALL: Keys = Keys {
    allowed: &[
        key("name", Kind::Name, "The key of its answer; unique. Required.")
            .form("name, unique")
            .required()
            .when("the key of the answer")
            .example("user"),
        key("service", Kind::Name, "The service that is called; it has targets. Required.")
            .form("name of a service with targets")
            .required()
            .example("users-service"),
        key(
            "path",
            Kind::Shaped("^/"),
            "The path that its target is asked for; one without a query gets that of the \
             request. Required.",
        )
        .form("path, with or without a query")
        .required()
        .when("a path without a query gets that of the request")
        .example("/api/users/me"),
    ],
    later: &[],
};

/// `services[].aggregation.dependencies[]`.
pub(in crate::control::config) const DEPENDENCY: Keys = Keys {
    allowed: &[
        key("service", Kind::Name, "The service that is called; it has targets. Required.")
            .form("name of a service with targets")
            .required()
            .example("users-service"),
        key(
            "path",
            Kind::Shaped("^/"),
            "The path that its target is asked for, with {names} for values. Required.",
        )
        .form("path with `{names}` for values")
        .required()
        .example("/api/products/{product_id}"),
        key(
            "condition",
            Kind::Text,
            "When it is called: PATH == LITERAL, PATH != LITERAL or PATH. Default: always.",
        )
        .form("`PATH == LITERAL`, `PATH != LITERAL` or `PATH`")
        .otherwise("always")
        .when("it is not needed in every response")
        .example("$.includeDetails == true"),
        key(
            "parameterMapping",
            Kind::List(&Kind::Section(&PARAMETER), 0, limits::AGGREGATION_MAPPINGS_MAX),
            "A value for each {name} in path. Default: none.",
        )
        .form("list, at most 16")
        .otherwise("none")
        .when("a value for each `{name}`")
        .example("[{from: \"$.items[*].productId\", to: product_id}]"),
        key(
            "resultMapping",
            Kind::List(&Kind::Section(&RESULT), 1, limits::AGGREGATION_MAPPINGS_MAX),
            "Where the answer goes. Required.",
        )
        .form("list, 1 to 16")
        .required()
        .example("[{from: $, to: \"$.items[*].product\"}]"),
    ],
    later: &[],
};

/// `services[].aggregation.dependencies[].parameterMapping[]`.
pub(in crate::control::config) const PARAMETER: Keys = Keys {
    allowed: &[
        key("from", Kind::Text, "A path into the response. Required.")
            .form("path into the response")
            .required()
            .example("$.items[*].productId"),
        key("to", Kind::Text, "A name in path. Required.")
            .form("a name in `path`")
            .required()
            .example("product_id"),
    ],
    later: &[],
};

/// `services[].aggregation.dependencies[].resultMapping[]`.
pub(in crate::control::config) const RESULT: Keys = Keys {
    allowed: &[
        key("from", Kind::Text, "A path into the answer; $ takes all of it. Required.")
            .form("path into the answer")
            .required()
            .when("`$` takes all of it")
            .example("$"),
        key("to", Kind::Text, "A path into the response. Required.")
            .form("path into the response")
            .required()
            .example("$.items[*].product"),
    ],
    later: &[],
};
