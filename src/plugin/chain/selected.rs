//! Which plugins of a chain apply to one exchange, and what they need together.

use super::super::module::Plugin;
use super::super::spec::{BodyMode, Encoding, Phase};
use super::Chain;

/// Which plugins of a chain apply to one exchange. Reused: selecting keeps the memory.
#[derive(Debug, Clone, Default)]
pub struct Selected {
    indexes: Vec<usize>,
    request_phase: bool,
    response_phase: bool,
    aggregation: bool,
    request_body: bool,
    response_body: bool,
    request_streams: bool,
    response_streams: bool,
    rejects_large: bool,
    has_handlers: bool,
    request_asks: bool,
    response_asks: bool,
    /// A handler reads the request's body behind a plugin that is given it piece by piece.
    asks_behind: bool,
    request_encoding: Encoding,
    response_encoding: Encoding,
    /// How many of `indexes` stand before the first that reads the request's body.
    bodiless: usize,
}

impl Selected {
    /// Nothing selected.
    pub const fn new() -> Self {
        Self {
            indexes: Vec::new(),
            request_phase: false,
            response_phase: false,
            aggregation: false,
            request_body: false,
            response_body: false,
            request_streams: false,
            response_streams: false,
            rejects_large: false,
            has_handlers: false,
            request_asks: false,
            response_asks: false,
            asks_behind: false,
            request_encoding: Encoding::Raw,
            response_encoding: Encoding::Raw,
            bodiless: 0,
        }
    }

    /// Forgets what was selected, keeps the memory.
    pub fn clear(&mut self) {
        self.indexes.clear();
        self.request_phase = false;
        self.response_phase = false;
        self.aggregation = false;
        self.request_body = false;
        self.response_body = false;
        self.request_streams = false;
        self.response_streams = false;
        self.rejects_large = false;
        self.has_handlers = false;
        self.request_asks = false;
        self.response_asks = false;
        self.asks_behind = false;
        self.request_encoding = Encoding::Raw;
        self.response_encoding = Encoding::Raw;
        self.bodiless = 0;
    }

    /// Whether no plugin applies.
    pub fn is_empty(&self) -> bool {
        self.indexes.is_empty()
    }

    /// Whether [`run_request`] has anything to do.
    pub fn has_request_phase(&self) -> bool {
        self.request_phase
    }

    /// Whether [`run_response`] has anything to do.
    pub fn has_response_phase(&self) -> bool {
        self.response_phase
    }

    /// Whether a body that is too large to collect ends the exchange: one of the plugins does not
    /// let it pass.
    pub fn rejects_large_bodies(&self) -> bool {
        self.rejects_large
    }

    /// Whether [`run_aggregation`] has anything to do.
    pub fn has_aggregation(&self) -> bool {
        self.aggregation
    }

    /// Whether plugins run before the first one that reads the request's body. They are to run
    /// before it is collected: what an auth plugin refuses must not have cost the memory of a body.
    pub fn has_bodiless_start(&self) -> bool {
        self.bodiless > 0
    }

    /// The plugins before the first one that reads the request's body, or the others.
    pub(super) fn part(&self, part: Part) -> &[usize] {
        match part {
            Part::All => &self.indexes,
            Part::BeforeBody => &self.indexes[..self.bodiless],
            Part::FromBody => &self.indexes[self.bodiless..],
        }
    }

    /// Whether a plugin asks for the request's body: it has to be collected.
    pub fn needs_request_body(&self) -> bool {
        self.request_body || self.asks_behind
    }

    /// Whether there are handlers among them, which read bodies in their calls and as they ask, and
    /// may change trailers.
    pub fn has_handlers(&self) -> bool {
        self.has_handlers
    }

    /// Whether one of them may read the request's body in its call.
    pub fn asks_for_request_body(&self) -> bool {
        self.request_asks
    }

    /// Whether one of them may read the response's body in its call.
    pub fn asks_for_response_body(&self) -> bool {
        self.response_asks
    }

    /// Whether a plugin asks for the response's body.
    pub fn needs_response_body(&self) -> bool {
        self.response_body
    }

    /// Whether a plugin is given the request's body piece by piece, if it is not collected.
    pub fn streams_request_body(&self) -> bool {
        self.request_streams
    }

    /// Whether a plugin is given the response's body piece by piece, if it is not collected.
    pub fn streams_response_body(&self) -> bool {
        self.response_streams
    }

    /// What becomes of the content codings of the request's body, by those who read it.
    pub fn request_encoding(&self) -> Encoding {
        self.request_encoding
    }

    /// What becomes of the content codings of the response's body, by those who read it.
    pub fn response_encoding(&self) -> Encoding {
        self.response_encoding
    }

    /// The selected plugins behind place `at` of `chain` that let nobody pass whom they do not
    /// know, or who has had enough.
    pub(super) fn guards_behind(&self, at: usize, chain: &Chain) -> Vec<usize> {
        let is_guard = |index: usize| {
            chain.plugins.get(index).is_some_and(|plugin| plugin.spec.kind.is_guard())
        };
        self.indexes.iter().copied().filter(|&index| index > at && is_guard(index)).collect()
    }

    pub(super) fn add(&mut self, index: usize, plugin: &Plugin) {
        self.indexes.push(index);
        self.request_phase |= plugin.runs_in(Phase::Request);
        self.response_phase |= plugin.runs_in(Phase::Response);
        self.aggregation |= plugin.runs_in(Phase::Aggregation);
        let (request, response) = (plugin.body_in(Phase::Request), plugin.body_in(Phase::Response));
        self.has_handlers |= plugin.is_handler();
        if plugin.is_handler() && self.request_streams && request.is_streaming() {
            // What the plugin before it makes of the body has to be made before it reads.
            self.asks_behind = true;
            self.rejects_large = true;
        }
        self.request_body |= request == BodyMode::Whole;
        if plugin.is_handler() {
            // Its responses are read only where it has asked for that by then.
            self.request_asks |= request.is_streaming();
            self.response_asks |= response != BodyMode::None;
        } else {
            self.request_streams |= request.is_streaming();
            self.response_body |= response == BodyMode::Whole;
            self.response_streams |= response.is_streaming();
        }
        let is_read = self.request_body || self.request_streams || self.request_asks;
        self.bodiless += usize::from(!is_read);
        if request != BodyMode::None {
            self.request_encoding = self.request_encoding.max(plugin.spec.encoding);
        }
        if response != BodyMode::None {
            self.response_encoding = self.response_encoding.max(plugin.spec.encoding);
        }
        let is_whole = plugin.spec.body == BodyMode::Whole;
        self.rejects_large |= is_whole && !plugin.spec.passes_large_bodies;
    }
}

/// Which of the selected plugins run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of them.
    All,
    /// Those before the first that reads the request's body.
    BeforeBody,
    /// That one and those after it.
    FromBody,
}
