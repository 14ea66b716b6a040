//! The body of a request, from a stream.

use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::shared::Shared;
use crate::downstream::body_rate::BodyRate;
use crate::error::Error;
use crate::http::h2::incoming::Incoming;
use crate::http::message::Fields;
use crate::http::relay::BodySource;
use crate::http::upgrade::TunnelSource;
use crate::io::buffer::Chunk;
use crate::io::deadline::{Timer, now_ms};

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
            if incoming.is_over_budget() {
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
        let Some(piece) = self.incoming.next_piece() else {
            return Ok(None);
        };
        let end = piece.len();
        self.allowance = self.allowance.checked_sub(end as u64).ok_or(Error::BodyTooLarge)?;
        self.rate.came(end);
        self.shared.codec.borrow_mut().used(self.incoming.id.get(), end);
        self.shared.kick();
        Ok(Some(Chunk::new(piece, 0..end)))
    }
}

impl BodySource for StreamBody {
    fn allow(&mut self, bytes_max: u64) {
        self.allowance = bytes_max;
    }

    fn is_ready(&self) -> bool {
        self.incoming.is_ready()
    }

    async fn next(&mut self) -> Result<Option<Chunk>, Error> {
        loop {
            if let Some(chunk) = self.take()? {
                return Ok(Some(chunk));
            }
            if self.incoming.is_over_budget() {
                return Err(Error::OverBudget);
            }
            if self.incoming.has_ended() {
                self.trailers = self.incoming.take_trailers();
                return Ok(None);
            }
            self.wait().await?;
        }
    }

    fn is_done(&self) -> bool {
        self.incoming.is_done()
    }

    fn trailers(&self) -> &Fields {
        &self.trailers
    }

    fn may_be_left(&self) -> bool {
        true
    }

    fn bound(&mut self, expires_ms: u64) {
        self.expires_ms = expires_ms;
    }
}

impl TunnelSource for StreamBody {
    fn has_raw(&self) -> bool {
        self.incoming.is_ready()
    }

    async fn next_raw(&mut self) -> Result<Option<Chunk>, Error> {
        // What bounds bodies bounds no tunnel.
        (self.allowance, self.rate) = (u64::MAX, BodyRate::default());
        let incoming = &self.incoming;
        std::future::poll_fn(|cx| {
            if incoming.is_ready() {
                return Poll::Ready(Ok(()));
            }
            if incoming.is_over_budget() {
                return Poll::Ready(Err(Error::OverBudget));
            }
            if incoming.is_reset() {
                return Poll::Ready(Err(Error::DownstreamGone));
            }
            incoming.wakes(cx);
            Poll::Pending
        })
        .await?;
        self.take()
    }
}
