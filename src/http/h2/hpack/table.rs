//! The dynamic table (RFC 7541 section 2.3.2).

use std::collections::VecDeque;

use super::ENTRY_BYTES;

/// Entries, the newest first. Their bytes stand one behind the other.
#[derive(Debug)]
pub(super) struct Table {
    bytes: Vec<u8>,
    /// The oldest first.
    entries: VecDeque<Entry>,
    /// As section 4.1 counts.
    size: usize,
    max: usize,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: usize,
    name: usize,
    value: usize,
}

impl Entry {
    fn size(self) -> usize {
        self.name + self.value + ENTRY_BYTES
    }
}

impl Table {
    pub(super) fn new(max: usize) -> Self {
        Self { bytes: Vec::new(), entries: VecDeque::new(), size: 0, max }
    }

    /// The entry that was added so many additions ago.
    #[inline]
    pub(super) fn get(&self, age: usize) -> Option<(&[u8], &[u8])> {
        let index = self.entries.len().checked_sub(age + 1)?;
        let Entry { start, name, value } = *self.entries.get(index)?;
        let bytes = self.bytes.get(start..start + name + value)?;
        Some(bytes.split_at(name))
    }

    /// Adds an entry. One that is larger than the table empties it (section 4.4).
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) {
        let entry = Entry { start: 0, name: name.len(), value: value.len() };
        self.evict(self.max.saturating_sub(entry.size()));
        if entry.size() > self.max {
            return;
        }
        if self.bytes.len() + name.len() + value.len() > 2 * self.max {
            self.compact();
        }
        self.entries.push_back(Entry { start: self.bytes.len(), ..entry });
        self.size += entry.size();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
    }

    /// Lets the table have so many bytes from now on.
    pub(super) fn resize(&mut self, max: usize) {
        self.max = max;
        self.evict(max);
    }

    /// Drops the oldest entries until no more than `most` bytes are left.
    fn evict(&mut self, most: usize) {
        while self.size > most
            && let Some(entry) = self.entries.pop_front()
        {
            self.size -= entry.size();
        }
        if self.entries.is_empty() {
            self.bytes.clear();
        }
    }

    /// Moves the bytes that count to the front.
    fn compact(&mut self) {
        let Some(start) = self.entries.front().map(|entry| entry.start) else {
            return;
        };
        self.bytes.drain(..start);
        self.entries.iter_mut().for_each(|entry| entry.start -= start);
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }
}
