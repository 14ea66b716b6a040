//! What the tasks of one connection share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::downstream::frontend::{DrainWatch, Frontend};
use crate::http::connection::Connection;
use crate::http::h2::connection::{Connection as Codec, Failure};
use crate::http::h2::frame::Code;
use crate::http::h2::incoming::Incoming;
use crate::io::deadline::{Deadline, Timer, now_ms};
use crate::io::stream::Direction;
use crate::limits::GOAWAY_GRACE;

/// One connection.
pub(super) struct Shared {
    pub(super) codec: RefCell<Codec<Rc<Incoming>>>,
    pub(super) connection: Rc<Connection>,
    pub(super) frontend: Rc<Frontend>,
    /// That of the half that reads.
    pub(super) receiver_deadline: Rc<Deadline>,
    /// When the frame or head that is waited for has begun.
    pub(super) head_begun_ms: Cell<Option<u64>>,
    /// The peer has sent GOAWAY.
    pub(super) is_left: Cell<bool>,
    /// Nothing can be written any more.
    pub(super) is_broken: Cell<bool>,
    is_closing: Cell<bool>,
    writer: RefCell<Option<Waker>>,
    reader: RefCell<Option<Waker>>,
    drain: DrainWatch,
    /// Between the two steps of a GOAWAY.
    grace: Timer,
}

impl Shared {
    pub(super) fn new(
        codec: Codec<Rc<Incoming>>,
        connection: Rc<Connection>,
        frontend: Rc<Frontend>,
        receiver_deadline: Rc<Deadline>,
    ) -> Self {
        Self {
            codec: RefCell::new(codec),
            connection,
            receiver_deadline,
            head_begun_ms: Cell::new(None),
            is_left: Cell::new(false),
            is_broken: Cell::new(false),
            is_closing: Cell::new(false),
            writer: RefCell::default(),
            reader: RefCell::default(),
            drain: frontend.watch(),
            grace: frontend.core.deadlines().timer(),
            frontend,
        }
    }

    pub(super) fn incoming(&self, id: u32, ends: bool) -> Rc<Incoming> {
        Incoming::new(id, ends, self.frontend.core.budget())
    }

    /// Wakes who writes, if there is something to write.
    pub(super) fn kick(&self) {
        if self.codec.borrow().has_output() {
            wake(&self.writer);
        }
    }

    pub(super) fn wakes_writer(&self, waker: &Waker) {
        self.drain.wakes(waker);
        keep(&self.writer, waker);
    }

    /// What was made ahead of the last write may go on now.
    pub(super) fn has_written(&self) {
        self.codec.borrow_mut().drive();
        wake(&self.reader);
    }

    /// Waits while so much is to be written that nothing should be read.
    pub(super) async fn until_not_congested(&self) {
        std::future::poll_fn(|cx| {
            if !self.codec.borrow().is_congested() || self.is_broken.get() {
                return Poll::Ready(());
            }
            keep(&self.reader, cx.waker());
            Poll::Pending
        })
        .await;
    }

    /// Waits until nobody has a stream any more.
    pub(super) async fn until_no_streams(&self) {
        std::future::poll_fn(|cx| {
            if self.codec.borrow().streams() == 0 {
                return Poll::Ready(());
            }
            keep(&self.reader, cx.waker());
            Poll::Pending
        })
        .await;
    }

    /// Bounds the wait for the next request, if no stream is open.
    pub(super) fn bound_idle(&self) {
        if self.codec.borrow().streams() > 0 {
            self.receiver_deadline.disarm();
            return;
        }
        let idle = self.frontend.core.snapshot().timeouts.idle;
        self.receiver_deadline.arm_idle(idle, Direction::Read);
    }

    /// A stream has ended.
    pub(super) fn release(&self, id: u32, code: Code) {
        let mut codec = self.codec.borrow_mut();
        codec.release(id, code);
        let is_last = codec.streams() == 0;
        drop(codec);
        if is_last {
            self.bound_idle();
            wake(&self.reader);
            wake(&self.writer);
        } else {
            self.kick();
        }
    }

    /// The connection is cut for what the peer did.
    pub(super) fn fail(&self, failure: Failure) {
        self.frontend.count_http2(|counts| match failure.code {
            Code::EnhanceYourCalm => counts.abused += 1,
            _ => counts.broken += 1,
        });
        let codec = &mut *self.codec.borrow_mut();
        codec.fail(failure);
        for incoming in codec.owners() {
            incoming.reset(failure.code);
        }
    }

    /// Nothing more is read. Whatever is still open is over; what is to be written still is.
    pub(super) fn close(&self) {
        self.is_closing.set(true);
        let codec = &mut *self.codec.borrow_mut();
        if !codec.is_gone_away() {
            codec.go_away(true);
        }
        for incoming in codec.owners() {
            incoming.reset(Code::Cancel);
        }
        wake(&self.writer);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.get()
    }

    /// Whether the connection has come to its end by itself.
    pub(super) fn is_over(&self) -> bool {
        let codec = self.codec.borrow();
        codec.streams() == 0 && (codec.is_gone_away() || self.is_left.get())
    }

    /// Tells the peer that the connection ends, where it does: when the worker drains, or it has
    /// asked for as much as one may.
    pub(super) fn take_leave(&self, cx: &Context<'_>) {
        let mut codec = self.codec.borrow_mut();
        let is_wanted = self.frontend.ends(false) || codec.is_used_up();
        if is_wanted && !codec.is_going_away() {
            self.frontend.count_http2(|counts| counts.goaways += 1);
            codec.go_away(false);
            self.grace.arm_at(now_ms().saturating_add(GOAWAY_GRACE.as_millis() as u64));
        }
        if codec.is_going_away() && !codec.is_gone_away() && self.grace.poll_fired(cx) {
            codec.go_away(true);
        }
    }
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
