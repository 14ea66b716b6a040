//! What a stream has received, and the body of a request that is made of it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::shared::Shared;
use crate::downstream::body_rate::BodyRate;
use crate::error::Error;
use crate::http::h2::connection::Owner;
use crate::http::h2::frame::Code;
use crate::http::message::Fields;
use crate::http::relay::BodySource;
use crate::io::budget::{Budget, Held};
use crate::io::buffer::{BufferPool, Chunk};
use crate::io::deadline::{Presence, Timer, now_ms};
use crate::limits::BUFFER_BYTES;

/// What comes with fewer bytes gets a buffer of its own size: a peer that sends single bytes on
/// many streams must not make each hold a whole one.
const SMALL_BYTES: usize = 2048;

/// What has come on a stream and is not used yet.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) id: u32,
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
    pub(super) fn new(id: u32, ends: bool, budget: &Rc<Budget>) -> Rc<Self> {
        Rc::new(Self {
            id,
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
    pub(super) fn take_in(&self, bytes: &[u8], ends: bool, pool: &BufferPool) {
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
    pub(super) fn end_with(&self, trailers: Fields) {
        *self.trailers.borrow_mut() = trailers;
        self.has_ended.set(true);
        self.wake();
    }

    /// The stream is over.
    pub(super) fn reset(&self, code: Code) {
        if self.reset.get().is_none() {
            self.reset.set(Some(code));
        }
        self.wake();
    }

    pub(super) fn is_reset(&self) -> bool {
        self.reset.get().is_some()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.get()
    }

    fn is_ready(&self) -> bool {
        self.has_ended.get() || !self.pieces.borrow().is_empty()
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Wakes the stream's task when something happens to it.
    pub(super) fn wakes(&self, cx: &Context<'_>) {
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

/// The body of a request, from a stream.
pub(super) struct StreamBody {
    shared: Rc<Shared>,
    incoming: Rc<Incoming>,
    /// Made by the first wait.
    timer: Option<Timer>,
    timeout: Duration,
    rate: BodyRate,
    /// How many more bytes are let through.
    allowance: u64,
    /// When the whole exchange must be over.
    expires_ms: u64,
    trailers: Fields,
}

impl StreamBody {
    pub(super) fn new(shared: &Rc<Shared>, incoming: &Rc<Incoming>) -> Self {
        let snapshot = shared.frontend.core.snapshot();
        let (timeout, limits) = (snapshot.timeouts.body, snapshot.limits);
        Self {
            shared: shared.clone(),
            incoming: incoming.clone(),
            timer: None,
            timeout,
            rate: BodyRate::new(limits.body_rate_min, timeout),
            allowance: limits.body_bytes_max,
            expires_ms: u64::MAX,
            trailers: Fields::new(),
        }
    }

    /// Waits until there is something, in time.
    async fn wait(&mut self) -> Result<(), Error> {
        let Self { shared, incoming, timer, timeout, rate, expires_ms, .. } = self;
        let timer = timer.get_or_insert_with(|| shared.frontend.core.deadlines().timer());
        let begun_ms = now_ms();
        let patience = (*timeout).min(rate.left()).as_millis() as u64;
        timer.arm_at(begun_ms.saturating_add(patience).min(*expires_ms));
        let outcome = std::future::poll_fn(|cx| {
            if incoming.is_ready() {
                return Poll::Ready(Ok(()));
            }
            if incoming.is_over_budget.get() {
                return Poll::Ready(Err(Error::OverBudget));
            }
            if incoming.is_reset() {
                return Poll::Ready(Err(Error::DownstreamGone));
            }
            if timer.poll_fired(cx) {
                return Poll::Ready(Err(Error::BodyTimeout));
            }
            incoming.wakes(cx);
            Poll::Pending
        })
        .await;
        timer.disarm();
        rate.waited(Duration::from_millis(now_ms().saturating_sub(begun_ms)));
        outcome
    }

    fn take(&mut self) -> Result<Option<Chunk>, Error> {
        let Some(piece) = self.incoming.pieces.borrow_mut().pop_front() else {
            return Ok(None);
        };
        self.incoming.held.release(piece.capacity());
        let end = piece.len();
        self.allowance = self.allowance.checked_sub(end as u64).ok_or(Error::BodyTooLarge)?;
        self.rate.came(end);
        self.shared.codec.borrow_mut().used(self.incoming.id, end);
        self.shared.kick();
        Ok(Some(Chunk::new(piece, 0..end)))
    }
}

impl BodySource for StreamBody {
    fn is_ready(&self) -> bool {
        self.incoming.is_ready()
    }

    async fn next(&mut self) -> Result<Option<Chunk>, Error> {
        loop {
            if let Some(chunk) = self.take()? {
                return Ok(Some(chunk));
            }
            if self.incoming.is_over_budget.get() {
                return Err(Error::OverBudget);
            }
            if self.incoming.has_ended() {
                self.trailers = std::mem::take(&mut *self.incoming.trailers.borrow_mut());
                return Ok(None);
            }
            self.wait().await?;
        }
    }

    fn is_done(&self) -> bool {
        self.incoming.has_ended() && self.incoming.pieces.borrow().is_empty()
    }

    fn trailers(&self) -> &Fields {
        &self.trailers
    }

    fn bound(&mut self, expires_ms: u64) {
        self.expires_ms = expires_ms;
    }
}
