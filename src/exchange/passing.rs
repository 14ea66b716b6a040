//! A body on its way through the plugins that are given it piece by piece.
//!
//! Back-pressure is the order of the calls, as in `http/relay.rs`: what the plugins have passed of
//! a piece is written before the next one is read. While one of them holds something back, the
//! other end is read on, and the plugin may go on by itself meanwhile.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Instant;

use super::Exchange;
use super::decode::Refusals;
use crate::error::Error;
use crate::http::coding::{self, Codings, Failure, Step, Undo};
use crate::http::message::{Fields, LocalResponse};
use crate::http::relay::{BodySink, BodySource, PumpFailure, Trailers};
use crate::io::budget::Held;
use crate::io::buffer::{BufferPool, Chunk};
use crate::io::{sleep, timeout_at};
use crate::limits::{PLUGIN_YIELD, READ_BYTES_MAX};
use crate::plugin::{Fed, Passage, Piece};

/// What a body passes.
pub(super) struct Through {
    passage: Passage,
    undo: Option<Undo>,
    malformed: Error,
    /// What has been read of the body already.
    pub(super) prefix: Vec<u8>,
    /// What plugins have left of what they have read, before all that is read here; plain.
    pub(super) fed: Fed,
}

/// A body whose source is read, and where it goes.
struct Way<'a, K> {
    sink: &'a mut K,
    pool: &'a BufferPool,
    /// The trailers that have passed.
    trailers: Fields,
}

impl Exchange<'_> {
    /// Takes the codings off of a body as its pieces come; `fields` are made to say so.
    pub(super) fn plain_pieces(&self, codings: &Codings, fields: &mut Fields) -> Undo {
        coding::describe_plain(fields);
        Undo::new(codings, Held::of(self.worker.budget()))
    }
}

impl Through {
    /// The `passage`, before it the codings that are to be undone.
    pub(super) fn new(passage: Passage, undo: Option<Undo>, refusals: &Refusals) -> Self {
        Self {
            passage,
            undo,
            malformed: refusals.malformed,
            prefix: Vec::new(),
            fed: Fed::default(),
        }
    }

    /// Whether there is nothing to do but to relay.
    pub(super) fn is_idle(&self) -> bool {
        self.passage.is_empty()
            && self.undo.is_none()
            && !self.fed.is_touched
            && self.fed.edits.is_empty()
    }

    /// Relays a body to its end. What a plugin wants answered in its place is put into `instead`.
    pub(super) async fn pump(
        &mut self,
        source: &mut impl BodySource,
        sink: &mut impl BodySink,
        trailers: Trailers<'_>,
        pool: &BufferPool,
        instead: &Cell<Option<LocalResponse>>,
    ) -> Result<(), PumpFailure> {
        let mut way = Way { sink, pool, trailers: Fields::new() };
        let outcome = match self.relay(source, &mut way).await {
            Ok(()) => {
                let passed = std::mem::take(&mut way.trailers);
                way.sink.finish(&trailers.of(&passed)).await.map_err(PumpFailure::Sink)
            }
            Err(failure) => Err(failure),
        };
        if let Some(local) = self.passage.take_answer() {
            instead.set(Some(local));
        }
        outcome
    }

    async fn relay<K: BodySink>(
        &mut self,
        source: &mut impl BodySource,
        way: &mut Way<'_, K>,
    ) -> Result<(), PumpFailure> {
        let fed = std::mem::take(&mut self.fed.bytes);
        for bytes in fed.chunks(READ_BYTES_MAX) {
            let piece = Piece { bytes: bytes.to_vec(), ..Piece::default() };
            if self.pass(piece, way).await? || self.drain(way).await? {
                return Ok(());
            }
        }
        drop(fed);
        if let Some(mut trailers) = self.fed.end.take() {
            self.fed.edits.apply(&mut trailers);
            let end = Piece { is_end: true, trailers, ..Piece::default() };
            return match self.pass(end, way).await? || self.drain(way).await? {
                true => Ok(()),
                false => self.wait(way).await,
            };
        }
        let prefix = std::mem::take(&mut self.prefix);
        for bytes in prefix.chunks(READ_BYTES_MAX) {
            if self.give(bytes, None, way).await? || self.drain(way).await? {
                return Ok(());
            }
        }
        drop(prefix);
        loop {
            if !source.is_ready() {
                // The head, and what comes before the first wait.
                way.sink.flush().await.map_err(PumpFailure::Sink)?;
            }
            let Some(read) = self.read(source, way).await? else {
                return Ok(());
            };
            let is_end = read.is_none() || source.is_done();
            let end = is_end.then(|| {
                let mut trailers = source.trailers().clone();
                self.fed.edits.apply(&mut trailers);
                trailers
            });
            let is_over = match read {
                Some(chunk) => {
                    let is_over = self.give(chunk.bytes(), end, way).await?;
                    way.pool.give(chunk.into_parts().0);
                    is_over
                }
                None => self.give(&[], end, way).await?,
            };
            if is_over || self.drain(way).await? {
                return Ok(());
            }
            if is_end {
                return self.wait(way).await;
            }
        }
    }

