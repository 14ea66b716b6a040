//! The one WebAssembly runtime of the process: settings, compilation, the epoch.
//!
//! Made and used by the control thread. Workers meet it only as the engine behind their instances.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, Module, OptLevel, PoolingAllocationConfig,
    ProfilingStrategy, WasmFeatures,
};

use super::abi;
use super::cache::Cache;
use super::log::{LogSink, QueuedSink};
use super::module::{Loaded, Plugin};
use super::proxy_wasm::Registry;
use super::spec::PluginSpec;
use crate::limits;

/// What a [`Runtime`] is made with.
#[derive(Debug, Clone)]
pub struct RuntimeOptions {
    /// Most instances of all plugins on all workers together. Each is 4 GiB of address space.
    pub instances_max: u32,
    /// Where compiled modules are kept; `None`: nowhere. The directory must belong to this
    /// process's user with mode 700 (it is made so if it does not exist).
    pub cache_dir: Option<PathBuf>,
    /// Where plugins' log lines go; `None`: to `tracing`, by a bounded channel and a thread.
    pub log_sink: Option<Arc<dyn LogSink>>,
    /// Whether the names of the guests' functions are written to `/tmp/perf-<pid>.map`, where
    /// Linux's perf looks for them. For measurements: the file is in a folder that all may write
    /// to.
    pub perf_map: bool,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self {
            instances_max: limits::PLUGIN_INSTANCES_PROCESS_MAX,
            cache_dir: None,
            log_sink: None,
            perf_map: false,
        }
    }
}

/// Why there is no runtime.
#[derive(Debug)]
pub struct RuntimeError(String);

impl fmt::Display for RuntimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RuntimeError {}

/// The process's WebAssembly runtime: compiles modules, advances the epoch.
pub struct Runtime {
    engine: Engine,
    cache: Option<Cache>,
    log_sink: Arc<dyn LogSink>,
    /// Started with the first plugin: a gateway without plugins does not tick.
    ticker: OnceLock<Result<(), String>>,
    /// Compilations that nobody waits for any more.
    lost: Arc<AtomicUsize>,
    /// What filters share.
    shares: Arc<Registry>,
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("cache", &self.cache)
            .field("log_sink", &self.log_sink)
            .finish_non_exhaustive()
    }
}

impl Runtime {
    /// Makes the runtime: reserves address space for all instances. A cache directory that cannot
    /// be trusted is told in the log and not used.
    pub fn new(options: &RuntimeOptions) -> Result<Arc<Self>, RuntimeError> {
        let engine = engine(options.instances_max, options.perf_map)?;
        let cache = options.cache_dir.as_deref().and_then(|dir| {
            Cache::open(dir, &engine)
                .inspect_err(|error| tracing::warn!("compiled plugins are not cached: {error}"))
                .ok()
        });
        let log_sink = match &options.log_sink {
            Some(sink) => Arc::clone(sink),
            None => Arc::new(QueuedSink::start().map_err(|error| {
                RuntimeError(format!("no thread for the plugins' log: {error}"))
            })?),
        };
        Ok(Arc::new(Self {
            engine,
            cache,
            log_sink,
            ticker: OnceLock::new(),
            lost: Arc::default(),
            shares: Arc::default(),
        }))
    }

    /// Compiles a plugin (or takes it from the cache). Control thread: takes up to seconds. A
    /// module that cannot be loaded makes a plugin that says so ([`Plugin::load_error`]).
    pub fn load(&self, mut spec: PluginSpec, wasm: &[u8]) -> Plugin {
        let ticks = self.ticker.get_or_init(|| self.start_ticker());
        let compiled = ticks.clone().and_then(|()| self.compile(wasm));
        if compiled.as_ref().map_or_else(|_| abi::names_foreign(wasm), abi::is_foreign) {
            // Whatever comes of it: one that cannot be loaded lets nothing pass either.
            abi::settle_foreign(&mut spec);
        }
        let loaded = compiled.and_then(|module| {
            let wasm = (wasm, Sha256::digest(wasm).into());
            let common = (Arc::clone(&self.log_sink), Arc::clone(&self.shares));
            Loaded::new(&self.engine, module, wasm, &spec, common)
        });
        Plugin::new(spec, loaded)
    }

