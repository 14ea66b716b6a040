//! The least rate of a request's body: a byte now and then is progress, and an attack.
//!
//! A client that is waited for uses up the time it has, and what it sends earns time again, at the
//! configured rate, up to what it had at first. So a pause is no offence, and a fast beginning does
//! not pay for a slow end. While the origin, or the gateway, keeps the client waiting nothing is
//! used up: the kernel holds what it has sent meanwhile.

use std::time::Duration;

use crate::limits::BODY_RATE_GRACE;

/// What a client has left of its time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct BodyRate {
    /// Bytes per second; 0: any rate will do.
    least: u64,
    /// Microseconds.
    left: u64,
    most: u64,
}

impl BodyRate {
    /// That of a body that begins. `pause`: how long a client may be silent within a body.
    pub(super) fn new(least: u64, pause: Duration) -> Self {
        let most = pause.max(BODY_RATE_GRACE).as_micros() as u64;
        Self { least, left: most, most }
    }

    /// How long the client may be waited for now.
    pub(super) fn left(&self) -> Duration {
        if self.least == 0 { Duration::MAX } else { Duration::from_micros(self.left) }
    }

    /// It was waited for so long.
    pub(super) fn waited(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time.as_micros() as u64);
    }

    /// So many bytes have come.
    pub(super) fn came(&mut self, bytes: usize) {
        if let Some(earned) = (bytes as u64).saturating_mul(1_000_000).checked_div(self.least) {
            self.left = self.left.saturating_add(earned).min(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How many seconds a client lasts that sends so many bytes in each; at most 1000.
    fn lasts(rate: &mut BodyRate, bytes: usize) -> u32 {
        for second in 0..1000 {
            if rate.left() < SECOND {
                return second;
            }
            rate.waited(SECOND);
            rate.came(bytes);
        }
        1000
    }

    #[test]
    fn who_is_faster_than_the_rate_goes_on_and_who_is_slower_does_not() {
        let new = || BodyRate::new(100, 30 * SECOND);
        assert_eq!(lasts(&mut new(), 100), 1000);
        assert_eq!(lasts(&mut new(), 0), 30);
        assert_eq!(lasts(&mut new(), 1), 30);
        assert_eq!(lasts(&mut new(), 50), 59);
        assert_eq!(lasts(&mut BodyRate::new(0, SECOND), 0), 1000);
    }

    #[test]
    fn a_pause_is_made_good_by_what_comes_then_and_by_nothing_that_came_before() {
        let mut rate = BodyRate::new(100, 30 * SECOND);
        rate.came(usize::MAX);
        rate.waited(29 * SECOND);
        assert_eq!(rate.left(), SECOND);
        rate.came(1000);
        assert_eq!(rate.left(), 11 * SECOND);
        rate.waited(60 * SECOND);
        assert_eq!(rate.left(), Duration::ZERO);
    }

    #[test]
    fn a_short_pause_is_not_the_grace() {
        let rate = BodyRate::new(100, SECOND);
        assert_eq!(rate.left(), BODY_RATE_GRACE);
    }
}
