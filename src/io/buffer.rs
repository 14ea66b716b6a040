//! Buffers of a worker: taken for a read, handed along as a [`Chunk`], given back after the write.
//!
//! One pool per worker, single-threaded. A connection that has waited for its next request for a
//! while holds none. A buffer whose operation is given up is lost to the pool, not leaked: the
//! runtime frees it when the kernel is done with it. (A warm read that is ended gives its buffer
//! back.)

use std::cell::{Cell, RefCell};
use std::ops::Range;

use crate::limits::{BUFFER_BYTES, BUFFERS_KEPT_MAX, LARGE_BUFFER_BYTES, LARGE_BUFFERS_KEPT_MAX};

/// The spare buffers of one worker.
#[derive(Debug, Default)]
pub struct BufferPool {
    free: RefCell<Vec<Vec<u8>>>,
    /// The fewest that lay here since the last [`Self::trim`]: so many were not needed.
    fewest: Cell<usize>,
    large: RefCell<Vec<Vec<u8>>>,
}

impl BufferPool {
    /// An empty buffer of [`BUFFER_BYTES`] capacity.
    pub fn take(&self) -> Vec<u8> {
        let mut free = self.free.borrow_mut();
        let taken = free.pop();
        self.fewest.set(self.fewest.get().min(free.len()));
        taken.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }

    /// An empty buffer of [`LARGE_BUFFER_BYTES`] capacity.
    pub fn take_large(&self) -> Vec<u8> {
        let taken = self.large.borrow_mut().pop();
        taken.unwrap_or_else(|| Vec::with_capacity(LARGE_BUFFER_BYTES))
    }

    /// An empty buffer for so many bytes, as far as buffers go.
    pub fn take_for(&self, bytes: usize) -> Vec<u8> {
        if bytes > BUFFER_BYTES { self.take_large() } else { self.take() }
    }

    /// Frees what has not been needed since the last time, and half of the large ones.
    pub fn trim(&self) {
        let mut large = self.large.borrow_mut();
        let half = large.len() / 2;
        large.truncate(half);
        let mut free = self.free.borrow_mut();
        let needed = free.len() - self.fewest.get();
        free.truncate(needed);
        self.fewest.set(needed);
    }

    /// How many buffers lie here.
    #[cfg(test)]
    pub fn spare(&self) -> usize {
        self.free.borrow().len()
    }

    /// Takes a buffer back. One that has grown, or that is one too many, is freed.
    pub fn give(&self, mut buffer: Vec<u8>) {
        let (kept, most) = match buffer.capacity() {
            BUFFER_BYTES => (&self.free, BUFFERS_KEPT_MAX),
            LARGE_BUFFER_BYTES => (&self.large, LARGE_BUFFERS_KEPT_MAX),
            _ => return,
        };
        let mut kept = kept.borrow_mut();
        if kept.len() < most {
            buffer.clear();
            kept.push(buffer);
        }
    }
}

/// A piece of a body: a pooled buffer and the part of it that counts. Whoever consumes it gives
/// the buffer back to the pool.
#[derive(Debug)]
pub struct Chunk {
    buffer: Vec<u8>,
    range: Range<usize>,
}

impl Chunk {
    /// The part `range` of `buffer`.
    pub fn new(buffer: Vec<u8>, range: Range<usize>) -> Self {
        debug_assert!(range.end <= buffer.len());
        Self { buffer, range }
    }

