//! The tries of one request: which endpoints are asked, in which order, and when to stop. One loop
//! for whatever asks a cluster: exchanges, the calls of aggregations, plugins' `http_call`.
//!
//! The candidates are the endpoints in their weighted turns, each once. Another try is made only
//! where no origin can have acted on the request: without a connection nothing was sent, so any
//! request goes to the next endpoint; an idle connection that the origin had closed meanwhile says
//! nothing of the endpoint, so it is asked again over a fresh one, if the request may be repeated
//! (RFC 9110 section 9.2.2). Each try is admitted before it begins ([`super::admission`]).

use super::cluster::{Endpoint, Endpoints};
use super::targets::Targets;
use crate::error::Error;
use crate::io::deadline::now_ms;
use crate::limits::{TRIES_MAX, TURNS_LOOKED_AHEAD_MAX};

/// One try.
#[derive(Debug, Clone, Copy)]
pub struct Try<'e> {
    /// Who is asked.
    pub endpoint: &'e Endpoint,
    /// Counts the tries of the request from 1.
    pub number: usize,
    /// No idle connection is to be used.
    pub is_fresh: bool,
}

/// How a try failed.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    /// Why.
    pub error: Error,
    /// Whether the request may be sent twice and can be: it is idempotent, whole in memory, and
    /// nothing of a response has gone to the client.
    pub is_repeatable: bool,
}

/// Tries until one succeeds or no other is allowed. No other begins after `expires_ms`.
pub async fn run<'e, T>(
    endpoints: &'e Endpoints,
    targets: &'e Targets,
    expires_ms: u64,
    mut attempt: impl AsyncFnMut(Try<'e>) -> Result<T, Failure>,
) -> Result<T, Error> {
    let mut tries = Tries::new(endpoints, targets);
    let mut next = tries.first().ok_or(Error::NoEndpoint)?;
    loop {
        let (target, caps) = (next.endpoint.target, endpoints.caps());
        let permit = match targets.admission().enter(target, caps) {
            Some(permit) => permit,
            // Boxed: a request that need not wait has no use for the memory.
            None => Box::pin(targets.admission().wait(target, caps, expires_ms)).await?,
        };
        let outcome = attempt(next).await;
        drop(permit);
        let failure = match outcome {
            Ok(outcome) => return Ok(outcome),
            Err(failure) => failure,
        };
        if now_ms() >= expires_ms {
            return Err(failure.error);
        }
        next = tries.after(next, failure).ok_or(failure.error)?;
    }
}

/// The candidates of one request, and which of them it has met.
struct Tries<'e> {
    endpoints: &'e Endpoints,
    targets: &'e Targets,
    /// The turn to look at next, and how many are left to look at.
    turn: usize,
    left: usize,
    /// The targets that were asked; as many as `asked` says.
    met: [usize; TRIES_MAX],
    asked: usize,
}

impl<'e> Tries<'e> {
    fn new(endpoints: &'e Endpoints, targets: &'e Targets) -> Self {
        let (turn, left) = (targets.turn(endpoints.id()), endpoints.round());
        Self { endpoints, targets, turn, left, met: [0; TRIES_MAX], asked: 0 }
    }

