//! The plugins that a body passes on its way, piece by piece: what one of them passes is the next
//! one's input, and what the last one passes goes on.
//!
//! A plugin may hold bytes back, within the operator's limit for bodies that plugins are given;
//! what is held counts against the worker's budget. Here a plugin's failure becomes what its
//! failure mode says, as for heads: one that fails open lets the rest of the body pass as it comes,
//! if it has changed none of it before. Half of a body that was changed and half of one that was
//! not would be neither, so it is cut then.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::super::abi::Way;
use super::super::failure::CallError;
use super::super::log::Ids;
use super::super::module::Plugin;
use super::super::pool::Pool;
use super::super::spec::Phase;
use super::super::stats::ErrorKind;
use super::{Facts, Verdict, failed};
use crate::error::Error;
use crate::http::message::{Fields, LocalResponse};
use crate::io::budget::Held;

/// A part of a body: some bytes, or its end, or both.
#[derive(Debug, Default)]
pub struct Piece {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Nothing comes behind them.
    pub is_end: bool,
    /// At the end: the trailers.
    pub trailers: Fields,
}

/// What a plugin makes of a piece.
#[derive(Debug)]
pub(in crate::plugin) enum Flow {
    /// This goes on, and whether it is what came.
    Passed(Piece, IsChanged),
    /// It holds so many bytes back until more comes, or until it says so.
    Held(usize),
    /// It answers in the place of the message's other end.
    Answered(LocalResponse),
    /// It wants the exchange cut off, as if the client had gone.
    Closed,
    /// It wants the message cut off.
    Cut,
    /// It would hold more than it may.
    TooLarge,
}

/// Whether what a plugin passes differs from what it was given.
pub(in crate::plugin) type IsChanged = bool;

/// One plugin, and how far it has come.
pub(super) struct Stage {
    plugin: Arc<Plugin>,
    pool: Rc<Pool>,
    way: Way,
    state: State,
    /// What it was given and has not passed yet: should it fail, that goes on. Kept of plugins that
    /// fail open.
    given: Piece,
    /// Bytes that it holds back.
    held: usize,
    /// It has changed something of the body.
    has_changed: bool,
    /// It may have something to say without being given more.
    is_awake: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// It holds something back.
    Holding,
    /// It has been given all, and holds something back until then at most.
    Last(Instant),
    /// Everything has passed it.
    Done,
    /// It has failed; the body passes it.
    Failed,
}

impl Stage {
    pub(super) fn new(plugin: &Arc<Plugin>, pool: Rc<Pool>, way: Way) -> Self {
        Self {
            plugin: Arc::clone(plugin),
            pool,
            way,
            state: State::Open,
            given: Piece::default(),
            held: 0,
            has_changed: false,
            is_awake: false,
        }
    }

    fn fails_open(&self) -> bool {
        !self.plugin.fails_closed()
    }

    /// Whether it is still in the way of the body.
    fn is_there(&self) -> bool {
        !matches!(self.state, State::Done | State::Failed)
    }
}

/// See the module's text.
pub struct Passage {
    stages: Vec<Stage>,
    phase: Phase,
    bytes_max: usize,
    held: Held,
    request_id: String,
    trace_id: String,
    answer: Option<LocalResponse>,
}

impl std::fmt::Debug for Passage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.stages.iter().map(|stage| &stage.plugin.spec.name);
        f.debug_list().entries(names).finish()
    }
}

impl Passage {
    pub(super) fn new(stages: Vec<Stage>, phase: Phase, facts: &Facts<'_>, held: Held) -> Self {
        let ids = facts.ids();
        Self {
            stages,
            phase,
            bytes_max: facts.bounds.body_bytes_max,
            held,
            request_id: ids.request.to_owned(),
            trace_id: ids.trace.to_owned(),
            answer: None,
        }
    }

    /// Whether the body passes no plugin.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// What is to be answered, where a plugin has ended the exchange ([`Error::CutByPlugin`]).
    pub fn take_answer(&mut self) -> Option<LocalResponse> {
        self.answer.take()
    }

    /// Gives a piece to the plugins: what has passed them all.
    ///
    /// # Errors
    /// [`Error::CutByPlugin`] if one of them ends the exchange or has failed, and what they may
    /// not hold.
    pub async fn pass(&mut self, piece: Piece) -> Result<Piece, Error> {
        self.pass_from(0, piece).await
    }

    async fn pass_from(&mut self, first: usize, mut piece: Piece) -> Result<Piece, Error> {
        for index in first..self.stages.len() {
            if piece.bytes.is_empty() && !piece.is_end {
                break;
            }
            piece = self.call(index, Some(piece)).await?;
        }
        Ok(piece)
    }

    /// Asks those plugins that hold something back, or have something to say: what has passed.
    ///
    /// # Errors
    /// As [`Self::pass`].
    pub async fn resume(&mut self) -> Result<Piece, Error> {
        let mut passed = Piece::default();
        for index in 0..self.stages.len() {
            let stage = &mut self.stages[index];
            let is_awake = std::mem::take(&mut stage.is_awake);
            if !stage.is_there() || !(is_awake || stage.way.has_more()) {
                continue;
            }
            let piece = self.call(index, None).await?;
            let piece = self.pass_from(index + 1, piece).await?;
            passed.bytes.extend_from_slice(&piece.bytes);
            if piece.is_end {
                return Ok(Piece { bytes: passed.bytes, ..piece });
            }
        }
        Ok(passed)
    }

