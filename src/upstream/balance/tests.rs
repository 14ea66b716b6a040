//! Balancing, held against its promises by simulations: print their seed, `ODIN_TEST_SEED` repeats.

use std::cell::RefCell;

use super::*;
use crate::upstream::simulation::Random;

const ALGORITHMS: [Algorithm; 5] = [
    Algorithm::RoundRobin,
    Algorithm::LeastConnections,
    Algorithm::PowerOfTwo,
    Algorithm::Random,
    Algorithm::ConsistentHash { bound_percent: 125 },
];

fn weights(list: &[u32]) -> Weights {
    let named = list.iter().enumerate().map(|(at, weight)| (*weight, hash(&at.to_le_bytes())));
    Weights::new(&named.collect::<Vec<_>>())
}

/// Requests that come and go at endpoints of these weights.
struct World {
    weights: Weights,
    under_way: Vec<usize>,
    latency: Vec<u64>,
    random: RefCell<Random>,
    turn: usize,
}

impl World {
    fn new(list: &[u32], random: Random) -> Self {
        let (under_way, latency) = (vec![0; list.len()], vec![0; list.len()]);
        Self { weights: weights(list), under_way, latency, random: RefCell::new(random), turn: 0 }
    }

    fn pick(
        &mut self,
        algorithm: Algorithm,
        key: u64,
        fits: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        self.turn += 1;
        let by = Pick {
            algorithm,
            turn: self.turn,
            key,
            random: &|| self.random.borrow_mut().next(),
            under_way: &|at| self.under_way[at],
            latency: &|at| self.latency[at],
        };
        self.weights.pick(&by, fits)
    }
}

