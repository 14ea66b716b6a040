//! What a worker has counted, as it tells the control plane.
//!
//! Counted in plain numbers by the worker alone, copied when the control plane asks, merged and
//! written out on the control thread. Services and plugins go on counting under their names over
//! reloads, so that no counter ever goes backwards.

mod upstream;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::Counters;
use crate::limits::{DURATION_MICROS_MAX, PLUGIN_YIELD, REPORT_STRETCH, REPORTED_SERVICES_MAX};
use crate::plugin::PluginReport;
use crate::snapshot::{Service, Snapshot};
use crate::upstream::cluster::Cluster;
use crate::upstream::pool::Pool;

pub use self::upstream::{UPSTREAM_ERRORS, UpstreamCounts, UpstreamOutcome};

/// Durations in microseconds, two significant digits: 23 KiB, whatever is recorded.
#[derive(Debug, Clone)]
pub struct Durations(Histogram<u64>);

impl Default for Durations {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, DURATION_MICROS_MAX, 2);
        Self(histogram.expect("the bounds are constants that were tried"))
    }
}

impl Durations {
    /// Counts one. Allocates nothing; what is beyond the largest counts as the largest.
    pub fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(micros.clamp(1, DURATION_MICROS_MAX));
    }

    /// Adds those of another worker.
    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds, without which it would fail.
        let _ = self.0.add(&other.0);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// How many took at most so many microseconds.
    pub fn count_until(&self, micros: u64) -> u64 {
        self.0
            .iter_recorded()
            .take_while(|step| step.value_iterated_to() <= micros)
            .map(|step| step.count_since_last_iteration())
            .sum()
    }

    /// The microseconds that this share of them (0 to 1) took at most; 0 if there are none.
    pub fn quantile(&self, share: f64) -> u64 {
        if self.0.is_empty() { 0 } else { self.0.value_at_quantile(share) }
    }

    /// How many there are in each step that has some, 16 steps to an octave: step `n` is from
    /// 2^(n/16) microseconds up to 2^((n+1)/16), so that nothing in it is 5 % off another. Small,
    /// and differences of it have quantiles too.
    pub fn steps(&self) -> Vec<(u32, u64)> {
        let mut steps: Vec<(u32, u64)> = Vec::new();
        for recorded in self.0.iter_recorded() {
            let micros = recorded.value_iterated_to().max(1) as f64;
            let (step, count) = ((16.0 * micros.log2()) as u32, recorded.count_at_value());
            match steps.last_mut() {
                Some(last) if last.0 == step => last.1 += count,
                _ => steps.push((step, count)),
            }
        }
        steps
    }

    /// The longest, in microseconds; 0 if there are none.
    pub fn max(&self) -> u64 {
        self.0.max()
    }
}

/// What was counted of one service.
#[derive(Debug, Clone, Default)]
pub struct ServiceCounts {
    /// Responses by the first digit of their status; 0: the client had gone.
    pub responses: [u64; 6],
    /// Of all exchanges together.
    pub time_total: Duration,
    /// From the request's head to the end of the response.
    pub durations: Durations,
    /// Of the requests to its endpoints.
    pub upstream: UpstreamCounts,
}

impl ServiceCounts {
    fn count(&mut self, status: u16, took: Duration) {
        let class = usize::from(status / 100).min(5);
        self.responses[class] += 1;
        self.time_total += took;
        self.durations.record(took);
    }

    /// Adds those of another worker.
    pub fn add(&mut self, other: &Self) {
        for (ours, theirs) in self.responses.iter_mut().zip(other.responses) {
            *ours += theirs;
        }
        self.time_total += other.time_total;
        self.durations.add(&other.durations);
        self.upstream.add(&other.upstream);
    }
}

/// How late a timer fired.
#[derive(Debug, Clone, Copy, Default)]
pub struct TimerDelay {
    /// How often that was looked at.
    pub count: u64,
    /// All delays together.
    pub total: Duration,
    /// The longest.
    pub max: Duration,
}

impl TimerDelay {
    /// Counts one.
    pub(super) fn record(&mut self, delay: Duration) {
        self.count += 1;
        self.total += delay;
        self.max = self.max.max(delay);
    }
}

/// All that one worker has counted.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Which worker.
    pub worker: usize,
    /// Of the whole worker.
    pub counters: Counters,
    /// Downstream connections open now.
    pub connections_open: usize,
    /// Lines of the access log that were dropped: it is written too slowly.
    pub access_lines_dropped: u64,
    /// Spans that were dropped: the control thread takes them too slowly, or one exchange has too
    /// many.
    pub spans_dropped: u64,
    /// How late its timers fire: how long its tasks keep one another waiting.
    pub timer_delay: TimerDelay,
    /// By name.
    pub services: Vec<(String, ServiceCounts)>,
    /// By name.
    pub plugins: Vec<PluginReport>,
}

