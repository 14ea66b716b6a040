//! The input of the call before, of which the next one takes what has not changed.
//!
//! Plugins of one chain are told the same messages, but for what those before them have changed;
//! most change a field or nothing. Writing the messages, and above all escaping a body, is most of
//! what an input costs.

use std::ops::Range;

use super::super::chain::Changes;

/// Where an input has what the next one may take.
#[derive(Debug, Clone, Default)]
pub(super) struct Layout {
    /// The messages: the value of `input`.
    pub(super) messages: Range<usize>,
    /// In them, the members of the body, with the comma before them; empty if it is withheld.
    pub(super) body: Range<usize>,
}

/// The last input of a run of a chain, if there is one. One for each run: in another, or another
/// phase, the messages are others.
#[derive(Debug, Default)]
pub(in super::super) struct Draft {
    bytes: Vec<u8>,
    layout: Layout,
    /// As of when it was written.
    changes: Changes,
}

impl Draft {
    /// The messages, if they still stand so: for a plugin that is given the body, or is not.
    pub(super) fn messages(&self, now: Changes, has_body: bool) -> Option<&Self> {
        (!self.bytes.is_empty() && self.changes == now && self.has_body() == has_body)
            .then_some(self)
    }

    /// The members of the body, if they still stand so.
    pub(super) fn body(&self, now: Changes) -> Option<&[u8]> {
        (self.has_body() && self.changes.bodies == now.bodies)
            .then(|| &self.bytes[self.layout.body.clone()])
    }

    fn has_body(&self) -> bool {
        !self.layout.body.is_empty()
    }

    /// Appends the messages to another input; where it has the body now.
    pub(super) fn copy_messages(&self, out: &mut Vec<u8>) -> Range<usize> {
        let Layout { messages, body } = &self.layout;
        let moved = out.len().wrapping_sub(messages.start);
        out.extend_from_slice(&self.bytes[messages.clone()]);
        body.start.wrapping_add(moved)..body.end.wrapping_add(moved)
    }

    /// Keeps this input; the one before it, for its memory.
    pub(super) fn replace(&mut self, bytes: Vec<u8>, layout: Layout, changes: Changes) -> Vec<u8> {
        (self.layout, self.changes) = (layout, changes);
        std::mem::replace(&mut self.bytes, bytes)
    }

    /// The memory, once the run is over.
    pub(in super::super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
