//! The one WebAssembly runtime of the process.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::module::Plugin;
use super::spec::PluginSpec;
use crate::limits;

/// What a [`Runtime`] is made with.
#[derive(Debug, Clone)]
pub struct RuntimeOptions {
    /// Most instances of all plugins on all workers together.
    pub instances_max: u32,
    /// Where compiled modules are kept; `None`: nowhere.
    pub cache_dir: Option<PathBuf>,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self {
            instances_max: limits::PLUGIN_INSTANCES_PROCESS_MAX,
            cache_dir: None,
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
#[derive(Debug)]
pub struct Runtime {}

impl Runtime {
    /// Makes the runtime. Control thread: reserves address space, starts the ticker.
    pub fn new(options: &RuntimeOptions) -> Result<Arc<Self>, RuntimeError> {
        let _ = options;
        Ok(Arc::new(Self {}))
    }

    /// Compiles a plugin (or takes it from the cache). Control thread: takes up to seconds. A
    /// module that cannot be loaded makes a plugin that says so ([`Plugin::load_error`]).
    pub fn load(&self, spec: PluginSpec, wasm: &[u8]) -> Plugin {
        let _ = wasm;
        Plugin::failed(spec, "not loaded")
    }
}
