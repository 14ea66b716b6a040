//! gRPC calls and streams of a filter: over HTTP/2, beside its exchanges, told by callbacks of the
//! root.
//!
//! A call is told of once: its message, or how it has failed. A stream is told of whatever comes,
//! and of its end; one whose exchange is over is cancelled and told of that.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::super::failure::CallError;
use super::super::hostcalls::{Request, Unspoken, open_stream};
use super::super::log::Ids;
use super::super::spec::LogLevel;
use super::filter::{Detached, Filter, Turn};
use super::frames::Frames;
use super::guest::int;
use super::map::View;
use super::state::ROOT;
use crate::error::Error;
use crate::http::message::{Fields, ResponseHead};
use crate::http::relay::{BodySink as _, BodySource as _};
use crate::limits;
use crate::upstream::call::{RequestSink, ResponseSource};

/// gRPC's names for how a call ends (grpc/grpc, `doc/statuscodes.md`).
mod status {
    pub(super) const OK: u32 = 0;
    pub(super) const CANCELLED: u32 = 1;
    pub(super) const UNKNOWN: u32 = 2;
    pub(super) const DEADLINE_EXCEEDED: u32 = 4;
    pub(super) const RESOURCE_EXHAUSTED: u32 = 8;
    pub(super) const INTERNAL: u32 = 13;
    pub(super) const UNAVAILABLE: u32 = 14;
}

/// One call or stream, as its guest and its connection share it. Of one worker.
#[derive(Debug)]
pub(super) struct Line {
    /// One message goes, one comes.
    pub(super) is_call: bool,
    /// The exchange that it belongs to; the root's otherwise.
    pub(super) context: u32,
    /// Messages to send, framed.
    outgoing: RefCell<VecDeque<Vec<u8>>>,
    queued: Cell<usize>,
    /// Nothing more is sent behind what waits.
    is_closed: Cell<bool>,
    /// Given up: by the guest (nothing is told), or because its exchange is over.
    cancelled: Cell<Option<Cancelled>>,
    has_sent: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cancelled {
    ByGuest,
    ByEnd,
}

impl Line {
    pub(super) fn new(is_call: bool, context: u32) -> Rc<Self> {
        Rc::new(Self {
            is_call,
            context,
            outgoing: RefCell::default(),
            queued: Cell::new(0),
            is_closed: Cell::new(false),
            cancelled: Cell::new(None),
            has_sent: Cell::new(false),
            waker: RefCell::new(None),
        })
    }

    /// Sends a message behind those that wait. False: the line is closed, or too much waits.
    pub(super) fn send(&self, message: &[u8]) -> bool {
        let size = self.queued.get() + message.len();
        if self.is_closed.get() || size > limits::FILTER_GRPC_QUEUE_BYTES_MAX {
            return false;
        }
        self.queued.set(size);
        self.outgoing.borrow_mut().push_back(super::frames::framed(message));
        self.wake();
        true
    }

    /// Nothing more is sent.
    pub(super) fn close(&self) {
        self.is_closed.set(true);
        self.wake();
    }

    pub(super) fn cancel(&self, why: Cancelled) {
        if self.cancelled.get().is_none() {
            self.cancelled.set(Some(why));
        }
        self.wake();
    }

