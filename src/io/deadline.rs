//! Deadlines of a worker's sockets, at no cost while they don't fire.
//!
//! Arming one is a store into a table; one task per worker sweeps the table every
//! [`TICK`]. A deadline that has passed shuts its socket down, so that the pending read or write
//! completes by itself: no operation is ever cancelled, which on io_uring would lose what the
//! kernel has read already. Rejected: a timer per read (two heap operations and a timer-wheel entry
//! for each of the five deadlines of a request), linked timeouts (they can lose received bytes).
//!
//! 10,000 connections cost the sweep 10,000 comparisons per tick, about 10 us.
//!
//! The same table parks connections: a connection that waits for a request keeps a read pending
//! for a while (it is *warm*), because the next request of a busy client comes soon. The sweep ends
//! a read that has waited too long, and the connection goes on waiting without a buffer. And it
//! notices peers that go away while nobody reads or writes (`deadline/departure.rs`), and wakes
//! those who share a socket with others (`deadline/timer.rs`).

mod departure;
mod timer;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use monoio::io::{CancelHandle, Canceller};

pub use self::departure::Presence;
use self::departure::{Round, Watch};
use self::timer::Alarms;
pub use self::timer::Timer;

use crate::io::sleep;
use crate::io::stream::{Direction, shutdown};
use crate::limits::{DRAIN_IDLE_TIME, WARM_READS_MAX, WARM_TIME};

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
#[derive(Clone, Default)]
pub struct Deadlines {
    table: Rc<Table>,
}

#[derive(Default)]
struct Table {
    slots: RefCell<Vec<Slot>>,
    free: RefCell<Vec<usize>>,
    /// Those that wake a task instead.
    alarms: RefCell<Alarms>,
    /// How many slots are warm.
    warm: Cell<usize>,
    /// By slot: who waits in [`Deadline::or_handover`].
    waiting: RefCell<Vec<Option<Waker>>>,
    /// By slot: who waits in [`Deadline::unless_gone`], or did.
    watchers: RefCell<Vec<Option<Waker>>>,
    round: RefCell<Round>,
    keeps_half_closed: Cell<bool>,
}

/// `at_ms` is `u64::MAX` while disarmed.
struct Slot {
    at_ms: u64,
    /// When a warm read is ended; `u64::MAX` while there is none.
    parks_at_ms: u64,
    /// Ends warm reads; made by the first, gone with one that was ended.
    canceller: Option<Canceller>,
    fd: RawFd,
    direction: Direction,
    has_fired: bool,
    /// Since when the socket has waited for a request, which may never come: a drain ends that.
    /// `u64::MAX` while it does not.
    idle_since_ms: u64,
    /// It cannot go on in another process.
    is_bound: bool,
    watch: Watch,
}

impl Deadlines {
    /// A disarmed deadline for the socket `fd`, which must outlive it.
    pub fn register(&self, fd: RawFd) -> Deadline {
        let slot = Slot {
            at_ms: u64::MAX,
            parks_at_ms: u64::MAX,
            canceller: None,
            fd,
            direction: Direction::Both,
            has_fired: false,
            idle_since_ms: u64::MAX,
            is_bound: false,
            watch: Watch::Off,
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
            let now_ms = now_ms();
            let tick = if self.sweep(now_ms) { TICK } else { TICK_IDLE };
            self.look(now_ms);
            sleep(tick).await;
        }
    }

    /// Ends the waiting of all sockets that have been idle for [`DRAIN_IDLE_TIME`], as when
    /// draining. Those that have received something meanwhile still read it.
    pub fn expire_idle(&self, now_ms: u64) {
        self.expire(now_ms, |_| true);
    }

    /// The same, of those alone that cannot go on in another process ([`Deadline::bind`]).
    pub fn expire_idle_bound(&self, now_ms: u64) {
        self.expire(now_ms, |slot| slot.is_bound);
    }

