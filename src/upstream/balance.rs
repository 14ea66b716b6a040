//! Whose turn it is: the order in which a cluster's endpoints are asked. Pure: what is known of the
//! endpoints, the clock's consequences and randomness are arguments.
//!
//! Every algorithm picks among those that `fits` lets pass, by weight:
//! - in turn: smooth weighted round-robin, the richest first (nginx's order);
//! - fewest requests under way for its weight; of equal ones, that whose turn it is;
//! - two at random, the one that is less busy and faster (M. Mitzenmacher, "The Power of Two
//!   Choices in Randomized Load Balancing"; the latency decides as in Finagle's peak EWMA);
//! - at random;
//! - by a key: highest random weight (Thaler, Ravishankar; weighted as by Schindelhauer and
//!   Schomaker), which moves no key but those of endpoints that come or go, and needs no ring to be
//!   kept. With a bound, one that has more than its part of the requests under way is passed over
//!   (Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads").

use crate::limits::TURNS_LOOKED_AHEAD_MAX;

/// `services[].loadBalancing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// In turn, by weight.
    #[default]
    RoundRobin,
    /// The one with the fewest requests under way.
    LeastConnections,
    /// The better of two that are drawn.
    PowerOfTwo,
    /// One that is drawn.
    Random,
    /// The one that the request's key leads to.
    ConsistentHash {
        /// How much more than its part of the requests under way one may have, in percent of that
        /// part (125: a quarter more); 0: any number.
        bound_percent: u32,
    },
}

/// The weights of a cluster's endpoints and one round of their turns.
#[derive(Debug, PartialEq, Eq)]
pub struct Weights {
    /// At least 1 each.
    weights: Vec<u32>,
    /// What names each endpoint, in whatever order and process it stands.
    names: Vec<u64>,
    sum: u64,
    /// One round: an endpoint of weight 3 stands in it three times, spread out.
    turns: Vec<u16>,
}

/// What a pick goes by.
pub struct Pick<'a> {
    /// How.
    pub algorithm: Algorithm,
    /// The turn of the request.
    pub turn: usize,
    /// What its key was hashed to.
    pub key: u64,
    /// Draws a number.
    pub random: &'a dyn Fn() -> u64,
    /// The requests under way at an endpoint.
    pub under_way: &'a dyn Fn(usize) -> usize,
    /// How long its answers take, in microseconds; 0: not known yet.
    pub latency: &'a dyn Fn(usize) -> u64,
}

impl Weights {
    /// Of endpoints: their weights, and the hashes of what names them.
    pub fn new(weighted: &[(u32, u64)]) -> Self {
        let weights: Vec<u32> = weighted.iter().map(|(weight, _)| (*weight).max(1)).collect();
        let names = weighted.iter().map(|(_, name)| *name).collect();
        let sum = weights.iter().map(|&weight| u64::from(weight)).sum();
        let turns = turns(&weights);
        Self { weights, names, sum, turns }
    }

    /// The endpoint of a turn; the turns go round and round.
    pub fn at_turn(&self, turn: usize) -> Option<usize> {
        self.turns.get(turn % self.turns.len().max(1)).map(|&at| usize::from(at))
    }

    /// The endpoint to ask, of those that fit; `None` if none does.
    pub fn pick(&self, by: &Pick<'_>, fits: &dyn Fn(usize) -> bool) -> Option<usize> {
        match by.algorithm {
            Algorithm::RoundRobin => self.in_turn(by, fits),
            Algorithm::LeastConnections => self.least_busy(by, fits),
            Algorithm::PowerOfTwo => self.better_of_two(by, fits),
            Algorithm::Random => self.drawn(by, fits),
            Algorithm::ConsistentHash { bound_percent } => {
                let bound = self.bound(by, bound_percent);
                let has_part = |at: usize| {
                    bound.is_none_or(|(total, percent)| {
                        let part = total * u64::from(self.weights[at]) * percent;
                        // Rounded up: with few requests everyone may have one.
                        (by.under_way)(at) as u64 <= part / (self.sum.max(1) * 100)
                    })
                };
                self.by_key(by.key, &|at| fits(at) && has_part(at))
                    .or_else(|| self.by_key(by.key, fits))
            }
        }
    }

    /// The endpoint of the turn. The turns of those that do not fit go round among the others: the
    /// next one alone would have them all, and twice its share.
    fn in_turn(&self, by: &Pick<'_>, fits: &dyn Fn(usize) -> bool) -> Option<usize> {
        let at = self.at_turn(by.turn)?;
        if fits(at) {
            return Some(at);
        }
        let round = self.turns.len();
        if round > TURNS_LOOKED_AHEAD_MAX {
            return self.drawn(by, fits);
        }
        let fitting: Vec<usize> = (0..self.weights.len()).filter(|&at| fits(at)).collect();
        let others = self.turns.iter().map(|&at| usize::from(at));
        let others: Vec<usize> = others.filter(|at| fitting.contains(at)).collect();
        let at = (by.turn / round).checked_rem(others.len())?;
        others.get(at).copied()
    }

