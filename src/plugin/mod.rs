//! Plugins: WebAssembly modules that see every request and response of the services they serve.
//!
//! The only module of the gateway that names wasmtime. The control thread makes one [`Runtime`]
//! per process and loads [`Plugin`]s with it; a snapshot holds them as [`Chain`]s, immutable and
//! shared by all workers; each worker has its own [`Pools`] of instances, which never leave it.
//! An exchange asks its chain which plugins apply ([`Chain::select`]) and runs them with
//! [`run_request`] and [`run_response`]; what joins the answers of an aggregation, with
//! [`run_aggregation`].
//!
//! The chain knows phases and verdicts. How a plugin is spoken to is its ABI's business (`abi`):
//! `json_abi` (docs/plugin-abi.md), `proxy_wasm` and
//! `http_wasm` (docs/foreign-plugins.md).

// in the order in which a call meets them
mod chain;
mod abi;
mod json_abi;
mod proxy_wasm;
mod http_wasm;
mod checks;
mod pool;
mod waiting;
mod instance;
mod memory;
mod state;
mod host;
mod hostcalls;
mod failure;
mod backtrace;
mod last_words;
mod log;
mod stats;
mod metrics;
// made by the control thread
mod spec;
mod reach;
mod heap;
mod module;
mod cache;
mod runtime;
// without a gateway
pub mod oneshot;
// one instance and its calls, in the place of a worker
pub mod trial;
// the host's two halves of a call, by themselves
pub mod halves;
// what a module is, without running it
pub mod inspect;
mod scene;

#[cfg(test)]
mod testing;

pub use chain::{
    Asked, BodySlot, CallAnswer, Carried, Chain, Facts, Fed, Feed, MessageBounds, Part, Passage,
    Piece, Selected, TrailerEdits, Upstream, Verdict, run_aggregation, run_local, run_request,
    run_response,
};
pub use chain::{Chosen, Upstreams, Wish};
pub use log::{LogSink, PluginLine, has_unwritten_lines};
pub use metrics::PluginMetric;
pub use module::{Plugin, Uses};
pub use pool::{Pools, PrepareFailure};
pub(crate) use reach::authority_of;
pub use reach::{Callee, GivenFile, Origin, Outbound, Reach, Scheme, Url};
pub use runtime::{Runtime, RuntimeError, RuntimeOptions};
pub use spec::{
    BodyMode, Encoding, FailureMode, FilterSpec, Isolation, LogLevel, NonUtf8, Phase, PluginSpec,
    PluginType, TickOn,
};
pub use stats::{ErrorKind, LastFailure, PluginReport, PluginStats};