    /// Has plugins called for all that they have been given; whether the body has come to its end
    /// at the other side.
    async fn drain<K: BodySink>(&mut self, way: &mut Way<'_, K>) -> Result<bool, PumpFailure> {
        while self.passage.has_more() {
            let piece = self.passage.resume().await.map_err(PumpFailure::Source)?;
            if way.send(piece).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads on, and passes on what plugins let go meanwhile; `None` if that was the end.
    async fn read<K: BodySink>(
        &mut self,
        source: &mut impl BodySource,
        way: &mut Way<'_, K>,
    ) -> Result<Option<Option<Chunk>>, PumpFailure> {
        let mut next = pin!(source.next());
        loop {
            if let Some(read) = first(next.as_mut(), &mut self.passage).await {
                return read.map(Some).map_err(PumpFailure::Source);
            }
            let piece = self.passage.resume().await.map_err(PumpFailure::Source)?;
            if way.send(piece).await? {
                return Ok(None);
            }
        }
    }

    /// Gives the plugins some bytes, with the trailers if they are the last; whether the body has
    /// come to its end at the other side.
    async fn give<K: BodySink>(
        &mut self,
        bytes: &[u8],
        end: Option<Fields>,
        way: &mut Way<'_, K>,
    ) -> Result<bool, PumpFailure> {
        let is_end = end.is_some();
        let Some(mut undo) = self.undo.take() else {
            let trailers = end.unwrap_or_default();
            return self.pass(Piece { bytes: bytes.to_vec(), is_end, trailers }, way).await;
        };
        undo.give(bytes);
        let mut since = Instant::now();
        loop {
            let mut plain = Vec::new();
            let step = undo.step(is_end, &mut plain).map_err(|failure| {
                PumpFailure::Source(match failure {
                    Failure::NoRoom(error) => error,
                    Failure::Malformed | Failure::TooLarge => self.malformed,
                })
            })?;
            let piece = Piece { bytes: plain, ..Piece::default() };
            if !piece.bytes.is_empty() && self.pass(piece, way).await? {
                return Ok(true);
            }
            if step == Step::Starved {
                break;
            }
            if since.elapsed() >= PLUGIN_YIELD {
                // Through the timer, as in `http/coding.rs`.
                sleep(PLUGIN_YIELD).await;
                since = Instant::now();
            }
        }
        self.undo = Some(undo);
        match end {
            Some(trailers) => self.pass(Piece { is_end, trailers, ..Piece::default() }, way).await,
            None => Ok(false),
        }
    }

    async fn pass<K: BodySink>(
        &mut self,
        piece: Piece,
        way: &mut Way<'_, K>,
    ) -> Result<bool, PumpFailure> {
        let passed = self.passage.pass(piece).await.map_err(PumpFailure::Source)?;
        way.send(passed).await
    }

    /// Waits for plugins that have been given all and hold some of it back.
    async fn wait<K: BodySink>(&mut self, way: &mut Way<'_, K>) -> Result<(), PumpFailure> {
        loop {
            let Some(deadline) = self.passage.deadline() else {
                return Err(PumpFailure::Source(Error::CutByPlugin));
            };
            let woken = std::future::poll_fn(|task| self.passage.poll_woken(task));
            let piece = match timeout_at(deadline, woken).await {
                Ok(()) => self.passage.resume().await,
                Err(_) => self.passage.expire().await,
            };
            if way.send(piece.map_err(PumpFailure::Source)?).await? {
                return Ok(());
            }
        }
    }
}

impl<K: BodySink> Way<'_, K> {
    /// Writes what has passed, all of it: nothing is kept for what may come. Whether it was the
    /// end.
    async fn send(&mut self, piece: Piece) -> Result<bool, PumpFailure> {
        for bytes in piece.bytes.chunks(READ_BYTES_MAX) {
            self.sink.copy(bytes, self.pool).await.map_err(PumpFailure::Sink)?;
        }
        if piece.is_end {
            // It goes out with the end.
            self.trailers = piece.trailers;
        } else if !piece.bytes.is_empty() {
            self.sink.flush().await.map_err(PumpFailure::Sink)?;
        }
        Ok(piece.is_end)
    }
}

/// What was read, or `None` if a plugin has something to say before that.
async fn first(
    mut next: Pin<&mut impl Future<Output = Result<Option<Chunk>, Error>>>,
    passage: &mut Passage,
) -> Option<Result<Option<Chunk>, Error>> {
    std::future::poll_fn(|task| {
        if let Poll::Ready(read) = next.as_mut().poll(task) {
            return Poll::Ready(Some(read));
        }
        passage.poll_woken(task).map(|()| None)
    })
    .await
}

/// A body that is collected where it would be sent.
#[derive(Debug)]
pub(super) struct Collecting<'a> {
    pub(super) bytes: Vec<u8>,
    pub(super) bytes_max: usize,
    pub(super) held: &'a Held,
}

impl BodySink for Collecting<'_> {
    async fn write(&mut self, chunk: Chunk) -> Result<(), Error> {
        if self.bytes.len() + chunk.len() > self.bytes_max {
            return Err(Error::BodyTooLarge);
        }
        self.held.make_room(&mut self.bytes, chunk.len(), self.bytes_max)?;
        self.bytes.extend_from_slice(chunk.bytes());
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn finish(&mut self, _trailers: &Fields) -> Result<(), Error> {
        Ok(())
    }
}
