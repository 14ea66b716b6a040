//! One downstream HTTP/1 connection: wait, read a head, run the exchange, again.
//!
//! Holds no buffer once it has waited a second for a request. Generic over the byte stream, so that
//! TLS attaches by its stream type alone; an HTTP/2 connection is a sibling of this file that calls
//! the same [`exchange::run`] once per stream.

mod tunnel;

use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Duration;

use super::body_rate::BodyRate;
use super::frontend::Frontend;
use super::h2;
use super::linger::{is_settled, linger};
use crate::error::{Error, Side};
use crate::exchange::{self, Core, Reply, Scratch, Tunnel};
use crate::http::connection::{Connection, Protocol};
use crate::http::h1::encode::{self, ResponseForm};
use crate::http::h1::head::{self, HeadFacts};
use crate::http::h1::receive::{BodyFailure, HeadFailure, Receiver, Start, Wait};
use crate::http::h1::send::Sender;
use crate::http::h2::frame::PREFACE;
use crate::http::message::{Fields, Method, ResponseHead};
use crate::http::relay::{BodySink, BodySource};
use crate::io::buffer::{BufferPool, Chunk};
use crate::io::deadline::{Deadline, now_ms};
use crate::io::stream::{self, Direction, Stream};

/// Serves a connection until it closes.
pub async fn serve<S: Stream>(stream: S, connection: Rc<Connection>, frontend: Rc<Frontend>) {
    let worker = &frontend.core;
    let snapshot = worker.snapshot();
    let body_timeout = snapshot.timeouts.body;
    drop(snapshot);
    let (read, write, fd) = stream::split(stream);
    let pool = worker.shared_buffers().clone();
    let receiver = Receiver::new(read, worker.deadlines().register(fd), pool.clone());
    let sender = Sender::new(write, worker.deadlines().register(fd), body_timeout, pool);
    let (rate, expires_ms) = (BodyRate::default(), u64::MAX);
    let client = receiver.deadline.clone();
    if !S::IS_PORTABLE {
        client.bind();
    }
    let mut body = RequestBody { receiver, body_timeout, rate, expires_ms };
    let mut reply = HttpReply::new(sender, fd, frontend.clone());

    loop {
        if S::IS_PORTABLE && body.receiver.is_at_rest() && frontend.hand_over(fd, &connection) {
            reply.sender.leave();
            return;
        }
        match serve_one(&mut body, &mut reply, (fd, &connection), &client, &frontend).await {
            // While the worker drains, the wait for it ends soon (`Deadlines::expire_idle`).
            Next::Request => {}
            Next::Linger { sends_on } => {
                reply.say_end().await;
                linger(&mut body.receiver, fd, body_timeout, sends_on).await;
                return;
            }
            Next::Close => return reply.say_end().await,
            Next::Http2 => {
                let (receiver, sender) = (body.receiver, reply.sender);
                let halves = h2::Halves { receiver, sender, fd };
                let facts =
                    Connection { protocol: Protocol::Http2, ..Connection::clone(&connection) };
                // Boxed: a connection of HTTP/1 shall not be as large.
                Box::pin(h2::serve(halves, Rc::new(facts), frontend)).await;
                return;
            }
            Next::Reset => {
                stream::reset_on_close(fd);
                // Dropping it would say the end before the reset.
                reply.sender.leave();
                return;
            }
        }
    }
}

/// What a connection does after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Wait for the next request.
    Request,
    /// Close, but let the client read the response first. `sends_on`: it may still be sending.
    Linger { sends_on: bool },
    /// Close.
    Close,
    /// Close so that what was sent cannot be taken for the whole.
    Reset,
    /// Go on with HTTP/2, of whose preface nothing has been used.
    Http2,
}

