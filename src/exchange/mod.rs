//! One request, one response: the stages in order, and every branch between them.
//!
//! Knows no HTTP version: the request's body is a [`BodySource`], the response goes to a
//! [`Reply`]. Takes one snapshot at its start and finishes on it, whatever is published meanwhile.
//!
//! route -> annotate -> request chain -> forward (echo, an endpoint: `exchange/forward.rs`, or the
//! calls of an aggregation: `exchange/aggregate.rs`) -> response chain -> reply
//! (`exchange/finish.rs`).

mod aggregate;
mod annotate;
mod attempt;
mod call;
mod coded;
pub mod core;
pub mod counts;
mod decode;
mod echoed;
mod feeding;
mod finish;
mod forward;
mod grpc;
mod hops;
mod key;
mod log;
mod mirror;
mod random;
mod passing;
mod reply;
mod request;
mod routed;
mod spans;
mod target;
mod terms;
mod tunnel;
pub mod tunnels;
mod upgrade;

pub use self::annotate::by_default as annotate_by_default;
pub use self::core::Core;
use self::forward::Payload;
pub use self::reply::Reply;
use self::reply::send_local;
use self::terms::Terms;
pub use self::tunnel::{Ended, Tunnel};
use self::upgrade::Wanted;
use std::cell::Cell;
use std::pin::pin;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::error::{Error, Side};
use crate::http::connection::{Asker, Connection};
use crate::http::message::{BodyLength, LocalResponse, Method, RequestHead, ResponseHead};
use crate::http::relay::{BodySource, NoSource};
use crate::http::{cdn_loop, respond};
use crate::io::budget::Held;
use crate::io::deadline::{Presence, now_ms};
use crate::limits::DISCARD_BYTES_MAX;
use crate::plugin::{Carried, Chain, Chosen, Encoding, Facts, Selected};
use crate::snapshot::{Service, Snapshot};
use crate::trace::access_log::Asked;
use crate::trace::{OnWorker, Trace};

/// The memory of one exchange, reused by the worker for the next one.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The request's head, as the codec read it.
    pub request: RequestHead,
    response: ResponseHead,
    path: String,
    request_id: String,
    selected: Selected,
    carried: Carried,
    /// The place in the snapshot of the service that is asked, once it is known.
    service: Cell<Option<usize>>,
    /// That of the service that the request was routed to, and the branch if it splits.
    routed: (usize, Option<usize>),
    /// The id of the endpoint that was asked last.
    upstream: Cell<Option<usize>>,
    /// For the access log: the request as it came.
    asked: Asked,
    /// Its place in a trace, and what of it is told.
    trace: Trace,
    /// What its client asked for of what few services do.
    terms: Option<Box<Terms>>,
}

impl Scratch {
    /// Forgets what was noted of the exchange before, so that no line tells of it. Its trace
    /// forgets when the next begins.
    fn forget(&mut self) {
        self.response.clear();
        self.request_id.clear();
        self.carried.clear();
        self.service.set(None);
        self.routed = (usize::MAX, None);
        self.upstream.set(None);
        self.asked.clear();
        self.terms = None;
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The status sent; 0 if the client went away before.
    pub status: u16,
    /// Why it failed, if it did.
    pub error: Option<Error>,
    /// The response was sent whole.
    pub is_complete: bool,
}

/// The messages of one exchange, once the request is final.
struct Messages<'a> {
    request: &'a RequestHead,
    response: &'a mut ResponseHead,
    carried: &'a mut Carried,
}

