//! What a store holds for a filter: its contexts, and what its calls of host functions have asked
//! for that is done when the running call is over.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use send_wrapper::SendWrapper;
use wasmtime::TypedFunc;

use super::super::hostcalls::Request;
use super::context::Context;
use super::grpc::{self, Cancelled, Line, Received};
use super::metrics::Metric;
use super::shape::Version;
use super::shared::Queue;
use crate::upstream::call::Answer;

/// The id of the root context: an instance has one.
pub(super) const ROOT: u32 = 1;

/// A call that a guest has asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) token: u32,
    pub(super) request: Request,
    pub(super) timeout: Duration,
}

/// A queue that the instance has named, and the number by which it is told of it if it has
/// registered it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) queue: Arc<Queue>,
    pub(super) owner: Option<u64>,
}

/// See the module's text.
#[derive(Default)]
pub(in crate::plugin) struct State {
    pub(super) contexts: HashMap<u32, Box<Context>, ahash::RandomState>,
    last_id: u32,
    /// The context that host functions act on.
    pub(super) current: u32,
    pub(super) version: Version,
    pub(super) allocate: Option<TypedFunc<i32, i32>>,
    /// Calls to make when the guest has returned.
    pub(super) asked: Vec<Asked>,
    /// Calls that are made or wait to be.
    pub(super) calls: usize,
    /// gRPC calls and streams that are open, by their numbers.
    pub(super) lines: HashMap<u32, SendWrapper<Rc<Line>>, ahash::RandomState>,
    /// Those to open when the guest has returned.
    pub(super) asked_lines: Vec<SendWrapper<grpc::Asked>>,
    /// What came over one, while its callback runs.
    pub(super) received: Option<Received>,
    /// How the gRPC call has ended that the running callback is about, and its message.
    pub(super) status: (u32, Vec<u8>),
    last_token: u32,
    /// Contexts that a paused exchange may have to look at, or that have ended.
    pub(super) touched: Vec<u32>,
    /// What an HTTP call was answered, while its callback runs.
    pub(super) answer: Option<Answer>,
    /// The root has said that it is done (`proxy_done`).
    pub(super) is_done: bool,
    /// The period of ticks, if it was set by the running call.
    pub(super) new_tick: Option<Duration>,
    pub(super) queues: Vec<Held>,
    pub(super) metrics: Vec<Metric>,
    /// For what a host function returns; reused.
    pub(super) scratch: Vec<u8>,
}

impl State {
    /// The id of a new context: not 0, not the root's, of no other that lives.
    pub(in crate::plugin) fn new_id(&mut self) -> u32 {
        loop {
            self.last_id = self.last_id.wrapping_add(1).max(ROOT + 1);
            if !self.contexts.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    /// The number of a new call. It is not used again before 2^32 others.
    pub(super) fn new_token(&mut self) -> u32 {
        self.last_token = self.last_token.wrapping_add(1).max(1);
        self.last_token
    }

    /// An open gRPC call or stream.
    pub(super) fn line(&self, token: u32) -> Option<&Rc<Line>> {
        self.lines.get(&token).map(|line| &**line)
    }

    pub(super) fn forget_line(&mut self, token: u32) {
        self.lines.remove(&token);
    }

    /// The streams of an exchange that is over are given up; calls are answered all the same.
    pub(super) fn end_lines_of(&self, context: u32) {
        for line in self.lines.values().filter(|line| line.context == context && !line.is_call) {
            line.cancel(Cancelled::ByEnd);
        }
    }

    /// The exchange that host functions act on; none for the root.
    pub(super) fn context(&mut self) -> Option<&mut Context> {
        self.contexts.get_mut(&self.current).map(|context| &mut **context)
    }

    /// As [`Self::context`]; whoever waits for it is woken when the call is over.
    pub(super) fn touch(&mut self) -> Option<&mut Context> {
        if self.contexts.contains_key(&self.current) {
            self.touched.push(self.current);
        }
        self.context()
    }

    /// Whether a context of this id lives.
    pub(super) fn is_alive(&self, id: u32) -> bool {
        id == ROOT || self.contexts.contains_key(&id)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        for line in self.lines.values() {
            line.cancel(Cancelled::ByGuest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::UNIX_EPOCH;

    use super::super::super::chain::MessageBounds;
    use super::super::context::Known;
    use super::*;

    #[test]
    fn ids_wrap_around_those_that_live() {
        let known = Known {
            request_id: String::new(),
            trace_id: String::new(),
            service: String::new(),
            scheme: "http",
            protocol: "HTTP/1.1",
            client_port: 0,
            connection_id: 0,
            local: None,
            upstream: None,
            tls: None,
            client_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            received: UNIX_EPOCH,
            bounds: MessageBounds::DEFAULT,
            passed: Vec::new(),
        };
        let mut state = State::default();
        state.last_id = u32::MAX - 1;
        for id in [2, 3, u32::MAX] {
            state.contexts.insert(id, Box::new(Context::new(known.clone())));
        }
        assert_eq!((state.new_id(), state.new_id()), (4, 5));
        state.last_token = u32::MAX;
        assert_eq!(state.new_token(), 1);
    }
}
