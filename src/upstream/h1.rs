//! One upstream connection: a request goes out, a response comes in, the two overlap.
//!
//! HTTP/1.1 for now. An HTTP/2 connection offers the same two halves per stream.
//!
//! What bounds a wait runs only while that wait lasts: a client that is slow to take the response,
//! or slow to send the request, is not the origin's silence ([`Silence`]).

use std::cell::Cell;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Duration;

use super::connect::UpstreamStream;
use crate::error::Error;
use crate::http::h1::receive::{BodyFailure, HeadFailure, Receiver};
use crate::http::h1::send::{Sender, WriteFailed};
use crate::http::h1::{encode, head};
use crate::http::message::{BodyLength, Fields, Method, RequestHead, ResponseHead};
use crate::http::relay::{BodySink, BodySource};
use crate::http::upgrade::{TunnelSink, TunnelSource};
use crate::io::buffer::{BufferPool, Chunk};
use crate::io::deadline::{Deadline, Deadlines, now_ms};
use crate::io::stream::{self, Direction};
use crate::limits::LATE_MESSAGE_TIMEOUT;

/// A connection to an endpoint.
#[derive(Debug)]
pub struct Connection {
    /// The half that requests go out by.
    pub request: RequestSink,
    /// The half that responses come in by.
    pub response: ResponseSource,
    fd: RawFd,
}

/// Writes requests.
#[derive(Debug)]
pub struct RequestSink {
    sender: Sender<UpstreamStream>,
    fd: RawFd,
    silence: Rc<Silence>,
}

/// Reads responses.
#[derive(Debug)]
pub struct ResponseSource {
    receiver: Receiver<UpstreamStream>,
    body_timeout: Duration,
    silence: Rc<Silence>,
    /// A response has been read from this connection before.
    is_reused: bool,
    /// The last response leaves the connection usable, once its body is read.
    is_keep_alive: bool,
}

/// How long the origin may be silent. Its time runs while it alone is waited for: from the end of
/// the request, and while nobody is busy with what it has sent. Otherwise what bounds it is the end
/// of the whole exchange.
#[derive(Debug)]
struct Silence {
    /// That of the half that reads.
    deadline: Rc<Deadline>,
    /// When the whole exchange must be over, by the clock of `deadline::now_ms`.
    expires_ms: Cell<u64>,
    /// The request is on its way: the waits for the client, and for the origin to take it, have
    /// bounds of their own.
    is_sending: Cell<bool>,
    /// The origin did not take the request in time, by which the connection has ended.
    is_stalled: Cell<bool>,
    /// How long who waits for the origin does so.
    wait: Cell<Option<Duration>>,
}

impl Silence {
    /// A request begins that must be answered whole before `expires_ms`.
    fn begin(&self, expires_ms: u64) {
        self.expires_ms.set(expires_ms);
        self.is_sending.set(true);
        self.wait.set(None);
        self.arm();
    }

    /// The request has been sent, or no more of it will be.
    fn sent(&self) {
        self.is_sending.set(false);
        if self.wait.get().is_some() {
            self.arm();
        }
    }

    /// Somebody waits for the origin, so long.
    fn begins(&self, wait: Duration) {
        self.wait.set(Some(wait));
        self.arm();
    }

    /// Nobody does any more.
    fn ends(&self) {
        self.wait.set(None);
        self.arm();
    }

    /// Whether the end of a read, or its failure, was made by a bound that has passed.
    fn is_over(&self) -> bool {
        self.deadline.has_fired() || self.is_stalled.get()
    }

    fn arm(&self) {
        let expires_ms = self.expires_ms.get();
        let at_ms = match self.wait.get() {
            Some(wait) if !self.is_sending.get() => {
                now_ms().saturating_add(wait.as_millis() as u64).min(expires_ms)
            }
            _ => expires_ms,
        };
        self.deadline.arm_at(at_ms, Direction::Both);
    }
}