/// What the stages of one exchange share.
struct Exchange<'a> {
    worker: &'a Core,
    snapshot: &'a Snapshot,
    /// The service that the request was routed to: what clients see is as it says.
    service: &'a Service,
    /// The service that is asked, mostly the same: what targets see is as it says.
    target: &'a Service,
    /// What a plugin has chosen in its place.
    chosen: Cell<Chosen>,
    /// The plugins of both.
    chain: &'a Chain,
    /// The place of the service that is asked.
    place: &'a Cell<Option<usize>>,
    asker: Asker<'a>,
    request_id: &'a str,
    received: SystemTime,
    /// By the clock of `deadline::now_ms`.
    expires_ms: u64,
    selected: &'a Selected,
    /// The id of the endpoint that was asked last.
    upstream: &'a Cell<Option<usize>>,
    trace: &'a Trace,
    /// Whom the request has passed (`CDN-Loop`); empty for most.
    passed: Vec<u8>,
    /// What it has collected: given back at its end.
    held: Held,
    /// What a plugin answers that a body passes ([`Error::CutByPlugin`]).
    instead: Cell<Option<LocalResponse>>,
    /// The response phase has begun.
    has_responded: Cell<bool>,
    terms: Option<&'a Terms>,
    /// What the client goes on with in the place of HTTP, if the origin does.
    wanted: Option<Box<Wanted>>,
}

/// Serves the request whose head stands in `scratch`, for as long as the `client` is there.
pub async fn run(
    worker: &Core,
    connection: &Connection,
    client: &impl Presence,
    scratch: &mut Scratch,
    body: &mut impl BodySource,
    reply: &mut impl Reply,
) -> Outcome {
    let snapshot = worker.snapshot();
    let started = Instant::now();
    scratch.forget();
    let asker = snapshot.trusted.asker(connection, &scratch.request.fields);
    if let Some(log) = &snapshot.access_log {
        scratch.asked.keep(log, &scratch.request);
    }
    let how = (snapshot.tracing.as_ref(), snapshot.server_timing);
    let on = OnWorker { id: worker.id, random: || worker.random() };
    scratch.trace.begin(how, on, asker, &mut scratch.request, started);
    let served =
        client.unless_gone(pin!(serve(worker, &snapshot, asker, scratch, body, reply))).await;
    let outcome = match served.unwrap_or(Err(Error::DownstreamGone)) {
        Ok(status) => Outcome { status, error: None, is_complete: true },
        Err(error) => fail(worker, &snapshot, error, scratch, body, reply).await,
    };
    if scratch.carried.has_open_contexts() {
        let Scratch { carried, request, response, .. } = &mut *scratch;
        response.status = outcome.status;
        // Boxed: other exchanges shall not be as large.
        Box::pin(carried.end(request, response)).await;
    }
    let took = started.elapsed();
    if let Some(service) = scratch.service.get().and_then(|index| snapshot.services.get(index)) {
        worker.account_service(&snapshot, service, outcome.status, took);
        if reply.is_grpc() {
            worker.account_grpc(&snapshot, service, reply.grpc_status());
        }
    }
    match reply.tunnel() {
        None => log::leave(worker, &snapshot, asker, scratch, reply, outcome, took),
        Some(tunnel) => {
            let line = log::Line::of(&snapshot, asker, scratch, outcome.status, started);
            tunnel.leave(line);
        }
    }
    spans::finish(worker, &snapshot, scratch, outcome, took);
    outcome
}

/// Ends an exchange that has failed: with a response that says so, unless some of one was sent.
async fn fail(
    worker: &Core,
    snapshot: &Snapshot,
    error: Error,
    scratch: &Scratch,
    body: &impl BodySource,
    reply: &mut impl Reply,
) -> Outcome {
    let may_answer = reply.take_back();
    if error == Error::DownstreamGone || !may_answer {
        let status = if reply.has_started() { scratch.response.status } else { 0 };
        return Outcome { status, error: Some(error), is_complete: false };
    }
    let is_body_readable = error.side() != Side::Downstream;
    let keep_alive = is_body_readable && may_keep_alive(&scratch.request, body, reply);
    let mut local = respond::error(error);
    terms::tell(scratch.terms.as_deref(), &mut local.fields);
    log::add_server_timing(snapshot, scratch, &mut local.fields);
    let sent = send_local(worker, local, keep_alive, reply).await;
    Outcome { status: error.status(), error: Some(error), is_complete: sent.is_ok() }
}