    fn wake(&self) {
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The next message; `None`: there is none, and none comes.
    async fn next(&self) -> Option<Vec<u8>> {
        poll_fn(|task| {
            if let Some(first) = self.outgoing.borrow().front() {
                return Poll::Ready(Some(first.clone()));
            }
            if self.is_closed.get() {
                return Poll::Ready(None);
            }
            *self.waker.borrow_mut() = Some(task.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn sent(&self) {
        self.has_sent.set(true);
        if let Some(frame) = self.outgoing.borrow_mut().pop_front() {
            let size = frame.len() - super::frames::HEAD_BYTES;
            self.queued.set(self.queued.get().saturating_sub(size));
        }
    }
}

/// A call or stream that a guest has asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) token: u32,
    pub(super) request: Request,
    pub(super) line: Rc<Line>,
    /// For the whole of a call; a stream has none.
    pub(super) timeout: Option<Duration>,
}

/// What has come, while its callback runs.
#[derive(Debug)]
pub(super) enum Received {
    Initial(ResponseHead),
    Message(Vec<u8>),
    Trailing(Fields),
}

impl Received {
    /// The list of this number, if that is what has come.
    pub(super) fn view(&self, is_initial: bool) -> Option<View<'_>> {
        match self {
            Self::Initial(head) if is_initial => Some(View::head(head)),
            Self::Trailing(fields) if !is_initial => Some(View::Fields(fields)),
            _ => None,
        }
    }
}

/// How a line has ended.
struct End {
    status: u32,
    message: Vec<u8>,
}

impl End {
    fn new(status: u32, message: impl Into<Vec<u8>>) -> Self {
        Self { status, message: message.into() }
    }

    fn of(error: Error) -> Self {
        let status = match error {
            Error::UpstreamTimeout => status::DEADLINE_EXCEEDED,
            Error::OverBudget | Error::ResponseTooLarge => status::RESOURCE_EXHAUSTED,
            Error::BadResponse(_) => status::INTERNAL,
            _ => status::UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }

    /// What the fields say that end a call.
    fn said(http: u16, fields: &Fields) -> Self {
        let said = fields.get("grpc-status").and_then(|value| std::str::from_utf8(value).ok());
        let code = match said.map(str::parse) {
            Some(Ok(code)) => code,
            Some(Err(_)) => status::UNKNOWN,
            None if http == 200 => status::UNKNOWN,
            None => of_http(http),
        };
        Self::new(code, unescaped(fields.get("grpc-message").unwrap_or_default()))
    }
}

/// gRPC's status for a response that is none of gRPC (`doc/http-grpc-status-mapping.md`).
fn of_http(http: u16) -> u32 {
    match http {
        400 => status::INTERNAL,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => status::UNAVAILABLE,
        _ => status::UNKNOWN,
    }
}

/// A `grpc-message` without its escapes; a `%` that is none stays.
fn unescaped(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, more)) = rest.split_first() {
        let hex = more.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(escaped) if byte == b'%' => {
                out.push(escaped);
                rest = &more[2..];
            }
            _ => {
                out.push(byte);
                rest = more;
            }
        }
    }
    out
}

/// Opens the line; what comes over it comes as turns of their own.
pub(super) fn begin(filter: &Rc<Filter>, asked: Asked) {
    if filter.pool.is_closed() {
        return;
    }
    // A call keeps the instance until it is told of; a stream ends with the instance.
    if asked.line.is_call {
        filter.busy.set(filter.busy.get() + 1);
    }
    let filter = Rc::clone(filter);
    crate::io::spawn(async move {
        let Asked { token, request, line, timeout } = asked;
        let (host, plugin) = (Rc::clone(filter.pool.host()), filter.pool.plugin().clone());
        let talk = async |sink: RequestSink<'_>, source: ResponseSource<'_>| {
            talk(&filter, token, &line, sink, source).await
        };
        let repeat = || !line.has_sent.get();
        let opened = until_cancelled(&line, open_stream(&host, &plugin, &request, talk, &repeat));
        let outcome = match timeout {
            None => opened.await,
            Some(timeout) => crate::io::timeout(timeout, opened).await.unwrap_or_else(|_| {
                let text = format!("no whole answer within {timeout:?}");
                Some(Ok(End::new(status::DEADLINE_EXCEEDED, text)))
            }),
        };
        let end = match (outcome, line.cancelled.get()) {
            (Some(Ok(end)), _) => Some(end),
            (Some(Err(Unspoken::Nowhere(why))), _) => Some(End::new(status::UNAVAILABLE, why)),
            (Some(Err(Unspoken::Broken(error))), _) => Some(End::of(error)),
            (None, Some(Cancelled::ByEnd)) => {
                Some(End::new(status::CANCELLED, "the exchange is over"))
            }
            (None, _) => None,
        };
        if let Some(end) = &end
            && end.status != status::OK
        {
            let why = String::from_utf8_lossy(&end.message).into_owned();
            let text = format!("gRPC: {}: status {}: {why}", request.shown(), end.status);
            host.log.gateway(LogLevel::Warn, Ids::default(), &text);
        }
        // A call that has its message is over for the guest.
        let end = end.filter(|end| !line.is_call || end.status != status::OK);
        let pool = Rc::clone(&filter.pool);
        Detached::new(&pool, tell_end(Rc::clone(&filter), token, end)).await;
        if line.is_call {
            filter.leave();
        }
    });
}

/// `None` if the line is cancelled before.
async fn until_cancelled<T>(line: &Line, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|task| {
        if line.cancelled.get().is_some() {
            return Poll::Ready(None);
        }
        let polled = future.as_mut().poll(task).map(Some);
        if polled.is_pending() {
            *line.waker.borrow_mut() = Some(task.waker().clone());
        }
        polled
    })
    .await
}

/// Sends what is to be sent and tells what comes, side by side.
async fn talk(
    filter: &Rc<Filter>,
    token: u32,
    line: &Line,
    sink: RequestSink<'_>,
    source: ResponseSource<'_>,
) -> Result<End, Error> {
    let mut sending = pin!(send(filter, line, sink));
    let mut receiving = pin!(receive(filter, token, line, source));
    let mut is_sending = true;
    poll_fn(|task| {
        if is_sending && let Poll::Ready(sent) = sending.as_mut().poll(task) {
            is_sending = false;
            if let Err(error @ Error::UpstreamStale) = sent {
                return Poll::Ready(Err(error));
            }
            // Else what the server says counts: it may end a call that it has not read.
        }
        receiving.as_mut().poll(task)
    })
    .await
}

async fn send(filter: &Rc<Filter>, line: &Line, mut sink: RequestSink<'_>) -> Result<(), Error> {
    let buffers = filter.pool.host().client.buffers();
    // The head goes at once: a server may speak first.
    if line.outgoing.borrow().is_empty() && !line.is_closed.get() {
        sink.flush().await?;
    }
    while let Some(frame) = line.next().await {
        for piece in frame.chunks(crate::limits::READ_BYTES_MAX) {
            sink.copy(piece, buffers).await?;
        }
        sink.flush().await?;
        line.sent();
    }
    sink.finish(&Fields::new()).await
}

async fn receive(
    filter: &Rc<Filter>,
    token: u32,
    line: &Line,
    mut source: ResponseSource<'_>,
) -> Result<End, Error> {
    let mut head = ResponseHead::default();
    crate::upstream::call::read_final_head(
        &mut source,
        &crate::http::message::Method::Post,
        limits::DURATION_MAX,
        limits::HEAD_BYTES_MAX,
        &mut head,
    )
    .await?;
    let http = head.status;
    if http != 200 || head.fields.contains("grpc-status") {
        // All that there is.
        let end = End::said(http, &head.fields);
        if !line.is_call {
            tell(filter, token, Received::Trailing(head.fields)).await;
        }
        return Ok(end);
    }
    if !line.is_call {
        tell(filter, token, Received::Initial(head)).await;
    }
    let mut frames = Frames::default();
    let mut message = None;
    while let Some(chunk) = source.next().await? {
        frames.push(chunk.bytes());
        filter.pool.host().client.buffers().give(chunk.into_parts().0);
        loop {
            let next = match frames.next(limits::PLUGIN_CALL_BODY_BYTES_MAX) {
                Ok(Some(next)) => next,
                Ok(None) => break,
                Err(why) => return Ok(End::new(status::INTERNAL, why)),
            };
            match line.is_call {
                true if message.is_some() => {
                    return Ok(End::new(status::INTERNAL, "the call was answered twice"));
                }
                true => message = Some(next),
                false => tell(filter, token, Received::Message(next)).await,
            }
        }
    }
    if !frames.is_empty() {
        return Ok(End::new(status::INTERNAL, "the answer ends within a message"));
    }
    let trailers = source.trailers().clone();
    let end = End::said(http, &trailers);
    match (line.is_call, message) {
        (true, Some(message)) if end.status == status::OK => {
            tell(filter, token, Received::Message(message)).await;
        }
        (true, None) if end.status == status::OK => {
            return Ok(End::new(status::INTERNAL, "the call was answered with no message"));
        }
        (true, _) => {}
        (false, _) => tell(filter, token, Received::Trailing(trailers)).await,
    }
    Ok(end)
}

/// A turn that tells the guest of what has come, whoever gives the line up meanwhile.
async fn tell(filter: &Rc<Filter>, token: u32, what: Received) {
    let telling = {
        let filter = Rc::clone(filter);
        async move {
            let Some(turn) = filter.next_turn().await else { return };
            if let Err(error) = turn.receive(token, what).await {
                filter.pool.tell(LogLevel::Error, &error.during("a gRPC callback"));
            }
        }
    };
    Detached::new(&filter.pool, telling).await;
}

async fn tell_end(filter: Rc<Filter>, token: u32, end: Option<End>) {
    let Some(turn) = filter.next_turn().await else { return };
    if let Err(error) = turn.end_line(token, end).await {
        filter.pool.tell(LogLevel::Error, &error.during("proxy_on_grpc_close"));
    }
}

impl Turn {
    async fn receive(mut self, token: u32, what: Received) -> Result<(), CallError> {
        let deadline = self.filter.deadline();
        self.begin(deadline, Ids::default())?;
        let ran = self.run_receive(token, what).await;
        self.finish(ran)
    }