    pub(super) fn compile(&self, wasm: &[u8]) -> Result<Module, String> {
        let most = limits::PLUGIN_MODULE_BYTES_MAX;
        if wasm.len() > most {
            let got = wasm.len();
            return Err(format!("module is {got} bytes, limit is {most}"));
        }
        match wasm.get(..8) {
            Some(b"\0asm\x01\0\0\0") => {}
            Some([0, b'a', b's', b'm', _, _, 1, _]) => {
                return Err("failed to compile plugin: this is a WebAssembly component; build a \
                            core module (Rust: wasm32-unknown-unknown or wasm32-wasip1)"
                    .to_owned());
            }
            _ => {
                return Err("failed to compile plugin: not a WebAssembly module: \
                            it does not begin with \\0asm and version 1"
                    .to_owned());
            }
        }
        if let Some(module) = self.cache.as_ref().and_then(|cache| cache.load(&self.engine, wasm)) {
            return Ok(module);
        }
        let module =
            self.translate(wasm).map_err(|why| format!("failed to compile plugin: {why}"))?;
        if let Some(cache) = &self.cache
            && let Err(error) = cache.store(&module, wasm)
        {
            tracing::warn!("compiled plugin is not cached: {error}");
        }
        Ok(module)
    }

    /// Compiles in a thread of its own, which is left alone when it takes too long.
    fn translate(&self, wasm: &[u8]) -> Result<Module, String> {
        check_code(wasm)?;
        // Relaxed: a bound on a count, it orders nothing.
        if self.lost.load(Relaxed) >= limits::PLUGIN_COMPILES_LOST_MAX {
            return Err("modules that take too long are still being compiled; try again, or \
                        restart the gateway without them"
                .to_owned());
        }
        let (sender, answer) = sync_channel(0);
        let (engine, wasm, lost) = (self.engine.clone(), wasm.to_vec(), Arc::clone(&self.lost));
        let compiling = move || {
            // A rendezvous: it fails exactly if nobody waits any more.
            if sender.send(Module::from_binary(&engine, &wasm)).is_err() {
                lost.fetch_sub(1, Relaxed);
            }
        };
        let thread = std::thread::Builder::new().name("compiler".to_owned()).spawn(compiling);
        thread.map_err(|error| format!("no thread for it: {error}"))?;
        match answer.recv_timeout(limits::PLUGIN_COMPILE_TIMEOUT) {
            Ok(module) => module.map_err(|error| format!("{error:#}")),
            Err(RecvTimeoutError::Timeout) => {
                self.lost.fetch_add(1, Relaxed);
                let most = limits::PLUGIN_COMPILE_TIMEOUT;
                Err(format!("it took longer than {most:?}; split its largest functions"))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err("the compiler panicked; please report it".to_owned())
            }
        }
    }

    /// One thread for the process. It ends with the engine. Without it no plugin would ever yield
    /// or time out, so without it none is loaded.
    fn start_ticker(&self) -> Result<(), String> {
        let engine = self.engine.weak();
        let ticker = std::thread::Builder::new().name("epoch-ticker".to_owned());
        ticker
            .spawn(move || {
                while let Some(engine) = engine.upgrade() {
                    engine.increment_epoch();
                    drop(engine);
                    #[expect(clippy::disallowed_methods, reason = "a thread of its own")]
                    std::thread::sleep(limits::PLUGIN_EPOCH_TICK);
                }
            })
            .map(drop)
            .map_err(|error| format!("no thread for the plugins' clock: {error}"))
    }
}

/// Refuses code that would take long to compile. A module that is not well formed is the
/// compiler's to refuse.
fn check_code(wasm: &[u8]) -> Result<(), String> {
    let (code_max, function_max) =
        (limits::PLUGIN_CODE_BYTES_MAX, limits::PLUGIN_FUNCTION_BYTES_MAX);
    let Some((code, largest)) = code_sizes(wasm) else {
        return Ok(());
    };
    if code > code_max {
        return Err(format!("it has {code} bytes of code, limit is {code_max}"));
    }
    if largest > function_max {
        return Err(format!(
            "one of its functions has {largest} bytes, limit is {function_max}; split it"
        ));
    }
    Ok(())
}

/// The bytes of a module's code section, and of its largest function.
fn code_sizes(wasm: &[u8]) -> Option<(usize, usize)> {
    const CODE_SECTION: u8 = 10;
    let mut rest = wasm.get(8..)?;
    while let Some((&id, after)) = rest.split_first() {
        let (size, after) = leb128(after)?;
        let (section, next) = after.split_at_checked(size)?;
        if id != CODE_SECTION {
            rest = next;
            continue;
        }
        let (count, mut bodies) = leb128(section)?;
        let mut largest = 0;
        for _ in 0..count {
            let (size, after) = leb128(bodies)?;
            largest = largest.max(size);
            bodies = after.get(size..)?;
        }
        return Some((section.len(), largest));
    }
    None
}

