//! Who holds what of a pool: a place for an instance, an instance for a call. Both find their way
//! back by being dropped, so that a call that is cancelled at any point leaves the pool in order.

use std::rc::Rc;
use std::time::Instant;

use super::super::instance::Instance;
use super::super::spec::Isolation;
use super::Pool;
use super::health::CallHealth;

/// The place of one instance among those there may be, while the instance is made or disposed of.
/// Given back when dropped, also with its future; a caller that waits may then try.
pub(super) struct Place {
    pub(super) pool: Rc<Pool>,
}

impl Place {
    pub(super) fn take(pool: &Rc<Pool>) -> Self {
        pool.live.set(pool.live.get() + 1);
        Self { pool: Rc::clone(pool) }
    }

    /// The instance is made and has the place from now on.
    pub(super) fn keep(self) {
        // Given back right away, in favour of the instance's.
        self.pool.live.set(self.pool.live.get() + 1);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let pool = &self.pool;
        pool.live.set(pool.live.get() - 1);
        if pool.closed.get() {
            return;
        }
        if pool.live.get() == 0 {
            // Nobody is left who could come back.
            pool.waiting.grant_room_to_all();
        } else if pool.live.get() < pool.limit() {
            pool.waiting.grant_room();
        }
    }
}

/// An instance in a call. Dropped before [`Lease::give_back`] (the call failed, its future was
/// dropped), the instance is thrown away and replaced.
pub(in crate::plugin) struct Lease {
    pool: Rc<Pool>,
    pub(super) instance: Option<Instance>,
    /// Whether the instance may serve another call.
    pub(super) is_reusable: bool,
}

impl Lease {
    pub(super) fn new(pool: &Rc<Pool>, instance: Instance) -> Self {
        Self { pool: Rc::clone(pool), instance: Some(instance), is_reusable: false }
    }

    /// The instance.
    pub(in crate::plugin) fn instance(&mut self) -> &mut Instance {
        self.instance.as_mut().expect("a lease holds its instance until it is dropped")
    }

    /// The guest failed: one more in a row. (A call whose future is dropped says nothing of it.)
    pub(in crate::plugin) fn failed(self) {
        let health = self.pool.health.get().after_failure(Instant::now());
        self.pool.health.set(health);
    }

    /// The call ended well: the instance goes back.
    pub(in crate::plugin) fn give_back(mut self) {
        self.pool.health.set(CallHealth::default());
        match self.pool.plugin.spec.isolation {
            Isolation::Shared => self.is_reusable = true,
            Isolation::Request => {
                if let Some(instance) = self.instance.take() {
                    self.pool.spent(instance);
                }
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(instance) = self.instance.take() else {
            return;
        };
        if self.is_reusable {
            self.pool.put(instance);
        } else {
            drop(instance);
            self.pool.stop_probing();
            self.pool.stats.borrow_mut().instances_discarded += 1;
            self.pool.lost();
        }
    }
}