async fn serve_one<S: Stream>(
    body: &mut RequestBody<S>,
    reply: &mut HttpReply<S>,
    (fd, connection): (RawFd, &Connection),
    client: &Deadline,
    frontend: &Rc<Frontend>,
) -> Next {
    let worker = &*frontend.core;
    let timeouts = worker.snapshot().timeouts;
    body.receiver.deadline.arm_idle(timeouts.idle, Direction::Read);
    let refused = loop {
        match body.receiver.wait().await {
            Wait::Readable => {}
            Wait::Over | Wait::Broken => return closing(body, fd),
            Wait::Handover => return Next::Request,
        }
        match body.receiver.start_request().await {
            Start::Request => break None,
            Start::Later => {}
            Start::Over => return closing(body, fd),
            Start::Refused(reason) => break Some(Error::BadRequest(reason)),
        }
    };
    if !body.receiver.has_whole_head() {
        body.receiver.deadline.arm(timeouts.head, Direction::Read);
    }
    let mut scratch = worker.take_scratch();
    let read = match refused {
        None => read_request(body, reply, &mut scratch, worker).await,
        Some(error) => {
            reply.begin(HeadFacts::default(), false, false);
            Err(Some(error))
        }
    };
    let outcome = match read {
        // Pooled: a connection that waits for a request must not hold the memory of an exchange.
        Ok(()) => {
            let scratch = &mut scratch;
            let futures = worker.futures();
            let run =
                futures.pooled(|| exchange::run(worker, connection, client, scratch, body, reply));
            run.await
        }
        Err(None) => {
            worker.give_scratch(scratch);
            return Next::Close;
        }
        Err(Some(Error::UnsupportedVersion)) if connection.takes_http2 && is_http2(body, reply) => {
            worker.give_scratch(scratch);
            return Next::Http2;
        }
        Err(Some(error)) => {
            let scratch = &mut scratch;
            worker
                .futures()
                .pooled(|| exchange::refuse(worker, connection, error, scratch, reply))
                .await
        }
    };
    reply.has_served = true;
    worker.account(&outcome);
    worker.give_scratch(scratch);
    if let Some(tunnel) = reply.tunnel.take() {
        // Boxed: no other connection shall be as large.
        return Box::pin(tunnel::run(tunnel, body, reply, connection, worker)).await;
    }
    if !outcome.is_complete {
        reply.is_cut = true;
        return cut(body, reply, outcome.error);
    }
    if !reply.keeps_alive || !body.discard().await {
        let sends_on = !body.is_done() || body.receiver.has_unread() || outcome.error.is_some();
        return if sends_on || !is_settled(fd) { Next::Linger { sends_on } } else { Next::Close };
    }
    Next::Request
}

/// Whether the first that has come is what a connection of HTTP/2 begins with, by prior knowledge
/// (RFC 9113 section 3.3).
#[cold]
fn is_http2<S: Stream>(body: &RequestBody<S>, reply: &HttpReply<S>) -> bool {
    // Its first part, which reads as a head.
    let head = PREFACE.split_at(PREFACE.len() - 6).0;
    !reply.has_served && body.receiver.unread().starts_with(head)
}

/// How a connection ends whose response broke off.
fn cut<S: Stream>(body: &RequestBody<S>, reply: &HttpReply<S>, error: Option<Error>) -> Next {
    match error.map(Error::side) {
        // Its end would look like the end of the response.
        Some(Side::Upstream) if reply.sender.ends_by_closing() => Next::Reset,
        // The length or the last chunk is missing, so the client sees it.
        Some(Side::Upstream) => {
            Next::Linger { sends_on: !body.is_done() || body.receiver.has_unread() }
        }
        _ => Next::Close,
    }
}

/// What to do when no request will come.
fn closing<S: Stream>(body: &RequestBody<S>, fd: RawFd) -> Next {
    // The client may still be taking its last response when its time to ask again is over.
    match body.receiver.deadline.has_fired() && !is_settled(fd) {
        true => Next::Linger { sends_on: false },
        false => Next::Close,
    }
}

