//! The client side of one worker: how many connections are open, and where they go when it ends.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::handover::{Handover, Sent};
use crate::exchange::Core;
use crate::http::connection::Connection;
use crate::io::clients::{Entered, Over};
use crate::io::deadline::now_ms;
use crate::io::sleep;
use crate::io::turns::Turns;
use crate::limits::{
    HANDOVERS_AT_ONCE, HANDSHAKES_STRETCH, HANDSHAKES_WAITING_MAX, MIRRORS_DRAIN_TIME,
};

/// The client side of one worker. `!Send`: its connections have it by `Rc`.
pub struct Frontend {
    /// What their exchanges share.
    pub core: Rc<Core>,
    is_draining: Cell<bool>,
    /// Where connections between two requests go on, while the binary is upgraded.
    handover: RefCell<Option<Arc<Handover>>>,
    handed_over: Cell<u64>,
    open: Cell<usize>,
    counts: Cell<ConnectionCounts>,
    /// Who is to be woken when a drain begins; `None`: a free place.
    watches: RefCell<Vec<Option<Waker>>>,
    /// The handshakes' turns.
    pub(super) turns: Rc<Turns>,
}

/// How many connections there were.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConnectionCounts {
    /// Accepted.
    pub accepted: u64,
    /// Closed at once because there were too many.
    pub shed: u64,
    /// What was counted of those of HTTP/2.
    pub http2: Http2Counts,
    /// Closed because the header of the PROXY protocol was missing, broken, or not one of a trusted
    /// proxy.
    pub proxy_refused: u64,
    /// Closed at once because their client had as many as it may.
    pub client_connections: u64,
    /// Closed at once because their client had opened as many in that second.
    pub client_rate: u64,
    /// TLS handshakes by how they ended ([`Handshake::ALL`]).
    pub handshakes: [u64; Handshake::ALL.len()],
}

/// What is counted of HTTP/2.
#[derive(Debug, Clone, Copy, Default)]
pub struct Http2Counts {
    /// Connections.
    pub connections: u64,
    /// Streams.
    pub streams: u64,
    /// Streams that were reset by clients, or for what they did.
    pub resets: u64,
    /// Connections that were told to end, because the worker drains or they were used up.
    pub goaways: u64,
    /// Connections that were cut because the client broke the protocol.
    pub broken: u64,
    /// Connections that were cut because the client asked for too much.
    pub abused: u64,
}

/// How a TLS handshake has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// It was made in full.
    Full,
    /// An earlier session went on.
    Resumed,
    /// The two sides could not agree, or the client has shown no certificate that is trusted.
    Refused,
    /// It was not over in time.
    Timeout,
    /// The client has gone before its end.
    Gone,
    /// The client spoke HTTP in the clear.
    PlainHttp,
    /// Too many others waited already.
    Busy,
}

impl Handshake {
    /// All of them, in their order.
    pub const ALL: [Self; 7] = [
        Self::Full,
        Self::Resumed,
        Self::Refused,
        Self::Timeout,
        Self::Gone,
        Self::PlainHttp,
        Self::Busy,
    ];

    /// Its name as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Resumed => "resumed",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Gone => "gone",
            Self::PlainHttp => "plain_http",
            Self::Busy => "busy",
        }
    }
}

impl Frontend {
    /// That of a worker.
    pub fn new(core: Rc<Core>) -> Rc<Self> {
        Rc::new(Self {
            core,
            is_draining: Cell::new(false),
            handover: RefCell::default(),
            handed_over: Cell::new(0),
            open: Cell::new(0),
            counts: Cell::default(),
            watches: RefCell::default(),
            turns: Turns::new(HANDSHAKES_STRETCH, HANDSHAKES_WAITING_MAX),
        })
    }

    /// Whether no new request should begin.
    pub fn is_draining(&self) -> bool {
        self.is_draining.get()
    }

    /// Whether a connection ends after the response that is being made.
    pub fn ends(&self, is_portable: bool) -> bool {
        self.is_draining.get() || (!is_portable && self.handover.borrow().is_some())
    }

    /// Hands a connection that waits for a request to the next process, if there is one. `true`: it
    /// is to be closed here.
    pub fn hand_over(&self, fd: RawFd, connection: &Connection) -> bool {
        let mut handover = self.handover.borrow_mut();
        let Some(next) = &*handover else { return false };
        match next.send(fd, connection) {
            Sent::Moved => {
                self.handed_over.set(self.handed_over.get() + 1);
                true
            }
            Sent::Later => false,
            Sent::Gone => {
                *handover = None;
                self.is_draining.set(true);
                tracing::warn!(
                    worker = self.core.id,
                    "the next process has ended: connections close"
                );
                false
            }
        }
    }

