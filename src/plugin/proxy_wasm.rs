//! Filters of Envoy: proxy-wasm 0.2.1, 0.2.0 and 0.1.0 (docs/foreign-plugins.md).
//!
//! A worker has one instance of a filter ([`filter::Filter`]), in which every exchange has a
//! context from its first phase to its end. A phase copies the message into the context, runs the
//! callbacks and takes over what they made of it; a filter that fails has changed nothing.

mod calls;
mod context;
mod filter;
mod frames;
mod grpc;
mod guest;
mod hostcalls;
mod map;
mod metrics;
mod pairs;
mod properties;
mod shape;
mod shared;
mod state;
mod ticks;
mod turns;
mod way;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::chain::{BodySlot, Carried, Facts, Subject, Verdict};
use super::failure::CallError;
use super::module::Plugin;
use super::pool::Pool;
use super::spec::{FailureMode, Phase};
use super::stats::ErrorKind;
pub(super) use context::Properties;
use context::{Direction, Known};
use filter::Stream;
pub(super) use filter::{Detached, Filter, Turn};
pub(super) use guest::Guest;
pub(super) use hostcalls::serve;
pub(super) use shape::{Shape, inspect, is_filter};
pub(super) use shared::{Registry, Share};
pub(super) use state::State;
use turns::{Last, Made, Step, Work};
pub(super) use way::Way;

use crate::http::message::{BodyLength, RequestHead, ResponseHead};

/// The contexts that one exchange has, by filter.
#[derive(Default)]
pub(super) struct Streams {
    open: Vec<(*const Plugin, Rc<Stream>)>,
    /// What filters have set for those after them.
    properties: Properties,
}

impl Streams {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn of(&self, plugin: &Arc<Plugin>) -> Option<Rc<Stream>> {
        let key = Arc::as_ptr(plugin);
        self.open.iter().find(|(of, _)| *of == key).map(|(_, stream)| Rc::clone(stream))
    }

    /// Whether a filter has a context that lives.
    pub(super) fn has(&self, plugin: &Arc<Plugin>) -> bool {
        self.of(plugin).is_some_and(|stream| !stream.filter.has_failed())
    }

    /// How the body of a message passes a filter that has a context.
    pub(super) fn way(&self, plugin: &Arc<Plugin>, phase: Phase) -> Option<Way> {
        let direction = match phase {
            Phase::Request => Direction::Request,
            Phase::Response | Phase::Aggregation => Direction::Response,
        };
        Some(Way::new(self.of(plugin)?, direction))
    }

    /// The exchange is over: every context is told, with the messages as they were in the end.
    pub(super) async fn end(&mut self, request: &RequestHead, response: &ResponseHead) {
        let properties = std::mem::take(&mut self.properties);
        for (_, stream) in self.open.drain(..) {
            let id = stream.id.get();
            if id == 0 || stream.is_over.replace(true) {
                continue;
            }
            let filter = Rc::clone(&stream.filter);
            filter.forget_stream(id);
            if filter.has_failed() {
                filter.leave();
                continue;
            }
            let last = Some(Last {
                request: request.clone(),
                response: response.clone(),
                properties: properties.clone(),
            });
            let pool = Rc::clone(&filter.pool);
            Detached::new(&pool, filter.end_context(id, last)).await;
        }
    }
}

