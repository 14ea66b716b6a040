//! When active checks call a target sick or well: not by one of them. Pure; the control thread
//! makes the checks.

use std::time::Duration;

/// So many checks one after the other change what is thought of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Passed ones make a sick target well; at least 1.
    pub healthy_after: u32,
    /// Failed ones make a well target sick; at least 1.
    pub unhealthy_after: u32,
}

/// What the checks of one target have found so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// What is thought of it; `None` before the first check.
    is_healthy: Option<bool>,
    /// Checks one after the other that say otherwise.
    against: u32,
}

impl Checked {
    /// Notes a check; what is thought of the target now, if that has changed. The first check
    /// decides alone: a gateway that starts knows nothing yet.
    pub fn note(&mut self, has_passed: bool, thresholds: Thresholds) -> Option<bool> {
        let Some(is_healthy) = self.is_healthy else {
            self.is_healthy = Some(has_passed);
            return (!has_passed).then_some(false);
        };
        if has_passed == is_healthy {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = match has_passed {
            true => thresholds.healthy_after,
            false => thresholds.unhealthy_after,
        };
        if self.against < needed {
            return None;
        }
        *self = Self { is_healthy: Some(has_passed), against: 0 };
        Some(has_passed)
    }
}

/// When the next check is due: an interval from now, moved by up to `jitter_percent` of it either
/// way, so that many gateways do not check in step. `random` is any number.
pub fn next_after(interval: Duration, jitter_percent: u32, random: u64) -> Duration {
    let most = interval.as_micros() as u64 / 100 * u64::from(jitter_percent.min(100));
    let moved = if most == 0 { 0 } else { random % (2 * most + 1) };
    let base = interval.as_micros() as u64 - most.min(interval.as_micros() as u64);
    Duration::from_micros(base + moved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::simulation::Random;

    fn changes(checks: &[bool]) -> Vec<(usize, bool)> {
        let thresholds = Thresholds { healthy_after: 2, unhealthy_after: 3 };
        let mut checked = Checked::default();
        let notes = checks.iter().enumerate();
        notes.filter_map(|(at, passed)| Some((at, checked.note(*passed, thresholds)?))).collect()
    }

    #[test]
    fn one_check_does_not_change_what_was_known() {
        const P: bool = true;
        const F: bool = false;
        assert_eq!(changes(&[P, F, F, P, F, F, F]), [(6, false)]);
        assert_eq!(changes(&[P, F, F, F, P, F, P, P]), [(3, false), (7, true)]);
        assert_eq!(changes(&[F, P, P]), [(0, false), (2, true)], "the first decides alone");
        assert_eq!(changes(&[P, P, P]), []);
    }

    #[test]
    fn checks_are_spread_around_their_interval() {
        let mut random = Random::seeded();
        let interval = Duration::from_secs(5);
        for _ in 0..1000 {
            let next = next_after(interval, 20, random.next());
            assert!(next >= interval * 8 / 10 && next <= interval * 12 / 10, "{next:?}");
        }
        assert_eq!(next_after(interval, 0, 7), interval);
    }
}
