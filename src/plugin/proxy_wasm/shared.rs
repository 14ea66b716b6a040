//! What the filters of one `vmId` share over all workers: data under keys, queues, and numbers of
//! metrics. It is freed with the last plugin that has it.
//!
//! Each lock is held for one operation: a lookup and a copy of a value whose size is bounded.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use crate::limits;

#[expect(clippy::disallowed_types, reason = "held for O(1) work; the module's text says so")]
type Lock<T> = parking_lot::Mutex<T>;

/// The shares of a process, by `vmId`.
#[derive(Debug, Default)]
pub(in crate::plugin) struct Registry {
    shares: Lock<HashMap<String, Weak<Share>>>,
}

impl Registry {
    /// What filters of this `vmId` share.
    pub(in crate::plugin) fn share(&self, vm_id: &str) -> Arc<Share> {
        let mut shares = self.shares.lock();
        shares.retain(|_, share| share.strong_count() > 0);
        if let Some(share) = shares.get(vm_id).and_then(Weak::upgrade) {
            return share;
        }
        let share = Arc::<Share>::default();
        shares.insert(vm_id.to_owned(), Arc::downgrade(&share));
        share
    }

    /// What filters of another `vmId` share, if there are any.
    fn find(&self, vm_id: &str) -> Option<Arc<Share>> {
        self.shares.lock().get(vm_id).and_then(Weak::upgrade)
    }

    /// The queue of this name that filters of `vm_id` have registered.
    pub(super) fn queue(&self, vm_id: &str, name: &[u8]) -> Option<Arc<Queue>> {
        self.find(vm_id)?.queues.lock().get(name).cloned()
    }
}

/// What the filters of one `vmId` share.
#[derive(Debug, Default)]
pub(in crate::plugin) struct Share {
    data: Lock<Data>,
    queues: Lock<HashMap<Vec<u8>, Arc<Queue>>>,
    numbers: Lock<HashMap<String, Arc<AtomicI64>>>,
}

#[derive(Debug, Default)]
struct Data {
    entries: HashMap<Vec<u8>, Entry, ahash::RandomState>,
    /// The keys by when they were written last: the eldest makes room.
    by_age: BTreeMap<u64, Vec<u8>>,
    bytes: usize,
    written: u64,
}

#[derive(Debug)]
struct Entry {
    value: Vec<u8>,
    /// The number that a guest compares by; never 0.
    cas: u32,
    age: u64,
}

/// Why a value was not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Another has set it since.
    Mismatch,
    /// It is larger than all that there is room for.
    TooLarge,
}

impl Share {
    /// A value and the number to compare by.
    pub(super) fn get(&self, key: &[u8]) -> Option<(Vec<u8>, u32)> {
        let data = self.data.lock();
        data.entries.get(key).map(|entry| (entry.value.clone(), entry.cas))
    }

    /// Sets a value; with a number that is not 0, only if the value's is that one. What is written
    /// least lately makes room.
    pub(super) fn set(&self, key: &[u8], value: &[u8], cas: u32) -> Result<(), Refusal> {
        let size = key.len() + value.len() + limits::FILTER_SHARED_ENTRY_BYTES;
        if size > limits::FILTER_SHARED_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        let mut data = self.data.lock();
        let known = data.entries.get(key).map_or(0, |entry| entry.cas);
        // As in Envoy, what is not there has no version that could be another one.
        if cas != 0 && known != 0 && cas != known {
            return Err(Refusal::Mismatch);
        }
        data.remove(key);
        while data.bytes + size > limits::FILTER_SHARED_BYTES_MAX {
            let Some((_, eldest)) = data.by_age.pop_first() else {
                break;
            };
            data.remove(&eldest);
        }
        data.written += 1;
        let age = data.written;
        data.by_age.insert(age, key.to_vec());
        let entry = Entry { value: value.to_vec(), cas: known.wrapping_add(1).max(1), age };
        data.entries.insert(key.to_vec(), entry);
        data.bytes += size;
        Ok(())
    }

    /// The queue of a name, made if there is none; `None` where there are too many.
    pub(super) fn register(&self, name: &[u8]) -> Option<Arc<Queue>> {
        let mut queues = self.queues.lock();
        if !queues.contains_key(name) && queues.len() >= limits::FILTER_QUEUES_MAX {
            return None;
        }
        Some(Arc::clone(queues.entry(name.to_vec()).or_default()))
    }

    /// The number of a metric, over all workers; `None` where there are too many.
    pub(super) fn number(&self, name: &str) -> Option<Arc<AtomicI64>> {
        let mut numbers = self.numbers.lock();
        if !numbers.contains_key(name) && numbers.len() >= limits::FILTER_NUMBERS_MAX {
            return None;
        }
        Some(Arc::clone(numbers.entry(name.to_owned()).or_default()))
    }
}

