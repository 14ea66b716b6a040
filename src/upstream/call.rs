//! A whole message to an origin and its whole answer, both in memory: what the gateway asks on
//! its own account, not on behalf of one exchange (plugins' `http_call`).
//!
//! On a worker, over the worker's own pool: a call and an exchange to the same endpoint share its
//! connections. Whoever calls bounds the time by dropping the future: the connection is then given
//! up, nothing else is lost. Redirects are answers like any other.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use send_wrapper::SendWrapper;

use super::cluster::Endpoints;
use super::connect::connect;
use super::connection::Connection;
pub use super::connection::{RequestSink, ResponseSource};
use super::pool::Pool;
use super::targets::Targets;
use super::tries::{self, Ask, Failure, Try};
use super::{h1, h2};
use crate::error::Error;
use crate::http::message::{BodyLength, Fields, Method, RequestHead, ResponseHead};
use crate::http::relay::{self, Alongside, BodySink, BodySource, Replay, Trailers};
use crate::io::budget::{Budget, Held};
use crate::io::buffer::BufferPool;
use crate::io::deadline::Deadlines;
use crate::limits;

/// What the calls of one worker are made with. Never leaves its thread.
#[derive(Debug, Clone, Default)]
pub struct Client {
    pool: Rc<Pool>,
    deadlines: Deadlines,
    buffers: Rc<BufferPool>,
    targets: Rc<Targets>,
    budget: Rc<Budget>,
}

/// What a call sends: the head with its target, and a body of `head.body` bytes.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The head; without an `authority` of its own it is sent with the endpoint's.
    pub head: &'a RequestHead,
    /// The body.
    pub body: &'a [u8],
}

/// Bounds of a call, as configured for the gateway's own traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// For a new connection.
    pub connect: Duration,
    /// Between two steps of progress of a body.
    pub body: Duration,
    /// Bytes of the answer's head.
    pub head_bytes_max: usize,
    /// Idle connections kept for one destination.
    pub idle_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connect: limits::CONNECT_TIMEOUT,
            body: limits::BODY_TIMEOUT,
            head_bytes_max: limits::HEAD_BYTES_MAX,
            idle_max: limits::UPSTREAM_IDLE_MAX,
        }
    }
}

/// An answer, whole.
#[derive(Debug, Default)]
pub struct Answer {
    /// Its final head.
    pub head: ResponseHead,
    /// Its body.
    pub body: Vec<u8>,
    /// What the body takes of the worker's budget. Wrapped: guests wait with it, on their worker.
    pub held: Option<SendWrapper<Held>>,
}

impl Client {
    /// A client over what a worker has.
    pub fn new(
        pool: Rc<Pool>,
        deadlines: Deadlines,
        buffers: Rc<BufferPool>,
        targets: Rc<Targets>,
        budget: Rc<Budget>,
    ) -> Self {
        Self { pool, deadlines, buffers, targets, budget }
    }

    /// Sends a message to an endpoint and reads the answer, whose body may have `bytes_max` bytes
    /// (`Error::ResponseTooLarge`).
    pub async fn call(
        &self,
        endpoints: &Endpoints,
        message: Message<'_>,
        bounds: &Bounds,
        bytes_max: usize,
    ) -> Result<Answer, Error> {
        // The caller bounds the whole.
        let ask = Ask { method: &message.head.method, key: None, first: None };
        tries::run(endpoints, &self.targets, ask, u64::MAX, async |to| {
            let outcome = match self.connection(to, bounds).await {
                Ok(connection) => self.attempt(connection, to, message, bounds, bytes_max).await,
                Err(error) => Err(error),
            };
            let is_repeatable = message.head.method.is_idempotent();
            outcome.map_err(|error| Failure { error, is_repeatable, is_whole: true })
        })
        .await
    }

    /// What is known of targets.
    pub(crate) fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Where buffers come from and go back to.
    pub fn buffers(&self) -> &BufferPool {
        &self.buffers
    }

