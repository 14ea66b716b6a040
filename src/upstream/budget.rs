//! How many more tries the requests of a service may make: a part of the requests themselves, so
//! that an origin that fails is not sent the more the worse it gets. Pure; of one worker.

use crate::limits::{RETRY_RESERVE, RETRY_RESERVE_REFILL_MS, RETRY_TOKENS_MAX};

/// One try, in what is counted here.
const TRY: u64 = 1000;

/// Tries that may be made beside the first ones.
#[derive(Debug, Clone)]
pub struct Budget {
    tokens: u64,
    refilled_ms: u64,
}

impl Default for Budget {
    /// With its reserve: the first requests of a process may be those that need it.
    fn default() -> Self {
        Self { tokens: RETRY_RESERVE * TRY, refilled_ms: 0 }
    }
}

impl Budget {
    /// A request has begun that may spend `percent` of a try.
    pub fn earn(&mut self, percent: u32) {
        let earned = u64::from(percent) * TRY / 100;
        self.tokens = (self.tokens + earned).min(RETRY_TOKENS_MAX * TRY);
    }

    /// Whether there is one try left. Where requests are few their part of a try never comes to
    /// one: time gives them some.
    pub fn has_one(&mut self, now_ms: u64) -> bool {
        let age = now_ms.saturating_sub(self.refilled_ms);
        if age >= RETRY_RESERVE_REFILL_MS {
            let given = age / RETRY_RESERVE_REFILL_MS * TRY;
            let room = (RETRY_RESERVE * TRY).saturating_sub(self.tokens);
            // Of the very first call, whose age is that of the machine, no more than the reserve.
            self.tokens += given.min(room);
            self.refilled_ms = now_ms;
        }
        self.tokens >= TRY
    }

    /// Spends a try; `false` if there was none.
    pub fn spend(&mut self, now_ms: u64) -> bool {
        let has_one = self.has_one(now_ms);
        if has_one {
            self.tokens -= TRY;
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::simulation::Random;

    #[test]
    fn retries_stay_a_part_of_the_requests_however_they_come() {
        let mut random = Random::seeded();
        for percent in [0, 5, 20, 100] {
            let (mut budget, mut now) = (Budget::default(), 1_000_000);
            let (mut requests, mut spent) = (0_u64, 0_u64);
            let began = now;
            for _ in 0..200_000 {
                now += random.below(4) as u64;
                requests += 1;
                budget.earn(percent);
                // Each wants as many as it gets.
                for _ in 0..random.below(5) {
                    spent += u64::from(budget.spend(now));
                }
                let given = (now - began) / RETRY_RESERVE_REFILL_MS + RETRY_RESERVE + 1;
                assert!(spent <= requests * u64::from(percent) / 100 + given);
            }
        }
    }

    #[test]
    fn a_request_now_and_then_has_a_retry() {
        let mut budget = Budget::default();
        for hour in 1..100 {
            budget.earn(20);
            assert!(budget.spend(hour * 3_600_000));
        }
    }
}
