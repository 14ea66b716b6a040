//! The reading half of an HTTP/1 connection: heads and bodies from a stream.
//!
//! Holds a buffer only while a read is pending; a connection that has been idle for a while waits
//! on readiness, without one. A read that somebody waits for is under the half's [`Deadline`]: the
//! caller arms it, a read that it ends says `Timeout`.

mod blank;

use std::rc::Rc;

use self::blank::BlankLines;
use crate::http::h1::body::BodyDecoder;
use crate::http::h1::scan::HeadScanner;
use crate::http::message::{BodyLength, Fields};
use crate::io::buffer::{BufferPool, Chunk, ReadBuffer};
use crate::io::deadline::Deadline;
use crate::io::stream::{ReadHalf, Stream, is_cancelled};
use crate::limits::{BUFFER_BYTES, READ_BYTES_MAX};

/// Reads messages from one stream.
#[derive(Debug)]
pub struct Receiver<S: Stream> {
    half: ReadHalf<S>,
    buffer: ReadBuffer,
    decoder: BodyDecoder,
    /// Bytes of payload that may still come, over all framings.
    allowance: u64,
    /// The last read has filled its buffer: there is more, most likely.
    has_filled: bool,
    /// What was passed over before the next request.
    blank: BlankLines,
    /// Ends reads; armed by whoever knows what is waited for, and shared with who knows when that
    /// begins.
    pub deadline: Rc<Deadline>,
    pool: Rc<BufferPool>,
}

/// Why a wait has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// A read would not wait: of bytes of the next message, most likely.
    Readable,
    /// Nothing will come: the peer has closed, or the deadline has passed.
    Over,
    /// Nothing will come: the connection is broken.
    Broken,
    /// The worker asks for a handover (see [`Deadline::or_handover`]).
    Handover,
}

/// What stands where a request is to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// A request.
    Request,
    /// Nothing yet: empty lines, or the first half of one.
    Later,
    /// Nothing will come.
    Over,
    /// What cannot be a request, in words for the client.
    Refused(&'static str),
}

/// Why no head could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadFailure {
    /// The peer closed, or the deadline passed, before the first byte.
    Nothing,
    /// The peer closed within the head.
    Closed,
    /// The deadline passed within the head.
    Timeout,
    /// The start line alone is over the limit.
    StartLineTooLong,
    /// The head is over the limit.
    TooLarge,
    /// A line ends in a bare LF.
    BareLineFeed,
}

/// Why a body could not be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFailure {
    /// The peer closed before the end.
    Closed,
    /// The deadline passed.
    Timeout,
    /// More payload than allowed.
    TooLarge,
    /// The framing is broken.
    Malformed(&'static str),
}

impl<S: Stream> Drop for Receiver<S> {
    fn drop(&mut self) {
        self.buffer.consume(self.buffer.unread().len());
        self.buffer.release(&self.pool);
    }
}

impl<S: Stream> Receiver<S> {
    /// A receiver over one half of a stream.
    pub fn new(half: ReadHalf<S>, deadline: Deadline, pool: Rc<BufferPool>) -> Self {
        let deadline = Rc::new(deadline);
        let (buffer, decoder) = (ReadBuffer::default(), BodyDecoder::default());
        Self {
            half,
            buffer,
            decoder,
            allowance: u64::MAX,
            has_filled: false,
            blank: BlankLines::default(),
            deadline,
            pool,
        }
    }

    /// Waits for the first bytes of the next message.
    ///
    /// For a while a read is pending; then, and if too many connections do so, the wait goes on
    /// without a buffer.
    pub fn wait(&mut self) -> impl Future<Output = Wait> {
        self.wait_for(S::IS_PORTABLE)
    }

    /// The same; `moves`: the connection may go on in another process.
    async fn wait_for(&mut self, moves: bool) -> Wait {
        if !self.buffer.is_empty() {
            return Wait::Readable;
        }
        if let Some(warm) = self.deadline.warm() {
            self.buffer.make_room(&self.pool);
            let bytes = std::mem::take(&mut self.buffer.bytes);
            let reading = self.half.read_until_cancelled(bytes, warm.cancel.clone());
            let (outcome, bytes) = reading.await;
            self.buffer.bytes = bytes;
            drop(warm);
            match outcome {
                Ok(0) => return Wait::Over,
                Ok(_) => return Wait::Readable,
                Err(error) if is_cancelled(&error) => {}
                Err(_) => return Wait::Broken,
            }
        }
        self.buffer.release(&self.pool);
        let outcome = match moves {
            // Dropping what waits for readiness loses nothing.
            true => self.deadline.or_handover(self.half.readable()).await,
            false => Some(self.half.readable().await),
        };
        match outcome {
            Some(Ok(())) => Wait::Readable,
            Some(Err(_)) => Wait::Broken,
            None => Wait::Handover,
        }
    }

    /// Whether bytes of a next message are here already (pipelining).
    pub fn has_unread(&self) -> bool {
        !self.buffer.is_empty() || self.half.has_unread()
    }