impl Connection {
    /// Puts HTTP/1.1 on a new stream. Boxed: it is handed from place to place for each request.
    pub fn new(
        stream: UpstreamStream,
        deadlines: &Deadlines,
        body_timeout: Duration,
        pool: &Rc<BufferPool>,
    ) -> Box<Self> {
        let (read, write, fd) = stream::split(stream);
        let receiver = Receiver::new(read, deadlines.register(fd), pool.clone());
        let sender = Sender::new(write, deadlines.register(fd), body_timeout, pool.clone());
        let silence = Rc::new(Silence {
            deadline: receiver.deadline.clone(),
            expires_ms: Cell::new(u64::MAX),
            is_sending: Cell::new(false),
            is_stalled: Cell::new(false),
            wait: Cell::new(None),
        });
        Box::new(Self {
            request: RequestSink { sender, fd, silence: silence.clone() },
            response: ResponseSource {
                receiver,
                body_timeout,
                silence,
                is_reused: false,
                is_keep_alive: false,
            },
            fd,
        })
    }

    /// Whether the idle connection is open and silent.
    pub fn is_quiet(&mut self) -> bool {
        let receiver = &mut self.response.receiver;
        if receiver.is_ahead() { !receiver.has_ahead_ended() } else { stream::is_quiet(self.fd) }
    }

    /// Notices from now on, without being asked, what happens to the idle connection; holds a
    /// buffer for it.
    pub fn read_ahead(&mut self) {
        self.response.receiver.read_ahead();
    }

    /// Whether it does.
    pub fn is_ahead(&self) -> bool {
        self.response.receiver.is_ahead()
    }

    /// Whether another request may follow, given that this one was sent whole.
    pub fn is_reusable(&self) -> bool {
        let response = &self.response;
        response.is_keep_alive
            && response.receiver.is_body_done()
            && !response.receiver.has_unread()
            && !response.silence.is_over()
    }

    /// Prepares for the next request, which must be answered whole before `expires_ms`; its bodies
    /// may stand still for `body_timeout`.
    pub fn begin(&mut self, expires_ms: u64, body_timeout: Duration) {
        self.response.body_timeout = body_timeout;
        self.request.sender.set_write_timeout(body_timeout);
        self.response.silence.begin(expires_ms);
    }

    /// Goes on with another protocol, of which the origin may have said something already. A step
    /// of what is written may take so long.
    pub fn begin_raw(&mut self, stall: Duration) {
        self.begin(u64::MAX, stall);
        self.response.receiver.begin_raw();
    }

    /// Prepares for lying idle: no buffer, no deadline.
    pub fn rest(&mut self) {
        self.response.receiver.deadline.disarm();
        self.response.receiver.release();
        self.response.is_reused = true;
    }
}

impl RequestSink {
    /// Encodes a request head, to be written with what follows. The fields of `set` stand in the
    /// place of those of their names.
    pub fn head(&mut self, head: &RequestHead, authority: &str, path: &str, set: &Fields) {
        self.sender.head(|out| encode::request_head(head, authority, path, set, out));
    }

    /// Encodes a head that asks to go on with another protocol.
    pub fn upgrade_head(&mut self, head: &RequestHead, authority: &str, path: &str, to: &str) {
        self.sender.head(|out| encode::upgrade_head(head, authority, path, to, out));
    }

    /// Whether the request went out no further because the origin did not take it.
    pub fn is_stalled(&self) -> bool {
        self.silence.is_stalled.get() || self.sender.waits() >= LATE_MESSAGE_TIMEOUT
    }

    /// No more of the request goes out; the origin may have answered all the same.
    fn write_error(&self) -> Error {
        // The end of the whole exchange also ends a write that has only just begun.
        let is_over = self.silence.deadline.has_fired();
        let is_stalled =
            self.sender.has_timed_out() || is_over && self.sender.waits() >= LATE_MESSAGE_TIMEOUT;
        self.silence.is_stalled.set(is_stalled);
        self.silence.sent();
        if is_over || is_stalled { Error::UpstreamTimeout } else { Error::UpstreamGone }
    }
}

