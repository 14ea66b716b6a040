//! The tries of one request: which endpoints are asked, in which order, and when to stop. One loop
//! for whatever asks a cluster: exchanges, the calls of aggregations, plugins' `http_call`.
//!
//! The candidates are the endpoints in the order of the service's algorithm, each once: first those
//! that are well and have room, then those that are well, and those that are sick only where no
//! other is left. Of an ejected one whose time is over, one request finds out whether it is back.
//!
//! Without a connection nothing was sent, so any request goes to the next endpoint; an idle
//! connection that the origin had closed meanwhile says nothing of the endpoint, so it is asked
//! again over a fresh one, if the request may be repeated (RFC 9110 section 9.2.2). Where an origin
//! may have acted on the request, another try is made only as the service's `retry` says. What goes
//! beyond asking one that is well is paid for by the service's budget. Each try is admitted before
//! it begins ([`super::admission`]), and what it says of its target is noted.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::balance::{Algorithm, Pick, mix};
use super::cluster::{Endpoint, Endpoints};
use super::condition::Fitness;
use super::ejection::Sign;
use super::targets::Targets;
use crate::error::Error;
use crate::http::message::Method;
use crate::io::deadline::now_ms;
use crate::io::sleep;
use crate::limits::{LATENCY_SAMPLE, REFUSED_TRIES_MAX, TRIAL_PATIENCE, TRIES_MAX};

/// One try.
#[derive(Debug, Clone, Copy)]
pub struct Try<'e> {
    /// Who is asked.
    pub endpoint: &'e Endpoint,
    /// Counts the tries of the request from 1.
    pub number: usize,
    /// No idle connection is to be used.
    pub is_fresh: bool,
    /// Another one may follow although this one was sent.
    has_next: bool,
    /// The target is sick: what becomes of this says whether it still is.
    is_trial: bool,
    /// When it began, if it is timed.
    began: Option<Instant>,
    endpoints: &'e Endpoints,
    targets: &'e Targets,
    /// Where it is noted that the head of the response was a good one.
    is_good: Option<&'e Cell<bool>>,
}

/// How a try failed.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    /// Why.
    pub error: Error,
    /// Whether the request may be sent twice and can be: it is idempotent, whole in memory, and
    /// nothing of a response has gone to the client.
    pub is_repeatable: bool,
    /// Whether it can be, whatever its method: none of it is lost, and nothing of a response has
    /// gone to the client. That is enough where an origin says that it has not looked at it.
    pub is_whole: bool,
}

/// What a request is, for the choice of its endpoints.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'e> {
    /// Its method.
    pub method: &'e Method,
    /// What leads it to its endpoint, where the service goes by a key.
    pub key: Option<u64>,
    /// The id of the endpoint that is asked first, unless it is drained or not there.
    pub first: Option<usize>,
}

impl Try<'_> {
    /// How long the try may take to the head of its response, if it is to be cut short so that
    /// another one can follow. Only for a request that may be sent twice.
    pub fn bound(&self) -> Option<Duration> {
        if !self.has_next {
            return None;
        }
        self.endpoints.policy().retry.as_ref()?.per_try
    }

    /// Whether a response is not taken: another endpoint is asked instead. Only for a request that
    /// may be sent twice.
    pub fn passes_over(&self, status: u16) -> bool {
        let retry = self.endpoints.policy().retry.as_ref();
        self.has_next && retry.is_some_and(|retry| retry.is_on(Error::Unavailable(status)))
    }

    /// The head of the response has come: what it says of the target is noted.
    pub fn answered(&self, status: u16) {
        let sign = Sign::of_status(status);
        if let Some(began) = self.began {
            let admission = self.targets.admission();
            admission.note_latency(self.endpoint.target, began.elapsed(), now_ms());
        }
        if sign != Sign::Good {
            return self.note(sign);
        }
        // It counts when the rest has come too.
        if let Some(is_good) = self.is_good {
            is_good.set(true);
        }
        if self.is_trial {
            self.endpoint.condition.note_answer();
        }
    }
}

