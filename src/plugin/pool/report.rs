//! What the pools of one worker have counted, those that are gone included.

use super::super::stats::{PluginReport, PluginStats};
use super::{Inner, Pool, Pools};
use crate::io::pace::Pace;
use crate::limits;

impl Pools {
    /// What all plugins have counted, by name. Pauses now and then: requests come first.
    pub(crate) async fn report(&self, pace: &mut Pace) -> Vec<PluginReport> {
        self.forget_dead();
        // Until it is done no pool dies, so that none is counted twice, or not at all.
        let reporting = Reporting::begin(&self.inner);
        let pools: Vec<_> = self.inner.pools.borrow().values().cloned().collect();
        let gone = self.inner.gone.borrow().len();
        let mut reports = Vec::with_capacity(gone + pools.len());
        for at in 0..gone {
            pace.step().await;
            reports.extend(self.inner.gone.borrow().get(at).cloned());
        }
        for pool in pools {
            pace.step().await;
            pool.add_to(&mut reports);
        }
        drop(reporting);
        self.forget_dead();
        reports
    }

    /// Drops the pools of retired plugins that nobody else holds: no snapshot, no instance.
    pub(super) fn forget_dead(&self) {
        if self.inner.reporting.get() > 0 {
            return;
        }
        let mut gone = self.inner.gone.borrow_mut();
        self.inner.pools.borrow_mut().retain(|_, pool| {
            let dead = pool.retired.get() && pool.live.get() == 0 && pool.plugin.is_only_in_pools();
            if dead {
                pool.add_to(&mut gone);
                gone.truncate(limits::REPORTED_PLUGINS_GONE_MAX);
            }
            !dead
        });
    }
}

/// A report is being made, until this is dropped.
struct Reporting<'a>(&'a Inner);

impl<'a> Reporting<'a> {
    fn begin(inner: &'a Inner) -> Self {
        inner.reporting.set(inner.reporting.get() + 1);
        Self(inner)
    }
}

impl Drop for Reporting<'_> {
    fn drop(&mut self) {
        self.0.reporting.set(self.0.reporting.get() - 1);
    }
}

impl Pool {
    /// Adds its counts to those of its name.
    fn add_to(&self, reports: &mut Vec<PluginReport>) {
        let name = &self.plugin.spec.name;
        let durations = self.durations.borrow();
        let report = match reports.iter().position(|report| report.name == *name) {
            Some(at) => {
                reports[at].durations.add(&durations);
                &mut reports[at]
            }
            // The usual case: copying costs less than adding to nothing.
            None => reports.push_mut(PluginReport {
                name: name.clone(),
                stats: PluginStats::default(),
                durations: durations.clone(),
                metrics: Vec::new(),
                last_failure: None,
            }),
        };
        report.stats.add(&self.stats_now());
        report.add_failure(self.last_failure.borrow().as_ref());
        for (name, metric) in self.host.metrics.borrow().iter() {
            report.add_metric(name, metric);
        }
    }

    pub(super) fn stats_now(&self) -> PluginStats {
        let idle = self.idle.borrow();
        let resident = self.resident.borrow();
        let rests = resident.as_ref().is_some_and(|filter| filter.is_idle());
        let resident_bytes = resident.as_ref().map_or(0, |filter| filter.memory_bytes() as u64);
        let instances = self.live.get();
        PluginStats {
            instances,
            is_backed_off: self.health.get().backoff.until.is_some(),
            instances_active: instances.saturating_sub(idle.len() as u32 + u32::from(rests)),
            memory_bytes: resident_bytes
                + idle.iter().map(|instance| instance.memory_bytes() as u64).sum::<u64>(),
            ..*self.stats.borrow()
        }
    }
}
