//! The writing half of an HTTP/1 connection: heads and bodies to a stream.
//!
//! What is small is collected and written once: a head with the first bytes of its body, many
//! small chunks. What is large goes out from the buffer it came in. Each step of a write is under
//! the half's [`Deadline`], which then shuts the whole socket down: a peer that does not read is
//! gone.

use std::rc::Rc;
use std::time::Duration;

use crate::http::h1::encode::{self, Framing};
use crate::http::message::Fields;
use crate::io::buffer::{BufferPool, Chunk};
use crate::io::deadline::{Deadline, now_ms};
use crate::io::stream::{Direction, Stream, WriteHalf};
use crate::limits::{
    BUFFER_BYTES, CLOSE_NOTIFY_TIMEOUT, LARGE_BUFFER_BYTES, LATE_MESSAGE_TIMEOUT, READ_BYTES_MAX,
};

/// A chunk of at least so many bytes is written from its own buffer when nothing is pending.
/// Copying less is cheaper than a second send.
const DIRECT_BYTES_MIN: usize = 4096;
/// The same behind something that is pending, which goes out first.
const DIRECT_BEHIND_BYTES_MIN: usize = 32 * 1024;

/// More than the frame of a chunk takes: its length in hexadecimal and two line ends.
const FRAME_BYTES: usize = 32;

const _: () = assert!(READ_BYTES_MAX + FRAME_BYTES <= LARGE_BUFFER_BYTES);

/// Writes messages to one stream.
#[derive(Debug)]
pub struct Sender<S: Stream> {
    half: WriteHalf<S>,
    /// Encoded and not yet written; of no capacity while idle.
    pending: Vec<u8>,
    framing: Framing,
    deadline: Deadline,
    write_timeout: Duration,
    /// When all must be written, by the clock of `deadline::now_ms`.
    expires_ms: u64,
    pool: Rc<BufferPool>,
    /// Of the message that was begun last, without framing.
    body_bytes: u64,
    /// Some of the message that was begun last has been written.
    has_written: bool,
}

/// The peer is gone or does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteFailed;

impl<S: Stream> Sender<S> {
    /// Each step of progress of a write may take so long from now on.
    pub fn set_write_timeout(&mut self, write_timeout: Duration) {
        self.write_timeout = write_timeout;
    }

    /// A sender over one half of a stream; a write may take `write_timeout` for each step of
    /// progress.
    pub fn new(
        half: WriteHalf<S>,
        deadline: Deadline,
        write_timeout: Duration,
        pool: Rc<BufferPool>,
    ) -> Self {
        let (pending, framing) = (Vec::new(), Framing::Plain);
        Self {
            half,
            pending,
            framing,
            deadline,
            write_timeout,
            expires_ms: u64::MAX,
            pool,
            body_bytes: 0,
            has_written: false,
        }
    }

    /// Bounds what is written from now on. A message that begins late still has
    /// [`LATE_MESSAGE_TIMEOUT`]: it may be the one that tells of it.
    pub fn bound(&mut self, expires_ms: u64) {
        self.expires_ms = expires_ms;
    }

    /// How long the peer has not taken any of a write that is pending, has failed or was given up:
    /// of a sender that has no other bound.
    pub fn waits(&self) -> Duration {
        let begun_ms = match self.deadline.due_ms() {
            Some(due_ms) => due_ms.saturating_sub(self.write_timeout.as_millis() as u64),
            None => return Duration::ZERO,
        };
        Duration::from_millis(now_ms().saturating_sub(begun_ms))
    }

    /// Whether a write was ended because the peer did not take it in time.
    pub fn has_timed_out(&self) -> bool {
        self.deadline.has_fired()
    }

    /// Ends without ending the sending direction: the stream goes on elsewhere.
    pub fn leave(self) {
        self.half.leave();
    }

    /// Has `encode` append a head; what it returns is the framing of the body that follows.
    pub fn head(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> Framing) {
        if self.pending.capacity() == 0 {
            self.pending = self.pool.take();
        }
        debug_assert!(self.pending.is_empty(), "a message ends with a flush");
        self.framing = encode(&mut self.pending);
        self.body_bytes = 0;
        self.has_written = false;
    }

    /// Takes the message that was begun last back, if nothing of it has been written; whether that
    /// is so.
    pub fn take_back(&mut self) -> bool {
        if self.has_written {
            return false;
        }
        self.pending.clear();
        self.framing = Framing::Plain;
        self.body_bytes = 0;
        true
    }

    /// Whether only closing the connection ends the message that was begun last.
    pub fn ends_by_closing(&self) -> bool {
        self.framing == Framing::UntilClose
    }

