//! Two ways for tasks of one worker to wait for each other: a promise (one value, once) and a
//! signal (something happened). No locks and no atomics, they never leave their thread.
//!
//! Dropping a [`Wait`] gives up the wait and loses the value, nothing else. Neither wakes the task
//! that uses it: a task that wakes itself starves the worker's timers.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

#[derive(Debug)]
enum Slot<T> {
    Empty,
    Waiting(Waker),
    Full(T),
    Taken,
}

/// The end that gives the value.
#[derive(Debug)]
pub(super) struct Promise<T>(Rc<RefCell<Slot<T>>>);

/// The end that waits for it.
#[derive(Debug)]
pub(super) struct Wait<T>(Rc<RefCell<Slot<T>>>);

/// A promise and its wait.
pub(super) fn promise<T>() -> (Promise<T>, Wait<T>) {
    let slot = Rc::new(RefCell::new(Slot::Empty));
    (Promise(Rc::clone(&slot)), Wait(slot))
}

impl<T> Promise<T> {
    /// Gives the value; lost when nobody waits any more.
    pub(super) fn keep(self, value: T) {
        let before = self.0.replace(Slot::Full(value));
        if let Slot::Waiting(waker) = before {
            waker.wake();
        }
    }
}

impl<T> Future for Wait<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut slot = self.0.borrow_mut();
        if matches!(*slot, Slot::Full(_)) {
            if let Slot::Full(value) = std::mem::replace(&mut *slot, Slot::Taken) {
                return Poll::Ready(value);
            }
        } else {
            *slot = Slot::Waiting(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// Remembers that something happened until the one task that waits for it comes by.
#[derive(Debug, Default)]
pub(super) struct Signal {
    raised: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Signal {
    pub(super) fn raise(&self) {
        if !self.raised.replace(true)
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    /// Waits until it is raised, and lowers it.
    pub(super) async fn raised(&self) {
        std::future::poll_fn(|cx| {
            if self.raised.replace(false) {
                return Poll::Ready(());
            }
            self.waker.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}
