//! The pauses between attempts to connect.

use std::time::Duration;

use crate::limits;

/// Pauses that are doubled each time, and spread over half to all of it, so
/// that the workers and gateways that lost a server together don't come back together.
#[derive(Debug)]
pub(super) struct Backoff {
    pause: Duration,
    random: u64,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Backoff {
        Backoff { pause: limits::KV_REDIS_BACKOFF_MIN, random: seed | 1 }
    }

    pub(super) fn reset(&mut self) {
        self.pause = limits::KV_REDIS_BACKOFF_MIN;
    }

    pub(super) fn next(&mut self) -> Duration {
        // xorshift64: any spread will do
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let half = self.pause / 2;
        let pause = half + half.mul_f64((self.random >> 11) as f64 / (1u64 << 53) as f64);
        self.pause = (self.pause * 2).min(limits::KV_REDIS_BACKOFF_MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_to_its_limit_and_spreads_over_half_of_it() {
        for seed in 0..100 {
            let mut backoff = Backoff::new(seed);
            let mut expected = limits::KV_REDIS_BACKOFF_MIN;
            for _ in 0..12 {
                let pause = backoff.next();
                assert!(pause >= expected / 2 && pause <= expected, "seed {seed}: {pause:?}");
                expected = (expected * 2).min(limits::KV_REDIS_BACKOFF_MAX);
            }
            backoff.reset();
            assert!(backoff.next() <= limits::KV_REDIS_BACKOFF_MIN);
        }
    }
}
