//! What one worker knows of each target: how many requests are under way there, who waits until one
//! of them ends, what its answers were like and how long they took. What all workers know of it is
//! its [`super::condition`].
//!
//! Of one worker: the caps are its share of the process's. A request that finds no room waits for a
//! short time in the short queue of its target, first come, first served, and is refused then: an
//! origin that is slower than its clients ask must not take every connection, and with them every
//! descriptor, from the others.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::condition::Reason;
use super::ejection::{Outlier, Record, Sign};
use super::latency::Latency;
use crate::error::Error;
use crate::io::deadline::now_ms;
use crate::io::timeout;
use crate::limits;

/// How many requests of one service may be under way at a target, and how many may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Requests under way at one target. Over HTTP/1 each has a connection of its own.
    pub connections: usize,
    /// Requests that wait for one target.
    pub pending: usize,
    /// How long each of them does.
    pub pending_timeout: Duration,
}

impl Default for Caps {
    /// As many as the worker has room for.
    fn default() -> Self {
        Self {
            connections: usize::MAX,
            pending: limits::UPSTREAM_PENDING_MAX,
            pending_timeout: limits::UPSTREAM_PENDING_TIMEOUT,
        }
    }
}

/// The requests of one worker. Never leaves its thread.
#[derive(Debug)]
pub struct Admission {
    /// How many may be under way at all targets together.
    most: Cell<usize>,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By `Endpoint::target`.
    targets: Vec<Target>,
    under_way: usize,
    waiting: usize,
    /// Whose queue is looked at first when there is room for one of any target.
    next: usize,
}

#[derive(Debug, Default)]
struct Target {
    under_way: usize,
    waiting: VecDeque<Rc<Waiter>>,
    record: Record,
    latency: Latency,
}

struct Waiter {
    /// How many of its service may be under way at the target.
    most: usize,
    is_admitted: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiter").field("is_admitted", &self.is_admitted).finish_non_exhaustive()
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self { most: Cell::new(usize::MAX), state: RefCell::default() }
    }
}

/// A request that is under way, as long as this lives.
#[derive(Debug)]
pub struct Permit<'a> {
    admission: &'a Admission,
    target: usize,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.admission.release(self.target);
    }
}

impl Admission {
    /// Sets how many may be under way at all targets together.
    pub fn bound(&self, most: usize) {
        self.most.set(most);
        self.admit(None);
    }

    /// How many idle connections there may be beside those that are in use.
    pub fn idle_max(&self) -> usize {
        self.most.get().saturating_sub(self.state.borrow().under_way)
    }

    /// The requests under way at a target.
    pub fn under_way(&self, target: usize) -> usize {
        self.state.borrow().targets.get(target).map_or(0, |target| target.under_way)
    }

    /// The requests that wait for a target.
    pub fn waiting(&self, target: usize) -> usize {
        self.state.borrow().targets.get(target).map_or(0, |target| target.waiting.len())
    }

    /// How long a target's answers take, in microseconds; 0: not known.
    pub fn latency(&self, target: usize, now_ms: u64) -> u64 {
        self.state.borrow().targets.get(target).map_or(0, |target| target.latency.micros(now_ms))
    }

    /// Notes how long an answer took.
    pub fn note_latency(&self, target: usize, took: Duration, now_ms: u64) {
        if let Some(target) = self.state.borrow_mut().targets.get_mut(target) {
            target.latency.note(took, now_ms);
        }
    }

    /// Notes an answer that was as it should be.
    pub fn note_good(&self, target: usize) {
        if let Some(target) = self.state.borrow_mut().targets.get_mut(target) {
            target.record.note_good();
        }
    }

    /// Notes what a try said of a target; why that is to be ejected, if it is.
    #[cold]
    pub fn note(&self, target: usize, sign: Sign, policy: &Outlier, now_ms: u64) -> Option<Reason> {
        let mut state = self.state.borrow_mut();
        state.targets.get_mut(target)?.record.note(sign, policy, now_ms)
    }

    /// Whether a request to the target would not have to wait.
    pub fn has_room(&self, target: usize, caps: &Caps) -> bool {
        let state = self.state.borrow();
        state.under_way < self.most.get()
            && state.targets.get(target).is_none_or(|target| target.has_room(caps.connections))
    }

