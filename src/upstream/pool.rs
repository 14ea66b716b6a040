//! Idle upstream connections of one worker, by endpoint.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::connection::Connection as Either;
use super::h1::Connection;
use super::h2;
use super::tls::Spoken;
use crate::io::deadline::now_ms;
use crate::limits::READS_AHEAD_MAX;

/// The idle connections of a worker. The most recently used of an endpoint is taken first, so that
/// those that are too many grow old and go.
#[derive(Debug, Default)]
pub struct Pool {
    /// By `Endpoint::id`.
    endpoints: RefCell<Vec<Vec<Idle>>>,
    /// How many of them read ahead.
    ahead: Cell<usize>,
    /// How many there are.
    count: Cell<usize>,
    /// Those of HTTP/2, by `Endpoint::id`: idle or not, many requests share one.
    shared: RefCell<Vec<(usize, Rc<h2::Shared>)>>,
}

#[derive(Debug)]
struct Idle {
    connection: Box<Connection>,
    since_ms: u64,
}

impl Pool {
    /// An idle connection to the endpoint, open and silent as far as this worker has seen.
    ///
    /// One that the origin has closed would cost a retry, or the request if that may not be
    /// repeated; one that has received something unasked would answer with it. Those are dropped.
    pub fn take(&self, endpoint: usize) -> Option<Box<Connection>> {
        let mut endpoints = self.endpoints.borrow_mut();
        let idle = endpoints.get_mut(endpoint)?;
        loop {
            let mut connection = idle.pop()?.connection;
            self.uncount(&connection);
            if connection.is_quiet() {
                return Some(connection);
            }
        }
    }

    /// What there is for a request to the endpoint: see [`Self::take`] and [`Self::lease`].
    pub fn there(&self, endpoint: usize, spoken: Spoken) -> Option<Either> {
        let lease = || self.lease(endpoint).map(Either::Http2);
        let take = || self.take(endpoint).map(Either::Http1);
        match spoken {
            Spoken::Http1 => take(),
            Spoken::Http2 => lease(),
            Spoken::Agreed => lease().or_else(take),
        }
    }

    /// A stream of a connection of HTTP/2 to the endpoint, if there is one with room.
    pub fn lease(&self, endpoint: usize) -> Option<Box<h2::Lease>> {
        let shared = self.shared.borrow();
        let mut of_endpoint = shared.iter().filter(|(id, _)| *id == endpoint);
        let (_, shared) = of_endpoint.find(|(_, shared)| shared.may_open())?;
        Some(h2::Lease::new(shared))
    }

    /// Keeps a new connection of HTTP/2, and gives a stream of it.
    pub fn share(&self, endpoint: usize, connection: &Rc<h2::Shared>) -> Box<h2::Lease> {
        let mut shared = self.shared.borrow_mut();
        shared.retain(|(_, one)| !one.is_useless());
        shared.push((endpoint, connection.clone()));
        h2::Lease::new(connection)
    }

    fn uncount(&self, connection: &Connection) {
        self.count.set(self.count.get() - 1);
        self.ahead.set(self.ahead.get() - usize::from(connection.is_ahead()));
    }

    /// Keeps a connection for reuse, unless there are `idle_max` already.
    pub fn give(&self, endpoint: usize, mut connection: Box<Connection>, idle_max: usize) {
        let mut endpoints = self.endpoints.borrow_mut();
        if endpoints.len() <= endpoint {
            endpoints.resize_with(endpoint + 1, Vec::new);
        }
        let idle = &mut endpoints[endpoint];
        if idle.len() < idle_max {
            if self.ahead.get() < READS_AHEAD_MAX {
                connection.read_ahead();
                self.ahead.set(self.ahead.get() + 1);
            }
            self.count.set(self.count.get() + 1);
            idle.push(Idle { connection, since_ms: now_ms() });
        }
    }

    /// Closes connections until no more than `most` are idle: the oldest of some endpoint first.
    pub fn shrink(&self, most: usize) {
        if self.count.get() <= most {
            return;
        }
        for idle in self.endpoints.borrow_mut().iter_mut() {
            let excess = self.count.get().saturating_sub(most).min(idle.len());
            for idle in idle.drain(..excess) {
                self.uncount(&idle.connection);
            }
        }
    }

    /// Closes the connections that have been idle for `age` or that the origin has closed.
    pub fn sweep(&self, age: Duration) {
        let oldest = now_ms().saturating_sub(age.as_millis() as u64);
        self.shared.borrow_mut().retain(|(_, shared)| {
            shared.end_if_idle_since(oldest);
            !shared.is_useless()
        });
        for idle in self.endpoints.borrow_mut().iter_mut() {
            idle.retain_mut(|idle| {
                let is_kept = idle.since_ms > oldest && idle.connection.is_quiet();
                if !is_kept {
                    self.uncount(&idle.connection);
                }
                is_kept
            });
        }
    }

    /// How many connections to an endpoint are idle.
    pub fn idle_of(&self, endpoint: usize) -> u64 {
        self.endpoints.borrow().get(endpoint).map_or(0, |idle| idle.len() as u64)
    }

    /// How many connections are idle.
    pub fn len(&self) -> usize {
        self.count.get()
    }

    /// Whether none is idle.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
