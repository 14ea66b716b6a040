//! What the simulations of this room are made of: numbers that a seed decides.

/// Numbers that a seed decides (splitmix64).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// With a seed of its own, which it prints: who sees a simulation fail needs it.
    /// `ODIN_TEST_SEED` gives it instead.
    #[expect(clippy::print_stdout, reason = "who sees it fail needs the seed")]
    pub(crate) fn seeded() -> Self {
        let given = std::env::var("ODIN_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| getrandom::u64().unwrap());
        println!("ODIN_TEST_SEED={seed}");
        Self(seed)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        super::balance::mix(self.0)
    }

    /// One of `0..bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
