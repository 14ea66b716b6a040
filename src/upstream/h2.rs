//! Connections of HTTP/2 to origins: one of a worker carries many requests at once.
//!
//! A task reads, a task writes; an exchange has a [`Lease`], which is one stream. What the frames
//! mean is the codec's to say (`http/h2/connection.rs`).

mod lease;

use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

pub use self::lease::{Lease, RequestSink, ResponseSource};
use super::connect::UpstreamStream;
use crate::http::h1::receive::{Receiver, Wait};
use crate::http::h1::send::Sender;
use crate::http::h2::connection::{Connection as Codec, Event, Options, Role};
use crate::http::h2::frame::Code;
use crate::http::h2::head::RequestLimits;
use crate::http::h2::incoming::Incoming;
use crate::io::budget::Budget;
use crate::io::buffer::BufferPool;
use crate::io::deadline::{Deadline, Deadlines, now_ms};
use crate::io::stream::{self, Direction};
use crate::limits::{CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES_MAX};

/// What a connection needs of its worker, and how long it waits.
pub struct Means<'a> {
    /// The worker's deadlines.
    pub deadlines: &'a Deadlines,
    /// Its buffers.
    pub pool: &'a Rc<BufferPool>,
    /// The memory for bodies.
    pub budget: &'a Rc<Budget>,
    /// Between two steps of a body.
    pub body_timeout: Duration,
    /// The largest head of a response.
    pub head_bytes_max: usize,
}

/// One connection.
pub struct Shared {
    codec: RefCell<Codec<Rc<Incoming>>>,
    deadlines: Deadlines,
    pool: Rc<BufferPool>,
    budget: Rc<Budget>,
    body_timeout: Duration,
    /// Nothing comes or goes any more.
    is_over: Cell<bool>,
    /// Since when no stream is open.
    idle_since_ms: Cell<u64>,
    writer: RefCell<Option<Waker>>,
    reader: RefCell<Option<Waker>>,
    /// That of the half that reads.
    deadline: Rc<Deadline>,
    has_served: Cell<bool>,
    is_tls: bool,
    /// Who waits for the origin's SETTINGS.
    unsettled: RefCell<Vec<Waker>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Shared").field("is_over", &self.is_over).finish_non_exhaustive()
    }
}

impl Shared {
    /// Begins one on a new stream.
    pub fn start(stream: UpstreamStream, means: &Means<'_>) -> Rc<Self> {
        let is_tls = stream.is_tls();
        let (read, write, fd) = stream::split(stream);
        let Means { deadlines, pool, budget, body_timeout, head_bytes_max } = *means;
        let receiver = Receiver::new(read, deadlines.register(fd), pool.clone());
        let sender = Sender::new(write, deadlines.register(fd), body_timeout, pool.clone());
        let heads = RequestLimits { bytes_max: head_bytes_max, fields_max: 0, uri_bytes_max: 0 };
        // A server opens no streams.
        let options = Options {
            heads,
            streams_max: 0,
            requests_max: 0,
            stream_window: STREAM_WINDOW_BYTES_MAX,
            connection_window: CONNECTION_WINDOW_BYTES,
        };
        let shared = Rc::new(Self {
            codec: RefCell::new(Codec::new(Role::Client, options, pool.clone())),
            deadlines: deadlines.clone(),
            pool: pool.clone(),
            budget: budget.clone(),
            body_timeout,
            is_over: Cell::new(false),
            idle_since_ms: Cell::new(now_ms()),
            writer: RefCell::default(),
            reader: RefCell::default(),
            deadline: receiver.deadline.clone(),
            has_served: Cell::new(false),
            is_tls,
            unsettled: RefCell::default(),
        });
        shared.run(read_all(shared.clone(), receiver));
        shared.run(write_all(shared.clone(), sender, fd));
        shared
    }

    /// Runs one of its tasks; a panic ends the connection, and nothing else.
    fn run(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        let shared = self.clone();
        crate::io::spawn(async move {
            if crate::io::unless_panics(task).await.is_none() {
                tracing::error!("a connection to an origin was closed by a defect (panic above)");
                shared.end();
            }
        });
    }

    /// Whether one more stream may be opened.
    pub fn may_open(&self) -> bool {
        !self.is_over.get() && self.codec.borrow().may_open()
    }

    /// Whether it is of no use any more: it has ended, or no stream may be opened and none is.
    pub fn is_useless(&self) -> bool {
        let codec = self.codec.borrow();
        self.is_over.get() || (!codec.is_open() && codec.streams() == 0)
    }

    /// Ends it if no stream has been open since then.
    pub fn end_if_idle_since(&self, then_ms: u64) {
        let mut codec = self.codec.borrow_mut();
        if codec.streams() == 0 && (self.idle_since_ms.get() <= then_ms || !codec.is_open()) {
            codec.go_away(true);
            drop(codec);
            wake(&self.writer);
        }
    }

