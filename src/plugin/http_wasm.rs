//! Handlers of http-wasm, as Traefik runs them (docs/foreign-plugins.md).
//!
//! An instance serves one exchange at a time, from `handle_request` to the end of
//! `handle_response`: the ABI has the guest keep what it knows in between.

mod hostcalls;
mod shape;
mod state;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use wasmtime::{Store, TypedFunc};

use super::chain::{BodySlot, Carried, Facts, Feed, MessageBounds, Subject, Verdict};
use super::failure::CallError;
use super::hostcalls::end_of_call;
use super::instance::{Instance, start};
use super::log::Ids;
use super::module::Plugin;
use super::pool::{Lease, Pool};
use super::spec::{BodyMode, Phase};
use super::state::HostState;
pub(super) use hostcalls::serve;
pub(super) use shape::{Shape, inspect, is_handler};
pub(super) use state::State;
use state::{BUFFER_REQUEST, BUFFER_RESPONSE, Body};

use crate::http::message::{BodyLength, LocalResponse, RequestHead, ResponseHead};

/// The module that handlers import from.
pub(super) const MODULE: &str = "http_handler";

/// What is called of an instance.
pub(super) struct Guest {
    handle_request: TypedFunc<(), i64>,
    handle_response: TypedFunc<(i32, i32), ()>,
}

impl Guest {
    /// Runs what starts the module.
    pub(super) async fn start(
        shape: &Shape,
        instance: &wasmtime::Instance,
        store: &mut Store<HostState>,
    ) -> Result<Self, CallError> {
        start(shape.start, instance, store).await?;
        let handler = &mut store.data_mut().handler;
        handler.features = handler.features_now;
        end_of_call(store.data_mut());
        Ok(Self {
            handle_request: instance.get_typed_func(&mut *store, "handle_request")?,
            handle_response: instance.get_typed_func(store, "handle_response")?,
        })
    }
}

/// The instances that serve an exchange while its service is asked.
#[derive(Default)]
pub(super) struct Held {
    held: Vec<Holding>,
}

/// One of them; it finds its way back when the exchange ends without a response.
struct Holding {
    plugin: *const Plugin,
    pool: Rc<Pool>,
    wants_response_body: bool,
    lease: Option<Lease>,
    request: i32,
}

impl Drop for Holding {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}

impl Held {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The exchange is over.
    pub(super) fn clear(&mut self) {
        self.held.clear();
    }

    /// Whether the exchange is in an instance of this plugin.
    pub(super) fn has(&self, plugin: &Arc<Plugin>) -> bool {
        self.held.iter().any(|it| it.plugin == Arc::as_ptr(plugin))
    }

    /// Whether a handler is to see the body of the response.
    pub(super) fn wants_response_body(&self) -> bool {
        self.held.iter().any(|it| it.wants_response_body)
    }

    /// There will be no response of a service: the handlers are told so.
    pub(super) async fn fail(&mut self, status: u16) {
        while let Some(mut holding) = self.held.pop() {
            let Some(mut lease) = holding.lease.take() else {
                continue;
            };
            let started = Instant::now();
            let instance = lease.instance();
            let state = instance.store.data_mut();
            state.handler.response.status = status;
            let deadline = started + state.plugin.spec.timeout;
            let ids = (state.request_id.clone(), state.trace_id.clone());
            let ids = Ids { request: &ids.0, trace: &ids.1 };
            instance.begin(deadline, ids);
            let error = answer(&mut lease, holding.request, true).await.err();
            holding.pool.count(started, ids, error.as_ref());
            match error {
                None => lease.give_back(),
                Some(_) => lease.failed(),
            }
        }
    }

    fn take(&mut self, plugin: &Arc<Plugin>) -> Option<(Lease, i32)> {
        let is_it = |it: &Holding| it.plugin == Arc::as_ptr(plugin);
        let mut holding = self.held.swap_remove(self.held.iter().position(is_it)?);
        let request = holding.request;
        holding.lease.take().map(|lease| (lease, request))
    }
}