    fn expire(&self, now_ms: u64, which: impl Fn(&Slot) -> bool) {
        let spared = DRAIN_IDLE_TIME.as_millis() as u64;
        for slot in self.table.slots.borrow_mut().iter_mut() {
            let is_due = slot.idle_since_ms.saturating_add(spared) <= now_ms;
            if is_due && slot.at_ms != u64::MAX && which(slot) {
                slot.fire();
            }
        }
    }

    /// How many reads are warm.
    #[cfg(test)]
    pub fn warm(&self) -> usize {
        self.table.warm.get()
    }

    /// Has [`Deadline::or_handover`] of at most `most` sockets return. A warm read is ended first:
    /// the connection is asked the next time.
    pub fn request_handover(&self, most: usize) {
        let mut waiting = self.table.waiting.borrow_mut();
        for waker in waiting.iter_mut().filter_map(Option::take).take(most) {
            waker.wake();
        }
        let mut slots = self.table.slots.borrow_mut();
        for slot in slots.iter_mut().filter(|slot| slot.parks_at_ms != u64::MAX).take(most) {
            slot.park();
        }
    }

    /// Fires what is due at `now_ms`; whether anything is still armed.
    pub(crate) fn sweep(&self, now_ms: u64) -> bool {
        let mut is_any_armed = self.table.alarms.borrow_mut().sweep(now_ms);
        for slot in self.table.slots.borrow_mut().iter_mut() {
            if slot.at_ms <= now_ms {
                slot.fire();
            }
            if slot.parks_at_ms <= now_ms {
                slot.park();
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

    /// Ends the warm read. The canceller goes: a parked connection is to hold little.
    fn park(&mut self) {
        self.parks_at_ms = u64::MAX;
        if let Some(canceller) = self.canceller.take() {
            canceller.cancel();
        }
    }
}

/// One socket's deadline. Drop it before the socket closes: its descriptor may be reused.
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
        let now_ms = now_ms();
        self.arm_at(now_ms.saturating_add(after.as_millis() as u64), direction);
        let slot = &mut self.table.slots.borrow_mut()[self.index];
        slot.idle_since_ms = now_ms;
        slot.watch = Watch::Off;
    }

    /// Its connection cannot go on in another process.
    pub fn bind(&self) {
        self.table.slots.borrow_mut()[self.index].is_bound = true;
    }

    /// The same with a point in time of [`now_ms`]'s clock.
    pub fn arm_at(&self, at_ms: u64, direction: Direction) {
        let slot = &mut self.table.slots.borrow_mut()[self.index];
        slot.at_ms = at_ms;
        slot.direction = direction;
        slot.idle_since_ms = u64::MAX;
    }

    /// Begins a warm read, which is over when what this returns is dropped. `None`: too many are
    /// warm already.
    pub fn warm(&self) -> Option<Warm<'_>> {
        let warm = self.table.warm.get();
        if warm >= WARM_READS_MAX {
            return None;
        }
        self.table.warm.set(warm + 1);
        let slot = &mut self.table.slots.borrow_mut()[self.index];
        // For one that has just become idle the clock need not be asked again.
        let since_ms = match slot.idle_since_ms {
            u64::MAX => now_ms(),
            idle_since_ms => idle_since_ms,
        };
        slot.parks_at_ms = since_ms + WARM_TIME.as_millis() as u64;
        Some(Warm { deadline: self, cancel: slot.canceller.get_or_insert_default().handle() })
    }

    /// Calls it off. One that has fired stays fired.
    pub fn disarm(&self) {
        self.table.slots.borrow_mut()[self.index].at_ms = u64::MAX;
    }

