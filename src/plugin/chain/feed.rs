//! A body that is read because a plugin asks for it, in the middle of its call, and as far as it
//! asks: what handlers of http-wasm do.
//!
//! Nothing is read ahead: the exchange reads a piece of the source when [`Feed::is_asked`] says so,
//! and only then goes on with the plugins. What they have read and not used up goes on before the
//! rest of the body.

use std::cell::RefCell;
use std::task::Poll;

use super::super::failure::CallError;
use crate::http::message::Fields;
use crate::limits;

/// See the module's text.
#[derive(Debug)]
pub struct Feed(RefCell<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// What has been read of the source; all before `at` has been taken.
    front: Vec<u8>,
    at: usize,
    /// What was taken and goes on all the same.
    kept: Vec<u8>,
    bytes_max: usize,
    is_asked: bool,
    is_touched: bool,
    is_used: bool,
    is_too_large: bool,
    is_end: bool,
    trailers: Fields,
    edits: Vec<Edit>,
}

/// A change of trailers, which may be made before they have come.
#[derive(Debug, Clone)]
pub(in crate::plugin) enum Edit {
    Set(Vec<u8>, Vec<u8>),
    Add(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
}

impl Edit {
    fn bytes(&self) -> usize {
        match self {
            Self::Set(name, value) | Self::Add(name, value) => name.len() + value.len(),
            Self::Remove(name) => name.len(),
        }
    }
}

/// What plugins have left of a body.
#[derive(Debug, Default)]
pub struct Fed {
    /// What was read of it and goes on.
    pub bytes: Vec<u8>,
    /// Something was read of it.
    pub is_touched: bool,
    /// Some of that is used up.
    pub is_used: bool,
    /// Nothing comes behind the bytes: the trailers, as they came.
    pub end: Option<Fields>,
    /// What becomes of its trailers.
    pub edits: TrailerEdits,
}

impl Fed {
    /// Whether its end, if it is known, is one without trailers, and none are to be changed.
    pub fn has_plain_end(&self) -> bool {
        self.edits.is_empty() && self.end.as_ref().is_none_or(Fields::is_empty)
    }
}

/// Changes of the trailers of a message.
#[derive(Debug, Clone, Default)]
pub struct TrailerEdits(Vec<Edit>);

impl TrailerEdits {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes them.
    pub fn apply(&self, trailers: &mut Fields) {
        for edit in &self.0 {
            match edit {
                Edit::Set(name, value) => trailers.set(name, value),
                Edit::Add(name, value) => trailers.push(name, value),
                Edit::Remove(name) => trailers.remove(name),
            }
        }
    }
}

impl Feed {
    /// A body of which nothing has been read; plugins may keep `bytes_max` of it.
    pub fn new(bytes_max: usize) -> Self {
        Self(RefCell::new(Inner { bytes_max, ..Inner::default() }))
    }

    /// A body that is whole in memory.
    pub(in crate::plugin) fn fill(&self, bytes: Vec<u8>) {
        let inner = &mut *self.0.borrow_mut();
        (inner.front, inner.at, inner.is_end) = (bytes, 0, true);
        inner.kept.clear();
    }

    /// Whether a plugin waits for more of the body.
    pub fn is_asked(&self) -> bool {
        self.0.borrow().is_asked
    }

    /// Whether a plugin would keep more of the body than it may.
    pub fn is_too_large(&self) -> bool {
        self.0.borrow().is_too_large
    }

    /// Bytes of the body that are in memory.
    pub fn held(&self) -> usize {
        let inner = self.0.borrow();
        inner.front.len() + inner.kept.len()
    }

    /// Gives the next bytes of the body; with `end`, the trailers, they are the last ones.
    pub fn give(&self, bytes: &[u8], end: Option<&Fields>) {
        let inner = &mut *self.0.borrow_mut();
        inner.front.drain(..inner.at);
        inner.at = 0;
        inner.front.extend_from_slice(bytes);
        inner.is_touched = true;
        inner.is_asked = inner.front.is_empty() && end.is_none();
        if let Some(trailers) = end {
            inner.is_end = true;
            inner.trailers = trailers.clone();
        }
    }

    /// The trailers of a body that was read for other plugins.
    pub fn know_trailers(&self, trailers: &Fields) {
        self.0.borrow_mut().trailers = trailers.clone();
    }