#[test]
fn turns_follow_weights_and_are_spread_out() {
    assert_eq!(turns(&[1, 1, 1]), [0, 1, 2]);
    assert_eq!(turns(&[3, 1]), [0, 0, 1, 0]);
    assert_eq!(turns(&[10, 10]), [0, 1]);
    assert_eq!(turns(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
    assert!(turns(&[]).is_empty());
}

#[test]
fn whoever_is_picked_fits_and_one_is_picked_as_long_as_one_fits() {
    let mut random = Random::seeded();
    for _ in 0..300 {
        let count = 1 + random.below(200);
        let list: Vec<u32> = (0..count).map(|_| 1 + random.below(9) as u32).collect();
        let fitting: Vec<bool> = (0..count).map(|_| random.below(8) == 0).collect();
        let any = fitting.contains(&true);
        let mut world = World::new(&list, random);
        for algorithm in ALGORITHMS {
            for key in 0..20 {
                let picked = world.pick(algorithm, key, &|at| fitting[at]);
                assert_eq!(picked.is_some(), any, "{algorithm:?}");
                assert!(picked.is_none_or(|at| fitting[at]), "{algorithm:?}");
                if let Some(at) = picked {
                    world.under_way[at] += 1;
                }
            }
            world.under_way.fill(0);
        }
        random = world.random.into_inner();
    }
    for algorithm in ALGORITHMS {
        assert_eq!(World::new(&[], Random::seeded()).pick(algorithm, 0, &|_| true), None);
    }
}

/// How far from what the weights say the load of any endpoint is, as a part of that.
fn error_of_load(algorithm: Algorithm, list: &[u32], random: Random) -> (f64, Random) {
    let mut world = World::new(list, random);
    let sum: u32 = list.iter().sum();
    let requests = 4000 * list.len();
    let mut served = vec![0_usize; list.len()];
    // As many as this are under way at a time; the oldest ends first.
    let mut going = std::collections::VecDeque::new();
    for _ in 0..requests {
        let key = world.random.borrow_mut().next();
        let at = world.pick(algorithm, key, &|_| true).unwrap();
        served[at] += 1;
        world.under_way[at] += 1;
        going.push_back(at);
        if going.len() > 10 * list.len() {
            let at: usize = going.pop_front().unwrap();
            world.under_way[at] -= 1;
        }
    }
    let of = |at: usize| served[at] as f64 * f64::from(sum) / f64::from(list[at]) / requests as f64;
    let error = (0..list.len()).map(|at| (of(at) - 1.0).abs()).fold(0.0, f64::max);
    (error, world.random.into_inner())
}

#[test]
fn load_follows_weights() {
    let mut random = Random::seeded();
    for list in [&[1; 10][..], &[1, 2, 3, 4][..], &[3, 1, 1][..], &[1; 40][..]] {
        for (algorithm, most) in [
            (Algorithm::RoundRobin, 0.01),
            (Algorithm::LeastConnections, 0.05),
            (Algorithm::PowerOfTwo, 0.15),
            (Algorithm::Random, 0.15),
            (Algorithm::ConsistentHash { bound_percent: 0 }, 0.15),
            (Algorithm::ConsistentHash { bound_percent: 125 }, 0.15),
        ] {
            let (error, rest) = error_of_load(algorithm, list, random);
            random = rest;
            assert!(error < most, "{algorithm:?} of {list:?} is off by {error}");
        }
    }
}

#[test]
fn the_turns_of_who_is_missing_are_shared_out_among_all_others() {
    let mut world = World::new(&[1, 1, 1, 2], Random::seeded());
    for missing in 0..4 {
        let mut served = [0_usize; 4];
        for _ in 0..6000 {
            let picked = world.pick(Algorithm::RoundRobin, 0, &|at| at != missing).unwrap();
            served[picked] += 1;
        }
        let list = [1, 1, 1, 2];
        let whole = 5 - list[missing];
        for at in (0..4).filter(|at| *at != missing) {
            let part = 6000 * list[at] / whole;
            assert!(served[at].abs_diff(part) < 60, "{missing} is missing: {served:?}");
        }
    }
}

#[test]
fn no_more_keys_move_than_those_of_who_came_or_went() {
    let random = Random::seeded();
    let list = [1, 2, 1, 3, 1, 1, 2, 1];
    let mut world = World::new(&list, random);
    let hashed = Algorithm::ConsistentHash { bound_percent: 0 };
    const KEYS: u64 = 20_000;
    for gone in 0..list.len() {
        let ideal = f64::from(list[gone]) / f64::from(list.iter().sum::<u32>());
        let mut moved = 0;
        for key in 0..KEYS {
            let key = hash(&key.to_le_bytes());
            let before = world.pick(hashed, key, &|_| true).unwrap();
            let after = world.pick(hashed, key, &|at| at != gone).unwrap();
            assert!(before == after || before == gone, "a key moved between two that stayed");
            moved += usize::from(before != after);
        }
        let share = moved as f64 / KEYS as f64;
        assert!(share <= ideal + 0.02, "{share} of the keys moved, ideal is {ideal}");
    }
}

#[test]
fn a_hot_key_does_not_take_one_endpoint_over_its_bound() {
    let mut world = World::new(&[1; 10], Random::seeded());
    let hashed = Algorithm::ConsistentHash { bound_percent: 125 };
    for request in 0..1000 {
        let at = world.pick(hashed, 42, &|_| true).unwrap();
        world.under_way[at] += 1;
        let most = (request + 1) * 125 / 1000 + 1;
        assert!(world.under_way.iter().all(|&have| have <= most), "{:?}", world.under_way);
    }
}

#[test]
fn who_is_slow_or_busy_gets_less() {
    let mut world = World::new(&[1, 1, 1], Random::seeded());
    world.latency = vec![1000, 10_000, 1000];
    let mut served = [0; 3];
    for _ in 0..3000 {
        served[world.pick(Algorithm::PowerOfTwo, 0, &|_| true).unwrap()] += 1;
    }
    assert!(served[1] < 100, "the slow one is seldom drawn twice: {served:?}");
    world.under_way = vec![5, 0, 5];
    assert_eq!(world.pick(Algorithm::LeastConnections, 0, &|_| true), Some(1));
    world.under_way = vec![0, 0, 0];
    let turns: Vec<_> =
        (0..6).map(|_| world.pick(Algorithm::LeastConnections, 0, &|_| true).unwrap()).collect();
    assert_eq!(turns[..3].iter().collect::<std::collections::HashSet<_>>().len(), 3, "{turns:?}");
}

#[test]
fn hashes_are_the_same_in_every_process() {
    // Written down: who changes them moves every user's keys at the next upgrade.
    assert_eq!(hash(b""), 0xf52a_15e9_a9b5_e89b);
    assert_eq!(hash(b"http://127.0.0.1:9001"), 0x2f63_4488_cd6d_3778);
}
