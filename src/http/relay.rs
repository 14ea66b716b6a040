//! Body bytes from one side to the other, either way, whatever version the sides speak.
//!
//! Back-pressure is the order of the calls: the next piece is asked for when the last one has been
//! written. What is at hand is written together; before waiting for more, what is pending goes out,
//! so that a slow stream (server-sent events) is never held back.

use std::borrow::Cow;
use std::pin::Pin;
use std::task::Poll;

use crate::error::Error;
use crate::http::message::{BodyLength, Fields};
use crate::io::budget::Held;
use crate::io::buffer::{BufferPool, Chunk};
use crate::limits::{LARGE_BUFFER_BYTES, READ_BYTES_MAX};

/// Where a body comes from.
pub trait BodySource {
    /// Whether `next` has something without waiting.
    fn is_ready(&self) -> bool;
    /// The next piece; `None` at the end. Dropping the future gives the connection up.
    fn next(&mut self) -> impl Future<Output = Result<Option<Chunk>, Error>>;
    /// Whether the end has been read.
    fn is_done(&self) -> bool;
    /// The trailers, once done.
    fn trailers(&self) -> &Fields;
    /// Whether the future of [`Self::next`] may be dropped, and the body be read on.
    fn may_be_left(&self) -> bool {
        false
    }
    /// It must be read to its end by then, by the clock of `deadline::now_ms`, where it is waited
    /// for at all.
    fn bound(&mut self, _expires_ms: u64) {}
    /// It may have so many bytes, whatever was said before any of it was read.
    fn allow(&mut self, _bytes_max: u64) {}
}

/// Where a body goes.
pub trait BodySink {
    /// Takes a piece; it may stay pending until `flush` or `finish`.
    fn write(&mut self, chunk: Chunk) -> impl Future<Output = Result<(), Error>>;
    /// The same of a piece that stays with the caller.
    fn copy(&mut self, piece: &[u8], pool: &BufferPool) -> impl Future<Output = Result<(), Error>> {
        self.write(Chunk::copy_of(piece, pool))
    }
    /// Writes what is pending.
    fn flush(&mut self) -> impl Future<Output = Result<(), Error>>;
    /// Ends the body and writes what is pending.
    fn finish(&mut self, trailers: &Fields) -> impl Future<Output = Result<(), Error>>;
}

/// Which end of a [`pump`] failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PumpFailure {
    /// The body could not be read on.
    Source(Error),
    /// The body could not be written on.
    Sink(Error),
}

impl PumpFailure {
    /// Why.
    pub fn error(self) -> Error {
        match self {
            Self::Source(error) | Self::Sink(error) => error,
        }
    }
}

/// Which of a body's trailers go on with it. They come when all that guards a head has been passed,
/// so a field there can say what no plugin has seen.
#[derive(Debug, Clone, Copy)]
pub enum Trailers<'a> {
    /// All that may stand in a trailer section at all.
    All,
    /// Those of these names, in any letter case.
    Named(&'a [String]),
}

impl Trailers<'_> {
    /// The fields that go on.
    pub fn of(self, received: &Fields) -> Cow<'_, Fields> {
        let Self::Named(names) = self else {
            return Cow::Borrowed(received);
        };
        if received.is_empty() {
            return Cow::Borrowed(received);
        }
        let mut kept = received.clone();
        let is_named =
            |name: &[u8]| names.iter().any(|one| name.eq_ignore_ascii_case(one.as_bytes()));
        kept.retain(|name, _| is_named(name));
        Cow::Owned(kept)
    }
}

/// Relays a body to its end, and those of its trailers that may go on.
pub async fn pump(
    source: &mut impl BodySource,
    sink: &mut impl BodySink,
    trailers: Trailers<'_>,
) -> Result<(), PumpFailure> {
    loop {
        if !source.is_ready() {
            sink.flush().await.map_err(PumpFailure::Sink)?;
        }
        match source.next().await.map_err(PumpFailure::Source)? {
            Some(chunk) => sink.write(chunk).await.map_err(PumpFailure::Sink)?,
            None => {
                let trailers = trailers.of(source.trailers());
                return sink.finish(&trailers).await.map_err(PumpFailure::Sink);
            }
        }
    }
}

/// Sends a body that is whole in memory.
pub async fn send(
    bytes: &[u8],
    sink: &mut impl BodySink,
    pool: &BufferPool,
) -> Result<(), PumpFailure> {
    for piece in bytes.chunks(READ_BYTES_MAX) {
        sink.copy(piece, pool).await.map_err(PumpFailure::Sink)?;
    }
    sink.finish(&Fields::new()).await.map_err(PumpFailure::Sink)
}

/// A request body on its way while the response is awaited or relayed: the two directions overlap.
///
/// A pump that fails to write does not end the exchange: the origin may have answered early and
/// closed, and its answer is what counts. One that fails to read does: the client broke off.
pub struct Alongside<'a, P> {
    pump: Pin<&'a mut P>,
    outcome: Option<Result<(), PumpFailure>>,
}

