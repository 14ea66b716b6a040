//! The fuzz targets over their seeds and a few hundred variations of them, always the same ones: so
//! that the targets hold, and are built, on every run of the tests. `make fuzz` searches.
#![expect(unreachable_pub, reason = "nothing of this crate is public: `pub` is for its modules")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test reads its seeds and says which of them failed"
)]

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::path::Path;
use targets::TARGETS;

/// Variations of each seed.
const VARIATIONS: usize = 400;

/// The seeds of a target, in the order of their names.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{dir:?}: {error}"));
    let mut seeds: Vec<_> = entries
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect();
    seeds.sort();
    seeds
}

/// xorshift64: the same variations on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

/// What parsers stumble over.
const NASTY: &[u8] = b"\r\n\0\xff{}[]\",:%/.";

/// A few cuts, flips, repeats and splices.
fn vary(seed: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 if at < bytes.len() => bytes[at] = random.below(256) as u8,
            3 if at < bytes.len() => drop(bytes.remove(at)),
            4 => bytes.insert(at, NASTY[random.below(NASTY.len())]),
            _ => {
                let from = random.below(other.len());
                let piece = &other[from..other.len().min(from + random.below(24))];
                bytes.splice(at..at, piece.iter().copied());
            }
        }
    }
    bytes
}

fn replay(name: &str) {
    let (_, run) = TARGETS.iter().find(|(target, _)| *target == name).unwrap();
    let seeds = seeds(name);
    assert!(!seeds.is_empty(), "no seeds of {name}");
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for (index, (seed, bytes)) in seeds.iter().enumerate() {
        run(bytes);
        let (_, other) = &seeds[(index + 1) % seeds.len()];
        for number in 0..VARIATIONS {
            let varied = vary(bytes, other, &mut random);
            let told = Told { target: name, seed, number, bytes: &varied };
            run(&varied);
            std::mem::forget(told);
        }
    }
}

/// Says which input a panic belongs to.
struct Told<'a> {
    target: &'a str,
    seed: &'a str,
    number: usize,
    bytes: &'a [u8],
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        let Self { target, seed, number, bytes } = self;
        eprintln!("{target}: variation {number} of {seed}: \"{}\"", bytes.escape_ascii());
    }
}

macro_rules! replays {
    ($($target:ident),*) => {
        $(#[test]
        fn $target() {
            replay(stringify!($target));
        })*

        #[test]
        fn every_target_is_replayed() {
            let replayed = [$(stringify!($target)),*];
            assert!(TARGETS.iter().all(|(name, _)| replayed.contains(name)));
            assert_eq!(replayed.len(), TARGETS.len());
        }
    };
}

replays!(
    aggregation,
    config,
    fleet_document,
    host_functions,
    http1_body,
    http1_head,
    http2_frames,
    http2_to_http1,
    kv_ops,
    plugin_output,
    proxy_header,
    resp_reply
);