impl ResponseSource {
    /// Reads a response head, interim ones (1xx) included; the body is next. `wait` counts from the
    /// end of the request.
    pub async fn read_head(
        &mut self,
        method: &Method,
        wait: Duration,
        bytes_max: usize,
        into: &mut ResponseHead,
    ) -> Result<(), Error> {
        self.silence.begins(wait);
        let outcome = self.receiver.read_head(bytes_max).await;
        self.silence.ends();
        let bytes = outcome.map_err(|failure| self.head_error(failure))?;
        let facts = head::parse_response(self.receiver.head_bytes(bytes), into)?;
        let has_body = into.has_body(method);
        let body = if has_body { into.body } else { BodyLength::Empty };
        self.receiver.begin_body(facts.length, body, facts.is_chunked, u64::MAX);
        let ends_by_closing = has_body && body == BodyLength::Unknown && !facts.is_chunked;
        self.is_keep_alive = facts.is_keep_alive && !ends_by_closing;
        Ok(())
    }

    fn head_error(&self, failure: HeadFailure) -> Error {
        match failure {
            _ if self.silence.is_over() => Error::UpstreamTimeout,
            HeadFailure::Nothing if self.is_reused => Error::UpstreamStale,
            HeadFailure::Nothing | HeadFailure::Closed | HeadFailure::Timeout => {
                Error::UpstreamGone
            }
            HeadFailure::StartLineTooLong | HeadFailure::TooLarge => {
                Error::BadResponse("upstream sent a response head over server.limits.headBytesMax")
            }
            HeadFailure::BareLineFeed => Error::BadResponse(head::BARE_LINE_FEED_UPSTREAM),
        }
    }
}

impl BodySource for ResponseSource {
    fn is_ready(&self) -> bool {
        self.receiver.is_ready()
    }

    async fn next(&mut self) -> Result<Option<Chunk>, Error> {
        let outcome = match self.receiver.chunk_at_hand() {
            Ok(None) if !self.receiver.is_body_done() => {
                self.silence.begins(self.body_timeout);
                let outcome = self.receiver.next_chunk().await;
                self.silence.ends();
                outcome
            }
            outcome => outcome,
        };
        if self.receiver.is_body_done() {
            // The connection may be kept for longer than this exchange: the client takes its time.
            self.receiver.deadline.disarm();
        }
        outcome.map_err(|failure| match failure {
            BodyFailure::Timeout => Error::UpstreamTimeout,
            BodyFailure::Closed if self.silence.is_over() => Error::UpstreamTimeout,
            BodyFailure::Closed | BodyFailure::TooLarge => Error::UpstreamGone,
            BodyFailure::Malformed(reason) => Error::BadResponseBody(reason),
        })
    }

    fn is_done(&self) -> bool {
        self.receiver.is_body_done()
    }

    fn trailers(&self) -> &Fields {
        self.receiver.trailers()
    }
}

impl BodySink for RequestSink {
    async fn write(&mut self, chunk: Chunk) -> Result<(), Error> {
        self.sender.body(chunk).await.map_err(|WriteFailed| self.write_error())
    }

    async fn copy(&mut self, piece: &[u8], pool: &BufferPool) -> Result<(), Error> {
        match self.sender.copy(piece).await {
            Ok(true) => Ok(()),
            Ok(false) => self.write(Chunk::copy_of(piece, pool)).await,
            Err(WriteFailed) => Err(self.write_error()),
        }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.sender.flush().await.map_err(|WriteFailed| self.write_error())
    }

    async fn finish(&mut self, trailers: &Fields) -> Result<(), Error> {
        let outcome = self.sender.finish(trailers).await;
        outcome.map_err(|WriteFailed| self.write_error())?;
        self.silence.sent();
        Ok(())
    }
}

impl TunnelSource for ResponseSource {
    fn has_raw(&self) -> bool {
        self.receiver.is_ready()
    }

    async fn next_raw(&mut self) -> Result<Option<Chunk>, Error> {
        self.receiver.next_raw().await.map_err(|_| Error::UpstreamGone)
    }
}

impl TunnelSink for RequestSink {
    async fn write_raw(&mut self, chunk: Chunk) -> Result<(), Error> {
        self.sender.body(chunk).await.map_err(|WriteFailed| Error::UpstreamGone)
    }

    async fn flush_raw(&mut self) -> Result<(), Error> {
        let flushed = self.sender.finish(&Fields::new()).await;
        flushed.map_err(|WriteFailed| Error::UpstreamGone)
    }

    async fn end_raw(&mut self) -> Result<(), Error> {
        self.flush_raw().await?;
        self.sender.say_end().await;
        stream::shutdown(self.fd, Direction::Write);
        Ok(())
    }
}
