//! What happens in a turn for an exchange: its context is made, its callbacks run as far as the
//! filter goes on, and in the end it is told that it is over.

use std::rc::Rc;
use std::time::Instant;

use super::super::failure::CallError;
use super::super::log::Ids;
use super::context::{Body, Context, Direction, Known, Properties, Stage};
use super::filter::{Filter, Stream, Turn};
use super::guest::int;
use super::map::{Map, View};
use super::state::{ROOT, State};
use crate::http::message::{BodyLength, LocalResponse, RequestHead, ResponseHead};

/// What a callback answers: everything else is a pause.
const CONTINUE: i32 = 0;
/// An action of old versions of the ABI for heads, which Envoy takes for `Continue`.
const CONTINUE_AND_END: i32 = 2;

/// What a phase is about.
pub(super) struct Work {
    pub(super) known: Known,
    pub(super) direction: Direction,
    pub(super) request: RequestHead,
    pub(super) response: Option<ResponseHead>,
    /// The body, if the filter is given it.
    pub(super) body: Option<Vec<u8>>,
    pub(super) properties: Properties,
}

/// An exchange in the end.
pub(super) struct Last {
    pub(super) request: RequestHead,
    pub(super) response: ResponseHead,
    pub(super) properties: Properties,
}

/// How far a phase has come.
pub(super) enum Step {
    /// The filter has paused; something has to come for it.
    Paused,
    /// It goes on.
    Over(Box<Made>),
    /// It answers in the place of the service.
    Answered(LocalResponse),
    /// It wants the exchange cut off.
    Closed,
    /// It did what no filter may do.
    Fault(String),
}

/// What the filter has made of a message.
#[derive(Default)]
pub(super) struct Made {
    pub(super) request: Option<RequestHead>,
    pub(super) response: Option<ResponseHead>,
    pub(super) body: Option<Body>,
    pub(super) properties: Properties,
}

impl Turn {
    /// Begins a phase, or goes on with one that was paused (no work).
    pub(super) async fn phase(
        mut self,
        stream: Rc<Stream>,
        work: Option<Work>,
        deadline: Instant,
    ) -> Result<Step, CallError> {
        let ran = self.run_phase(&stream, work, deadline).await;
        self.finish(ran)
    }

    async fn run_phase(
        &mut self,
        stream: &Rc<Stream>,
        work: Option<Work>,
        deadline: Instant,
    ) -> Result<Step, CallError> {
        let filter = Rc::clone(&self.filter);
        let mut is_new = false;
        if let Some(work) = work {
            let state = self.state()?;
            if stream.id.get() == 0 {
                is_new = true;
                let id = state.new_id();
                state.contexts.insert(id, Box::new(Context::new(work.known.clone())));
                filter.add_stream(id, stream);
            }
            context_of(state, stream.id.get())?.take(work);
        }
        let id = stream.id.get();
        self.enter(id, deadline)?;
        if is_new {
            self.create(id).await?;
        }
        self.advance(id).await
    }

    /// The guest is entered for a context.
    pub(super) fn enter(&mut self, id: u32, deadline: Instant) -> Result<(), CallError> {
        let context = context_of(self.state()?, id)?;
        let request = std::mem::take(&mut context.known.request_id);
        let trace = std::mem::take(&mut context.known.trace_id);
        self.begin(deadline, Ids { request: &request, trace: &trace })?;
        let context = context_of(self.state()?, id)?;
        (context.known.request_id, context.known.trace_id) = (request, trace);
        Ok(())
    }

    async fn create(&mut self, id: u32) -> Result<(), CallError> {
        let instance = self.instance()?;
        instance.store.data_mut().filter.current = id;
        if let Some(function) = &instance.guest.filter()?.on_context_create {
            let arguments = (int(id), int(ROOT));
            function.call_async(&mut instance.store, arguments).await?;
        }
        Ok(())
    }

