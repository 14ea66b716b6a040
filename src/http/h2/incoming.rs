//! What a stream has received and nobody has used yet, for the task that has the stream.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::http::h2::connection::Owner;
use crate::http::h2::frame::Code;
use crate::http::message::{Fields, ResponseHead};
use crate::io::budget::{Budget, Held};
use crate::io::buffer::BufferPool;
use crate::io::deadline::Presence;
use crate::limits::{BUFFER_BYTES, INTERIM_MAX};

/// What comes with fewer bytes gets a buffer of its own size: a peer that sends single bytes on
/// many streams must not make each hold a whole one.
const SMALL_BYTES: usize = 2048;

/// What has come on a stream and is not used yet.
#[derive(Debug)]
pub struct Incoming {
    /// The stream; 0 until it is open.
    pub id: Cell<u32>,
    /// Heads of responses.
    heads: RefCell<VecDeque<ResponseHead>>,
    pieces: RefCell<VecDeque<Vec<u8>>>,
    has_ended: Cell<bool>,
    trailers: RefCell<Fields>,
    reset: Cell<Option<Code>>,
    /// The worker has no memory for what has come.
    is_over_budget: Cell<bool>,
    held: Held,
    /// The task of the stream.
    waker: RefCell<Option<Waker>>,
}

impl Incoming {
    /// Of a stream that has just begun. `ends`: nothing more will come.
    pub fn new(id: u32, ends: bool, budget: &Rc<Budget>) -> Rc<Self> {
        Rc::new(Self {
            id: Cell::new(id),
            heads: RefCell::default(),
            pieces: RefCell::default(),
            has_ended: Cell::new(ends),
            trailers: RefCell::default(),
            reset: Cell::new(None),
            is_over_budget: Cell::new(false),
            held: Held::of(budget),
            waker: RefCell::default(),
        })
    }

    /// Keeps a piece of a body.
    pub fn take_in(&self, bytes: &[u8], ends: bool, pool: &BufferPool) {
        let mut pieces = self.pieces.borrow_mut();
        match pieces.back_mut() {
            Some(last) if last.capacity() - last.len() >= bytes.len() => {
                last.extend_from_slice(bytes);
            }
            _ if bytes.is_empty() => {}
            _ => {
                let mut piece = match bytes.len() <= SMALL_BYTES && pieces.is_empty() {
                    true => Vec::with_capacity(bytes.len()),
                    false => pool.take_for(bytes.len().max(BUFFER_BYTES)),
                };
                if self.held.claim(piece.capacity()).is_err() {
                    self.is_over_budget.set(true);
                } else {
                    piece.extend_from_slice(bytes);
                    pieces.push_back(piece);
                }
            }
        }
        drop(pieces);
        if ends {
            self.has_ended.set(true);
        }
        self.wake();
    }

    /// The body has ended, with these trailers.
    pub fn end_with(&self, trailers: Fields) {
        *self.trailers.borrow_mut() = trailers;
        self.has_ended.set(true);
        self.wake();
    }

    /// The stream is over.
    pub fn reset(&self, code: Code) {
        if self.reset.get().is_none() {
            self.reset.set(Some(code));
        }
        self.wake();
    }

    /// Keeps the head of a response, or of an interim one.
    pub fn take_head(&self, head: &mut ResponseHead, ends: bool) {
        let mut heads = self.heads.borrow_mut();
        // One more than anybody asks for: the peer never means to answer.
        if heads.len() <= INTERIM_MAX + 1 {
            heads.push_back(std::mem::take(head));
        }
        drop(heads);
        self.has_ended.set(self.has_ended.get() || ends);
        self.wake();
    }

    /// The next head.
    pub fn next_head(&self) -> Option<ResponseHead> {
        self.heads.borrow_mut().pop_front()
    }

    /// The next piece of a body.
    pub fn next_piece(&self) -> Option<Vec<u8>> {
        let piece = self.pieces.borrow_mut().pop_front()?;
        self.held.release(piece.capacity());
        Some(piece)
    }

    /// The trailers, once the body has ended.
    pub fn take_trailers(&self) -> Fields {
        std::mem::take(&mut *self.trailers.borrow_mut())
    }

    /// How the stream was reset.
    pub fn reset_code(&self) -> Option<Code> {
        self.reset.get()
    }

    /// Whether something came that the worker has no memory for.
    pub fn is_over_budget(&self) -> bool {
        self.is_over_budget.get()
    }

    /// Whether everything has come and been taken.
    pub fn is_done(&self) -> bool {
        self.has_ended() && self.pieces.borrow().is_empty()
    }

    /// Whether it was reset.
    pub fn is_reset(&self) -> bool {
        self.reset.get().is_some()
    }

    /// Whether nothing more will come.
    pub fn has_ended(&self) -> bool {
        self.has_ended.get()
    }

    /// Whether a piece of a body, or its end, is there.
    pub fn is_ready(&self) -> bool {
        self.has_ended.get() || !self.pieces.borrow().is_empty()
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Wakes the stream's task when something happens to it.
    pub fn wakes(&self, cx: &Context<'_>) {
        match &mut *self.waker.borrow_mut() {
            Some(known) => known.clone_from(cx.waker()),
            place => *place = Some(cx.waker().clone()),
        }
    }
}

impl Owner for Rc<Incoming> {
    fn progressed(&self) {
        self.wake();
    }
}

impl Presence for Incoming {
    async fn unless_gone<T>(&self, mut exchange: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        std::future::poll_fn(|cx| {
            if self.is_reset() {
                return Poll::Ready(None);
            }
            self.wakes(cx);
            exchange.as_mut().poll(cx).map(Some)
        })
        .await
    }
}