    /// Counts a new connection, unless there are `connections_max`; dropping the token uncounts it.
    pub fn admit(self: &Rc<Self>, connections_max: usize) -> Option<Admission> {
        let open = self.open.get();
        if open >= connections_max {
            self.shed();
            return None;
        }
        self.open.set(open + 1);
        self.count(|counts| counts.accepted += 1);
        Some(Admission { frontend: self.clone(), client: None })
    }

    /// A number that no other connection of the process has: the worker's, and how many it has
    /// accepted.
    pub fn connection_id(&self) -> u64 {
        (self.core.id as u64) << 40 | self.counts.get().accepted
    }

    /// Counts a new connection that is turned away.
    pub fn shed(&self) {
        self.count(|counts| counts.shed += 1);
    }

    /// Counts a new connection of a client, where clients are bounded; `Err`: it has too many.
    pub(super) fn enter_client(&self, peer: IpAddr) -> Result<Option<Entered>, ()> {
        let snapshot = self.core.snapshot();
        let Some((clients, bounds)) = &snapshot.clients else { return Ok(None) };
        // Those who come by a socket of Unix have no address; proxies bring many clients.
        if peer.is_unspecified() || snapshot.trusted.has(peer) {
            return Ok(None);
        }
        clients.enter(peer, *bounds).map(Some).map_err(|over| {
            self.count(|counts| match over {
                Over::Connections => counts.client_connections += 1,
                Over::Rate => counts.client_rate += 1,
            });
        })
    }

    /// Counts a TLS handshake that has ended.
    pub(super) fn count_handshake(&self, end: Handshake) {
        self.count(|counts| counts.handshakes[end as usize] += 1);
    }

    /// How many steps of handshakes wait for their turn.
    pub fn handshakes_waiting(&self) -> usize {
        self.turns.waiting()
    }

    /// Counts a connection that is closed for its PROXY header.
    pub(super) fn refuse_proxy(&self) {
        self.count(|counts| counts.proxy_refused += 1);
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.open.get()
    }

    /// How many connections there were.
    pub fn counts(&self) -> ConnectionCounts {
        self.counts.get()
    }

    /// Has connections end when they are between two requests, or go on in the next process.
    pub fn start_drain(&self, handover: Option<Arc<Handover>>) {
        self.is_draining.set(handover.is_none());
        *self.handover.borrow_mut() = handover;
        self.watches.borrow().iter().flatten().for_each(Waker::wake_by_ref);
    }

    /// A place for who is to be woken when a drain begins.
    pub fn watch(self: &Rc<Self>) -> DrainWatch {
        let mut watches = self.watches.borrow_mut();
        let free = watches.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            watches.push(None);
            watches.len() - 1
        });
        watches[place] = Some(Waker::noop().clone());
        DrainWatch { frontend: self.clone(), place }
    }

    /// Waits until the last connection has ended or moved on. The control plane bounds how long.
    pub async fn drained(&self) {
        let mut left_at = None;
        loop {
            if self.open.get() > 0 {
                left_at = None;
            } else {
                // Nobody is waiting for copies: they have a moment, no more.
                let since = *left_at.get_or_insert_with(Instant::now);
                if self.core.copies_under_way() == 0 || since.elapsed() >= MIRRORS_DRAIN_TIME {
                    break;
                }
            }
            // Connections that turned idle since the last look are waiting for requests again.
            match self.is_draining() {
                true => self.core.deadlines().expire_idle(now_ms()),
                false => {
                    self.core.deadlines().expire_idle_bound(now_ms());
                    self.core.deadlines().request_handover(HANDOVERS_AT_ONCE);
                }
            }
            sleep(Duration::from_millis(10)).await;
        }
        if self.handed_over.get() > 0 {
            let (worker, count) = (self.core.id, self.handed_over.get());
            tracing::info!(worker, count, "connections moved to the next process");
        }
    }

    pub(super) fn count_http2(&self, change: impl FnOnce(&mut Http2Counts)) {
        self.count(|counts| change(&mut counts.http2));
    }

    fn count(&self, change: impl FnOnce(&mut ConnectionCounts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }
}

/// See [`Frontend::watch`].
pub struct DrainWatch {
    frontend: Rc<Frontend>,
    place: usize,
}

impl DrainWatch {
    /// Wakes this task when a drain begins.
    pub fn wakes(&self, waker: &Waker) {
        if let Some(Some(known)) = self.frontend.watches.borrow_mut().get_mut(self.place) {
            known.clone_from(waker);
        }
    }
}

impl Drop for DrainWatch {
    fn drop(&mut self) {
        if let Some(place) = self.frontend.watches.borrow_mut().get_mut(self.place) {
            *place = None;
        }
    }
}

/// A counted downstream connection.
pub struct Admission {
    frontend: Rc<Frontend>,
    /// It is counted of its client too.
    pub(super) client: Option<Entered>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.frontend.open.set(self.frontend.open.get() - 1);
    }
}
