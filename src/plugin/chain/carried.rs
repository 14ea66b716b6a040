//! What an exchange carries from plugin to plugin and from phase to phase.

use std::fmt;
use std::rc::Rc;

use super::super::http_wasm::Held;
use super::super::json_abi::Streams as ChunkStreams;
use super::super::proxy_wasm::Streams;
use super::super::spec::Phase;
use super::Chosen;
use super::Facts;
use super::feed::Feed;
use super::passage::{Passage, Stage};
use crate::http::message::{RequestHead, ResponseHead};
use crate::io::budget;

/// What is handed along through both phases of one exchange. Reused: clearing keeps the memory.
#[derive(Default)]
pub struct Carried {
    /// The place in the chain of the `response` plugin that answered before the service was asked.
    pub(super) answered_at: Option<usize>,
    changes: Changes,
    /// Whom a plugin has chosen to be asked.
    chosen: Option<Chosen>,
    /// What plugins tell those after them, a JSON object (empty: `{}`).
    metadata: String,
    /// The contexts of foreign filters.
    pub(in crate::plugin) streams: Streams,
    /// Those of plugins that bodies pass piece by piece.
    pub(in crate::plugin) chunk_streams: ChunkStreams,
    /// The instances that serve it until its response comes.
    pub(in crate::plugin) held: Held,
    /// Where handlers read the body of the message that runs.
    pub(in crate::plugin) feed: Option<Rc<Feed>>,
    /// Whom the body of the message that runs passes, piece by piece.
    pub(super) stages: Vec<Stage>,
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carried").field("changes", &self.changes).finish_non_exhaustive()
    }
}

/// How often plugins have changed the messages of an exchange, and their bodies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::plugin) struct Changes {
    pub(in crate::plugin) messages: u32,
    pub(in crate::plugin) bodies: u32,
}

impl Carried {
    /// Nothing carried.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything: a new exchange begins.
    pub fn clear(&mut self) {
        self.answered_at = None;
        self.changes = Changes::default();
        self.chosen = None;
        self.metadata.clear();
        self.streams = Streams::default();
        self.chunk_streams.clear();
        self.held.clear();
        self.feed = None;
        self.stages.clear();
    }

    /// Whether a plugin has to be told when the exchange is over.
    pub fn has_open_contexts(&self) -> bool {
        !(self.streams.is_empty() && self.chunk_streams.is_empty() && self.held.is_empty())
    }

    /// The exchange is over: plugins that have a context of it are told, with its messages as they
    /// were in the end. (Those of a `Carried` that is cleared or dropped are told without.)
    pub async fn end(&mut self, request: &RequestHead, response: &ResponseHead) {
        if !self.held.is_empty() {
            self.held.fail(response.status).await;
        }
        self.chunk_streams.clear();
        self.streams.end(request, response).await;
    }

    /// Handlers read the body of the message that runs next from there.
    pub fn set_feed(&mut self, feed: &Rc<Feed>) {
        self.feed = Some(Rc::clone(feed));
    }

    /// Whether a handler has asked to see the body of the response.
    pub fn wants_response_body(&self) -> bool {
        self.held.wants_response_body()
    }

    /// Whether a `response` plugin has answered in the place of the service, as a cache does. Its
    /// answer stands where the service's stood when the plugin saw it: the response phase goes on
    /// behind it, or what later plugins hide or add would depend on what is stored.
    pub fn is_answered(&self) -> bool {
        self.answered_at.is_some()
    }

    /// The plugins that have let the head of a message go on and are given its body piece by piece;
    /// what they hold back is taken from `held`.
    pub fn take_passage(&mut self, phase: Phase, facts: &Facts<'_>, held: budget::Held) -> Passage {
        Passage::new(std::mem::take(&mut self.stages), phase, facts, held)
    }

    /// Whether plugins wait for the body of the message that has run.
    pub fn has_stages(&self) -> bool {
        !self.stages.is_empty()
    }

    /// Whom a plugin has chosen to be asked, the last one that did.
    pub fn chosen(&self) -> Option<Chosen> {
        self.chosen
    }

    pub(in super::super) fn choose(&mut self, chosen: Chosen) {
        self.chosen = Some(chosen);
    }

    pub(in crate::plugin) fn changes(&self) -> Changes {
        self.changes
    }

    /// Notes that a plugin is about to change a message, with or without its body.
    pub(in crate::plugin) fn note_change(&mut self, has_body: bool) {
        self.changes.messages += 1;
        self.changes.bodies += u32::from(has_body);
    }

    /// What plugins have told those after them, as a JSON object.
    pub fn metadata_json(&self) -> &str {
        match self.metadata.as_str() {
            "" => "{}",
            json => json,
        }
    }

    pub(in crate::plugin) fn set_metadata(&mut self, merged: Option<String>) {
        if let Some(merged) = merged {
            self.metadata = merged;
        }
    }
}
