//! One shard of a namespace in memory: a hash table over a dense list of entries, a heap of the
//! times at which they expire, and a clock hand for eviction.
//!
//! Runs under the shard's lock, so everything here is O(1) or O(log n) in a shard of some thousand
//! entries, and nothing is freed here: what goes out is handed back and dropped after unlocking.
//! It counts no bytes against limits (`memory` does) and knows no clock (`now` is an argument).

use std::sync::Arc;

use hashbrown::HashTable;

use crate::limits;

/// Milliseconds on the store's own time scale.
pub(super) type Millis = u64;

/// `expires_at` of an entry that never does.
pub(super) const NEVER: Millis = Millis::MAX;

const NOT_IN_HEAP: u32 = u32::MAX;

/// What an entry holds. Counters stay numbers, so that an increment allocates nothing.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Bytes(Arc<[u8]>),
    Integer(i64),
}

impl Value {
    pub(super) fn size(&self) -> usize {
        match self {
            Value::Bytes(bytes) => bytes.len(),
            Value::Integer(_) => size_of::<i64>(),
        }
    }

    /// The bytes that a plugin sees; a counter is decimal text, as in Redis.
    pub(super) fn into_bytes(self) -> Arc<[u8]> {
        match self {
            Value::Bytes(bytes) => bytes,
            Value::Integer(number) => Arc::from(number.to_string().into_bytes()),
        }
    }

    /// The number that an increment starts from; `None` when the bytes are not one.
    pub(super) fn as_integer(&self) -> Option<i64> {
        match self {
            Value::Bytes(bytes) => integer(bytes),
            Value::Integer(number) => Some(*number),
        }
    }

    pub(super) fn is(&self, expected: &[u8]) -> bool {
        match self {
            Value::Bytes(bytes) => **bytes == *expected,
            // Redis compares text: "07" is not "7"
            Value::Integer(number) => number.to_string().as_bytes() == expected,
        }
    }
}

/// A decimal `i64` spelled as Redis takes it: no plus sign, no leading zeros, no spaces.
fn integer(bytes: &[u8]) -> Option<i64> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let spelled = match digits {
        [b'0'] => bytes.len() == 1,
        [first, ..] => (b'1'..=b'9').contains(first),
        [] => false,
    };
    if !spelled {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// One key with its value.
#[derive(Debug)]
pub(super) struct Entry {
    hash: u64,
    key: Box<[u8]>,
    pub(super) value: Value,
    pub(super) expires_at: Millis,
    /// Its place in the heap; `NOT_IN_HEAP` exactly when `expires_at` is `NEVER`.
    heap_at: u32,
    /// Used since the clock hand came by.
    referenced: bool,
}

impl Entry {
    /// Bytes that this entry counts for.
    pub(super) fn size(&self) -> usize {
        entry_size(self.key.len(), &self.value)
    }
}

/// Bytes that an entry of this key and value counts for.
pub(super) fn entry_size(key_bytes: usize, value: &Value) -> usize {
    key_bytes + value.size() + limits::KV_ENTRY_OVERHEAD_BYTES
}

/// What one eviction did, beside the entries that it took out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Round {
    /// Entries that it looked at.
    pub(super) looked: usize,
    /// The hand has come to the shard's end.
    pub(super) at_end: bool,
}

/// See the module's text. Indices are `u32`: a shard of 4 billion entries would be 500 GiB.
#[derive(Debug, Default)]
pub(super) struct Shard {
    table: HashTable<u32>,
    entries: Vec<Entry>,
    /// Entries that expire, the next one first (a binary heap of indices into `entries`).
    heap: Vec<u32>,
    /// Where the next eviction goes on.
    hand: usize,
}

