//! The plugin ABIs: which one a module speaks, and what each does at the points where the chain,
//! the pool and an instance meet a guest.
//!
//! Everything else in this room knows phases, verdicts and instances.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use wasmtime::{Func, Module, Store};

use super::chain::{BodySlot, Carried, Facts, Flow, Piece, Subject, Verdict};
use super::failure::CallError;
use super::http_wasm;
use super::json_abi;
use super::module::Plugin;
use super::pool::{Pool, Pools};
use super::proxy_wasm;
use super::spec::{BodyMode, FailureMode, NonUtf8, Phase, PluginSpec, PluginType};
use super::state::HostState;
use crate::http::message::{Fields, LocalResponse};
use crate::http::respond;

/// Whether a module says that it is written for other gateways.
pub(super) fn is_foreign(module: &Module) -> bool {
    proxy_wasm::is_filter(module) || http_wasm::is_handler(module)
}

/// The same of a module that cannot be compiled, by the names in it.
pub(super) fn names_foreign(wasm: &[u8]) -> bool {
    let names = |name: &str| memchr::memmem::find(wasm, name.as_bytes()).is_some();
    names("proxy_abi_version_") || names("handle_request") && names("handle_response")
}

/// Gives keys that the configuration leaves out the defaults of foreign filters, as in Envoy and
/// Traefik: what fails lets nothing pass; who reads bodies says so by its exports.
pub(super) fn settle_foreign(spec: &mut PluginSpec) {
    if !spec.failure_mode_is_given {
        spec.failure_mode = FailureMode::Closed;
    }
    if !spec.body_is_given {
        spec.body = BodyMode::Stream;
    }
}

/// How a module is spoken to, and what its exports say within that.
#[derive(Debug, Clone)]
pub(super) enum Abi {
    /// docs/plugin-abi.md: `execute`, JSON in and out.
    Json(json_abi::Shape),
    /// An Envoy filter.
    ProxyWasm(proxy_wasm::Shape),
    /// A handler of http-wasm.
    HttpWasm(http_wasm::Shape),
}

impl Abi {
    /// Which ABI a module speaks, by what it exports; or why it cannot be called.
    pub(super) fn inspect(module: &Module, wasm: &[u8], spec: &PluginSpec) -> Result<Self, String> {
        let abi = if proxy_wasm::is_filter(module) {
            Self::ProxyWasm(proxy_wasm::inspect(module, spec)?)
        } else if http_wasm::is_handler(module) {
            Self::HttpWasm(http_wasm::inspect(module, spec)?)
        } else {
            Self::Json(json_abi::inspect(module, wasm, spec)?)
        };
        abi.check(spec)?;
        Ok(abi)
    }

    /// Whether these keys go with the ABI.
    pub(super) fn check(&self, spec: &PluginSpec) -> Result<(), String> {
        match self {
            Self::Json(_) if spec.verbatim_config().is_some() => Err(
                "its config is a text, which only foreign filters are handed; give a plugin of the \
                 JSON ABI a map"
                    .to_owned(),
            ),
            Self::Json(_) if spec.non_utf8 == Some(NonUtf8::Hide) => Err(
                "nonUtf8: hide is for foreign filters; a plugin of the JSON ABI is given such \
                 values with U+FFFD"
                    .to_owned(),
            ),
            Self::Json(shape) if spec.tick.is_some() && !shape.has_tick => Err(
                "it is to tick, but exports no function on_tick(); export one, or take tick out"
                    .to_owned(),
            ),
            Self::ProxyWasm(_) if spec.tick.is_some() => Err(
                "tick is for plugins of the JSON ABI; a filter of Envoy sets its period by \
                 proxy_set_tick_period_milliseconds"
                    .to_owned(),
            ),
            Self::HttpWasm(_) if spec.tick.is_some() => {
                Err("tick: a handler of http-wasm has no function for it".to_owned())
            }
            Self::ProxyWasm(_) | Self::HttpWasm(_) if spec.kind == PluginType::Aggregation => Err(
                "it is a foreign filter, which cannot join answers; take another type".to_owned(),
            ),
            Self::HttpWasm(_) if spec.body == BodyMode::Events => Err(
                "body: events is not for handlers of http-wasm, which read bodies as they ask; set \
                 stream, whole or false"
                    .to_owned(),
            ),
            Self::Json(shape) => shape.check(spec),
            Self::ProxyWasm(_) | Self::HttpWasm(_) => Ok(()),
        }
    }

    /// Gives keys that the configuration leaves out the defaults of the ABI.
    pub(super) fn settle(&self, spec: &mut PluginSpec) {
        match self {
            Self::Json(_) => {}
            Self::ProxyWasm(_) | Self::HttpWasm(_) => settle_foreign(spec),
        }
    }

