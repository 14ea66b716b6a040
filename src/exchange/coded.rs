//! A response that is compressed on its way to the client.
//!
//! What is at hand is compressed together. Before more is waited for, all that came goes out and
//! can be decoded, so that a slow stream is held back no more than a plain one. It is worked at in
//! steps, with a pause through the timer when they have taken a millisecond together.

use std::time::Instant;

use super::terms::Terms;
use super::{Exchange, Reply};
use crate::error::Error;
use crate::http::coding::encoder::{Broken, Encoder, Until};
use crate::http::compression::describe_coded;
use crate::http::message::{BodyLength, Fields, ResponseHead};
use crate::http::relay::{self, BodySink, BodySource, Replay, Trailers};
use crate::io::budget::Held;
use crate::io::buffer::{BufferPool, Chunk};
use crate::io::sleep;
use crate::limits::{ENCODE_INPUT_BYTES, ENCODE_OUTPUT_BYTES, PLUGIN_YIELD};

/// An encoder, and the memory that it may take.
pub(super) struct Reserved {
    encoder: Encoder,
    memory: Held,
}

impl Reserved {
    /// Where plain bytes go in and coded ones come out, to `sink`.
    pub(super) fn into_sink<'a, S: BodySink>(
        self,
        sink: &'a mut S,
        pool: &'a BufferPool,
    ) -> Coded<'a, S> {
        Coded {
            sink,
            encoder: self.encoder,
            _memory: self.memory,
            pool,
            out: Vec::with_capacity(2 * ENCODE_OUTPUT_BYTES),
            since: Instant::now(),
            is_inside: false,
        }
    }
}

impl Exchange<'_> {
    /// What encodes the body of a response, if anything does: its head is made that of the coded
    /// body then. Where there is no memory for it, the body goes on plain.
    #[cold]
    pub(super) fn encoder(
        &self,
        terms: &Terms,
        response: &mut ResponseHead,
        gets_body: bool,
    ) -> Option<Reserved> {
        let extras = self.service.extras.as_ref()?;
        let (compression, accepted) = (extras.compression.as_ref()?, terms.accepted?);
        let is_sent = gets_body && response.body != BodyLength::Empty;
        let coding = compression.coding_for(accepted, response, is_sent)?;
        let memory = self.held.reserve(Encoder::memory(coding)).ok()?;
        let encoder = Encoder::new(coding)?;
        describe_coded(response, coding);
        Some(Reserved { encoder, memory })
    }

    /// Sends a body through an encoder; the head is on its way. It is `given` whole, or begins with
    /// `prefix` and the source has the rest.
    pub(super) async fn send_coded(
        &self,
        reserved: Reserved,
        status: u16,
        (given, prefix): (Option<Vec<u8>>, Vec<u8>),
        source: &mut impl BodySource,
        reply: &mut impl Reply,
        trailers: Trailers<'_>,
    ) -> Result<u16, Error> {
        let pool = self.worker.buffers();
        let mut sink = reserved.into_sink(reply, pool);
        let relayed = match &given {
            Some(bytes) => relay::send(bytes, &mut sink, pool).await,
            None => {
                let mut whole = Replay::new(&prefix, Some(source), pool);
                relay::pump(&mut whole, &mut sink, trailers).await
            }
        };
        relayed.map(|()| status).map_err(relay::PumpFailure::error)
    }
}

/// Where plain bytes go in and coded ones come out.
pub(super) struct Coded<'a, S> {
    sink: &'a mut S,
    encoder: Encoder,
    _memory: Held,
    pool: &'a BufferPool,
    out: Vec<u8>,
    /// When it began to work, or last gave way to others.
    since: Instant,
    /// Something was taken in that has not been flushed.
    is_inside: bool,
}

impl<S: BodySink> Coded<'_, S> {
    async fn encode(&mut self, mut input: &[u8], until: Until) -> Result<(), Error> {
        loop {
            let is_done = self.encoder.step(&mut input, until, &mut self.out);
            let is_done = is_done.map_err(|Broken| Error::OverBudget)?;
            if self.out.len() >= ENCODE_OUTPUT_BYTES || is_done && until != Until::More {
                self.sink.copy(&self.out, self.pool).await?;
                self.out.clear();
            }
            if self.since.elapsed() >= PLUGIN_YIELD {
                // Through the timer: a task that wakes itself keeps all others from running.
                sleep(PLUGIN_YIELD).await;
                self.since = Instant::now();
            }
            if is_done {
                return Ok(());
            }
        }
    }

    async fn take(&mut self, bytes: &[u8]) -> Result<(), Error> {
        for piece in bytes.chunks(ENCODE_INPUT_BYTES) {
            self.encode(piece, Until::More).await?;
        }
        self.is_inside |= !bytes.is_empty();
        Ok(())
    }
}

impl<S: BodySink> BodySink for Coded<'_, S> {
    async fn write(&mut self, chunk: Chunk) -> Result<(), Error> {
        self.take(chunk.bytes()).await?;
        self.pool.give(chunk.into_parts().0);
        Ok(())
    }

    async fn copy(&mut self, piece: &[u8], _pool: &BufferPool) -> Result<(), Error> {
        self.take(piece).await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.is_inside) {
            self.encode(&[], Until::Flush).await?;
        }
        self.sink.flush().await?;
        // What is waited for now is no work.
        self.since = Instant::now();
        Ok(())
    }

    async fn finish(&mut self, trailers: &Fields) -> Result<(), Error> {
        self.encode(&[], Until::End).await?;
        self.sink.finish(trailers).await
    }
}
