//! What a worker has counted, as it tells the control plane.
//!
//! Counted in plain numbers by the worker alone, copied when the control plane asks, merged and
//! written out on the control thread. Services and plugins go on counting under their names over
//! reloads, so that no counter ever goes backwards.

use std::time::Duration;

use crate::downstream::frontend::ConnectionCounts;
use crate::error::Rejection;
use crate::exchange::core::Ended;
use crate::exchange::counts::ServiceCounts;
use crate::plugin::PluginReport;

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

/// What a worker knows of a target.
#[derive(Debug, Clone, Copy, Default)]
pub struct TargetCounts {
    /// Its number over all snapshots.
    pub target: usize,
    /// Requests under way there.
    pub under_way: usize,
    /// Requests that wait for it.
    pub waiting: usize,
    /// How long its answers take of late, in microseconds; 0: not known.
    pub latency_micros: u64,
}

/// All that one worker has counted.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Which worker.
    pub worker: usize,
    /// Exchanges of the whole worker.
    pub ended: Ended,
    /// Requests that the gateway refused itself, by reason ([`Rejection::ALL`]).
    pub rejected: [u64; Rejection::ALL.len()],
    /// Downstream connections so far.
    pub connections: ConnectionCounts,
    /// Steps of TLS handshakes that wait for their turn.
    pub handshakes_waiting: usize,
    /// Downstream connections open now.
    pub connections_open: usize,
    /// Bytes of bodies that are held in memory now.
    pub buffered_bytes: usize,
    /// Lines of the access log that were dropped: it is written too slowly.
    pub access_lines_dropped: u64,
    /// Spans that were dropped: the control thread takes them too slowly, or one exchange has too
    /// many.
    pub spans_dropped: u64,
    /// How late its timers fire: how long its tasks keep one another waiting.
    pub timer_delay: TimerDelay,
    /// Of the targets of the worker's snapshot.
    pub targets: Vec<TargetCounts>,
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
