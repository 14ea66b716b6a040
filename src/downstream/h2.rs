//! One downstream HTTP/2 connection: a task that reads, one that writes, and one for each stream,
//! which runs [`exchange::run`] as a connection of HTTP/1 does.
//!
//! What the frames mean is the codec's to say (`http/h2/connection.rs`). The task that reads hands
//! it what comes and starts streams. Streams put what they have to say into it; whatever there is
//! when the task that writes has its turn goes out with one write. A stream that ends early, by
//! whichever side, ends alone.

mod body;
mod reply;
mod shared;

use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::Poll;

use self::body::StreamBody;
use self::reply::StreamReply;
use self::shared::Shared;
use super::frontend::Frontend;
use super::linger::linger;
use crate::error::{Error, Side};
use crate::exchange::{self, Core, Outcome, Scratch, Tunnel};
use crate::http::connection::Connection;
use crate::http::h1::receive::{Receiver, Wait};
use crate::http::h1::send::Sender;
use crate::http::h2::connection::{Event, Options, Role};
use crate::http::h2::frame::{self, Code};
use crate::http::h2::head::{Facts, RequestLimits};
use crate::http::h2::incoming::Incoming;
use crate::http::message::RequestHead;
use crate::io::deadline::now_ms;
use crate::io::stream::{self, Direction, Stream};

/// The two halves of a stream that HTTP/2 is spoken over, and what may have been read from it.
pub(super) struct Halves<S: Stream> {
    pub(super) receiver: Receiver<S>,
    pub(super) sender: Sender<S>,
    pub(super) fd: RawFd,
}

impl<S: Stream> Halves<S> {
    /// Those of a stream that nothing has been read from.
    pub(super) fn of(stream: S, core: &Core) -> Self {
        let body_timeout = core.snapshot().timeouts.body;
        let (read, write, fd) = stream::split(stream);
        let (deadlines, pool) = (core.deadlines(), core.shared_buffers());
        Self {
            receiver: Receiver::new(read, deadlines.register(fd), pool.clone()),
            sender: Sender::new(write, deadlines.register(fd), body_timeout, pool.clone()),
            fd,
        }
    }
}

/// Serves a connection until it closes.
pub(super) async fn serve<S: Stream>(
    halves: Halves<S>,
    connection: Rc<Connection>,
    frontend: Rc<Frontend>,
) {
    let Halves { mut receiver, sender, fd } = halves;
    let snapshot = frontend.core.snapshot();
    let limits = snapshot.limits;
    let options = Options {
        heads: RequestLimits {
            bytes_max: limits.head_bytes_max,
            fields_max: limits.head_fields_max,
            uri_bytes_max: limits.uri_bytes_max,
        },
        streams_max: limits.http2.streams_max,
        requests_max: limits.http2.requests_max,
        stream_window: limits.http2.stream_window_bytes,
        connection_window: limits.http2.connection_window_bytes,
    };
    let body_timeout = snapshot.timeouts.body;
    drop(snapshot);
    let pool = frontend.core.shared_buffers().clone();
    let codec = crate::http::h2::connection::Connection::new(Role::Server, options, pool);
    let shared = Rc::new(Shared::new(codec, connection, frontend, receiver.deadline.clone()));
    shared.frontend.count_http2(|counts| counts.connections += 1);
    let writer = shared.clone();
    let writing = crate::io::spawn(async move {
        let written = crate::io::unless_panics(write(&writer, sender)).await.flatten();
        if written.is_none() {
            // Who reads sees the end.
            writer.is_broken.set(true);
            stream::shutdown(fd, Direction::Both);
        }
        written
    });
    let is_linger = read(&shared, &mut receiver).await;
    shared.close();
    let mut sender = writing.await;
    shared.until_no_streams().await;
    if let Some(sender) = &mut sender {
        sender.say_end().await;
    }
    if is_linger && sender.is_some() {
        linger(&mut receiver, fd, body_timeout, true).await;
    }
}

