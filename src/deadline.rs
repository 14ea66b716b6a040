//! Deadlines of a worker's sockets, at no cost while they don't fire.
//!
//! Arming one is a store into a table; one task per worker sweeps the table every
//! [`TICK`]. A deadline that has passed shuts its socket down, so that the pending read or write
//! completes by itself: no operation is ever cancelled, which on io_uring would lose what the
//! kernel has read already. Rejected: a timer per read (two heap operations and a timer-wheel entry
//! for each of the five deadlines of a request), linked timeouts (they can lose received bytes).
//!
//! 10,000 connections cost the sweep 10,000 comparisons per tick, about 10 us.

use std::cell::RefCell;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Duration;

use crate::stream::{Direction, shutdown};

/// How often the table is swept: a deadline fires at most so much late.
const TICK: Duration = Duration::from_millis(20);
/// The tick while no deadline is armed.
const TICK_IDLE: Duration = Duration::from_millis(100);

/// Milliseconds of the coarse monotonic clock (4 ms steps, no system call).
pub fn now_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// The deadlines of one worker.
#[derive(Debug, Clone, Default)]
pub struct Deadlines {
    table: Rc<Table>,
}

#[derive(Debug, Default)]
struct Table {
    slots: RefCell<Vec<Slot>>,
    free: RefCell<Vec<usize>>,
}

/// `at_ms` is `u64::MAX` while disarmed.
#[derive(Debug, Clone, Copy)]
struct Slot {
    at_ms: u64,
    fd: RawFd,
    direction: Direction,
    has_fired: bool,
    /// The socket waits for a request that may never come: what a drain ends at once.
    is_idle: bool,
}

impl Deadlines {
    /// A disarmed deadline for the socket `fd`, which must outlive it.
    pub fn register(&self, fd: RawFd) -> Deadline {
        let slot = Slot {
            at_ms: u64::MAX,
            fd,
            direction: Direction::Both,
            has_fired: false,
            is_idle: false,
        };
        let mut slots = self.table.slots.borrow_mut();
        let index = match self.table.free.borrow_mut().pop() {
            Some(index) => {
                slots[index] = slot;
                index
            }
            None => {
                slots.push(slot);
                slots.len() - 1
            }
        };
        Deadline { table: self.table.clone(), index }
    }

    /// Sweeps for as long as it is polled: one task per worker.
    pub async fn run(&self) {
        loop {
            let tick = if self.sweep(now_ms()) { TICK } else { TICK_IDLE };
            monoio::time::sleep(tick).await;
        }
    }

    /// Ends the waiting of all idle sockets, as when draining. Those that have received something
    /// meanwhile still read it.
    pub fn expire_idle(&self) {
        for slot in self.table.slots.borrow_mut().iter_mut() {
            if slot.is_idle && slot.at_ms != u64::MAX {
                slot.fire();
            }
        }
    }

    /// Fires what is due at `now_ms`; whether anything is still armed.
    fn sweep(&self, now_ms: u64) -> bool {
        let mut is_any_armed = false;
        for slot in self.table.slots.borrow_mut().iter_mut() {
            if slot.at_ms <= now_ms {
                slot.fire();
            }
            is_any_armed |= slot.at_ms != u64::MAX;
        }
        is_any_armed
    }
}

impl Slot {
    fn fire(&mut self) {
        self.at_ms = u64::MAX;
        self.has_fired = true;
        shutdown(self.fd, self.direction);
    }
}

/// One socket's deadline. Drop it before the socket closes: its descriptor may be reused.
#[derive(Debug)]
pub struct Deadline {
    table: Rc<Table>,
    index: usize,
}

impl Deadline {
    /// Shuts `direction` down if this is not armed anew or disarmed within `after`.
    pub fn arm(&self, after: Duration, direction: Direction) {
        self.arm_at(now_ms().saturating_add(after.as_millis() as u64), direction);
    }

    /// The same for a socket that waits for a request (see [`Deadlines::expire_idle`]).
    pub fn arm_idle(&self, after: Duration, direction: Direction) {
        self.arm(after, direction);
        self.table.slots.borrow_mut()[self.index].is_idle = true;
    }

    /// The same with a point in time of [`now_ms`]'s clock.
    pub fn arm_at(&self, at_ms: u64, direction: Direction) {
        let slot = &mut self.table.slots.borrow_mut()[self.index];
        slot.at_ms = at_ms;
        slot.direction = direction;
        slot.is_idle = false;
    }

    /// Calls it off. One that has fired stays fired.
    pub fn disarm(&self) {
        self.table.slots.borrow_mut()[self.index].at_ms = u64::MAX;
    }

    /// Whether it has shut the socket down.
    pub fn has_fired(&self) -> bool {
        self.table.slots.borrow()[self.index].has_fired
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.disarm();
        self.table.free.borrow_mut().push(self.index);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_deadline_that_passes_ends_the_read_and_one_that_is_disarmed_does_not() {
        let deadlines = Deadlines::default();
        let (mut reader, _writer) = UnixStream::pair().unwrap();
        let (other, _keep) = UnixStream::pair().unwrap();
        let due = deadlines.register(reader.as_raw_fd());
        let called_off = deadlines.register(other.as_raw_fd());
        due.arm_at(10, Direction::Read);
        called_off.arm_at(10, Direction::Both);
        called_off.disarm();

        assert!(deadlines.sweep(9));
        assert!(!due.has_fired());
        assert!(!deadlines.sweep(10));
        assert!(due.has_fired() && !called_off.has_fired());
        assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn slots_are_reused() {
        let deadlines = Deadlines::default();
        let (socket, _keep) = UnixStream::pair().unwrap();
        drop(deadlines.register(socket.as_raw_fd()));
        let second = deadlines.register(socket.as_raw_fd());
        assert_eq!(second.index, 0);
        assert!(!second.has_fired());
    }
}
