//! One namespace's shards with their locks, and the bytes that it and the whole store hold.
//!
//! `memory` says what bounds the time under a lock. Room is reserved here before an entry is
//! written, and given back when one goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::shard::{Entry, Millis, Round, Shard, Value, entry_size};
use crate::limits;

#[expect(clippy::disallowed_types, reason = "the shards' locks; memory's text bounds them")]
pub(super) type ShardLock = parking_lot::Mutex<Shard>;

/// Two cache lines, which the processor fetches together: neighbours don't share them.
#[repr(align(128))]
#[derive(Debug, Default)]
pub(super) struct Padded(pub(super) ShardLock);

/// Bytes in use against a cap.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) bytes: AtomicUsize,
    pub(super) bytes_max: usize,
}

impl Account {
    pub(super) fn new(bytes_max: usize) -> Account {
        Account { bytes: AtomicUsize::new(0), bytes_max }
    }

    pub(super) fn has_room(&self, more: usize) -> bool {
        self.bytes.load(Relaxed) + more <= self.bytes_max
    }

    pub(super) fn reserve(&self, more: usize) -> bool {
        let fits = |bytes: usize| Some(bytes + more).filter(|&sum| sum <= self.bytes_max);
        self.bytes.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    pub(super) fn release(&self, less: usize) {
        self.bytes.fetch_sub(less, Relaxed);
    }
}

/// Which cap a write ran into.
pub(super) enum Short {
    Namespace,
    Store,
}

/// One namespace's entries.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) name: Box<str>,
    pub(super) shards: Box<[Padded]>,
    pub(super) account: Account,
    pub(super) total: Arc<Account>,
    /// Shard that the eviction is at; the entry is the shard's own hand.
    cursor: AtomicUsize,
    pub(super) evictions: AtomicU64,
}

impl Drop for Space {
    fn drop(&mut self) {
        self.total.release(self.account.bytes.load(Relaxed));
    }
}

impl Space {
    pub(super) fn new(name: &str, bytes_max: usize, total: Arc<Account>) -> Space {
        let shards = (bytes_max / limits::KV_SHARD_BYTES).next_power_of_two().clamp(16, 1024);
        Space {
            name: name.into(),
            shards: std::iter::repeat_with(Padded::default).take(shards).collect(),
            account: Account::new(bytes_max),
            total,
            cursor: AtomicUsize::new(0),
            evictions: AtomicU64::new(0),
        }
    }

    pub(super) fn shard(&self, hash: u64) -> &ShardLock {
        // the table uses the low and the top bits; these are neither
        &self.shards[(hash >> 32) as usize & (self.shards.len() - 1)].0
    }

    pub(super) fn reserve(&self, more: usize) -> Result<(), Short> {
        if !self.account.reserve(more) {
            return Err(Short::Namespace);
        }
        if !self.total.reserve(more) {
            self.account.release(more);
            return Err(Short::Store);
        }
        Ok(())
    }

    pub(super) fn release(&self, less: usize) {
        self.account.release(less);
        self.total.release(less);
    }

    /// Takes an entry out of its shard and off the accounts; the caller frees it after unlocking.
    pub(super) fn remove(&self, shard: &mut Shard, at: usize) -> Entry {
        let entry = shard.remove(at);
        self.release(entry.size());
        entry
    }

    /// Bytes that a put needs beyond those that its key has.
    pub(super) fn growth(
        &self,
        shard: &Shard,
        found: Option<usize>,
        key: &[u8],
        value: &Value,
    ) -> usize {
        let old = found.map_or(0, |at| shard.entry(at).size());
        entry_size(key.len(), value).saturating_sub(old)
    }

    /// Writes an entry whose growth is reserved; gives back what a smaller value leaves over.
    pub(super) fn put(
        &self,
        shard: &mut Shard,
        hash: u64,
        key: &[u8],
        found: Option<usize>,
        value: Value,
        expires_at: Millis,
    ) -> Option<Value> {
        let Some(at) = found else {
            shard.insert(hash, key, value, expires_at);
            return None;
        };
        let size = value.size();
        let old = shard.replace(at, value, expires_at);
        self.release(old.size().saturating_sub(size));
        Some(old)
    }

    /// One turn of eviction, of bounded length; gives how many entries it looked at. It passes over
    /// a shard that another worker holds.
    pub(super) fn evict(&self, now: Millis, want: usize) -> usize {
        let at = self.cursor.load(Relaxed);
        let mut out = Vec::with_capacity(limits::KV_EVICTION_STEPS);
        let round = match self.shards[at % self.shards.len()].0.try_lock() {
            Some(mut shard) => shard.evict(now, want, &mut out),
            None => Round { looked: 0, at_end: true },
        };
        if round.at_end {
            // lost against another worker that moved it on: as good
            let _ = self.cursor.compare_exchange(at, at.wrapping_add(1), Relaxed, Relaxed);
        }
        self.evictions.fetch_add(out.len() as u64, Relaxed);
        self.release(out.iter().map(Entry::size).sum());
        round.looked
    }

    /// Frees what has expired, a few entries per lock.
    pub(super) fn sweep(&self, now: Millis) {
        let mut out = Vec::with_capacity(limits::KV_EVICTION_STEPS);
        for shard in &self.shards {
            loop {
                shard.0.lock().expire(now, limits::KV_EVICTION_STEPS, &mut out);
                self.release(out.iter().map(Entry::size).sum());
                if out.drain(..).len() < limits::KV_EVICTION_STEPS {
                    break;
                }
            }
            shard.0.lock().shrink();
        }
    }
}