impl Try<'_> {
    /// The answer was a good one, to its end.
    fn ended_well(&self) {
        self.targets.admission().note_good(self.endpoint.target);
        if self.is_trial {
            let slow_start = self.endpoints.policy().slow_start;
            self.endpoint.condition.readmit(now_ms(), slow_start);
        }
    }

    /// What it says of the target that it was not a try like any other.
    #[cold]
    fn note(&self, sign: Sign) {
        match self.is_trial {
            true => self.targets.note_trial(self.endpoints, self.endpoint, sign),
            false => self.targets.note(self.endpoints, self.endpoint, sign),
        }
    }
}

/// Tries until one succeeds or no other is allowed. No other begins after `expires_ms`.
pub async fn run<'e, T>(
    endpoints: &'e Endpoints,
    targets: &'e Targets,
    ask: Ask<'e>,
    expires_ms: u64,
    mut attempt: impl AsyncFnMut(Try<'_>) -> Result<T, Failure>,
) -> Result<T, Error> {
    let mut tries = Tries::new(endpoints, targets, ask);
    let mut next = tries.first().ok_or(Error::NoEndpoint)?;
    loop {
        let (target, caps) = (next.endpoint.target, &endpoints.policy().caps);
        let permit = match targets.admission().enter(target, caps) {
            Some(permit) => permit,
            // Boxed: a request that need not wait has no use for the memory.
            None => Box::pin(targets.admission().wait(target, caps, expires_ms)).await?,
        };
        let is_good = Cell::new(false);
        let outcome = attempt(Try { is_good: Some(&is_good), ..next }).await;
        drop(permit);
        let failure = match outcome {
            Ok(outcome) => {
                if is_good.get() {
                    next.ended_well();
                }
                return Ok(outcome);
            }
            Err(failure) => failure,
        };
        next.note(Sign::of_error(failure.error));
        if now_ms() >= expires_ms {
            return Err(failure.error);
        }
        next = tries.after(next, failure).ok_or(failure.error)?;
        let delay = tries.delay(failure.error);
        if !delay.is_zero() {
            sleep(delay).await;
        }
    }
}

/// The candidates of one request, and which of them it has met.
struct Tries<'e> {
    endpoints: &'e Endpoints,
    targets: &'e Targets,
    ask: Ask<'e>,
    turn: usize,
    /// The targets that were asked; as many as `asked` says.
    met: [usize; TRIES_MAX],
    asked: usize,
    /// Tries that were sent, or may have been.
    sent: usize,
    /// Tries that an origin has refused unseen.
    refused: usize,
}

/// How good a candidate must be, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demand {
    /// Well, and with room for a request.
    Room,
    /// Well, or warming: who has no room is waited for.
    Well,
    /// Not drained.
    Any,
}

impl<'e> Tries<'e> {
    fn new(endpoints: &'e Endpoints, targets: &'e Targets, ask: Ask<'e>) -> Self {
        let turn = targets.turn(endpoints.id());
        let (met, asked, sent, refused) = ([0; TRIES_MAX], 0, 0, 0);
        Self { endpoints, targets, ask, turn, met, asked, sent, refused }
    }

