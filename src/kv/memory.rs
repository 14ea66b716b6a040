//! The memory backend: one store per process, shared by all workers.
//!
//! A namespace is split into shards by the hash of the key, each behind its own lock. Guests of
//! all workers take these (ARCHITECTURE.md has the other locks), so what bounds the wait for
//! another worker stands here:
//! - Under a lock (`space` has them) there is one table look-up and one change, or at most
//!   `KV_EVICTION_STEPS` steps of eviction: well under a microsecond, and about three. The longest
//!   is a table that doubles: 15 us, some ten times in a shard's life. Values are made before and
//!   freed after; a `get` takes a reference, not a copy.
//! - `parking_lot` spins for some microseconds, which covers these sections, and only then sleeps.
//!   A pure spin lock would burn a core for a whole time slice whenever the kernel takes the
//!   holder off its core; a sharded map such as dashmap hides the same lock, but leaves no say in
//!   what runs under it, and knows no bytes. Eviction skips shards that are locked.
//! - What is counted over all shards (bytes) are atomics, touched when an entry changes its size,
//!   never by an increment of a counter that exists.
//!
//! Bytes never exceed the caps: room is reserved before an entry is written. When a namespace is
//! at its own cap it evicts from itself; when the store is, the namespace that holds most pays, so
//! a greedy plugin can't push out the counters of a modest one.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::shard::{Entry, Millis, NEVER, Value};
use super::space::{Account, Short, Space};
use super::{Cas, Error, check_expected, check_key, check_value};
use crate::limits;

/// Attempts of one write to get its room. A second one is needed when other workers took the room
/// that this one made; after the last the store counts as full.
const ATTEMPTS: usize = 4;

/// A namespace in the store's list. It is in use while a [`Namespace`] of it lives.
#[derive(Clone, Debug)]
struct Listed {
    space: Arc<Space>,
    users: Weak<User>,
}

/// What the clones of a [`Namespace`] share: its end is the end of the namespace.
#[derive(Debug)]
struct User {
    space: Arc<Space>,
    store: Arc<MemoryStore>,
}

/// What a namespace holds, for the admin API and the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The namespace's name: a plugin's, or its `config.kvNamespace`.
    pub namespace: String,
    /// Live entries and those that expired but were not freed yet.
    pub entries: usize,
    /// Keys, values and overhead.
    pub bytes: usize,
    /// The namespace's cap.
    pub bytes_max: usize,
    /// Entries that went to make room, since the namespace began.
    pub evictions: u64,
}

/// The process's store. Made once; plugins reach it through their [`Namespace`].
#[derive(Debug)]
pub struct MemoryStore {
    /// Where the time scale of `expires_at` begins.
    origin: Instant,
    hasher: ahash::RandomState,
    total: Arc<Account>,
    namespace_bytes_max: usize,
    spaces: ArcSwap<Vec<Listed>>,
}

impl MemoryStore {
    /// An empty store of at most `bytes_max` bytes, and `namespace_bytes_max` per namespace.
    /// `origin` is the earliest instant that will be passed to it.
    pub fn new(bytes_max: usize, namespace_bytes_max: usize, origin: Instant) -> Arc<MemoryStore> {
        Arc::new(MemoryStore {
            origin,
            hasher: ahash::RandomState::new(),
            total: Arc::new(Account::new(bytes_max)),
            namespace_bytes_max: namespace_bytes_max.min(bytes_max),
            spaces: ArcSwap::from_pointee(Vec::new()),
        })
    }

    /// The namespace of this name: the one in use, so that state outlives a reload, else an empty
    /// one. For the control thread.
    pub fn namespace(self: &Arc<Self>, name: &str) -> Namespace {
        let space = Space::new(name, self.namespace_bytes_max, Arc::clone(&self.total));
        let fresh = Arc::new(User { space: Arc::new(space), store: Arc::clone(self) });
        let mut user = Arc::clone(&fresh);
        self.spaces.rcu(|list| {
            let in_use = list.iter().find(|listed| *listed.space.name == *name);
            match in_use.and_then(|listed| listed.users.upgrade()) {
                Some(found) => {
                    user = found;
                    Vec::clone(list)
                }
                None => {
                    user = Arc::clone(&fresh);
                    let others = list.iter().filter(|listed| *listed.space.name != *name);
                    let new =
                        Listed { space: Arc::clone(&fresh.space), users: Arc::downgrade(&fresh) };
                    others.cloned().chain([new]).collect()
                }
            }
        });
        Namespace { user }
    }