    async fn run_receive(&mut self, token: u32, what: Received) -> Result<(), CallError> {
        let instance = self.instance()?;
        let policy = instance.store.data().plugin.non_utf8();
        let guest = instance.guest.filter()?;
        let state = &mut instance.store.data_mut().filter;
        // Cancelled while it was on its way.
        let is_open = |line: &Rc<Line>| line.cancelled.get() != Some(Cancelled::ByGuest);
        if !state.line(token).is_some_and(is_open) {
            return Ok(());
        }
        let (function, count) = match &what {
            Received::Initial(head) => {
                (&guest.on_grpc_initial_metadata, View::head(head).len(policy))
            }
            Received::Message(message) => (&guest.on_grpc_receive, message.len()),
            Received::Trailing(fields) => {
                (&guest.on_grpc_trailing_metadata, View::Fields(fields).len(policy))
            }
        };
        let Some(function) = function else { return Ok(()) };
        state.current = ROOT;
        state.received = Some(what);
        let arguments = (int(ROOT), int(token), int(count));
        let called = function.call_async(&mut instance.store, arguments).await;
        instance.store.data_mut().filter.received = None;
        called.map_err(CallError::from)
    }

    async fn end_line(mut self, token: u32, end: Option<End>) -> Result<(), CallError> {
        let deadline = self.filter.deadline();
        self.begin(deadline, Ids::default())?;
        let ran = self.run_end_line(token, end).await;
        self.finish(ran)
    }

