//! Which requests of a service are copied to another one.

/// The parts that all requests are: hundredths of a percent.
pub const WHOLE: u32 = 10_000;

/// `mirror` of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The place of the service that gets the copies, in the snapshot.
    pub service: usize,
    /// So many of [`WHOLE`] requests are copied.
    pub share: u32,
}

impl Mirror {
    /// Whether the request is copied for which this number was drawn.
    pub fn takes(&self, random: u64) -> bool {
        random % u64::from(WHOLE) < u64::from(self.share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::simulation::Random;

    #[test]
    fn as_many_are_taken_as_the_share_says() {
        let mut random = Random::seeded();
        for share in [0, 1, 50, 2_500, 9_999, WHOLE] {
            let mirror = Mirror { service: 0, share };
            let drawn = 200_000;
            let taken = (0..drawn).filter(|_| mirror.takes(random.next())).count();
            let part = f64::from(share) / f64::from(WHOLE);
            let expected = part * f64::from(drawn);
            // Five standard deviations: one run in a million is outside.
            let off = 5.0 * (expected * (1.0 - part)).sqrt();
            assert!((taken as f64 - expected).abs() <= off, "{share}: {taken} of {drawn}");
        }
    }
}