    /// Awaits `waiting`; `None` if [`Deadlines::request_handover`] comes first. Then `waiting` is
    /// dropped: it must be one that loses nothing.
    pub async fn or_handover<T>(&self, waiting: impl Future<Output = T>) -> Option<T> {
        let mut waiting = std::pin::pin!(waiting);
        let mut has_begun = false;
        let outcome = std::future::poll_fn(|cx| {
            if let Poll::Ready(outcome) = waiting.as_mut().poll(cx) {
                return Poll::Ready(Some(outcome));
            }
            let mut wakers = self.table.waiting.borrow_mut();
            if wakers.len() <= self.index {
                wakers.resize(self.index + 1, None);
            }
            let waker = &mut wakers[self.index];
            if has_begun && waker.is_none() {
                return Poll::Ready(None);
            }
            has_begun = true;
            match waker {
                Some(waker) => waker.clone_from(cx.waker()),
                None => *waker = Some(cx.waker().clone()),
            }
            Poll::Pending
        })
        .await;
        self.forget_waker();
        outcome
    }

    fn forget_waker(&self) {
        if let Some(waker) = self.table.waiting.borrow_mut().get_mut(self.index) {
            *waker = None;
        }
    }

    /// When it will shut the socket down, if it is armed.
    pub fn due_ms(&self) -> Option<u64> {
        let at_ms = self.table.slots.borrow()[self.index].at_ms;
        (at_ms != u64::MAX).then_some(at_ms)
    }

    /// Whether it has shut the socket down.
    pub fn has_fired(&self) -> bool {
        self.table.slots.borrow()[self.index].has_fired
    }
}

/// One of the places for warm reads, taken until it is dropped.
pub struct Warm<'d> {
    deadline: &'d Deadline,
    /// Ends the read after [`WARM_TIME`].
    pub cancel: CancelHandle,
}

impl Drop for Warm<'_> {
    fn drop(&mut self) {
        let Deadline { table, index } = self.deadline;
        table.warm.set(table.warm.get() - 1);
        table.slots.borrow_mut()[*index].parks_at_ms = u64::MAX;
    }
}

impl fmt::Debug for Deadlines {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Deadlines").finish_non_exhaustive()
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Deadline").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.disarm();
        let slot = &mut self.table.slots.borrow_mut()[self.index];
        slot.canceller = None;
        slot.watch = Watch::Off;
        self.forget_waker();
        self.forget_watcher();
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
    fn a_drain_spares_who_has_just_begun_to_wait() {
        let deadlines = Deadlines::default();
        let (mut reader, _writer) = UnixStream::pair().unwrap();
        let deadline = deadlines.register(reader.as_raw_fd());
        deadline.arm_idle(Duration::from_secs(60), Direction::Read);
        let spared = DRAIN_IDLE_TIME.as_millis() as u64;
        deadlines.expire_idle(now_ms() + spared / 2);
        assert!(!deadline.has_fired());
        deadline.arm(Duration::from_secs(60), Direction::Read);
        deadlines.expire_idle(now_ms() + 2 * spared);
        assert!(!deadline.has_fired(), "a request has begun");
        deadline.arm_idle(Duration::from_secs(60), Direction::Read);
        deadlines.expire_idle(now_ms() + 2 * spared);
        assert!(deadline.has_fired());
        assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn who_is_asked_stops_waiting_and_who_has_something_has_it() {
        let deadlines = Deadlines::default();
        let (socket, _keep) = UnixStream::pair().unwrap();
        let deadline = deadlines.register(socket.as_raw_fd());
        let mut cx = std::task::Context::from_waker(Waker::noop());

        let mut waiting = std::pin::pin!(deadline.or_handover(std::future::pending::<()>()));
        deadlines.request_handover(1);
        assert!(waiting.as_mut().poll(&mut cx).is_pending(), "asked before it waited");
        assert!(waiting.as_mut().poll(&mut cx).is_pending(), "woken by something else");
        deadlines.request_handover(1);
        assert_eq!(waiting.as_mut().poll(&mut cx), Poll::Ready(None));

        let mut ready = std::pin::pin!(deadline.or_handover(std::future::ready(7)));
        deadlines.request_handover(1);
        assert_eq!(ready.as_mut().poll(&mut cx), Poll::Ready(Some(7)));
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
