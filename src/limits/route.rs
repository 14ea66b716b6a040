//! Bounds of routes.

/// Longest host (RFC 1035 section 2.3.4), and an IPv6 address in its brackets.
pub const HOST_BYTES_MAX: usize = 255;
/// Base paths of a host that are looked at one after the other; more are found by a hash. So few
/// are compared faster than one hash is made.
pub const PATHS_SCANNED_MAX: usize = 4;
/// Parameters of a query that conditions are looked for in: a form has fewer, and who sends more
/// is to cost no more.
pub const QUERY_PARAMETERS_MAX: usize = 256;
/// Most `hosts` of a service.
pub const SERVICE_HOSTS_MAX: usize = 256;
/// Most `methods` of a service: those that have a name, and some.
pub const SERVICE_METHODS_MAX: usize = 16;
/// Most conditions of a service on header fields, and on the query: the Gateway API's.
pub const CONDITIONS_MAX: usize = 16;
/// Longest path that a `rewrite` makes of a request's.
pub const REWRITTEN_PATH_BYTES_MAX: usize = 16 * 1024;
/// Most `cors.origins` of a service; each is held against a request's `Origin` in turn.
pub const CORS_ORIGINS_MAX: usize = 256;
/// Most names in `cors.headers`, `cors.exposeHeaders` and `cors.methods`.
pub const CORS_NAMES_MAX: usize = 64;
/// Longest `Origin` that is looked at, a scheme, a host and a port.
pub const ORIGIN_BYTES_MAX: usize = HOST_BYTES_MAX + 32;
/// Bytes of names that a preflight asks for which an answer repeats (`headers: ["*"]` with
/// `credentials`): beyond it none are.
pub const CORS_ASKED_BYTES_MAX: usize = 4096;
/// Most parts of a `split`: each is looked at for each request.
pub const SPLIT_MAX: usize = 32;
/// Largest weight of one: a millionth of the requests can be named.
pub const SPLIT_WEIGHT_MAX: u32 = 1_000_000;
/// Names of services that requests of one split are counted by, those of earlier configurations
/// included: twice what one may have. More count together.
pub const SPLIT_PARTS_KEPT_MAX: usize = 2 * SPLIT_MAX;
/// Smallest `services[].limits.uriBytesMax`: a path must fit.
pub const URI_BYTES_FLOOR: usize = 64;
