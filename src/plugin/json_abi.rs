//! The JSON ABI: one call of a plugin, from the messages of an exchange to what becomes of them.
//!
//! The contract is docs/plugin-abi.md. The input is built in a reused buffer and copied into the
//! guest; the output is copied out, the instance given back, and only then is the output read.

mod apply;
mod chunk;
mod draft;
mod escape;
mod events;
mod explain;
mod gather;
mod guest;
mod headers;
mod input;
mod metadata;
mod output;
mod pieces;
mod shape;
mod text;
mod way;

use std::sync::Arc;
use std::time::Instant;

use super::chain::{BodySlot, Carried, Facts, MessageBounds, Subject, Verdict};
use super::failure::CallError;
use super::module::Plugin;
use super::pool::{Pool, Pools};
use super::spec::{BodyMode, Phase, PluginSpec};
use apply::Decision;
pub(super) use chunk::{Call, close_stream};
pub(super) use draft::Draft;
use draft::Known;
pub(super) use gather::{Gather, Next, too_large};
pub(super) use guest::{Entry, Guest, call as call_instance};
use input::Messages;
pub(super) use input::{write_body, write_headers};
pub(super) use metadata::merged;
pub(super) use output::Members;
use output::Output;
pub(super) use pieces::take_body;
pub(super) use shape::{Shape, inspect};
pub(super) use text::write_str as write_string;
pub(super) use way::{Streams, Way};

use crate::http::message::{BodyLength, LocalResponse, RequestHead};
use crate::limits;

/// Calls one plugin and does what it says. An error has changed nothing.
#[expect(clippy::too_many_arguments, reason = "the parts of one exchange")]
pub(super) async fn call(
    pools: &Pools,
    pool: &std::rc::Rc<Pool>,
    facts: &Facts<'_>,
    subject: &mut Subject<'_>,
    body: &mut BodySlot,
    carried: &mut Carried,
    draft: &mut Draft,
    started: Instant,
) -> Result<Verdict, CallError> {
    let plugin = pool.plugin();
    let deadline = started + plugin.spec.timeout;
    let mut lease = pool.lease(deadline).await?;
    let mut input = pools.take_scratch();
    let (phase, messages) = messages(plugin, subject, body);
    let metadata = carried.metadata_json();
    let (now, has_body) = (carried.changes(), messages.body.is_some());
    let known = match phase {
        // What its plugins are told of the answers is not what a draft keeps apart.
        Phase::Aggregation => Known::Nothing,
        Phase::Request | Phase::Response => draft.known(now, has_body),
    };
    let layout = input::write(&mut input, plugin, facts, phase, messages, metadata, known);
    let entry = if plugin.spec.kind.runs_in(phase) { Entry::Execute } else { Entry::OnRequest };
    // Before the call: it may wait for long, and one input is enough to keep meanwhile.
    pools.give_scratch(draft.replace(input, layout, now));
    let mut output = pools.take_scratch();
    let input = draft.bytes();
    lease.instance().set_passed(facts.passed);
    let most = facts.bounds.output_bytes_max();
    let instance = lease.instance();
    let ids = facts.ids();
    let called = guest::call(instance, entry, input, ids, deadline, most, &mut output).await;
    if let Err(error) = called {
        lease.failed();
        return Err(error);
    }
    lease.give_back();
    let verdict = if output.len() > limits::PLUGIN_OUTPUT_WHOLE_BYTES {
        let pause = async || crate::io::sleep(limits::PLUGIN_YIELD).await;
        let acted = act_on_large(&output, pause, &plugin.spec, facts, subject, body, carried);
        acted.await
    } else {
        pools.with_json_buffers(|buffers| {
            act_on(&mut output, buffers, &plugin.spec, facts, subject, body, carried)
        })
    };
    pools.give_scratch(output);
    verdict
}

/// Writes the input of a call that nothing is known of yet.
pub(super) fn write_input(
    out: &mut Vec<u8>,
    plugin: &Plugin,
    facts: &Facts<'_>,
    subject: &Subject<'_>,
    body: &BodySlot,
    carried: &Carried,
) {
    let (phase, messages) = messages(plugin, subject, body);
    input::write(out, plugin, facts, phase, messages, carried.metadata_json(), Known::Nothing);
}

/// Writes the input of a call that has a request and no metadata.
pub(super) fn write_request(
    out: &mut Vec<u8>,
    plugin: &Plugin,
    facts: &Facts<'_>,
    request: &RequestHead,
    body: Option<&[u8]>,
) {
    let messages = Messages { request, subject: input::Subject::Request, body };
    input::write(out, plugin, facts, Phase::Request, messages, "{}", Known::Nothing);
}

fn messages<'s>(
    plugin: &Plugin,
    subject: &'s Subject<'_>,
    body: &'s BodySlot,
) -> (Phase, Messages<'s>) {
    let (phase, request, subject) = match subject {
        Subject::Request { head } => (Phase::Request, &**head, input::Subject::Request),
        Subject::Response { request, head } => {
            (Phase::Response, *request, input::Subject::Response(head))
        }
        Subject::Aggregation { request, answers, .. } => {
            let answers = input::Subject::Answers {
                answers,
                has_bodies: plugin.takes_body_in(Phase::Aggregation),
            };
            (Phase::Aggregation, *request, answers)
        }
    };
    let is_whole = plugin.body_in(phase) == BodyMode::Whole;
    let body = body.given.as_deref().filter(|_| is_whole);
    let messages = Messages { request, subject, body };
    (phase, messages)
}