/// Answers a request that never became an exchange: its head could not be read.
pub async fn refuse(
    worker: &Core,
    connection: &Connection,
    error: Error,
    scratch: &mut Scratch,
    reply: &mut impl Reply,
) -> Outcome {
    let started = Instant::now();
    scratch.forget();
    scratch.trace.clear();
    let sent = send_local(worker, respond::error(error), false, reply).await;
    let outcome = Outcome { status: error.status(), error: Some(error), is_complete: sent.is_ok() };
    let asker = Asker::of(connection);
    log::leave(worker, &worker.snapshot(), asker, scratch, reply, outcome, started.elapsed());
    outcome
}

async fn serve(
    worker: &Core,
    snapshot: &Snapshot,
    asker: Asker<'_>,
    scratch: &mut Scratch,
    body: &mut impl BodySource,
    reply: &mut impl Reply,
) -> Result<u16, Error> {
    let Scratch {
        request,
        response,
        path,
        request_id,
        selected,
        carried,
        service: place,
        upstream,
        trace,
        terms,
        routed,
        ..
    } = scratch;
    if request.path == "*" {
        // OPTIONS *: asks the server as a whole (RFC 9110 section 9.3.7), and that is the gateway.
        return send_local(worker, hops::options(), body.is_done(), reply).await;
    }
    let service = routed::service(snapshot, request, path)?;
    place.set(Some(service.index));
    *routed = (service.index, None);
    let (mut target, mut chain) = (service, &service.chain);
    let passed = hops::check(request)?;
    if let Some(extras) = &service.extras {
        *terms = Terms::of(extras, request);
        if let Some(local) = terms::preflight(extras, request, terms.as_deref()) {
            // Before the plugins: a browser sends nothing that they could know its user by.
            annotate::request_id(request, request_id, worker);
            response.status = local.status;
            return send_local(worker, local, may_keep_alive(request, body, reply), reply).await;
        }
        if let Some(split) = &extras.split {
            let (branch, is_news) = routed::branch(split, request, asker, || worker.random());
            (target, chain) = routed::of_branch(snapshot, split, branch).ok_or(Error::NoRoute)?;
            *routed = (service.index, Some(branch));
            worker.counts_of(snapshot, service).borrow_mut().count_part(&target.name);
            place.set(Some(target.index));
            if is_news {
                terms.get_or_insert_default().keep(split, service, target, asker);
            }
        }
    }
    check_size(request, body, target, snapshot)?;
    annotate::all(request, request_id, asker, snapshot, worker);
    select(chain, request, selected);
    let exchange = Exchange {
        worker,
        snapshot,
        service,
        target,
        chosen: Cell::default(),
        chain,
        place,
        asker,
        request_id,
        // Only plugins are told the time.
        received: if selected.is_empty() { UNIX_EPOCH } else { SystemTime::now() },
        upstream,
        trace,
        passed,
        held: Held::of(worker.budget()),
        instead: Cell::default(),
        has_responded: Cell::default(),
        expires_ms: now_ms().saturating_add(grpc::patience(target, request, reply)),
        selected,
        terms: terms.as_deref(),
        wanted: Wanted::asked(service, request),
    };
    body.bound(exchange.expires_ms);
    reply.bound(exchange.expires_ms);
    exchange.serve((request, response, carried), body, reply).await
}

/// Finds the plugins that apply to a request, and asks for an answer that they can read.
fn select(chain: &Chain, request: &mut RequestHead, selected: &mut Selected) {
    chain.select(&request.path, selected);
    if selected.response_encoding() > Encoding::Raw {
        annotate::plain_answer(request);
    }
}

/// Refuses a head that is over its service's limits, and a body that says that it is too large.
fn check_size(
    request: &RequestHead,
    body: &mut impl BodySource,
    service: &Service,
    snapshot: &Snapshot,
) -> Result<(), Error> {
    let mut bytes_max = snapshot.limits.body_bytes_max;
    if let Some(bounds) = service.extras.as_ref().and_then(|extras| extras.bounds.as_ref()) {
        bounds.check(request)?;
        bytes_max = bounds.body_bytes_max;
        body.allow(bytes_max);
    }
    match request.body {
        BodyLength::Known(n) if n > bytes_max => Err(Error::BodyTooLarge),
        _ => Ok(()),
    }
}