    /// Opens a stream of HTTP/2 to an endpoint and has `talk` use both of its halves, without a
    /// bound on the time. An endpoint that does not speak HTTP/2 is an error. `may_repeat` says
    /// whether `talk` may begin again where an idle connection turns out to be closed.
    pub async fn talk<T>(
        &self,
        endpoints: &Endpoints,
        head: &RequestHead,
        bounds: &Bounds,
        talk: impl AsyncFn(RequestSink<'_>, ResponseSource<'_>) -> Result<T, Error>,
        may_repeat: &dyn Fn() -> bool,
    ) -> Result<T, Error> {
        let ask = Ask { method: &head.method, key: None, first: None };
        tries::run(endpoints, &self.targets, ask, u64::MAX, async |to| {
            let outcome = match self.connection(to, bounds).await {
                Ok(Connection::Http1(_)) => {
                    Err(Error::BadResponse("upstream is not spoken to by HTTP/2 (h2://)"))
                }
                Ok(mut connection) => {
                    connection.begin(u64::MAX, limits::DURATION_MAX);
                    let authority = match head.authority.as_str() {
                        "" => &to.endpoint.authority,
                        named => named,
                    };
                    connection.head(head, authority, &head.path, &Fields::new());
                    let (sink, source) = connection.halves();
                    let outcome = talk(sink, source).await;
                    if outcome.is_ok() {
                        to.answered(200);
                    }
                    outcome
                }
                Err(error) => Err(error),
            };
            let is_stale = matches!(outcome, Err(Error::UpstreamStale));
            let is_whole = may_repeat();
            let is_repeatable = is_stale && is_whole;
            outcome.map_err(|error| Failure { error, is_repeatable, is_whole })
        })
        .await
    }

    async fn connection(&self, to: Try<'_>, bounds: &Bounds) -> Result<Connection, Error> {
        match self.idle(to) {
            Some(there) => Ok(there),
            None => self.connect(to, bounds).await,
        }
    }

    /// A connection that is there for a try, unless it must be fresh.
    pub(crate) fn idle(&self, Try { endpoint, is_fresh, .. }: Try<'_>) -> Option<Connection> {
        let spoken = endpoint.address.spoken();
        if is_fresh { None } else { self.pool.there(endpoint.id, spoken) }
    }

    /// A new connection for a try.
    pub(crate) async fn connect(
        &self,
        Try { endpoint, .. }: Try<'_>,
        bounds: &Bounds,
    ) -> Result<Connection, Error> {
        self.pool.shrink(self.targets.admission().idle_max());
        let stream = connect(&endpoint.address, bounds.connect).await?;
        if stream.is_http2(&endpoint.address) {
            let means = h2::Means {
                deadlines: &self.deadlines,
                pool: &self.buffers,
                budget: &self.budget,
                body_timeout: bounds.body,
                head_bytes_max: bounds.head_bytes_max,
            };
            let shared = h2::Shared::start(stream, &means);
            return Ok(Connection::Http2(self.pool.share(endpoint.id, &shared)));
        }
        let connection = h1::Connection::new(stream, &self.deadlines, bounds.body, &self.buffers);
        Ok(Connection::Http1(connection))
    }

    /// Keeps the connection of a try that has ended well.
    pub(crate) fn keep(&self, to: Try<'_>, connection: Connection, bounds: &Bounds) {
        if let Some(mut connection) = connection.into_reusable() {
            connection.rest();
            self.pool.give(to.endpoint.id, connection, bounds.idle_max);
        }
    }

