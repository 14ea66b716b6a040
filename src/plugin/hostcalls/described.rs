//! Every host function of module `env`, described once: its name, its types, how it is written in
//! docs, what a plugin reaches by it. What `inspect` says, the error about an import that there is
//! not, and the tests that hold linker, SDKs, docs and fuzz target together go by this table.

/// What a plugin reaches by a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Nothing outside of its own memory.
    None,
    /// Other services.
    Http,
    /// Its shared state.
    State,
    /// Files that its `config` names.
    Files,
}

/// Who calls a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// Authors, by their SDK: each SDK has it, in this form.
    Sdk,
    /// Authors who write their imports themselves.
    ByHand,
    /// The runtime of a language, by itself.
    Runtime,
}

/// One form of a host function.
#[derive(Debug)]
pub(super) struct Described {
    /// As it is imported.
    pub(super) name: &'static str,
    /// As [`super::signature`] has them.
    pub(super) types: &'static str,
    /// As docs/host-functions.md writes it (those of a runtime: docs/plugin-abi.md).
    pub(super) shown: &'static str,
    pub(super) way: Way,
    pub(super) caller: Caller,
}

const fn row(
    name: &'static str,
    types: &'static str,
    shown: &'static str,
    way: Way,
    caller: Caller,
) -> Described {
    Described { name, types, shown, way, caller }
}

/// The table.
pub(super) const FUNCTIONS: &[Described] = {
    use Caller::{ByHand, Runtime, Sdk};
    use Way::{Files, Http, None, State};
    &[
        row("log", "i32 i32 ->", "log(ptr, len)", None, ByHand),
        row("log", "i32 i32 i32 ->", "log(level: i32, ptr, len)", None, Sdk),
        row("get_time", "-> i64", "get_time() -> i64", None, Sdk),
        row("get_time", "-> f64", "get_time() -> f64", None, ByHand),
        row("get_time_ms", "-> i64", "get_time_ms() -> i64", None, Sdk),
        row("get_time_ms", "-> f64", "get_time_ms() -> f64", None, ByHand),
        row("get_config", "i32 i32 -> i64", "get_config(ptr, len) -> i64", None, Sdk),
        row("get_config", "i32 -> i32", "get_config(key: char*) -> char*", None, ByHand),
        row("http_call", "i32 i32 -> i64", "http_call(ptr, len) -> i64", Http, Sdk),
        row(
            "http_call",
            "i32 i32 i32 i32 -> i32",
            "http_call(method*, url*, headers*, body*) -> response*",
            Http,
            ByHand,
        ),
        row("kv_get", "i32 i32 -> i64", "kv_get(key, len) -> i64", State, Sdk),
        row(
            "kv_set",
            "i32 i32 i32 i32 i64 -> i32",
            "kv_set(key, len, value, len, ttl_ms: i64) -> i32",
            State,
            Sdk,
        ),
        row(
            "kv_incr",
            "i32 i32 i64 i64 -> i64",
            "kv_incr(key, len, delta: i64, ttl_ms: i64) -> i64",
            State,
            Sdk,
        ),
        row("kv_delete", "i32 i32 -> i32", "kv_delete(key, len) -> i32", State, Sdk),
        row(
            "kv_cas",
            "i32 i32 i32 i32 i32 i32 i64 -> i32",
            "kv_cas(key, len, old, len, new, len, ttl_ms: i64) -> i32",
            State,
            Sdk,
        ),
        row("read_file", "i32 i32 -> i64", "read_file(path, len) -> i64", Files, Sdk),
        row("metric_increment", "i32 i32 i64 ->", METRIC_INCREMENT, None, Sdk),
        row("metric_record", "i32 i32 i64 ->", METRIC_RECORD, None, Sdk),
        row(
            "abort",
            "i32 i32 i32 i32 ->",
            "abort(message, file, line, column: i32)",
            None,
            Runtime,
        ),
        row("seed", "-> f64", "seed() -> f64", None, Runtime),
    ]
};

const METRIC_INCREMENT: &str = "metric_increment(name, len, delta: i64)";
const METRIC_RECORD: &str = "metric_record(name, len, value: i64)";

/// Those that authors call, for the message that refuses an import.
pub(super) fn known() -> String {
    let of_authors = FUNCTIONS.iter().filter(|function| function.caller != Caller::Runtime);
    of_authors.map(|function| function.shown).collect::<Vec<_>>().join(", ")
}

/// The types that a function of this name is served with; empty: there is none.
pub(super) fn forms(name: &str) -> String {
    let forms = FUNCTIONS.iter().filter(|function| function.name == name);
    forms.map(|function| function.types).collect::<Vec<_>>().join(" or ")
}

/// Whether a function of this name leads this way.
pub(super) fn leads(name: &str, way: Way) -> bool {
    FUNCTIONS.iter().any(|function| function.name == name && function.way == way)
}
