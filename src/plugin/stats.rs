//! What one worker counts of one plugin: plain integers, read when asked for.

use std::time::{Duration, SystemTime};

use super::metrics::PluginMetric;
use crate::durations::Durations;

/// All that one worker has counted of the plugins of one name, those of earlier snapshots included.
#[derive(Debug, Clone)]
pub struct PluginReport {
    /// The name.
    pub name: String,
    /// Its counts.
    pub stats: PluginStats,
    /// Wall time of its calls.
    pub durations: Durations,
    /// What it counts itself, by name.
    pub metrics: Vec<(String, PluginMetric)>,
    /// The last failure of any of them.
    pub last_failure: Option<LastFailure>,
}

/// What went wrong last: in a call, in an instance's start or in its `cleanup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastFailure {
    /// When.
    pub at: SystemTime,
    /// Its kind.
    pub kind: ErrorKind,
    /// Why, as the log has it.
    pub text: String,
}

impl PluginReport {
    /// Nothing counted.
    pub fn new(name: &str) -> Self {
        let (stats, durations) = (PluginStats::default(), Durations::default());
        Self { name: name.to_owned(), stats, durations, metrics: Vec::new(), last_failure: None }
    }

    /// Adds what another worker, or an earlier plugin of the name, has counted.
    pub fn add(&mut self, other: &Self) {
        self.stats.add(&other.stats);
        self.durations.add(&other.durations);
        self.add_failure(other.last_failure.as_ref());
        for (name, metric) in &other.metrics {
            self.add_metric(name, metric);
        }
    }

    /// The later one stays.
    pub(super) fn add_failure(&mut self, other: Option<&LastFailure>) {
        let is_later = |other: &&LastFailure| {
            self.last_failure.as_ref().is_none_or(|known| known.at < other.at)
        };
        if let Some(later) = other.filter(is_later) {
            self.last_failure = Some(later.clone());
        }
    }

    pub(super) fn add_metric(&mut self, name: &str, metric: &PluginMetric) {
        match self.metrics.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => sum.add(metric),
            None => self.metrics.push((name.to_owned(), *metric)),
        }
    }
}

/// Why a call failed: the `kind` label of `wasm_plugin_failures_total`.
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
    /// Failed calls (of `cleanup` too), by kind, in the order of [`ErrorKind::ALL`].
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

    pub(super) fn add(&mut self, other: &Self) {
        self.executions += other.executions;
        for (ours, theirs) in self.errors.iter_mut().zip(other.errors) {
            *ours += theirs;
        }
        self.time_total += other.time_total;
        self.time_max = self.time_max.max(other.time_max);
        self.instances_made += other.instances_made;
        self.instances_discarded += other.instances_discarded;
        self.instances += other.instances;
        self.instances_active += other.instances_active;
        self.is_backed_off |= other.is_backed_off;
        self.memory_bytes += other.memory_bytes;
    }

    pub(super) fn count(&mut self, took: Duration, error: Option<ErrorKind>) {
        self.executions += 1;
        self.time_total += took;
        self.time_max = self.time_max.max(took);
        if let Some(kind) = error {
            self.count_error(kind);
        }
    }

    /// Counts a failure outside of a call: in `cleanup`.
    pub(super) fn count_error(&mut self, kind: ErrorKind) {
        self.errors[kind as usize] += 1;
    }
}