    /// Forgets a namespace whoever uses it: its users go on with entries that nobody else sees,
    /// and the next [`MemoryStore::namespace`] starts empty. A namespace without users needs no
    /// such call, [`MemoryStore::sweep`] frees it. False: there is none of this name.
    pub fn drop_namespace(&self, name: &str) -> bool {
        let before = self.spaces.rcu(|list| {
            let others = list.iter().filter(|listed| *listed.space.name != *name);
            others.cloned().collect::<Vec<_>>()
        });
        before.iter().any(|listed| *listed.space.name == *name)
    }

    /// Frees what has expired, and the namespaces whose last user is gone. The control thread calls
    /// it every second or so; without it they stay until their room is needed.
    pub fn sweep(&self, now: Instant) {
        // taken out before they are freed: the retired list holds the last reference
        let retired = self.spaces.rcu(|list| {
            let used = list.iter().filter(|listed| listed.users.strong_count() > 0);
            used.cloned().collect::<Vec<_>>()
        });
        drop(retired);
        let now = self.millis(now);
        for listed in self.spaces.load().iter() {
            listed.space.sweep(now);
        }
    }

    /// Bytes of all namespaces together.
    pub fn bytes(&self) -> usize {
        self.total.bytes.load(Relaxed)
    }

    /// What each namespace holds. For the control thread.
    pub fn usage(&self) -> Vec<Usage> {
        let usage = |listed: &Listed| Usage {
            namespace: listed.space.name.to_string(),
            entries: listed.space.shards.iter().map(|shard| shard.0.lock().len()).sum(),
            bytes: listed.space.account.bytes.load(Relaxed),
            bytes_max: listed.space.account.bytes_max,
            evictions: listed.space.evictions.load(Relaxed),
        };
        self.spaces.load().iter().map(usage).collect()
    }

    /// The namespace that holds most bytes: it pays when the store is full.
    fn largest(&self, own: &Arc<Space>) -> Arc<Space> {
        let list = self.spaces.load();
        let largest = list.iter().max_by_key(|listed| listed.space.account.bytes.load(Relaxed));
        let listed = largest.map(|listed| &listed.space);
        // a dropped namespace is in no list, but holds bytes as long as it has users
        let own_bytes = own.account.bytes.load(Relaxed);
        let other = listed.filter(|space| space.account.bytes.load(Relaxed) > own_bytes);
        Arc::clone(other.unwrap_or(own))
    }

    fn millis(&self, now: Instant) -> Millis {
        now.saturating_duration_since(self.origin).as_millis() as Millis
    }

    fn expires_at(&self, ttl: Option<Duration>, now: Millis) -> Millis {
        // a ttl below a millisecond is one: 0 would be gone before it is read
        ttl.map_or(NEVER, |ttl| now + (ttl.min(limits::KV_TTL_MAX).as_millis() as Millis).max(1))
    }
}

/// What a write put out of its shard.
#[derive(Default)]
struct Freed {
    entry: Option<Entry>,
    value: Option<Value>,
}

/// What a write decided on, seeing the entry as it is.
enum Change<R> {
    Keep(R),
    Put(Value, Millis, R),
    Remove(R),
}

/// A plugin's part of the [`MemoryStore`]. Clones are the same namespace; with the last one its
/// entries are freed at the next [`MemoryStore::sweep`].
#[derive(Clone, Debug)]
pub struct Namespace {
    user: Arc<User>,
}

impl Namespace {
    /// Whether both are the same namespace of the same store.
    pub fn is_same_as(&self, other: &Namespace) -> bool {
        Arc::ptr_eq(&self.user, &other.user)
    }

    /// The value of a key, `None` when it isn't there or has expired.
    pub fn get(&self, key: &[u8], now: Instant) -> Result<Option<Arc<[u8]>>, Error> {
        check_key(key)?;
        let store = &self.user.store;
        let (hash, now) = (store.hasher.hash_one(key), store.millis(now));
        let value = {
            let mut shard = self.user.space.shard(hash).lock();
            match shard.find(hash, key) {
                Some(at) if shard.entry(at).expires_at > now => {
                    shard.touch(at);
                    Some(shard.entry(at).value.clone())
                }
                _ => None,
            }
        };
        Ok(value.map(Value::into_bytes))
    }

    /// Sets a key, for `ttl` or for good; a `ttl` it had is replaced.
    pub fn set(
        &self,
        key: &[u8],
        value: &[u8],
        ttl: Option<Duration>,
        now: Instant,
    ) -> Result<(), Error> {
        check_value(value)?;
        let value = Value::Bytes(Arc::from(value));
        let expires_at = self.expires_at(ttl, now);
        self.update(key, now, |_| Ok(Change::Put(value.clone(), expires_at, ())))
    }

