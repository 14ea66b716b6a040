//! The memory store against a plain model, with a clock and a seed of its own.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::kv::shard::Shard;

/// xorshift64: the tests print the seed, so any failure repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A small store and its time zero.
fn store(bytes_max: usize) -> (Arc<MemoryStore>, Instant) {
    let origin = Instant::now();
    (MemoryStore::new(bytes_max, bytes_max, origin), origin)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl MemoryStore {
    /// Bytes of all listed entries; fails when a shard or an account is inconsistent.
    fn check(&self) -> usize {
        let list = self.spaces.load();
        let sums = list.iter().map(|listed| {
            let sum = listed.space.shards.iter().map(|shard| shard.0.lock().check()).sum::<usize>();
            assert_eq!(sum, listed.space.account.bytes.load(Relaxed));
            assert!(sum <= listed.space.account.bytes_max);
            sum
        });
        let sum = sums.sum();
        assert!(sum <= self.total.bytes_max);
        sum
    }
}

#[test]
fn value_lives_exactly_as_long_as_its_ttl() {
    let (store, t0) = store(1 << 20);
    let plugin = store.namespace("plugin");
    plugin.set(b"k", b"v", Some(ms(100)), t0).unwrap();
    assert_eq!(plugin.get(b"k", t0 + ms(99)).unwrap().as_deref(), Some(&b"v"[..]));
    assert_eq!(plugin.get(b"k", t0 + ms(100)).unwrap(), None);
    assert!(!plugin.delete(b"k", t0 + ms(100)).unwrap(), "an expired key isn't there");
}

#[test]
fn set_replaces_the_ttl_and_without_one_lasts() {
    let (store, t0) = store(1 << 20);
    let plugin = store.namespace("plugin");
    plugin.set(b"k", b"1", Some(ms(10)), t0).unwrap();
    plugin.set(b"k", b"2", None, t0).unwrap();
    assert_eq!(plugin.get(b"k", t0 + ms(1_000_000)).unwrap().as_deref(), Some(&b"2"[..]));
    plugin.set(b"k", b"3", Some(Duration::MAX), t0).unwrap();
    assert!(plugin.get(b"k", t0 + limits::KV_TTL_MAX / 2).unwrap().is_some());
}

#[test]
fn only_the_increment_that_makes_the_key_sets_its_ttl() {
    let (store, t0) = store(1 << 20);
    let plugin = store.namespace("plugin");
    for request in 1..=5 {
        let now = t0 + ms(request as u64 * 10);
        assert_eq!(plugin.incr(b"window", 1, Some(ms(60)), now).unwrap(), request);
    }
    // the window began at 10 and ends at 70, though it was used at 50
    assert_eq!(plugin.incr(b"window", 1, Some(ms(60)), t0 + ms(69)).unwrap(), 6);
    assert_eq!(plugin.incr(b"window", 1, Some(ms(60)), t0 + ms(70)).unwrap(), 1);
}

#[test]
fn counters_are_decimal_text_and_refuse_what_is_none() {
    let (store, t0) = store(1 << 20);
    let plugin = store.namespace("plugin");
    plugin.set(b"k", b"41", None, t0).unwrap();
    assert_eq!(plugin.incr(b"k", 1, None, t0).unwrap(), 42);
    assert_eq!(plugin.incr(b"k", -50, None, t0).unwrap(), -8);
    assert_eq!(plugin.get(b"k", t0).unwrap().as_deref(), Some(&b"-8"[..]));
    for text in ["", "x", "1x", " 1", "+1", "01", "-0", "-", "1.0", "9223372036854775808"] {
        plugin.set(b"k", text.as_bytes(), None, t0).unwrap();
        assert_eq!(plugin.incr(b"k", 1, None, t0), Err(Error::NotAnInteger), "{text:?}");
        assert_eq!(plugin.get(b"k", t0).unwrap().as_deref(), Some(text.as_bytes()));
    }
    plugin.set(b"k", i64::MAX.to_string().as_bytes(), None, t0).unwrap();
    assert_eq!(plugin.incr(b"k", 1, None, t0), Err(Error::Overflow));
    assert_eq!(plugin.incr(b"k", 0, None, t0), Ok(i64::MAX));
}

#[test]
fn compare_and_set_swaps_only_what_was_expected() {
    let (store, t0) = store(1 << 20);
    let plugin = store.namespace("plugin");
    let cas = |expected: Option<&[u8]>, value: &[u8], at| {
        plugin.compare_and_set(b"k", expected, value, Some(ms(100)), t0 + ms(at)).unwrap()
    };
    assert_eq!(cas(Some(b"a"), b"b", 0), Cas::Conflict(None));
    assert_eq!(cas(None, b"a", 0), Cas::Swapped);
    assert_eq!(cas(None, b"b", 0), Cas::Conflict(Some(Arc::from(&b"a"[..]))));
    assert_eq!(cas(Some(b"x"), b"b", 0), Cas::Conflict(Some(Arc::from(&b"a"[..]))));
    assert_eq!(cas(Some(b"a"), b"b", 50), Cas::Swapped);
    assert_eq!(cas(Some(b"b"), b"c", 149), Cas::Swapped, "the swap at 50 set its own ttl");
    assert_eq!(cas(Some(b"c"), b"d", 249), Cas::Conflict(None), "expired");
    assert_eq!(cas(None, b"d", 249), Cas::Swapped);
    plugin.delete(b"k", t0).unwrap();
    plugin.incr(b"k", 7, None, t0).unwrap();
    assert_eq!(cas(Some(b"07"), b"x", 0), Cas::Conflict(Some(Arc::from(&b"7"[..]))));
    assert_eq!(cas(Some(b"7"), b"x", 0), Cas::Swapped, "a counter is its decimal text");
}

#[test]
fn sizes_beyond_the_limits_are_refused() {
    let (store, t0) = store(limits::KV_MEMORY_BYTES_MAX);
    let plugin = store.namespace("plugin");
    let key = vec![b'k'; limits::KV_KEY_BYTES_MAX + 1];
    let value = vec![b'v'; limits::KV_VALUE_BYTES_MAX + 1];
    assert_eq!(plugin.get(b"", t0), Err(Error::KeySize(0)));
    assert_eq!(plugin.get(&key, t0), Err(Error::KeySize(key.len())));
    assert_eq!(plugin.incr(&key, 1, None, t0), Err(Error::KeySize(key.len())));
    assert_eq!(plugin.delete(&key, t0), Err(Error::KeySize(key.len())));
    assert_eq!(plugin.set(&key, b"", None, t0), Err(Error::KeySize(key.len())));
    assert_eq!(plugin.set(b"k", &value, None, t0), Err(Error::ValueSize(value.len())));
    let expected = Some(&value[..limits::KV_EXPECTED_BYTES_MAX + 1]);
    let got = plugin.compare_and_set(b"k", expected, b"", None, t0);
    assert_eq!(got, Err(Error::ExpectedSize(limits::KV_EXPECTED_BYTES_MAX + 1)));
    assert_eq!(store.bytes(), 0);

    let (key, value) = (&key[1..], &value[1..]);
    plugin.set(key, value, None, t0).unwrap();
    assert_eq!(plugin.get(key, t0).unwrap().as_deref(), Some(value));
    assert_eq!(store.check(), key.len() + value.len() + limits::KV_ENTRY_OVERHEAD_BYTES);
}

#[test]
fn a_value_larger_than_the_namespace_does_not_empty_it() {
    let (store, t0) = store(64 * 1024);
    let plugin = store.namespace("plugin");
    plugin.set(b"small", b"1", None, t0).unwrap();
    assert_eq!(plugin.set(b"large", &[0; 128 * 1024], None, t0), Err(Error::Full));
    assert!(plugin.get(b"small", t0).unwrap().is_some());
}

#[test]
fn store_agrees_with_a_model_while_nothing_is_evicted() {
    for seed in 1..=40 {
        let (store, t0) = store(16 << 20);
        let plugin = store.namespace("plugin");
        let mut random = Random(seed * 0x9E37_79B9);
        let mut model: HashMap<u64, (Vec<u8>, u64)> = HashMap::new();
        let mut clock = 0;
        for step in 0..3_000 {
            clock += random.below(4);
            let now = t0 + ms(clock);
            let (id, ttl) = (random.below(200), 1 + random.below(300));
            let key = format!("key-{id}");
            let key = key.as_bytes();
            let live = model.get(&id).filter(|(_, expires)| *expires > clock).cloned();
            let place = format!("seed {seed}, step {step}");
            match random.below(6) {
                0 => {
                    let value = vec![b'v'; random.below(500) as usize];
                    let forever = random.below(3) == 0;
                    plugin.set(key, &value, (!forever).then_some(ms(ttl)), now).unwrap();
                    model.insert(id, (value, if forever { u64::MAX } else { clock + ttl }));
                }
                1 => {
                    let there = plugin.delete(key, now).unwrap();
                    assert_eq!(there, live.is_some(), "{place}");
                    model.remove(&id);
                }
                2 => {
                    let old = live.as_ref().map(|(value, _)| &value[..]);
                    let got = plugin.compare_and_set(key, old, b"swapped", Some(ms(ttl)), now);
                    assert_eq!(got, Ok(Cas::Swapped), "{place}");
                    model.insert(id, (b"swapped".to_vec(), clock + ttl));
                }
                3 => {
                    let got = plugin.incr(key, 3, Some(ms(ttl)), now);
                    let (old, expires) = live.unwrap_or((b"0".to_vec(), clock + ttl));
                    match String::from_utf8(old).unwrap().parse::<i64>() {
                        Ok(old) => {
                            assert_eq!(got, Ok(old + 3), "{place}");
                            model.insert(id, ((old + 3).to_string().into_bytes(), expires));
                        }
                        Err(_) => assert_eq!(got, Err(Error::NotAnInteger), "{place}"),
                    }
                }
                4 => {
                    let got = plugin.get(key, now).unwrap();
                    let expected = live.as_ref().map(|(value, _)| &value[..]);
                    assert_eq!(got.as_deref(), expected, "{place}");
                }
                _ if step % 50 == 0 => store.sweep(now),
                _ => {}
            }
        }
        store.check();
        store.sweep(t0 + ms(clock + 1));
        let live = model.values().filter(|(_, expires)| *expires > clock + 1).count();
        assert_eq!(store.usage()[0].entries, live, "seed {seed}: a sweep leaves the live ones");
    }
}

#[test]
fn bytes_stay_under_the_caps_whatever_is_written() {
    for seed in 1..=20 {
        let (cap, share) = (200 * 1024, 120 * 1024);
        let t0 = Instant::now();
        let store = MemoryStore::new(cap, share, t0);
        let plugins = ["a", "b", "c"].map(|name| store.namespace(name));
        let mut random = Random(seed * 0x9E37_79B9);
        for step in 0..4_000_u64 {
            let now = t0 + ms(step);
            let plugin = &plugins[random.below(3) as usize];
            let key = random.below(5_000).to_string();
            let size = if random.below(20) == 0 { 30_000 } else { 200 };
            let value = vec![0; random.below(size) as usize];
            let ttl = (random.below(2) == 0).then(|| ms(1 + random.below(500)));
            plugin.set(key.as_bytes(), &value, ttl, now).unwrap();
            assert!(store.bytes() <= cap, "seed {seed}, step {step}");
            let got = plugin.get(key.as_bytes(), now).unwrap();
            assert_eq!(got.as_deref(), Some(&value[..]), "what was just written is there");
        }
        assert_eq!(store.check(), store.bytes(), "seed {seed}");
        assert!(store.bytes() > cap / 2, "seed {seed}: eviction took far more than it needed");
    }
}

#[test]
fn expired_entries_go_before_live_ones_in_a_shard() {
    let mut shard = Shard::default();
    for at in 0..32_u64 {
        let expires_at = if at % 2 == 0 { 10 } else { NEVER };
        shard.insert(at, &at.to_le_bytes(), Value::Integer(0), expires_at);
    }
    let mut out = Vec::new();
    shard.evict(10, usize::MAX, &mut out);
    assert_eq!(out.len(), limits::KV_EVICTION_STEPS);
    assert!(out.iter().all(|entry| entry.value.as_integer() == Some(0)));
    for at in 0..32_u64 {
        assert_eq!(shard.find(at, &at.to_le_bytes()).is_some(), at % 2 == 1, "{at}");
    }
    shard.check();
}

#[test]
fn entries_in_use_outlive_those_that_nobody_reads() {
    let (store, t0) = store(256 * 1024);
    let plugin = store.namespace("plugin");
    let hot: Vec<_> = (0..50).map(|at| format!("hot-{at}")).collect();
    for key in &hot {
        plugin.set(key.as_bytes(), b"counter", None, t0).unwrap();
    }
    for scan in 0..20_000 {
        plugin.set(format!("scan-{scan}").as_bytes(), b"once", None, t0).unwrap();
        plugin.get(hot[scan % hot.len()].as_bytes(), t0).unwrap();
    }
    let kept = hot.iter().filter(|key| plugin.get(key.as_bytes(), t0).unwrap().is_some()).count();
    assert_eq!(kept, hot.len(), "a scan of 20,000 keys evicted keys in use");
    assert!(store.usage()[0].evictions > 10_000);
}

#[test]
fn the_largest_namespace_pays_when_the_store_is_full() {
    let t0 = Instant::now();
    let store = MemoryStore::new(256 * 1024, 256 * 1024, t0);
    let (modest, greedy) = (store.namespace("modest"), store.namespace("greedy"));
    for at in 0..100_u32 {
        modest.incr(&at.to_le_bytes(), 1, None, t0).unwrap();
    }
    for at in 0..20_000_u32 {
        greedy.set(&at.to_le_bytes(), b"much", None, t0).unwrap();
    }
    for at in 0..100_u32 {
        assert_eq!(modest.incr(&at.to_le_bytes(), 1, None, t0), Ok(2));
    }
    // and a newcomer finds room
    store.namespace("new").set(b"k", &[0; 10_000], None, t0).unwrap();
    store.check();
}

#[test]
fn namespaces_do_not_see_each_other() {
    let (store, t0) = store(1 << 20);
    let (a, b) = (store.namespace("a"), store.namespace("b"));
    a.set(b"k", b"a", None, t0).unwrap();
    assert_eq!(b.get(b"k", t0).unwrap(), None);
    assert!(!b.delete(b"k", t0).unwrap());
    assert!(a.get(b"k", t0).unwrap().is_some());
}

#[test]
fn namespace_outlives_a_reload_and_is_freed_with_its_last_user() {
    let (store, t0) = store(1 << 20);
    let old_snapshot = store.namespace("plugin");
    old_snapshot.incr(b"count", 5, None, t0).unwrap();
    let new_snapshot = store.namespace("plugin");
    drop(old_snapshot);
    store.sweep(t0);
    assert_eq!(new_snapshot.incr(b"count", 1, None, t0), Ok(6));

    let worker = new_snapshot.clone();
    drop(new_snapshot);
    store.sweep(t0);
    assert_eq!(worker.incr(b"count", 1, None, t0), Ok(7));
    drop(worker);
    assert!(store.bytes() > 0, "freed by the sweep, not by a worker");
    store.sweep(t0);
    assert_eq!(store.bytes(), 0);
    assert!(store.usage().is_empty());
    assert_eq!(store.namespace("plugin").get(b"count", t0).unwrap(), None);
}

#[test]
fn dropped_namespace_is_empty_for_new_users() {
    let (store, t0) = store(1 << 20);
    let old = store.namespace("plugin");
    old.set(b"k", b"v", None, t0).unwrap();
    assert!(store.drop_namespace("plugin"));
    assert!(!store.drop_namespace("plugin"));
    let new = store.namespace("plugin");
    assert_eq!(new.get(b"k", t0).unwrap(), None);
    assert!(old.get(b"k", t0).unwrap().is_some());
    drop(old);
    assert_eq!(store.bytes(), 0);
}

#[test]
fn sweep_returns_what_a_burst_left() {
    let (store, t0) = store(16 << 20);
    let plugin = store.namespace("plugin");
    for at in 0..20_000_u32 {
        plugin.set(&at.to_le_bytes(), b"burst", Some(ms(1_000)), t0).unwrap();
    }
    plugin.set(b"stays", b"1", None, t0).unwrap();
    store.sweep(t0 + ms(999));
    assert_eq!(store.usage()[0].entries, 20_001);
    store.sweep(t0 + ms(1_000));
    assert_eq!(store.usage()[0].entries, 1);
    assert_eq!(store.check(), store.bytes());
}

#[test]
fn increments_of_eight_threads_are_exact() {
    const EACH: i64 = 20_000;
    let (store, t0) = store(1 << 20);
    let plugin = store.namespace("plugin");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let plugin = plugin.clone();
            scope.spawn(move || {
                for at in 0..EACH {
                    plugin.incr(b"one", 1, None, t0).unwrap();
                    plugin.incr(&(at % 100).to_le_bytes(), 1, None, t0).unwrap();
                }
            });
        }
    });
    assert_eq!(plugin.incr(b"one", 0, None, t0), Ok(8 * EACH));
    for at in 0..100_i64 {
        assert_eq!(plugin.incr(&at.to_le_bytes(), 0, None, t0), Ok(8 * EACH / 100));
    }
}

