//! What a whole process knows of one target: whether it is to be sent requests, why not, since
//! when.
//!
//! Shared by all workers and the control thread, by atomics alone; it belongs to the target and
//! outlives snapshots. Where nothing is in a target's way, a pick costs one load of `word`. What is
//! told for people (reason, since when, how often) may be a moment behind it: nothing is decided by
//! it. The clock is an argument.
//!
//! A target that was ejected comes back by a trial: when its time is over, one request (of all
//! workers together) is let through; the others wait for what becomes of it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::{EJECTION_DOUBLINGS_MAX, EJECTION_MAX, TRIAL_TIME};

/// An operator wants it to be sent nothing.
const DRAINED: u32 = 1;
/// Active checks have found it sick.
const UNHEALTHY: u32 = 1 << 1;
/// Its answers, or that it gave none, have had it ejected.
const EJECTED: u32 = 1 << 2;
/// A request is on its way to find out whether it is well again.
const TRIED: u32 = 1 << 3;
/// It is back, or new, and gets its share little by little.
const WARMING: u32 = 1 << 4;
/// The head of that request's answer was a good one; the rest is on its way.
const ANSWERS: u32 = 1 << 5;

/// Why a target is not sent requests, or was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Nothing was ever wrong.
    None,
    /// It takes no connections: refused, unreachable, without TLS.
    ConnectFailed,
    /// Its connections were not made in time.
    ConnectTimeout,
    /// It failed so many requests one after the other.
    ConsecutiveErrors,
    /// It failed too large a part of its requests.
    ErrorRate,
    /// Active checks fail.
    CheckFailed,
    /// An operator has said so.
    Drained,
}

impl Reason {
    const ALL: [Self; 7] = [
        Self::None,
        Self::ConnectFailed,
        Self::ConnectTimeout,
        Self::ConsecutiveErrors,
        Self::ErrorRate,
        Self::CheckFailed,
        Self::Drained,
    ];

    /// The label: logs, status, metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ConnectFailed => "connect_failed",
            Self::ConnectTimeout => "connect_timeout",
            Self::ConsecutiveErrors => "consecutive_errors",
            Self::ErrorRate => "error_rate",
            Self::CheckFailed => "check_failed",
            Self::Drained => "drained",
        }
    }

    /// Whether it says that no connection could be made: who finds out that one can, knows better.
    pub const fn is_unsent(self) -> bool {
        matches!(self, Self::ConnectFailed | Self::ConnectTimeout)
    }

    fn of(number: u32) -> Self {
        Self::ALL.get(number as usize).copied().unwrap_or(Self::None)
    }
}

/// How a target stands, at a glance: the worst of all that is in its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is sent its share.
    Healthy,
    /// It is sent a growing part of its share.
    Warming,
    /// It is sent nothing until its ejection ends.
    Ejected,
    /// Active checks fail.
    Unhealthy,
    /// An operator wants it to be sent nothing.
    Drained,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Healthy, Self::Warming, Self::Ejected, Self::Unhealthy, Self::Drained];

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Warming => "warming",
            Self::Ejected => "ejected",
            Self::Unhealthy => "unhealthy",
            Self::Drained => "drained",
        }
    }

    /// Whether it is sent requests.
    pub const fn is_well(self) -> bool {
        matches!(self, Self::Healthy | Self::Warming)
    }
}

/// What a pick may do with a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fitness {
    /// It is to have its share.
    Well,
    /// It is to have so much of its share, in parts of [`Fitness::WHOLE`].
    Warming(u32),
    /// Its ejection is over: [`Condition::take_trial`] may let one request through.
    DueForTrial,
    /// It is sent something only where all are like this.
    Sick,
    /// It is sent nothing.
    Drained,
}

impl Fitness {
    /// A whole share.
    pub const WHOLE: u32 = 1 << 16;

    /// Whether it is sent requests.
    pub const fn is_well(self) -> bool {
        matches!(self, Self::Well | Self::Warming(_))
    }
}

/// See the module's text. Times are of `deadline::now_ms`.
#[derive(Debug, Default)]
pub struct Condition {
    word: AtomicU32,
    /// Ejections one after the other: each is longer than the one before.
    streak: AtomicU32,
    /// Of the last change, in [`Reason::ALL`].
    reason: AtomicU32,
    ejected_until_ms: AtomicU64,
    /// When the last ejection began, and how long it was to be.
    ejected_at_ms: AtomicU64,
    ejected_for_ms: AtomicU64,
    warming_since_ms: AtomicU64,
    warming_for_ms: AtomicU64,
    changed_at_ms: AtomicU64,
    ejections: AtomicU64,
}