    /// Adds to a counter and gives the sum; a key that isn't there counts as 0. Only the increment
    /// that makes the key sets its `ttl`: the window of a limiter begins with its first request.
    pub fn incr(
        &self,
        key: &[u8],
        by: i64,
        ttl: Option<Duration>,
        now: Instant,
    ) -> Result<i64, Error> {
        let fresh_expiry = self.expires_at(ttl, now);
        self.update(key, now, |entry| {
            let (old, expires_at) = match entry {
                Some(entry) => (entry.value.as_integer(), entry.expires_at),
                None => (Some(0), fresh_expiry),
            };
            let sum = old.ok_or(Error::NotAnInteger)?.checked_add(by).ok_or(Error::Overflow)?;
            Ok(Change::Put(Value::Integer(sum), expires_at, sum))
        })
    }

    /// Sets a key if its value is `expected` (`None`: if it isn't there); else tells what it is.
    pub fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        value: &[u8],
        ttl: Option<Duration>,
        now: Instant,
    ) -> Result<Cas, Error> {
        check_expected(expected)?;
        check_value(value)?;
        let value = Value::Bytes(Arc::from(value));
        let expires_at = self.expires_at(ttl, now);
        let conflict = self.update(key, now, |entry| {
            let same = match (entry, expected) {
                (None, None) => true,
                (Some(entry), Some(expected)) => entry.value.is(expected),
                (None, Some(_)) | (Some(_), None) => false,
            };
            Ok(if same {
                Change::Put(value.clone(), expires_at, None)
            } else {
                Change::Keep(Some(entry.map(|entry| entry.value.clone())))
            })
        })?;
        Ok(match conflict {
            None => Cas::Swapped,
            Some(current) => Cas::Conflict(current.map(Value::into_bytes)),
        })
    }

    /// Removes a key; tells whether it was there.
    pub fn delete(&self, key: &[u8], now: Instant) -> Result<bool, Error> {
        self.update(key, now, |entry| Ok(Change::Remove(entry.is_some())))
    }

    fn expires_at(&self, ttl: Option<Duration>, now: Instant) -> Millis {
        self.user.store.expires_at(ttl, self.user.store.millis(now))
    }

    /// One atomic change of one key: `decide` sees the live entry under the shard's lock. It is
    /// asked again when room had to be made, which happens outside the lock.
    fn update<R>(
        &self,
        key: &[u8],
        now: Instant,
        mut decide: impl FnMut(Option<&Entry>) -> Result<Change<R>, Error>,
    ) -> Result<R, Error> {
        check_key(key)?;
        let store = &self.user.store;
        let space = &self.user.space;
        let (hash, now) = (store.hasher.hash_one(key), store.millis(now));
        for _ in 0..ATTEMPTS {
            // declared before the lock is taken, so freed after it is given back
            let mut freed = Freed::default();
            let mut shard = space.shard(hash).lock();
            let found = match shard.find(hash, key) {
                Some(at) if shard.entry(at).expires_at <= now => {
                    freed.entry = Some(space.remove(&mut shard, at));
                    None
                }
                found => found,
            };
            match decide(found.map(|at| shard.entry(at)))? {
                Change::Keep(result) => return Ok(result),
                Change::Remove(result) => {
                    freed.entry = found.map(|at| space.remove(&mut shard, at)).or(freed.entry);
                    return Ok(result);
                }
                Change::Put(value, expires_at, result) => {
                    let more = space.growth(&shard, found, key, &value);
                    match space.reserve(more) {
                        Ok(()) => {
                            freed.value =
                                space.put(&mut shard, hash, key, found, value, expires_at);
                            return Ok(result);
                        }
                        Err(short) => {
                            drop(shard);
                            self.make_room(&short, more, now)?;
                        }
                    }
                }
            }
        }
        Err(Error::Full)
    }

    /// Evicts until `more` bytes fit, or gives up after a bounded number of steps.
    fn make_room(&self, short: &Short, more: usize, now: Millis) -> Result<(), Error> {
        let space = &self.user.space;
        let (account, store) = match short {
            Short::Namespace => (&space.account, None),
            Short::Store => (&*space.total, Some(&self.user.store)),
        };
        if more > account.bytes_max {
            // no eviction can make this room, so none is begun
            return Err(Error::Full);
        }
        let mut budget = limits::KV_EVICTION_STEPS_MAX;
        while budget > 0 && !account.has_room(more) {
            let looked = match store {
                None => space.evict(now, more),
                Some(store) => store.largest(space).evict(now, more),
            };
            budget = budget.saturating_sub(1 + looked);
        }
        if account.has_room(more) { Ok(()) } else { Err(Error::Full) }
    }
}

#[cfg(test)]
mod tests;