/// Reads a request head into `scratch` and prepares body and reply for it. `Err(None)`: nobody is
/// there to answer.
async fn read_request<S: Stream>(
    body: &mut RequestBody<S>,
    reply: &mut HttpReply<S>,
    scratch: &mut Scratch,
    worker: &Core,
) -> Result<(), Option<Error>> {
    reply.begin(HeadFacts::default(), false, false);
    let snapshot = worker.snapshot();
    let limits = snapshot.limits;
    body.begin(snapshot.timeouts.body, limits.body_rate_min);
    drop(snapshot);
    let bytes = match body.receiver.read_head(limits.head_bytes_max).await {
        Ok(bytes) => bytes,
        Err(HeadFailure::Nothing | HeadFailure::Closed) => return Err(None),
        Err(HeadFailure::Timeout) => return Err(Some(Error::HeadTimeout)),
        Err(HeadFailure::StartLineTooLong) => return Err(Some(Error::UriTooLong)),
        Err(HeadFailure::TooLarge) => return Err(Some(Error::HeadTooLarge)),
        Err(HeadFailure::BareLineFeed) => {
            return Err(Some(Error::BadRequest(head::BARE_LINE_FEED)));
        }
    };
    body.receiver.deadline.watch();
    let request = &mut scratch.request;
    let facts = head::parse_request(
        body.receiver.head_bytes(bytes),
        limits.uri_bytes_max,
        limits.head_fields_max,
        request,
    )
    .map_err(Some)?;
    let HeadFacts { length, is_chunked, .. } = facts;
    body.receiver.begin_body(length, request.body, is_chunked, limits.body_bytes_max);
    reply.begin(facts, facts.is_keep_alive, request.method == Method::Head);
    Ok(())
}

/// The body of a request, from an HTTP/1 connection.
struct RequestBody<S: Stream> {
    receiver: Receiver<S>,
    body_timeout: Duration,
    rate: BodyRate,
    /// When the whole exchange must be over.
    expires_ms: u64,
}

impl<S: Stream> RequestBody<S> {
    fn begin(&mut self, timeout: Duration, rate_min: u64) {
        self.body_timeout = timeout;
        self.rate = BodyRate::new(rate_min, timeout);
        self.expires_ms = u64::MAX;
    }

    /// Waits for the next piece.
    async fn wait(&mut self) -> Result<Option<Chunk>, BodyFailure> {
        let begun_ms = now_ms();
        let patience = self.body_timeout.min(self.rate.left());
        let at_ms = begun_ms.saturating_add(patience.as_millis() as u64).min(self.expires_ms);
        self.receiver.deadline.arm_at(at_ms, Direction::Read);
        let outcome = self.receiver.next_chunk().await;
        self.receiver.deadline.disarm();
        self.rate.waited(Duration::from_millis(now_ms().saturating_sub(begun_ms)));
        outcome
    }

