//! What an exchange leaves whose both sides have switched to another protocol: bytes both ways,
//! until one side ends.
//!
//! A tunnel holds no snapshot, so that it may last as long as it likes: what it needs of one is
//! copied. Each direction has one piece under way, which is back-pressure; a direction that waits
//! holds no buffer. What ends a tunnel: both sides have said that they send no more, or one has and
//! the other is silent since; a side breaks; nothing passes for too long; its service is removed,
//! or the gateway stops. A WebSocket that the gateway ends gets a close frame, where one may stand.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::Core;
use super::counts::SharedCounts;
use super::log::Line;
use super::tunnels::Place;
use crate::error::Error;
use crate::http::connection::Connection as Facts;
use crate::http::upgrade::{TunnelSink, TunnelSource};
use crate::http::websocket::{self, Frames};
use crate::io::buffer::Chunk;
use crate::io::deadline::{Timer, now_ms};
use crate::io::sleep;
use crate::limits::{TUNNEL_FAREWELL_TIMEOUT, TUNNEL_HALF_CLOSED_TIMEOUT, TUNNEL_STRETCH_BYTES};
use crate::snapshot::Service;
use crate::upstream::connection::Connection;
use crate::upstream::targets::Hold;

/// Both sides of a tunnel but for the client's.
pub struct Tunnel {
    connection: Connection,
    /// It counts as a request under way at its target.
    _hold: Hold,
    service: String,
    idle: Duration,
    counts: SharedCounts,
    is_websocket: bool,
    began: Instant,
    line: Option<Box<Line>>,
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Tunnel").field("service", &self.service).finish_non_exhaustive()
    }
}

/// How a tunnel has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The client is there, as far as is known: it may still be taking what was sent.
    pub is_client_there: bool,
    /// The origin has broken off: the client is not to take what it has for all.
    pub is_cut: bool,
}

/// Why a tunnel ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Both sides have said all.
    Done,
    /// One has, and the other has nothing to say, or is gone.
    HalfDone,
    /// The client is gone.
    Client,
    /// The origin is gone.
    Origin,
    /// Nothing has passed.
    Idle,
    /// The gateway wants it.
    Told(&'static str),
}

impl Why {
    /// In words for the log; `None`: it is as it should be.
    fn words(self) -> Option<&'static str> {
        match self {
            Self::Done | Self::HalfDone => None,
            Self::Client => Some("client closed the connection"),
            Self::Origin => Some("upstream broke the connection"),
            Self::Idle => Some("nothing has passed through the tunnel for timeouts.tunnel"),
            Self::Told(words) => Some(words),
        }
    }
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    bytes: Cell<u64>,
    /// It waits for its source, with all that has come written.
    rests: Cell<bool>,
    has_ended: Cell<bool>,
    /// Of a WebSocket.
    frames: Option<Cell<Frames>>,
}

impl Way {
    fn new(is_websocket: bool) -> Self {
        Self { frames: is_websocket.then(Cell::default), ..Self::default() }
    }

    /// Whether a frame of our own may follow what was sent.
    fn takes_frame(&self) -> bool {
        let is_between = self.frames.as_ref().is_some_and(|frames| frames.get().is_between());
        is_between && self.rests.get() && !self.has_ended.get()
    }
}

/// When something has passed last, either way.
#[derive(Debug)]
struct Clock {
    moved_ms: Cell<u64>,
    timer: Timer,
}

impl Tunnel {
    /// One to this connection, whose origin has switched.
    pub(super) fn new(
        mut connection: Connection,
        hold: Hold,
        service: &Service,
        counts: SharedCounts,
        is_websocket: bool,
    ) -> Self {
        let idle = service.timeouts.tunnel;
        connection.begin_raw(idle);
        Self {
            connection,
            _hold: hold,
            service: service.name.clone(),
            idle,
            counts,
            is_websocket,
            began: Instant::now(),
            line: None,
        }
    }

    /// A step of what is written may take so long.
    pub fn stall(&self) -> Duration {
        self.idle
    }

    /// Leaves this line in the access log at its end.
    pub(super) fn leave(&mut self, line: Option<Box<Line>>) {
        self.line = line;
    }