impl Report {
    /// Adds another worker's services and plugins to these, and takes them out there.
    pub fn take_over(&mut self, other: &mut Self) {
        for (name, counts) in other.services.drain(..) {
            match self.services.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => sum.add(&counts),
                None => self.services.push((name, counts)),
            }
        }
        for plugin in other.plugins.drain(..) {
            match self.plugins.iter_mut().find(|known| known.name == plugin.name) {
                Some(sum) => sum.add(&plugin),
                None => self.plugins.push(plugin),
            }
        }
    }
}

/// The services of one worker: by their place in the snapshot for an exchange, by name for good.
#[derive(Debug, Default)]
pub(super) struct Services {
    generation: u64,
    by_index: Vec<Option<Shared>>,
    by_name: HashMap<Rc<str>, Shared>,
}

/// The counts of one service, for as long as an exchange counts in them.
pub(crate) type Shared = Rc<RefCell<ServiceCounts>>;

/// Paces the copying of what was counted: some histograms, then the requests that wait meanwhile.
/// Through the driver's timer, because a task that wakes itself keeps all others from running.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    copied: usize,
}

impl Pace {
    /// A histogram is about to be copied.
    pub(crate) async fn step(&mut self) {
        self.copied += 1;
        if self.copied.is_multiple_of(REPORT_STRETCH) {
            monoio::time::sleep(PLUGIN_YIELD).await;
        }
    }
}

impl Services {
    /// Counts an exchange.
    pub(super) fn count(
        &mut self,
        snapshot: &Snapshot,
        service: &Service,
        status: u16,
        took: Duration,
    ) {
        self.of(snapshot, service).borrow_mut().count(status, took);
    }

    /// The counts of a service.
    pub(super) fn of(&mut self, snapshot: &Snapshot, service: &Service) -> Shared {
        if self.generation != snapshot.generation {
            self.generation = snapshot.generation;
            self.by_index.clear();
            self.by_index.resize(snapshot.services.len(), None);
        }
        match self.by_index.get_mut(service.index) {
            Some(Some(counts)) => Rc::clone(counts),
            Some(place) => Rc::clone(place.insert(named(&mut self.by_name, &service.name))),
            None => named(&mut self.by_name, &service.name),
        }
    }

    /// All of them by name.
    fn all(&self) -> Vec<(Rc<str>, Shared)> {
        let services = self.by_name.iter();
        services.map(|(name, counts)| (Rc::clone(name), Rc::clone(counts))).collect()
    }
}

/// A copy of each service's counts, with the connections that lie idle.
pub(super) async fn copy_services(
    services: &RefCell<Services>,
    snapshot: &Snapshot,
    pool: &Pool,
    pace: &mut Pace,
) -> Vec<(String, ServiceCounts)> {
    let all = services.borrow().all();
    let mut copies = Vec::with_capacity(all.len());
    for (name, counts) in all {
        pace.step().await;
        let mut copy = counts.borrow().clone();
        let service = snapshot.services.iter().find(|service| *service.name == *name);
        if let Some(Cluster::Endpoints(endpoints)) = service.map(|service| &*service.cluster) {
            copy.upstream.idle = endpoints.iter().map(|endpoint| pool.idle_of(endpoint.id)).sum();
        }
        copies.push((String::from(&*name), copy));
    }
    copies
}

/// The counts of a service. Names of earlier configurations are kept, up to a bound beyond which
/// new ones count together.
fn named(by_name: &mut HashMap<Rc<str>, Shared>, name: &str) -> Shared {
    let is_full = by_name.len() >= REPORTED_SERVICES_MAX && !by_name.contains_key(name);
    let name = if is_full { "(others)" } else { name };
    Rc::clone(by_name.entry(name.into()).or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_by_bounds_and_quantiles() {
        let mut durations = Durations::default();
        assert_eq!((durations.count(), durations.quantile(0.5), durations.max()), (0, 0, 0));
        for micros in 1..=100 {
            durations.record(Duration::from_micros(micros));
        }
        durations.record(Duration::ZERO);
        durations.record(Duration::MAX);
        assert_eq!(durations.count(), 102);
        assert_eq!(durations.count_until(50), 51);
        assert_eq!(durations.count_until(u64::MAX), 102);
        assert_eq!(durations.quantile(0.5), 50);
        let steps = durations.steps();
        assert_eq!(steps.iter().map(|(_, count)| count).sum::<u64>(), 102);
        assert_eq!((steps[0], steps[1]), ((0, 2), (16, 1)), "1 us (twice) and 2 us");
        assert!(
            steps.contains(&(106, 2)),
            "99 and 100 us are in 2^(106/16)..2^(107/16): {steps:?}"
        );
        let mut merged = durations.clone();
        merged.add(&durations);
        assert_eq!(merged.count(), 204);
    }
}