    /// Wakes this task when the origin has sent its SETTINGS, or the connection is over.
    fn wakes_when_settled(&self, waker: &Waker) {
        let mut unsettled = self.unsettled.borrow_mut();
        if !unsettled.iter().any(|known| known.will_wake(waker)) {
            unsettled.push(waker.clone());
        }
    }

    fn settled(&self) {
        self.unsettled.take().into_iter().for_each(Waker::wake);
    }

    fn kick(&self) {
        if self.codec.borrow().has_output() {
            wake(&self.writer);
        }
    }

    fn release(&self, id: u32, code: Code) {
        let mut codec = self.codec.borrow_mut();
        codec.release(id, code);
        if codec.streams() == 0 {
            self.idle_since_ms.set(now_ms());
        }
        drop(codec);
        self.kick();
    }

    fn end(&self) {
        self.is_over.set(true);
        for incoming in self.codec.borrow_mut().owners() {
            incoming.reset(Code::Cancel);
        }
        self.settled();
        wake(&self.writer);
        wake(&self.reader);
    }

    /// Has the codec take what has been read; `false`: the connection has failed.
    fn take_in(&self, receiver: &mut Receiver<UpstreamStream>) -> bool {
        let now_ms = now_ms();
        loop {
            let codec = &mut *self.codec.borrow_mut();
            let (used, event) = match codec.receive(receiver.unread(), now_ms) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(failure) => {
                    tracing::debug!(code = ?failure.code, reason = failure.reason,
                        "an origin breaks HTTP/2");
                    return false;
                }
            };
            match event {
                Event::Response { id, ends } => {
                    let mut head = std::mem::take(codec.response());
                    if let Some(incoming) = codec.owner(id) {
                        incoming.take_head(&mut head, ends);
                    }
                }
                Event::Data { id, bytes, ends } => {
                    if let Some(incoming) = codec.owner(id) {
                        incoming.take_in(bytes, ends, &self.pool);
                    }
                }
                Event::Trailers { id } => {
                    let trailers = std::mem::take(codec.trailers());
                    if let Some(incoming) = codec.owner(id) {
                        incoming.end_with(trailers);
                    }
                }
                Event::Reset { id, code } => {
                    if let Some(incoming) = codec.owner(id) {
                        incoming.reset(code);
                    }
                }
                Event::GoAway { last, .. } => {
                    for incoming in codec.owners().filter(|one| one.id.get() > last) {
                        incoming.reset(Code::RefusedStream);
                    }
                }
                Event::Nothing | Event::Request { .. } | Event::Refused { .. } => {}
            }
            receiver.consume(used);
        }
        if !self.unsettled.borrow().is_empty() && self.codec.borrow().has_settings() {
            self.settled();
        }
        self.kick();
        true
    }
}

async fn read_all(shared: Rc<Shared>, mut receiver: Receiver<UpstreamStream>) {
    while shared.take_in(&mut receiver) && !shared.is_over.get() {
        std::future::poll_fn(|cx| {
            if !shared.codec.borrow().is_congested() || shared.is_over.get() {
                return Poll::Ready(());
            }
            keep(&shared.reader, cx.waker());
            Poll::Pending
        })
        .await;
        if receiver.unread().is_empty() {
            match receiver.wait().await {
                Wait::Readable if !receiver.unread().is_empty() => continue,
                Wait::Handover => continue,
                Wait::Readable => {}
                Wait::Over | Wait::Broken => break,
            }
        }
        if !matches!(receiver.read_more().await, Ok(1..)) || shared.deadline.has_fired() {
            break;
        }
    }
    shared.end();
}

async fn write_all(shared: Rc<Shared>, mut sender: Sender<UpstreamStream>, fd: RawFd) {
    let mut spare = Vec::new();
    loop {
        let output = std::future::poll_fn(|cx| {
            let mut codec = shared.codec.borrow_mut();
            codec.drive();
            if codec.has_output() {
                return Poll::Ready(Some(codec.take_output(std::mem::take(&mut spare))));
            }
            if shared.is_over.get() || (codec.is_gone_away() && codec.streams() == 0) {
                return Poll::Ready(None);
            }
            if spare.capacity() > 0 {
                shared.pool.give(std::mem::take(&mut spare));
                codec.rest();
            }
            keep(&shared.writer, cx.waker());
            Poll::Pending
        });
        let Some(bytes) = output.await else { break };
        match sender.send(bytes).await {
            Ok(bytes) => spare = bytes,
            Err(_) => break,
        }
        shared.codec.borrow_mut().drive();
        wake(&shared.reader);
    }
    shared.end();
    // Who reads sees the end.
    stream::shutdown(fd, Direction::Both);
}

fn keep(place: &RefCell<Option<Waker>>, waker: &Waker) {
    match &mut *place.borrow_mut() {
        Some(known) => known.clone_from(waker),
        place => *place = Some(waker.clone()),
    }
}

fn wake(place: &RefCell<Option<Waker>>) {
    if let Some(waker) = place.borrow_mut().take() {
        waker.wake();
    }
}