/// There is one for a target: it is no other's.
impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Condition {}

/// What is told of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// How it stands.
    pub standing: Standing,
    /// Why, or why it last did not stand well.
    pub reason: Reason,
    /// When that began, by the clock of `deadline::now_ms`; 0: it never changed.
    pub since_ms: u64,
    /// When it is tried again, if it is ejected.
    pub until_ms: Option<u64>,
    /// How often it was ejected.
    pub ejections: u64,
}

impl Condition {
    /// Whether nothing is in its way, by a single load.
    pub fn is_plain(&self) -> bool {
        self.word.load(Relaxed) == 0
    }

    /// What a pick may do with it.
    pub fn fitness(&self, now_ms: u64) -> Fitness {
        let word = self.word.load(Relaxed);
        if word == 0 {
            return Fitness::Well;
        }
        if word & DRAINED != 0 {
            return Fitness::Drained;
        }
        if word & UNHEALTHY != 0 {
            return Fitness::Sick;
        }
        if word & EJECTED != 0 {
            let is_over = now_ms >= self.ejected_until_ms.load(Relaxed);
            return if is_over { Fitness::DueForTrial } else { Fitness::Sick };
        }
        self.warmth(now_ms)
    }

    #[cold]
    fn warmth(&self, now_ms: u64) -> Fitness {
        let (since, length) =
            (self.warming_since_ms.load(Relaxed), self.warming_for_ms.load(Relaxed));
        let share = super::slow_start::share(now_ms.saturating_sub(since), length);
        if share >= Fitness::WHOLE {
            // Whoever sees it first; nothing is lost if it is ejected at the same time.
            self.word.fetch_and(!WARMING, Relaxed);
            return Fitness::Well;
        }
        Fitness::Warming(share)
    }

    /// Whether its ejection was over by then.
    pub fn is_due_since(&self, then_ms: u64) -> bool {
        self.ejected_until_ms.load(Relaxed) <= then_ms
    }

    /// Whether it was ejected because it took no connections: a trial that fails loses nothing.
    pub fn takes_none(&self) -> bool {
        Reason::of(self.reason.load(Relaxed)).is_unsent()
    }

    /// Lets one request of the process through to a target whose ejection is over. `true` for the
    /// one; the others find it sick until they know what became of it. If the answer to the last
    /// one has been on its way for all the time since, without breaking off, it is back.
    #[cold]
    pub fn take_trial(&self, now_ms: u64, slow_start: Duration) -> bool {
        let due = self.ejected_until_ms.load(Relaxed);
        let until = now_ms.saturating_add(TRIAL_TIME.as_millis() as u64);
        let is_mine = now_ms >= due
            && self.ejected_until_ms.compare_exchange(due, until, Relaxed, Relaxed).is_ok();
        if is_mine && self.word.fetch_or(TRIED, Relaxed) & ANSWERS != 0 {
            self.readmit(now_ms, slow_start);
        }
        is_mine
    }

    /// The head of the answer to a trial was a good one.
    #[cold]
    pub fn note_answer(&self) {
        if self.word.load(Relaxed) & TRIED != 0 {
            self.word.fetch_or(ANSWERS, Relaxed);
        }
    }

    /// Ejects it: for `base` the first time, then for longer and longer. `false`: it was already.
    #[cold]
    pub fn eject(&self, now_ms: u64, base: Duration, reason: Reason) -> bool {
        let word = self.word.load(Relaxed);
        let until = self.ejected_until_ms.load(Relaxed);
        if word & EJECTED != 0 && word & TRIED == 0 && now_ms < until {
            return false;
        }
        let streak = self.next_streak(now_ms);
        let length = ejection_length(base, streak);
        let length_ms = length.as_millis() as u64;
        // Before the word: who sees that must not find a time that is over.
        self.ejected_until_ms.store(now_ms.saturating_add(length_ms), Relaxed);
        let changed = (word | EJECTED) & !(TRIED | WARMING | ANSWERS);
        if self.word.compare_exchange(word, changed, Relaxed, Relaxed).is_err() {
            // Another worker has found out at the same time.
            return false;
        }
        self.streak.store(streak, Relaxed);
        self.ejected_at_ms.store(now_ms, Relaxed);
        self.ejected_for_ms.store(length_ms, Relaxed);
        self.ejections.fetch_add(1, Relaxed);
        self.reason.store(reason as u32, Relaxed);
        if word & EJECTED == 0 {
            self.changed_at_ms.store(now_ms, Relaxed);
        }
        true
    }

