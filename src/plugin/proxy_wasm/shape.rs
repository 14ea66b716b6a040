//! What a module exports, as far as proxy-wasm knows it.

use wasmtime::Module;

use super::super::module::{Start, check_memory, start_of, types_of};
use super::super::spec::{Phase, PluginSpec};

/// A version of the ABI, by the name of an export (proxy-wasm/spec, `abi-versions/`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(in crate::plugin) enum Version {
    /// February 2020: a missing header is an empty one.
    V0_1_0,
    /// August 2020.
    V0_2_0,
    /// The same, and `proxy_get_log_level`.
    #[default]
    V0_2_1,
}

/// What every export that tells the version begins with.
const VERSION_PREFIX: &str = "proxy_abi_version_";

impl Version {
    const ALL: [(Self, &'static str); 3] =
        [(Self::V0_1_0, "0_1_0"), (Self::V0_2_0, "0_2_0"), (Self::V0_2_1, "0_2_1")];

    /// As it is written.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_2_1 => "0.2.1",
        }
    }
}

/// What is known of a module.
#[derive(Debug, Clone, Copy)]
pub(in crate::plugin) struct Shape {
    pub(super) version: Version,
    pub(super) start: Start,
    /// Which bodies it has a callback for, or for what comes behind them.
    takes_request_body: bool,
    takes_response_body: bool,
    /// Which function gives memory for what host functions return.
    pub(super) allocator: Option<&'static str>,
}

/// The callbacks, and the types that they may have.
const CALLBACKS: [(&str, &[&str]); 25] = [
    ("proxy_on_context_create", &["i32 i32 ->"]),
    ("proxy_on_vm_start", &["i32 i32 -> i32"]),
    ("proxy_on_configure", &["i32 i32 -> i32"]),
    ("proxy_on_tick", &["i32 ->"]),
    ("proxy_on_done", &["i32 -> i32"]),
    ("proxy_on_log", &["i32 ->"]),
    ("proxy_on_delete", &["i32 ->"]),
    ("proxy_on_request_headers", &["i32 i32 i32 -> i32", "i32 i32 -> i32"]),
    ("proxy_on_request_body", &["i32 i32 i32 -> i32"]),
    ("proxy_on_request_trailers", &["i32 i32 -> i32"]),
    ("proxy_on_request_metadata", &["i32 i32 -> i32"]),
    ("proxy_on_response_headers", &["i32 i32 i32 -> i32", "i32 i32 -> i32"]),
    ("proxy_on_response_body", &["i32 i32 i32 -> i32"]),
    ("proxy_on_response_trailers", &["i32 i32 -> i32"]),
    ("proxy_on_response_metadata", &["i32 i32 -> i32"]),
    ("proxy_on_http_call_response", &["i32 i32 i32 i32 i32 ->"]),
    ("proxy_on_queue_ready", &["i32 i32 ->"]),
    ("proxy_on_memory_allocate", &["i32 -> i32"]),
    ("malloc", &["i32 -> i32"]),
    ("main", &["i32 i32 -> i32"]),
    ("proxy_on_grpc_receive_initial_metadata", &["i32 i32 i32 ->"]),
    ("proxy_on_grpc_receive", &["i32 i32 i32 ->"]),
    ("proxy_on_grpc_receive_trailing_metadata", &["i32 i32 i32 ->"]),
    ("proxy_on_grpc_close", &["i32 i32 i32 ->"]),
    ("proxy_on_foreign_function", &["i32 i32 i32 ->"]),
];

/// Whether a module says that it is an Envoy filter.
pub(in crate::plugin) fn is_filter(module: &Module) -> bool {
    module.exports().any(|export| export.name().starts_with(VERSION_PREFIX))
}

/// What the module is to this ABI, or why it cannot be called by it.
pub(in crate::plugin) fn inspect(module: &Module, spec: &PluginSpec) -> Result<Shape, String> {
    let names: Vec<_> = module
        .exports()
        .filter_map(|export| export.name().strip_prefix(VERSION_PREFIX).map(str::to_owned))
        .collect();
    // A module may say several: the newest counts.
    let known = Version::ALL.iter().rev();
    let version = known.clone().find(|(_, name)| names.iter().any(|have| have == name));
    let Some(&(version, _)) = version else {
        let got = names.join(", ").replace('_', ".");
        return Err(format!(
            "the module is a filter of proxy-wasm ABI {got}; this gateway runs 0.1.0, 0.2.0 and \
             0.2.1: build it with an SDK of one of these"
        ));
    };
    check_memory(module, spec)?;
    for (name, allowed) in CALLBACKS {
        if let Some(types) = types_of(module, name)
            && !allowed.contains(&types.as_str())
            && name != "main"
        {
            let allowed = allowed.join(") or (");
            return Err(format!("{name} is ({types}); it must be ({allowed})"));
        }
    }
    let has = |name: &str| types_of(module, name).is_some();
    let allocators = ["proxy_on_memory_allocate", "malloc"];
    Ok(Shape {
        version,
        start: start_of(module)?,
        takes_request_body: has("proxy_on_request_body") || has("proxy_on_request_trailers"),
        takes_response_body: has("proxy_on_response_body") || has("proxy_on_response_trailers"),
        allocator: allocators.into_iter().find(|name| has(name)),
    })
}

impl Shape {
    /// Whether it has a callback for the body of this phase.
    pub(in crate::plugin) fn takes_body_in(&self, phase: Phase) -> bool {
        match phase {
            Phase::Request => self.takes_request_body,
            Phase::Response => self.takes_response_body,
            Phase::Aggregation => false,
        }
    }

    /// In words, for the filter's author.
    pub(in crate::plugin) fn describe(&self) -> String {
        let version = self.version.as_str();
        let start = match self.start {
            Start::Library => "a library (_initialize)",
            Start::Command => "a command (_start)",
            Start::None => "a plain module",
        };
        let allocator = self.allocator.unwrap_or("none: host functions can return no bytes");
        let bodies = match (self.takes_request_body, self.takes_response_body) {
            (true, true) => "of both messages",
            (true, false) => "of requests",
            (false, true) => "of responses",
            (false, false) => "of nothing",
        };
        format!(
            "proxy-wasm ABI {version}; {start}; allocator: {allocator}; reads the body {bodies}"
        )
    }
}
