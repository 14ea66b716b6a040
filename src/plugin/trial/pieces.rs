//! A body that passes a plugin without a gateway, in pieces of any lengths: by the code that makes
//! the calls of an exchange.

use std::time::Instant;

use serde_json::Value;

use super::super::abi;
use super::super::chain::{Flow, Piece};
use super::super::json_abi::{Call, Gather, Next, close_stream, too_large};
use super::super::log::Ids;
use super::super::spec::{BodyMode, Phase};
use super::Trial;
use crate::http::message::{Fields, LocalResponse};
use crate::limits;

/// What has become of a body.
#[derive(Debug)]
pub struct Passed {
    /// What went on.
    pub bytes: Vec<u8>,
    /// How the plugin has ended the exchange, if it has.
    pub ended: Option<Ended>,
}

/// How a plugin has ended an exchange.
#[derive(Debug)]
pub enum Ended {
    /// The message is cut off.
    Cut,
    /// It is answered so, if nothing of a response has gone out.
    Answered(Box<LocalResponse>),
}

impl Trial {
    /// Whether the plugin is given the body of the message that a document tells of piece by piece:
    /// then its length.
    ///
    /// # Errors
    /// What is wrong with the document.
    pub fn streamed(&self, document: &Value) -> Result<Option<usize>, String> {
        let mut given = self.given(document)?;
        let phase = given.phase;
        let length = given.take_body().map_or(0, |bytes| bytes.len());
        Ok(self.plugin.body_in(phase).is_streaming().then_some(length))
    }

    /// Gives the plugin the body of a document's message, cut at these places.
    ///
    /// # Errors
    /// Why the plugin has failed.
    pub fn pass(&mut self, document: &Value, cuts: &[usize]) -> Result<Passed, String> {
        let mut given = self.given(document)?;
        let input = given.input(&self.plugin, document)?;
        let (phase, bytes) = (given.phase, given.take_body().unwrap_or_default());
        let is_stream = given.fields().is_some_and(abi::is_event_stream);
        let is_events = self.plugin.spec.body == BodyMode::Events && is_stream;
        let mut gather = Gather::new(is_events, limits::PLUGIN_BODY_BYTES_MAX);
        let id = self.json()?.store.data_mut().filter.new_id();
        let mut passed = Passed { bytes: Vec::new(), ended: None };
        let mut run =
            Run { id, phase, input: Some(input), request_id: given.request_id.to_owned() };
        let mut from = 0;
        for (number, &to) in cuts.iter().chain([&bytes.len()]).enumerate() {
            let to = to.clamp(from, bytes.len());
            let is_end = number == cuts.len();
            let piece = bytes[from..to].to_vec();
            gather.give(Piece { bytes: piece, is_end, trailers: Fields::new() });
            from = to;
            if self.call_all(&mut gather, &mut run, &mut passed)? {
                break;
            }
        }
        let Self { worker, runs: super::Runs::Json(instance), .. } = self else {
            return Err("it is a foreign filter".to_owned());
        };
        worker.block_on(close_stream(instance, id)).map_err(|error| error.text)?;
        Ok(passed)
    }

    /// Makes the calls that are due; whether the body has come to its end.
    fn call_all(
        &mut self,
        gather: &mut Gather,
        run: &mut Run,
        passed: &mut Passed,
    ) -> Result<bool, String> {
        loop {
            let (bytes, flags) = match gather.next() {
                Next::Call(bytes, flags) => (bytes, flags),
                Next::Nothing => return Ok(false),
                Next::TooLarge => {
                    return Err(too_large(run.phase, limits::PLUGIN_BODY_BYTES_MAX).text);
                }
            };
            let flow = self.call_once(gather, run, (bytes, flags));
            match flow.map_err(|error| error.text)? {
                Flow::Passed(piece, _) => {
                    passed.bytes.extend_from_slice(&piece.bytes);
                    if piece.is_end {
                        return Ok(true);
                    }
                }
                Flow::Held(_) => {}
                Flow::Answered(local) => {
                    passed.ended = Some(Ended::Answered(Box::new(local)));
                    return Ok(true);
                }
                Flow::Closed | Flow::Cut => {
                    passed.ended = Some(Ended::Cut);
                    return Ok(true);
                }
                Flow::TooLarge => {
                    return Err(too_large(run.phase, limits::PLUGIN_BODY_BYTES_MAX).text);
                }
            }
        }
    }

    fn call_once(
        &mut self,
        gather: &mut Gather,
        run: &mut Run,
        (bytes, flags): (Vec<u8>, i32),
    ) -> Result<Flow, super::super::failure::CallError> {
        let Self { worker, plugin, runs: super::Runs::Json(instance), .. } = self else {
            return Err(super::super::failure::CallError::refused("it is a foreign filter"));
        };
        let most = limits::PLUGIN_BODY_BYTES_MAX * 2;
        let mut call = Call {
            id: run.id,
            phase: run.phase,
            input: run.input.take(),
            bytes,
            flags,
            most,
            ids: (run.request_id.clone(), String::new()),
        };
        let ids = Ids { request: &run.request_id, trace: "" };
        instance.begin(Instant::now() + plugin.spec.timeout, ids);
        let (action, output) = worker.block_on(call.enter(instance))?;
        let bounds = super::MessageBounds::DEFAULT;
        let answer = |output: &[u8]| {
            super::super::json_abi::act_on_answer(output, run.phase, &plugin.spec, &bounds)
                .map(Flow::Answered)
        };
        gather.done((call.bytes, flags), action, output, answer)
    }
}

/// A body's way.
struct Run {
    id: u32,
    phase: Phase,
    input: Option<Vec<u8>>,
    request_id: String,
}
