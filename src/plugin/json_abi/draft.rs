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
    /// The members of the body among them, with the comma before them, counted from where the
    /// messages begin; empty if it is withheld.
    pub(super) body: Range<usize>,
}

/// What of the messages an input of the same run has already, as it is to stand in the next one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known<'a> {
    /// All of them, and where the members of the body stand.
    Messages(&'a [u8], &'a Range<usize>),
    /// The members of the body.
    Body(&'a [u8]),
    /// Nothing.
    Nothing,
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
    /// What still stands so. `has_body`: the next plugin is given the body; one from which it is
    /// withheld takes nothing of an input that has it.
    pub(super) fn known(&self, now: Changes, has_body: bool) -> Known<'_> {
        let Layout { messages, body } = &self.layout;
        let messages = &self.bytes[messages.clone()];
        if messages.is_empty() || has_body == body.is_empty() {
            Known::Nothing
        } else if self.changes == now {
            Known::Messages(messages, body)
        } else if has_body && self.changes.bodies == now.bodies {
            Known::Body(&messages[body.clone()])
        } else {
            Known::Nothing
        }
    }

    /// Keeps this input and returns the memory of the one before it.
    pub(super) fn replace(&mut self, bytes: Vec<u8>, layout: Layout, changes: Changes) -> Vec<u8> {
        (self.layout, self.changes) = (layout, changes);
        std::mem::replace(&mut self.bytes, bytes)
    }

    /// The last input, whole.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The memory, once the run is over.
    pub(in super::super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