    /// In words, for the plugin's author.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Json(shape) => shape.describe(),
            Self::ProxyWasm(shape) => shape.describe(),
            Self::HttpWasm(shape) => shape.describe(),
        }
    }

    /// Whether a plugin of type `response` is asked before the service is, too.
    pub(super) fn answers_requests(&self) -> bool {
        match self {
            Self::Json(shape) => shape.on_request.is_some(),
            Self::ProxyWasm(_) | Self::HttpWasm(_) => false,
        }
    }

    /// Brings a fresh instance to life.
    pub(super) async fn start(
        &self,
        instance: &wasmtime::Instance,
        store: &mut Store<HostState>,
    ) -> Result<Guest, CallError> {
        match self {
            Self::Json(shape) => {
                json_abi::Guest::start(shape, instance, store).await.map(Guest::Json)
            }
            Self::ProxyWasm(shape) => {
                let started = proxy_wasm::Guest::start(shape, instance, store).await;
                started.map(|guest| Guest::ProxyWasm(Box::new(guest)))
            }
            Self::HttpWasm(shape) => {
                http_wasm::Guest::start(shape, instance, store).await.map(Guest::HttpWasm)
            }
        }
    }
}

/// What is called of a started instance.
pub(super) enum Guest {
    Json(json_abi::Guest),
    ProxyWasm(Box<proxy_wasm::Guest>),
    HttpWasm(http_wasm::Guest),
}

/// A guest is called as what it was started as.
const OTHER_ABI: &str = "it speaks another ABI";

impl Guest {
    /// What is called before the instance is freed.
    pub(super) fn cleanup(&self) -> Option<Func> {
        match self {
            Self::Json(guest) => guest.cleanup,
            // A root context is told; a handler is not.
            Self::ProxyWasm(_) | Self::HttpWasm(_) => None,
        }
    }

    /// What is called at a tick of a plugin of the JSON ABI.
    pub(super) fn on_tick(&self) -> Option<Func> {
        match self {
            Self::Json(guest) => guest.on_tick,
            Self::ProxyWasm(_) | Self::HttpWasm(_) => None,
        }
    }

    /// As a guest of the JSON ABI.
    pub(super) fn json(&mut self) -> Result<&mut json_abi::Guest, CallError> {
        match self {
            Self::Json(guest) => Ok(guest),
            _ => Err(CallError::refused(OTHER_ABI)),
        }
    }

    /// As a guest of proxy-wasm.
    pub(super) fn filter(&self) -> Result<&proxy_wasm::Guest, CallError> {
        match self {
            Self::ProxyWasm(guest) => Ok(guest),
            _ => Err(CallError::refused(OTHER_ABI)),
        }
    }

    /// As a guest of http-wasm.
    pub(super) fn handler(&self) -> Result<&http_wasm::Guest, CallError> {
        match self {
            Self::HttpWasm(guest) => Ok(guest),
            _ => Err(CallError::refused(OTHER_ABI)),
        }
    }
}

/// How a body passes a plugin, piece by piece.
pub(super) enum Way {
    Json(Box<json_abi::Way>),
    ProxyWasm(proxy_wasm::Way),
}

impl Way {
    /// How the body of a message passes a plugin that has let its head go on; none if it is not
    /// given it so.
    pub(super) fn of(
        plugin: &Arc<Plugin>,
        facts: &Facts<'_>,
        subject: &Subject<'_>,
        carried: &mut Carried,
    ) -> Option<Self> {
        if plugin.is_handler() {
            return None; // it reads in its calls
        }
        let (phase, fields) = match subject {
            Subject::Request { head } => (Phase::Request, &head.fields),
            Subject::Response { head, .. } => (Phase::Response, &head.fields),
            Subject::Aggregation { .. } => return None,
        };
        if plugin.is_resident() {
            return carried.streams.way(plugin, phase).map(Self::ProxyWasm);
        }
        let is_events = plugin.spec.body == BodyMode::Events && is_event_stream(fields);
        let mut input = Vec::new();
        let body = BodySlot::default();
        json_abi::write_input(&mut input, plugin, facts, subject, &body, carried);
        let streams = &mut carried.chunk_streams;
        let way = json_abi::Way::new(streams, plugin, phase, facts, input, is_events);
        Some(Self::Json(Box::new(way)))
    }

    /// Gives the plugin a piece; it may hold `bytes_max` back.
    pub(super) async fn pass(
        &mut self,
        pool: &Rc<Pool>,
        piece: Piece,
        bytes_max: usize,
        deadline: Instant,
    ) -> Result<Flow, CallError> {
        match self {
            Self::Json(way) => way.pass(pool, piece, deadline).await,
            Self::ProxyWasm(way) => way.pass(pool, piece, bytes_max, deadline).await,
        }
    }

