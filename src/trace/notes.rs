//! What is noted of an exchange while it runs: plain values, for which the exchange
//! finds the names at its end.

use std::time::{Duration, Instant};

use super::context::SpanId;
use crate::error::Error;

/// How a plugin's call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginEnd {
    /// The exchange goes on.
    Continued,
    /// It made the response.
    Responded,
    /// It failed, so: the `kind` label of `wasm_plugin_errors_total`.
    Failed(&'static str),
}

/// A part of an exchange.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) begun: Instant,
    /// None: it is not over.
    pub(crate) took: Option<Duration>,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// A call of a plugin.
    Plugin {
        /// Its place in the chain of the exchange's service.
        index: usize,
        phase: &'static str,
        end: PluginEnd,
    },
    /// A request to an endpoint, up to the head of its response.
    Attempt(Attempt),
}

/// See [`What::Attempt`].
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) span: SpanId,
    /// The place of the asked service in the snapshot.
    pub(crate) service: usize,
    /// `Endpoint::id`.
    pub(crate) endpoint: usize,
    /// Counts the tries of one request, from 1.
    pub(crate) number: usize,
    pub(crate) is_reused: bool,
    pub(crate) status: u16,
    pub(crate) error: Option<Error>,
    pub(crate) method: &'static str,
    /// Path and query; empty unless it is exported.
    pub(crate) target: String,
}
