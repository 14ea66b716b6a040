//! What a module is, for its author: read from the module alone, nothing runs.

use std::sync::Arc;

use wasmtime::ExternType;

use super::hostcalls;
use super::log::LogSink;
use super::module::Uses;
use super::runtime::{Runtime, RuntimeOptions};
use super::spec::PluginSpec;

/// What a module is.
#[derive(Debug)]
pub struct Inspection {
    /// Why a gateway would not load it, in words; `Ok` says which ABI it speaks.
    pub verdict: Result<String, String>,
    /// What it imports, with types.
    pub imports: Vec<String>,
    /// Which ways out of its memory it imports: what a `config` can open to it.
    pub uses: Uses,
    /// What it asks for that no plugin has, or that is odd for one, in words.
    pub warnings: Vec<String>,
    /// What it exports, with types.
    pub exports: Vec<String>,
    /// Pages of 64 KiB that its memory begins with, and may grow to if it says so.
    pub memory: Option<(u64, Option<u64>)>,
}

/// Reads a module as a gateway would.
///
/// # Errors
/// Why nothing of it could be read.
pub fn inspect(
    wasm: &[u8],
    spec: PluginSpec,
    sink: Arc<dyn LogSink>,
) -> Result<Inspection, String> {
    let options =
        RuntimeOptions { instances_max: 1, log_sink: Some(sink), ..RuntimeOptions::default() };
    let runtime = Runtime::new(&options).map_err(|error| error.to_string())?;
    let module = runtime.compile(wasm)?;
    let imports = module
        .imports()
        .map(|import| format!("{}.{} ({})", import.module(), import.name(), of(&import.ty())));
    let exports =
        module.exports().map(|export| format!("{} ({})", export.name(), of(&export.ty())));
    let memory = match module.get_export("memory") {
        Some(ExternType::Memory(memory)) => Some((memory.minimum(), memory.maximum())),
        _ => None,
    };
    let plugin = runtime.load(spec, wasm);
    Ok(Inspection {
        verdict: plugin.loaded().map(|loaded| loaded.abi.describe()).map_err(str::to_owned),
        uses: hostcalls::uses(&module),
        imports: imports.collect(),
        warnings: module
            .imports()
            .filter_map(|import| oddity(import.module(), import.name()))
            .collect(),
        exports: exports.collect(),
        memory,
    })
}

/// What WASI has and a plugin has not. A gateway links these, since runtimes of languages ask for
/// some of them whatever the program does; a call is answered with an error.
fn oddity(module: &str, name: &str) -> Option<String> {
    if !module.starts_with("wasi") {
        return None;
    }
    let what = match name {
        _ if name.starts_with("sock_") => "the network, which a plugin has by http_call alone",
        "path_open" | "path_filestat_get" | "path_readlink" => {
            "files, which a plugin has by read_file alone"
        }
        _ if name.starts_with("path_") => "changes of files",
        "fd_readdir" | "fd_allocate" | "fd_sync" | "fd_datasync" => "files and folders",
        "fd_pread" | "fd_pwrite" | "fd_renumber" => "files",
        "proc_raise" => "signals",
        _ => return None,
    };
    Some(format!("{module}.{name} asks for {what}; every call of it is answered with an error"))
}

fn of(kind: &ExternType) -> String {
    match kind {
        ExternType::Func(function) => hostcalls::signature(function),
        ExternType::Memory(_) => "memory".to_owned(),
        ExternType::Global(_) => "global".to_owned(),
        ExternType::Table(_) => "table".to_owned(),
        ExternType::Tag(_) => "tag".to_owned(),
    }
}
