//! What a store holds beside the guest: what host functions know of the running call, and the
//! limits of the guest's memory.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use send_wrapper::SendWrapper;
use wasmtime::{Memory, ResourceLimiter};

use super::failure::{MemoryExceeded, TimedOut};
use super::host::Host;
use super::hostcalls;
use super::http_wasm;
use super::last_words::LastWords;
use super::log::Ids;
use super::memory::{Allocator, Arena, Region};
use super::module::Plugin;
use super::proxy_wasm;
use super::spec::LogLevel;
use crate::limits;

const PAGE_BYTES: usize = 64 * 1024;

/// The data of one instance's store.
///
/// A store must be `Send`. Ours never leaves its worker; what is not `Send` stands in a
/// `SendWrapper`, which panics if another thread ever touches it.
pub(super) struct HostState {
    pub(super) plugin: Arc<Plugin>,
    /// When the running call must be over.
    pub(super) deadline: Instant,
    /// The request of the running call; empty outside of requests.
    pub(super) request_id: String,
    /// The trace that it belongs to, in hexadecimal; empty without tracing.
    pub(super) trace_id: String,
    /// Whom that request has passed (`CDN-Loop`).
    pub(super) passed: Vec<u8>,
    /// Known once the instance is made; a wasm start function runs before.
    pub(super) memory: Option<Memory>,
    pub(super) allocator: Allocator,
    /// Where the values of `get_config` stand when the module has no allocator.
    pub(super) replies: Region,
    /// The values that `get_config` has put into guest memory: they never change, so each is put
    /// there once per instance.
    pub(super) config_values: HashMap<Vec<u8>, (u32, u32)>,
    /// Where host functions put what they return during a call.
    pub(super) arena: Arena,
    /// Whether the guest's allocator runs, called by the host.
    pub(super) is_allocating: bool,
    /// The unfinished lines that the guest wrote to its standard output and error.
    pub(super) lines: [Vec<u8>; 2],
    /// What it wrote last in the running call.
    pub(super) words: LastWords,
    pub(super) host: SendWrapper<Rc<Host>>,
    /// Of a foreign filter: its contexts and what they have asked for.
    pub(super) filter: proxy_wasm::State,
    /// Of a handler of http-wasm: the messages of its exchange.
    pub(super) handler: Box<http_wasm::State>,
}

impl HostState {
    pub(super) fn new(plugin: Arc<Plugin>, host: Rc<Host>, deadline: Instant) -> Self {
        Self {
            plugin,
            deadline,
            request_id: String::new(),
            trace_id: String::new(),
            passed: Vec::new(),
            memory: None,
            allocator: Allocator::HostRegion,
            replies: Region::default(),
            config_values: HashMap::new(),
            arena: Arena::default(),
            is_allocating: false,
            lines: [const { Vec::new() }; 2],
            words: LastWords::default(),
            host: SendWrapper::new(host),
            filter: proxy_wasm::State::default(),
            handler: Box::default(),
        }
    }

    /// Writes a line of the guest to the log. Says whether more would be written in this second.
    pub(super) fn log(&self, level: LogLevel, text: &[u8]) -> bool {
        self.host.log.guest(level, self.ids(), text)
    }

    /// What lines of the log tell of the running call's request.
    pub(super) fn ids(&self) -> Ids<'_> {
        Ids { request: &self.request_id, trace: &self.trace_id }
    }

    /// A call begins, for this request.
    pub(super) fn set_ids(&mut self, ids: Ids<'_>) {
        self.words.clear();
        ids.request.clone_into(&mut self.request_id);
        ids.trace.clone_into(&mut self.trace_id);
    }

    /// The time left for the running call, or why there is none.
    pub(super) fn check_deadline(&self) -> Result<std::time::Duration, TimedOut> {
        match self.deadline.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(left),
            _ => Err(TimedOut { timeout: self.plugin.spec.timeout }),
        }
    }
}

/// What the guest wrote without an end of line is often the last word of one that was given up.
impl Drop for HostState {
    fn drop(&mut self) {
        if self.host.valid() {
            hostcalls::end_of_call(self);
        }
    }
}

/// Growth beyond the limit traps: a guest that goes on after a failed `memory.grow` mostly fails
/// later, with nothing to tell why.
impl ResourceLimiter for HostState {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let ours = self.plugin.spec.max_memory_pages as usize;
        let (limit_pages, limit) = match maximum.map(|bytes| bytes / PAGE_BYTES) {
            Some(own) if own < ours => (own, "the module's own maximum"),
            _ => (ours, "maxMemoryPages"),
        };
        if desired <= limit_pages * PAGE_BYTES {
            return Ok(true);
        }
        Err(MemoryExceeded {
            wanted_pages: desired.div_ceil(PAGE_BYTES) as u64,
            limit_pages: limit_pages as u64,
            limit,
        }
        .into())
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error.context("failed to allocate memory"))
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let limit = limits::PLUGIN_TABLE_ELEMENTS_MAX;
        Ok(desired <= limit && maximum.is_none_or(|own| desired <= own))
    }
}