    /// Takes up to `most` bytes, and whether they are the last ones; none only at the end. What is
    /// `kept` goes on all the same.
    pub(in crate::plugin) async fn take(&self, most: usize, is_kept: bool) -> (Vec<u8>, bool) {
        std::future::poll_fn(|_| {
            // Who gives polls the plugins again: there is nobody to wake.
            match self.0.borrow_mut().take(most, is_kept) {
                Some(taken) => Poll::Ready(taken),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// A plugin has read what it reads: the next one reads what it has kept, then the rest.
    pub(in crate::plugin) fn next_reader(&self) {
        let inner = &mut *self.0.borrow_mut();
        let rest = inner.front.get(inner.at..).unwrap_or_default();
        inner.kept.extend_from_slice(rest);
        inner.front = std::mem::take(&mut inner.kept);
        inner.at = 0;
    }

    /// What there is of the body in memory; nothing of it stays.
    pub(in crate::plugin) fn drain(&self) -> Vec<u8> {
        self.next_reader();
        std::mem::take(&mut self.0.borrow_mut().front)
    }

    /// The trailers as far as they are known, with all that was changed of them.
    pub(in crate::plugin) fn trailers(&self) -> Fields {
        let inner = self.0.borrow();
        let mut trailers = inner.trailers.clone();
        TrailerEdits(inner.edits.clone()).apply(&mut trailers);
        trailers
    }

    /// Changes the trailers, when they come; all changes together are at most `bytes_max` bytes.
    pub(in crate::plugin) fn edit(&self, edit: Edit, bytes_max: usize) -> Result<(), CallError> {
        let inner = &mut *self.0.borrow_mut();
        let most = limits::PLUGIN_HEAD_FIELDS_MAX;
        let bytes: usize = inner.edits.iter().map(Edit::bytes).sum();
        if inner.edits.len() >= most || bytes + edit.bytes() > bytes_max {
            return Err(CallError::bad_output(format!(
                "there are {most} changes of trailers, or they are over {bytes_max} bytes \
                 (server.limits.headBytesMax)"
            )));
        }
        inner.edits.push(edit);
        Ok(())
    }

    /// Changes that were made of trailers elsewhere.
    pub(in crate::plugin) fn edit_as(&self, other: &Self) {
        let edits = std::mem::take(&mut other.0.borrow_mut().edits);
        self.0.borrow_mut().edits.extend(edits);
    }

    /// What the plugins have left of the body.
    pub fn finish(&self) -> Fed {
        let bytes = self.drain();
        let inner = &mut *self.0.borrow_mut();
        let end = inner.is_end.then(|| std::mem::take(&mut inner.trailers));
        let edits = TrailerEdits(std::mem::take(&mut inner.edits));
        Fed { bytes, is_touched: inner.is_touched, is_used: inner.is_used, end, edits }
    }
}

impl Inner {
    fn take(&mut self, most: usize, is_kept: bool) -> Option<(Vec<u8>, bool)> {
        let rest = self.front.get(self.at..).unwrap_or_default();
        if rest.is_empty() && !self.is_end {
            self.is_asked = true;
            return None;
        }
        let taken = rest[..rest.len().min(most)].to_vec();
        if is_kept && self.kept.len() + taken.len() > self.bytes_max {
            self.is_too_large = true;
            return None;
        }
        self.at += taken.len();
        if is_kept {
            self.kept.extend_from_slice(&taken);
        }
        self.is_used |= !is_kept && !taken.is_empty();
        let is_last = self.is_end && self.at == self.front.len();
        Some((taken, is_last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Waker};

    fn take(feed: &Feed, most: usize, is_kept: bool) -> Option<(Vec<u8>, bool)> {
        let taking = pin!(feed.take(most, is_kept));
        match taking.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(taken) => Some(taken),
            Poll::Pending => None,
        }
    }

    #[test]
    fn what_is_used_up_is_gone_and_what_is_kept_goes_on() {
        let feed = Feed::new(100);
        assert_eq!(take(&feed, 4, false), None);
        assert!(feed.is_asked());
        feed.give(b"abcdef", None);
        assert_eq!(take(&feed, 4, false), Some((b"abcd".to_vec(), false)));
        assert_eq!(take(&feed, 1, true), Some((b"e".to_vec(), false)));
        let fed = feed.finish();
        assert_eq!((fed.bytes, fed.is_touched, fed.end.is_some()), (b"ef".to_vec(), true, false));
    }

    #[test]
    fn the_next_reader_reads_what_was_kept() {
        let feed = Feed::new(100);
        feed.give(b"one", Some(&Fields::new()));
        assert_eq!(take(&feed, 9, true), Some((b"one".to_vec(), true)));
        assert_eq!(take(&feed, 9, true), Some((Vec::new(), true)));
        feed.next_reader();
        assert_eq!(take(&feed, 9, false), Some((b"one".to_vec(), true)));
        assert_eq!(feed.finish().bytes, b"");
    }

    #[test]
    fn more_than_may_be_kept_is_too_large_and_what_is_used_up_never_is() {
        let feed = Feed::new(4);
        for _ in 0..10 {
            feed.give(b"abcd", None);
            assert_eq!(take(&feed, 4, false), Some((b"abcd".to_vec(), false)));
        }
        assert_eq!(feed.held(), 4);
        feed.give(b"abcde", None);
        assert_eq!(take(&feed, 5, true), None);
        assert!(feed.is_too_large());
    }

    #[test]
    fn trailers_are_changed_before_they_come() {
        let feed = Feed::new(4);
        feed.edit(Edit::Set(b"a".to_vec(), b"1".to_vec()), 9).unwrap();
        feed.edit(Edit::Remove(b"b".to_vec()), 9).unwrap();
        assert!(feed.edit(Edit::Remove(b"abcdefg".to_vec()), 9).is_err());
        let mut came = Fields::new();
        came.push(b"b", b"2");
        came.push(b"c", b"3");
        feed.give(b"", Some(&came));
        let trailers = feed.trailers();
        let all: Vec<_> = trailers.iter().map(|(name, _)| name.to_vec()).collect();
        assert_eq!(all, [b"c".to_vec(), b"a".to_vec()]);
    }
}
