//! The calls of one pool that wait for an instance, in the order in which they came.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// What a waiting call is given.
pub(super) enum Grant<T> {
    /// An instance. Dropped with a place that was given up, it finds its way back by itself.
    Instance(T),
    /// No instance, but the chance to make one (or to learn why there can be none).
    Place,
}

struct Place<T> {
    grant: RefCell<Option<Grant<T>>>,
    waker: RefCell<Option<Waker>>,
}

impl<T> Place<T> {
    fn give(&self, grant: Grant<T>) {
        *self.grant.borrow_mut() = Some(grant);
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The queue.
pub(super) struct Queue<T> {
    places: RefCell<VecDeque<Rc<Place<T>>>>,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self { places: RefCell::new(VecDeque::new()) }
    }

    /// Waits for a grant; `None` when `deadline` has come first.
    ///
    /// If the future is dropped its place is given up.
    pub(super) async fn wait(&self, deadline: Instant) -> Option<Grant<T>> {
        let place = Rc::new(Place { grant: RefCell::new(None), waker: RefCell::new(None) });
        self.places.borrow_mut().push_back(Rc::clone(&place));
        let waiting = Waiting { queue: self, place };
        crate::io::timeout_at(deadline, waiting).await.ok()
    }

    /// Gives `instance` to the first that waits; hands it back if nobody does.
    pub(super) fn grant(&self, instance: T) -> Result<(), T> {
        let first = self.places.borrow_mut().pop_front();
        match first {
            Some(place) => {
                place.give(Grant::Instance(instance));
                Ok(())
            }
            None => Err(instance),
        }
    }

    /// Lets the first try for itself.
    pub(super) fn grant_room(&self) {
        let first = self.places.borrow_mut().pop_front();
        if let Some(place) = first {
            place.give(Grant::Place);
        }
    }

    /// Lets everybody try for themselves.
    pub(super) fn grant_room_to_all(&self) {
        let places = std::mem::take(&mut *self.places.borrow_mut());
        for place in places {
            place.give(Grant::Place);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.borrow().is_empty()
    }
}

struct Waiting<'a, T> {
    queue: &'a Queue<T>,
    place: Rc<Place<T>>,
}

impl<T> Future for Waiting<'_, T> {
    type Output = Grant<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Grant<T>> {
        let grant = self.place.grant.borrow_mut().take();
        if let Some(grant) = grant {
            return Poll::Ready(grant);
        }
        *self.place.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        let mut places = self.queue.places.borrow_mut();
        places.retain(|place| !Rc::ptr_eq(place, &self.place));
        drop(places);
        // A room that was granted and never tried is the next one's.
        let untaken = self.place.grant.borrow_mut().take();
        if let Some(Grant::Place) = untaken {
            self.queue.grant_room();
        }
    }
}