#[test]
fn compare_and_set_of_eight_threads_loses_no_update() {
    const EACH: u64 = 2_000;
    let (store, t0) = store(1 << 20);
    let plugin = store.namespace("plugin");
    plugin.set(b"state", b"0", None, t0).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let plugin = plugin.clone();
            scope.spawn(move || {
                let mut seen = plugin.get(b"state", t0).unwrap();
                for _ in 0..EACH {
                    loop {
                        let old = seen.as_deref().unwrap();
                        let sum = std::str::from_utf8(old).unwrap().parse::<u64>().unwrap() + 1;
                        let new = sum.to_string();
                        match plugin.compare_and_set(b"state", Some(old), new.as_bytes(), None, t0)
                        {
                            Ok(Cas::Swapped) => {
                                seen = Some(Arc::from(new.as_bytes()));
                                break;
                            }
                            Ok(Cas::Conflict(current)) => seen = current,
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            });
        }
    });
    let total = (8 * EACH).to_string();
    assert_eq!(plugin.get(b"state", t0).unwrap().as_deref(), Some(total.as_bytes()));
}

#[test]
fn caps_hold_while_eight_threads_write_to_a_full_store() {
    let t0 = Instant::now();
    let store = MemoryStore::new(512 * 1024, 300 * 1024, t0);
    let written = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let plugin = store.namespace(["a", "b", "c"][thread as usize % 3]);
            let (store, written) = (&store, &written);
            scope.spawn(move || {
                let mut random = Random(thread + 1);
                for step in 0..4_000 {
                    let value = vec![0; random.below(600) as usize];
                    let key = random.below(3_000).to_le_bytes();
                    // a full store is an answer when others take the room that this one made
                    match plugin.set(&key, &value, None, t0 + ms(step)) {
                        Ok(()) => written.fetch_add(1, Relaxed),
                        Err(Error::Full) => 0,
                        Err(error) => panic!("{error}"),
                    };
                    assert!(store.bytes() <= 512 * 1024);
                }
            });
        }
    });
    assert!(written.load(Relaxed) > 31_000, "{} of 32,000 written", written.load(Relaxed));
    store.check();
}