impl Data {
    fn remove(&mut self, key: &[u8]) {
        if let Some(entry) = self.entries.remove(key) {
            self.by_age.remove(&entry.age);
            self.bytes -= key.len() + entry.value.len() + limits::FILTER_SHARED_ENTRY_BYTES;
        }
    }
}

/// A queue. Who has registered it last is told of what comes in.
#[derive(Debug, Default)]
pub(super) struct Queue {
    items: Lock<(VecDeque<Vec<u8>>, usize)>,
    /// How many items have ever come in.
    arrived: AtomicU64,
    /// How many of them somebody has been told of.
    told: AtomicU64,
    /// Counts registrations: the last one's holder is who is told.
    owner: AtomicU64,
}

impl Queue {
    /// Appends an item. Says whether an older one had to go for it.
    pub(super) fn push(&self, item: &[u8]) -> bool {
        let mut items = self.items.lock();
        let (queue, bytes) = &mut *items;
        let mut dropped = false;
        while queue.len() >= limits::FILTER_QUEUE_ITEMS_MAX
            || !queue.is_empty() && *bytes + item.len() > limits::FILTER_QUEUE_BYTES_MAX
        {
            *bytes -= queue.pop_front().map_or(0, |gone| gone.len());
            dropped = true;
        }
        queue.push_back(item.to_vec());
        *bytes += item.len();
        drop(items);
        self.arrived.fetch_add(1, Relaxed);
        dropped
    }

    /// Takes the first item.
    pub(super) fn pop(&self) -> Option<Vec<u8>> {
        let mut items = self.items.lock();
        let (queue, bytes) = &mut *items;
        let item = queue.pop_front()?;
        *bytes -= item.len();
        Some(item)
    }

    /// Becomes the one that is told; the number says so.
    pub(super) fn own(&self) -> u64 {
        self.owner.fetch_add(1, Relaxed) + 1
    }

    /// Whether items have come that `owner` has not been told of.
    pub(super) fn has_news(&self, owner: u64) -> bool {
        self.owner.load(Relaxed) == owner && self.arrived.load(Relaxed) > self.told.load(Relaxed)
    }

    /// How many items have come that `owner` has not been told of: 0 for who owns it no more.
    pub(super) fn news(&self, owner: u64) -> u64 {
        if self.owner.load(Relaxed) != owner {
            return 0;
        }
        let arrived = self.arrived.load(Relaxed);
        arrived.saturating_sub(self.told.swap(arrived, Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_is_shared_by_name_and_freed_with_its_last_user() {
        let registry = Registry::default();
        let (one, same, other) = (registry.share("a"), registry.share("a"), registry.share("b"));
        one.set(b"k", b"v", 0).unwrap();
        assert_eq!(same.get(b"k"), Some((b"v".to_vec(), 1)));
        assert_eq!(other.get(b"k"), None);
        drop((one, same));
        assert_eq!(registry.share("a").get(b"k"), None);
    }

    #[test]
    fn a_number_that_is_not_the_values_sets_nothing() {
        let share = Share::default();
        // What is not there has none.
        share.set(b"k", b"1", 7).unwrap();
        let (_, cas) = share.get(b"k").unwrap();
        share.set(b"k", b"2", cas).unwrap();
        assert_eq!(share.set(b"k", b"3", cas), Err(Refusal::Mismatch));
        assert_eq!(share.get(b"k").unwrap().0, b"2");
        share.set(b"k", b"4", 0).unwrap();
    }

    #[test]
    fn the_eldest_makes_room() {
        let share = Share::default();
        let value = vec![0; limits::FILTER_SHARED_BYTES_MAX / 4];
        for key in 0..10_u8 {
            share.set(&[key], &value, 0).unwrap();
        }
        let there: Vec<u8> = (0..10).filter(|&key| share.get(&[key]).is_some()).collect();
        assert_eq!(there, [7, 8, 9]);
        let large = vec![0; limits::FILTER_SHARED_BYTES_MAX + 1];
        assert_eq!(share.set(b"x", &large, 0), Err(Refusal::TooLarge));
    }

    #[test]
    fn a_queue_is_bounded_and_tells_its_last_owner() {
        let registry = Registry::default();
        let share = registry.share("");
        assert!(registry.queue("", b"q").is_none());
        let queue = share.register(b"q").unwrap();
        let (first, last) = (queue.own(), queue.own());
        assert!(!registry.queue("", b"q").unwrap().push(b"a"));
        queue.push(b"b");
        assert_eq!((queue.news(first), queue.news(last), queue.news(last)), (0, 2, 0));
        assert_eq!(
            (queue.pop(), queue.pop(), queue.pop()),
            (Some(b"a".to_vec()), Some(b"b".to_vec()), None)
        );
        for _ in 0..limits::FILTER_QUEUE_ITEMS_MAX {
            assert!(!queue.push(b"x"));
        }
        assert!(queue.push(b"y"));
    }
}