    /// Runs the callbacks of the phase from where it stands.
    async fn advance(&mut self, id: u32) -> Result<Step, CallError> {
        loop {
            let context = context_of(self.state()?, id)?;
            if let Some(step) = context.settled() {
                return Ok(step);
            }
            let Some(direction) = context.open else {
                return Err(CallError::refused("the phase is over"));
            };
            context.is_paused = false;
            context.is_resumed[direction as usize] = false;
            let pauses = match context.stage {
                Stage::Headers => {
                    context.stage = match context.is_all(direction) {
                        true => Stage::Over,
                        false => Stage::Body,
                    };
                    self.headers(id, direction).await?
                }
                Stage::Body => {
                    context.stage = Stage::Over;
                    self.body(id, direction, true).await?
                }
                Stage::Over if !context.removed.is_empty() => {
                    let text =
                        format!("the message has no {} any more", context.removed.join(", "));
                    context.close();
                    return Ok(Step::Fault(text));
                }
                Stage::Over => return Ok(Step::Over(Box::new(context.made(direction)))),
            };
            let context = context_of(self.state()?, id)?;
            if pauses && !context.is_decided() {
                context.is_paused = true;
                return Ok(Step::Paused);
            }
        }
    }

    async fn headers(&mut self, id: u32, direction: Direction) -> Result<bool, CallError> {
        let instance = self.instance()?;
        let policy = instance.store.data().plugin.non_utf8();
        let guest = instance.guest.filter()?;
        let (function, map) = match direction {
            Direction::Request => (&guest.on_request_headers, Map::Request),
            Direction::Response => (&guest.on_response_headers, Map::Response),
        };
        let Some(function) = function else {
            return Ok(false);
        };
        let state = &mut instance.store.data_mut().filter;
        state.current = id;
        let context = context_of(state, id)?;
        let count = View::of(context, map).map_or(0, |view| view.len(policy));
        let is_all = context.is_all(direction);
        let action = function.call(&mut instance.store, id, count, is_all).await?;
        Ok(action != CONTINUE && action != CONTINUE_AND_END)
    }

    /// Gives the filter what is there of a body, if something is: whether it pauses.
    pub(super) async fn body(
        &mut self,
        id: u32,
        direction: Direction,
        is_last: bool,
    ) -> Result<bool, CallError> {
        let instance = self.instance()?;
        let guest = instance.guest.filter()?;
        let function = match direction {
            Direction::Request => &guest.on_request_body,
            Direction::Response => &guest.on_response_body,
        };
        let state = &mut instance.store.data_mut().filter;
        state.current = id;
        let size = context_of(state, id)?.body(direction).map(|body| body.bytes.len());
        let (Some(function), Some(size)) = (function, size) else {
            return Ok(false);
        };
        let arguments = (int(id), int(size), i32::from(is_last));
        Ok(function.call_async(&mut instance.store, arguments).await? != 0)
    }

    /// Tells a context that its exchange is over, in Envoy's order: log, done, delete.
    async fn end_context(
        mut self,
        id: u32,
        last: Option<Last>,
        deadline: Instant,
    ) -> Result<(), CallError> {
        let ran = self.run_end(id, last, deadline).await;
        self.finish(ran)
    }

    async fn run_end(
        &mut self,
        id: u32,
        last: Option<Last>,
        deadline: Instant,
    ) -> Result<(), CallError> {
        self.enter(id, deadline)?;
        let context = context_of(self.state()?, id)?;
        context.close();
        context.is_ending = true;
        if let Some(last) = last {
            (context.request, context.response) = (last.request, last.response);
            context.properties = last.properties;
            context.has_response |= context.response.status != 0;
        }
        let instance = self.instance()?;
        let guest = instance.guest.filter()?;
        if let Some(function) = &guest.on_log {
            instance.store.data_mut().filter.current = id;
            function.call_async(&mut instance.store, int(id)).await?;
        }
        if let Some(function) = &guest.on_done {
            instance.store.data_mut().filter.current = id;
            let _is_done = function.call_async(&mut instance.store, int(id)).await?;
        }
        if let Some(function) = &guest.on_delete {
            instance.store.data_mut().filter.current = id;
            function.call_async(&mut instance.store, int(id)).await?;
        }
        let state = &mut instance.store.data_mut().filter;
        state.contexts.remove(&id);
        state.end_lines_of(id);
        Ok(())
    }

    /// Asks the root whether it is done, now that nobody needs the instance any more. If not, it
    /// says so later (`proxy_done`).
    pub(super) async fn end_root(mut self, deadline: Instant) -> Result<bool, CallError> {
        self.begin(deadline, Ids::default())?;
        let ran = self.run_end_root().await;
        self.finish(ran)
    }

