//! Peers that go away while nothing is read from them or written to them.
//!
//! While an exchange waits for its origin, or for a plugin, the client's socket is left alone, and
//! nobody would notice that it has closed. So the sockets of exchanges that last are asked now and
//! then, many in one call (poll(2)); who waits for such an exchange is woken and gives it up. A
//! worker's exchanges that are over sooner cost a store each. Rejected: an operation of the ring
//! per exchange, which each would have to cancel; a read, which takes a pipelined request off the
//! socket.

use std::pin::Pin;
use std::task::{Poll, Waker};

use super::{Deadline, Deadlines, Slot};
use crate::io::stream::have_gone;
use crate::limits::{WATCH_INTERVAL, WATCHED_AT_ONCE};

/// Whether a socket's peer is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watch {
    Off,
    /// Since the last round.
    New,
    /// Since an earlier one: it is asked in each.
    Old,
    /// The peer has gone.
    Gone,
}

/// How far the sockets have been asked.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// The slot where it goes on; 0: it has ended.
    next: usize,
    /// When the next one begins.
    begins_ms: u64,
}

/// Whoever an exchange is for, and who may go away meanwhile.
pub trait Presence {
    /// Awaits `exchange`; `None` once the peer, if it is watched, has gone. Whatever `exchange` has
    /// in flight is then given up with it.
    fn unless_gone<T>(
        &self,
        exchange: Pin<&mut impl Future<Output = T>>,
    ) -> impl Future<Output = Option<T>>;
}

impl Presence for Deadline {
    async fn unless_gone<T>(&self, mut exchange: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        let mut has_waited = false;
        std::future::poll_fn(|cx| {
            if let Poll::Ready(outcome) = exchange.as_mut().poll(cx) {
                return Poll::Ready(Some(outcome));
            }
            if !has_waited {
                has_waited = true;
                self.wake_when_gone(cx.waker());
            }
            match self.table.slots.borrow()[self.index].watch {
                Watch::Gone => Poll::Ready(None),
                _ => Poll::Pending,
            }
        })
        .await
    }
}

impl Deadlines {
    /// Whether a peer that has ended its sending is still there: it may wait for its answer, or may
    /// have closed, which looks the same.
    pub fn keep_half_closed(&self, is_kept: bool) {
        self.table.keeps_half_closed.set(is_kept);
    }

    /// Asks the sockets that are watched, some of them at a time.
    pub(super) fn look(&self, now_ms: u64) {
        let mut round = self.table.round.borrow_mut();
        if round.next == 0 {
            if now_ms < round.begins_ms {
                return;
            }
            round.begins_ms = now_ms.saturating_add(WATCH_INTERVAL.as_millis() as u64);
        }
        let mut slots = self.table.slots.borrow_mut();
        let mut asked = Vec::new();
        while asked.len() < WATCHED_AT_ONCE && round.next < slots.len() {
            let slot = &mut slots[round.next];
            if slot.is_to_be_asked() {
                asked.push((round.next, slot.fd));
            }
            round.next += 1;
        }
        if round.next == slots.len() {
            round.next = 0;
        }
        if asked.is_empty() {
            return;
        }
        let mut watchers = self.table.watchers.borrow_mut();
        for index in have_gone(&asked, !self.table.keeps_half_closed.get()) {
            slots[index].watch = Watch::Gone;
            if let Some(waker) = watchers.get_mut(index).and_then(Option::take) {
                waker.wake();
            }
        }
    }
}

impl Slot {
    fn is_to_be_asked(&mut self) -> bool {
        match self.watch {
            // What we have shut down ourselves looks like a peer that has gone.
            Watch::Old => !self.has_fired,
            Watch::New => {
                self.watch = Watch::Old;
                false
            }
            Watch::Off | Watch::Gone => false,
        }
    }
}

impl Deadline {
    /// Disarms, and has the peer watched until the socket waits for a request again
    /// ([`Deadline::arm_idle`]).
    pub fn watch(&self) {
        let slot = &mut self.table.slots.borrow_mut()[self.index];
        slot.at_ms = u64::MAX;
        slot.watch = Watch::New;
    }

    /// Nobody looks for the peer any more: whoever reads and writes will see.
    pub fn unwatch(&self) {
        self.table.slots.borrow_mut()[self.index].watch = Watch::Off;
        self.disarm();
    }