    /// Reads what is left of a short body after an early response; whether all of it came.
    async fn discard(&mut self) -> bool {
        loop {
            match self.next().await {
                Ok(Some(chunk)) => self.receiver.give(chunk),
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }
}

impl<S: Stream> BodySource for RequestBody<S> {
    fn is_ready(&self) -> bool {
        self.receiver.is_ready()
    }

    async fn next(&mut self) -> Result<Option<Chunk>, Error> {
        let outcome = match self.receiver.chunk_at_hand() {
            Ok(None) if !self.receiver.is_body_done() => self.wait().await,
            outcome => outcome,
        };
        if let Ok(Some(chunk)) = &outcome {
            self.rate.came(chunk.len());
        }
        outcome.map_err(|failure| match failure {
            BodyFailure::Closed => Error::DownstreamGone,
            BodyFailure::Timeout => Error::BodyTimeout,
            BodyFailure::TooLarge => Error::BodyTooLarge,
            BodyFailure::Malformed(reason) => Error::BadRequestBody(reason),
        })
    }

    fn is_done(&self) -> bool {
        self.receiver.is_body_done()
    }

    fn trailers(&self) -> &Fields {
        self.receiver.trailers()
    }

    fn allow(&mut self, bytes_max: u64) {
        self.receiver.allow(bytes_max);
    }

    fn bound(&mut self, expires_ms: u64) {
        self.expires_ms = expires_ms;
    }
}

/// The response, to an HTTP/1 connection.
struct HttpReply<S: Stream> {
    sender: Sender<S>,
    facts: HeadFacts,
    /// The client sent HEAD: the response ends with its head.
    is_head: bool,
    /// Whether another request may follow: the client's wish, until `head` has decided.
    keeps_alive: bool,
    has_started: bool,
    /// An exchange has been on this connection.
    has_served: bool,
    /// The last response has broken off.
    is_cut: bool,
    /// What goes on when the exchange is over.
    tunnel: Option<Box<Tunnel>>,
    fd: RawFd,
    frontend: Rc<Frontend>,
}

impl<S: Stream> HttpReply<S> {
    fn new(sender: Sender<S>, fd: RawFd, frontend: Rc<Frontend>) -> Self {
        Self {
            sender,
            facts: HeadFacts::default(),
            is_head: false,
            keeps_alive: false,
            has_started: false,
            has_served: false,
            is_cut: false,
            tunnel: None,
            fd,
            frontend,
        }
    }

    /// Says that nothing more comes, where the stream has words for it: not behind a response that
    /// has broken off, which must not look whole.
    async fn say_end(&mut self) {
        if !self.is_cut {
            self.sender.say_end().await;
        }
    }

    fn begin(&mut self, facts: HeadFacts, keeps_alive: bool, is_head: bool) {
        self.facts = facts;
        self.is_head = is_head;
        self.keeps_alive = keeps_alive;
        self.has_started = false;
        self.sender.bound(u64::MAX);
    }
}

impl<S: Stream> Reply for HttpReply<S> {
    fn bound(&mut self, expires_ms: u64) {
        self.sender.bound(expires_ms);
    }

    fn head(&mut self, head: &ResponseHead, has_body: bool, keep_alive: bool) {
        debug_assert!(!self.has_started);
        self.has_started = true;
        let is_http10 = self.facts.is_http10;
        let must_close = encode::must_close(head, is_http10, has_body);
        self.keeps_alive &= keep_alive && !must_close && !self.frontend.ends(S::IS_PORTABLE);
        let form = ResponseForm { is_http10, keep_alive: self.keeps_alive, has_body };
        self.sender.head(|out| encode::response_head(head, form, out));
    }

    async fn switch(&mut self, head: &ResponseHead, protocol: &str) -> Result<(), Error> {
        debug_assert!(!self.has_started);
        self.has_started = true;
        self.keeps_alive = false;
        self.sender.head(|out| encode::switching_head(head, protocol, out));
        self.flush().await
    }

    fn keep_tunnel(&mut self, tunnel: Box<Tunnel>) {
        self.tunnel = Some(tunnel);
    }

    fn tunnel(&mut self) -> Option<&mut Tunnel> {
        self.tunnel.as_deref_mut()
    }

    async fn interim(&mut self, head: &ResponseHead) -> Result<(), Error> {
        // RFC 9110 section 15.2: an HTTP/1.0 client does not know them.
        if self.facts.is_http10 {
            return Ok(());
        }
        self.sender.head(|out| {
            encode::interim(head, out);
            encode::Framing::Plain
        });
        self.flush().await
    }

    async fn invite_body(&mut self) -> Result<(), Error> {
        if !std::mem::take(&mut self.facts.expects_continue) {
            return Ok(());
        }
        self.interim(&ResponseHead { status: 100, ..ResponseHead::default() }).await
    }

    fn awaits_invitation(&self) -> bool {
        self.facts.expects_continue
    }

    fn has_body(&self, head: &ResponseHead) -> bool {
        !self.is_head && head.permits_body()
    }

    fn has_started(&self) -> bool {
        self.has_started
    }

    fn take_back(&mut self) -> bool {
        self.has_started = self.has_started && !self.sender.take_back();
        !self.has_started
    }

    fn body_bytes(&self) -> u64 {
        if self.has_started { self.sender.body_bytes() } else { 0 }
    }
}

impl<S: Stream> BodySink for HttpReply<S> {
    async fn write(&mut self, chunk: Chunk) -> Result<(), Error> {
        self.sender.body(chunk).await.map_err(|_| Error::DownstreamGone)
    }

    async fn copy(&mut self, piece: &[u8], pool: &BufferPool) -> Result<(), Error> {
        match self.sender.copy(piece).await {
            Ok(true) => Ok(()),
            Ok(false) => self.write(Chunk::copy_of(piece, pool)).await,
            Err(_) => Err(Error::DownstreamGone),
        }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.sender.flush().await.map_err(|_| Error::DownstreamGone)
    }

    async fn finish(&mut self, trailers: &Fields) -> Result<(), Error> {
        self.sender.finish(trailers).await.map_err(|_| Error::DownstreamGone)
    }
}
