//! One loaded plugin: its module, compiled, inspected and linked, or why there is none.
//!
//! Everything that can be refused is refused here, when the module is loaded, with words that say
//! what would mend it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{AcqRel, Acquire},
};

use wasmtime::{Engine, ExternType, InstancePre, Linker, Module};

use super::heap;
use super::hostcalls;
use super::log::LogSink;
use super::spec::{Phase, PluginSpec, PluginType};
use super::state::HostState;

/// A plugin of a snapshot. One whose module could not be loaded is a plugin all the same: its
/// failure mode decides every request that it applies to.
pub struct Plugin {
    /// What the configuration says of it.
    pub spec: PluginSpec,
    loaded: Result<Loaded, String>,
    /// Pools that hold it, over all workers.
    pools: AtomicUsize,
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
    pub(super) fn new(spec: PluginSpec, loaded: Result<Loaded, String>) -> Self {
        Self { spec, loaded, pools: AtomicUsize::new(0) }
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
        self.spec.kind.runs_in(phase) || phase == Phase::Request && self.answers_requests()
    }

    /// Whether the body of `phase` has to be collected for it. `on_request` is given none: what it
    /// is for (answering from a cache) looks at heads.
    pub fn takes_body_in(&self, phase: Phase) -> bool {
        self.loaded.is_ok() && self.spec.wants_body && self.spec.kind.runs_in(phase)
    }

    /// Which ways out of its memory the module imports; none if it was not loaded.
    pub fn uses(&self) -> Uses {
        self.loaded.as_ref().map_or_else(|_| Uses::default(), |loaded| loaded.uses)
    }

    pub(super) fn loaded(&self) -> Result<&Loaded, &str> {
        self.loaded.as_ref().map_err(String::as_str)
    }

    fn answers_requests(&self) -> bool {
        self.spec.kind == PluginType::Response
            && self.loaded.as_ref().is_ok_and(|loaded| loaded.shape.on_request.is_some())
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
    pub(super) shape: Shape,
    pub(super) uses: Uses,
    pub(super) digest: [u8; 32],
    pub(super) log_sink: Arc<dyn LogSink>,
}

impl Loaded {
    pub(super) fn new(
        engine: &Engine,
        module: Module,
        (wasm, digest): (&[u8], [u8; 32]),
        spec: &PluginSpec,
        log_sink: Arc<dyn LogSink>,
    ) -> Result<Self, String> {
        let shape = inspect(&module, wasm, spec)?;
        let mut linker = Linker::new(engine);
        hostcalls::link(&mut linker, &module)?;
        let uses = hostcalls::uses(&module);
        let pre = linker.instantiate_pre(&module).map_err(|error| format!("{error:#}"))?;
        Ok(Self { pre, shape, uses, digest, log_sink })
    }

    /// The same for other keys of the plugin, as far as they allow it.
    fn again(&self, spec: &PluginSpec) -> Result<Self, String> {
        check_memory(self.pre.module(), spec)?;
        Ok(self.clone())
    }
}

/// How a function gives the place of its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResultForm {
    /// One i64: the address in the low, the length in the high 32 bits.
    Packed,
    /// Two i32: address and length.
    Pair,
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

/// Which exports supply room in the guest's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AllocatorShape {
    /// A function of this name: size -> address.
    Sized(&'static str),
    /// `cabi_realloc`.
    Realloc,
    /// AssemblyScript's `__new`.
    Collected,
    /// None.
    HostRegion,
}

/// What a module exports, as far as the ABI knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) execute: ResultForm,
    pub(super) on_request: Option<ResultForm>,
    pub(super) start: Start,
    pub(super) has_init: bool,
    pub(super) has_cleanup: bool,
    pub(super) allocator: AllocatorShape,
}

