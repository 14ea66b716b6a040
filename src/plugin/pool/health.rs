//! How long a plugin that keeps failing is left alone: waits that double, and when they begin.

use std::time::{Instant, SystemTime};

use super::super::failure::CallError;
use super::super::stats::LastFailure;
use super::Pool;
use crate::limits;

/// When a plugin may be instantiated again after it failed to be.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct BackedOff {
    pub(super) failures: u32,
    pub(super) until: Option<Instant>,
}

impl BackedOff {
    pub(super) fn after_failure(self, now: Instant) -> Self {
        let failures = self.failures.saturating_add(1);
        Self { failures, until: Some(now + limits::PLUGIN_BACKOFF.pause(failures)) }
    }

    pub(super) fn left(self, now: Instant) -> Option<std::time::Duration> {
        self.until?.checked_duration_since(now).filter(|left| !left.is_zero())
    }
}

/// How calls have gone lately.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CallHealth {
    /// Calls that failed since the last one that did not.
    pub(super) failures: u32,
    pub(super) backoff: BackedOff,
    /// One call has been let through to see whether the plugin works again.
    pub(super) is_probing: bool,
}

impl CallHealth {
    pub(super) fn after_failure(self, now: Instant) -> Self {
        let failures = self.failures.saturating_add(1);
        let keeps_failing = failures >= limits::PLUGIN_FAILURES_BEFORE_BACKOFF;
        let backoff = if keeps_failing { self.backoff.after_failure(now) } else { self.backoff };
        Self { failures, backoff, is_probing: false }
    }
}

impl Pool {
    /// Refuses a call while the plugin is backed off; when the time is over lets one through.
    pub(in crate::plugin) fn admit(&self) -> Result<Probe<'_>, CallError> {
        let health = self.health.get();
        if health.backoff.until.is_none() {
            return Ok(Probe { pool: None });
        }
        let failures = health.failures;
        if let Some(left) = health.backoff.left(Instant::now()) {
            return Err(self.echo(format!(
                "backed off: its last {failures} calls failed, tried again in {left:.1?}"
            )));
        }
        if health.is_probing {
            return Err(self.echo(format!(
                "backed off: its last {failures} calls failed, one call tries it now"
            )));
        }
        self.health.set(CallHealth { is_probing: true, ..health });
        Ok(Probe { pool: Some(self) })
    }

    /// The plugin is not called, because of what `text` tells of earlier failures.
    pub(super) fn echo(&self, text: String) -> CallError {
        let last = self.last_failure.borrow();
        CallError::echo(text, last.as_ref().map(|last| last.text.as_str()))
    }

    /// Keeps a failure for whoever asks why the plugin is not well.
    pub(super) fn remember(&self, error: &CallError) {
        if !error.is_echo {
            let (kind, text) = (error.kind, error.text.clone());
            let failure = LastFailure { at: SystemTime::now(), kind, text };
            self.last_failure.replace(Some(failure));
        }
    }

    /// The call that tried the plugin has ended; where it did not tell, the next one tries again.
    pub(super) fn stop_probing(&self) {
        let health = self.health.get();
        self.health.set(CallHealth { is_probing: false, ..health });
    }
}

/// The call that is let through to a plugin that was backed off, until it has its instance.
/// Dropped before (no instance, its future was dropped), the next call takes its part.
pub(in crate::plugin) struct Probe<'a> {
    pool: Option<&'a Pool>,
}

impl Probe<'_> {
    /// From now on the lease tells.
    pub(in crate::plugin) fn pass(mut self) {
        self.pool = None;
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        if let Some(pool) = self.pool {
            pool.stop_probing();
        }
    }
}