    /// Lets a request begin, if there is room and nobody waits.
    pub fn enter(&self, target: usize, caps: &Caps) -> Option<Permit<'_>> {
        let mut state = self.state.borrow_mut();
        if state.targets.len() <= target {
            state.targets.resize_with(target + 1, Target::default);
        }
        let state = &mut *state;
        let at = &mut state.targets[target];
        if state.under_way >= self.most.get() || !at.has_room(caps.connections) {
            return None;
        }
        at.under_way += 1;
        state.under_way += 1;
        Some(Permit { admission: self, target })
    }

    /// Waits until a request may begin, for as long as `caps` say and no longer than until
    /// `expires_ms`.
    pub async fn wait(
        &self,
        target: usize,
        caps: &Caps,
        expires_ms: u64,
    ) -> Result<Permit<'_>, Error> {
        // Room may have come up since it was looked for.
        if let Some(permit) = self.enter(target, caps) {
            return Ok(permit);
        }
        let waiter = self.line_up(target, caps).ok_or(Error::UpstreamBusy)?;
        let left = Duration::from_millis(expires_ms.saturating_sub(now_ms()));
        let admitted = poll_fn(|cx| {
            if waiter.is_admitted.get() {
                return Poll::Ready(());
            }
            waiter.waker.set(Some(cx.waker().clone()));
            Poll::Pending
        });
        let place = Place { admission: self, target, waiter: Rc::clone(&waiter) };
        // Whether it ended in time is for the waiter to say: both may happen at once.
        let _ended = timeout(caps.pending_timeout.min(left), admitted).await;
        if waiter.is_admitted.replace(false) {
            drop(place);
            return Ok(Permit { admission: self, target });
        }
        Err(Error::UpstreamBusy)
    }

    /// A place at the end of a queue, if it is not full.
    fn line_up(&self, target: usize, caps: &Caps) -> Option<Rc<Waiter>> {
        let mut state = self.state.borrow_mut();
        let queue = &mut state.targets.get_mut(target)?.waiting;
        if queue.len() >= caps.pending {
            return None;
        }
        let waiter = Rc::new(Waiter {
            most: caps.connections,
            is_admitted: Cell::new(false),
            waker: Cell::new(None),
        });
        queue.push_back(Rc::clone(&waiter));
        state.waiting += 1;
        Some(waiter)
    }

    /// Counts a request as under way that was admitted and goes on.
    pub(super) fn hold(&self, target: usize) {
        let mut state = self.state.borrow_mut();
        if state.targets.len() <= target {
            state.targets.resize_with(target + 1, Target::default);
        }
        state.targets[target].under_way += 1;
        state.under_way += 1;
    }

    pub(super) fn release(&self, target: usize) {
        let has_waiting = {
            let mut state = self.state.borrow_mut();
            state.under_way -= 1;
            if let Some(at) = state.targets.get_mut(target) {
                at.under_way -= 1;
            }
            state.waiting > 0
        };
        if has_waiting {
            self.admit(Some(target));
        }
    }

    /// Admits those that there is room for: of this target first, then of any.
    #[cold]
    fn admit(&self, first: Option<usize>) {
        let mut admitted = Vec::new();
        {
            let mut state = self.state.borrow_mut();
            let (most, count) = (self.most.get(), state.targets.len());
            let start = state.next;
            let others = (0..count).map(|at| (start + at) % count.max(1));
            for target in first.into_iter().chain(others) {
                if state.waiting == 0 || state.under_way >= most {
                    break;
                }
                state.admit(target, most, &mut admitted);
                state.next = target + 1;
            }
        }
        // Only now: who wakes may look at the state.
        admitted.into_iter().for_each(Waker::wake);
    }
}

impl State {
    fn admit(&mut self, target: usize, most: usize, admitted: &mut Vec<Waker>) {
        let Some(at) = self.targets.get_mut(target) else {
            return;
        };
        while self.under_way < most
            && let Some(waiter) = at.waiting.front()
            && at.under_way < waiter.most
        {
            at.under_way += 1;
            self.under_way += 1;
            self.waiting -= 1;
            waiter.is_admitted.set(true);
            admitted.extend(waiter.waker.take());
            at.waiting.pop_front();
        }
    }
}

impl Target {
    fn has_room(&self, most: usize) -> bool {
        self.under_way < most && self.waiting.is_empty()
    }
}

