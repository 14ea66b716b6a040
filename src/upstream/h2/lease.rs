//! One request over a connection that many share: a stream.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::Shared;
use crate::error::Error;
use crate::http::h2::frame::Code;
use crate::http::h2::head;
use crate::http::h2::incoming::Incoming;
use crate::http::message::{Fields, Method, RequestHead, ResponseHead};
use crate::http::relay::{BodySink, BodySource};
use crate::io::buffer::Chunk;
use crate::io::deadline::{Timer, now_ms};
use crate::limits::STREAM_QUEUE_BYTES;

/// A stream. Dropping it ends it, whatever is under way on it.
#[derive(Debug)]
pub struct Lease {
    /// The half that the request goes out by.
    pub request: RequestSink,
    /// The half that the response comes in by.
    pub response: ResponseSource,
    stream: Rc<Stream>,
}

/// What both halves know.
#[derive(Debug)]
struct Stream {
    shared: Rc<Shared>,
    incoming: Rc<Incoming>,
    /// When all must be over.
    expires_ms: Cell<u64>,
    /// How long its bodies may stand still.
    body_timeout: Cell<Duration>,
    /// Nothing of a response has come.
    is_silent: Cell<bool>,
    /// Others have been answered over this connection.
    is_reused: bool,
    /// It goes on when its request is sent: an extended CONNECT.
    is_open_ended: Cell<bool>,
}

impl Lease {
    /// One that opens its stream with the first bytes of its request.
    pub fn new(shared: &Rc<Shared>) -> Box<Self> {
        let stream = Rc::new(Stream {
            shared: shared.clone(),
            incoming: Incoming::new(0, false, &shared.budget),
            expires_ms: Cell::new(u64::MAX),
            body_timeout: Cell::new(shared.body_timeout),
            is_silent: Cell::new(true),
            is_reused: shared.has_served.get(),
            is_open_ended: Cell::new(false),
        });
        Box::new(Self {
            request: RequestSink {
                block: Vec::new(),
                first: None,
                is_head: false,
                is_grpc: false,
                timer: shared.deadlines.timer(),
                stream: stream.clone(),
                is_stalled: false,
            },
            response: ResponseSource {
                timer: shared.deadlines.timer(),
                trailers: Fields::new(),
                is_bodyless: false,
                stream: stream.clone(),
            },
            stream,
        })
    }

    /// The request must be answered whole before `expires_ms`; its bodies may stand still for
    /// `body_timeout`.
    pub fn begin(&mut self, expires_ms: u64, body_timeout: Duration) {
        self.stream.expires_ms.set(expires_ms);
        self.stream.body_timeout.set(body_timeout);
    }

    /// Whether the origin takes extended CONNECT (RFC 8441), which it has so long to say.
    pub async fn takes_connect(&mut self, patience: Duration) -> Result<bool, Error> {
        let Self { stream, request, .. } = self;
        let shared = &stream.shared;
        stream.arm(&request.timer, patience);
        let said = stream.wait(&request.timer, |cx| {
            let codec = shared.codec.borrow();
            if codec.has_settings() {
                return Some(Ok(codec.takes_extended_connect()));
            }
            shared.wakes_when_settled(cx.waker());
            // Nobody has the stream yet, who would be told.
            shared.is_over.get().then_some(Err(Error::UpstreamGone))
        });
        said.await
    }

    /// Encodes the head of an extended CONNECT, to be written with what follows.
    pub fn connect_head(
        &mut self,
        head: &RequestHead,
        authority: &str,
        path: &str,
        protocol: &str,
    ) {
        self.stream.is_open_ended.set(true);
        self.request.block.clear();
        let block = &mut self.request.block;
        let is_tls = self.stream.shared.is_tls;
        head::connect_head(head, (authority, path), is_tls, protocol, block);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Stream { shared, incoming, .. } = &*self.stream;
        if incoming.id.get() > 0 {
            shared.release(incoming.id.get(), Code::Cancel);
        }
    }
}

impl Stream {
    /// Why nothing more comes or goes, if that is so.
    fn failure(&self) -> Option<Error> {
        let code = self.incoming.reset_code()?;
        let is_silent = self.is_silent.get();
        Some(match code {
            Code::RefusedStream if is_silent => Error::UpstreamRefused,
            // The connection was over before the request came.
            _ if is_silent && self.is_reused && self.shared.is_over.get() => Error::UpstreamStale,
            Code::Protocol => Error::BadResponse("upstream sent a malformed response of HTTP/2"),
            _ => Error::UpstreamGone,
        })
    }

