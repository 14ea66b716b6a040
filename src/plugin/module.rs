//! One loaded plugin: its module, compiled, inspected and linked, or why there is none.
//!
//! Everything that can be refused is refused here, when the module is loaded, with words that say
//! what would mend it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use std::time::{Duration, Instant};

use wasmtime::{Engine, ExternType, InstancePre, Linker, Module};

use super::abi::Abi;
use super::hostcalls;
use super::log::LogSink;
use super::proxy_wasm::{Registry, Share};
use super::spec::{
    BodyMode, FailureMode, Isolation, NonUtf8, Phase, PluginSpec, PluginType, TickOn,
};
use super::state::HostState;

/// A plugin of a snapshot. One whose module could not be loaded is a plugin all the same: its
/// failure mode decides every request that it applies to.
pub struct Plugin {
    /// What the configuration says of it.
    pub spec: PluginSpec,
    loaded: Result<Loaded, String>,
    /// Pools that hold it, over all workers.
    pools: AtomicUsize,
    /// When it ticked last for the whole process: milliseconds since its making, and 1.
    ticked: AtomicU64,
    made: Instant,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("spec", &self.spec)
            .field("load_error", &self.load_error())
            .finish_non_exhaustive()
    }
}

impl Plugin {
    pub(super) fn new(mut spec: PluginSpec, loaded: Result<Loaded, String>) -> Self {
        if let Ok(loaded) = &loaded {
            loaded.abi.settle(&mut spec);
        }
        let (pools, ticked) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self { spec, loaded, pools, ticked, made: Instant::now() }
    }

    /// A plugin whose module is not there: the file is missing, its checksum is wrong.
    pub fn failed(spec: PluginSpec, reason: impl Into<String>) -> Self {
        Self::new(spec, Err(reason.into()))
    }

    /// The same module with other keys: nothing is compiled or linked. Both share the machine code.
    pub fn again(&self, spec: PluginSpec) -> Self {
        let loaded = self.loaded.as_ref().map_err(String::clone);
        let loaded = loaded.and_then(|loaded| loaded.again(&spec));
        Self::new(spec, loaded)
    }

    /// A pool holds it, from after it took its reference until before it drops it.
    pub(super) fn enter_pool(&self) {
        self.pools.fetch_add(1, AcqRel);
    }

    pub(super) fn leave_pool(&self) {
        self.pools.fetch_sub(1, AcqRel);
    }

    /// Whether only pools hold it: no snapshot, no instance. May be false a moment too long;
    /// counted twice, so that a pool that comes or goes meanwhile is seen.
    pub(super) fn is_only_in_pools(self: &Arc<Self>) -> bool {
        let pools = self.pools.load(Acquire);
        Arc::strong_count(self) == pools && self.pools.load(Acquire) == pools
    }

    /// Why the module could not be loaded; `None` if it was.
    pub fn load_error(&self) -> Option<&str> {
        self.loaded.as_ref().err().map(String::as_str)
    }

    /// The SHA-256 of its file; `None` if it could not be loaded.
    pub fn digest(&self) -> Option<&[u8; 32]> {
        self.loaded.as_ref().ok().map(|loaded| &loaded.digest)
    }

    /// Whether it is called in `phase`: as its type says; a `response` plugin that exports
    /// `on_request` in the request phase too.
    pub fn runs_in(&self, phase: Phase) -> bool {
        if let Ok(Loaded { abi: Abi::ProxyWasm(_) | Abi::HttpWasm(_), .. }) = &self.loaded {
            return phase != Phase::Aggregation;
        }
        self.spec.kind.runs_in(phase) || phase == Phase::Request && self.answers_requests()
    }

    /// Whether it is given the body of `phase`, in whatever way.
    pub fn takes_body_in(&self, phase: Phase) -> bool {
        self.body_in(phase) != BodyMode::None
    }

    /// How it is given the body of `phase`. `on_request` is given none: what it is for (answering
    /// from a cache) looks at heads.
    pub fn body_in(&self, phase: Phase) -> BodyMode {
        let Ok(loaded) = &self.loaded else {
            return BodyMode::None;
        };
        let has_use = match &loaded.abi {
            Abi::Json(shape) if self.spec.body.is_streaming() => {
                self.spec.kind.runs_in(phase) && shape.takes_chunks_of(phase)
            }
            Abi::Json(_) => self.spec.kind.runs_in(phase),
            Abi::ProxyWasm(shape) => shape.takes_body_in(phase),
            Abi::HttpWasm(shape) => shape.reads_bodies && phase != Phase::Aggregation,
        };
        if has_use { self.spec.body } else { BodyMode::None }
    }

    /// Which ways out of its memory the module imports; none if it was not loaded.
    pub fn uses(&self) -> Uses {
        self.loaded.as_ref().map_or_else(|_| Uses::default(), |loaded| loaded.uses)
    }

    pub(super) fn loaded(&self) -> Result<&Loaded, &str> {
        self.loaded.as_ref().map_err(String::as_str)
    }

    /// What becomes of values that are not UTF-8.
    pub(super) fn non_utf8(&self) -> NonUtf8 {
        let by_abi = || match &self.loaded {
            Ok(Loaded { abi: Abi::ProxyWasm(_), .. }) => NonUtf8::Reject,
            // JSON: with U+FFFD, and the exact bytes beside; http-wasm: as they are.
            Ok(_) | Err(_) => NonUtf8::Pass,
        };
        self.spec.non_utf8.unwrap_or_else(by_abi)
    }

    /// Whether a message with a value that is not UTF-8 is refused before it is asked.
    pub(super) fn rejects_non_utf8(&self) -> bool {
        self.non_utf8() == NonUtf8::Reject
    }

