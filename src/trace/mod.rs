//! Where a request stands in its trace, and what of it is told.
//!
//! With `tracing` configured, every exchange continues the trace that its request names
//! (W3C Trace Context: `trace/context.rs`) or begins one, and hands it on to plugins and origins.
//! Of a trace that is sampled, the parts of the exchange (plugins, tries at an origin) are noted
//! and, at its end, handed to the control thread as one value (`trace/finished.rs`), which exports
//! them as spans. The same notes make `Server-Timing`. Not configured, none of this costs more
//! than a branch: no clock is read, nothing is allocated.
//!
//! On a worker; nothing waits. What finds the queue full is lost and counted.

pub mod access_log;
pub mod context;
pub mod finished;
pub(crate) mod notes;
mod timing;

use std::cell::{Cell, RefCell};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant, SystemTime};

use self::context::{Context, SpanId, State, TRACEPARENT, TRACESTATE};
use self::finished::{Finished, Part, cut, known_method, names, target};
pub use self::notes::PluginEnd;
use self::notes::{Attempt, Note, What};
use crate::error::Error;
use crate::http::connection::Asker;
use crate::http::message::RequestHead;
use crate::limits::TRACE_SPANS_MAX;

/// How the exchanges of a snapshot are traced.
#[derive(Debug)]
pub struct Tracing {
    /// Whether a request's own `traceparent` is believed.
    pub continues: bool,
    /// Which of the traces that begin here are sampled.
    pub sampler: Sampler,
    /// Where sampled exchanges go, if spans are exported.
    pub queue: Option<SyncSender<Box<Finished>>>,
}

/// Decides by the trace's id, so that all who decide so decide alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler(u64);

impl Sampler {
    /// Samples this share of the traces, 0 to 1.
    pub fn new(share: f64) -> Self {
        // As OpenTelemetry's TraceIdRatioBased: 63 bits of the id against the share of them.
        Self((share.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64)
    }

    fn samples(self, context: &Context) -> bool {
        context.randomness() >> 1 < self.0
    }
}

/// The trace of one exchange. Reused: beginning keeps the memory.
#[derive(Debug, Default)]
pub struct Trace {
    /// None: tracing is off.
    context: Option<Context>,
    /// The trace's id in hexadecimal; empty: tracing is off.
    id: String,
    /// What is to be exported: only of a sampled exchange, and if somebody wants it.
    finished: Option<Box<Finished>>,
    /// When the exchange began; none: no notes are taken.
    started: Option<Instant>,
    is_timed: bool,
    notes: RefCell<Vec<Note>>,
    notes_dropped: Cell<u32>,
}

/// The worker that an exchange runs on, as its trace needs it.
#[derive(Debug, Clone, Copy)]
pub struct OnWorker<R> {
    /// Counts the workers from 0.
    pub id: usize,
    /// Random numbers, for ids.
    pub random: R,
}

/// How an exchange ended, for its span.
#[derive(Debug, Clone, Copy)]
pub struct Ending<'a> {
    /// The status that was sent; 0: the client had gone.
    pub status: u16,
    /// Why it failed.
    pub error: Option<Error>,
    /// From its head to the end of its response.
    pub took: Duration,
    /// Its `X-Request-Id`.
    pub request_id: &'a str,
    /// The name of its service; empty: none was found.
    pub service: &'a str,
    /// The base path of its service.
    pub route: &'a str,
}

impl Trace {
    /// Forgets the exchange before.
    pub fn clear(&mut self) {
        self.context = None;
        self.id.clear();
        self.finished = None;
        self.started = None;
        self.is_timed = false;
        self.notes.get_mut().clear();
        self.notes_dropped.set(0);
    }

    /// Begins with the request as it came; its fields name this exchange from then on.
    /// `is_timed`: its response tells what took how long.
    pub fn begin(
        &mut self,
        (tracing, is_timed): (Option<&Tracing>, bool),
        worker: OnWorker<impl Fn() -> u64>,
        asker: Asker<'_>,
        request: &mut RequestHead,
        started: Instant,
    ) {
        self.clear();
        self.is_timed = is_timed;
        if let Some(tracing) = tracing {
            self.join(tracing, &worker, asker, request);
        }
        if self.is_timed || self.finished.is_some() {
            self.started = Some(started);
        }
    }

    fn join(
        &mut self,
        tracing: &Tracing,
        worker: &OnWorker<impl Fn() -> u64>,
        asker: Asker<'_>,
        request: &mut RequestHead,
    ) {
        let random = &worker.random;
        let span = SpanId::from_random(random());
        let fields = &mut request.fields;
        let continued = if tracing.continues { Context::of(fields, span) } else { None };
        // The state belongs to the ids: without them it means nothing.
        let state = if continued.is_some() { context::state_of(fields) } else { State::Dropped };
        match state {
            State::None | State::Kept => {}
            State::Joined(all) => fields.set(TRACESTATE.as_bytes(), &all),
            State::Dropped => fields.remove(TRACESTATE.as_bytes()),
        }
        let context = continued.unwrap_or_else(|| {
            let mut context = Context::begin([random(), random()], span);
            context.is_sampled = tracing.sampler.samples(&context);
            context
        });
        let is_exported = context.is_sampled && tracing.queue.is_some();
        // A span that nobody will see must not stand between two that somebody does.
        let parent = if is_exported { span } else { context.parent.unwrap_or(span) };
        fields.set(TRACEPARENT.as_bytes(), &context.text(parent));
        context.push_id(&mut self.id);
        if is_exported {
            self.finished = Some(Box::new(begun(context, worker.id, asker, request)));
        }
        self.context = Some(context);
    }

    /// The trace's id in hexadecimal; empty: tracing is off.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The time, if a part that begins now is to be noted.
    pub fn start(&self) -> Option<Instant> {
        self.started.map(|_| Instant::now())
    }