    /// One more than that of the last ejection, unless it has stood for as long as that lasted.
    fn next_streak(&self, now_ms: u64) -> u32 {
        let (at, length) = (self.ejected_at_ms.load(Relaxed), self.ejected_for_ms.load(Relaxed));
        let forgotten = at.saturating_add(length.saturating_mul(3));
        let is_near = at != 0 && now_ms <= forgotten.max(at + STREAK_MEMORY_MS);
        if is_near { self.streak.load(Relaxed).saturating_add(1) } else { 1 }
    }

    /// A request that was let through by a trial, or because all were sick, was answered well:
    /// it is back, and gets its share over `slow_start`. `true` if it was ejected.
    #[cold]
    pub fn readmit(&self, now_ms: u64, slow_start: Duration) -> bool {
        let before = self.word.fetch_and(!(EJECTED | TRIED | ANSWERS), Relaxed);
        if before & EJECTED == 0 {
            return false;
        }
        self.changed_at_ms.store(now_ms, Relaxed);
        if before & (UNHEALTHY | DRAINED) == 0 {
            self.warm(now_ms, slow_start);
        }
        true
    }

    /// It has its share little by little from now on.
    pub fn warm(&self, now_ms: u64, slow_start: Duration) {
        if slow_start.is_zero() {
            return;
        }
        self.warming_since_ms.store(now_ms, Relaxed);
        self.warming_for_ms.store(slow_start.as_millis() as u64, Relaxed);
        self.word.fetch_or(WARMING, Relaxed);
    }

    /// The ejection is over now: one request may try it. For who has found out that it takes
    /// connections again.
    pub fn end_ejection(&self, now_ms: u64) {
        if self.word.load(Relaxed) & EJECTED != 0 {
            self.ejected_until_ms.fetch_min(now_ms, Relaxed);
        }
    }

    /// It stays ejected for so long at least: it is known to take no connections.
    pub fn hold(&self, now_ms: u64, length: Duration) {
        if self.word.load(Relaxed) & EJECTED != 0 {
            let until = now_ms.saturating_add(length.as_millis() as u64);
            self.ejected_until_ms.fetch_max(until, Relaxed);
        }
    }

    /// What active checks have found. `true` if that is news. One that they find well again is so
    /// at once, whatever requests have ejected it for while it was sick.
    pub fn set_health(&self, now_ms: u64, is_healthy: bool, slow_start: Duration) -> bool {
        let before = match is_healthy {
            true => self.word.fetch_and(!UNHEALTHY, Relaxed),
            false => self.word.fetch_or(UNHEALTHY, Relaxed),
        };
        let was_healthy = before & UNHEALTHY == 0;
        if was_healthy == is_healthy {
            return false;
        }
        if !is_healthy {
            self.reason.store(Reason::CheckFailed as u32, Relaxed);
        } else if before & EJECTED != 0 {
            self.readmit(now_ms, slow_start);
        } else if before & DRAINED == 0 {
            self.warm(now_ms, slow_start);
        }
        self.changed_at_ms.store(now_ms, Relaxed);
        true
    }

    /// What an operator wants. `true` if that is news.
    pub fn set_drained(&self, now_ms: u64, is_drained: bool, slow_start: Duration) -> bool {
        let before = match is_drained {
            true => self.word.fetch_or(DRAINED, Relaxed),
            false => self.word.fetch_and(!DRAINED, Relaxed),
        };
        let was_drained = before & DRAINED != 0;
        if was_drained == is_drained {
            return false;
        }
        if is_drained {
            self.reason.store(Reason::Drained as u32, Relaxed);
        } else if before & (EJECTED | UNHEALTHY) == 0 {
            self.warm(now_ms, slow_start);
        }
        self.changed_at_ms.store(now_ms, Relaxed);
        true
    }

    /// Whether an operator has it drained.
    pub fn is_drained(&self) -> bool {
        self.word.load(Relaxed) & DRAINED != 0
    }

    /// Whether it is ejected.
    pub fn is_ejected(&self) -> bool {
        self.word.load(Relaxed) & EJECTED != 0
    }

    /// What is told of it.
    pub fn told(&self, now_ms: u64) -> Told {
        // Ends what is over.
        let _fitness = self.fitness(now_ms);
        let word = self.word.load(Relaxed);
        let standing = match word {
            _ if word & DRAINED != 0 => Standing::Drained,
            _ if word & UNHEALTHY != 0 => Standing::Unhealthy,
            _ if word & EJECTED != 0 => Standing::Ejected,
            _ if word & WARMING != 0 => Standing::Warming,
            _ => Standing::Healthy,
        };
        // Two things may be in its way; the reason is of what is told.
        let reason = match standing {
            Standing::Drained => Reason::Drained,
            Standing::Unhealthy => Reason::CheckFailed,
            _ => Reason::of(self.reason.load(Relaxed)),
        };
        let until = self.ejected_until_ms.load(Relaxed);
        Told {
            standing,
            reason,
            since_ms: self.changed_at_ms.load(Relaxed),
            until_ms: (standing == Standing::Ejected).then_some(until),
            ejections: self.ejections.load(Relaxed),
        }
    }
}

