//! What one worker counts of one plugin: plain integers, read when asked for.

use std::time::Duration;

/// Why a call failed: the `kind` label of `wasm_plugin_errors_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The guest trapped: `unreachable`, a bad address, a stack overflow, `abort`, `proc_exit`.
    Trap,
    /// It was not done within the plugin's `timeout`, or no instance came free within it.
    Timeout,
    /// It asked for more memory than `maxMemoryPages`.
    Memory,
    /// What it answered is not what the ABI asks for.
    BadOutput,
    /// It was not called (it failed to load, or is backed off), or it answered with an `error`.
    Refused,
}

impl ErrorKind {
    /// All kinds, in the order of [`PluginStats::errors`].
    pub const ALL: [Self; 5] =
        [Self::Trap, Self::Timeout, Self::Memory, Self::BadOutput, Self::Refused];

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::BadOutput => "bad_output",
            Self::Refused => "refused",
        }
    }
}

/// One worker's counts of one plugin since the plugin was loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PluginStats {
    /// Calls, failed ones included.
    pub executions: u64,
    /// Failed calls, by kind, in the order of [`ErrorKind::ALL`].
    pub errors: [u64; 5],
    /// Wall time of all calls together.
    pub time_total: Duration,
    /// Wall time of the longest call.
    pub time_max: Duration,
    /// Instances made.
    pub instances_made: u64,
    /// Instances thrown away after a failed or a cancelled call.
    pub instances_discarded: u64,
    /// Instances now, idle ones included.
    pub instances: u32,
    /// Instances in a call (or being made) now.
    pub instances_active: u32,
    /// Whether calls are refused because the last ones all failed, or one call tries it again.
    pub is_backed_off: bool,
    /// Memory of the idle instances, in bytes: what their guests have got so far.
    pub memory_bytes: u64,
}

impl PluginStats {
    /// Failed calls of one kind.
    pub fn errors_of(&self, kind: ErrorKind) -> u64 {
        self.errors[kind as usize]
    }

    pub(super) fn count(&mut self, took: Duration, error: Option<ErrorKind>) {
        self.executions += 1;
        self.time_total += took;
        self.time_max = self.time_max.max(took);
        if let Some(kind) = error {
            self.errors[kind as usize] += 1;
        }
    }
}