    /// Leaves the waker there for the next exchange: it is that of the same task.
    fn wake_when_gone(&self, waker: &Waker) {
        let mut watchers = self.table.watchers.borrow_mut();
        if watchers.len() <= self.index {
            watchers.resize(self.index + 1, None);
        }
        match &mut watchers[self.index] {
            Some(known) => known.clone_from(waker),
            place => *place = Some(waker.clone()),
        }
    }

    pub(super) fn forget_watcher(&self) {
        if let Some(waker) = self.table.watchers.borrow_mut().get_mut(self.index) {
            *waker = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::io::Write;
    use std::net::Shutdown;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::pin::pin;
    use std::task::Context;

    use super::*;

    /// Whether an exchange is given up after so many rounds, whose client does this meanwhile.
    fn is_given_up(deadlines: &Deadlines, rounds: u64, client: impl FnOnce(&UnixStream)) -> bool {
        let (theirs, ours) = UnixStream::pair().unwrap();
        let deadline = deadlines.register(ours.as_raw_fd());
        deadline.watch();
        let mut exchange = pin!(pending::<()>());
        let mut waiting = pin!(deadline.unless_gone(exchange.as_mut()));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        client(&theirs);
        let interval = WATCH_INTERVAL.as_millis() as u64;
        let from_ms = deadlines.table.round.borrow().begins_ms;
        for round in 0..rounds {
            deadlines.look(from_ms + round * interval);
        }
        waiting.as_mut().poll(&mut cx) == Poll::Ready(None)
    }

    fn ends_sending(client: &UnixStream) {
        client.shutdown(Shutdown::Write).unwrap();
    }

    #[test]
    fn who_goes_away_is_missed_from_the_second_round_on() {
        let deadlines = Deadlines::default();
        let closes = |client: &UnixStream| client.shutdown(Shutdown::Both).unwrap();
        assert!(!is_given_up(&deadlines, 1, closes));
        assert!(is_given_up(&deadlines, 2, closes));
        assert!(is_given_up(&deadlines, 2, ends_sending));
        assert!(!is_given_up(&deadlines, 5, |_| ()));
        assert!(!is_given_up(&deadlines, 5, |mut client| client.write_all(b"GET").unwrap()));
        let pipelines_and_ends = |mut client: &UnixStream| {
            client.write_all(b"GET").unwrap();
            ends_sending(client);
        };
        assert!(is_given_up(&deadlines, 2, pipelines_and_ends));
    }

    #[test]
    fn who_has_ended_its_sending_may_be_kept() {
        let deadlines = Deadlines::default();
        deadlines.keep_half_closed(true);
        assert!(!is_given_up(&deadlines, 5, ends_sending));
        assert!(is_given_up(&deadlines, 2, |client| client.shutdown(Shutdown::Both).unwrap()));
    }

    #[test]
    fn a_round_asks_some_at_a_time_and_all_in_the_end() {
        let deadlines = Deadlines::default();
        let (theirs, ours) = UnixStream::pair().unwrap();
        let watched: Vec<_> = (0..WATCHED_AT_ONCE + 1)
            .map(|_| {
                let deadline = deadlines.register(ours.as_raw_fd());
                deadline.watch();
                deadline
            })
            .collect();
        drop(theirs);
        let gone = || {
            let slots = deadlines.table.slots.borrow();
            slots.iter().filter(|slot| slot.watch == Watch::Gone).count()
        };
        deadlines.look(0);
        let second = WATCH_INTERVAL.as_millis() as u64;
        deadlines.look(second);
        assert_eq!(gone(), WATCHED_AT_ONCE);
        deadlines.look(second + 1);
        assert_eq!(gone(), watched.len());
    }

    #[test]
    fn what_a_deadline_has_shut_down_is_no_peer_that_has_gone() {
        let deadlines = Deadlines::default();
        let given_up = is_given_up(&deadlines, 3, |_| {
            let at_ms = 1;
            for slot in deadlines.table.slots.borrow_mut().iter_mut() {
                slot.at_ms = at_ms;
            }
            deadlines.sweep(at_ms);
        });
        assert!(!given_up);
    }
}