    async fn run_end_line(&mut self, token: u32, end: Option<End>) -> Result<(), CallError> {
        let instance = self.instance()?;
        let guest = instance.guest.filter()?;
        let state = &mut instance.store.data_mut().filter;
        state.forget_line(token);
        state.calls = state.calls.saturating_sub(1);
        let (Some(function), Some(end)) = (&guest.on_grpc_close, end) else { return Ok(()) };
        state.current = ROOT;
        let code = end.status;
        state.status = (code, end.message);
        let arguments = (int(ROOT), int(token), int(code));
        let called = function.call_async(&mut instance.store, arguments).await;
        instance.store.data_mut().filter.status = (0, Vec::new());
        called.map_err(CallError::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_call_has_ended_is_read_from_its_last_fields() {
        let fields = |list: &[(&str, &str)]| {
            let mut fields = Fields::new();
            for (name, value) in list {
                fields.push(name.as_bytes(), value.as_bytes());
            }
            fields
        };
        type Pairs = [(&'static str, &'static str)];
        let cases: [(u16, &Pairs, u32, &str); 6] = [
            (200, &[("grpc-status", "0")], 0, ""),
            (200, &[("grpc-status", "7"), ("grpc-message", "no%20way%21 100%")], 7, "no way! 100%"),
            (200, &[], 2, ""),
            (200, &[("grpc-status", "x")], 2, ""),
            (503, &[], 14, ""),
            (404, &[], 12, ""),
        ];
        for (http, list, status, message) in cases {
            let end = End::said(http, &fields(list));
            assert_eq!((end.status, &*end.message), (status, message.as_bytes()), "{list:?}");
        }
    }

    #[test]
    fn a_line_takes_no_more_than_its_queue_and_nothing_once_it_is_closed() {
        let line = Line::new(false, ROOT);
        let most = vec![0; limits::FILTER_GRPC_QUEUE_BYTES_MAX];
        assert!(line.send(&most) && !line.send(b"x"));
        line.sent();
        assert!(line.send(b"x"));
        line.close();
        assert!(!line.send(b"x"));
    }
}
