//! How often something is done: again after a failure, or in one second. The clock and chance are
//! arguments.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Pauses between attempts: each is twice the one before, between two bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    /// The first pause.
    pub(crate) min: Duration,
    /// The longest.
    pub(crate) max: Duration,
}

impl Backoff {
    /// The pause after `failures` in a row, counted from 1.
    pub(crate) fn pause(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.min.saturating_mul(1 << doublings).min(self.max)
    }

    /// That pause, spread over its second half by `random`, so that those that lost a server
    /// together do not come back together.
    pub(crate) fn spread_pause(self, failures: u32, random: u64) -> Duration {
        let half = self.pause(failures) / 2;
        half + half.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

/// How many times more something may be done in this second.
#[derive(Debug, Default)]
pub(crate) struct PerSecond {
    since: Cell<Option<Instant>>,
    used: Cell<u32>,
    refused: Cell<u64>,
}

/// What [`PerSecond::take`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// It may be done.
    pub(crate) is_allowed: bool,
    /// How many times it was refused in the second that has just ended.
    pub(crate) refused_before: u64,
}

impl PerSecond {
    /// Whether it may be done once more, at most `max` times in a second.
    pub(crate) fn take(&self, max: u32, now: Instant) -> Taken {
        const SECOND: Duration = Duration::from_secs(1);
        let mut refused_before = 0;
        if self.since.get().is_none_or(|since| now.saturating_duration_since(since) >= SECOND) {
            self.since.set(Some(now));
            self.used.set(0);
            refused_before = self.refused.take();
        }
        let is_allowed = self.used.get() < max;
        if is_allowed {
            self.used.set(self.used.get() + 1);
        } else {
            self.count_refused(1);
        }
        Taken { is_allowed, refused_before }
    }

    /// Counts those that were refused without being asked for.
    pub(crate) fn count_refused(&self, count: u64) {
        self.refused.set(self.refused.get() + count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_their_limit_and_spread_over_half_of_it() {
        let backoff = Backoff { min: Duration::from_millis(50), max: Duration::from_secs(2) };
        let mut expected = backoff.min;
        for failures in 1..100 {
            assert_eq!(backoff.pause(failures), expected, "after {failures}");
            for random in [0, 1, u64::MAX / 3, u64::MAX] {
                let pause = backoff.spread_pause(failures, random);
                assert!(pause >= expected / 2 && pause <= expected, "{random}: {pause:?}");
            }
            expected = (expected * 2).min(backoff.max);
        }
        assert_eq!(backoff.pause(0), backoff.min);
        assert_eq!(backoff.pause(u32::MAX), backoff.max);
    }

    #[test]
    fn what_is_refused_in_a_second_is_told_in_the_next() {
        let rate = PerSecond::default();
        let start = Instant::now();
        let allowed = (0..10_000).filter(|_| rate.take(200, start).is_allowed).count();
        assert_eq!(allowed, 200);
        let later = start + Duration::from_secs(1);
        assert_eq!(rate.take(200, later), Taken { is_allowed: true, refused_before: 9_800 });
        assert_eq!(rate.take(200, later), Taken { is_allowed: true, refused_before: 0 });
    }
}