    /// Awaits what `poll` says; it fails when the stream does, or when the timer fires.
    async fn wait<T>(
        &self,
        timer: &Timer,
        mut poll: impl FnMut(&Context<'_>) -> Option<Result<T, Error>>,
    ) -> Result<T, Error> {
        let outcome = std::future::poll_fn(|cx| {
            if let Some(outcome) = poll(cx) {
                return Poll::Ready(outcome);
            }
            if let Some(error) = self.failure() {
                return Poll::Ready(Err(error));
            }
            if timer.poll_fired(cx) {
                return Poll::Ready(Err(Error::UpstreamTimeout));
            }
            self.incoming.wakes(cx);
            Poll::Pending
        })
        .await;
        timer.disarm();
        outcome
    }

    fn arm(&self, timer: &Timer, wait: Duration) {
        let at_ms = now_ms().saturating_add(wait.as_millis() as u64);
        timer.arm_at(at_ms.min(self.expires_ms.get()));
    }

    fn is_sent(&self) -> bool {
        let id = self.incoming.id.get();
        id > 0 && (self.is_open_ended.get() || self.shared.codec.borrow().is_sent(id))
    }
}

/// Writes the request.
#[derive(Debug)]
pub struct RequestSink {
    /// The head as a field block, until the stream is open.
    block: Vec<u8>,
    /// The first piece of the body, until then.
    first: Option<Chunk>,
    is_head: bool,
    /// It is a call of gRPC: servers wait for DATA that ends it, also where there is none (gRPC
    /// over HTTP/2, "Requests").
    is_grpc: bool,
    timer: Timer,
    stream: Rc<Stream>,
    is_stalled: bool,
}

impl RequestSink {
    /// Encodes a request head, to be written with what follows. The fields of `set` stand in the
    /// place of those of their names.
    pub fn head(&mut self, head: &RequestHead, authority: &str, path: &str, set: &Fields) {
        self.is_head = head.method == Method::Head;
        self.is_grpc = head::is_grpc(&head.fields);
        self.block.clear();
        let is_tls = self.stream.shared.is_tls;
        head::request_head(head, (authority, path), is_tls, set, &mut self.block);
    }

    /// Whether the request went out no further because the origin did not take it.
    pub fn is_stalled(&self) -> bool {
        self.is_stalled
    }

    /// Opens the stream, if it is not. `ends`: the head is all of the request.
    fn open(&mut self, ends: bool) -> Result<(), Error> {
        let Stream { shared, incoming, .. } = &*self.stream;
        if let Some(error) = self.stream.failure() {
            return Err(error);
        }
        if incoming.id.get() > 0 {
            return Ok(());
        }
        let mut codec = shared.codec.borrow_mut();
        let opened = match shared.is_over.get() {
            true => None,
            false => codec.open(&self.block, ends, self.is_head, incoming.clone()),
        };
        let id = opened.ok_or(Error::UpstreamRefused)?;
        incoming.id.set(id);
        if self.stream.is_open_ended.get() {
            codec.is_connect(id);
        }
        if let Some(first) = self.first.take() {
            codec.queue(id, first);
        }
        Ok(())
    }