/// What the next process is told of a target, when the binary is upgraded. The clock is the
/// machine's, so that times hold there too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// What people call it: its URL, and its address where its name has several.
    pub target: String,
    drained: bool,
    ejected: bool,
    until_ms: u64,
    at_ms: u64,
    for_ms: u64,
    streak: u32,
    reason: u32,
    since_ms: u64,
    ejections: u64,
}

impl Condition {
    /// What the next process is to know; `None`: nothing. What checks have found is not among it:
    /// they find it again, and nobody else can take it back.
    pub fn carried(&self, target: &str) -> Option<Carried> {
        let word = self.word.load(Relaxed);
        let (drained, ejected) = (word & DRAINED != 0, word & EJECTED != 0);
        (drained || ejected).then(|| Carried {
            target: target.to_owned(),
            drained,
            ejected,
            until_ms: self.ejected_until_ms.load(Relaxed),
            at_ms: self.ejected_at_ms.load(Relaxed),
            for_ms: self.ejected_for_ms.load(Relaxed),
            streak: self.streak.load(Relaxed),
            reason: self.reason.load(Relaxed),
            since_ms: self.changed_at_ms.load(Relaxed),
            ejections: self.ejections.load(Relaxed),
        })
    }

    /// Stands as it stood in the process before. For a target that nobody has asked yet.
    pub fn take_over(&self, carried: &Carried) {
        self.ejected_until_ms.store(carried.until_ms, Relaxed);
        self.ejected_at_ms.store(carried.at_ms, Relaxed);
        self.ejected_for_ms.store(carried.for_ms, Relaxed);
        self.streak.store(carried.streak, Relaxed);
        self.reason.store(carried.reason, Relaxed);
        self.changed_at_ms.store(carried.since_ms, Relaxed);
        self.ejections.store(carried.ejections, Relaxed);
        let drained = if carried.drained { DRAINED } else { 0 };
        let ejected = if carried.ejected { EJECTED } else { 0 };
        self.word.fetch_or(drained | ejected, Relaxed);
    }
}

/// An ejection so short after another one is the next of its streak, however short that was.
const STREAK_MEMORY_MS: u64 = 30_000;