impl Shard {
    /// The place of a key, expired or not.
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let at = self.table.find(hash, |&at| *self.entries[at as usize].key == *key)?;
        Some(*at as usize)
    }

    pub(super) fn entry(&self, at: usize) -> &Entry {
        &self.entries[at]
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Keeps an entry from the next eviction.
    pub(super) fn touch(&mut self, at: usize) {
        self.entries[at].referenced = true;
    }

    /// Adds a key that `find` did not find. It starts unreferenced: keys that are written once and
    /// never read again go first.
    pub(super) fn insert(&mut self, hash: u64, key: &[u8], value: Value, expires_at: Millis) {
        let at = self.entries.len() as u32;
        self.entries.push(Entry {
            hash,
            key: key.into(),
            value,
            expires_at: NEVER,
            heap_at: NOT_IN_HEAP,
            referenced: false,
        });
        let entries = &self.entries;
        self.table.insert_unique(hash, at, |&at| entries[at as usize].hash);
        self.set_expiry(at as usize, expires_at);
    }

    /// Gives an entry a new value and hands back the old one.
    pub(super) fn replace(&mut self, at: usize, value: Value, expires_at: Millis) -> Value {
        self.touch(at);
        self.set_expiry(at, expires_at);
        std::mem::replace(&mut self.entries[at].value, value)
    }

    /// Takes an entry out. The last entry moves into its place.
    pub(super) fn remove(&mut self, at: usize) -> Entry {
        self.set_expiry(at, NEVER);
        self.unlink(at);
        let last = self.entries.len() - 1;
        if at != last {
            let moved = &self.entries[last];
            *self
                .table
                .find_mut(moved.hash, |&other| other as usize == last)
                .expect("every entry is in the table") = at as u32;
            if moved.heap_at != NOT_IN_HEAP {
                self.heap[moved.heap_at as usize] = at as u32;
            }
        }
        self.entries.swap_remove(at)
    }

    fn unlink(&mut self, at: usize) {
        self.table
            .find_entry(self.entries[at].hash, |&other| other as usize == at)
            .expect("every entry is in the table")
            .remove();
    }

    /// Takes out entries that have expired, at most `steps`.
    pub(super) fn expire(&mut self, now: Millis, steps: usize, out: &mut Vec<Entry>) {
        for _ in 0..steps {
            let Some(at) = self.next_to_expire(now) else {
                return;
            };
            out.push(self.remove(at));
        }
    }

    /// Takes out entries until they make up `want` bytes, enough were looked at, or the hand came
    /// to the end: those that have expired first, then those that nobody used since the hand came
    /// by. The caller goes on with the next shard only at the end, so that an entry's time between
    /// two visits does not depend on how full its shard is.
    pub(super) fn evict(&mut self, now: Millis, want: usize, out: &mut Vec<Entry>) -> Round {
        let mut freed = 0;
        for looked in 0..limits::KV_EVICTION_STEPS {
            let at = match self.next_to_expire(now) {
                Some(at) => at,
                None if self.hand >= self.entries.len() => {
                    self.hand = 0;
                    return Round { looked, at_end: true };
                }
                None if std::mem::take(&mut self.entries[self.hand].referenced) => {
                    self.hand += 1;
                    continue;
                }
                None => self.hand,
            };
            let entry = self.remove(at);
            freed += entry.size();
            out.push(entry);
            if freed >= want {
                return Round { looked: looked + 1, at_end: false };
            }
        }
        Round { looked: limits::KV_EVICTION_STEPS, at_end: false }
    }

    fn next_to_expire(&self, now: Millis) -> Option<usize> {
        let at = *self.heap.first()? as usize;
        (self.entries[at].expires_at <= now).then_some(at)
    }

    /// Returns memory that a larger past left behind. For the control thread: it moves every entry.
    pub(super) fn shrink(&mut self) {
        if self.entries.capacity() > 4 * self.entries.len().max(16) {
            self.entries.shrink_to_fit();
            self.heap.shrink_to_fit();
            let entries = &self.entries;
            self.table.shrink_to_fit(|&at| entries[at as usize].hash);
        }
    }

    // -- the heap: `heap[i]` is an entry whose `heap_at` is i, and expires no later than those at
    // 2i + 1 and 2i + 2

    fn set_expiry(&mut self, at: usize, expires_at: Millis) {
        let heap_at = self.entries[at].heap_at;
        self.entries[at].expires_at = expires_at;
        match (heap_at, expires_at) {
            (NOT_IN_HEAP, NEVER) => {}
            (NOT_IN_HEAP, _) => {
                self.heap.push(at as u32);
                self.sift_up(self.heap.len() - 1);
            }
            (_, NEVER) => self.leave_heap(at),
            (_, _) => {
                let place = self.sift_up(heap_at as usize);
                self.sift_down(place);
            }
        }
    }

    fn leave_heap(&mut self, at: usize) {
        let place = self.entries[at].heap_at as usize;
        self.heap.swap_remove(place);
        self.entries[at].heap_at = NOT_IN_HEAP;
        if place < self.heap.len() {
            let place = self.sift_up(place);
            self.sift_down(place);
        }
    }

    fn sift_up(&mut self, mut place: usize) -> usize {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.expiry_at(parent) <= self.expiry_at(place) {
                break;
            }
            self.swap(parent, place);
            place = parent;
        }
        self.note(place);
        place
    }

    fn sift_down(&mut self, mut place: usize) {
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let mut least = place;
            for child in [left, right] {
                if child < self.heap.len() && self.expiry_at(child) < self.expiry_at(least) {
                    least = child;
                }
            }
            if least == place {
                return self.note(place);
            }
            self.swap(place, least);
            place = least;
        }
    }

    fn expiry_at(&self, place: usize) -> Millis {
        self.entries[self.heap[place] as usize].expires_at
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.note(a);
        self.note(b);
    }

    fn note(&mut self, place: usize) {
        self.entries[self.heap[place] as usize].heap_at = place as u32;
    }

    /// Fails a test when table, entries and heap disagree; gives the bytes of all entries.
    #[cfg(test)]
    pub(super) fn check(&self) -> usize {
        assert_eq!(self.table.len(), self.entries.len());
        for (at, entry) in self.entries.iter().enumerate() {
            assert_eq!(self.find(entry.hash, &entry.key), Some(at));
            assert_eq!(entry.expires_at == NEVER, entry.heap_at == NOT_IN_HEAP);
            if entry.heap_at != NOT_IN_HEAP {
                assert_eq!(self.heap[entry.heap_at as usize] as usize, at);
            }
        }
        for place in 1..self.heap.len() {
            assert!(self.expiry_at((place - 1) / 2) <= self.expiry_at(place));
        }
        self.entries.iter().map(Entry::size).sum()
    }
}