    async fn attempt(
        &self,
        mut connection: Connection,
        to: Try<'_>,
        message: Message<'_>,
        bounds: &Bounds,
        bytes_max: usize,
    ) -> Result<Answer, Error> {
        // The caller bounds the whole.
        connection.begin(u64::MAX, bounds.body);
        let path = &message.head.path;
        let authority = match message.head.authority.as_str() {
            "" => &to.endpoint.authority,
            named => named,
        };
        connection.head(message.head, authority, path, &Fields::new());
        let (mut request, mut response) = connection.halves();
        let (outcome, is_sent) = {
            let answer = pin!(self.answer(to, &mut response, message.head, bounds, bytes_max));
            self.send(&mut request, message, answer).await
        };
        if is_sent && outcome.is_ok() {
            self.keep(to, connection, bounds);
        }
        outcome
    }

    /// Sends the body while the answer is awaited: an origin may answer early and close.
    async fn send(
        &self,
        sink: &mut RequestSink<'_>,
        message: Message<'_>,
        answer: Pin<&mut impl Future<Output = Result<Answer, Error>>>,
    ) -> (Result<Answer, Error>, bool) {
        if message.head.body == BodyLength::Empty {
            let is_sent = sink.finish(&Fields::new()).await.is_ok();
            return (answer.await, is_sent);
        }
        let mut body = Replay::<ResponseSource<'_>>::new(message.body, None, &self.buffers);
        let pump = pin!(relay::pump(&mut body, sink, Trailers::Named(&[])));
        let mut alongside = Alongside::new(pump);
        let outcome = alongside.run(answer).await;
        (outcome, alongside.is_complete())
    }

    async fn answer(
        &self,
        to: Try<'_>,
        source: &mut ResponseSource<'_>,
        request: &RequestHead,
        bounds: &Bounds,
        bytes_max: usize,
    ) -> Result<Answer, Error> {
        let mut answer = Answer::default();
        let (method, head) = (&request.method, &mut answer.head);
        let wait = to.bound().unwrap_or(limits::DURATION_MAX);
        read_final_head(source, method, wait, bounds.head_bytes_max, head).await?;
        to.answered(answer.head.status);
        if to.passes_over(answer.head.status) {
            return Err(Error::Unavailable(answer.head.status));
        }
        let announced = answer.head.has_body(method)
            && matches!(answer.head.body, BodyLength::Known(n) if n > bytes_max as u64);
        if announced {
            return Err(Error::ResponseTooLarge);
        }
        let (held, unbounded) = (Held::of(&self.budget), Cell::new(usize::MAX));
        answer.body = read_whole_body(source, bytes_max, &unbounded, &self.buffers, &held).await?;
        answer.held = Some(SendWrapper::new(held));
        Ok(answer)
    }
}

/// Reads the head of an answer that goes to nobody but the gateway: interim ones are passed over.
/// `wait` is for each of them.
pub async fn read_final_head(
    source: &mut ResponseSource<'_>,
    method: &Method,
    wait: Duration,
    bytes_max: usize,
    into: &mut ResponseHead,
) -> Result<(), Error> {
    loop {
        source.read_head(method, wait, bytes_max, into).await?;
        match into.status {
            101 => return Err(Error::BadResponse("upstream switched protocols unasked")),
            100..200 => {}
            _ => return Ok(()),
        }
    }
}

/// Reads the body that follows: at most `bytes_max`, and no more than `bytes_left` has for all the
/// answers that are read side by side (`Error::ResponseTooLarge`).
pub async fn read_whole_body(
    source: &mut ResponseSource<'_>,
    bytes_max: usize,
    bytes_left: &Cell<usize>,
    buffers: &BufferPool,
    held: &Held,
) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = source.next().await? {
        held.make_room(&mut body, chunk.len(), usize::MAX)?;
        let left = bytes_left.get().checked_sub(chunk.len());
        body.extend_from_slice(chunk.bytes());
        buffers.give(chunk.into_parts().0);
        bytes_left.set(left.ok_or(Error::ResponseTooLarge)?);
        if body.len() > bytes_max {
            return Err(Error::ResponseTooLarge);
        }
    }
    Ok(body)
}
