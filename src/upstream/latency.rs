//! How long the answers of a target take, of late: what a pick goes by, and what operators see.
//! Pure.
//!
//! Quick to see that a target has become slow, slow to forget it (Finagle's peak EWMA): a longer
//! time than known is taken as it is, a shorter one moves the known one a part of the way. Of one
//! that is not asked any more nothing is known after a while, the longer the slower it was: it is
//! asked once more, and what that takes is believed.

use std::time::Duration;

use crate::limits::{LATENCY_FORGOTTEN_AFTER, LATENCY_FORGOTTEN_MAX_MS, LATENCY_FORGOTTEN_MIN_MS};

/// See the module's text.
#[derive(Debug, Clone, Copy, Default)]
pub struct Latency {
    /// 0: nothing is known.
    micros: u64,
    at_ms: u64,
}

impl Latency {
    /// Notes how long an answer took, from its try's begin to its head.
    pub fn note(&mut self, took: Duration, now_ms: u64) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).clamp(1, MICROS_MAX);
        let known = self.micros(now_ms);
        self.micros = if took >= known { took } else { known - (known - took).div_ceil(8) };
        self.at_ms = now_ms;
    }

    /// In microseconds; 0: not known.
    pub fn micros(&self, now_ms: u64) -> u64 {
        let age = now_ms.saturating_sub(self.at_ms);
        let lasts = (self.micros.saturating_mul(LATENCY_FORGOTTEN_AFTER) / 1000)
            .clamp(LATENCY_FORGOTTEN_MIN_MS, LATENCY_FORGOTTEN_MAX_MS);
        if age < lasts { self.micros } else { 0 }
    }
}

/// An hour: no answer is waited for that long and still compared.
const MICROS_MAX: u64 = 3_600_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_answer_shows_at_once_and_is_forgotten_by_and_by() {
        let mut latency = Latency::default();
        assert_eq!(latency.micros(9), 0);
        latency.note(Duration::from_millis(1), 10);
        assert_eq!(latency.micros(10), 1000);
        latency.note(Duration::from_millis(100), 11);
        assert_eq!(latency.micros(11), 100_000);
        for _ in 0..60 {
            latency.note(Duration::from_millis(1), 12);
        }
        assert!(latency.micros(12) < 1100, "{}", latency.micros(12));
        latency.note(Duration::from_secs(10), 13);
        assert_eq!(latency.micros(12 + LATENCY_FORGOTTEN_MAX_MS), 10_000_000);
        assert_eq!(latency.micros(13 + LATENCY_FORGOTTEN_MAX_MS), 0);
    }

    #[test]
    fn who_was_slow_and_was_left_alone_is_asked_once_and_believed() {
        let mut latency = Latency::default();
        latency.note(Duration::from_millis(400), 1000);
        assert_eq!(latency.micros(4199), 400_000);
        assert_eq!(latency.micros(4200), 0);
        latency.note(Duration::from_millis(5), 4300);
        assert_eq!(latency.micros(4300), 5000);
    }
}
