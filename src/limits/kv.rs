//! Bounds of the plugins' shared state, in memory and in Redis.

use std::time::Duration;

use super::PLUGIN_BODY_BYTES_MAX;
use crate::throttle::Backoff;

/// Longest key. An address, a token's hash and a path all fit; a plugin with longer ones hashes
/// them.
pub const KV_KEY_BYTES_MAX: usize = 1024;
/// Largest value: a body that a plugin may hold (`PLUGIN_BODY_BYTES_MAX`) and as much again for
/// its JSON escapes and its head.
pub const KV_VALUE_BYTES_MAX: usize = 2 * PLUGIN_BODY_BYTES_MAX;
/// Largest expected value of a compare-and-set: a limiter's state, not a body. In memory it is
/// compared while the shard is locked; 64 KiB take about 2 us.
pub const KV_EXPECTED_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the whole memory store, overhead counted. `kv.memory.bytesMax`.
pub const KV_MEMORY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of one namespace: half, so that one plugin alone never fills the store.
/// `kv.memory.namespaceBytesMax`.
pub const KV_NAMESPACE_BYTES_MAX: usize = KV_MEMORY_BYTES_MAX / 2;
/// What an entry costs beside its key and value: its slot (56 bytes), its share of the hash table
/// and of the expiry heap, two allocation headers and the slack of their size classes.
pub const KV_ENTRY_OVERHEAD_BYTES: usize = 128;
/// Share of a namespace's bytes that one shard stands for. At the smallest size of an entry it
/// holds some 1,000 of them, which keeps the longest time under a lock (a table that doubles at
/// 896 entries) at about 15 us, measured with optimisation level 1.
pub const KV_SHARD_BYTES: usize = 128 * 1024;
/// Entries that one eviction looks at while it holds a shard's lock: 3 us, measured likewise.
pub const KV_EVICTION_STEPS: usize = 16;
/// Entries and shards that one write looks at to make room: about 1.5 ms, which only a write of
/// megabytes among tiny entries comes to. Then it fails with `the store is full`; what it freed
/// stays free.
pub const KV_EVICTION_STEPS_MAX: usize = 8192;
/// Least of `kv.memory.bytesMax`: the largest entry must fit.
pub const KV_MEMORY_BYTES_FLOOR: usize =
    KV_KEY_BYTES_MAX + KV_VALUE_BYTES_MAX + KV_ENTRY_OVERHEAD_BYTES;
/// Largest value of `kv.memory.bytesMax`: 1 TiB, more than machines have.
pub const KV_MEMORY_BYTES_CEILING: u64 = 1024 * 1024 * 1024 * 1024;
/// How often expired entries are taken out of the memory store: one that nobody asks for stays so
/// much longer.
pub const KV_SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Longest time to live. More is cut to it; it only keeps the arithmetic from overflowing.
pub const KV_TTL_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// For one answer of Redis, the wait for its connection included. `kv.redis.timeout`. A limiter's
/// call takes a millisecond; who waits longer is better served by the plugin's failure mode.
pub const KV_REDIS_TIMEOUT: Duration = Duration::from_secs(1);
/// Calls of one worker that wait for one Redis. More fail at once: at 1 ms per round trip a
/// pipelined connection empties this queue in far less than the timeout.
pub const KV_REDIS_WAITING_MAX: usize = 4096;
/// Bytes of commands that a worker holds for one Redis that doesn't take them.
pub const KV_REDIS_UNSENT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest status, error or number of a reply. Redis cuts its own error texts far below.
pub const KV_REDIS_LINE_BYTES_MAX: usize = 4 * 1024;
/// Pauses between two attempts to connect to Redis: one SYN per worker and 2 s burden nobody, and a
/// Redis that came back is found soon.
pub(crate) const KV_REDIS_BACKOFF: Backoff =
    Backoff { min: Duration::from_millis(50), max: Duration::from_secs(2) };

const _: () = assert!(KV_KEY_BYTES_MAX + KV_VALUE_BYTES_MAX < KV_NAMESPACE_BYTES_MAX);
const _: () = assert!(KV_VALUE_BYTES_MAX < KV_REDIS_UNSENT_BYTES_MAX);
const _: () = assert!(KV_EXPECTED_BYTES_MAX < KV_VALUE_BYTES_MAX);
