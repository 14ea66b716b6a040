//! One upstream connection: a request goes out, a response comes in, the two overlap.
//!
//! HTTP/1.1 for now. An HTTP/2 connection offers the same two halves per stream.

use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Duration;

use super::connect::UpstreamStream;
use crate::error::Error;
use crate::http::h1::receive::{BodyFailure, HeadFailure, Receiver};
use crate::http::h1::send::Sender;
use crate::http::h1::{encode, head};
use crate::http::message::{BodyLength, Fields, Method, RequestHead, ResponseHead};
use crate::http::relay::{BodySink, BodySource};
use crate::io::buffer::{BufferPool, Chunk};
use crate::io::deadline::{Deadlines, now_ms};
use crate::io::stream::{self, Direction};

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
}

/// Reads responses.
#[derive(Debug)]
pub struct ResponseSource {
    receiver: Receiver<UpstreamStream>,
    body_timeout: Duration,
    /// When the whole exchange must be over, by the clock of `deadline::now_ms`.
    expires_ms: u64,
    /// A response has been read from this connection before.
    is_reused: bool,
    /// The last response leaves the connection usable, once its body is read.
    is_keep_alive: bool,
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
        Box::new(Self {
            request: RequestSink { sender },
            response: ResponseSource {
                receiver,
                body_timeout,
                expires_ms: u64::MAX,
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
    }

    /// Prepares for the next request, which must be answered whole before `expires_ms`.
    pub fn begin(&mut self, expires_ms: u64) {
        self.response.expires_ms = expires_ms;
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
}

impl ResponseSource {
    /// Reads a response head, interim ones (1xx) included; the body is next.
    pub async fn read_head(
        &mut self,
        method: &Method,
        wait: Duration,
        bytes_max: usize,
        into: &mut ResponseHead,
    ) -> Result<(), Error> {
        self.arm(wait);
        let bytes =
            self.receiver.read_head(bytes_max).await.map_err(|failure| self.head_error(failure))?;
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
            _ if self.receiver.deadline.has_fired() => Error::UpstreamTimeout,
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

    fn arm(&mut self, wait: Duration) {
        let at = now_ms().saturating_add(wait.as_millis() as u64).min(self.expires_ms);
        self.receiver.deadline.arm_at(at, Direction::Both);
    }
}

impl BodySource for ResponseSource {
    fn is_ready(&self) -> bool {
        self.receiver.is_ready()
    }

    async fn next(&mut self) -> Result<Option<Chunk>, Error> {
        if !self.receiver.is_ready() {
            self.arm(self.body_timeout);
        }
        self.receiver.next_chunk().await.map_err(|failure| match failure {
            BodyFailure::Timeout => Error::UpstreamTimeout,
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
        self.sender.body(chunk).await.map_err(|_| Error::UpstreamGone)
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.sender.flush().await.map_err(|_| Error::UpstreamGone)
    }

    async fn finish(&mut self, trailers: &Fields) -> Result<(), Error> {
        self.sender.finish(trailers).await.map_err(|_| Error::UpstreamGone)
    }
}