    /// Whether a worker's exchanges share one instance, interleaved.
    pub(super) fn is_resident(&self) -> bool {
        matches!(&self.loaded, Ok(Loaded { abi: Abi::ProxyWasm(_), .. }))
    }

    /// Whether it has an instance that a worker's exchanges share, interleaved.
    pub(super) fn shares_instance(&self) -> bool {
        let passes_pieces = self.spec.body.is_streaming()
            && self.spec.isolation == Isolation::Shared
            && matches!(&self.loaded, Ok(Loaded { abi: Abi::Json(_), .. }));
        self.is_resident() || passes_pieces
    }

    /// Whether a failure of it stops a message.
    pub(super) fn fails_closed(&self) -> bool {
        self.spec.failure_mode == FailureMode::Closed
    }

    /// Whether whoever asks is the one that ticks now, where one in the process does: the first
    /// that asks when the period is over (but for a tenth, by which timers differ).
    pub(super) fn claim_tick(&self, period: Duration) -> bool {
        if self.spec.tick_on == TickOn::Each {
            return true;
        }
        let now = self.made.elapsed().as_millis() as u64 + 1;
        let last = self.ticked.load(Relaxed);
        let due = last + (period.as_millis() as u64).saturating_mul(9) / 10;
        let is_due = last == 0 || now >= due;
        is_due && self.ticked.compare_exchange(last, now, Relaxed, Relaxed).is_ok()
    }

    /// Whether it is a handler of http-wasm.
    pub(super) fn is_handler(&self) -> bool {
        matches!(&self.loaded, Ok(Loaded { abi: Abi::HttpWasm(_), .. }))
    }

    /// What it shares with the filters of its `vmId`.
    pub(super) fn share(&self) -> Option<&Arc<Share>> {
        self.loaded.as_ref().ok().map(|loaded| &loaded.share)
    }

    /// What filters of any `vmId` share.
    pub(super) fn shares(&self) -> Option<&Arc<Registry>> {
        self.loaded.as_ref().ok().map(|loaded| &loaded.shares)
    }

    fn answers_requests(&self) -> bool {
        self.spec.kind == PluginType::Response
            && self.loaded.as_ref().is_ok_and(|loaded| loaded.abi.answers_requests())
    }
}

/// The ways out of its memory that a module imports: what it must be given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Uses {
    /// `http_call`.
    pub http: bool,
    /// A function of the shared state.
    pub state: bool,
    /// `read_file`.
    pub files: bool,
}

/// A module ready to be instantiated.
#[derive(Clone)]
pub(super) struct Loaded {
    pub(super) pre: InstancePre<HostState>,
    pub(super) abi: Abi,
    pub(super) uses: Uses,
    pub(super) digest: [u8; 32],
    pub(super) log_sink: Arc<dyn LogSink>,
    shares: Arc<Registry>,
    share: Arc<Share>,
}

impl Loaded {
    pub(super) fn new(
        engine: &Engine,
        module: Module,
        (wasm, digest): (&[u8], [u8; 32]),
        spec: &PluginSpec,
        (log_sink, shares): (Arc<dyn LogSink>, Arc<Registry>),
    ) -> Result<Self, String> {
        let abi = Abi::inspect(&module, wasm, spec)?;
        let mut linker = Linker::new(engine);
        hostcalls::link(&mut linker, &module, &abi)?;
        let uses = hostcalls::uses(&module);
        let pre = linker.instantiate_pre(&module).map_err(|error| format!("{error:#}"))?;
        let share = shares.share(&spec.filter.vm_id);
        Ok(Self { pre, abi, uses, digest, log_sink, shares, share })
    }

    /// The same for other keys of the plugin, as far as they allow it.
    fn again(&self, spec: &PluginSpec) -> Result<Self, String> {
        check_memory(self.pre.module(), spec)?;
        self.abi.check(spec)?;
        let share = self.shares.share(&spec.filter.vm_id);
        Ok(Self { share, ..self.clone() })
    }
}

/// What brings a fresh instance to life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// `_initialize`, of a library.
    Library,
    /// `_start`, of a command; it may end with `proc_exit(0)`.
    Command,
    /// Neither.
    None,
}

/// What starts an instance of the module.
pub(super) fn start_of(module: &Module) -> Result<Start, String> {
    let has = |name: &str| matches!(module.get_export(name), Some(ExternType::Func(_)));
    for name in ["_initialize", "_start"] {
        takes_nothing(module, name)?;
    }
    Ok(match (has("_initialize"), has("_start")) {
        (true, _) => Start::Library,
        (false, true) => Start::Command,
        (false, false) => Start::None,
    })
}

/// Refuses an export `name` that has parameters.
pub(super) fn takes_nothing(module: &Module, name: &str) -> Result<(), String> {
    match types_of(module, name) {
        Some(types) if !types.starts_with("->") => {
            Err(format!("{name} must take no parameters, it is ({types})"))
        }
        _ => Ok(()),
    }
}

pub(super) fn check_memory(module: &Module, spec: &PluginSpec) -> Result<(), String> {
    let Some(ExternType::Memory(memory)) = module.get_export("memory") else {
        return Err("the module exports no memory named \"memory\"".to_owned());
    };
    if memory.is_64() || memory.is_shared() {
        return Err("the module's memory is 64-bit or shared; a plugin has a plain one".to_owned());
    }
    let (least, most) = (memory.minimum(), u64::from(spec.max_memory_pages));
    if least > most {
        return Err(format!(
            "failed to allocate memory: the module needs {least} pages of 64 KiB to start, \
             limit is {most} (maxMemoryPages)"
        ));
    }
    Ok(())
}

/// The types of an exported function in short.
pub(super) fn types_of(module: &Module, name: &str) -> Option<String> {
    match module.get_export(name)? {
        ExternType::Func(ty) => Some(hostcalls::signature(&ty)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