    fn note(&self, begun: Instant, took: Option<Duration>, what: What) -> Option<usize> {
        let mut notes = self.notes.borrow_mut();
        if notes.len() >= TRACE_SPANS_MAX {
            self.notes_dropped.set(self.notes_dropped.get().saturating_add(1));
            return None;
        }
        notes.push(Note { begun, took, what });
        Some(notes.len() - 1)
    }

    /// Notes a plugin's call that has ended. `index`: its place in the chain.
    pub fn plugin(&self, index: usize, phase: &'static str, begun: Instant, end: PluginEnd) {
        self.note(begun, Some(begun.elapsed()), What::Plugin { index, phase, end });
    }

    /// Notes a try at an endpoint (`Endpoint::id`) of the service at this place of the snapshot,
    /// the `number`th for this request, which asks for `path`; what names it from then on.
    pub fn attempt(
        &self,
        random: impl Fn() -> u64,
        (service, endpoint): (usize, usize),
        number: usize,
        request: &RequestHead,
        path: &str,
    ) -> Option<usize> {
        let begun = self.start()?;
        let span = SpanId::from_random(random());
        let attempt = Attempt {
            span,
            service,
            endpoint,
            number,
            is_reused: false,
            status: 0,
            error: None,
            method: known_method(&request.method),
            // Allocated for what is exported alone.
            target: self
                .finished
                .as_ref()
                .map_or_else(String::new, |_| target(path, &request.query)),
        };
        self.note(begun, None, What::Attempt(attempt))
    }

    /// The head that is sent in a try, if it must differ from `request`: its `traceparent` names
    /// the try.
    pub fn sent(
        &self,
        attempt: usize,
        is_reused: bool,
        request: &RequestHead,
    ) -> Option<Box<RequestHead>> {
        let span = self.with_attempt(attempt, false, |attempt| {
            attempt.is_reused = is_reused;
            attempt.span
        })?;
        let context = self.context.filter(|_| self.finished.is_some())?;
        let mut head = Box::new(request.clone());
        head.fields.set(TRACEPARENT.as_bytes(), &context.text(span));
        Some(head)
    }

    /// Notes that the head of a try's response has come.
    pub fn answered(&self, attempt: usize, status: u16) {
        self.with_attempt(attempt, true, |attempt| attempt.status = status);
    }

    /// Notes why a try failed, be it before its head or after.
    pub fn failed(&self, attempt: usize, error: Error) {
        self.with_attempt(attempt, true, |attempt| attempt.error = Some(error));
    }

    fn with_attempt<R>(
        &self,
        at: usize,
        has_ended: bool,
        change: impl FnOnce(&mut Attempt) -> R,
    ) -> Option<R> {
        let mut notes = self.notes.borrow_mut();
        let Note { begun, took, what: What::Attempt(attempt) } = notes.get_mut(at)? else {
            return None;
        };
        if has_ended {
            *took = Some(begun.elapsed());
        }
        Some(change(attempt))
    }

    /// Hands what is to be exported to the control thread; how many spans were lost. `resolve`
    /// finds the names for a note of an exchange that began then.
    pub(crate) fn finish(
        &mut self,
        queue: &SyncSender<Box<Finished>>,
        ending: Ending<'_>,
        mut resolve: impl FnMut(Note, Instant) -> Part,
    ) -> u64 {
        let (Some(mut finished), Some(started)) = (self.finished.take(), self.started) else {
            return 0;
        };
        ending.service.clone_into(&mut finished.service);
        ending.route.clone_into(&mut finished.route);
        finished.took = ending.took;
        finished.status = ending.status;
        finished.error = ending.error.map(Error::label);
        ending.request_id.clone_into(&mut finished.request_id);
        let notes = self.notes.get_mut().drain(..);
        finished.parts = notes.map(|note| resolve(note, started)).collect();
        let dropped = u64::from(self.notes_dropped.get());
        finished.parts_dropped = self.notes_dropped.get();
        let spans = 1 + finished.parts.len() as u64;
        let is_taken = queue.try_send(finished).is_ok();
        dropped + if is_taken { 0 } else { spans }
    }
}

/// What is known of an exchange when its head has come.
fn begun(context: Context, worker: usize, asker: Asker<'_>, request: &RequestHead) -> Finished {
    let text = |name: &str| {
        let value = request.fields.get(name).unwrap_or_default();
        cut(&String::from_utf8_lossy(value))
    };
    Finished {
        context,
        tracestate: text(TRACESTATE),
        started: SystemTime::now(),
        took: Duration::ZERO,
        method: cut(request.method.as_str()),
        path: cut(&request.path),
        query: request.query.strip_prefix('?').map(names).unwrap_or_default(),
        authority: cut(&request.authority),
        user_agent: text("user-agent"),
        client: asker.ip,
        scheme: asker.scheme,
        protocol: asker.connection.protocol,
        tls_version: asker.connection.tls.as_ref().map_or("", |tls| tls.version),
        request_id: String::new(),
        service: String::new(),
        route: String::new(),
        status: 0,
        error: None,
        worker,
        parts: Vec::new(),
        parts_dropped: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_traces_is_sampled() {
        let traces = 100_000_u64;
        for (share, expected) in [(0.0, 0), (1.0, traces), (0.25, traces / 4)] {
            let sampler = Sampler::new(share);
            // Spread evenly: multiples of an odd number.
            let ids = (0..traces).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let contexts = ids.map(|id| Context::begin([1, id], SpanId::from_random(1)));
            let sampled = contexts.filter(|context| sampler.samples(context)).count() as u64;
            assert!(sampled.abs_diff(expected) <= traces / 100, "{share}: {sampled}");
        }
    }
}
