//! Handlers of http-wasm, as Traefik runs them (docs/foreign-plugins.md).
//!
//! An instance serves one exchange at a time, from `handle_request` to the end of
//! `handle_response`: the ABI has the guest keep what it knows in between.

mod hostcalls;
mod shape;
mod state;

use std::sync::Arc;
use std::time::Instant;

use wasmtime::{Store, TypedFunc};

use super::chain::{BodySlot, Carried, Facts, Subject, Verdict};
use super::failure::CallError;
use super::hostcalls::end_of_call;
use super::instance::{Instance, start};
use super::module::Plugin;
use super::pool::{Lease, Pool, Pools};
use super::spec::Phase;
use super::state::HostState;
pub(super) use hostcalls::serve;
pub(super) use shape::{Shape, inspect, is_handler};
use state::Body;
pub(super) use state::State;

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

    fn take(&mut self, plugin: &Arc<Plugin>) -> Option<(Lease, i32)> {
        let is_it = |it: &Holding| it.plugin == Arc::as_ptr(plugin);
        let mut holding = self.held.swap_remove(self.held.iter().position(is_it)?);
        let request = holding.request;
        holding.lease.take().map(|lease| (lease, request))
    }
}

/// Runs one phase of one handler and does what it says. An error has changed nothing.
pub(super) async fn call(
    pools: &Pools,
    plugin: &Arc<Plugin>,
    facts: &Facts<'_>,
    subject: &mut Subject<'_>,
    body: &mut BodySlot,
    carried: &mut Carried,
) -> Result<Verdict, CallError> {
    let pool = pools.to_call(plugin)?;
    let started = Instant::now();
    let deadline = started + plugin.spec.timeout;
    let result = match subject {
        Subject::Request { head } => {
            request(&pool, plugin, facts, head, body, carried, deadline).await
        }
        Subject::Response { head, .. } => match carried.held.take(plugin) {
            Some(held) => response(held, plugin, facts, head, body, carried, deadline).await,
            // The request did not come to it.
            None => return Ok(Verdict::Continue),
        },
        Subject::Aggregation { .. } => {
            Err(CallError::refused("a handler of http-wasm cannot join answers"))
        }
    };
    pool.count(started, facts.ids(), result.as_ref().err());
    result
}

async fn request(
    pool: &std::rc::Rc<Pool>,
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
    let bytes = given(plugin, Phase::Request, body);
    let handler = &mut instance.store.data_mut().handler;
    **handler = State {
        features: handler.features,
        features_now: handler.features,
        request: head.clone(),
        response: ResponseHead { status: 200, ..ResponseHead::default() },
        request_body: Body { bytes, ..Body::default() },
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
    replace(handler.request_body.written.take(), &mut head.body, body);
    handler.is_after = true;
    let request = (answered >> 32) as i32;
    let plugin = Arc::as_ptr(plugin);
    carried.held.held.push(Holding { plugin, lease: Some(lease), request });
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
    let bytes = given(plugin, Phase::Response, body);
    let early = std::mem::take(&mut handler.response.fields);
    handler.response = head.clone();
    handler.response_is_changed = !early.is_empty();
    early.iter().for_each(|(name, value)| handler.response.fields.push(name, value));
    handler.response_body = Body { bytes, ..Body::default() };
    let answered = match instance.guest.handler() {
        Ok(guest) => {
            let function = guest.handle_response.clone();
            let called = function.call_async(&mut instance.store, (request, 0)).await;
            called.map_err(CallError::from)
        }
        Err(error) => Err(error),
    };
    end_of_call(instance.store.data_mut());
    if let Err(error) = answered {
        lease.failed();
        return Err(error);
    }
    let handler = &mut lease.instance().store.data_mut().handler;
    if handler.response_is_changed {
        carried.note_change(handler.response_body.written.is_some());
        *head = std::mem::take(&mut handler.response);
    }
    replace(handler.response_body.written.take(), &mut head.body, body);
    **handler = State { features: handler.features, ..State::default() };
    lease.give_back();
    Ok(Verdict::Continue)
}

/// The bytes of a body that the handler may read.
fn given(plugin: &Plugin, phase: Phase, body: &BodySlot) -> Vec<u8> {
    body.given.clone().filter(|_| plugin.takes_body_in(phase)).unwrap_or_default()
}

fn source_of(facts: &Facts<'_>) -> String {
    // The port of a client is not kept.
    match facts.client_ip {
        std::net::IpAddr::V4(ip) => format!("{ip}:0"),
        std::net::IpAddr::V6(ip) => format!("[{ip}]:0"),
    }
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