    /// Whether all that the peer has sent since the last message is still in the socket: whoever
    /// has that can go on.
    pub fn is_at_rest(&self) -> bool {
        self.buffer.is_empty() && !self.half.is_ahead() && self.blank.is_whole()
    }

    /// Once [`Self::wait`] says that something is there: whether a request begins with it. Empty
    /// lines before one are passed over (RFC 9112 section 2.2), however they come in.
    pub async fn start_request(&mut self) -> Start {
        if self.buffer.is_empty() && !matches!(self.fill().await, Ok(1..)) {
            return Start::Over;
        }
        let (passed, found) = self.blank.pass_over(self.buffer.unread());
        self.buffer.consume(passed);
        match found {
            Start::Later if self.deadline.has_fired() => Start::Over,
            Start::Later => {
                self.buffer.release(&self.pool);
                Start::Later
            }
            other => other,
        }
    }

    /// Reads until a whole head is buffered; so many bytes begin with it.
    pub async fn read_head(&mut self, bytes_max: usize) -> Result<usize, HeadFailure> {
        let mut scanner = HeadScanner::default();
        self.skip_empty_line();
        loop {
            let is_first = self.buffer.is_empty();
            if !is_first && let Some(length) = self.find_head(&mut scanner, bytes_max)? {
                return Ok(length);
            }
            match self.fill().await {
                Ok(0) if self.deadline.has_fired() && !is_first => {
                    return Err(HeadFailure::Timeout);
                }
                Ok(0) if is_first => return Err(HeadFailure::Nothing),
                Ok(0) => return Err(HeadFailure::Closed),
                Ok(_) if self.deadline.has_fired() && !is_first => {
                    return Err(HeadFailure::Timeout);
                }
                Ok(_) if is_first && self.skip_empty_line() => scanner = HeadScanner::default(),
                Ok(_) => {}
                Err(_) if is_first => return Err(HeadFailure::Nothing),
                Err(_) => return Err(HeadFailure::Closed),
            }
        }
    }

    /// Looks for the end of a head in what is buffered.
    fn find_head(
        &self,
        scanner: &mut HeadScanner,
        bytes_max: usize,
    ) -> Result<Option<usize>, HeadFailure> {
        if let Some(length) = self.whole_head(bytes_max) {
            return Ok(Some(length));
        }
        match scanner.find_end(self.buffer.unread()) {
            Err(_) => Err(HeadFailure::BareLineFeed),
            Ok(Some(length)) if length <= bytes_max => Ok(Some(length)),
            Ok(None) if self.buffer.unread().len() < bytes_max => Ok(None),
            Ok(_) => Err(self.too_large()),
        }
    }

    /// How many bytes are buffered, if there is a whole head and they end with it: the parser finds
    /// its end as it goes. The scan would look at each byte twice.
    fn whole_head(&self, bytes_max: usize) -> Option<usize> {
        let length = self.buffer.unread().len();
        (length <= bytes_max && self.has_whole_head()).then_some(length)
    }

    /// Whether what is buffered ends as a head does: then there is one, nearly always nothing else.
    pub fn has_whole_head(&self) -> bool {
        let unread = self.buffer.unread();
        // An empty line is no head.
        unread.ends_with(b"\r\n\r\n") && !matches!(unread.first(), Some(b'\r' | b'\n'))
    }

    /// One empty line before a request line is ignored (RFC 9112 section 2.2).
    fn skip_empty_line(&mut self) -> bool {
        let is_there = self.buffer.unread().starts_with(b"\r\n");
        if is_there {
            self.buffer.consume(2);
        }
        is_there
    }

    /// The bytes in which [`Self::read_head`] found a head.
    pub fn head_bytes(&self, length: usize) -> &[u8] {
        &self.buffer.unread()[..length]
    }

    /// Goes from the head to its body, of which at most `bytes_max` are let through.
    pub fn begin_body(
        &mut self,
        head_length: usize,
        body: BodyLength,
        is_chunked: bool,
        bytes_max: u64,
    ) {
        self.buffer.consume(head_length);
        self.blank = BlankLines::default();
        self.decoder.begin(body, is_chunked);
        self.allowance = bytes_max;
    }

    /// The body may have so many bytes; none of it has been read.
    pub fn allow(&mut self, bytes_max: u64) {
        self.allowance = bytes_max;
    }

    /// From now on bytes as they are, to the end of the connection, which nobody watches: another
    /// protocol than HTTP follows.
    pub fn begin_raw(&mut self) {
        self.deadline.unwatch();
        self.begin_body(0, BodyLength::Unknown, false, u64::MAX);
    }

    /// The next bytes as they are; `None` at the end. A wait for them that lasts holds no buffer.
    pub async fn next_raw(&mut self) -> Result<Option<Chunk>, BodyFailure> {
        if !self.has_unread() && !self.decoder.is_done() {
            match self.wait_for(false).await {
                Wait::Readable | Wait::Handover => {}
                Wait::Over => {
                    self.decoder.finish_at_close();
                    return Ok(None);
                }
                Wait::Broken => return Err(BodyFailure::Closed),
            }
        }
        self.next_chunk().await
    }

