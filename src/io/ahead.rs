//! A read that is pending while nobody waits for it.
//!
//! An idle upstream connection reads ahead: what comes unasked, or the origin's close, shows as a
//! read that has ended, without a system call for each reuse; and the read that is pending already
//! is the one that the next response comes in by. Between two uses it holds a buffer.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::stream::Reader;

type Outcome = (io::Result<usize>, Vec<u8>);

/// Reads one buffer after the other, as they are given to it. One future for the whole connection,
/// so that no read allocates.
pub(super) struct Ahead {
    reads: Pin<Box<dyn Future<Output = Infallible>>>,
    handoff: Rc<Handoff>,
    /// A buffer was given that has not been taken back.
    is_pending: bool,
}

/// What is handed in and out of the future.
#[derive(Default)]
struct Handoff {
    given: Cell<Option<Vec<u8>>>,
    done: Cell<Option<Outcome>>,
}

impl Ahead {
    /// Over a handle whose other one must not read while a read is pending here.
    pub(super) fn new(mut reader: impl Reader) -> Self {
        let handoff = Rc::<Handoff>::default();
        let inside = Rc::clone(&handoff);
        let reads = Box::pin(async move {
            loop {
                let buffer = std::future::poll_fn(|_| match inside.given.take() {
                    Some(buffer) => Poll::Ready(buffer),
                    None => Poll::Pending,
                });
                let buffer = buffer.await;
                let places = buffer.len()..buffer.capacity();
                let outcome = reader.read(buffer, places).await;
                inside.done.set(Some(outcome));
            }
        });
        Self { reads, handoff, is_pending: false }
    }

    /// Whether a read was begun that [`Self::poll`] has not given back.
    pub(super) fn is_pending(&self) -> bool {
        self.is_pending
    }

    /// Begins a read that appends to `buffer`.
    pub(super) fn begin(&mut self, buffer: Vec<u8>) {
        debug_assert!(!self.is_pending && buffer.len() < buffer.capacity());
        self.handoff.given.set(Some(buffer));
        self.is_pending = true;
        self.advance(Waker::noop());
    }

    /// Whether the pending read has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        self.advance(Waker::noop());
        let done = self.handoff.done.take();
        let has_ended = done.is_some();
        self.handoff.done.set(done);
        has_ended
    }

    /// What the pending read has read, once it has.
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<Outcome> {
        self.advance(cx.waker());
        match self.handoff.done.take() {
            Some(outcome) => {
                self.is_pending = false;
                Poll::Ready(outcome)
            }
            None => Poll::Pending,
        }
    }

    /// Polls the future, which never ends.
    fn advance(&mut self, waker: &Waker) {
        let Poll::Pending = self.reads.as_mut().poll(&mut Context::from_waker(waker));
    }
}
