//! A body on its way through a plugin that exports `on_request_chunk` or `on_response_chunk`: raw
//! bytes in, raw bytes out, no JSON but for the input that the exchange begins with.
//!
//! The exchanges of a worker share one instance, interleaved: the guest knows them by a number. It
//! is entered once at a time, and told once when an exchange is over.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::super::chain::{Facts, Flow, MessageBounds, Piece, Verdict};
use super::super::failure::CallError;
use super::super::log::Ids;
use super::super::module::Plugin;
use super::super::pool::Pool;
use super::super::proxy_wasm::{Detached, Filter, Turn};
use super::super::spec::{Isolation, Phase};
use super::act_on_answer;
use super::chunk::{Action, Call, close};
use super::gather::{Gather, Next, too_large};
use crate::http::message::Fields;
use crate::limits;

/// The exchanges' hold on instances in which they have a number, by plugin.
#[derive(Default)]
pub(in crate::plugin) struct Streams {
    open: Vec<(*const Plugin, Rc<Stream>)>,
}

impl Streams {
    /// Whether there is none.
    pub(in crate::plugin) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The exchange is over, or a new one begins.
    pub(in crate::plugin) fn clear(&mut self) {
        self.open.clear();
    }

    fn of(&mut self, plugin: &Arc<Plugin>) -> Rc<Stream> {
        let key = Arc::as_ptr(plugin);
        if let Some((_, stream)) = self.open.iter().find(|(of, _)| *of == key) {
            return Rc::clone(stream);
        }
        let stream = Rc::new(Stream::default());
        self.open.push((key, Rc::clone(&stream)));
        stream
    }
}

/// An exchange's number in an instance. When it is dropped, the guest is told.
#[derive(Default)]
struct Stream {
    filter: RefCell<Option<Rc<Filter>>>,
    id: Cell<u32>,
}

impl Stream {
    /// The instance that the exchange is in from now on.
    async fn filter(&self, pool: &Rc<Pool>, deadline: Instant) -> Result<Rc<Filter>, CallError> {
        if let Some(filter) = &*self.filter.borrow() {
            return Ok(Rc::clone(filter));
        }
        let filter = match pool.plugin().spec.isolation {
            Isolation::Shared => pool.filter(deadline).await?,
            Isolation::Request => pool.filter_of_its_own().await?,
        };
        filter.enter();
        *self.filter.borrow_mut() = Some(Rc::clone(&filter));
        Ok(filter)
    }

