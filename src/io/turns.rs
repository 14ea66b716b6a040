//! Turns at what costs a lot of a core at a stretch: handshakes. So much of it at a time, then
//! everybody else whom the driver has news for; the others wait in order, and no more than so many.
//!
//! Where the work is rare, the time between pays for it, and nobody waits. Else waiting for
//! "everybody else" is a byte through a socket pair: it comes out when the driver has been asked
//! once. Rejected: a timer (a millisecond each time, two thirds of a core that has nothing else to
//! do), waking oneself (the driver would never be asked).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use monoio::io::AsyncReadRent;
use monoio::net::UnixStream;

/// So much of the time in which others had the core is a stretch's again: such work takes at most a
/// fifth of it without waiting for the driver.
const REST_OF_WORK: u32 = 4;

/// The turns of one worker.
#[derive(Debug)]
pub struct Turns {
    /// How much may be done at a stretch.
    stretch: Duration,
    waiting_max: usize,
    /// Of this stretch.
    spent: Cell<Duration>,
    /// When work ended last.
    ended: Cell<Option<Instant>>,
    waiting: RefCell<VecDeque<Rc<Place>>>,
    is_resting: Cell<bool>,
    /// Made when it is needed first.
    bell: RefCell<Option<Bell>>,
}

#[derive(Debug)]
struct Bell {
    ring: std::os::unix::net::UnixStream,
    hear: UnixStream,
}

/// A place in the queue.
#[derive(Debug, Default)]
struct Place {
    is_called: Cell<bool>,
    has_left: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// Too many wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Turns {
    /// For `stretch` at a time, with at most `waiting_max` in the queue.
    pub fn new(stretch: Duration, waiting_max: usize) -> Rc<Self> {
        Rc::new(Self {
            stretch,
            waiting_max,
            spent: Cell::default(),
            ended: Cell::default(),
            waiting: RefCell::default(),
            is_resting: Cell::default(),
            bell: RefCell::default(),
        })
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Does `work`, which does not wait, when it has its turn.
    pub async fn take<T>(self: &Rc<Self>, work: impl FnOnce() -> T) -> Result<T, Full> {
        let mut begun = Instant::now();
        if let Some(ended) = self.ended.get() {
            let rested = begun.saturating_duration_since(ended) / REST_OF_WORK;
            self.spent.set(self.spent.get().saturating_sub(rested));
        }
        if self.spent.get() >= self.stretch || !self.waiting.borrow().is_empty() {
            self.wait().await?;
            begun = Instant::now();
        }
        let done = work();
        let ended = Instant::now();
        self.ended.set(Some(ended));
        self.spent.set(self.spent.get() + ended.saturating_duration_since(begun));
        if self.spent.get() < self.stretch {
            self.call();
        }
        Ok(done)
    }

    async fn wait(self: &Rc<Self>) -> Result<(), Full> {
        let place = Rc::new(Place::default());
        {
            let mut waiting = self.waiting.borrow_mut();
            if waiting.len() >= self.waiting_max {
                return Err(Full);
            }
            waiting.push_back(Rc::clone(&place));
        }
        if !self.is_resting.replace(true) {
            super::spawn(Rc::clone(self).rest());
        }
        let leaving = Leaving { place: &place, turns: self };
        std::future::poll_fn(|cx| {
            if place.is_called.get() {
                return Poll::Ready(());
            }
            *place.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        std::mem::forget(leaving);
        Ok(())
    }

    /// Calls the next one who waits.
    fn call(&self) {
        loop {
            let Some(next) = self.waiting.borrow_mut().pop_front() else { return };
            if !next.has_left.get() {
                next.is_called.set(true);
                if let Some(waker) = next.waker.take() {
                    waker.wake();
                }
                return;
            }
        }
    }

    /// Begins a new stretch each time the driver has been asked, until nobody waits.
    async fn rest(self: Rc<Self>) {
        loop {
            let bell = self.bell.take();
            let bell = match bell.map_or_else(Bell::new, Ok) {
                Ok(bell) => bell.rung().await,
                Err(_) => None,
            };
            match bell {
                Some(bell) => *self.bell.borrow_mut() = Some(bell),
                // Without a descriptor there is still the clock.
                None => super::sleep(Duration::from_millis(1)).await,
            }
            self.spent.set(Duration::ZERO);
            if self.waiting.borrow().is_empty() {
                self.is_resting.set(false);
                return;
            }
            self.call();
        }
    }
}

/// Gives a place up whose owner was dropped; the turn it had goes to the next.
struct Leaving<'t> {
    place: &'t Place,
    turns: &'t Turns,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.place.has_left.set(true);
        match self.place.is_called.get() {
            true => self.turns.call(),
            false => {
                let place = std::ptr::from_ref(self.place);
                let is_other = |other: &Rc<Place>| !std::ptr::eq(Rc::as_ptr(other), place);
                self.turns.waiting.borrow_mut().retain(is_other);
            }
        }
    }
}

impl Bell {
    fn new() -> io::Result<Self> {
        let (ring, hear) = std::os::unix::net::UnixStream::pair()?;
        ring.set_nonblocking(true)?;
        hear.set_nonblocking(true)?;
        Ok(Self { ring, hear: UnixStream::from_std(hear)? })
    }