    fn first(&mut self) -> Option<Try<'e>> {
        let policy = self.endpoints.policy();
        let (endpoint, is_trial) = match policy.algorithm {
            _ if self.ask.first.is_some() => self.wanted().or_else(|| self.unmet())?,
            Algorithm::RoundRobin => self.in_turn().or_else(|| self.unmet())?,
            _ => self.unmet()?,
        };
        if let Some(retry) = &policy.retry {
            let percent = retry.budget_percent;
            self.targets.with_budget(self.endpoints.id(), |budget| budget.earn(percent));
        }
        Some(self.next(endpoint, 1, false, is_trial))
    }

    /// The endpoint that somebody has chosen.
    #[cold]
    fn wanted(&mut self) -> Option<(&'e Endpoint, bool)> {
        let endpoint = self.endpoints.iter().find(|one| Some(one.id) == self.ask.first)?;
        if endpoint.condition.fitness(now_ms()) == Fitness::Drained {
            return None;
        }
        self.met[0] = endpoint.target;
        self.asked = 1;
        Some((endpoint, !endpoint.condition.is_plain()))
    }

    /// The endpoint whose turn it is, if there is nothing to think about.
    fn in_turn(&mut self) -> Option<(&'e Endpoint, bool)> {
        let endpoint = self.endpoints.get(self.endpoints.weights().at_turn(self.turn)?)?;
        if !endpoint.condition.is_plain() || endpoint.rank.tier > 0 || !self.has_room(endpoint) {
            return None;
        }
        self.met[0] = endpoint.target;
        self.asked = 1;
        Some((endpoint, false))
    }

    fn next(
        &mut self,
        endpoint: &'e Endpoint,
        number: usize,
        is_fresh: bool,
        is_trial: bool,
    ) -> Try<'e> {
        let policy = self.endpoints.policy();
        let is_timed =
            policy.algorithm == Algorithm::PowerOfTwo || self.turn.is_multiple_of(LATENCY_SAMPLE);
        Try {
            endpoint,
            number,
            is_fresh,
            has_next: policy.retry.is_some() && self.has_next(),
            is_trial,
            began: is_timed.then(Instant::now),
            endpoints: self.endpoints,
            targets: self.targets,
            is_good: None,
        }
    }

    /// Whether the try that begins may be followed by another one although it was sent.
    fn has_next(&self) -> bool {
        let retry = self.endpoints.policy().retry.as_ref();
        retry.is_some_and(|retry| {
            self.sent + 1 < retry.tries && retry.methods.contains(self.ask.method)
        }) && self.asked < TRIES_MAX
            && self.endpoints.iter().any(|one| {
                !self.has_met(one) && one.condition.fitness(now_ms()) != Fitness::Drained
            })
            && self.may_spend(false)
    }

    /// Whether the budget has another try, which is taken from it if `spends`.
    fn may_spend(&self, spends: bool) -> bool {
        let now = now_ms();
        let see = |budget: &mut super::budget::Budget| match spends {
            true => budget.spend(now),
            false => budget.has_one(now),
        };
        self.targets.with_budget(self.endpoints.id(), see).unwrap_or(false)
    }

    fn after(&mut self, last: Try<'e>, failure: Failure) -> Option<Try<'e>> {
        let number = last.number + 1;
        match failure.error {
            error if error.is_unsent() => {
                let (endpoint, is_trial) = self.unmet()?;
                // Who is well is found out about once. To ask those in vain that are known to be
                // sick, for each request, would make a dead service's load many times its requests.
                let is_sick = !endpoint.condition.fitness(now_ms()).is_well();
                if is_sick && !self.may_spend(true) {
                    return None;
                }
                Some(self.next(endpoint, number, last.is_fresh, is_trial))
            }
            // Once: a connection that is fresh cannot be stale.
            Error::UpstreamStale if failure.is_repeatable && !last.is_fresh => {
                Some(Try { number, is_fresh: true, ..last })
            }
            // By another connection of the same endpoint, which one that is restarted has; then by
            // another endpoint.
            Error::UpstreamRefused if failure.is_whole && self.refused < REFUSED_TRIES_MAX => {
                self.refused += 1;
                let other = if self.refused > 1 { self.unmet() } else { None };
                match other {
                    Some((endpoint, is_trial)) => {
                        Some(self.next(endpoint, number, last.is_fresh, is_trial))
                    }
                    None => Some(Try { number, ..last }),
                }
            }
            error => {
                let retry = self.endpoints.policy().retry.as_ref()?;
                let may_follow = failure.is_repeatable && last.has_next && retry.is_on(error);
                if !may_follow || !self.may_spend(true) {
                    return None;
                }
                self.sent += 1;
                let (endpoint, is_trial) = self.unmet()?;
                Some(self.next(endpoint, number, last.is_fresh, is_trial))
            }
        }
    }

    /// How long the next try waits.
    fn delay(&self, error: Error) -> Duration {
        let retry = self.endpoints.policy().retry.as_ref();
        let is_unseen = matches!(error, Error::UpstreamStale | Error::UpstreamRefused);
        let waits = !error.is_unsent() && !is_unseen;
        retry.filter(|_| waits).map_or(Duration::ZERO, |retry| retry.delay)
    }

    /// The best endpoint whose target this request has not met, and whether that is known to be
    /// sick.
    #[cold]
    fn unmet(&mut self) -> Option<(&'e Endpoint, bool)> {
        if self.asked == TRIES_MAX {
            return None;
        }
        let now_ms = now_ms();
        let picked = self.due(now_ms).or_else(|| self.best(now_ms))?;
        let endpoint = self.endpoints.get(picked)?;
        self.met[self.asked] = endpoint.target;
        self.asked += 1;
        // Of a healthy one nothing is to be found out.
        Some((endpoint, !endpoint.condition.is_plain()))
    }

    /// One that this request is to try: its ejection is over, and no other request does so. Those
    /// that may not be repeated leave it to the others for a while: they would be lost with it.
    fn due(&self, now_ms: u64) -> Option<usize> {
        let patience = match self.ask.method.is_idempotent() {
            true => Duration::ZERO,
            false => TRIAL_PATIENCE,
        };
        let then_ms = now_ms.saturating_sub(patience.as_millis() as u64);
        let tier = self.tier(now_ms);
        self.endpoints.iter().position(|one| {
            !one.condition.is_plain()
                && one.rank.tier <= tier
                && one.condition.fitness(now_ms) == Fitness::DueForTrial
                && (one.condition.is_due_since(then_ms) || one.condition.takes_none())
                && !self.has_met(one)
                && one.condition.take_trial(now_ms, self.endpoints.policy().slow_start)
        })
    }

    /// The best one: of the first tier that has any that is well, else of the first tier at all.
    fn best(&self, now_ms: u64) -> Option<usize> {
        let tiers = || 0..=self.endpoints.last_tier();
        let well = tiers().find_map(|tier| {
            let pick = |demand| self.pick(demand, tier, now_ms);
            pick(Demand::Room).or_else(|| pick(Demand::Well))
        });
        well.or_else(|| tiers().find_map(|tier| self.pick(Demand::Any, tier, now_ms)))
    }

    /// The tier that requests go to: none of those before it has one that is well.
    fn tier(&self, now_ms: u64) -> u8 {
        if self.endpoints.last_tier() == 0 {
            return 0;
        }
        let well = self.endpoints.iter().filter(|one| one.condition.fitness(now_ms).is_well());
        well.map(|one| one.rank.tier).min().unwrap_or_else(|| self.endpoints.last_tier())
    }

    fn pick(&self, demand: Demand, tier: u8, now_ms: u64) -> Option<usize> {
        let admission = self.targets.admission();
        let target = |at: usize| self.endpoints.get(at).map_or(usize::MAX, |one| one.target);
        // Without a key any endpoint will do.
        let key = self.ask.key.unwrap_or_else(|| self.targets.random());
        let by = Pick {
            algorithm: self.endpoints.policy().algorithm,
            turn: self.turn,
            key,
            random: &|| self.targets.random(),
            under_way: &|at| admission.under_way(target(at)),
            latency: &|at| admission.latency(target(at), now_ms),
        };
        let fits = |at: usize| {
            self.endpoints.get(at).is_some_and(|one| {
                one.rank.tier == tier
                    && !self.has_met(one)
                    && match (one.condition.fitness(now_ms), demand) {
                        (Fitness::Drained, _) => false,
                        (_, Demand::Any) => true,
                        (Fitness::Well, Demand::Well) => true,
                        (Fitness::Well, Demand::Room) => self.has_room(one),
                        (Fitness::Warming(_), Demand::Well) => true,
                        (Fitness::Warming(share), Demand::Room) => {
                            self.is_within(share, key, at) && self.has_room(one)
                        }
                        (Fitness::DueForTrial | Fitness::Sick, _) => false,
                    }
            })
        };
        self.endpoints.weights().pick(&by, &fits)
    }

    /// Whether this request is among those of a share. Those of one key always are, or never.
    fn is_within(&self, share: u32, key: u64, at: usize) -> bool {
        let drawn = match self.endpoints.policy().algorithm {
            Algorithm::ConsistentHash { .. } => mix(key ^ mix(at as u64)),
            _ => self.targets.random(),
        };
        drawn % u64::from(Fitness::WHOLE) < u64::from(share)
    }

    fn has_met(&self, endpoint: &Endpoint) -> bool {
        self.met[..self.asked].contains(&endpoint.target)
    }

    fn has_room(&self, endpoint: &Endpoint) -> bool {
        self.targets.admission().has_room(endpoint.target, &self.endpoints.policy().caps)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use super::*;
    use crate::upstream::admission::Caps;
    use crate::upstream::cluster::Address;
    use crate::upstream::policy::Policy;
    use crate::upstream::simulation::Random;

    const ASK: Ask<'static> = Ask { method: &Method::Get, key: None, first: None };

    fn cluster(weights: &[u32]) -> Endpoints {
        let endpoint = |target| Endpoint {
            id: target,
            target,
            address: Address::Tcp(Vec::new()),
            authority: String::new(),
            url: target.to_string(),
            condition: Arc::default(),
            rank: crate::upstream::cluster::Rank::default(),
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
        let mut tries = Tries::new(endpoints, &targets, ASK);
        let mut asked = Vec::new();
        let mut next = tries.first().unwrap();
        loop {
            assert_eq!(next.number, asked.len() + 1);
            asked.push((next.endpoint.target, next.is_fresh));
            let ended = outcome(kinds[next.endpoint.target], next.is_fresh);
            let Err(error) = ended else { return (asked, ended) };
            let failure = Failure { error, is_repeatable, is_whole: true };
            match tries.after(next, failure) {
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
    fn no_request_meets_an_endpoint_twice_and_none_is_lost_while_one_is_there() {
        let mut random = Random::seeded();
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
        let endpoints = cluster(&[2, 1, 1]).with_policy(Policy { caps, ..Policy::default() });
        let targets = Targets::default();
        let first = || Tries::new(&endpoints, &targets, ASK).first().unwrap().endpoint.target;
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
    fn a_later_tier_is_asked_where_no_earlier_one_is_well() {
        let mut endpoints = cluster(&[1, 1, 5]);
        endpoints.put_into_tier(2, 1);
        let targets = Targets::default();
        let asked = || Tries::new(&endpoints, &targets, ASK).first().unwrap().endpoint.target;
        assert_eq!((0..30).map(|_| asked()).collect::<HashSet<_>>(), HashSet::from([0, 1]));
        let set = |at: usize, is_well| {
            let condition = &endpoints.get(at).unwrap().condition;
            condition.set_health(1, is_well, Duration::ZERO);
        };
        set(0, false);
        assert_eq!((0..30).map(|_| asked()).collect::<HashSet<_>>(), HashSet::from([1]));
        set(1, false);
        assert_eq!((0..30).map(|_| asked()).collect::<HashSet<_>>(), HashSet::from([2]));
        set(2, false);
        assert_eq!(
            (0..30).map(|_| asked()).collect::<HashSet<_>>(),
            HashSet::from([0, 1]),
            "all are sick"
        );
    }

    #[test]
    fn the_same_target_twice_in_a_list_is_one_candidate() {
        let mut twice = cluster(&[1, 1, 2]);
        twice.make_same_target(0, 1);
        let kinds = [Kind::Unreachable(Error::ConnectFailed); 3];
        assert_eq!(serve(&twice, &kinds, 0, true).0.len(), 2);
    }
}
