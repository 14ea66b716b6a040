//! Sends a request to an endpoint and its response back.
//!
//! Which endpoints are tried, and when another one may be, is said in [`crate::upstream::tries`].

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use super::attempt::Attempt;
use super::mirror::{Copy, Copying};
use super::passing::Through;
use super::upgrade::Wanted;
use super::{Exchange, Messages, Reply};
use crate::error::Error;
use crate::http::kept::{Keeping, Kept};
use crate::http::message::{BodyLength, Fields, RequestHead};
use crate::http::relay::{self, Alongside, BodySink, BodySource, Replay, Trailers};
use crate::io::deadline::now_ms;
use crate::limits::{INTERIM_MAX, MIRRORED_BODY_BYTES_MAX, REPEATED_BODY_BYTES_MAX};
use crate::snapshot::Timeouts;
use crate::upstream::cluster::{Endpoint, Endpoints};
use crate::upstream::connect::connect;
use crate::upstream::connection::{Connection, ResponseSource};
use crate::upstream::tls::Spoken;
use crate::upstream::tries::{self, Ask, Failure, Try};
use crate::upstream::{h1, h2};

/// The request's body as the exchange goes on with it.
pub(super) enum Payload {
    /// None, or still with the client.
    Stream,
    /// In memory, whole.
    Memory(Vec<u8>),
    /// Too large to collect for the plugins, which let it pass: its first part, the rest still with
    /// the client.
    Prefix(Vec<u8>),
    /// Given to plugins piece by piece on its way; taken when it is sent.
    Through(Cell<Option<Box<Through>>>),
}

impl Exchange<'_> {
    /// A connection to the endpoint of a try: an idle one, unless it must be fresh, else a new one.
    pub(super) async fn connection(
        &self,
        Try { endpoint, is_fresh, .. }: Try<'_>,
        attempt: &Attempt<'_>,
        timeouts: &Timeouts,
        expires_ms: u64,
    ) -> Result<Connection, Error> {
        let worker = self.worker;
        self.upstream.set(Some(endpoint.id));
        let spoken = endpoint.address.spoken();
        if !is_fresh && let Some(there) = worker.pool().there(endpoint.id, spoken) {
            attempt.reused();
            return Ok(there);
        }
        // What lies idle makes room for what is wanted.
        worker.pool().shrink(worker.targets().admission().idle_max());
        let started = Instant::now();
        let left = Duration::from_millis(expires_ms.saturating_sub(now_ms()));
        let timeout = timeouts.connect.min(left);
        // Pooled: an exchange over a connection that is there needs no memory for a handshake.
        let stream = worker.futures().pooled(|| connect(&endpoint.address, timeout)).await?;
        attempt.connected(started.elapsed());
        let (deadlines, pool) = (worker.deadlines(), worker.shared_buffers());
        if stream.is_http2(&endpoint.address) {
            let means = h2::Means {
                deadlines,
                pool,
                budget: worker.budget(),
                body_timeout: timeouts.body,
                head_bytes_max: self.snapshot.limits.head_bytes_max,
            };
            let shared = h2::Shared::start(stream, &means);
            return Ok(Connection::Http2(worker.pool().share(endpoint.id, &shared)));
        }
        Ok(Connection::Http1(h1::Connection::new(stream, deadlines, timeouts.body, pool)))
    }

    /// Keeps a connection whose exchange has ended well.
    pub(super) fn keep(&self, endpoint: &Endpoint, connection: Connection) {
        let Some(mut connection) = connection.into_reusable() else { return };
        connection.rest();
        let idle_max = self.snapshot.limits.upstream_idle_max;
        self.worker.pool().give(endpoint.id, connection, idle_max);
    }
}

/// A request on its way to a cluster.
pub(super) struct Call<'a> {
    /// What it is to go on with in the place of HTTP.
    pub(super) wanted: Option<&'a Wanted>,
    pub(super) exchange: &'a Exchange<'a>,
    pub(super) endpoints: &'a Endpoints,
    pub(super) request: &'a RequestHead,
    pub(super) payload: Payload,
    /// The client's body, if it is to be sent again where that may be.
    pub(super) kept: Option<Box<Kept>>,
    /// A copy of the request that waits for the body that plugins make of the client's.
    pub(super) copy: Cell<Option<Box<Copy>>>,
}