/// Whether the connection can serve another request after this response: the request's body has
/// been read, or is so short that reading the rest is cheaper than a new connection.
fn may_keep_alive(request: &RequestHead, body: &impl BodySource, reply: &impl Reply) -> bool {
    let is_short = matches!(request.body, BodyLength::Known(n) if n <= DISCARD_BYTES_MAX);
    body.is_done() || (is_short && !reply.awaits_invitation())
}

impl crate::plugin::Upstream for Exchange<'_> {
    fn authority(&self) -> Option<&str> {
        self.upstream.get().and_then(|id| self.snapshot.authority_of(id))
    }
}

impl Exchange<'_> {
    /// What comes of a request: its plugins, then whoever answers it.
    async fn serve(
        &self,
        (request, response, carried): (&mut RequestHead, &mut ResponseHead, &mut Carried),
        body: &mut impl BodySource,
        reply: &mut impl Reply,
    ) -> Result<u16, Error> {
        let payload = match self.request_phase(request, carried, body, reply).await? {
            Ok(payload) => payload,
            Err(verdict) => {
                let keep_alive = may_keep_alive(request, body, reply);
                let mut messages = Messages { request, response, carried };
                return self.answer_instead(&mut messages, verdict, keep_alive, reply).await;
            }
        };
        if let Some(chosen) = carried.chosen() {
            self.choose(chosen);
        }
        // Behind the plugins: whom they turn away learns nothing by it.
        if request.method == Method::Options && !hops::may_forward(request)? {
            response.status = 204;
            let keep_alive = may_keep_alive(request, body, reply);
            return self.send_instead(hops::options(), keep_alive, reply).await;
        }
        if !self.passed.is_empty() {
            // A plugin that has taken it out would hide a circle.
            request.fields.set(cdn_loop::NAME.as_bytes(), &self.passed);
        }
        if self.asked().aggregation.is_some() {
            aggregate::ask_for_whole_json(request);
        }
        let messages = Messages { request, response: &mut *response, carried: &mut *carried };
        match self.forward(messages, payload, body, reply).await {
            Err(Error::CutByPlugin) => {
                // Boxed: other exchanges shall not be as large.
                let messages = Messages { request, response, carried };
                Box::pin(self.answer_for_plugin(messages, body, reply)).await
            }
            outcome => outcome,
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            request_id: self.request_id,
            service: &self.service.name,
            route_path: &self.service.base_path,
            scheme: self.asker.scheme,
            client_ip: self.asker.ip,
            connection: self.asker.connection,
            received: self.received,
            bounds: self.snapshot.message_bounds(),
            trace: Some(self.trace),
            passed: &self.passed,
            upstreams: Some(self),
            asked: crate::plugin::Asked(Some(self)),
        }
    }

    async fn forward(
        &self,
        mut messages: Messages<'_>,
        payload: Payload,
        body: &mut impl BodySource,
        reply: &mut impl Reply,
    ) -> Result<u16, Error> {
        let target = self.asked();
        if let Some(redirect) = &target.redirect {
            return self.redirect(redirect, messages, body, reply).await;
        }
        let wanted = self.wanted(messages.request, &payload)?;
        let copy = self.copy(messages.request, &payload, wanted.is_some());
        if let Some(aggregation) = &target.aggregation
            && !aggregation.calls.is_empty()
        {
            // Boxed: no other exchange shall be as large as those of an aggregation.
            let answered = self.answer_by_calls(aggregation, messages, body, reply);
            return Box::pin(answered).await;
        }
        match &*target.cluster {
            crate::upstream::cluster::Cluster::Endpoints(endpoints) => {
                let call = forward::Call::new(self, endpoints, messages.request, payload);
                let mut call = forward::Call { wanted, ..call };
                if let Some(copy) = copy {
                    call.keep_for(copy);
                }
                call.run(&mut messages, body, reply).await
            }
            crate::upstream::cluster::Cluster::Echo => {
                self.answer_by_echo(messages, payload, copy, body, reply).await
            }
        }
    }
}