/// An unsigned number of up to 32 bits, and what follows it.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0;
    for (at, &byte) in bytes.iter().enumerate().take(5) {
        number |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[at + 1..]));
        }
    }
    None
}

/// An engine with room for `wanted` instances, or for as many as the address space has room for
/// (a `ulimit -v`, a sanitizer or valgrind leaves less).
fn engine(wanted: u32, perf_map: bool) -> Result<Engine, RuntimeError> {
    let mut instances = wanted;
    loop {
        match Engine::new(&config(instances, perf_map)) {
            Ok(engine) => {
                if instances < wanted {
                    tracing::warn!(
                        "address space has room for {instances} plugin instances, not {wanted} \
                         (ulimit -v, sysctl vm.max_map_count)"
                    );
                }
                return Ok(engine);
            }
            Err(_) if instances / 2 >= limits::PLUGIN_INSTANCES_PROCESS_MIN => instances /= 2,
            Err(error) => {
                return Err(RuntimeError(format!(
                    "no room for {instances} plugin instances: {error:#}; each takes 4 GiB of \
                     address space (ulimit -v) and up to 6 memory maps (sysctl vm.max_map_count)"
                )));
            }
        }
    }
}

/// Speed over everything (a plugin runs on every request), epochs instead of fuel (31 % against
/// 45 % on JSON code), memories of 4 GiB of address space so that no access needs a check.
fn config(instances: u32, perf_map: bool) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(instances)
        .total_memories(instances)
        .total_tables(instances)
        // The guest's allocator, called by a host function, runs on a stack of its own.
        .total_stacks(instances + instances / 8 + 8)
        .max_memory_size(1 << 32)
        .table_elements(limits::PLUGIN_TABLE_ELEMENTS_MAX)
        .max_core_instance_size(1 << 20)
        .linear_memory_keep_resident(keep_resident())
        // Wiped in place, like memory: given back to the kernel, each page of a table would cost a
        // fresh instance a system call and a fault.
        .table_keep_resident(TABLE_BYTES_KEPT)
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    allow_only_what_toolchains_emit(&mut config);
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .memory_reservation(1 << 32)
        .memory_init_cow(true)
        .max_wasm_stack(limits::PLUGIN_STACK_BYTES)
        .async_stack_size(limits::PLUGIN_FIBER_STACK_BYTES)
        .profiler(if perf_map { ProfilingStrategy::PerfMap } else { ProfilingStrategy::None });
    config
}

/// The proposals that Rust, Go, TinyGo, AssemblyScript and clang emit by default (sign extension,
/// saturating conversions and mutable globals are always on). Each of the others is code of the
/// runtime that no plugin needs and an attacker could; a switch that wasmtime turns on by itself
/// some day stays off here.
fn allow_only_what_toolchains_emit(config: &mut Config) {
    config.wasm_features(WasmFeatures::all(), false);
    config.wasm_features(ALLOWED_FEATURES, true);
}

/// Of a table: eight thousand functions. Those of common modules have tens.
const TABLE_BYTES_KEPT: usize = 64 * 1024;

/// See [`allow_only_what_toolchains_emit`].
const ALLOWED_FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::SIMD);

/// How much of a freed instance's memory is wiped by hand instead of being given back. Much pays
/// where the kernel tells which pages were touched (PAGEMAP_SCAN, Linux 6.7): only those are wiped.
/// Elsewhere all of it is, touched or not: 1 MiB took the worker 100 us.
fn keep_resident() -> usize {
    if PoolingAllocationConfig::is_pagemap_scan_available() { 1024 * 1024 } else { 64 * 1024 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_would_take_long_to_compile_is_refused() {
        let wasm = |functions: usize, nops: usize| {
            let body = "nop ".repeat(nops);
            wat::parse_str(format!("(module {})", format!("(func {body})").repeat(functions)))
        };
        let small = wasm(3, 10).unwrap();
        assert_eq!(code_sizes(&small), Some((1 + 3 * 13, 12)));
        check_code(&small).unwrap();
        check_code(b"\0asm\x01\0\0\0").unwrap();
        let large = wasm(2, limits::PLUGIN_FUNCTION_BYTES_MAX).unwrap();
        let error = check_code(&large).unwrap_err();
        assert!(error.starts_with("one of its functions has 524290 bytes, limit is"), "{error}");
        let much = wasm(33, limits::PLUGIN_FUNCTION_BYTES_MAX - 2).unwrap();
        assert!(check_code(&much).unwrap_err().contains("bytes of code, limit is"));
        // Cut anywhere it says nothing, and does not panic.
        for length in 0..small.len() {
            let _ = check_code(&small[..length]);
        }
    }
}