/// Runs one phase of one handler and does what it says. An error has changed nothing.
pub(super) async fn call(
    pool: &Rc<Pool>,
    facts: &Facts<'_>,
    subject: &mut Subject<'_>,
    body: &mut BodySlot,
    carried: &mut Carried,
    started: Instant,
) -> Result<Verdict, CallError> {
    let plugin = pool.plugin();
    let deadline = started + plugin.spec.timeout;
    match subject {
        Subject::Request { head } => {
            request(pool, plugin, facts, head, body, carried, deadline).await
        }
        Subject::Response { head, .. } => match carried.held.take(plugin) {
            Some(held) => response(held, plugin, facts, head, body, carried, deadline).await,
            None => Ok(Verdict::Continue),
        },
        Subject::Aggregation { .. } => {
            Err(CallError::refused("a handler of http-wasm cannot join answers"))
        }
    }
}

async fn request(
    pool: &Rc<Pool>,
    plugin: &Arc<Plugin>,
    facts: &Facts<'_>,
    head: &mut RequestHead,
    body: &mut BodySlot,
    carried: &mut Carried,
    deadline: Instant,
) -> Result<Verdict, CallError> {
    let mut lease = pool.lease(deadline).await?;
    let instance = lease.instance();
    instance.begin(deadline, facts.ids());
    let feed = feed_of(carried, body, facts);
    let is_readable = may_read(plugin, Phase::Request, body);
    let is_kept =
        plugin.spec.body == BodyMode::Whole || handler_features(instance) & BUFFER_REQUEST != 0;
    let handler = &mut instance.store.data_mut().handler;
    **handler = State {
        features: handler.features,
        features_now: handler.features,
        request: head.clone(),
        response: ResponseHead { status: 200, ..ResponseHead::default() },
        request_body: Body::of(&feed, is_readable, is_kept),
        // What it says of trailers waits for those of the response.
        response_body: Body::of(&Rc::new(Feed::new(0)), false, true),
        source: source_of(facts),
        protocol: facts.connection.protocol.as_str(),
        scheme: facts.scheme.as_str(),
        bounds: facts.bounds,
        ..State::default()
    };
    let answered = match instance.guest.handler() {
        Ok(guest) => {
            let function = guest.handle_request.clone();
            function.call_async(&mut instance.store, ()).await.map_err(CallError::from)
        }
        Err(error) => Err(error),
    };
    end_of_call(instance.store.data_mut());
    let answered = match answered {
        Ok(answered) => answered,
        Err(error) => {
            lease.failed();
            return Err(error);
        }
    };
    let handler = &mut lease.instance().store.data_mut().handler;
    if answered as i32 == 0 {
        let response = std::mem::take(&mut handler.response);
        let body = handler.response_body.written.take().unwrap_or_default();
        lease.give_back();
        let (status, fields) = (response.status, response.fields);
        return Ok(Verdict::Respond(LocalResponse { status, fields, body }));
    }
    if handler.request_is_changed {
        carried.note_change(handler.request_body.written.is_some());
        *head = handler.request.clone();
    }
    let is_used = handler.request_body.is_used;
    settle(handler.request_body.written.take(), is_used, &feed, &mut head.body, body);
    handler.is_after = true;
    let wants_response_body = handler.features_now & BUFFER_RESPONSE != 0;
    let request = (answered >> 32) as i32;
    let (plugin, pool) = (Arc::as_ptr(plugin), Rc::clone(pool));
    let lease = Some(lease);
    let holding = Holding { plugin, pool, wants_response_body, lease, request };
    carried.held.held.push(holding);
    Ok(Verdict::Continue)
}