/// How long the ejection of this number in its streak (from 1) is: twice as long each time.
fn ejection_length(base: Duration, streak: u32) -> Duration {
    let doublings = streak.saturating_sub(1).min(EJECTION_DOUBLINGS_MAX);
    base.saturating_mul(1 << doublings).min(EJECTION_MAX.max(base))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn reasons_stand_at_their_numbers() {
        for (number, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(Reason::of(number as u32), reason);
        }
    }

    #[test]
    fn an_ejected_target_comes_back_by_one_trial() {
        let condition = Condition::default();
        assert_eq!(condition.fitness(5), Fitness::Well);
        assert!(condition.eject(1000, SECOND, Reason::ConnectFailed));
        assert!(!condition.eject(1001, SECOND, Reason::ConnectFailed), "it is already");
        assert_eq!(condition.fitness(1999), Fitness::Sick);
        assert_eq!(condition.fitness(2000), Fitness::DueForTrial);
        assert!(condition.take_trial(2000, Duration::ZERO));
        assert!(!condition.take_trial(2000, Duration::ZERO), "one is enough");
        assert_eq!(condition.fitness(2001), Fitness::Sick, "the others wait");
        assert!(condition.eject(2005, SECOND, Reason::ConnectFailed), "it has failed");
        assert_eq!(condition.fitness(4004), Fitness::Sick, "twice as long");
        assert_eq!(condition.fitness(4005), Fitness::DueForTrial);
        assert!(
            condition.take_trial(4005, Duration::ZERO) && condition.readmit(4006, Duration::ZERO)
        );
        assert!(condition.is_plain());
        let told = condition.told(4007);
        assert_eq!((told.standing, told.ejections, told.since_ms), (Standing::Healthy, 2, 4006));
    }

    #[test]
    fn a_trial_of_which_nothing_is_heard_is_made_again() {
        let condition = Condition::default();
        condition.eject(1000, SECOND, Reason::ErrorRate);
        assert!(condition.take_trial(3000, Duration::ZERO));
        let later = 3000 + TRIAL_TIME.as_millis() as u64;
        assert!(
            !condition.take_trial(later - 1, Duration::ZERO)
                && condition.take_trial(later, Duration::ZERO)
        );
    }

    #[test]
    fn the_next_process_goes_on_where_this_one_was() {
        let before = Condition::default();
        assert_eq!(before.carried("a"), None);
        before.eject(1000, SECOND, Reason::ErrorRate);
        before.set_drained(1100, true, SECOND);
        let after = Condition::default();
        after.take_over(&before.carried("a").unwrap());
        assert_eq!(after.told(1200), before.told(1200));
        assert!(after.set_drained(1300, false, SECOND));
        assert_eq!(after.fitness(1999), Fitness::Sick);
        assert!(after.take_trial(2000, SECOND) && after.eject(2001, SECOND, Reason::ErrorRate));
        assert_eq!(after.fitness(4000), Fitness::Sick, "its streak goes on");
    }

    #[test]
    fn an_answer_that_lasts_for_a_trials_time_is_one() {
        let condition = Condition::default();
        condition.eject(1000, SECOND, Reason::ErrorRate);
        condition.note_answer();
        assert!(condition.take_trial(3000, SECOND) && condition.is_ejected());
        condition.note_answer();
        assert!(condition.is_ejected(), "its end is to be seen");
        assert!(condition.eject(3500, SECOND, Reason::ErrorRate), "it has broken off");
        assert!(condition.take_trial(9000, SECOND) && condition.is_ejected());
        condition.note_answer();
        let later = 9000 + TRIAL_TIME.as_millis() as u64;
        assert!(condition.take_trial(later, SECOND));
        assert!(matches!(condition.fitness(later), Fitness::Warming(_)));
    }

    #[test]
    fn a_streak_is_forgotten_when_it_has_stood() {
        let condition = Condition::default();
        let mut now = 1000;
        for seconds in [1, 2, 4, 8] {
            assert!(condition.eject(now, SECOND, Reason::ConnectFailed));
            assert_eq!(condition.told(now).until_ms, Some(now + seconds * 1000));
            now += seconds * 1000;
            assert!(condition.take_trial(now, Duration::ZERO));
        }
        assert!(condition.readmit(now, Duration::ZERO));
        now += 3_600_000;
        assert!(condition.eject(now, SECOND, Reason::ConnectFailed));
        assert_eq!(condition.told(now).until_ms, Some(now + 1000));
    }

    #[test]
    fn a_target_that_its_checks_find_well_again_does_not_wait_for_its_ejection_to_end() {
        let condition = Condition::default();
        condition.eject(1000, SECOND * 30, Reason::ConsecutiveErrors);
        // They have always passed: what they ask for is not what requests do.
        assert!(!condition.set_health(1100, true, SECOND));
        assert_eq!(condition.fitness(1100), Fitness::Sick);
        assert!(condition.set_health(1200, false, SECOND));
        assert!(condition.set_health(2000, true, SECOND));
        assert!(matches!(condition.fitness(2000), Fitness::Warming(_)));
        assert_eq!(condition.fitness(3000), Fitness::Well);
        // One that is drained stays so.
        condition.eject(4000, SECOND * 30, Reason::ConsecutiveErrors);
        condition.set_drained(4000, true, SECOND);
        condition.set_health(4100, false, SECOND);
        condition.set_health(4200, true, SECOND);
        assert_eq!(condition.fitness(4200), Fitness::Drained);
        assert!(condition.set_drained(4300, false, SECOND));
        assert!(condition.fitness(4300).is_well());
    }

    #[test]
    fn what_an_operator_drains_stays_so_whatever_else_becomes_of_it() {
        let condition = Condition::default();
        condition.eject(1000, SECOND, Reason::ErrorRate);
        assert!(condition.set_drained(1500, true, SECOND));
        assert!(!condition.set_drained(1500, true, SECOND));
        condition.set_health(1600, false, SECOND);
        assert!(condition.readmit(3000, SECOND));
        assert_eq!(condition.fitness(9000), Fitness::Drained);
        assert!(condition.set_drained(9000, false, SECOND));
        assert_eq!(condition.fitness(9000), Fitness::Sick, "the checks have not said otherwise");
        assert!(condition.set_health(9500, true, SECOND));
        assert!(matches!(condition.fitness(9500), Fitness::Warming(_)));
        assert_eq!(condition.fitness(10_500), Fitness::Well);
        assert!(condition.is_plain());
    }
}
