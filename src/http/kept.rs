//! A request's body that is kept as it goes by, so that it can be sent again: what may be repeated
//! and has a small body is not lost with the origin that had it first. Nothing waits for it: the
//! body is on its way meanwhile as any other.

use std::cell::{Cell, RefCell};

use super::message::Fields;
use super::relay::BodySource;
use crate::error::Error;
use crate::io::budget::Held;
use crate::io::buffer::{BufferPool, Chunk};
use crate::limits::{READ_BYTES_MAX, REPEATED_BODY_BYTES_MAX};

/// Is told the body when all of it has gone by, or `None` when it is too much.
type Tell = Box<dyn FnOnce(Option<&[u8]>)>;

/// What has gone by of one body.
#[derive(Default)]
pub struct Kept {
    bytes: RefCell<Vec<u8>>,
    /// It was too much: nothing is kept any more.
    is_over: Cell<bool>,
    is_whole: Cell<bool>,
    /// The reading of a piece was given up, which may have lost it.
    is_cut: Cell<bool>,
    /// Somebody else wants it too.
    told: Option<Box<Told>>,
}

/// See [`Kept::tell`].
struct Told {
    bytes_max: usize,
    held: Held,
    tell: Cell<Option<Tell>>,
}

impl Kept {
    /// Whether the whole body is here, so that it can be sent again.
    pub fn is_whole(&self) -> bool {
        self.is_whole.get()
    }

    /// Whether all that was read is here, so that the body can be sent again and read on.
    pub fn has_all(&self) -> bool {
        !self.is_over.get() && !self.is_cut.get()
    }

    /// Has the body told when it has gone by, if it has at most `bytes_max`; so much is kept then,
    /// of what is `held`.
    pub fn tell(&mut self, bytes_max: usize, held: Held, tell: Tell) {
        self.told = Some(Box::new(Told { bytes_max, held, tell: Cell::new(Some(tell)) }));
    }

    /// Keeps a piece, if there is room for it.
    fn keep(&self, piece: &[u8], held: &Held) {
        if self.is_over.get() {
            return;
        }
        let (most, held) = match &self.told {
            Some(told) => (told.bytes_max, &told.held),
            None => (REPEATED_BODY_BYTES_MAX, held),
        };
        let mut bytes = self.bytes.borrow_mut();
        let has_room = bytes.len() + piece.len() <= most
            && held.make_room(&mut bytes, piece.len(), most).is_ok();
        if has_room {
            bytes.extend_from_slice(piece);
        } else {
            self.is_over.set(true);
            held.give_back(std::mem::take(&mut bytes));
            if let Some(tell) = self.told.as_ref().and_then(|told| told.tell.take()) {
                tell(None);
            }
        }
    }

    /// All of it has gone by.
    fn end(&self) {
        self.is_whole.set(!self.is_over.get());
        if self.is_whole.get()
            && let Some(tell) = self.told.as_ref().and_then(|told| told.tell.take())
        {
            tell(Some(&self.bytes.borrow()));
        }
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("is_whole", &self.is_whole).finish_non_exhaustive()
    }
}

/// A body from its source by way of what is kept: first what is there, then what comes.
pub struct Keeping<'a, B> {
    kept: &'a Kept,
    source: &'a mut B,
    /// How much of what is kept has been handed on.
    place: usize,
    held: &'a Held,
    pool: &'a BufferPool,
}

impl<'a, B: BodySource> Keeping<'a, B> {
    /// From its beginning. What was read before must be in `kept`: [`Kept::has_all`].
    pub fn new(kept: &'a Kept, source: &'a mut B, held: &'a Held, pool: &'a BufferPool) -> Self {
        Self { kept, source, place: 0, held, pool }
    }

    /// The next piece of what is there.
    fn again(&mut self) -> Option<Chunk> {
        let bytes = self.kept.bytes.borrow();
        let left = bytes.get(self.place..).filter(|left| !left.is_empty())?;
        let piece = left.get(..READ_BYTES_MAX).unwrap_or(left);
        self.place += piece.len();
        Some(Chunk::copy_of(piece, self.pool))
    }
}