/// A place in a queue. Given up when it is dropped: who was admitted and has not noticed it makes
/// room for the next one.
struct Place<'a> {
    admission: &'a Admission,
    target: usize,
    waiter: Rc<Waiter>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.waiter.is_admitted.get() {
            return self.admission.release(self.target);
        }
        let mut state = self.admission.state.borrow_mut();
        let state = &mut *state;
        let Some(at) = state.targets.get_mut(self.target) else {
            return;
        };
        let place = at.waiting.iter().position(|waiter| Rc::ptr_eq(waiter, &self.waiter));
        if let Some(place) = place {
            at.waiting.remove(place);
            state.waiting -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Context;

    use super::*;

    const PATIENT: Duration = Duration::from_secs(60);

    fn caps(connections: usize, pending: usize) -> Caps {
        Caps { connections, pending, pending_timeout: PATIENT }
    }

    /// Runs where timers work.
    fn run<F: Future>(future: F) -> F::Output {
        crate::io::runtime::local().unwrap().block_on(future)
    }

    fn is_pending<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    fn counts(admission: &Admission) -> (usize, usize) {
        let state = admission.state.borrow();
        assert_eq!(state.under_way, state.targets.iter().map(|at| at.under_way).sum::<usize>());
        assert_eq!(state.waiting, state.targets.iter().map(|at| at.waiting.len()).sum::<usize>());
        (state.under_way, state.waiting)
    }

    #[test]
    fn first_come_is_first_served_and_no_more_than_fit_wait() {
        run(async {
            let (admission, caps) = (Admission::default(), caps(1, 2));
            let first = admission.enter(3, &caps).unwrap();
            assert!(admission.enter(3, &caps).is_none() && !admission.has_room(3, &caps));
            assert!(admission.enter(0, &caps).is_some(), "another target has its own");
            let mut second = pin!(admission.wait(3, &caps, u64::MAX));
            let mut third = pin!(admission.wait(3, &caps, u64::MAX));
            assert!(is_pending(second.as_mut()) && is_pending(third.as_mut()));
            let full = admission.wait(3, &caps, u64::MAX).await;
            assert_eq!(full.err(), Some(Error::UpstreamBusy));
            assert_eq!(counts(&admission), (1, 2));
            drop(first);
            assert!(admission.enter(3, &caps).is_none(), "nobody overtakes who waits");
            assert!(is_pending(third.as_mut()));
            drop(second.await.unwrap());
            drop(third.await.unwrap());
            assert_eq!(counts(&admission), (0, 0));
        });
    }

    #[test]
    fn who_goes_leaves_no_place_behind() {
        run(async {
            let (admission, caps) = (Admission::default(), caps(1, 9));
            let first = admission.enter(0, &caps).unwrap();
            {
                let mut gone = pin!(admission.wait(0, &caps, u64::MAX));
                assert!(is_pending(gone.as_mut()));
            }
            assert_eq!(counts(&admission), (1, 0));
            {
                let mut gone = pin!(admission.wait(0, &caps, u64::MAX));
                assert!(is_pending(gone.as_mut()));
                drop(first);
                assert_eq!(counts(&admission), (1, 0), "it is admitted, and goes before it knows");
            }
            assert_eq!(counts(&admission), (0, 0));
        });
    }

    #[test]
    fn nobody_waits_for_longer_than_allowed() {
        run(async {
            let admission = Admission::default();
            let caps = Caps { pending_timeout: Duration::from_millis(5), ..caps(1, 9) };
            let _held = admission.enter(0, &caps).unwrap();
            let late = admission.wait(0, &caps, u64::MAX).await;
            assert_eq!(late.err(), Some(Error::UpstreamBusy));
            let patient = Caps { pending_timeout: PATIENT, ..caps };
            let expired = admission.wait(0, &patient, now_ms() + 5).await;
            assert_eq!(expired.err(), Some(Error::UpstreamBusy));
            assert_eq!(counts(&admission), (1, 0));
        });
    }

    #[test]
    fn all_targets_share_what_the_worker_has() {
        run(async {
            let (admission, caps) = (Admission::default(), caps(5, 9));
            admission.bound(2);
            let held = [admission.enter(0, &caps).unwrap(), admission.enter(1, &caps).unwrap()];
            assert_eq!(admission.idle_max(), 0);
            assert!(admission.enter(2, &caps).is_none() && !admission.has_room(2, &caps));
            let mut waiting = pin!(admission.wait(2, &caps, u64::MAX));
            assert!(is_pending(waiting.as_mut()));
            drop(held);
            let third = waiting.await.unwrap();
            assert_eq!(counts(&admission), (1, 0));
            let mut more = pin!(admission.wait(2, &caps, u64::MAX));
            assert!(!is_pending(more.as_mut()));
            drop(third);
        });
    }
}