/// Reads until nothing more will come, or nothing more is wanted. Whether the peer is still there.
async fn read<S: Stream>(shared: &Rc<Shared>, receiver: &mut Receiver<S>) -> bool {
    loop {
        if !take_in(shared, receiver) {
            return true;
        }
        if shared.is_over() {
            return true;
        }
        shared.until_not_congested().await;
        bound_wait(shared, receiver);
        if receiver.unread().is_empty() {
            match receiver.wait().await {
                Wait::Readable if !receiver.unread().is_empty() => continue,
                Wait::Readable => {}
                Wait::Handover => continue,
                Wait::Over | Wait::Broken => return receiver.deadline.has_fired(),
            }
        }
        match receiver.read_more().await {
            Ok(1..) if !receiver.deadline.has_fired() => {}
            _ => return receiver.deadline.has_fired(),
        }
    }
}

/// Arms the time for what is waited for: the rest of a frame or of a head, a request, or, while
/// streams are open, anything.
fn bound_wait<S: Stream>(shared: &Shared, receiver: &Receiver<S>) {
    let timeouts = shared.frontend.core.snapshot().timeouts;
    let unread = receiver.unread();
    let is_data = frame::Head::read(unread).is_some_and(|head| head.kind == frame::kind::DATA);
    if is_data {
        shared.head_begun_ms.set(None);
        receiver.deadline.arm(timeouts.body, Direction::Read);
    } else if shared.codec.borrow().is_within_message(unread) {
        let begun_ms = shared.head_begun_ms.get().unwrap_or_else(now_ms);
        shared.head_begun_ms.set(Some(begun_ms));
        let at_ms = begun_ms.saturating_add(timeouts.head.as_millis() as u64);
        receiver.deadline.arm_at(at_ms, Direction::Read);
    } else {
        shared.head_begun_ms.set(None);
        shared.bound_idle();
    }
}

/// Has the codec take what has been read; `false`: the connection has failed.
fn take_in<S: Stream>(shared: &Rc<Shared>, receiver: &mut Receiver<S>) -> bool {
    let now_ms = now_ms();
    loop {
        let mut codec = shared.codec.borrow_mut();
        let (used, event) = match codec.receive(receiver.unread(), now_ms) {
            Ok(Some(found)) => found,
            Ok(None) => break,
            Err(failure) => {
                tracing::debug!(client = %shared.connection.client, code = ?failure.code,
                    reason = failure.reason, "a connection of HTTP/2 is cut");
                drop(codec);
                shared.fail(failure);
                return false;
            }
        };
        match event {
            Event::Request { id, facts, ends } => {
                let mut scratch = shared.frontend.core.take_scratch();
                std::mem::swap(codec.request(), &mut scratch.request);
                let incoming = shared.incoming(id, ends);
                codec.adopt(id, incoming.clone());
                drop(codec);
                shared.receiver_deadline.disarm();
                shared.frontend.count_http2(|counts| counts.streams += 1);
                let exchange = run(shared.clone(), incoming, scratch, facts);
                crate::io::spawn(guarded(shared.clone(), id, exchange));
            }
            Event::Refused { id, error } => {
                let incoming = shared.incoming(id, true);
                codec.adopt(id, incoming.clone());
                let request = std::mem::take(codec.request());
                drop(codec);
                shared.receiver_deadline.disarm();
                let refusal = refuse(shared.clone(), incoming, error, request);
                crate::io::spawn(guarded(shared.clone(), id, refusal));
            }
            Event::Data { id, bytes, ends } => {
                if let Some(incoming) = codec.owner(id) {
                    incoming.take_in(bytes, ends, shared.frontend.core.buffers());
                }
            }
            Event::Trailers { id } => {
                let trailers = std::mem::take(codec.trailers());
                if let Some(incoming) = codec.owner(id) {
                    incoming.end_with(trailers);
                }
            }
            Event::Reset { id, code } => {
                shared.frontend.count_http2(|counts| counts.resets += 1);
                if let Some(incoming) = codec.owner(id) {
                    incoming.reset(code);
                }
            }
            Event::GoAway { .. } => shared.is_left.set(true),
            Event::Nothing | Event::Response { .. } => {}
        }
        receiver.consume(used);
    }
    shared.kick();
    true
}

/// A panic ends its stream, and nothing else.
async fn guarded(shared: Rc<Shared>, id: u32, serve: impl Future<Output = ()>) {
    if crate::io::unless_panics(serve).await.is_none() {
        tracing::error!("a stream was reset by a defect in the gateway (panic above)");
        shared.release(id, Code::Internal);
    }
}

