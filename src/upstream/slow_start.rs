//! How much of its share a target gets that is new or back: a growing part, so that cold caches and
//! an empty pool of connections do not meet all of its requests at once. Pure.

use super::condition::Fitness;
use crate::limits::SLOW_START_PERCENT_MIN;

/// The part of a whole share, in parts of [`Fitness::WHOLE`], that a target gets which has been
/// back for `age_ms` of `length_ms`. It grows in a straight line.
pub fn share(age_ms: u64, length_ms: u64) -> u32 {
    let whole = u64::from(Fitness::WHOLE);
    if age_ms >= length_ms {
        return Fitness::WHOLE;
    }
    // A day in milliseconds times the whole fits in 64 bits many times over.
    let grown = age_ms.saturating_mul(whole) / length_ms.max(1);
    let least = whole * SLOW_START_PERCENT_MIN / 100;
    u32::try_from(grown.max(least)).unwrap_or(Fitness::WHOLE).min(Fitness::WHOLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_grows_from_little_to_the_whole() {
        let mut last = 0;
        for age in 0..=1000 {
            let share = share(age, 1000);
            assert!(share >= last && share > 0);
            last = share;
        }
        assert_eq!(last, Fitness::WHOLE);
        assert_eq!(share(500, 1000), Fitness::WHOLE / 2);
        assert_eq!(share(0, 0), Fitness::WHOLE);
        assert!(share(u64::MAX - 1, u64::MAX) <= Fitness::WHOLE);
    }
}
