//! A body on its way through a filter, in the terms of proxy-wasm: each piece is a callback; while
//! the filter pauses, pieces gather in its buffer; the end is told with the last of them, or by the
//! trailers' callback where there are some.

use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use super::super::chain::{Flow, Piece};
use super::super::failure::CallError;
use super::super::pool::Pool;
use super::context::{Body, Context, Direction};
use super::filter::{Detached, Stream, Turn};
use super::guest::int;
use super::map::{Map, View};
use super::turns::context_of;
use crate::http::message::Fields;

/// How one message's body passes the filter of an exchange.
pub(in crate::plugin) struct Way {
    stream: Rc<Stream>,
    direction: Direction,
}

impl Way {
    pub(super) fn new(stream: Rc<Stream>, direction: Direction) -> Self {
        Self { stream, direction }
    }

    /// Gives the filter a piece; it may hold `bytes_max` back.
    pub(in crate::plugin) async fn pass(
        &self,
        pool: &Rc<Pool>,
        piece: Piece,
        bytes_max: usize,
        deadline: Instant,
    ) -> Result<Flow, CallError> {
        self.enter(pool, Some((piece, bytes_max)), deadline).await
    }

    /// What has become of what it holds back.
    pub(in crate::plugin) async fn resume(
        &self,
        pool: &Rc<Pool>,
        deadline: Instant,
    ) -> Result<Flow, CallError> {
        self.enter(pool, None, deadline).await
    }

    async fn enter(
        &self,
        pool: &Rc<Pool>,
        piece: Option<(Piece, usize)>,
        deadline: Instant,
    ) -> Result<Flow, CallError> {
        let turn = self.stream.filter.turn(deadline).await?;
        let stream = Rc::clone(&self.stream);
        let direction = self.direction;
        let ran = Detached::new(pool, turn.piece(stream, direction, piece, deadline)).await?;
        ran.map_err(CallError::bad_output)
    }

    /// Ready when something has come for the filter's context.
    pub(in crate::plugin) fn poll_awake(&self, task: &mut TaskContext<'_>) -> Poll<()> {
        self.stream.poll_awake(self.direction, task)
    }
}

/// What a filter made of a piece, or what it did that no filter may do.
type Ran = Result<Flow, String>;

impl Turn {
    /// Gives the filter a piece, or looks how it stands.
    async fn piece(
        mut self,
        stream: Rc<Stream>,
        direction: Direction,
        piece: Option<(Piece, usize)>,
        deadline: Instant,
    ) -> Result<Ran, CallError> {
        let ran = self.run_piece(stream.id.get(), direction, piece, deadline).await;
        self.finish(ran)
    }

    async fn run_piece(
        &mut self,
        id: u32,
        direction: Direction,
        piece: Option<(Piece, usize)>,
        deadline: Instant,
    ) -> Result<Ran, CallError> {
        let context = context_of(self.state()?, id)?;
        let Some((piece, bytes_max)) = piece else {
            return Ok(context.how_it_stands(direction));
        };
        let has_bytes = !piece.bytes.is_empty();
        let (is_end, has_trailers) = (piece.is_end, !piece.trailers.is_empty());
        if !context.give(direction, piece, bytes_max) {
            return Ok(Ok(Flow::TooLarge));
        }
        self.enter(id, deadline)?;
        if has_bytes || !has_trailers {
            let is_last = is_end && !has_trailers;
            let pauses = self.body(id, direction, is_last).await?;
            context_of(self.state()?, id)?.flow(direction).is_paused = pauses;
        }
        if is_end && has_trailers && !context_of(self.state()?, id)?.is_settled() {
            context_of(self.state()?, id)?.flow(direction).has_trailers = true;
            let pauses = self.trailers(id, direction).await?;
            context_of(self.state()?, id)?.flow(direction).is_paused = pauses;
        }
        Ok(context_of(self.state()?, id)?.how_it_stands(direction))
    }

    async fn trailers(&mut self, id: u32, direction: Direction) -> Result<bool, CallError> {
        let instance = self.instance()?;
        let policy = instance.store.data().plugin.non_utf8();
        let guest = instance.guest.filter()?;
        let (function, map) = match direction {
            Direction::Request => (&guest.on_request_trailers, Map::RequestTrailers),
            Direction::Response => (&guest.on_response_trailers, Map::ResponseTrailers),
        };
        let Some(function) = function else {
            return Ok(false);
        };
        let state = &mut instance.store.data_mut().filter;
        state.current = id;
        let context = context_of(state, id)?;
        let count = View::of(context, map).map_or(0, |view| view.len(policy));
        Ok(function.call_async(&mut instance.store, (int(id), int(count))).await? != 0)
    }
}

impl Context {
    /// Puts a piece to what is there already; false if that would be more than may be held.
    fn give(&mut self, direction: Direction, piece: Piece, bytes_max: usize) -> bool {
        let flow = self.flow(direction);
        flow.bytes += piece.bytes.len();
        flow.is_open = true;
        flow.is_end |= piece.is_end;
        flow.is_paused = false;
        match direction {
            Direction::Request => self.request_trailers = piece.trailers,
            Direction::Response => self.response_trailers = piece.trailers,
        }
        self.is_resumed[direction as usize] = false;
        match self.body(direction) {
            None => {
                let new = Some(Body { bytes: piece.bytes, is_changed: false });
                match direction {
                    Direction::Request => self.request_body = new,
                    Direction::Response => self.response_body = new,
                }
                true
            }
            Some(body) if body.bytes.len() + piece.bytes.len() > bytes_max => false,
            Some(body) => {
                body.bytes.extend_from_slice(&piece.bytes);
                true
            }
        }
    }

    /// What becomes of the buffer now.
    fn how_it_stands(&mut self, direction: Direction) -> Ran {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        if let Some(local) = self.local.take() {
            return Ok(Flow::Answered(local));
        }
        if std::mem::take(&mut self.is_closed) {
            return Ok(Flow::Closed);
        }
        let is_resumed = std::mem::take(&mut self.is_resumed[direction as usize]);
        let flow = self.flow(direction);
        if flow.is_paused && !is_resumed {
            return Ok(Flow::Held(self.body(direction).map_or(0, |body| body.bytes.len())));
        }
        flow.is_paused = false;
        let (is_end, has_trailers) = (flow.is_end, std::mem::take(&mut flow.has_trailers));
        let (body, trailers) = match direction {
            Direction::Request => (self.request_body.take(), &mut self.request_trailers),
            Direction::Response => (self.response_body.take(), &mut self.response_trailers),
        };
        let trailers = match has_trailers {
            true => std::mem::take(trailers),
            false => Fields::new(),
        };
        let Some(Body { bytes, is_changed }) = body else {
            return Ok(Flow::Passed(Piece::default(), false));
        };
        Ok(Flow::Passed(Piece { bytes, is_end, trailers }, is_changed))
    }
}