impl<'a, P: Future<Output = Result<(), PumpFailure>>> Alongside<'a, P> {
    /// Nothing runs before [`Self::run`].
    pub fn new(pump: Pin<&'a mut P>) -> Self {
        Self { pump, outcome: None }
    }

    /// Runs `main` to its end, and the pump as far as it gets meanwhile. (The caller has pinned
    /// both: a future that is handed over takes its room twice.)
    pub async fn run<T>(
        &mut self,
        mut main: Pin<&mut impl Future<Output = Result<T, Error>>>,
    ) -> Result<T, Error> {
        std::future::poll_fn(|cx| {
            if self.outcome.is_none()
                && let Poll::Ready(outcome) = self.pump.as_mut().poll(cx)
            {
                self.outcome = Some(outcome);
            }
            if let Some(Err(PumpFailure::Source(error))) = self.outcome {
                return Poll::Ready(Err(error));
            }
            main.as_mut().poll(cx)
        })
        .await
    }

    /// Whether the request body was still on its way when the time was up, of the exchange or of a
    /// write.
    pub fn is_cut(&self) -> bool {
        matches!(self.outcome, None | Some(Err(PumpFailure::Sink(Error::UpstreamTimeout))))
    }

    /// Whether the request body has been relayed whole.
    pub fn is_complete(&self) -> bool {
        self.outcome == Some(Ok(()))
    }
}

/// What [`collect`] read.
#[derive(Debug)]
pub struct Collected {
    /// The body, or its first part.
    pub bytes: Vec<u8>,
    /// Whether it is the whole body.
    pub is_whole: bool,
}

/// Reads a body of `length` into memory, stopping after the piece that takes it over `bytes_max`;
/// one that is known to be longer is not begun. Its memory is taken from what is `held`.
pub async fn collect(
    source: &mut impl BodySource,
    length: BodyLength,
    bytes_max: usize,
    pool: &BufferPool,
    held: &Held,
) -> Result<Collected, Error> {
    let mut bytes = Vec::new();
    let most = match length {
        BodyLength::Known(length) if length > bytes_max as u64 => {
            return Ok(Collected { bytes, is_whole: false });
        }
        BodyLength::Known(length) => {
            // Not more than that on a client's word; longer ones grow.
            held.make_room(&mut bytes, length.min(LARGE_BUFFER_BYTES as u64) as usize, 0)?;
            length as usize
        }
        BodyLength::Empty | BodyLength::Unknown => usize::MAX,
    };
    while let Some(chunk) = source.next().await? {
        held.make_room(&mut bytes, chunk.len(), most)?;
        bytes.extend_from_slice(chunk.bytes());
        pool.give(chunk.into_parts().0);
        if bytes.len() > bytes_max {
            return Ok(Collected { bytes, is_whole: false });
        }
    }
    Ok(Collected { bytes, is_whole: true })
}

/// A body from memory, followed by what its source still has.
pub struct Replay<'a, B> {
    bytes: &'a [u8],
    rest: Option<&'a mut B>,
    pool: &'a BufferPool,
    no_trailers: Fields,
}

impl<'a, B: BodySource> Replay<'a, B> {
    /// `bytes`, then `rest` if there is one.
    pub fn new(bytes: &'a [u8], rest: Option<&'a mut B>, pool: &'a BufferPool) -> Self {
        Self { bytes, rest, pool, no_trailers: Fields::new() }
    }
}

impl<B: BodySource> BodySource for Replay<'_, B> {
    fn is_ready(&self) -> bool {
        !self.bytes.is_empty() || self.rest.as_ref().is_none_or(|rest| rest.is_ready())
    }

    async fn next(&mut self) -> Result<Option<Chunk>, Error> {
        if self.bytes.is_empty() {
            return match &mut self.rest {
                Some(rest) => rest.next().await,
                None => Ok(None),
            };
        }
        let (piece, left) = self.bytes.split_at(self.bytes.len().min(READ_BYTES_MAX));
        self.bytes = left;
        Ok(Some(Chunk::copy_of(piece, self.pool)))
    }

    fn is_done(&self) -> bool {
        self.bytes.is_empty() && self.rest.as_ref().is_none_or(|rest| rest.is_done())
    }

    fn trailers(&self) -> &Fields {
        self.rest.as_ref().map_or(&self.no_trailers, |rest| rest.trailers())
    }
}

/// The source of a body that is in memory already.
#[derive(Debug)]
pub struct NoSource;

impl BodySource for NoSource {
    fn is_ready(&self) -> bool {
        true
    }

    async fn next(&mut self) -> Result<Option<Chunk>, Error> {
        Ok(None)
    }

    fn is_done(&self) -> bool {
        true
    }

    fn trailers(&self) -> &Fields {
        const { &Fields::new() }
    }
}