    fn first(&mut self) -> Option<Try<'e>> {
        let endpoint = self.unmet()?;
        Some(Try { endpoint, number: 1, is_fresh: false })
    }

    fn after(&mut self, last: Try<'e>, failure: Failure) -> Option<Try<'e>> {
        let number = last.number + 1;
        match failure.error {
            error if error.is_unsent() => {
                let endpoint = self.unmet()?;
                Some(Try { endpoint, number, is_fresh: last.is_fresh })
            }
            // Once: a connection that is fresh cannot be stale.
            Error::UpstreamStale if failure.is_repeatable && !last.is_fresh => {
                Some(Try { endpoint: last.endpoint, number, is_fresh: true })
            }
            _ => None,
        }
    }

    /// The next endpoint whose target this request has not met: one that has room, if one does.
    fn unmet(&mut self) -> Option<&'e Endpoint> {
        if self.asked == TRIES_MAX {
            return None;
        }
        let mut next = self.at(0)?;
        while self.has_met(next) {
            self.turn = self.turn.wrapping_add(1);
            self.left -= 1;
            next = self.at(0)?;
        }
        if self.left > 1 && !self.has_room(next) {
            let looks = 1..self.left.min(TURNS_LOOKED_AHEAD_MAX);
            let mut others = looks.filter_map(|ahead| self.at(ahead));
            next = others.find(|one| !self.has_met(one) && self.has_room(one)).unwrap_or(next);
        }
        self.met[self.asked] = next.target;
        self.asked += 1;
        Some(next)
    }

    /// The endpoint of a turn that is left.
    fn at(&self, ahead: usize) -> Option<&'e Endpoint> {
        let turn = self.turn.wrapping_add(ahead);
        if ahead < self.left { self.endpoints.at(turn) } else { None }
    }

    fn has_met(&self, endpoint: &Endpoint) -> bool {
        self.met[..self.asked].contains(&endpoint.target)
    }

    fn has_room(&self, endpoint: &Endpoint) -> bool {
        self.targets.admission().has_room(endpoint.target, self.endpoints.caps())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::upstream::admission::Caps;
    use crate::upstream::cluster::Address;

    /// Numbers that a seed decides (splitmix64).
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((mixed ^ (mixed >> 31)) % bound as u64) as usize
        }
    }

    fn cluster(weights: &[u32]) -> Endpoints {
        let endpoint = |target| Endpoint {
            id: target,
            target,
            address: Address::Tcp(Vec::new()),
            authority: String::new(),
        };
        let weighted = weights.iter().enumerate();
        Endpoints::new(0, weighted.map(|(at, weight)| (endpoint(at), *weight)).collect())
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Kind {
        Alive,
        /// Refuses, swallows, has a wrong certificate.
        Unreachable(Error),
        /// Was restarted: each idle connection to it is closed.
        Restarted,
        /// Accepts and closes.
        Closing,
    }

    fn outcome(kind: Kind, is_fresh: bool) -> Result<(), Error> {
        match kind {
            Kind::Alive => Ok(()),
            Kind::Unreachable(error) => Err(error),
            Kind::Restarted if is_fresh => Ok(()),
            Kind::Restarted => Err(Error::UpstreamStale),
            Kind::Closing => Err(Error::UpstreamGone),
        }
    }

    /// Serves one request; whom it asked, in order, and how it ended.
    fn serve(
        endpoints: &Endpoints,
        kinds: &[Kind],
        turn: usize,
        is_repeatable: bool,
    ) -> (Vec<(usize, bool)>, Result<(), Error>) {
        let targets = Targets::starting_at(turn);
        let mut tries = Tries::new(endpoints, &targets);
        let mut asked = Vec::new();
        let mut next = tries.first().unwrap();
        loop {
            assert_eq!(next.number, asked.len() + 1);
            asked.push((next.endpoint.target, next.is_fresh));
            let ended = outcome(kinds[next.endpoint.target], next.is_fresh);
            let Err(error) = ended else { return (asked, ended) };
            match tries.after(next, Failure { error, is_repeatable }) {
                Some(another) => next = another,
                None => return (asked, ended),
            }
        }
    }

    fn some_kind(random: &mut Random) -> Kind {
        match random.below(6) {
            0 => Kind::Unreachable(Error::ConnectFailed),
            1 => Kind::Unreachable(Error::ConnectTimeout),
            2 => Kind::Unreachable(Error::TlsFailed("")),
            3 => Kind::Restarted,
            4 => Kind::Closing,
            _ => Kind::Alive,
        }
    }

    #[test]
    #[expect(clippy::print_stdout, reason = "who sees it fail needs the seed")]
    fn no_request_meets_an_endpoint_twice_and_none_is_lost_while_one_is_there() {
        let seed = getrandom::u64().unwrap();
        println!("seed: {seed}");
        let mut random = Random(seed);
        for _ in 0..20_000 {
            let count = 1 + random.below(TRIES_MAX);
            let weights: Vec<u32> = (0..count).map(|_| 1 + random.below(5) as u32).collect();
            let kinds: Vec<Kind> = (0..count).map(|_| some_kind(&mut random)).collect();
            let (turn, is_repeatable) = (random.below(1 << 40), random.below(2) == 0);
            let (asked, ended) = serve(&cluster(&weights), &kinds, turn, is_repeatable);
            let connected: HashSet<_> = asked.iter().collect();
            assert_eq!(connected.len(), asked.len(), "the same was tried twice: {asked:?}");
            for pair in asked.windows(2) {
                match kinds[pair[0].0] {
                    Kind::Unreachable(_) => assert_ne!(pair[0].0, pair[1].0),
                    Kind::Restarted => {
                        assert!(is_repeatable, "what may not be repeated was");
                        assert_eq!(pair[1], (pair[0].0, true));
                    }
                    _ => panic!("nothing comes after {asked:?}"),
                }
            }
            let all_unreachable = kinds.iter().all(|kind| matches!(kind, Kind::Unreachable(_)));
            match ended.map_err(Error::is_unsent) {
                Err(true) => {
                    assert!(all_unreachable, "given up with one left: {asked:?}");
                    assert_eq!(asked.len(), count);
                }
                Err(false) | Ok(()) => assert!(!all_unreachable),
            }
        }
    }

    #[test]
    fn a_cluster_that_is_down_is_not_tried_to_its_end() {
        let kinds = [Kind::Unreachable(Error::ConnectFailed); TRIES_MAX + 4];
        let (asked, ended) = serve(&cluster(&[1; TRIES_MAX + 4]), &kinds, 7, true);
        assert_eq!((asked.len(), ended), (TRIES_MAX, Err(Error::ConnectFailed)));
    }

    #[test]
    fn a_target_that_is_full_is_passed_over_while_another_has_room() {
        let caps = Caps { connections: 1, ..Caps::default() };
        let endpoints = cluster(&[2, 1, 1]).with_caps(caps);
        let targets = Targets::default();
        let first = || Tries::new(&endpoints, &targets).first().unwrap().endpoint.target;
        let mut held = Vec::new();
        let mut met = HashSet::new();
        for _ in 0..3 {
            let target = first();
            met.insert(target);
            held.push(targets.admission().enter(target, &caps).unwrap());
        }
        assert_eq!(met.len(), 3, "each has one");
        // When all are full it is the turn that decides who is waited for.
        let _turn: usize = first();
    }

    #[test]
    fn the_same_target_twice_in_a_list_is_one_candidate() {
        let mut twice = cluster(&[1, 1, 2]);
        twice.make_same_target(0, 1);
        let kinds = [Kind::Unreachable(Error::ConnectFailed); 3];
        assert_eq!(serve(&twice, &kinds, 0, true).0.len(), 2);
    }
}