impl<'a> Call<'a> {
    pub(super) fn new(
        exchange: &'a Exchange<'a>,
        endpoints: &'a Endpoints,
        request: &'a RequestHead,
        payload: Payload,
    ) -> Self {
        // An origin of HTTP/2 may say that it has not looked at a request.
        let first = endpoints.iter().next();
        let is_http2 = first.is_some_and(|one| one.address.spoken() != Spoken::Http1);
        let is_kept = matches!(payload, Payload::Stream)
            && (request.method.is_idempotent() || is_http2)
            && match request.body {
                BodyLength::Empty => false,
                BodyLength::Known(length) => length <= REPEATED_BODY_BYTES_MAX as u64,
                BodyLength::Unknown => true,
            };
        let kept = is_kept.then(Box::default);
        let copy = Cell::default();
        Self { wanted: None, exchange, endpoints, request, payload, kept, copy }
    }

    /// Keeps the body for a copy of the request too, as it goes by.
    #[cold]
    pub(super) fn keep_for(&mut self, copy: Box<Copy>) {
        if matches!(self.payload, Payload::Through(_)) {
            return self.copy.set(Some(copy));
        }
        let held = copy.held();
        let kept = self.kept.get_or_insert_default();
        kept.tell(MIRRORED_BODY_BYTES_MAX, held, Box::new(|bytes| copy.send(bytes)));
    }
}