async fn response(
    (mut lease, request): (Lease, i32),
    plugin: &Arc<Plugin>,
    facts: &Facts<'_>,
    head: &mut ResponseHead,
    body: &mut BodySlot,
    carried: &mut Carried,
    deadline: Instant,
) -> Result<Verdict, CallError> {
    let instance: &mut Instance = lease.instance();
    instance.begin(deadline, facts.ids());
    let handler = &mut instance.store.data_mut().handler;
    // What it has set and written before stands beside, and before, what the service says.
    let written = handler.response_body.written.take().map(|mut early| {
        early.extend_from_slice(body.given.as_deref().unwrap_or_default());
        early
    });
    replace(written, &mut head.body, body);
    let feed = feed_of(carried, body, facts);
    if let Some(early) = &handler.response_body.feed {
        feed.edit_as(early);
    }
    let is_readable = may_read(plugin, Phase::Response, body);
    let early = std::mem::take(&mut handler.response.fields);
    handler.response = head.clone();
    handler.response_is_changed = !early.is_empty();
    early.iter().for_each(|(name, value)| handler.response.fields.push(name, value));
    handler.response_body = Body::of(&feed, is_readable, true);
    if let Err(error) = answer(&mut lease, request, false).await {
        lease.failed();
        return Err(error);
    }
    let handler = &mut lease.instance().store.data_mut().handler;
    if handler.response_is_changed {
        carried.note_change(handler.response_body.written.is_some());
        *head = std::mem::take(&mut handler.response);
    }
    settle(handler.response_body.written.take(), false, &feed, &mut head.body, body);
    **handler = State { features: handler.features, ..State::default() };
    lease.give_back();
    Ok(Verdict::Continue)
}

/// Calls `handle_response`.
async fn answer(lease: &mut Lease, request: i32, is_error: bool) -> Result<(), CallError> {
    let instance = lease.instance();
    let answered = match instance.guest.handler() {
        Ok(guest) => {
            let function = guest.handle_response.clone();
            let arguments = (request, i32::from(is_error));
            let called = function.call_async(&mut instance.store, arguments).await;
            called.map_err(CallError::from)
        }
        Err(error) => Err(error),
    };
    end_of_call(instance.store.data_mut());
    answered
}

/// Where the handler reads a body: in the exchange's, or in memory.
fn feed_of(carried: &mut Carried, body: &BodySlot, facts: &Facts<'_>) -> Rc<Feed> {
    let MessageBounds { body_bytes_max, .. } = facts.bounds;
    let feed = carried.feed.take().unwrap_or_else(|| {
        let feed = Feed::new(body_bytes_max);
        feed.fill(Vec::new());
        Rc::new(feed)
    });
    if let Some(bytes) = &body.given {
        feed.fill(bytes.clone());
    }
    carried.feed = Some(Rc::clone(&feed));
    feed
}

fn handler_features(instance: &mut Instance) -> u32 {
    instance.store.data_mut().handler.features
}

/// Whether the handler may read a body: one that is to be given to it whole and is not there was
/// too large for that.
fn may_read(plugin: &Plugin, phase: Phase, body: &BodySlot) -> bool {
    match plugin.body_in(phase) {
        BodyMode::None => false,
        BodyMode::Whole if phase == Phase::Request => body.given.is_some(),
        _ => true,
    }
}

fn source_of(facts: &Facts<'_>) -> String {
    // The port of a client is not kept.
    match facts.client_ip {
        std::net::IpAddr::V4(ip) => format!("{ip}:0"),
        std::net::IpAddr::V6(ip) => format!("[{ip}]:0"),
    }
}

/// What becomes of a body that a handler has read, and perhaps written anew.
fn settle(
    written: Option<Vec<u8>>,
    is_used: bool,
    feed: &Feed,
    length: &mut BodyLength,
    body: &mut BodySlot,
) {
    if written.is_some() {
        drop(feed.drain());
    }
    feed.next_reader();
    let rest = (is_used && body.given.is_some()).then(|| feed.drain());
    replace(written.or(rest), length, body);
}

fn replace(new: Option<Vec<u8>>, length: &mut BodyLength, body: &mut BodySlot) {
    let Some(new) = new else {
        return;
    };
    *length = match new.len() as u64 {
        0 => BodyLength::Empty,
        bytes => BodyLength::Known(bytes),
    };
    body.given = Some(new);
    body.replaced = true;
}