/// One stream: an exchange.
async fn run(shared: Rc<Shared>, incoming: Rc<Incoming>, mut scratch: Box<Scratch>, facts: Facts) {
    let worker = &*shared.frontend.core;
    let mut body = StreamBody::new(&shared, &incoming);
    let mut reply = StreamReply::new(&shared, &incoming, facts.expects_continue, &scratch.request);
    let outcome = {
        let (scratch, body, reply) = (&mut *scratch, &mut body, &mut reply);
        let connection = &*shared.connection;
        let presence = &*incoming;
        let futures = worker.futures();
        let run =
            futures.pooled(|| exchange::run(worker, connection, presence, scratch, body, reply));
        run.await
    };
    worker.give_scratch(scratch);
    match reply.tunnel.take() {
        None => end(&shared, &incoming, &outcome),
        Some(tunnel) => {
            worker.account(&outcome);
            // Boxed: no other stream shall be as large.
            Box::pin(go_on(tunnel, &shared, &incoming, &mut body, &mut reply)).await;
        }
    }
}

/// A stream that goes on with another protocol.
async fn go_on(
    tunnel: Box<Tunnel>,
    shared: &Shared,
    incoming: &Incoming,
    body: &mut StreamBody,
    reply: &mut StreamReply,
) {
    let worker = &*shared.frontend.core;
    reply.begin_raw(tunnel.stall());
    let ended = tunnel.run(worker, &shared.connection, body, reply).await;
    // RFC 8441 section 5.
    let code = if ended.is_cut { Code::Cancel } else { Code::NoError };
    shared.release(incoming.id.get(), code);
}

/// A stream whose head is answered with an error.
async fn refuse(shared: Rc<Shared>, incoming: Rc<Incoming>, error: Error, request: RequestHead) {
    let worker = &*shared.frontend.core;
    let mut scratch = worker.take_scratch();
    let mut reply = StreamReply::new(&shared, &incoming, false, &request);
    let outcome =
        exchange::refuse(worker, &shared.connection, error, &mut scratch, &mut reply).await;
    worker.give_scratch(scratch);
    end(&shared, &incoming, &outcome);
}

/// Ends a stream: one whose response is whole needs no more of its request, one that broke off is
/// visibly cut.
fn end(shared: &Shared, incoming: &Incoming, outcome: &Outcome) {
    shared.frontend.core.account(outcome);
    let code = match outcome.error.map(Error::side) {
        _ if outcome.is_complete => Code::NoError,
        Some(Side::Downstream) => Code::Cancel,
        _ => Code::Internal,
    };
    shared.release(incoming.id.get(), code);
}

/// Writes what there is, until the connection closes. The sender comes back if it still can write.
async fn write<S: Stream>(shared: &Shared, mut sender: Sender<S>) -> Option<Sender<S>> {
    let mut spare = Vec::new();
    while let Some(bytes) = shared.next_output(&mut spare).await {
        match sender.send(bytes).await {
            Ok(bytes) => spare = bytes,
            Err(_) => return None,
        }
        shared.has_written();
    }
    if !shared.is_closing() {
        // All streams that the peer was promised have ended: who reads is not to wait for more.
        shared.receiver_deadline.arm_at(now_ms(), Direction::Read);
    }
    Some(sender)
}

impl Shared {
    /// What is to be written next; `None`: nothing will be. While nothing is, it holds no buffer.
    async fn next_output(&self, spare: &mut Vec<u8>) -> Option<Vec<u8>> {
        std::future::poll_fn(|cx| {
            self.take_leave(cx);
            let mut codec = self.codec.borrow_mut();
            codec.drive();
            if codec.has_output() {
                let room = match spare.capacity() {
                    0 => self.frontend.core.buffers().take(),
                    _ => std::mem::take(spare),
                };
                return Poll::Ready(Some(codec.take_output(room)));
            }
            let is_left = codec.is_gone_away() || self.is_left.get();
            if self.is_closing() || (is_left && codec.streams() == 0) {
                return Poll::Ready(None);
            }
            if spare.capacity() > 0 {
                self.frontend.core.buffers().give(std::mem::take(spare));
                codec.rest();
            }
            self.wakes_writer(cx.waker());
            Poll::Pending
        })
        .await
    }
}