    /// A turn in it. An instance that fails while others use it, before this exchange has had a
    /// part in it, is left for the next one.
    async fn turn(&self, pool: &Rc<Pool>, deadline: Instant) -> Result<Turn, CallError> {
        loop {
            let filter = self.filter(pool, deadline).await?;
            match filter.turn(deadline).await {
                Err(_)
                    if self.id.get() == 0 && filter.has_failed() && Instant::now() < deadline =>
                {
                    self.filter.borrow_mut().take();
                    filter.leave();
                }
                turn => return turn,
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let (filter, id) = (self.filter.take(), self.id.get());
        let Some(filter) = filter else {
            return;
        };
        if id == 0 || filter.has_failed() || filter.pool().is_closed() {
            filter.leave();
            return;
        }
        crate::io::spawn(async move {
            while !filter.has_failed() {
                let deadline = filter.deadline();
                let Ok(turn) = filter.turn(deadline).await else {
                    continue;
                };
                if let Err(error) = close(turn, id, deadline).await {
                    filter.pool().tell_failed(&error.during("the end of an exchange"));
                }
                break;
            }
            filter.leave();
        });
    }
}

/// How one message's body passes a plugin.
pub(in crate::plugin) struct Way {
    stream: Rc<Stream>,
    phase: Phase,
    bounds: MessageBounds,
    request_id: String,
    trace_id: String,
    /// The input that `on_stream_open` is called with, until it has been.
    input: Option<Vec<u8>>,
    gather: Gather,
    /// What the call that runs is about; kept where it has to go on if the call fails.
    current: Vec<u8>,
    fails_open: bool,
}

impl Way {
    /// The way of an exchange whose `input` has been written; `is_events`: its body is to be given
    /// event by event.
    pub(in crate::plugin) fn new(
        streams: &mut Streams,
        plugin: &Arc<Plugin>,
        phase: Phase,
        facts: &Facts<'_>,
        input: Vec<u8>,
        is_events: bool,
    ) -> Self {
        let ids = facts.ids();
        Self {
            stream: streams.of(plugin),
            phase,
            bounds: facts.bounds,
            request_id: ids.request.to_owned(),
            trace_id: ids.trace.to_owned(),
            input: Some(input),
            gather: Gather::new(is_events, facts.bounds.body_bytes_max),
            current: Vec::new(),
            fails_open: !plugin.fails_closed(),
        }
    }

    /// Gives the plugin a piece.
    pub(in crate::plugin) async fn pass(
        &mut self,
        pool: &Rc<Pool>,
        piece: Piece,
        deadline: Instant,
    ) -> Result<Flow, CallError> {
        self.gather.give(piece);
        self.resume(pool, deadline).await
    }

    /// Makes the next call, if one is due.
    pub(in crate::plugin) async fn resume(
        &mut self,
        pool: &Rc<Pool>,
        deadline: Instant,
    ) -> Result<Flow, CallError> {
        let (bytes, flags) = match self.gather.next() {
            Next::Call(bytes, flags) => (bytes, flags),
            Next::TooLarge => return Ok(Flow::TooLarge),
            Next::Nothing => {
                return Ok(match self.gather.waiting() {
                    0 => Flow::Passed(Piece::default(), false),
                    waiting => Flow::Held(waiting),
                });
            }
        };
        if self.fails_open {
            self.current.clone_from(&bytes);
        }
        let mut turn = self.stream.turn(pool, deadline).await?;
        if self.stream.id.get() == 0 {
            self.stream.id.set(turn.state()?.new_id());
        }
        let call = Call {
            id: self.stream.id.get(),
            phase: self.phase,
            input: self.input.take(),
            bytes,
            flags,
            most: self.bounds.body_bytes_max.max(limits::READ_BYTES_MAX).saturating_mul(2),
            ids: (self.request_id.clone(), self.trace_id.clone()),
        };
        let (bytes, action, output) = Detached::new(pool, call.run(turn, deadline)).await?;
        self.current.clear();
        if action == Action::Cut {
            let ids = Ids { request: &self.request_id, trace: &self.trace_id };
            let why = String::from_utf8_lossy(&output);
            pool.say(ids, &format!("the plugin cuts the exchange off: {why}"));
        }
        let (phase, spec, bounds) = (self.phase, &pool.plugin().spec, &self.bounds);
        let answer = |output: &[u8]| act_on_answer(output, phase, spec, bounds).map(Flow::Answered);
        self.gather.done((bytes, flags), action, output, answer)
    }

    /// Whether [`Self::resume`] has something to do.
    pub(in crate::plugin) fn has_more(&self) -> bool {
        self.gather.is_due()
    }

    /// What it was given and has not passed.
    pub(in crate::plugin) fn take_given(&mut self) -> Piece {
        let mut bytes = std::mem::take(&mut self.current);
        let rest = self.gather.take_rest();
        bytes.extend_from_slice(&rest.bytes);
        Piece { bytes, ..rest }
    }

    /// Gives the plugin a body that is there as a whole.
    pub(super) async fn pass_all(
        &mut self,
        pool: &Rc<Pool>,
        bytes: Vec<u8>,
        deadline: Instant,
    ) -> Result<All, CallError> {
        let bytes_max = self.bounds.body_bytes_max;
        let (mut passed, mut has_changed) = (Vec::new(), false);
        self.gather.give(Piece { bytes, is_end: true, trailers: Fields::new() });
        loop {
            match self.resume(pool, deadline).await? {
                Flow::Passed(piece, is_changed) => {
                    has_changed |= is_changed;
                    passed.extend_from_slice(&piece.bytes);
                    if piece.is_end || !self.has_more() {
                        return match passed.len() > bytes_max {
                            false => Ok(All::Passed(passed, has_changed)),
                            true => Err(too_large(self.phase, bytes_max)),
                        };
                    }
                }
                Flow::Held(_) => {}
                Flow::Answered(local) => return Ok(All::Ended(Verdict::Respond(local))),
                Flow::Closed | Flow::Cut => return Ok(All::Ended(Verdict::Close)),
                Flow::TooLarge => return Err(too_large(self.phase, bytes_max)),
            }
        }
    }
}

/// What has become of a body that was there as a whole.
pub(super) enum All {
    /// It has passed, and whether it was changed.
    Passed(Vec<u8>, bool),
    /// The plugin has ended the exchange.
    Ended(Verdict),
}