impl<B: BodySource> BodySource for Keeping<'_, B> {
    fn is_ready(&self) -> bool {
        let is_there = self.place < self.kept.bytes.borrow().len();
        is_there || self.kept.is_whole.get() || self.source.is_ready()
    }

    async fn next(&mut self) -> Result<Option<Chunk>, Error> {
        if let Some(piece) = self.again() {
            return Ok(Some(piece));
        }
        if self.kept.is_whole.get() {
            return Ok(None);
        }
        // If this is dropped while it waits, a piece may be lost.
        let was_cut = self.kept.is_cut.replace(!self.source.may_be_left());
        let chunk = self.source.next().await?;
        self.kept.is_cut.set(was_cut);
        if let Some(chunk) = &chunk {
            self.kept.keep(chunk.bytes(), self.held);
            self.place += chunk.bytes().len();
        }
        let is_done = chunk.is_none() || self.source.is_done();
        if is_done {
            self.kept.end();
        }
        Ok(chunk)
    }

    fn is_done(&self) -> bool {
        match self.kept.is_whole.get() {
            true => self.place >= self.kept.bytes.borrow().len(),
            false => self.source.is_done(),
        }
    }

    fn trailers(&self) -> &Fields {
        self.source.trailers()
    }

    fn may_be_left(&self) -> bool {
        self.source.may_be_left()
    }

    fn bound(&mut self, expires_ms: u64) {
        self.source.bound(expires_ms);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::pin::pin;
    use std::rc::Rc;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::io::budget::Budget;

    /// Pieces that are at hand.
    struct Pieces(VecDeque<Vec<u8>>, Fields);

    impl BodySource for Pieces {
        fn is_ready(&self) -> bool {
            true
        }
        async fn next(&mut self) -> Result<Option<Chunk>, Error> {
            Ok(self.0.pop_front().map(|piece| Chunk::new(piece.clone(), 0..piece.len())))
        }
        fn is_done(&self) -> bool {
            self.0.is_empty()
        }
        fn trailers(&self) -> &Fields {
            &self.1
        }
    }

    fn all(kept: &Kept, source: &mut Pieces, held: &Held) -> Vec<u8> {
        let pool = BufferPool::default();
        let mut keeping = Keeping::new(kept, source, held, &pool);
        let mut read = Vec::new();
        loop {
            let next = pin!(keeping.next()).poll(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(Ok(next)) = next else { panic!("it waits for nothing") };
            match next {
                Some(chunk) => read.extend_from_slice(chunk.bytes()),
                None => return read,
            }
        }
    }

    #[test]
    fn a_small_body_is_there_again_as_often_as_it_is_asked_for() {
        let mut source = Pieces([b"one ".to_vec(), b"two".to_vec()].into(), Fields::new());
        let (kept, held) = (Kept::default(), Held::default());
        for _ in 0..3 {
            assert_eq!(all(&kept, &mut source, &held), b"one two");
            assert!(kept.is_whole());
        }
    }

    #[test]
    fn what_has_come_is_sent_again_and_the_rest_behind_it() {
        let mut source = Pieces([b"one ".to_vec(), b"two".to_vec()].into(), Fields::new());
        let (kept, held, pool) = (Kept::default(), Held::default(), BufferPool::default());
        let mut first = Keeping::new(&kept, &mut source, &held, &pool);
        let next = pin!(first.next()).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(next, Poll::Ready(Ok(Some(_)))));
        assert!(kept.has_all() && !kept.is_whole());
        assert_eq!(all(&kept, &mut source, &held), b"one two");
    }

    #[test]
    fn a_large_one_goes_by_and_holds_no_memory() {
        let pieces = (0..9).map(|_| vec![7; REPEATED_BODY_BYTES_MAX / 4]);
        let mut source = Pieces(pieces.collect(), Fields::new());
        let budget = Rc::new(Budget::default());
        let (kept, held) = (Kept::default(), Held::of(&budget));
        assert_eq!(all(&kept, &mut source, &held).len(), REPEATED_BODY_BYTES_MAX / 4 * 9);
        assert!(!kept.is_whole());
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn who_wants_it_too_is_told_once_of_a_body_that_came_whole_or_is_too_much() {
        for (length, most, expected) in [(0, 10, Some(0)), (10, 10, Some(10)), (11, 10, None)] {
            let mut source = Pieces([vec![1; length]].into(), Fields::new());
            let heard = Rc::new(RefCell::new(Vec::new()));
            let (mut kept, tell) = (Kept::default(), heard.clone());
            let tell = move |bytes: Option<&[u8]>| tell.borrow_mut().push(bytes.map(<[u8]>::len));
            kept.tell(most, Held::default(), Box::new(tell));
            assert!(heard.borrow().is_empty(), "nothing has come");
            for _ in 0..2 {
                let _read: Vec<u8> = all(&kept, &mut source, &Held::default());
                assert_eq!(*heard.borrow(), [expected], "{length}");
            }
        }
    }

    #[test]
    fn what_the_worker_has_no_memory_for_is_sent_once() {
        let mut source = Pieces([vec![1; 100]].into(), Fields::new());
        let budget = Rc::new(Budget::default());
        budget.bound(10);
        let (kept, held) = (Kept::default(), Held::of(&budget));
        assert_eq!(all(&kept, &mut source, &held).len(), 100);
        assert!(!kept.is_whole());
    }
}
