//! The memory that an exchange's futures stand in, handed from one exchange to the next.
//!
//! The future of an exchange is several KiB. A connection that waits must not hold them, so the
//! future is made when a request has come; made on the stack and then boxed it is copied whole
//! (a third of all instructions of a plain request), and allocated and freed each time. Here
//! it is made where it stays, in memory that an earlier one has left.

#![expect(unsafe_code, reason = "a future is written into memory that another one has left")]

use std::alloc::{self, Layout};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

use crate::limits::POOLED_FUTURES_KEPT_MAX;

/// The spare memory of one worker.
#[derive(Debug, Default)]
pub struct FuturePool {
    /// Of few sizes: there is one per kind of connection, one per phase, one for connecting.
    free: RefCell<Vec<Slot>>,
}

impl FuturePool {
    /// The future that `make` makes, in memory of this worker.
    #[inline]
    pub fn pooled<F: Future>(&self, make: impl FnOnce() -> F) -> Pooled<'_, F> {
        let slot = self.take(Layout::new::<F>());
        let place = slot.address.cast::<F>();
        // Nothing stands between making and writing: that is why it is made in its place.
        // SAFETY: the slot has the layout of an F and is nobody else's.
        unsafe { place.write(make()) };
        Pooled { slot: Some(slot), futures: self, future: PhantomData }
    }

    #[inline]
    fn take(&self, layout: Layout) -> Slot {
        let mut free = self.free.borrow_mut();
        match free.iter().rposition(|slot| slot.layout == layout) {
            Some(index) => free.swap_remove(index),
            None => Slot::new(layout),
        }
    }

    fn give(&self, slot: Slot) {
        let mut free = self.free.borrow_mut();
        if free.len() >= POOLED_FUTURES_KEPT_MAX {
            // The one that has lain there longest goes: of a size, it may be, that was wanted once.
            free.remove(0);
        }
        free.push(slot);
    }
}

/// The future that `make` makes, in memory of its own: for those that live long. Boxed otherwise,
/// it is made on the stack, and copied whole for each hand that it goes through.
#[inline]
pub fn boxed<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::into_pin(Box::write(Box::new_uninit(), make()))
}

/// A future in a slot. Dropping it drops the future and gives the slot back.
#[derive(Debug)]
pub struct Pooled<'r, F> {
    /// Holds an F until this is dropped; `None` only within `drop`.
    slot: Option<Slot>,
    futures: &'r FuturePool,
    future: PhantomData<F>,
}

impl<F: Future> Future for Pooled<'_, F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let slot = self.slot.as_ref().expect("a future is not polled after its drop");
        // SAFETY: `pooled` has put an F there; it stays at this address until it is dropped.
        let future = unsafe { Pin::new_unchecked(slot.address.cast::<F>().as_mut()) };
        future.poll(cx)
    }
}

impl<F> Drop for Pooled<'_, F> {
    fn drop(&mut self) {
        let Some(slot) = self.slot.take() else {
            return;
        };
        // SAFETY: an F is there, and nobody sees it after this. (If its drop panics, the slot is
        // freed, not given back.)
        unsafe { slot.address.cast::<F>().drop_in_place() };
        self.futures.give(slot);
    }
}

/// A piece of memory that holds nothing.
#[derive(Debug)]
struct Slot {
    address: NonNull<u8>,
    layout: Layout,
}

impl Slot {
    fn new(layout: Layout) -> Self {
        if layout.size() == 0 {
            return Self { address: layout.dangling_ptr(), layout };
        }
        // SAFETY: the layout is not of size 0.
        let address = unsafe { alloc::alloc(layout) };
        match NonNull::new(address) {
            Some(address) => Self { address, layout },
            None => alloc::handle_alloc_error(layout),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.layout.size() > 0 {
            // SAFETY: allocated by `new` with this layout.
            unsafe { alloc::dealloc(self.address.as_ptr(), self.layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::task::Waker;

    use super::*;

    fn poll<F: Future>(pooled: Pooled<'_, F>) -> Poll<F::Output> {
        let mut pooled = std::pin::pin!(pooled);
        pooled.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn memory_goes_from_one_future_to_the_next_of_its_layout() {
        let futures = FuturePool::default();
        let (large, small) = ([7_u8; 4000], 3_u64);
        assert_eq!(poll(futures.pooled(|| async move { large[5] })), Poll::Ready(7));
        let address = futures.free.borrow()[0].address;
        assert_eq!(poll(futures.pooled(|| async move { small + 1 })), Poll::Ready(4));
        assert_eq!(futures.free.borrow().len(), 2);
        let pooled = futures.pooled(|| async move { large[5] });
        assert_eq!(pooled.slot.as_ref().map(|slot| slot.address), Some(address));
    }

    #[test]
    fn a_future_that_is_given_up_drops_what_it_holds() {
        struct Noted<'c>(&'c Cell<u32>);
        impl Drop for Noted<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let (futures, dropped) = (FuturePool::default(), Cell::new(0));
        let pending = futures.pooled(|| {
            let noted = Noted(&dropped);
            async move {
                poll_fn(|_| Poll::<()>::Pending).await;
                drop(noted);
            }
        });
        assert_eq!(poll(pending), Poll::Pending);
        assert_eq!(dropped.get(), 1);
        assert_eq!(futures.free.borrow().len(), 1);
    }

    #[test]
    fn rooms_of_a_size_that_is_wanted_no_more_make_place() {
        let futures = FuturePool::default();
        let many: Vec<_> = (0..POOLED_FUTURES_KEPT_MAX)
            .map(|_| futures.pooled(|| std::future::ready([1_u8; 64])))
            .collect();
        drop(many);
        for _ in 0..3 {
            let (large, layout) = ([7_u8; 4000], futures.free.borrow()[0].layout);
            assert_eq!(poll(futures.pooled(|| async move { large[5] })), Poll::Ready(7));
            let free = futures.free.borrow();
            assert_eq!(free.len(), POOLED_FUTURES_KEPT_MAX);
            assert!(
                free.last().is_some_and(|slot| slot.layout.size() > 1000 && slot.layout != layout)
            );
        }
    }

    #[test]
    fn a_future_without_size_needs_no_memory() {
        let futures = FuturePool::default();
        assert_eq!(poll(futures.pooled(|| std::future::ready(()))), Poll::Ready(()));
        assert_eq!(poll(futures.pooled(|| poll_fn(|_| Poll::Ready(1)))), Poll::Ready(1));
    }
}
