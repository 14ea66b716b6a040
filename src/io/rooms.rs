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

use crate::limits::ROOMS_KEPT_MAX;

/// The spare memory of one worker.
#[derive(Debug, Default)]
pub struct Rooms {
    /// Of few sizes: there is one per kind of connection, one per phase, one for connecting.
    free: RefCell<Vec<Room>>,
}

impl Rooms {
    /// The future that `make` makes, in memory of this worker.
    #[inline]
    pub fn house<F: Future>(&self, make: impl FnOnce() -> F) -> Housed<'_, F> {
        let room = self.take(Layout::new::<F>());
        let place = room.address.cast::<F>();
        // Nothing stands between making and writing: that is why it is made in its place.
        // SAFETY: the room has the layout of an F and is nobody else's.
        unsafe { place.write(make()) };
        Housed { room: Some(room), rooms: self, future: PhantomData }
    }

    #[inline]
    fn take(&self, layout: Layout) -> Room {
        let mut free = self.free.borrow_mut();
        match free.iter().rposition(|room| room.layout == layout) {
            Some(index) => free.swap_remove(index),
            None => Room::new(layout),
        }
    }

    fn give(&self, room: Room) {
        let mut free = self.free.borrow_mut();
        if free.len() >= ROOMS_KEPT_MAX {
            // The one that has lain there longest goes: of a size, it may be, that was wanted once.
            free.remove(0);
        }
        free.push(room);
    }
}

/// A future in a room. Dropping it drops the future and gives the room back.
#[derive(Debug)]
pub struct Housed<'r, F> {
    /// Holds an F until this is dropped; `None` only within `drop`.
    room: Option<Room>,
    rooms: &'r Rooms,
    future: PhantomData<F>,
}

impl<F: Future> Future for Housed<'_, F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let room = self.room.as_ref().expect("a future is not polled after its drop");
        // SAFETY: `house` has put an F there; it stays at this address until it is dropped.
        let future = unsafe { Pin::new_unchecked(room.address.cast::<F>().as_mut()) };
        future.poll(cx)
    }
}

impl<F> Drop for Housed<'_, F> {
    fn drop(&mut self) {
        let Some(room) = self.room.take() else {
            return;
        };
        // SAFETY: an F is there, and nobody sees it after this. (If its drop panics, the room is
        // freed, not given back.)
        unsafe { room.address.cast::<F>().drop_in_place() };
        self.rooms.give(room);
    }
}

/// A piece of memory that holds nothing.
#[derive(Debug)]
struct Room {
    address: NonNull<u8>,
    layout: Layout,
}

impl Room {
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

impl Drop for Room {
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

    fn poll<F: Future>(housed: Housed<'_, F>) -> Poll<F::Output> {
        let mut housed = std::pin::pin!(housed);
        housed.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn memory_goes_from_one_future_to_the_next_of_its_layout() {
        let rooms = Rooms::default();
        let (large, small) = ([7_u8; 4000], 3_u64);
        assert_eq!(poll(rooms.house(|| async move { large[5] })), Poll::Ready(7));
        let address = rooms.free.borrow()[0].address;
        assert_eq!(poll(rooms.house(|| async move { small + 1 })), Poll::Ready(4));
        assert_eq!(rooms.free.borrow().len(), 2);
        let housed = rooms.house(|| async move { large[5] });
        assert_eq!(housed.room.as_ref().map(|room| room.address), Some(address));
    }

    #[test]
    fn a_future_that_is_given_up_drops_what_it_holds() {
        struct Noted<'c>(&'c Cell<u32>);
        impl Drop for Noted<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let (rooms, dropped) = (Rooms::default(), Cell::new(0));
        let pending = rooms.house(|| {
            let noted = Noted(&dropped);
            async move {
                poll_fn(|_| Poll::<()>::Pending).await;
                drop(noted);
            }
        });
        assert_eq!(poll(pending), Poll::Pending);
        assert_eq!(dropped.get(), 1);
        assert_eq!(rooms.free.borrow().len(), 1);
    }

    #[test]
    fn rooms_of_a_size_that_is_wanted_no_more_make_place() {
        let rooms = Rooms::default();
        let many: Vec<_> =
            (0..ROOMS_KEPT_MAX).map(|_| rooms.house(|| std::future::ready([1_u8; 64]))).collect();
        drop(many);
        for _ in 0..3 {
            let (large, layout) = ([7_u8; 4000], rooms.free.borrow()[0].layout);
            assert_eq!(poll(rooms.house(|| async move { large[5] })), Poll::Ready(7));
            let free = rooms.free.borrow();
            assert_eq!(free.len(), ROOMS_KEPT_MAX);
            assert!(
                free.last().is_some_and(|room| room.layout.size() > 1000 && room.layout != layout)
            );
        }
    }

    #[test]
    fn a_future_without_size_needs_no_memory() {
        let rooms = Rooms::default();
        assert_eq!(poll(rooms.house(|| std::future::ready(()))), Poll::Ready(()));
        assert_eq!(poll(rooms.house(|| poll_fn(|_| Poll::Ready(1)))), Poll::Ready(1));
    }
}