    /// Bytes of the body of the message that was begun last, without its framing.
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// Writes a piece of the body, at the latest with the next [`Self::flush`].
    pub async fn body(&mut self, chunk: Chunk) -> Result<(), WriteFailed> {
        self.body_bytes += chunk.len() as u64;
        let is_plain = self.framing != Framing::Chunked;
        let is_idle = self.pending.is_empty();
        let direct_min = if is_idle { DIRECT_BYTES_MIN } else { DIRECT_BEHIND_BYTES_MIN };
        if is_plain && chunk.len() >= direct_min {
            self.flush().await?;
            let (bytes, range) = chunk.into_parts();
            let bytes = self.write(bytes, range.start, range.end).await?;
            self.pool.give(bytes);
            return Ok(());
        }
        self.append_or_write(chunk.bytes()).await?;
        self.pool.give(chunk.into_parts().0);
        Ok(())
    }

    /// As [`Self::body`] of a piece that stays with the caller; whether it was taken. What is large
    /// is not: it is to be written from a buffer of its own.
    pub async fn copy(&mut self, piece: &[u8]) -> Result<bool, WriteFailed> {
        if piece.len() >= DIRECT_BEHIND_BYTES_MIN {
            return Ok(false);
        }
        self.body_bytes += piece.len() as u64;
        self.append_or_write(piece).await?;
        Ok(true)
    }

    /// Appends a piece of the body to what is pending, which is written as often as there is no
    /// room left.
    async fn append_or_write(&mut self, piece: &[u8]) -> Result<(), WriteFailed> {
        let mut rest = piece;
        while self.pending.len() + rest.len() + FRAME_BYTES > LARGE_BUFFER_BYTES {
            // Where a chunk ends says nothing (RFC 9112 section 7.1): rather two than one that
            // outgrows the pool's buffers.
            let room = LARGE_BUFFER_BYTES.saturating_sub(self.pending.len() + FRAME_BYTES);
            let (first, later) = rest.split_at(room.min(rest.len()));
            self.append(first);
            self.flush().await?;
            rest = later;
        }
        self.append(rest);
        if self.pending.len() >= BUFFER_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Appends a piece of the body, in the message's framing, to what is pending.
    fn append(&mut self, piece: &[u8]) {
        self.make_room(piece.len());
        if self.framing == Framing::Chunked {
            encode::chunk(piece, &mut self.pending);
        } else {
            self.pending.extend_from_slice(piece);
        }
    }

    /// Has room for a chunk and what a head or a chunk's frame needs, without growing a buffer that
    /// could not go back to the pool then.
    fn make_room(&mut self, chunk: usize) {
        if self.pending.capacity() == 0 {
            self.pending = self.pool.take();
        }
        let wanted = self.pending.len() + chunk + FRAME_BYTES;
        if wanted > self.pending.capacity() && wanted <= LARGE_BUFFER_BYTES {
            let mut large = self.pool.take_large();
            large.extend_from_slice(&self.pending);
            self.pool.give(std::mem::replace(&mut self.pending, large));
        }
    }

    /// Ends the body and writes all that is pending.
    pub async fn finish(&mut self, trailers: &Fields) -> Result<(), WriteFailed> {
        if self.framing == Framing::Chunked {
            if self.pending.capacity() == 0 {
                self.pending = self.pool.take();
            }
            encode::last_chunk(trailers, &mut self.pending);
        }
        self.framing = Framing::Plain;
        self.flush().await?;
        self.pool.give(std::mem::take(&mut self.pending));
        Ok(())
    }

    /// Writes bytes that are framed already, and gives their buffer back.
    pub async fn send(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>, WriteFailed> {
        let end = bytes.len();
        self.write(bytes, 0, end).await
    }

    /// Says that nothing more comes (see [`WriteHalf::say_end`]), if the peer takes it at once.
    pub async fn say_end(&mut self) {
        let Self { half, deadline, .. } = self;
        let arm = || deadline.arm(CLOSE_NOTIFY_TIMEOUT, Direction::Both);
        let _told_or_not = half.say_end(arm).await;
        self.deadline.disarm();
    }

    /// Writes all that is pending.
    pub async fn flush(&mut self) -> Result<(), WriteFailed> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.pending);
        let end = bytes.len();
        let mut bytes = self.write(bytes, 0, end).await?;
        bytes.clear();
        self.pending = bytes;
        Ok(())
    }

    async fn write(
        &mut self,
        bytes: Vec<u8>,
        start: usize,
        end: usize,
    ) -> Result<Vec<u8>, WriteFailed> {
        let Self { half, deadline, write_timeout, expires_ms, has_written, .. } = self;
        let arm = || {
            let now_ms = now_ms();
            if !std::mem::replace(has_written, true) {
                let late_ms = now_ms.saturating_add(LATE_MESSAGE_TIMEOUT.as_millis() as u64);
                *expires_ms = (*expires_ms).max(late_ms);
            }
            let stalls_ms = now_ms.saturating_add(write_timeout.as_millis() as u64);
            deadline.arm_at(stalls_ms.min(*expires_ms), Direction::Both);
        };
        let (outcome, bytes) = half.write_all(bytes, start, end, arm).await;
        // One that fails leaves it armed: how long the peer was waited for can be asked.
        outcome.map_err(|_| WriteFailed)?;
        self.deadline.disarm();
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests;