    /// Ready when [`Self::resume`] has something to do.
    pub fn poll_woken(&mut self, task: &mut Context<'_>) -> Poll<()> {
        let mut polled = Poll::Pending;
        for stage in self.stages.iter_mut().filter(|stage| stage.is_there()) {
            stage.is_awake |= stage.way.poll_awake(task).is_ready();
            if stage.is_awake {
                polled = Poll::Ready(());
            }
        }
        polled
    }

    /// Whether [`Self::resume`] has something to do at once.
    pub fn has_more(&self) -> bool {
        self.stages.iter().any(|stage| stage.is_there() && stage.way.has_more())
    }

    /// Until when the plugins that have been given all may hold something back.
    pub fn deadline(&self) -> Option<Instant> {
        let last = self.stages.iter().filter_map(|stage| match stage.state {
            State::Last(deadline) => Some(deadline),
            _ => None,
        });
        last.min()
    }

    /// The deadline has passed: those that have not gone on have failed.
    ///
    /// # Errors
    /// As [`Self::pass`].
    pub async fn expire(&mut self) -> Result<Piece, Error> {
        let now = Instant::now();
        for index in 0..self.stages.len() {
            let stage = &mut self.stages[index];
            let State::Last(deadline) = stage.state else {
                continue;
            };
            if deadline > now {
                continue;
            }
            let timeout = stage.plugin.spec.timeout;
            let text = format!(
                "plugin execution timeout: it holds a body back, and has neither gone on nor \
                 answered within {timeout:?} (timeout)"
            );
            let error = CallError::new(ErrorKind::Timeout, text);
            let piece = self.failed(index, now, &error)?;
            return self.pass_from(index + 1, piece).await;
        }
        Ok(Piece::default())
    }

    /// Calls one plugin with a piece, or asks it how it stands.
    async fn call(&mut self, index: usize, piece: Option<Piece>) -> Result<Piece, Error> {
        let bytes_max = self.bytes_max;
        let stage = &mut self.stages[index];
        let piece = match (stage.state, piece) {
            (State::Failed, piece) => return Ok(piece.unwrap_or_default()),
            (State::Done, _) => return Ok(Piece::default()),
            (_, piece) => piece,
        };
        let (is_asked, is_end) = (piece.is_none(), piece.as_ref().is_some_and(|it| it.is_end));
        let has_call = !is_asked || stage.way.has_more();
        let keeps = stage.fails_open() && !stage.way.keeps_given();
        if let Some(piece) = piece.as_ref().filter(|_| keeps) {
            stage.given.bytes.extend_from_slice(&piece.bytes);
            stage.given.is_end |= piece.is_end;
            stage.given.trailers = piece.trailers.clone();
        }
        let started = Instant::now();
        let deadline = started + stage.plugin.spec.timeout;
        let called = match piece {
            Some(piece) => stage.way.pass(&stage.pool, piece, bytes_max, deadline).await,
            None => stage.way.resume(&stage.pool, deadline).await,
        };
        let flow = match called {
            Ok(flow) => flow,
            Err(error) => return self.failed(index, started, &error),
        };
        stage.pool.note_health(true);
        if has_call {
            let ids = Ids { request: &self.request_id, trace: &self.trace_id };
            stage.pool.count(started, ids, None);
        }
        match flow {
            Flow::Passed(piece, is_changed) => {
                stage.given = Piece::default();
                stage.has_changed |= is_changed;
                if piece.is_end {
                    stage.state = State::Done;
                } else if stage.state == State::Holding || !is_asked {
                    stage.state = State::Open;
                }
                self.hold(index, 0)?;
                Ok(piece)
            }
            Flow::Held(bytes) => {
                stage.state = match stage.state {
                    State::Last(deadline) => State::Last(deadline),
                    _ if is_end => State::Last(deadline),
                    _ => State::Holding,
                };
                self.hold(index, bytes)?;
                Ok(Piece::default())
            }
            Flow::Answered(local) => {
                self.answer = Some(local);
                Err(Error::CutByPlugin)
            }
            Flow::Closed => Err(Error::DownstreamGone),
            Flow::Cut => Err(Error::CutByPlugin),
            Flow::TooLarge => Err(match self.phase {
                Phase::Request => Error::BodyTooLarge,
                Phase::Response | Phase::Aggregation => Error::ResponseTooLarge,
            }),
        }
    }

    /// What a plugin holds back now, and what is kept for when it fails.
    fn hold(&mut self, index: usize, bytes: usize) -> Result<(), Error> {
        let stage = &mut self.stages[index];
        let now = bytes + stage.given.bytes.len();
        let before = std::mem::replace(&mut stage.held, now);
        self.held.release(before.saturating_sub(now));
        self.held.claim(now.saturating_sub(before))
    }

    /// A plugin has failed: what goes on in the place of what it was given.
    fn failed(
        &mut self,
        index: usize,
        started: Instant,
        error: &CallError,
    ) -> Result<Piece, Error> {
        let stage = &mut self.stages[index];
        stage.pool.note_health(false);
        let ids = Ids { request: &self.request_id, trace: &self.trace_id };
        stage.pool.count(started, ids, Some(error));
        stage.state = State::Failed;
        let given = std::mem::take(&mut stage.given);
        let given = stage.way.take_given().unwrap_or(given);
        let is_clients = self.phase == Phase::Request && !given.bytes.is_empty();
        match failed(&stage.plugin, error, is_clients) {
            Verdict::Continue if !stage.has_changed => {
                self.hold(index, 0)?;
                Ok(given)
            }
            Verdict::Respond(local) => {
                self.answer = Some(local);
                Err(Error::CutByPlugin)
            }
            Verdict::Continue | Verdict::Close => Err(Error::CutByPlugin),
        }
    }
}