    /// What has become of what the plugin holds back, or has been given and not looked at.
    pub(super) async fn resume(
        &mut self,
        pool: &Rc<Pool>,
        deadline: Instant,
    ) -> Result<Flow, CallError> {
        match self {
            Self::Json(way) => way.resume(pool, deadline).await,
            Self::ProxyWasm(way) => way.resume(pool, deadline).await,
        }
    }

    /// Whether the plugin has been given more than it has been called for.
    pub(super) fn has_more(&self) -> bool {
        match self {
            Self::Json(way) => way.has_more(),
            Self::ProxyWasm(_) => false,
        }
    }

    /// Whether [`Self::take_given`] has something to give.
    pub(super) fn keeps_given(&self) -> bool {
        matches!(self, Self::Json(_))
    }

    /// What the plugin was given and has not passed, where that is kept here.
    pub(super) fn take_given(&mut self) -> Option<Piece> {
        match self {
            Self::Json(way) => Some(way.take_given()),
            Self::ProxyWasm(_) => None,
        }
    }

    /// Ready when the plugin has something to say without being given more.
    pub(super) fn poll_awake(&self, task: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Json(_) => Poll::Pending, // all that it does is done in its calls
            Self::ProxyWasm(way) => way.poll_awake(task),
        }
    }
}

/// Whether a body is one of server-sent events.
pub(super) fn is_event_stream(fields: &Fields) -> bool {
    let value = fields.get("content-type").unwrap_or_default();
    let media = value.split(|&byte| byte == b';').next().unwrap_or_default();
    media.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

/// Gives a plugin that takes bodies piece by piece one that is whole in memory. (Others have been
/// given it with the head.)
pub(super) async fn pass_whole(
    pools: &Pools,
    plugin: &Arc<Plugin>,
    facts: &Facts<'_>,
    subject: &mut Subject<'_>,
    body: &mut BodySlot,
    carried: &mut Carried,
) -> Result<Verdict, CallError> {
    if plugin.is_resident() || plugin.is_handler() {
        return Ok(Verdict::Continue);
    }
    match Way::of(plugin, facts, subject, carried) {
        Some(Way::Json(mut way)) => {
            json_abi::pass_whole(pools, &mut way, plugin, facts, subject, body, carried).await
        }
        _ => Ok(Verdict::Continue),
    }
}

/// What the ABIs keep for one run of a chain.
pub(super) type Draft = json_abi::Draft;

/// Runs one phase of one plugin, and does what it says. An error has changed nothing.
pub(super) async fn run_phase(
    pools: &Pools,
    plugin: &Arc<Plugin>,
    facts: &Facts<'_>,
    subject: &mut Subject<'_>,
    body: &mut BodySlot,
    carried: &mut Carried,
    draft: &mut Draft,
) -> Result<Verdict, CallError> {
    if plugin.rejects_non_utf8()
        && let Some(refusal) = refusal_of_non_utf8(plugin, subject)
    {
        return Ok(Verdict::Respond(refusal));
    }
    if plugin.is_handler()
        && matches!(subject, Subject::Response { .. })
        && !carried.held.has(plugin)
    {
        return Ok(Verdict::Continue); // the request did not come to it
    }
    let pool = pools.to_call(plugin)?;
    let started = Instant::now();
    // Boxed: runs of JSON plugins shall not be as large.
    let result = if plugin.is_resident() {
        Box::pin(proxy_wasm::call(&pool, facts, subject, body, carried, started)).await
    } else if plugin.is_handler() {
        Box::pin(http_wasm::call(&pool, facts, subject, body, carried, started)).await
    } else {
        json_abi::call(pools, &pool, facts, subject, body, carried, draft, started).await
    };
    pool.count(started, facts.ids(), result.as_ref().err());
    result
}

/// What is answered to a message with a value that the plugin cannot bear: it is not asked.
#[cold]
fn refusal_of_non_utf8(plugin: &Plugin, subject: &Subject<'_>) -> Option<LocalResponse> {
    let (fields, status, what) = match subject {
        Subject::Request { head } => (&head.fields, 400, "request"),
        Subject::Response { head, .. } => (&head.fields, 502, "response"),
        Subject::Aggregation { .. } => return None,
    };
    let (name, _) = fields.iter().find(|(_, value)| !NonUtf8::Hide.shows(value))?;
    let (name, plugin) = (String::from_utf8_lossy(name), &plugin.spec.name);
    let why = format!(
        "the value of the {what}'s header {name} is not UTF-8, which plugin \"{plugin}\" is not to \
         be given (nonUtf8)"
    );
    Some(respond::json_error(status, &why))
}