impl Call<'_> {
    /// Tries until an endpoint answers; the status sent.
    pub(super) async fn run(
        &self,
        messages: &mut Messages<'_>,
        body: &mut impl BodySource,
        reply: &mut impl Reply,
    ) -> Result<u16, Error> {
        let exchange = self.exchange;
        let expires_ms = exchange.expires_ms;
        let targets = exchange.worker.targets();
        let timeouts = &exchange.asked().timeouts;
        let path = &*exchange.origin_path(self.request);
        let key = exchange.key(self.endpoints, self.request);
        let ask = Ask { method: &self.request.method, key, first: exchange.chosen.get().endpoint };
        tries::run(self.endpoints, targets, ask, expires_ms, async |to| {
            let attempt = &exchange.attempt(exchange.asked(), to, (self.request, path));
            let outcome = match exchange.connection(to, attempt, timeouts, expires_ms).await {
                Ok(connection) => {
                    self.attempt((to, attempt), connection, messages, body, reply).await
                }
                Err(error) => Err(error),
            };
            attempt.ended(&outcome);
            outcome.map_err(|error| {
                let is_untold = !reply.has_started();
                let is_repeatable = self.is_repeatable() && is_untold;
                Failure { error, is_repeatable, is_whole: self.is_whole() && is_untold }
            })
        })
        .await
    }

    /// Whether the request may be sent twice and can be: it is idempotent and whole in memory.
    pub(super) fn is_repeatable(&self) -> bool {
        let is_in_memory = match self.payload {
            Payload::Memory(_) => true,
            Payload::Prefix(_) | Payload::Through(_) => false,
            Payload::Stream => {
                self.request.body == BodyLength::Empty
                    || self.kept.as_ref().is_some_and(|kept| kept.is_whole())
            }
        };
        is_in_memory && self.request.method.is_idempotent()
    }

    /// Whether all of the request can be sent again.
    fn is_whole(&self) -> bool {
        match self.payload {
            Payload::Memory(_) => true,
            Payload::Prefix(_) | Payload::Through(_) => false,
            Payload::Stream => {
                self.request.body == BodyLength::Empty
                    || self.kept.as_ref().is_some_and(|kept| kept.has_all())
            }
        }
    }

    /// Whether it is when it has been sent: of a body on its way, whether it is known to be small.
    fn is_repeatable_once_sent(&self) -> bool {
        let is_small = self.kept.is_some() && self.request.body != BodyLength::Unknown;
        (is_small && self.request.method.is_idempotent()) || self.is_repeatable()
    }

    /// The host that the endpoint is asked for.
    pub(super) fn authority<'t>(&'t self, to: Try<'t>) -> &'t str {
        match self.exchange.asked().preserve_host && !self.request.authority.is_empty() {
            true => &self.request.authority,
            false => &to.endpoint.authority,
        }
    }

    /// How long the head of the response may take.
    pub(super) fn patience(&self, to: Try<'_>) -> Duration {
        let wait = self.exchange.asked().timeouts.first_byte;
        match to.bound() {
            Some(bound) if self.is_repeatable_once_sent() => wait.min(bound),
            _ => wait,
        }
    }

    async fn attempt(
        &self,
        (to, attempt): (Try<'_>, &Attempt<'_>),
        mut connection: Connection,
        messages: &mut Messages<'_>,
        body: &mut impl BodySource,
        reply: &mut impl Reply,
    ) -> Result<u16, Error> {
        if let Some(wanted) = self.wanted {
            // Boxed: no other exchange shall be as large as those that become tunnels.
            let switch = self.switch(wanted, (to, attempt), connection, messages, body, reply);
            return Box::pin(switch).await;
        }
        let exchange = self.exchange;
        let service = exchange.asked();
        connection.begin(exchange.expires_ms, service.timeouts.body);
        let authority = self.authority(to);
        let path = &*exchange.origin_path(self.request);
        let set = &exchange.fields_for_target(self.request);
        let traced = attempt.head(self.request);
        let head = traced.as_deref().unwrap_or(self.request);
        match exchange.edited_for_target(head) {
            Some(edited) => connection.head(&edited, authority, path, set),
            None => connection.head(head, authority, path, set),
        }
        let trailers = Trailers::Named(&service.request_trailers);
        let (mut sink, mut source) = connection.halves();
        let (sink, source) = (&mut sink, &mut source);
        let (outcome, is_sent) = match &self.payload {
            Payload::Stream if self.request.body == BodyLength::Empty => {
                // A failed write shows as a failed read too, unless the origin has answered early.
                let is_sent = sink.finish(&Fields::new()).await.is_ok();
                let done = Cell::new(body.is_done());
                (self.answer((to, attempt), source, messages, reply, &done).await, is_sent)
            }
            Payload::Stream if let Some(kept) = &self.kept => {
                reply.invite_body().await?;
                let is_read = Cell::new(false);
                let mut body = Keeping::new(kept, body, &exchange.held, exchange.worker.buffers());
                let pump =
                    pin!(noting(&is_read, async || relay::pump(&mut body, sink, trailers).await));
                let answer = pin!(self.answer((to, attempt), source, messages, reply, &is_read));
                duplex(pump, answer).await
            }
            Payload::Stream => {
                reply.invite_body().await?;
                let is_read = Cell::new(false);
                let pump = pin!(noting(&is_read, async || relay::pump(body, sink, trailers).await));
                let answer = pin!(self.answer((to, attempt), source, messages, reply, &is_read));
                duplex(pump, answer).await
            }
            Payload::Prefix(bytes) => {
                let is_read = Cell::new(false);
                let mut whole = Replay::new(bytes, Some(body), exchange.worker.buffers());
                let pump =
                    pin!(noting(&is_read, async || relay::pump(&mut whole, sink, trailers).await));
                let answer = pin!(self.answer((to, attempt), source, messages, reply, &is_read));
                duplex(pump, answer).await
            }
            Payload::Through(through) => {
                let ends = (sink, source);
                self.pass_through(through, (to, attempt), ends, messages, body, reply).await?
            }
            Payload::Memory(bytes) => {
                // A plugin may have made this body while the client's is still unread.
                let is_read = Cell::new(body.is_done());
                let pump = pin!(relay::send(bytes, sink, exchange.worker.buffers()));
                let answer = pin!(self.answer((to, attempt), source, messages, reply, &is_read));
                duplex(pump, answer).await
            }
        };
        self.ended(to, (outcome, is_sent), connection)
    }

    /// Keeps the connection of a try that has ended well; what a failed one comes to.
    fn ended(
        &self,
        to: Try<'_>,
        (outcome, is_sent): (Result<u16, Error>, bool),
        connection: Connection,
    ) -> Result<u16, Error> {
        if is_sent && outcome.is_ok() {
            self.exchange.keep(to.endpoint, connection);
            return outcome;
        }
        // A body in memory is not the client's any more.
        let is_in_memory = matches!(self.payload, Payload::Memory(_))
            || self.kept.as_ref().is_some_and(|kept| kept.is_whole());
        match outcome {
            Err(Error::BodyTimeout) if connection.is_stalled() || is_in_memory => {
                Err(Error::UpstreamTimeout)
            }
            outcome => outcome,
        }
    }

    /// Sends a body that plugins are given piece by piece, while the response is awaited and
    /// relayed; whether it was sent whole comes with the outcome.
    async fn pass_through(
        &self,
        through: &Cell<Option<Box<Through>>>,
        tried: (Try<'_>, &Attempt<'_>),
        (sink, source): (&mut impl BodySink, &mut ResponseSource<'_>),
        messages: &mut Messages<'_>,
        body: &mut impl BodySource,
        reply: &mut impl Reply,
    ) -> Result<(Result<u16, Error>, bool), Error> {
        let Some(mut through) = through.take() else {
            return Err(Error::CutByPlugin);
        };
        reply.invite_body().await?;
        let exchange = self.exchange;
        let sink = &mut Copying::new(sink, self.copy.take());
        let trailers = Trailers::Named(&exchange.asked().request_trailers);
        let (buffers, instead) = (exchange.worker.buffers(), &exchange.instead);
        let is_read = Cell::new(false);
        // Boxed: no other exchange shall be as large.
        let mut pump = Box::pin(async {
            let pumped = through.pump(body, sink, trailers, buffers, instead).await;
            // A plugin may have ended it before.
            is_read.set(pumped.is_ok() && body.is_done());
            pumped
        });
        let answer = pin!(self.answer(tried, source, messages, reply, &is_read));
        Ok(duplex(pump.as_mut(), answer).await)
    }

    /// Reads the response's head, interim ones before it, and hands it on. `is_body_read` says
    /// whether the client's body has been read to its end: if not, its connection cannot be kept.
    async fn answer(
        &self,
        (to, attempt): (Try<'_>, &Attempt<'_>),
        source: &mut ResponseSource<'_>,
        messages: &mut Messages<'_>,
        reply: &mut impl Reply,
        is_body_read: &Cell<bool>,
    ) -> Result<u16, Error> {
        let exchange = self.exchange;
        let wait = self.patience(to);
        let head_bytes_max = exchange.snapshot.limits.head_bytes_max;
        for interim in 0.. {
            if interim > INTERIM_MAX {
                return Err(Error::BadResponse("upstream sent too many interim responses"));
            }
            source.read_head(&self.request.method, wait, head_bytes_max, messages.response).await?;
            match messages.response.status {
                // The gateway has sent its own, when the client asked for it.
                100 => {}
                101 => return Err(Error::BadResponse("upstream switched protocols unasked")),
                102..200 => reply.interim(messages.response).await?,
                _ => break,
            }
        }
        let status = messages.response.status;
        attempt.answered(status);
        to.answered(status);
        if to.passes_over(status) && self.is_repeatable() && !reply.has_started() {
            return Err(Error::Unavailable(status));
        }
        let keep_alive = || is_body_read.get();
        exchange.respond(messages, None, source, reply, keep_alive).await
    }
}

type Pumped = Result<(), relay::PumpFailure>;

/// A pump that notes in `is_read` that it has read its source to the end.
async fn noting(is_read: &Cell<bool>, pump: impl AsyncFnOnce() -> Pumped) -> Pumped {
    let outcome = pump().await;
    is_read.set(outcome.is_ok());
    outcome
}

/// Sends the request's body while the response is awaited and relayed. Whether the body was sent
/// whole comes with the outcome.
async fn duplex(
    pump: Pin<&mut impl Future<Output = Pumped>>,
    answer: Pin<&mut impl Future<Output = Result<u16, Error>>>,
) -> (Result<u16, Error>, bool) {
    let mut alongside = Alongside::new(pump);
    let outcome = match alongside.run(answer).await {
        // The origin's own time runs from the end of the request, and so has not begun: that of the
        // whole exchange is up. A client was waited for that is slow to send, unless the origin is
        // slow to take it, which the connection knows.
        Err(Error::UpstreamTimeout) if alongside.is_cut() => Err(Error::BodyTimeout),
        outcome => outcome,
    };
    (outcome, alongside.is_complete())
}
