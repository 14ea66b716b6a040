//! Numbers that nobody can compute from those before them, for ids: the kernel's, fetched many at
//! once, because a call into it costs more than all else that an id needs.

use std::cell::{Cell, RefCell};

use crate::limits::RANDOM_NUMBERS_FETCHED;

/// What is left of the kernel's last numbers.
pub(super) struct Random {
    numbers: RefCell<[u8; RANDOM_NUMBERS_FETCHED * size_of::<u64>()]>,
    /// How many of them are unused: the first ones.
    left: Cell<usize>,
}

impl Default for Random {
    fn default() -> Self {
        let numbers = RefCell::new([0; RANDOM_NUMBERS_FETCHED * size_of::<u64>()]);
        Self { numbers, left: Cell::new(0) }
    }
}

impl Random {
    /// The next number.
    pub(super) fn next(&self) -> u64 {
        let left = match self.left.get() {
            0 => self.fetch(),
            left => left,
        };
        self.left.set(left - 1);
        let numbers = self.numbers.borrow();
        numbers.as_chunks().0.get(left - 1).map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    }

    /// Takes new ones from the kernel; how many there are.
    #[cold]
    fn fetch(&self) -> usize {
        let mut numbers = self.numbers.borrow_mut();
        // Linux fails this call only before its generator has its first entropy, and the standard
        // library has had to draw the keys of its maps by then.
        if getrandom::fill(&mut *numbers).is_err() {
            use std::hash::{BuildHasher, RandomState};
            let keyed = RandomState::new();
            for (at, bytes) in numbers.as_chunks_mut().0.iter_mut().enumerate() {
                *bytes = keyed.hash_one(at).to_ne_bytes();
            }
        }
        RANDOM_NUMBERS_FETCHED
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_number_comes_twice() {
        let random = Random::default();
        let drawn: HashSet<u64> = (0..4 * RANDOM_NUMBERS_FETCHED).map(|_| random.next()).collect();
        assert_eq!(drawn.len(), 4 * RANDOM_NUMBERS_FETCHED);
    }
}
