//! How long things took, counted in little memory: what a worker counts and the control plane
//! merges.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::limits::DURATION_MICROS_MAX;

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
