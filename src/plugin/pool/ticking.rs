//! Ticks of a plugin of the JSON ABI: its instances are called by the clock, beside requests.
//!
//! With `tickOn: each` every instance of the worker has each tick once, busy ones when they come
//! back, and that which bodies pass piece by piece; with `one` the worker that comes first calls
//! any of its own.

use std::rc::{Rc, Weak};
use std::time::Instant;

use super::super::instance::Instance;
use super::super::spec::{Isolation, TickOn};
use super::{Lease, Pool};
use crate::limits;

impl Pool {
    /// Begins to tick, if the plugin does and its timer does not run yet.
    pub(super) fn begin_to_tick(self: &Rc<Self>) {
        let Some(period) = self.plugin.spec.tick else {
            return;
        };
        if self.closed.get() || self.is_ticking.replace(true) {
            return;
        }
        let period = period.max(limits::PLUGIN_TICK_MIN);
        let pool = Rc::downgrade(self);
        crate::io::spawn(async move {
            let mut due = Instant::now();
            loop {
                // From one to the next, however long the calls take; what is missed is not made up.
                due = (due + period).max(Instant::now());
                crate::io::sleep(due.saturating_duration_since(Instant::now())).await;
                let Some(pool) = Weak::upgrade(&pool) else {
                    return;
                };
                if pool.closed.get() {
                    return;
                }
                // Who holds an old snapshot needs no ticks; a reload may bring the plugin back.
                if pool.retired.get() {
                    pool.is_ticking.set(false);
                    return;
                }
                pool.tick(due + period).await;
            }
        });
    }

    /// One tick; it is over before the next is due.
    async fn tick(self: &Rc<Self>, next: Instant) {
        let spec = &self.plugin.spec;
        if !self.plugin.claim_tick(spec.tick.unwrap_or_default()) {
            return;
        }
        self.ticks.set(self.ticks.get() + 1);
        if spec.tick_on == TickOn::One || spec.isolation == Isolation::Request {
            // None to be had is told by `lease`, or is a plugin that is not called for a while.
            if let Ok(lease) = self.lease(next).await {
                self.call_tick(lease).await;
            }
            return;
        }
        let resident = self.resident.borrow().clone();
        if let Some(filter) = resident
            && let Err(error) = filter.tick_guest(next).await
        {
            self.tell_failed(&error);
        }
        loop {
            let waits = |instance: &Instance| instance.ticked < self.ticks.get();
            let found = {
                let mut idle = self.idle.borrow_mut();
                let at = idle.iter().position(waits);
                at.map(|at| idle.remove(at))
            };
            // The instance that bodies pass is not among those that are leased.
            let resident = || u32::from(self.resident.borrow().is_some()).min(self.live.get());
            match found {
                Some(instance) => self.call_tick(Lease::new(self, instance)).await,
                // Others are in calls.
                None if (self.idle.borrow().len() as u32) < self.live.get() - resident() => {
                    crate::io::sleep(limits::PLUGIN_TICK_PAUSE).await;
                }
                None => return,
            }
            if Instant::now() >= next || self.closed.get() || self.retired.get() {
                return;
            }
        }
    }

    async fn call_tick(self: &Rc<Self>, mut lease: Lease) {
        let instance = lease.instance();
        instance.ticked = self.ticks.get();
        match instance.tick().await {
            Ok(()) => lease.give_back(),
            Err(error) => {
                self.tell_failed(&error);
                lease.failed();
            }
        }
    }
}
