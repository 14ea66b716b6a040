//! One exchange as a filter sees it: its messages while a phase runs, and what the filter has said.
//!
//! Pure: no guest, no clock. What a guest sets is checked like a client's input when it sets it; a
//! mistake is kept as the fault with which its phase fails, because the statuses that the SDKs
//! take leave no way to say so.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use super::super::chain::{Facts, MessageBounds, Upstream};
use crate::http::connection::TlsFacts;
use crate::http::message::{Fields, LocalResponse, RequestHead, ResponseHead};

/// Which of the two messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plugin) enum Direction {
    Request,
    Response,
}

/// What of a phase comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stage {
    #[default]
    Headers,
    Body,
    Over,
}

/// What the exchange knows, kept for the time of the context: callbacks may come when no phase
/// runs.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) request_id: String,
    pub(super) trace_id: String,
    pub(super) service: String,
    pub(super) scheme: &'static str,
    pub(super) protocol: &'static str,
    pub(super) client_ip: IpAddr,
    pub(super) client_port: u16,
    pub(super) connection_id: u64,
    pub(super) local: Option<SocketAddr>,
    /// The origin that was asked, as `host:port`.
    pub(super) upstream: Option<String>,
    pub(super) tls: Option<Box<TlsFacts>>,
    pub(super) received: SystemTime,
    pub(super) bounds: MessageBounds,
    pub(super) passed: Vec<u8>,
}

impl Known {
    pub(super) fn of(facts: &Facts<'_>) -> Self {
        let ids = facts.ids();
        Self {
            request_id: ids.request.to_owned(),
            trace_id: ids.trace.to_owned(),
            service: facts.service.to_owned(),
            scheme: facts.scheme.as_str(),
            protocol: facts.connection.protocol.as_str(),
            client_ip: facts.client_ip,
            // A trusted proxy names an address; the port is its own.
            client_port: match facts.client_ip == facts.connection.client {
                true => facts.connection.client_port,
                false => 0,
            },
            connection_id: facts.connection.id,
            local: facts.connection.local,
            upstream: facts.asked.0.and_then(Upstream::authority).map(str::to_owned),
            tls: facts.connection.tls.clone(),
            received: facts.received,
            bounds: facts.bounds,
            passed: facts.passed.to_vec(),
        }
    }
}

/// A body, and whether the filter has made another of it.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) is_changed: bool,
}

/// How far a body has come that passes the filter piece by piece.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flow {
    /// Bytes of it that have come.
    pub(super) bytes: usize,
    /// Its buffer may be changed.
    pub(super) is_open: bool,
    /// All of the body has come.
    pub(super) is_end: bool,
    /// The filter holds the buffer back.
    pub(super) is_paused: bool,
    /// The filter has been told of trailers, and may change them.
    pub(super) has_trailers: bool,
}

/// What a guest keeps of an exchange under a path (`proxy_set_property`).
pub(in crate::plugin) type Properties = BTreeMap<Vec<u8>, Vec<u8>>;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) known: Known,
    pub(super) request: RequestHead,
    pub(super) response: ResponseHead,
    pub(super) request_trailers: Fields,
    pub(super) response_trailers: Fields,
    pub(super) request_body: Option<Body>,
    pub(super) response_body: Option<Body>,
    /// Of the request, of the response.
    pub(super) flows: [Flow; 2],
    /// The message that may be changed: that of the phase that runs.
    pub(super) open: Option<Direction>,
    pub(super) stage: Stage,
    /// Whether the open message's head has been changed.
    pub(super) is_changed: bool,
    /// Its filter has paused and not yet gone on.
    pub(super) is_paused: bool,
    /// `proxy_continue_stream` for the request, for the response.
    pub(super) is_resumed: [bool; 2],
    /// `proxy_close_stream`.
    pub(super) is_closed: bool,
    /// What the filter answers in the place of the service.
    pub(super) local: Option<LocalResponse>,
    /// It has answered in this phase: a second answer counts for nothing.
    pub(super) has_answered: bool,
    /// What it has said of its answer.
    pub(super) details: Option<String>,
    /// Control data that it has taken out and not set again: it must, or its phase fails.
    pub(super) removed: Vec<&'static str>,
    /// The exchange is over; what remains is to be told so.
    pub(super) is_ending: bool,
    /// Whether a response has come: its properties mean something.
    pub(super) has_response: bool,
    /// What is wrong with what the filter did.
    pub(super) fault: Option<String>,
    pub(super) properties: Properties,
}