    /// Waits until the origin has taken what waits, but for so much; `None`: all of it.
    async fn until_sent(&mut self, most: Option<usize>) -> Result<(), Error> {
        let Self { stream, timer, is_stalled, .. } = self;
        let id = stream.incoming.id.get();
        let mut queued = usize::MAX;
        let outcome = stream
            .wait(timer, |_| {
                let codec = stream.shared.codec.borrow();
                let left = codec.queued(id);
                let is_sent = most.map_or_else(|| codec.is_sent(id), |most| left <= most);
                if left < queued {
                    queued = left;
                    stream.arm(timer, stream.body_timeout.get());
                }
                // A stream that was reset counts as sent.
                (is_sent && !stream.incoming.is_reset()).then_some(Ok(()))
            })
            .await;
        *is_stalled |= outcome == Err(Error::UpstreamTimeout);
        outcome
    }
}

impl BodySink for RequestSink {
    async fn write(&mut self, chunk: Chunk) -> Result<(), Error> {
        if self.stream.incoming.id.get() == 0 && self.first.is_none() {
            self.first = Some(chunk);
            return Ok(());
        }
        self.open(false)?;
        let id = self.stream.incoming.id.get();
        let queued = {
            let mut codec = self.stream.shared.codec.borrow_mut();
            codec.flush(id);
            codec.queue(id, chunk);
            codec.queued(id)
        };
        if queued > STREAM_QUEUE_BYTES {
            self.flush().await?;
            self.until_sent(Some(STREAM_QUEUE_BYTES)).await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.open(false)?;
        self.stream.shared.codec.borrow_mut().flush(self.stream.incoming.id.get());
        self.stream.shared.kick();
        Ok(())
    }

    async fn finish(&mut self, trailers: &Fields) -> Result<(), Error> {
        let is_unopened = self.stream.incoming.id.get() == 0;
        if is_unopened && self.first.is_none() && trailers.is_empty() && !self.is_grpc {
            self.open(true)?;
        } else {
            self.open(false)?;
            let mut block = Vec::new();
            head::trailers(trailers, &mut block);
            let trailers = (!block.is_empty()).then_some(block);
            let mut codec = self.stream.shared.codec.borrow_mut();
            codec.finish(self.stream.incoming.id.get(), trailers);
        }
        self.stream.shared.kick();
        self.until_sent(None).await
    }
}

/// Reads the response.
#[derive(Debug)]
pub struct ResponseSource {
    timer: Timer,
    trailers: Fields,
    /// The response has no body, whatever its head says.
    is_bodyless: bool,
    stream: Rc<Stream>,
}

impl ResponseSource {
    /// Reads a response head, interim ones (1xx) included; the body is next. `wait` counts from the
    /// end of the request.
    pub async fn read_head(
        &mut self,
        method: &Method,
        wait: Duration,
        into: &mut ResponseHead,
    ) -> Result<(), Error> {
        let Self { stream, timer, .. } = self;
        timer.arm_at(stream.expires_ms.get());
        let has_waited = Cell::new(false);
        let head = RefCell::new(None);
        stream
            .wait(timer, |_| {
                if let Some(next) = stream.incoming.next_head() {
                    *head.borrow_mut() = Some(next);
                    return Some(Ok(()));
                }
                if !has_waited.get() && stream.is_sent() {
                    has_waited.set(true);
                    stream.arm(timer, wait);
                }
                None
            })
            .await?;
        stream.is_silent.set(false);
        stream.shared.has_served.set(true);
        *into = head.into_inner().unwrap_or_default();
        self.is_bodyless = !into.has_body(method);
        Ok(())
    }
}

impl ResponseSource {
    /// The next bytes of a stream that has become a tunnel; nothing bounds the wait.
    pub async fn next_raw(&mut self) -> Result<Option<Chunk>, Error> {
        let Self { stream, timer, .. } = self;
        let incoming = &stream.incoming;
        let ready = |_: &Context<'_>| match incoming.is_over_budget() {
            true => Some(Err(Error::OverBudget)),
            false => incoming.is_ready().then_some(Ok(())),
        };
        stream.wait(timer, ready).await?;
        BodySource::next(self).await
    }
}

impl BodySource for ResponseSource {
    fn is_ready(&self) -> bool {
        // That the stream has failed needs no waiting either.
        let incoming = &self.stream.incoming;
        self.is_bodyless || incoming.is_ready() || incoming.is_reset()
    }

    async fn next(&mut self) -> Result<Option<Chunk>, Error> {
        if self.is_bodyless {
            return Ok(None);
        }
        let Self { stream, timer, .. } = self;
        let incoming = &stream.incoming;
        if !incoming.is_ready() {
            stream.arm(timer, stream.body_timeout.get());
            let ready = |_: &Context<'_>| match incoming.is_over_budget() {
                true => Some(Err(Error::OverBudget)),
                false => incoming.is_ready().then_some(Ok(())),
            };
            stream.wait(timer, ready).await?;
        }
        match incoming.next_piece() {
            Some(piece) => {
                let end = piece.len();
                stream.shared.codec.borrow_mut().used(incoming.id.get(), end);
                stream.shared.kick();
                Ok(Some(Chunk::new(piece, 0..end)))
            }
            None if incoming.is_over_budget() => Err(Error::OverBudget),
            None => {
                self.trailers = incoming.take_trailers();
                Ok(None)
            }
        }
    }

    fn is_done(&self) -> bool {
        self.is_bodyless || self.stream.incoming.is_done()
    }

    fn trailers(&self) -> &Fields {
        &self.trailers
    }
}
