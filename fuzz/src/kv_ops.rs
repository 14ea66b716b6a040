//! Operations on the memory store: the caps hold, and it agrees with a plain map.
//!
//! Four bytes are one operation: what, which key, how large or how much, how long. A key may be
//! missing, since it may have been evicted; a value that is there must be the last one written, and
//! a key that is gone in the map must be gone in the store.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use odin::kv::memory::MemoryStore;
use odin::kv::{Cas, Error};

/// Small, so that a short input reaches eviction.
const BYTES_MAX: usize = 16 * 1024;

/// One input.
pub fn run(input: &[u8]) {
    let origin = Instant::now();
    let store = MemoryStore::new(BYTES_MAX, BYTES_MAX * 3 / 4, origin);
    let spaces = ["a", "b"].map(|name| store.namespace(name));
    let mut model: HashMap<u8, (Vec<u8>, u64)> = HashMap::new();
    let mut clock = 0_u64;
    for operation in input.chunks_exact(4) {
        let &[what, key, much, long] = operation else { unreachable!("chunks of four") };
        clock += u64::from(what >> 4);
        let now = origin + Duration::from_millis(clock);
        let ttl = (long > 0).then(|| Duration::from_millis(u64::from(long)));
        let expires = ttl.map_or(u64::MAX, |_| clock + u64::from(long));
        let space = &spaces[usize::from(key & 1)];
        let seen = space.get(&[key], now).expect("the key has an allowed size");
        let known = model.get(&key).filter(|(_, expires)| *expires > clock);
        if let Some(seen) = &seen {
            let (known, _) = known.expect("what is there was written and has not expired");
            assert_eq!(**seen, **known);
        }
        match what & 7 {
            0 | 1 => {
                let value = vec![much; usize::from(much) * 17];
                if space.set(&[key], &value, ttl, now).is_ok() {
                    model.insert(key, (value, expires));
                }
            }
            2 => match space.incr(&[key], i64::from(much), ttl, now) {
                Ok(sum) => {
                    let kept = known.filter(|_| seen.is_some()).map(|(_, kept)| *kept);
                    let value = sum.to_string().into_bytes();
                    model.insert(key, (value, kept.unwrap_or(expires)));
                }
                Err(Error::NotAnInteger) => assert!(seen.is_some()),
                Err(error) => assert_eq!(error, Error::Full),
            },
            3 => {
                let got = space.compare_and_set(&[key], seen.as_deref(), &[much], ttl, now);
                if got == Ok(Cas::Swapped) {
                    model.insert(key, (vec![much], expires));
                } else {
                    assert_eq!(got, Err(Error::Full), "the value that was just read is there");
                }
            }
            4 => {
                assert_eq!(space.delete(&[key], now), Ok(seen.is_some()));
                model.remove(&key);
            }
            5 => store.sweep(now),
            _ => {}
        }
        assert!(store.bytes() <= BYTES_MAX);
    }
    drop(spaces);
    store.sweep(origin);
    assert_eq!(store.bytes(), 0);
}
