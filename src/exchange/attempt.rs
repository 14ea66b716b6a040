//! One try of a request at an endpoint, as it is counted and traced: of a client's request and of
//! an aggregation's call alike.

use std::cell::Cell;
use std::time::Duration;

use super::Exchange;
use super::counts::SharedCounts;
use crate::error::{Error, Side};
use crate::http::message::RequestHead;
use crate::snapshot::Service;
use crate::trace::Trace;
use crate::upstream::counts::UpstreamOutcome;
use crate::upstream::tries::Try;

/// A try that is under way; counted when it is dropped, whatever became of it.
pub(super) struct Attempt<'a> {
    counts: SharedCounts,
    /// The trace of the exchange, and the place among its notes.
    note: Option<(&'a Trace, usize)>,
    is_reused: Cell<bool>,
    is_answered: Cell<bool>,
    outcome: Cell<UpstreamOutcome>,
}

impl<'a> Exchange<'a> {
    /// Begins a try of a request at an endpoint of a service, which is asked for `path`.
    pub(super) fn attempt(
        &self,
        service: &Service,
        Try { endpoint, number, .. }: Try<'_>,
        (request, path): (&RequestHead, &str),
    ) -> Attempt<'a> {
        let (worker, trace) = (self.worker, self.trace);
        let counts = worker.counts_of(self.snapshot, service);
        counts.borrow_mut().upstream.begin(number > 1);
        let note =
            trace.attempt(|| worker.random(), (service.index, endpoint.id), number, request, path);
        Attempt::of(counts, note.map(|note| (trace, note)))
    }
}

impl<'a> Attempt<'a> {
    fn of(counts: SharedCounts, note: Option<(&'a Trace, usize)>) -> Self {
        let outcome = Cell::new(UpstreamOutcome::Aborted);
        let (is_reused, is_answered) = (Cell::default(), Cell::default());
        Self { counts, note, is_reused, is_answered, outcome }
    }

    /// Begins a try of what no trace tells of.
    pub(super) fn untold(counts: SharedCounts, to: Try<'_>) -> Self {
        counts.borrow_mut().upstream.begin(to.number > 1);
        Self::of(counts, None)
    }

    /// An idle connection is used again.
    pub(super) fn reused(&self) {
        self.is_reused.set(true);
        self.counts.borrow_mut().upstream.reused();
    }

    /// A new connection is there.
    pub(super) fn connected(&self, took: Duration) {
        self.counts.borrow_mut().upstream.connected(took);
    }

    /// The head to send, if it must differ from `request`: it names this try as the parent of what
    /// the origin does.
    pub(super) fn head(&self, request: &RequestHead) -> Option<Box<RequestHead>> {
        let (trace, note) = self.note?;
        trace.sent(note, self.is_reused.get(), request)
    }

    /// The head of the response has come.
    pub(super) fn answered(&self, status: u16) {
        self.outcome.set(UpstreamOutcome::of(status));
        self.is_answered.set(true);
        if let Some((trace, note)) = self.note {
            trace.answered(note, status);
        }
    }

    /// How the try ended. A failure counts as the origin's only if it is: a client that goes away
    /// takes its request with it.
    pub(super) fn ended<T>(&self, outcome: &Result<T, Error>) {
        let Err(error) = outcome else {
            return;
        };
        if error.side() == Side::Upstream {
            self.counts.borrow_mut().upstream.failed(*error);
            if !self.is_answered.get() {
                self.outcome.set(UpstreamOutcome::Failed);
            }
        }
        // A client that leaves in the middle of a response says nothing of the origin.
        let is_the_clients = error.side() != Side::Upstream && self.is_answered.get();
        if let Some((trace, note)) = self.note.filter(|_| !is_the_clients) {
            trace.failed(note, *error);
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.counts.borrow_mut().upstream.end(self.outcome.get());
    }
}