    /// The one with the fewest requests for its weight, from a start that goes round, so that equal
    /// ones take turns.
    fn least_busy(&self, by: &Pick<'_>, fits: &dyn Fn(usize) -> bool) -> Option<usize> {
        let start = self.at_turn(by.turn)?;
        let all = (start..self.weights.len()).chain(0..start);
        let load = |at: usize| {
            // One more than there are: who has none is not as busy as another one that has none.
            let requests = (by.under_way)(at) as u64 + 1;
            (requests << 32) / u64::from(self.weights[at])
        };
        all.filter(|&at| fits(at)).min_by_key(|&at| load(at))
    }

    fn better_of_two(&self, by: &Pick<'_>, fits: &dyn Fn(usize) -> bool) -> Option<usize> {
        let first = self.drawn(by, fits)?;
        // Another one than the first, if there is any.
        let Some(second) = self.drawn(by, &|at| at != first && fits(at)) else {
            return Some(first);
        };
        let (one, other) = ((by.latency)(first), (by.latency)(second));
        // Of which nothing is known yet is taken for as fast as the other: it must be asked once.
        let known = one.max(other).max(1);
        let or_known = |latency: u64| if latency == 0 { known } else { latency };
        let load = |at: usize, latency: u64| {
            let requests = (by.under_way)(at) as u64 + 1;
            (or_known(latency).saturating_mul(requests) << 8) / u64::from(self.weights[at])
        };
        Some(if load(second, other) < load(first, one) { second } else { first })
    }

    /// One by weight. Drawn among all a few times; where few fit, among those.
    fn drawn(&self, by: &Pick<'_>, fits: &dyn Fn(usize) -> bool) -> Option<usize> {
        if self.turns.is_empty() {
            return None;
        }
        const DRAWS: usize = 4;
        for _ in 0..DRAWS {
            // A round has everyone as often as its weight says.
            let at = self.at_turn((by.random)() as usize)?;
            if fits(at) {
                return Some(at);
            }
        }
        let weight = |at: &usize| u64::from(self.weights[*at]);
        let fitting = || (0..self.weights.len()).filter(|&at| fits(at));
        // Whoever fits may depend on chance: what is summed is what is drawn from.
        let fitting: Vec<usize> = fitting().collect();
        let sum: u64 = fitting.iter().map(weight).sum();
        let mut left = (by.random)().checked_rem(sum)?;
        fitting.iter().copied().find(|at| {
            let is_it = left < weight(at);
            left = left.saturating_sub(weight(at));
            is_it
        })
    }

    fn by_key(&self, key: u64, fits: &dyn Fn(usize) -> bool) -> Option<usize> {
        let is_even = self.sum == self.weights.len() as u64;
        let fitting = (0..self.weights.len()).filter(|&at| fits(at));
        let drawn = |at: usize| mix(key ^ mix(self.names[at]));
        if is_even {
            return fitting.max_by_key(|&at| drawn(at));
        }
        let score = |at: usize| score(drawn(at), self.weights[at]);
        fitting.max_by(|&a, &b| score(a).total_cmp(&score(b)))
    }

    /// All requests under way with the one that is picked for, and by how much one may have more
    /// than its part.
    fn bound(&self, by: &Pick<'_>, percent: u32) -> Option<(u64, u64)> {
        let all = || (0..self.weights.len()).map(|at| (by.under_way)(at) as u64).sum::<u64>() + 1;
        (percent > 0).then(|| (all(), u64::from(percent)))
    }
}

/// The weighted score of a drawn number: -weight / ln(number in 0..1).
fn score(drawn: u64, weight: u32) -> f64 {
    // 53 bits: what a double holds exactly. Never 0, whose logarithm is none.
    let part = ((drawn >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(weight) / part.ln()
}

/// Mixes the bits of a number (the finaliser of splitmix64).
pub fn mix(number: u64) -> u64 {
    let mut mixed = number;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A number for some bytes, the same in every process (FNV-1a, mixed): keys and names go to the
/// same endpoint at whichever gateway of several.
pub fn hash(bytes: &[u8]) -> u64 {
    let fold = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// One round of smooth weighted round-robin (nginx's order: in each step every endpoint gains its
/// weight, the richest is taken and pays the sum).
fn turns(weights: &[u32]) -> Vec<u16> {
    let common = weights.iter().fold(0, |sum, &weight| greatest_common_divisor(sum, weight)).max(1);
    let weights: Vec<i64> = weights.iter().map(|&weight| i64::from(weight / common)).collect();
    if weights.iter().all(|&weight| weight == 1) {
        return (0..weights.len()).map(|at| at as u16).collect();
    }
    let sum: i64 = weights.iter().sum();
    let mut credit = vec![0; weights.len()];
    (0..sum)
        .map(|_| {
            for (credit, weight) in credit.iter_mut().zip(&weights) {
                *credit += weight;
            }
            // The first of the richest: max_by_key returns the last, so the order is turned round.
            let richest = (0..credit.len()).rev().max_by_key(|&at| credit[at]).unwrap_or(0);
            credit[richest] -= sum;
            richest as u16
        })
        .collect()
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests;