    /// Runs it to its end, with the client's side.
    pub async fn run(
        mut self: Box<Self>,
        worker: &Core,
        facts: &Facts,
        source: &mut impl TunnelSource,
        sink: &mut impl TunnelSink,
    ) -> Ended {
        self.counts.borrow_mut().tunnels.begin();
        let counted = Counted { counts: self.counts.clone(), began: self.began };
        let place = worker.tunnels().begin(&self.service);
        let (up, down) = (Way::new(self.is_websocket), Way::new(self.is_websocket));
        let clock = Clock { moved_ms: Cell::new(now_ms()), timer: worker.deadlines().timer() };
        let counts = &self.counts;
        let (mut to_origin, mut from_origin) = self.connection.halves();
        let why = {
            let moved = |way: usize, bytes: u64| {
                clock.moved_ms.set(now_ms());
                counts.borrow_mut().tunnels.bytes[way] += bytes;
            };
            let up = relay(source, &mut to_origin, &up, |bytes| moved(0, bytes));
            let down = relay(&mut from_origin, sink, &down, |bytes| moved(1, bytes));
            drive(pin!(up), pin!(down), (&place, &clock), self.idle).await
        };
        if matches!(why, Why::Told(_) | Why::Idle) {
            let mask = (worker.random() as u32).to_ne_bytes();
            let farewell = async {
                if down.takes_frame() {
                    say_farewell(sink, websocket::close_frame(websocket::GOING_AWAY, None)).await;
                }
                if up.takes_frame() {
                    let frame = websocket::close_frame(websocket::GOING_AWAY, Some(mask));
                    say_farewell(&mut to_origin, frame).await;
                }
            };
            let _said_or_not = crate::io::timeout(TUNNEL_FAREWELL_TIMEOUT, farewell).await;
        }
        drop((counted, place));
        if let Some(line) = &self.line {
            let bytes = (up.bytes.get(), down.bytes.get());
            line.write(worker, facts, bytes, why.words());
        }
        Ended { is_client_there: why != Why::Client, is_cut: why == Why::Origin }
    }
}

/// Counts the end of a tunnel, whatever that is.
struct Counted {
    counts: SharedCounts,
    began: Instant,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counts.borrow_mut().tunnels.end(self.began.elapsed());
    }
}

async fn say_farewell(sink: &mut impl TunnelSink, frame: Vec<u8>) {
    let end = frame.len();
    let _said_or_not = async {
        sink.write_raw(Chunk::new(frame, 0..end)).await?;
        sink.flush_raw().await
    }
    .await;
}

/// Which end of a direction has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failed {
    Source,
    Sink,
}

/// One direction, to its end.
async fn relay(
    source: &mut impl TunnelSource,
    sink: &mut impl TunnelSink,
    way: &Way,
    moved: impl Fn(u64),
) -> Result<(), Failed> {
    let in_source = |_: Error| Failed::Source;
    let in_sink = |_: Error| Failed::Sink;
    let mut stretch = 0;
    loop {
        if !source.has_raw() {
            sink.flush_raw().await.map_err(in_sink)?;
            way.rests.set(true);
        }
        let next = source.next_raw().await.map_err(in_source);
        way.rests.set(false);
        let Some(chunk) = next? else {
            sink.end_raw().await.map_err(in_sink)?;
            way.has_ended.set(true);
            return Ok(());
        };
        let bytes = chunk.len() as u64;
        way.bytes.set(way.bytes.get() + bytes);
        if let Some(frames) = &way.frames {
            let mut passed = frames.get();
            passed.pass(chunk.bytes());
            frames.set(passed);
        }
        moved(bytes);
        sink.write_raw(chunk).await.map_err(in_sink)?;
        moved(0);
        stretch += bytes;
        if stretch >= TUNNEL_STRETCH_BYTES {
            // Peers that are always ready would keep the worker from everybody else.
            stretch = 0;
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Runs both directions until the tunnel is over.
async fn drive(
    mut up: Pin<&mut impl Future<Output = Result<(), Failed>>>,
    mut down: Pin<&mut impl Future<Output = Result<(), Failed>>>,
    (place, clock): (&Place, &Clock),
    idle: Duration,
) -> Why {
    let (mut is_up_done, mut is_down_done) = (false, false);
    let mut patience = idle;
    clock.timer.arm_at(due(clock, patience));
    std::future::poll_fn(|cx| {
        let was_half_done = is_up_done || is_down_done;
        if !is_up_done && let Poll::Ready(ended) = up.as_mut().poll(cx) {
            match ended {
                Ok(()) => is_up_done = true,
                // Who has ended takes nothing any more.
                Err(Failed::Sink) if is_down_done => return Poll::Ready(Why::HalfDone),
                Err(Failed::Sink) => return Poll::Ready(Why::Origin),
                Err(Failed::Source) => return Poll::Ready(Why::Client),
            }
        }
        if !is_down_done && let Poll::Ready(ended) = down.as_mut().poll(cx) {
            match ended {
                Ok(()) => is_down_done = true,
                Err(Failed::Sink) => return Poll::Ready(Why::Client),
                Err(Failed::Source) => return Poll::Ready(Why::Origin),
            }
        }
        if is_up_done && is_down_done {
            return Poll::Ready(Why::Done);
        }
        if let Some(why) = place.poll_told(cx) {
            return Poll::Ready(Why::Told(why));
        }
        if (is_up_done || is_down_done) && !was_half_done {
            patience = idle.min(TUNNEL_HALF_CLOSED_TIMEOUT);
            clock.moved_ms.set(now_ms());
            clock.timer.arm_at(due(clock, patience));
        }
        while clock.timer.poll_fired(cx) {
            let due_ms = due(clock, patience);
            if due_ms <= now_ms() {
                let is_half_done = is_up_done || is_down_done;
                return Poll::Ready(if is_half_done { Why::HalfDone } else { Why::Idle });
            }
            clock.timer.arm_at(due_ms);
        }
        Poll::Pending
    })
    .await
}

fn due(clock: &Clock, patience: Duration) -> u64 {
    clock.moved_ms.get().saturating_add(patience.as_millis() as u64)
}
