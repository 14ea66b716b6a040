//! Idle upstream connections of one worker, by endpoint.

use std::cell::RefCell;
use std::time::Duration;

use super::connection::Connection;
use crate::deadline::now_ms;

/// The idle connections of a worker. The most recently used of an endpoint is taken first, so that
/// those that are too many grow old and go.
#[derive(Debug, Default)]
pub struct Pool {
    /// By `Endpoint::id`.
    endpoints: RefCell<Vec<Vec<Idle>>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since_ms: u64,
}

impl Pool {
    /// An idle connection to the endpoint.
    pub fn take(&self, endpoint: usize) -> Option<Connection> {
        let mut endpoints = self.endpoints.borrow_mut();
        endpoints.get_mut(endpoint)?.pop().map(|idle| idle.connection)
    }

    /// Keeps a connection for reuse, unless there are `idle_max` already.
    pub fn give(&self, endpoint: usize, connection: Connection, idle_max: usize) {
        let mut endpoints = self.endpoints.borrow_mut();
        if endpoints.len() <= endpoint {
            endpoints.resize_with(endpoint + 1, Vec::new);
        }
        let idle = &mut endpoints[endpoint];
        if idle.len() < idle_max {
            idle.push(Idle { connection, since_ms: now_ms() });
        }
    }

    /// Closes the connections that have been idle for `age` or that the origin has closed.
    pub fn sweep(&self, age: Duration) {
        let oldest = now_ms().saturating_sub(age.as_millis() as u64);
        for idle in self.endpoints.borrow_mut().iter_mut() {
            idle.retain(|idle| idle.since_ms > oldest && idle.connection.is_quiet());
        }
    }

    /// How many connections are idle.
    pub fn len(&self) -> usize {
        self.endpoints.borrow().iter().map(Vec::len).sum()
    }

    /// Whether none is idle.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
