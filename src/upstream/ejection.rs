//! When the answers of a target have it ejected. Pure: the clock is an argument; of one worker.
//!
//! A target that takes no connection is ejected at once, for a short time that grows: nothing was
//! sent, nothing is lost by asking another. One that answers badly is ejected when it has done so
//! several times one after the other, or for a large part of its requests; never so many of a
//! service at a time that the others would have to bear all of it.

use std::time::Duration;

use super::condition::Reason;
use crate::error::Error;
use crate::limits;

/// `services[].outlier`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlier {
    /// Failed requests one after the other that eject; 0: none do.
    pub consecutive_errors: u32,
    /// The part of the requests of an interval, in percent, whose failing ejects; 0: none does.
    pub error_rate_percent: u32,
    /// What the part is taken of.
    pub interval: Duration,
    /// How long the first ejection is.
    pub ejection: Duration,
    /// The part of the targets, in percent, that may be ejected for what they answer.
    pub ejected_max_percent: u32,
}

impl Default for Outlier {
    fn default() -> Self {
        Self {
            consecutive_errors: limits::OUTLIER_CONSECUTIVE_ERRORS,
            error_rate_percent: limits::OUTLIER_ERROR_RATE_PERCENT,
            interval: limits::OUTLIER_INTERVAL,
            ejection: limits::OUTLIER_EJECTION,
            ejected_max_percent: limits::OUTLIER_EJECTED_MAX_PERCENT,
        }
    }
}

impl Outlier {
    /// How many of `targets` may be ejected for what they answer: of two or more at least one, and
    /// never all.
    pub fn ejected_max(&self, targets: usize) -> usize {
        let part = targets.saturating_mul(self.ejected_max_percent as usize) / 100;
        part.max(1).min(targets.saturating_sub(1))
    }

    /// How long the first ejection for this reason is.
    pub fn ejection_for(&self, reason: Reason) -> Duration {
        match reason.is_unsent() {
            true => limits::CONNECT_EJECTION.min(self.ejection),
            false => self.ejection,
        }
    }
}

/// What a try says of its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It answered as it should.
    Good,
    /// It broke off, kept silent for too long, or answered that it cannot serve.
    Bad,
    /// It took no connection, for this reason.
    Unsent(Reason),
    /// Nothing: nobody waited for its answer, or its idle connection had ended.
    Nothing,
}

impl Sign {
    /// Of an answer. What an application makes of one request (500) says little of the next one;
    /// 502, 503 and 504 are what a server says of itself.
    pub fn of_status(status: u16) -> Self {
        if matches!(status, 502..=504) { Self::Bad } else { Self::Good }
    }

    /// Of a try that failed.
    pub fn of_error(error: Error) -> Self {
        match error {
            Error::ConnectFailed | Error::TlsFailed(_) => Self::Unsent(Reason::ConnectFailed),
            Error::ConnectTimeout => Self::Unsent(Reason::ConnectTimeout),
            Error::UpstreamGone
            | Error::UpstreamTimeout
            | Error::BadResponse(_)
            | Error::BadResponseBody(_) => Self::Bad,
            _ => Self::Nothing,
        }
    }
}

/// What one worker has seen of a target.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Failed requests, one after the other.
    failed: u32,
    /// When the interval began, and what came since. A count that has gone round is forgotten with
    /// the interval that the next error begins.
    began_ms: u64,
    requests: u32,
    errors: u32,
}

impl Record {
    /// Notes an answer that was as it should be.
    pub fn note_good(&mut self) {
        self.failed = 0;
        self.requests = self.requests.wrapping_add(1);
    }

    /// Notes what a try said; why the target is to be ejected, if it is.
    pub fn note(&mut self, sign: Sign, policy: &Outlier, now_ms: u64) -> Option<Reason> {
        match sign {
            Sign::Nothing => None,
            Sign::Good => {
                self.note_good();
                None
            }
            Sign::Unsent(reason) => {
                self.forget(now_ms);
                Some(reason)
            }
            Sign::Bad => self.note_bad(policy, now_ms),
        }
    }

    #[cold]
    fn note_bad(&mut self, policy: &Outlier, now_ms: u64) -> Option<Reason> {
        let interval = policy.interval.as_millis() as u64;
        if now_ms.saturating_sub(self.began_ms) >= interval {
            // Who was well until now did not count its time: an interval begins with an error.
            let failed = self.failed;
            self.forget(now_ms);
            self.failed = failed;
        }
        self.failed = self.failed.saturating_add(1);
        self.requests = self.requests.wrapping_add(1);
        self.errors = self.errors.saturating_add(1);
        if policy.consecutive_errors > 0 && self.failed >= policy.consecutive_errors {
            self.forget(now_ms);
            return Some(Reason::ConsecutiveErrors);
        }
        let part = u64::from(self.errors) * 100;
        let is_over = policy.error_rate_percent > 0
            && self.requests >= limits::OUTLIER_REQUESTS_MIN
            && part >= u64::from(self.requests) * u64::from(policy.error_rate_percent);
        if is_over {
            self.forget(now_ms);
            return Some(Reason::ErrorRate);
        }
        None
    }

    fn forget(&mut self, now_ms: u64) {
        *self = Self { began_ms: now_ms, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(signs: impl IntoIterator<Item = Sign>, step_ms: u64) -> Option<(usize, Reason)> {
        let (mut record, policy) = (Record::default(), Outlier::default());
        let mut now = 1_000_000;
        signs.into_iter().enumerate().find_map(|(at, sign)| {
            now += step_ms;
            record.note(sign, &policy, now).map(|reason| (at + 1, reason))
        })
    }

    #[test]
    fn errors_in_a_row_eject_and_one_good_answer_between_them_does_not() {
        use Sign::{Bad, Good, Nothing};
        assert_eq!(record([Bad; 9], 10), Some((5, Reason::ConsecutiveErrors)));
        assert_eq!(record([Bad, Bad, Nothing, Bad, Bad, Bad], 10).unwrap().0, 6);
        assert_eq!(record([Bad, Bad, Bad, Bad, Good, Bad, Bad, Bad, Bad], 10), None);
        // However long they take: a target that is seldom asked is not well in between.
        assert_eq!(record([Bad; 9], 60_000).unwrap().0, 5);
    }

    #[test]
    fn a_large_part_of_errors_ejects_when_there_were_enough_to_tell() {
        let mixed = |bad_of_ten: usize| {
            (0..2000).map(move |at| if at * 7 % 10 < bad_of_ten { Sign::Bad } else { Sign::Good })
        };
        assert_eq!(record(mixed(6), 10).unwrap().1, Reason::ErrorRate);
        assert_eq!(record(mixed(3), 10), None);
    }

    #[test]
    fn no_connection_ejects_at_once() {
        let unsent = Sign::of_error(Error::ConnectTimeout);
        assert_eq!(record([Sign::Good, unsent], 1), Some((2, Reason::ConnectTimeout)));
        assert_eq!(Sign::of_error(Error::UpstreamStale), Sign::Nothing);
        assert_eq!(Sign::of_error(Error::DownstreamGone), Sign::Nothing);
        assert_eq!(Sign::of_error(Error::BodyTimeout), Sign::Nothing);
    }

    #[test]
    fn never_all_and_of_two_one() {
        let policy = Outlier::default();
        let most: Vec<_> = (0..6).map(|targets| policy.ejected_max(targets)).collect();
        assert_eq!(most, [0, 0, 1, 1, 2, 2]);
        let all = Outlier { ejected_max_percent: 100, ..policy };
        assert_eq!(all.ejected_max(3), 2);
    }
}
