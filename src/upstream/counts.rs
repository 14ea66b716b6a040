//! What one worker counts of the requests to one service's endpoints.

use std::time::Duration;

use crate::error::{Counter, Error, UpstreamFailure};

/// How a try at an endpoint ended: the `outcome` label of `odin_upstream_requests_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamOutcome {
    /// The head of a response came, of this class.
    Successful,
    /// As above.
    Redirected,
    /// As above.
    ClientError,
    /// As above.
    ServerError,
    /// The endpoint gave no response that could be used.
    Failed,
    /// Nobody waited for the response any more.
    Aborted,
}

impl UpstreamOutcome {
    /// All of them, in the order of [`UpstreamCounts::requests`].
    pub const ALL: [Self; 6] = [
        Self::Successful,
        Self::Redirected,
        Self::ClientError,
        Self::ServerError,
        Self::Failed,
        Self::Aborted,
    ];

    /// That of a response, by its status; one over 599 counts as 5xx (RFC 9110 section 15).
    pub fn of(status: u16) -> Self {
        match status {
            ..300 => Self::Successful,
            300..400 => Self::Redirected,
            400..500 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Successful => "2xx",
            Self::Redirected => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
        }
    }
}

/// Requests to the endpoints of one service, and the connections that they took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamCounts {
    /// Tries that have ended, by outcome.
    pub requests: [u64; UpstreamOutcome::ALL.len()],
    /// Failures by kind ([`UpstreamFailure::ALL`]): of tries that got no response, and of responses
    /// that broke off.
    pub errors: [u64; UpstreamFailure::ALL.len()],
    /// Tries after the first of their request.
    pub retries: u64,
    /// Connections made.
    pub connects: u64,
    /// How long that took, TLS included.
    pub connect_time: Duration,
    /// Requests that went over a connection made before.
    pub reused: u64,
    /// Tries under way.
    pub active: u64,
    /// Idle connections to the endpoints. Those that another service has too count for both.
    pub idle: u64,
}

impl UpstreamCounts {
    pub(crate) fn begin(&mut self, is_retry: bool) {
        self.active += 1;
        self.retries += u64::from(is_retry);
    }

    pub(crate) fn reused(&mut self) {
        self.reused += 1;
    }

    pub(crate) fn connected(&mut self, took: Duration) {
        self.connects += 1;
        self.connect_time += took;
    }

    pub(crate) fn failed(&mut self, error: Error) {
        match error.counter() {
            Counter::Upstream(kind) => self.errors[kind as usize] += 1,
            // The endpoint is not to blame.
            Counter::Rejected(_) | Counter::Gone => {}
        }
    }

    pub(crate) fn end(&mut self, outcome: UpstreamOutcome) {
        self.active = self.active.saturating_sub(1);
        self.requests[outcome as usize] += 1;
    }

    /// Adds those of another worker.
    pub fn add(&mut self, other: &Self) {
        let add = |ours: &mut [u64], theirs: &[u64]| {
            ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| *ours += theirs);
        };
        add(&mut self.requests, &other.requests);
        add(&mut self.errors, &other.errors);
        self.retries += other.retries;
        self.connects += other.connects;
        self.connect_time += other.connect_time;
        self.reused += other.reused;
        self.active += other.active;
        self.idle += other.idle;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_stand_in_the_order_of_their_places() {
        for (place, outcome) in UpstreamOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, place);
        }
        assert_eq!(UpstreamOutcome::of(204).as_str(), "2xx");
        assert_eq!(UpstreamOutcome::of(599).as_str(), "5xx");
        assert_eq!(UpstreamOutcome::of(999).as_str(), "5xx");
    }
}
