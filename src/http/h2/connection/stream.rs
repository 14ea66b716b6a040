//! The streams of a connection.

use std::collections::VecDeque;

use crate::http::h2::frame::Code;
use crate::io::buffer::Chunk;
use crate::limits::CLOSED_STREAMS_KEPT;

/// One stream.
#[derive(Debug)]
pub(super) struct Stream<T> {
    pub(super) id: u32,
    /// Who reads from it and writes to it; `None` until it is known.
    pub(super) owner: Option<T>,
    /// The peer may still send.
    pub(super) is_remote_open: bool,
    /// We may still send.
    pub(super) is_local_open: bool,
    /// How it was reset, by either side.
    pub(super) reset: Option<Code>,
    /// A final head has come.
    pub(super) has_head: bool,
    /// A response to HEAD: what its head says of a body does not count.
    pub(super) is_head: bool,
    /// A request to go on with another protocol.
    pub(super) is_connect: bool,
    /// Bytes that are missing of what `content-length` says.
    pub(super) expected: Option<u64>,
    /// Bytes that the peer may send.
    pub(super) receive_window: i64,
    /// Largest value of that.
    pub(super) receive_window_max: u32,
    /// Bytes that were handed out and have not been used.
    pub(super) unused: u32,
    /// Bytes that have been used and that the peer has not been told of.
    pub(super) credit: u32,
    /// Bytes that have been used.
    pub(super) used: u64,
    /// Bytes that we may send.
    pub(super) send_window: i64,
    pub(super) queue: VecDeque<Chunk>,
    /// Of the first of the queue, so many bytes have been sent.
    pub(super) sent_of_first: usize,
    /// Bytes of the queue that have not been sent.
    pub(super) queued: usize,
    /// What stands behind the queue.
    pub(super) finish: Finish,
    /// It waits for its turn.
    pub(super) is_in_ring: bool,
}

/// What stands behind the data of a stream.
#[derive(Debug, Default)]
pub(super) enum Finish {
    /// More may come.
    #[default]
    Open,
    /// Its end.
    End,
    /// Trailers, as a field block, and its end.
    Trailers(Vec<u8>),
}

impl<T> Stream<T> {
    /// One that both sides may send on.
    pub(super) fn new(id: u32, receive_window: u32, send_window: i64) -> Self {
        Self {
            id,
            owner: None,
            is_remote_open: true,
            is_local_open: true,
            reset: None,
            has_head: false,
            is_head: false,
            is_connect: false,
            expected: None,
            receive_window: i64::from(receive_window),
            receive_window_max: receive_window,
            unused: 0,
            credit: 0,
            used: 0,
            send_window,
            queue: VecDeque::new(),
            sent_of_first: 0,
            queued: 0,
            finish: Finish::Open,
            is_in_ring: false,
        }
    }

    /// Whether it counts as one of the streams that are open at once.
    pub(super) fn is_open(&self) -> bool {
        self.is_remote_open || self.is_local_open
    }
}

/// How a stream has ended that nobody has any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// We have reset it: what the peer has sent until it knew means nothing.
    ByUs,
    /// By both sides, or by the peer's reset.
    Known,
}

/// All streams of a connection, in the order of their identifiers, and the last that have ended.
#[derive(Debug)]
pub(super) struct Streams<T> {
    list: Vec<Stream<T>>,
    open: usize,
    ended: VecDeque<(u32, Ended)>,
}

impl<T> Streams<T> {
    pub(super) fn new() -> Self {
        Self { list: Vec::new(), open: 0, ended: VecDeque::new() }
    }

    fn place(&self, id: u32) -> Result<usize, usize> {
        // The last one is asked for most.
        match self.list.last() {
            Some(last) if last.id == id => Ok(self.list.len() - 1),
            Some(last) if last.id < id => Err(self.list.len()),
            _ => self.list.binary_search_by_key(&id, |stream| stream.id),
        }
    }

    #[inline]
    pub(super) fn get(&self, id: u32) -> Option<&Stream<T>> {
        self.list.get(self.place(id).ok()?)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Stream<T>> {
        let place = self.place(id).ok()?;
        self.list.get_mut(place)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream<T>> {
        self.list.iter_mut()
    }

    pub(super) fn add(&mut self, stream: Stream<T>) {
        self.open += usize::from(stream.is_open());
        if let Err(place) = self.place(stream.id) {
            self.list.insert(place, stream);
        }
    }

    /// Changes a stream, which may close it.
    pub(super) fn change<R>(
        &mut self,
        id: u32,
        change: impl FnOnce(&mut Stream<T>) -> R,
    ) -> Option<R> {
        let stream = self.get_mut(id)?;
        let was_open = stream.is_open();
        let outcome = change(stream);
        let is_open = stream.is_open();
        self.open = self.open + usize::from(is_open) - usize::from(was_open);
        Some(outcome)
    }

    pub(super) fn remove(&mut self, id: u32) {
        if let Ok(place) = self.place(id) {
            self.open -= usize::from(self.list.remove(place).is_open());
        }
    }

    pub(super) fn note_ended(&mut self, id: u32, ended: Ended) {
        if self.ended.len() == CLOSED_STREAMS_KEPT {
            self.ended.pop_front();
        }
        self.ended.push_back((id, ended));
    }

    /// How a stream has ended, as far as that is remembered.
    pub(super) fn ended(&self, id: u32) -> Option<Ended> {
        self.ended.iter().rev().find(|(one, _)| *one == id).map(|(_, ended)| *ended)
    }

    /// How many are open at once, as RFC 9113 section 5.1.2 counts.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// How many somebody has.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }
}