    /// Rings once somebody listens: a byte that is there already would be read without the driver.
    async fn rung(mut self) -> Option<Self> {
        let is_heard = self.ring_and_hear().await;
        is_heard.then_some(self)
    }

    async fn ring_and_hear(&mut self) -> bool {
        let Self { ring, hear } = self;
        let mut reading = std::pin::pin!(hear.read(Vec::with_capacity(1)));
        let mut has_rung = false;
        std::future::poll_fn(|cx| {
            let heard = reading.as_mut().poll(cx);
            if heard.is_pending() && !std::mem::replace(&mut has_rung, true) {
                let rung = (&*ring).write_all(&[0]);
                return if rung.is_ok() { Poll::Pending } else { Poll::Ready(false) };
            }
            heard.map(|(outcome, _)| matches!(outcome, Ok(1..)))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_each_driver(test: impl AsyncFn()) {
        use crate::io::driver::{Driver, Preference, block_on, choose};
        let mut drivers = vec![Driver::Epoll];
        drivers.extend(choose(Preference::IoUring).map(|choice| choice.driver));
        for driver in drivers {
            block_on(driver, test()).unwrap();
        }
    }

    /// Work that takes a whole stretch.
    fn long() {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(2) {}
    }

    #[test]
    fn others_have_their_turn_between_two_stretches_and_who_waits_keeps_the_order() {
        on_each_driver(async || {
            let turns = Turns::new(Duration::from_millis(1), 100);
            let done = Rc::new(RefCell::new(Vec::new()));
            let tasks: Vec<_> = (0..20)
                .map(|number| {
                    let (turns, done) = (Rc::clone(&turns), Rc::clone(&done));
                    crate::io::spawn(async move {
                        turns.take(long).await.unwrap();
                        done.borrow_mut().push(number);
                    })
                })
                .collect();
            let mut ticks = 0;
            while done.borrow().len() < 20 {
                crate::io::sleep(Duration::from_millis(1)).await;
                ticks += 1;
            }
            for task in tasks {
                task.await;
            }
            assert_eq!(*done.borrow(), (0..20).collect::<Vec<_>>());
            assert!(ticks >= 8, "a timer fired {ticks} times in 40 ms");
        });
    }

    #[test]
    fn who_comes_rarely_waits_for_nobody() {
        on_each_driver(async || {
            let turns = Turns::new(Duration::from_secs(1), 1);
            for _ in 0..10 {
                assert_eq!(turns.take(|| ()).await, Ok(()));
                crate::io::sleep(Duration::from_millis(1)).await;
            }
            assert!(!turns.is_resting.get() && turns.bell.borrow().is_none());
        });
    }

    #[test]
    fn a_full_queue_says_so_and_who_leaves_gives_the_place_up() {
        on_each_driver(async || {
            let turns = Turns::new(Duration::from_nanos(1), 1);
            turns.take(long).await.unwrap();
            let mut cx = std::task::Context::from_waker(Waker::noop());
            let mut waits = Box::pin(turns.take(|| ()));
            assert!(waits.as_mut().poll(&mut cx).is_pending());
            assert_eq!((turns.take(|| ()).await, turns.waiting()), (Err(Full), 1));
            drop(waits);
            assert_eq!(turns.waiting(), 0);
            assert_eq!(turns.take(|| 7).await, Ok(7));
        });
    }

    #[test]
    fn a_turn_whose_owner_has_left_goes_to_the_next() {
        on_each_driver(async || {
            let turns = Turns::new(Duration::from_nanos(1), 2);
            turns.take(long).await.unwrap();
            let mut cx = std::task::Context::from_waker(Waker::noop());
            let mut leaves = Box::pin(turns.take(|| ()));
            assert!(leaves.as_mut().poll(&mut cx).is_pending());
            let stays = crate::io::spawn({
                let turns = Rc::clone(&turns);
                async move { turns.take(|| 7).await }
            });
            while turns.waiting() != 1 {
                // The first is called, and never polled again.
                crate::io::sleep(Duration::from_millis(1)).await;
            }
            drop(leaves);
            assert_eq!(stays.await, Ok(7));
        });
    }
}