    /// A piece in a buffer of the pool's.
    pub fn copy_of(piece: &[u8], pool: &BufferPool) -> Self {
        let mut buffer = pool.take_for(piece.len());
        buffer.extend_from_slice(piece);
        Self::new(buffer, 0..piece.len())
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The buffer and the part of it that counts.
    pub fn into_parts(self) -> (Vec<u8>, Range<usize>) {
        (self.buffer, self.range)
    }
}

/// What a connection has read and not yet used.
///
/// Invariant: `start <= bytes.len()`; the unread bytes are `bytes[start..]`.
#[derive(Debug, Default)]
pub struct ReadBuffer {
    /// The buffer; of no capacity while the connection is idle.
    pub bytes: Vec<u8>,
    /// Where the unread bytes start.
    pub start: usize,
}

impl ReadBuffer {
    /// What has been read and not used.
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Whether everything read has been used.
    pub fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Marks `count` bytes as used.
    pub fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.bytes.len());
    }

    /// Takes a large buffer for the next read, if there is none.
    pub fn enlarge(&mut self, pool: &BufferPool) {
        if self.bytes.capacity() == 0 {
            self.bytes = pool.take_large();
            self.start = 0;
        }
    }

    /// Makes room for a read: takes a buffer if there is none, moves the unread bytes to the front
    /// or, if they fill the buffer, doubles it. The caller bounds what it lets accumulate.
    pub fn make_room(&mut self, pool: &BufferPool) {
        if self.bytes.capacity() == 0 {
            self.bytes = pool.take();
            self.start = 0;
        }
        if self.is_empty() {
            self.bytes.clear();
            self.start = 0;
        } else if self.bytes.len() == self.bytes.capacity() && self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        if self.bytes.len() == self.bytes.capacity() {
            self.bytes.reserve(self.bytes.capacity());
        }
    }

    /// Gives the buffer back if everything in it has been used.
    pub fn release(&mut self, pool: &BufferPool) {
        if self.is_empty() && self.bytes.capacity() > 0 {
            pool.give(std::mem::take(&mut self.bytes));
            self.start = 0;
        }
    }

    /// Takes the next `data` bytes out as a chunk, of `consumed` that are used up; what follows
    /// stays. The buffer itself moves into the chunk if nothing follows.
    pub fn take_chunk(&mut self, data: usize, consumed: usize, pool: &BufferPool) -> Chunk {
        let range = self.start..self.start + data;
        self.consume(consumed);
        if self.is_empty() {
            self.start = 0;
            return Chunk::new(std::mem::take(&mut self.bytes), range);
        }
        let mut copy = pool.take_for(data);
        copy.extend_from_slice(&self.bytes[range]);
        let end = copy.len();
        Chunk::new(copy, 0..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_moves_the_buffer_when_nothing_follows_and_copies_when_something_does() {
        let pool = BufferPool::default();
        let mut read = ReadBuffer { bytes: b"abcdef".to_vec(), start: 1 };
        let chunk = read.take_chunk(2, 3, &pool);
        assert_eq!(chunk.bytes(), b"bc");
        assert_eq!(read.unread(), b"ef");
        let chunk = read.take_chunk(2, 2, &pool);
        assert_eq!(chunk.bytes(), b"ef");
        assert!(read.is_empty());
        assert_eq!(read.bytes.capacity(), 0);
    }

    #[test]
    fn room_is_made_by_moving_before_growing() {
        let pool = BufferPool::default();
        let mut read = ReadBuffer::default();
        read.make_room(&pool);
        assert_eq!(read.bytes.capacity(), BUFFER_BYTES);
        read.bytes.resize(BUFFER_BYTES, 7);
        read.consume(10);
        read.make_room(&pool);
        assert_eq!((read.start, read.bytes.capacity()), (0, BUFFER_BYTES));
        read.bytes.resize(BUFFER_BYTES, 7);
        read.make_room(&pool);
        assert!(read.bytes.capacity() >= 2 * BUFFER_BYTES);
    }

    #[test]
    fn the_pool_frees_what_it_did_not_need_since_the_last_time() {
        let pool = BufferPool::default();
        let (first, second, third) = (pool.take(), pool.take(), pool.take());
        [first, second, third].into_iter().for_each(|buffer| pool.give(buffer));
        pool.trim();
        assert_eq!(pool.spare(), 3);
        // One is in use at a time: two lie there unneeded.
        pool.give(pool.take());
        pool.trim();
        assert_eq!(pool.spare(), 1);
        pool.trim();
        assert_eq!(pool.spare(), 0);
    }

    #[test]
    fn the_pool_takes_no_grown_buffer_back() {
        let pool = BufferPool::default();
        pool.give(Vec::with_capacity(2 * BUFFER_BYTES));
        assert!(pool.free.borrow().is_empty() && pool.large.borrow().is_empty());
        pool.give(pool.take_large());
        assert_eq!((pool.free.borrow().len(), pool.large.borrow().len()), (0, 1));
        pool.trim();
        assert!(pool.large.borrow().is_empty());
        pool.give(pool.take());
        assert_eq!(pool.free.borrow().len(), 1);
    }
}