    async fn run_end_root(&mut self) -> Result<bool, CallError> {
        let instance = self.instance()?;
        if instance.has_cleanup() {
            return instance.cleanup().await.map(|()| true);
        }
        let Ok(guest) = instance.guest.filter() else {
            return Ok(true); // of another ABI, which has no root
        };
        let Some(function) = &guest.on_done else {
            return Ok(true);
        };
        let state = &mut instance.store.data_mut().filter;
        (state.current, state.is_done) = (ROOT, false);
        let is_done = function.call_async(&mut instance.store, int(ROOT)).await? != 0;
        Ok(is_done || instance.store.data().filter.is_done)
    }

    /// The last that the root is told.
    pub(super) async fn delete_root(mut self, deadline: Instant) -> Result<(), CallError> {
        self.begin(deadline, Ids::default())?;
        let ran = self.run_delete_root().await;
        self.finish(ran)
    }

    async fn run_delete_root(&mut self) -> Result<(), CallError> {
        let instance = self.instance()?;
        if let Ok(guest) = instance.guest.filter()
            && let Some(function) = &guest.on_delete
        {
            instance.store.data_mut().filter.current = ROOT;
            function.call_async(&mut instance.store, int(ROOT)).await?;
        }
        Ok(())
    }
}

pub(super) fn context_of(state: &mut State, id: u32) -> Result<&mut Context, CallError> {
    let context = state.contexts.get_mut(&id).map(|context| &mut **context);
    context.ok_or_else(|| CallError::refused("the context of the exchange is gone"))
}

impl Filter {
    /// Tells a context that its exchange is over, whoever waits for its turn before.
    pub(super) async fn end_context(self: Rc<Self>, id: u32, last: Option<Last>) {
        let ended = match self.next_turn().await {
            Some(turn) => turn.end_context(id, last, self.deadline()).await,
            None => Ok(()),
        };
        if let Err(error) = ended {
            self.pool.tell_failed(&error.during("the end of an exchange"));
        }
        self.leave();
    }

    /// A turn, however long it takes; `None` if the filter has failed.
    pub(super) async fn next_turn(self: &Rc<Self>) -> Option<Turn> {
        loop {
            match self.turn(self.deadline()).await {
                Ok(turn) => return Some(turn),
                Err(_) if self.has_failed() => return None,
                Err(_) => {}
            }
        }
    }
}

impl Context {
    /// Takes a message over.
    fn take(&mut self, work: Work) {
        self.begin(work.direction);
        self.known.upstream = work.known.upstream;
        self.request = work.request;
        if let Some(response) = work.response {
            self.response = response;
        }
        let body = work.body.map(|bytes| Body { bytes, is_changed: false });
        match work.direction {
            Direction::Request => self.request_body = body,
            Direction::Response => self.response_body = body,
        }
        self.properties = work.properties;
    }

    /// Whether the head of the open message is all of it.
    fn is_all(&self, direction: Direction) -> bool {
        let is_empty = |body: &Option<Body>, said: BodyLength| {
            body.as_ref().is_none_or(|body| body.bytes.is_empty())
                && matches!(said, BodyLength::Empty | BodyLength::Known(0))
        };
        match direction {
            Direction::Request => is_empty(&self.request_body, self.request.body),
            Direction::Response => {
                !self.response.has_body(&self.request.method)
                    || is_empty(&self.response_body, self.response.body)
            }
        }
    }

    /// What ends the phase before its time.
    fn settled(&mut self) -> Option<Step> {
        let step = if let Some(fault) = self.fault.take() {
            self.local = None;
            Step::Fault(fault)
        } else if let Some(local) = self.local.take() {
            Step::Answered(local)
        } else if std::mem::take(&mut self.is_closed) {
            Step::Closed
        } else {
            return None;
        };
        self.close();
        Some(step)
    }

    /// What has become of the open message; from now on it can't be changed.
    fn made(&mut self, direction: Direction) -> Made {
        self.close();
        let body = match direction {
            Direction::Request => self.request_body.take(),
            Direction::Response => self.response_body.take(),
        };
        let is_changed = self.is_changed;
        Made {
            request: (is_changed && direction == Direction::Request).then(|| self.request.clone()),
            response: (is_changed && direction == Direction::Response)
                .then(|| self.response.clone()),
            body,
            properties: std::mem::take(&mut self.properties),
        }
    }
}