/// Gives a plugin that takes bodies piece by piece one that is whole in memory.
pub(super) async fn pass_whole(
    pools: &Pools,
    way: &mut Way,
    plugin: &Arc<Plugin>,
    facts: &Facts<'_>,
    subject: &mut Subject<'_>,
    body: &mut BodySlot,
    carried: &mut Carried,
) -> Result<Verdict, CallError> {
    let Some(bytes) = body.given.clone() else {
        return Ok(Verdict::Continue);
    };
    let pool = pools.to_call(plugin)?;
    let started = Instant::now();
    let passed = way.pass_all(&pool, bytes, started + plugin.spec.timeout).await;
    pool.count(started, facts.ids(), passed.as_ref().err());
    let (bytes, is_changed) = match passed? {
        way::All::Passed(bytes, is_changed) => (bytes, is_changed),
        way::All::Ended(verdict) => return Ok(verdict),
    };
    if is_changed {
        carried.note_change(true);
        body.replaced = true;
        let length = match bytes.len() as u64 {
            0 => BodyLength::Empty,
            bytes => BodyLength::Known(bytes),
        };
        match subject {
            Subject::Request { head } => head.body = length,
            Subject::Response { head, .. } | Subject::Aggregation { head, .. } => {
                head.body = length;
            }
        }
        body.given = Some(bytes);
    }
    Ok(Verdict::Continue)
}

/// What a plugin answers that a body passes: an output of `execute` that does not let it go on.
pub(super) fn act_on_answer(
    output: &[u8],
    phase: Phase,
    spec: &PluginSpec,
    bounds: &MessageBounds,
) -> Result<LocalResponse, CallError> {
    output::check_beginning(output)?;
    let mut output = output::parse(output)?;
    match apply::decide(&mut output, phase, spec)? {
        Decision::Respond(message) => apply::respond(&message, &output, spec, bounds),
        Decision::Continue | Decision::Change(_) => Err(CallError::bad_output(
            "a chunk is answered with an output that goes on; to answer, it must have \
             \"continue\": false",
        )),
    }
}

/// Reads an output (its bytes are used up), checks it and does what it says.
pub(super) fn act_on(
    output: &mut [u8],
    buffers: &mut simd_json::Buffers,
    spec: &PluginSpec,
    facts: &Facts<'_>,
    subject: &mut Subject<'_>,
    body: &mut BodySlot,
    carried: &mut Carried,
) -> Result<Verdict, CallError> {
    if output.len() > limits::PLUGIN_OUTPUT_WHOLE_BYTES {
        let acted = act_on_large(output, async || {}, spec, facts, subject, body, carried);
        return pieces::at_once(acted).expect("its pauses are none");
    }
    if output::is_plain(output)?
        && let Some(plain) = output::parse_plain(output, buffers)
    {
        return act(plain, spec, facts, subject, body, carried);
    }
    act(output::parse(output)?, spec, facts, subject, body, carried)
}

/// As [`act_on`], an output that takes long to read: the worker serves others meanwhile.
async fn act_on_large(
    output: &[u8],
    pause: impl AsyncFn(),
    spec: &PluginSpec,
    facts: &Facts<'_>,
    subject: &mut Subject<'_>,
    body: &mut BodySlot,
    carried: &mut Carried,
) -> Result<Verdict, CallError> {
    output::check_beginning(output)?;
    let text = output::text_of(output)?;
    let parts = pieces::take_apart(text, &facts.bounds, pause).await;
    let parts = parts.map_err(|why| CallError::bad_output(format!("output {why}")))?;
    let mut output = output::parse(parts.rest.as_bytes())?;
    let bodies = [(&mut output.request, parts.request), (&mut output.response, parts.response)];
    for (message, body) in bodies {
        if let (Some(message), Some(body)) = (message, body) {
            message.body = Some(body.into());
        }
    }
    act(output, spec, facts, subject, body, carried)
}

/// Checks an output and does what it says.
fn act(
    mut output: Output<'_>,
    spec: &PluginSpec,
    facts: &Facts<'_>,
    subject: &mut Subject<'_>,
    body: &mut BodySlot,
    carried: &mut Carried,
) -> Result<Verdict, CallError> {
    let phase = match subject {
        Subject::Request { .. } => Phase::Request,
        Subject::Response { .. } => Phase::Response,
        Subject::Aggregation { .. } => Phase::Aggregation,
    };
    let decision = apply::decide(&mut output, phase, spec)?;
    let merged = merged(carried.metadata_json(), output.metadata)?;
    let chosen = match (&decision, &output.upstream, phase) {
        // What is refused goes nowhere, and behind the request phase it has gone.
        (Decision::Continue | Decision::Change(_), Some(upstream), Phase::Request) => {
            apply::upstream(upstream, facts)?
        }
        _ => None,
    };
    let bounds = &facts.bounds;
    let verdict = match decision {
        Decision::Continue => Verdict::Continue,
        Decision::Respond(message) => {
            Verdict::Respond(apply::respond(&message, &output, spec, bounds)?)
        }
        Decision::Change(message) => {
            carried.note_change(message.body.is_some());
            match subject {
                Subject::Request { head } => apply::change_request(&message, facts, head, body)?,
                Subject::Response { head, .. } => {
                    apply::change_response(&message, bounds, head, body)?;
                }
                Subject::Aggregation { head, .. } => {
                    apply::change_response(&message, bounds, head, body)?;
                    apply::name_content(head, body);
                }
            }
            Verdict::Continue
        }
    };
    carried.set_metadata(merged);
    if let Some(chosen) = chosen {
        carried.choose(chosen);
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests;