fn inspect(module: &Module, wasm: &[u8], spec: &PluginSpec) -> Result<Shape, String> {
    if let Some(export) = module.exports().find(|e| e.name().starts_with("proxy_abi_version_")) {
        let name = export.name();
        return Err(format!(
            "the module is a proxy-wasm filter (it exports {name}); proxy-wasm is not supported \
             yet, only the JSON ABI (docs/plugin-abi.md)"
        ));
    }
    check_memory(module, spec)?;
    let execute = result_form(module, "execute")?.ok_or_else(|| {
        let exports: Vec<_> = module.exports().map(|export| export.name().to_owned()).collect();
        format!(
            "the module exports no function execute(ptr: i32, len: i32) -> i64; it exports {}",
            if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") }
        )
    })?;
    let allocator = allocator_of(module);
    if allocator == AllocatorShape::HostRegion && is_go(wasm) {
        return Err(
            "a Go module must export an allocator, or its input would overwrite its heap: \
                    add `//go:wasmexport alloc` above `func alloc(size uint32) uint32` that \
                    returns the address of a kept slice (plugins/sdk/go has it)"
                .to_owned(),
        );
    }
    if allocator == AllocatorShape::HostRegion {
        heap::claims_whole_memory(wasm).map_err(|why| {
            format!(
                "the module exports no allocator, and {why}: the host's input would be \
                 overwritten. Export its allocator: AssemblyScript by `--exportRuntime`; C and \
                 C++ by `-Wl,--export=malloc,--export=free`; else a function \
                 alloc(size: i32) -> i32"
            )
        })?;
    }
    let has = |name: &str| matches!(module.get_export(name), Some(ExternType::Func(_)));
    let start = if has("_initialize") {
        Start::Library
    } else if has("_start") {
        Start::Command
    } else {
        Start::None
    };
    for name in ["init", "cleanup", "_initialize", "_start"] {
        if let Some(types) = types_of(module, name)
            && !types.starts_with("->")
        {
            return Err(format!("{name} must take no parameters, it is ({types})"));
        }
    }
    Ok(Shape {
        execute,
        on_request: result_form(module, "on_request")?,
        start,
        has_init: has("init"),
        has_cleanup: has("cleanup"),
        allocator,
    })
}

fn check_memory(module: &Module, spec: &PluginSpec) -> Result<(), String> {
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
fn types_of(module: &Module, name: &str) -> Option<String> {
    match module.get_export(name)? {
        ExternType::Func(ty) => Some(hostcalls::signature(&ty)),
        _ => None,
    }
}

fn result_form(module: &Module, name: &str) -> Result<Option<ResultForm>, String> {
    let Some(types) = types_of(module, name) else {
        return Ok(None);
    };
    match types.as_str() {
        "i32 i32 -> i64" => Ok(Some(ResultForm::Packed)),
        "i32 i32 -> i32 i32" => Ok(Some(ResultForm::Pair)),
        _ => Err(format!(
            "{name} is ({types}); it must be (i32 i32 -> i64), address in the low and length in \
             the high 32 bits, or (i32 i32 -> i32 i32)"
        )),
    }
}

fn allocator_of(module: &Module) -> AllocatorShape {
    let is = |name: &str, wanted: &str| types_of(module, name).is_some_and(|have| have == wanted);
    for name in ["alloc", "allocate", "malloc"] {
        if is(name, "i32 -> i32") {
            return AllocatorShape::Sized(name);
        }
    }
    if is("cabi_realloc", "i32 i32 i32 i32 -> i32") {
        return AllocatorShape::Realloc;
    }
    if is("__new", "i32 i32 -> i32") {
        return AllocatorShape::Collected;
    }
    AllocatorShape::HostRegion
}

/// Whether Go's own linker made the module: it leaves a custom section with the build's id, and
/// "Go" among the producers. (TinyGo's modules export `malloc`.)
fn is_go(wasm: &[u8]) -> bool {
    custom_sections(wasm).any(|(name, content)| {
        name.starts_with(b"go:")
            || name.starts_with(b"go.")
            || name == b"producers" && memchr::memmem::find(content, b"\x02Go").is_some()
    })
}

/// The custom sections of a module that wasmtime has found valid; stops at what it cannot read.
fn custom_sections(wasm: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = wasm.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        loop {
            let (&id, after) = rest.split_first()?;
            let (size, after) = leb128(after)?;
            let content = after.get(..size)?;
            rest = &after[size..];
            if id == 0 {
                let (length, content) = leb128(content)?;
                return Some((content.get(..length)?, &content[length..]));
            }
        }
    })
}

fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests;