impl Context {
    pub(super) fn new(known: Known) -> Self {
        Self {
            known,
            request: RequestHead::default(),
            response: ResponseHead::default(),
            request_trailers: Fields::new(),
            response_trailers: Fields::new(),
            request_body: None,
            response_body: None,
            flows: [Flow::default(); 2],
            open: None,
            stage: Stage::default(),
            is_changed: false,
            is_paused: false,
            is_resumed: [false; 2],
            is_closed: false,
            local: None,
            has_answered: false,
            details: None,
            removed: Vec::new(),
            is_ending: false,
            has_response: false,
            fault: None,
            properties: Properties::new(),
        }
    }

    /// A phase begins.
    pub(super) fn begin(&mut self, direction: Direction) {
        self.open = Some(direction);
        self.stage = Stage::Headers;
        self.is_changed = false;
        self.is_paused = false;
        self.is_resumed[direction as usize] = false;
        // Another answer may replace that of an earlier phase.
        self.has_answered = false;
        self.removed.clear();
        self.has_response |= direction == Direction::Response;
    }

    /// The phase is over: nothing of the message can be changed any more.
    pub(super) fn close(&mut self) {
        self.open = None;
        self.is_paused = false;
    }

    /// The filter did what it may not do. The first mistake is the one that is told.
    pub(super) fn blame(&mut self, text: impl Into<String>) {
        self.fault.get_or_insert_with(|| text.into());
    }

    /// How far one message's body has come.
    pub(super) fn flow(&mut self, direction: Direction) -> &mut Flow {
        &mut self.flows[direction as usize]
    }

    /// Whether the trailers of one message are there to be changed.
    pub(super) fn has_trailers(&self, direction: Direction) -> bool {
        self.flows[direction as usize].has_trailers
    }

    /// Whether the filter has ended the exchange.
    pub(super) fn is_settled(&self) -> bool {
        self.is_closed || self.local.is_some() || self.fault.is_some()
    }

    /// The body of one message.
    pub(super) fn body(&mut self, direction: Direction) -> Option<&mut Body> {
        match direction {
            Direction::Request => self.request_body.as_mut(),
            Direction::Response => self.response_body.as_mut(),
        }
    }

    /// Whether the body of one message is there to be changed.
    pub(super) fn can_change_body(&self, direction: Direction) -> bool {
        let body = match direction {
            Direction::Request => &self.request_body,
            Direction::Response => &self.response_body,
        };
        (self.open == Some(direction) || self.flows[direction as usize].is_open) && body.is_some()
    }

    /// Whether something has come that a paused exchange waits for.
    pub(super) fn is_decided(&self) -> bool {
        let resumed = match self.open {
            Some(Direction::Request) => self.is_resumed[0],
            Some(Direction::Response) => self.is_resumed[1],
            None => false,
        };
        resumed || self.is_settled()
    }

    /// Makes `bytes` the part of a body from `start` on of `length` bytes: Envoy's meaning of a
    /// length of 0 at the beginning (before it) and of a start beyond the end (behind it).
    pub(super) fn set_body(
        &mut self,
        direction: Direction,
        start: usize,
        length: usize,
        new: &[u8],
    ) {
        let most = self.known.bounds.body_bytes_max;
        let Some(body) = self.body(direction) else {
            return;
        };
        let start = start.min(body.bytes.len());
        let end = start.saturating_add(length).min(body.bytes.len());
        let will = body.bytes.len() - (end - start) + new.len();
        if will > most {
            self.blame(format!(
                "the body would be {will} bytes, limit is {most} \
                 (server.limits.pluginBodyBytesMax)"
            ));
            return;
        }
        body.bytes.splice(start..end, new.iter().copied());
        body.is_changed = true;
    }
}
