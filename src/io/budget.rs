//! How many bytes of bodies one worker may hold in memory at once, whoever collects them. It is
//! asked before the memory is taken, and what was given comes back on drop.

use std::cell::Cell;
use std::rc::Rc;

use crate::error::Error;

/// The bytes of one worker. Never leaves its thread.
#[derive(Debug)]
pub struct Budget {
    max: Cell<usize>,
    used: Cell<usize>,
}

impl Default for Budget {
    /// Without a bound.
    fn default() -> Self {
        Self { max: Cell::new(usize::MAX), used: Cell::default() }
    }
}

impl Budget {
    /// Bounds what is given from now on; what is held stays.
    pub fn bound(&self, max: usize) {
        self.max.set(max);
    }

    /// How many bytes are held.
    pub fn used(&self) -> usize {
        self.used.get()
    }
}

/// What one exchange or call holds of a budget.
#[derive(Debug, Default)]
pub struct Held {
    budget: Rc<Budget>,
    bytes: Cell<usize>,
}

impl Held {
    /// Nothing yet.
    pub fn of(budget: &Rc<Budget>) -> Self {
        Self { budget: budget.clone(), bytes: Cell::default() }
    }

    /// Makes room in `bytes` for `more`, if the budget has it. It grows by doubling, up to `most`.
    pub fn make_room(&self, bytes: &mut Vec<u8>, more: usize, most: usize) -> Result<(), Error> {
        let needed = bytes.len() + more;
        if needed > bytes.capacity() {
            let capacity = bytes.capacity().saturating_mul(2).min(most).max(needed);
            self.take(capacity - bytes.capacity())?;
            bytes.reserve_exact(capacity - bytes.len());
        }
        Ok(())
    }

    /// Gives memory back that [`Self::make_room`] has made, before the rest.
    pub fn give_back(&self, bytes: Vec<u8>) {
        let capacity = bytes.capacity().min(self.bytes.get());
        drop(bytes);
        self.bytes.set(self.bytes.get() - capacity);
        self.budget.used.set(self.budget.used.get() - capacity);
    }

    /// Holds room for what is allocated elsewhere, until the value is dropped.
    pub fn reserve(&self, bytes: usize) -> Result<Self, Error> {
        let reserved = Self::of(&self.budget);
        reserved.take(bytes)?;
        Ok(reserved)
    }

    /// Gives so many bytes back of those that [`Self::claim`] has taken.
    pub fn release(&self, bytes: usize) {
        let bytes = bytes.min(self.bytes.get());
        self.bytes.set(self.bytes.get() - bytes);
        self.budget.used.set(self.budget.used.get() - bytes);
    }

    /// Holds so many bytes more, of memory that is allocated elsewhere.
    pub fn claim(&self, bytes: usize) -> Result<(), Error> {
        self.take(bytes)
    }

    fn take(&self, bytes: usize) -> Result<(), Error> {
        let used = self.budget.used.get().saturating_add(bytes);
        if used > self.budget.max.get() {
            return Err(Error::OverBudget);
        }
        self.budget.used.set(used);
        self.bytes.set(self.bytes.get() + bytes);
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.used.set(self.budget.used.get() - self.bytes.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_budget_takes_no_memory_and_what_is_dropped_is_given_back() {
        let budget = Rc::new(Budget::default());
        budget.bound(100);
        let (first, second) = (Held::of(&budget), Held::of(&budget));
        let (mut one, mut other) = (Vec::new(), Vec::new());
        assert_eq!(first.make_room(&mut one, 60, usize::MAX), Ok(()));
        assert_eq!(second.make_room(&mut other, 60, usize::MAX), Err(Error::OverBudget));
        assert_eq!((other.capacity(), budget.used()), (0, 60));
        drop(first);
        assert_eq!(budget.used(), 0);
        assert_eq!(second.make_room(&mut other, 60, usize::MAX), Ok(()));
        let reserved = second.reserve(40).unwrap();
        assert!(second.reserve(1).is_err());
        second.give_back(other);
        assert_eq!(budget.used(), 40);
        drop((second, reserved));
        assert_eq!(budget.used(), 0);
    }
}