    /// Whether the body has been read to its end.
    pub fn is_body_done(&self) -> bool {
        self.decoder.is_done()
    }

    /// Whether [`Self::next_chunk`] has something without waiting.
    pub fn is_ready(&self) -> bool {
        self.decoder.is_done() || !self.buffer.is_empty()
    }

    /// The trailers of a body that is done.
    pub fn trailers(&self) -> &Fields {
        self.decoder.trailers()
    }

    /// The next piece of the body as far as it has come; `None` if that is nothing: the body is
    /// done or must be waited for ([`Self::next_chunk`]).
    pub fn chunk_at_hand(&mut self) -> Result<Option<Chunk>, BodyFailure> {
        if self.decoder.is_done() || self.buffer.is_empty() {
            return Ok(None);
        }
        let start = self.buffer.start;
        let decoded =
            self.decoder.decode(&mut self.buffer.bytes[start..]).map_err(BodyFailure::Malformed)?;
        self.allowance =
            self.allowance.checked_sub(decoded.data as u64).ok_or(BodyFailure::TooLarge)?;
        if decoded.data > 0 {
            let (data, consumed) = (decoded.data, decoded.consumed);
            return Ok(Some(self.buffer.take_chunk(data, consumed, &self.pool)));
        }
        self.buffer.consume(decoded.consumed);
        Ok(None)
    }

    /// The next piece of the body; `None` at its end. Waits for it, so that who calls this bounds
    /// the wait.
    pub async fn next_chunk(&mut self) -> Result<Option<Chunk>, BodyFailure> {
        loop {
            if let Some(chunk) = self.chunk_at_hand()? {
                return Ok(Some(chunk));
            }
            if self.decoder.is_done() {
                return Ok(None);
            }
            match self.fill().await {
                Ok(0) if self.deadline.has_fired() => return Err(BodyFailure::Timeout),
                Ok(0) if self.decoder.finish_at_close() => return Ok(None),
                Ok(0) | Err(_) => return Err(BodyFailure::Closed),
                // A socket that is shut down for reading still hands out what a peer goes on
                // sending: the deadline holds all the same.
                Ok(_) if self.deadline.has_fired() => return Err(BodyFailure::Timeout),
                Ok(_) => {}
            }
        }
    }

    /// Completes when a read would not wait. Dropping it loses nothing.
    pub async fn readable(&self) -> std::io::Result<()> {
        self.half.readable().await
    }

    /// What has been read and not used: of who reads another protocol than HTTP/1.
    pub fn unread(&self) -> &[u8] {
        self.buffer.unread()
    }

    /// So many bytes of it have been used.
    pub fn consume(&mut self, bytes: usize) {
        self.buffer.consume(bytes);
    }

    /// Reads more; how many bytes, 0 at the end.
    pub async fn read_more(&mut self) -> std::io::Result<usize> {
        if self.has_filled && self.buffer.is_empty() {
            self.buffer.release(&self.pool);
            self.buffer.enlarge(&self.pool);
        }
        self.fill().await
    }

    /// Gives a chunk's buffer back to the pool.
    pub fn give(&self, chunk: Chunk) {
        self.pool.give(chunk.into_parts().0);
    }

    /// Drops what is buffered and gives the buffer back.
    pub fn drop_buffered(&mut self) {
        self.buffer.consume(self.buffer.unread().len());
        self.buffer.release(&self.pool);
    }

    /// Gives the buffer back if it holds nothing unread.
    pub fn release(&mut self) {
        self.buffer.release(&self.pool);
    }

    /// Begins to read the next message, or to notice the peer's close, while nobody waits: holds a
    /// buffer until then.
    pub fn read_ahead(&mut self) {
        if !self.half.is_ahead() {
            self.buffer.make_room(&self.pool);
            self.half.read_ahead(std::mem::take(&mut self.buffer.bytes));
        }
    }

    /// Whether [`Self::read_ahead`] was called and nothing was read since.
    pub fn is_ahead(&self) -> bool {
        self.half.is_ahead()
    }

    /// Whether the read ahead has ended, by bytes or by the peer's close.
    pub fn has_ahead_ended(&mut self) -> bool {
        self.half.has_ahead_ended()
    }

    /// What is too large about a head that is: its first line, if that has no end.
    fn too_large(&self) -> HeadFailure {
        match memchr::memchr(b'\n', self.buffer.unread()) {
            Some(_) => HeadFailure::TooLarge,
            None => HeadFailure::StartLineTooLong,
        }
    }

    async fn fill(&mut self) -> std::io::Result<usize> {
        let (outcome, bytes) = if self.half.is_ahead() {
            self.half.finish_ahead().await
        } else {
            if self.has_filled && self.decoder.left() > BUFFER_BYTES as u64 {
                self.buffer.enlarge(&self.pool);
            }
            self.buffer.make_room(&self.pool);
            self.half.read(std::mem::take(&mut self.buffer.bytes)).await
        };
        self.has_filled = bytes.len() >= bytes.capacity().min(READ_BYTES_MAX);
        self.buffer.bytes = bytes;
        outcome
    }
}

#[cfg(test)]
mod tests;
