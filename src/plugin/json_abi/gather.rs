//! Which calls a body comes to, piece by piece or event by event, and what becomes of each. Pure:
//! no guest, no clock.

use super::super::chain::{Flow, Piece};
use super::super::failure::CallError;
use super::super::spec::Phase;
use super::chunk::{Action, FLAG_END, FLAG_EVENT};
use super::events::Events;
use crate::http::message::Fields;

/// A body as far as it has come and has not been called for.
#[derive(Debug)]
pub(in crate::plugin) struct Gather {
    /// Of a stream of events.
    events: Option<Events>,
    /// Of any other body: what the next call is about.
    bytes: Vec<u8>,
    /// What the guest has said to hold.
    held: Vec<u8>,
    /// The last piece has come, with these trailers.
    end: Option<Fields>,
    /// There may be a call to make.
    is_due: bool,
    bytes_max: usize,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::plugin) enum Next {
    /// A call with these bytes and flags.
    Call(Vec<u8>, i32),
    /// Nothing before more comes.
    Nothing,
    /// More has gathered than may be held.
    TooLarge,
}

impl Gather {
    /// Nothing yet; at most `bytes_max` bytes gather for one call.
    pub(in crate::plugin) fn new(is_events: bool, bytes_max: usize) -> Self {
        Self {
            events: is_events.then(Events::default),
            bytes: Vec::new(),
            held: Vec::new(),
            end: None,
            is_due: false,
            bytes_max,
        }
    }

    /// Takes a piece.
    pub(in crate::plugin) fn give(&mut self, piece: Piece) {
        self.is_due = true;
        if piece.is_end {
            self.end = Some(piece.trailers);
        }
        match &mut self.events {
            Some(events) => events.give(&piece.bytes),
            None if self.bytes.is_empty() => self.bytes = piece.bytes,
            None => self.bytes.extend_from_slice(&piece.bytes),
        }
    }

    /// Whether a call is due, as far as is known.
    pub(in crate::plugin) fn is_due(&self) -> bool {
        self.is_due
    }

    /// Bytes that have come and have not been passed.
    pub(in crate::plugin) fn waiting(&self) -> usize {
        let events = self.events.as_ref().map_or(0, |events| events.rest().len());
        self.held.len() + self.bytes.len() + events
    }

    /// Takes out what has come and has not been passed.
    pub(in crate::plugin) fn take_rest(&mut self) -> Piece {
        let mut bytes = std::mem::take(&mut self.held);
        bytes.append(&mut self.bytes);
        if let Some(events) = &mut self.events {
            bytes.extend_from_slice(&events.take_rest());
        }
        let is_end = self.end.is_some();
        Piece { bytes, is_end, trailers: self.end.take().unwrap_or_default() }
    }

    /// The next call.
    pub(in crate::plugin) fn next(&mut self) -> Next {
        if !std::mem::take(&mut self.is_due) {
            return Next::Nothing;
        }
        let mut bytes = std::mem::take(&mut self.held);
        let mut flags = 0;
        match &mut self.events {
            None if bytes.is_empty() => bytes = std::mem::take(&mut self.bytes),
            None => bytes.append(&mut self.bytes),
            Some(events) => {
                if let Some(event) = events.next() {
                    bytes.extend_from_slice(event);
                    flags = FLAG_EVENT;
                    // Another one, or the end.
                    self.is_due = self.end.is_none() || !events.rest().is_empty();
                } else if self.end.is_some() {
                    bytes.extend_from_slice(&events.take_rest());
                } else {
                    let is_too_large = events.rest().len() + bytes.len() > self.bytes_max;
                    self.held = bytes;
                    return if is_too_large { Next::TooLarge } else { Next::Nothing };
                }
            }
        }
        // A piece that nothing was held before is no larger than one read.
        let is_gathered = flags == FLAG_EVENT || self.events.is_some();
        if is_gathered && bytes.len() > self.bytes_max {
            return Next::TooLarge;
        }
        if self.end.is_some() && !self.is_due {
            flags |= FLAG_END;
        }
        Next::Call(bytes, flags)
    }

    /// What has become of a call with `bytes`.
    pub(in crate::plugin) fn done(
        &mut self,
        (bytes, flags): (Vec<u8>, i32),
        action: Action,
        output: Vec<u8>,
        answer: impl FnOnce(&[u8]) -> Result<Flow, CallError>,
    ) -> Result<Flow, CallError> {
        let is_last = flags & FLAG_END != 0;
        let (bytes, is_end, is_changed) = match action {
            Action::Pass => (bytes, is_last, false),
            Action::Replace => (output, is_last, true),
            Action::End => (output, true, true),
            Action::Hold if is_last => {
                return Err(CallError::bad_output(
                    "it holds bytes back at the end of a body; nothing comes that could let them \
                     go: pass them, or replace them by nothing",
                ));
            }
            Action::Hold if bytes.len() > self.bytes_max => return Ok(Flow::TooLarge),
            Action::Hold => {
                self.held = bytes;
                return Ok(Flow::Held(self.waiting()));
            }
            Action::Cut => return Ok(Flow::Cut),
            Action::Answer => return answer(&output),
            Action::Fail => {
                let why = String::from_utf8_lossy(&output);
                return Err(CallError::refused(format!("the plugin reports: {why}")));
            }
        };
        if is_end {
            self.is_due = false;
        }
        let trailers = match is_end {
            true => self.end.take().unwrap_or_default(),
            false => Fields::new(),
        };
        Ok(Flow::Passed(Piece { bytes, is_end, trailers }, is_changed))
    }
}

/// The error for what would hold too much, of a message in `phase`.
pub(in crate::plugin) fn too_large(phase: Phase, bytes_max: usize) -> CallError {
    CallError::bad_output(format!(
        "what it holds back of the body of a {} is over {bytes_max} bytes, the limit \
         (server.limits.pluginBodyBytesMax)",
        phase.as_str()
    ))
}