/// Runs one phase of one filter and does what it says. An error has changed nothing.
pub(super) async fn call(
    pool: &Rc<Pool>,
    facts: &Facts<'_>,
    subject: &mut Subject<'_>,
    body: &mut BodySlot,
    carried: &mut Carried,
    started: Instant,
) -> Result<Verdict, CallError> {
    let plugin = pool.plugin();
    let deadline = started + plugin.spec.timeout;
    let direction = match subject {
        Subject::Request { .. } => Direction::Request,
        Subject::Response { .. } => Direction::Response,
        Subject::Aggregation { .. } => {
            return Err(CallError::refused("a filter of proxy-wasm cannot join answers"));
        }
    };
    let phase = match direction {
        Direction::Request => Phase::Request,
        Direction::Response => Phase::Response,
    };
    let given = body.given.take_if(|_| plugin.takes_body_in(phase));
    let had_body = given.is_some();
    // A filter that fails open has seen nothing; else the exchange ends, and nobody misses it.
    let backup = given.clone().filter(|_| plugin.spec.failure_mode == FailureMode::Open);
    let properties = std::mem::take(&mut carried.streams.properties);
    let (request, response) = match subject {
        Subject::Request { head } => ((**head).clone(), None),
        Subject::Response { request, head } => ((*request).clone(), Some((**head).clone())),
        Subject::Aggregation { .. } => (RequestHead::default(), None),
    };
    let known = Known::of(facts);
    let work = Work { known, direction, request, response, body: given, properties };
    let ran = run_in_turns(pool, plugin, carried, work, deadline).await;
    let health_is_good = ran.is_ok();
    pool.note_health(health_is_good);
    let step = match ran {
        Ok(step) => step,
        Err(error) => {
            if had_body {
                body.given = backup;
            }
            return Err(error);
        }
    };
    match step {
        Step::Over(made) => {
            accept(*made, had_body, subject, body, carried);
            Ok(Verdict::Continue)
        }
        Step::Answered(local) => Ok(Verdict::Respond(local)),
        Step::Closed => Ok(Verdict::Close),
        Step::Fault(text) => {
            if had_body {
                body.given = backup;
            }
            Err(CallError::bad_output(text))
        }
        Step::Paused => Err(CallError::refused("the filter has paused")),
    }
}

/// Runs the phase, however often the filter pauses.
async fn run_in_turns(
    pool: &Rc<Pool>,
    plugin: &Arc<Plugin>,
    carried: &mut Carried,
    work: Work,
    deadline: Instant,
) -> Result<Step, CallError> {
    let direction = work.direction;
    let (stream, turn) = match carried.streams.of(plugin) {
        Some(stream) => {
            let turn = stream.filter.turn(deadline).await?;
            (stream, turn)
        }
        None => {
            let admitted = pool.admit()?;
            let found = loop {
                let filter = pool.filter(deadline).await?;
                match filter.turn(deadline).await {
                    Ok(turn) => break (Stream::new(&filter), turn),
                    // It failed while others used it: this exchange has had no part in it.
                    Err(_) if filter.has_failed() && Instant::now() < deadline => {}
                    Err(error) => return Err(error),
                }
            };
            admitted.pass();
            carried.streams.open.push((Arc::as_ptr(plugin), Rc::clone(&found.0)));
            found
        }
    };
    let mut step =
        Detached::new(pool, turn.phase(Rc::clone(&stream), Some(work), deadline)).await?;
    while let Step::Paused = step {
        if !stream.awaken(direction, deadline).await {
            let timeout = plugin.spec.timeout;
            let text = format!(
                "plugin execution timeout: paused, and neither gone on nor answered within \
                 {timeout:?} (timeout)"
            );
            return Err(CallError::new(ErrorKind::Timeout, text));
        }
        let turn = stream.filter.turn(deadline).await?;
        step = Detached::new(pool, turn.phase(Rc::clone(&stream), None, deadline)).await?;
    }
    Ok(step)
}

/// Takes over what a filter has made of a message.
fn accept(
    made: Made,
    had_body: bool,
    subject: &mut Subject<'_>,
    body: &mut BodySlot,
    carried: &mut Carried,
) {
    carried.streams.properties = made.properties;
    let is_new_body = made.body.as_ref().is_some_and(|body| body.is_changed);
    if is_new_body || made.request.is_some() || made.response.is_some() {
        carried.note_change(is_new_body);
    }
    let mut length = None;
    if let (true, Some(new)) = (had_body, made.body) {
        if new.is_changed {
            body.replaced = true;
            length = Some(match new.bytes.len() {
                0 => BodyLength::Empty,
                bytes => BodyLength::Known(bytes as u64),
            });
        }
        body.given = Some(new.bytes);
    }
    match subject {
        Subject::Request { head } => {
            if let Some(new) = made.request {
                **head = new;
            }
            head.body = length.unwrap_or(head.body);
        }
        Subject::Response { head, .. } | Subject::Aggregation { head, .. } => {
            if let Some(new) = made.response {
                **head = new;
            }
            head.body = length.unwrap_or(head.body);
        }
    }
}
