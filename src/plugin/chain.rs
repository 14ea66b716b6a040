//! The plugins of one service in their order, and how an exchange runs them.
//!
//! Part of the snapshot: built by the control thread, read by every worker. Here a plugin's failure
//! becomes what its failure mode says; the leaves below only report it.

mod carried;
mod feed;
mod passage;
mod selected;
mod upstreams;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

pub use self::carried::Carried;
pub(super) use self::carried::Changes;
pub(super) use self::feed::Edit;
pub use self::feed::{Fed, Feed, TrailerEdits};
pub(super) use self::passage::Flow;
use self::passage::Stage;
pub use self::passage::{Passage, Piece};
pub use self::selected::{Part, Selected};
pub use self::upstreams::{Chosen, Upstreams, Wish};
use super::abi::{self, Draft, Way};
use super::failure::CallError;
use super::log::Ids;
use super::module::Plugin;
use super::pool::Pools;
use super::spec::{FailureMode, Phase};
use super::stats::ErrorKind;
use crate::http::connection::{Connection, Scheme};
use crate::http::message::{BodyLength, Fields, LocalResponse, RequestHead, ResponseHead};
use crate::http::respond;
use crate::limits;
use crate::route::path::{Parameters, Rules};
use crate::trace::{PluginEnd, Trace};

/// The plugins of one service, in the order in which they run. Immutable.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    plugins: Vec<Arc<Plugin>>,
}

impl Chain {
    /// A chain of these plugins: lower priority first, equal priorities in the order given.
    pub fn new(mut plugins: Vec<Arc<Plugin>>) -> Self {
        plugins.sort_by_key(|plugin| plugin.spec.priority);
        Self { plugins }
    }

    /// Whether there is no plugin.
    pub fn is_empty(&self) -> bool {
        self.plugins.is_empty()
    }

    /// The plugins in their order.
    pub fn plugins(&self) -> &[Arc<Plugin>] {
        &self.plugins
    }

    /// Their names, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.plugins.iter().map(|plugin| plugin.spec.name.as_str())
    }

    /// Finds the plugins that apply to `path` (normalised, without query). The choice holds for
    /// the whole exchange, whatever a plugin makes of the path.
    pub fn select(&self, path: &str, out: &mut Selected) {
        out.clear();
        for (index, plugin) in self.plugins.iter().enumerate() {
            if plugin.spec.applies_to(path) {
                out.add(index, plugin);
            }
        }
    }
}

/// The operator's limits of messages, as far as they bound what plugins make of them too.
#[derive(Debug, Clone, Copy)]
pub struct MessageBounds {
    /// Bytes of fields that one output adds to a head. `server.limits.headBytesMax`.
    pub head_bytes_max: usize,
    /// Fields that one output adds to a head. `server.limits.headFieldsMax`.
    pub head_fields_max: usize,
    /// Bytes of a request target. `server.limits.uriBytesMax`.
    pub uri_bytes_max: usize,
    /// Bytes of a body. `server.limits.pluginBodyBytesMax`.
    pub body_bytes_max: usize,
    /// What a path may have in it.
    pub paths: Rules,
}

impl MessageBounds {
    /// Those of a configuration that says nothing.
    pub const DEFAULT: Self = Self {
        head_bytes_max: limits::HEAD_BYTES_MAX,
        head_fields_max: limits::HEAD_FIELDS_MAX,
        uri_bytes_max: limits::URI_BYTES_MAX,
        body_bytes_max: limits::PLUGIN_BODY_BYTES_MAX,
        paths: Rules {
            keeps_slashes: false,
            parameters: Parameters::Reject,
            keeps_non_utf8: false,
        },
    };

    /// Bytes of one output: the largest body with each of its bytes escaped, and its head.
    pub(super) fn output_bytes_max(&self) -> usize {
        let largest = self.body_bytes_max.saturating_mul(6).saturating_add(self.head_bytes_max);
        largest.max(limits::PLUGIN_OUTPUT_BYTES_MAX)
    }
}

/// What plugins are told of an exchange beside its messages.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// `context.requestId`.
    pub request_id: &'a str,
    /// `context.serviceId`: the service's name.
    pub service: &'a str,
    /// `context.routePath`: the service's base path.
    pub route_path: &'a str,
    /// `context.scheme`: how the client came, for `input.url` too. Behind a trusted proxy it is
    /// what that says.
    pub scheme: Scheme,
    /// `context.clientIp`: behind a trusted proxy, whom that names.
    pub client_ip: IpAddr,
    /// The client's connection: `context.protocol`, `context.tls`.
    pub connection: &'a Connection,
    /// `context.timestamp`: when the head had come.
    pub received: SystemTime,
    /// What bounds its messages.
    pub bounds: MessageBounds,
    /// Where calls are noted; none without a gateway around the plugin.
    pub trace: Option<&'a Trace>,
    /// Whom the request has passed (`CDN-Loop`), so that calls that lead here again are found.
    pub passed: &'a [u8],
    /// Who may be chosen to be asked; nobody without a gateway around the plugin.
    pub upstreams: Option<&'a dyn Upstreams>,
    /// Which origin has the request.
    pub asked: Asked<'a>,
}

/// Knows the origin that an exchange has asked last, as `host:port`. Only a filter that asks for it
/// costs the look.
pub trait Upstream {
    /// Its authority; `None` before any was asked, and where there is none.
    fn authority(&self) -> Option<&str>;
}

/// See [`Upstream`]; `None` for tools, which ask none.
#[derive(Clone, Copy, Default)]
pub struct Asked<'a>(pub Option<&'a dyn Upstream>);

impl std::fmt::Debug for Asked<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0.and_then(Upstream::authority))
    }
}

impl<'a> Facts<'a> {
    /// What lines of the log tell of the exchange.
    pub(super) fn ids(&self) -> Ids<'a> {
        Ids { request: self.request_id, trace: self.trace.map_or("", Trace::id) }
    }
}

/// What one of an aggregation's calls was answered, as its plugin is told.
#[derive(Debug, Clone, Copy)]
pub struct CallAnswer<'a> {
    /// The call's name.
    pub name: &'a str,
    /// The called service.
    pub service: &'a str,
    /// The answer's status; 0: there is none.
    pub status: u16,
    /// The answer's fields.
    pub fields: &'a Fields,
    /// The answer's body.
    pub body: &'a [u8],
    /// Why there is no answer.
    pub error: Option<&'a str>,
}

/// A collected body, or the fact that it was not collected.
#[derive(Debug, Clone, Default)]
pub struct BodySlot {
    /// The body; `None` if no plugin asked for it: it streams past.
    pub given: Option<Vec<u8>>,
    /// Whether a plugin made another body of it (`given` is then `Some`): the length of the
    /// original no longer counts, and a body that streams must be drained, not sent.
    pub replaced: bool,
}

/// The messages that one phase may change.
pub(super) enum Subject<'a> {
    Request {
        head: &'a mut RequestHead,
    },
    Response {
        request: &'a RequestHead,
        head: &'a mut ResponseHead,
    },
    Aggregation {
        request: &'a RequestHead,
        answers: &'a [CallAnswer<'a>],
        head: &'a mut ResponseHead,
    },
}

impl Subject<'_> {
    /// Whether a body comes behind the head.
    fn has_body(&self) -> bool {
        match self {
            Self::Request { head } => head.body != BodyLength::Empty,
            Self::Response { request, head } => {
                head.has_body(&request.method) && head.body != BodyLength::Empty
            }
            Self::Aggregation { .. } => false,
        }
    }
}

/// What a chain says at the end of a phase.
#[derive(Debug)]
pub enum Verdict {
    /// Go on with the messages as they are now.
    Continue,
    /// Answer with this.
    Respond(LocalResponse),
    /// Cut the client off, without an answer.
    Close,
}

/// Runs the request phase: the selected plugins of `part` in their order, until one answers. Where
/// a `response` plugin does, in the place of the service, those behind it that guard the service
/// are asked all the same: an answer that is stored neither lets in nor is free.
///
/// A plugin that fails leaves `head` and `body` as it found them. If the future is dropped, the
/// instance in use is thrown away and replaced.
#[expect(clippy::too_many_arguments, reason = "the message and what the exchange knows")]
pub async fn run_request(
    chain: &Chain,
    selected: &Selected,
    part: Part,
    pools: &Pools,
    facts: &Facts<'_>,
    head: &mut RequestHead,
    body: &mut BodySlot,
    carried: &mut Carried,
) -> Verdict {
    let mut subject = Subject::Request { head };
    let indexes = selected.part(part);
    let verdict = run(chain, indexes, pools, facts, &mut subject, body, carried).await;
    let Some(at) = carried.answered_at else {
        return verdict;
    };
    // What it has ready is for those alone who would have come to the service.
    let guards = selected.guards_behind(at, chain);
    if guards.is_empty() {
        return verdict;
    }
    let judged = Box::pin(run(chain, &guards, pools, facts, &mut subject, body, carried)).await;
    match judged {
        Verdict::Continue => verdict,
        refusal @ (Verdict::Respond(_) | Verdict::Close) => {
            carried.answered_at = None;
            refusal
        }
    }
}

/// Runs the response phase: like [`run_request`], over the response.
#[expect(clippy::too_many_arguments, reason = "the two messages and what the exchange knows")]
pub async fn run_response(
    chain: &Chain,
    selected: &Selected,
    pools: &Pools,
    facts: &Facts<'_>,
    request: &RequestHead,
    response: &mut ResponseHead,
    body: &mut BodySlot,
    carried: &mut Carried,
) -> Verdict {
    let mut subject = Subject::Response { request, head: response };
    run(chain, selected.part(Part::All), pools, facts, &mut subject, body, carried).await
}

/// Runs the first selected plugin of type `aggregation`, if there is one: it makes `response` and
/// `body` of the answers. A body that is `None` afterwards is left to the caller to make.
#[expect(clippy::too_many_arguments, reason = "the messages and what the exchange knows")]
pub async fn run_aggregation(
    chain: &Chain,
    selected: &Selected,
    pools: &Pools,
    facts: &Facts<'_>,
    request: &RequestHead,
    answers: &[CallAnswer<'_>],
    response: &mut ResponseHead,
    body: &mut BodySlot,
    carried: &mut Carried,
) -> Verdict {
    let mut subject = Subject::Aggregation { request, answers, head: response };
    run(chain, selected.part(Part::All), pools, facts, &mut subject, body, carried).await
}

/// Runs the response phase over an answer that the gateway has made itself, for the plugins alone
/// that have a context of the exchange: Envoy's filters see every answer, also their own refusals;
/// handlers what comes of those that they have passed the request on to.
pub async fn run_local(
    chain: &Chain,
    pools: &Pools,
    facts: &Facts<'_>,
    request: &RequestHead,
    local: LocalResponse,
    carried: &mut Carried,
) -> Verdict {
    let length = match local.body.len() as u64 {
        0 => BodyLength::Empty,
        bytes => BodyLength::Known(bytes),
    };
    let LocalResponse { status, fields, body } = local;
    let mut head = ResponseHead { status, fields, body: length, upgrade: None };
    let mut body = BodySlot { given: Some(body), replaced: false };
    carried.feed = None;
    let has_context =
        |plugin: &Arc<Plugin>| carried.streams.has(plugin) || carried.held.has(plugin);
    let plugins = chain.plugins.iter().enumerate();
    let open = plugins.filter(|(_, plugin)| has_context(plugin)).map(|(index, _)| index);
    let open: Vec<usize> = open.collect();
    let mut subject = Subject::Response { request, head: &mut head };
    match run(chain, &open, pools, facts, &mut subject, &mut body, carried).await {
        Verdict::Continue => Verdict::Respond(LocalResponse {
            status: head.status,
            fields: head.fields,
            body: body.given.unwrap_or_default(),
        }),
        verdict => verdict,
    }
}

async fn run(
    chain: &Chain,
    indexes: &[usize],
    pools: &Pools,
    facts: &Facts<'_>,
    subject: &mut Subject<'_>,
    body: &mut BodySlot,
    carried: &mut Carried,
) -> Verdict {
    let phase = match subject {
        Subject::Request { .. } => Phase::Request,
        Subject::Response { .. } => Phase::Response,
        Subject::Aggregation { .. } => Phase::Aggregation,
    };
    let mut draft = Draft::default();
    let mut verdict = Verdict::Continue;
    let has_body = subject.has_body();
    let first = match phase {
        Phase::Response => carried.answered_at.map_or(0, |at| at + 1),
        Phase::Request | Phase::Aggregation => 0,
    };
    let indexes = indexes.iter().filter(|&&index| index >= first);
    let plugins = indexes.filter_map(|&index| Some((index, chain.plugins.get(index)?)));
    for (index, plugin) in plugins.filter(|(_, plugin)| plugin.runs_in(phase)) {
        let begun = facts.trace.and_then(Trace::start);
        let called = abi::run_phase(pools, plugin, facts, subject, body, carried, &mut draft).await;
        let called = match called {
            Ok(Verdict::Continue) if has_body && plugin.body_in(phase).is_streaming() => {
                Box::pin(begin_pieces(pools, plugin, facts, subject, body, carried)).await
            }
            called => called,
        };
        if let (Some(trace), Some(begun)) = (facts.trace, begun) {
            trace.plugin(index, phase.as_str(), begun, end(&called));
        }
        let is_early = phase == Phase::Request && !plugin.spec.kind.runs_in(phase);
        if is_early && matches!(called, Ok(Verdict::Respond(_))) {
            carried.answered_at = Some(index);
        }
        let has_bytes = body.given.as_ref().is_some_and(|bytes| !bytes.is_empty());
        let is_clients = phase == Phase::Request && has_bytes;
        verdict = called.unwrap_or_else(|error| failed(plugin, &error, is_clients));
        // Answers are joined once: a second plugin would join what is joined already.
        if !matches!(verdict, Verdict::Continue) || phase == Phase::Aggregation {
            break;
        }
    }
    pools.give_scratch(draft.into_bytes());
    verdict
}

/// A plugin that has let a head go on is to be given the body piece by piece: when it comes, or now
/// if it is here.
async fn begin_pieces(
    pools: &Pools,
    plugin: &Arc<Plugin>,
    facts: &Facts<'_>,
    subject: &mut Subject<'_>,
    body: &mut BodySlot,
    carried: &mut Carried,
) -> Result<Verdict, CallError> {
    if body.given.is_some() {
        return abi::pass_whole(pools, plugin, facts, subject, body, carried).await;
    }
    if let Some(way) = Way::of(plugin, facts, subject, carried) {
        carried.stages.push(Stage::new(plugin, pools.to_call(plugin)?, way));
    }
    Ok(Verdict::Continue)
}

fn end(called: &Result<Verdict, CallError>) -> PluginEnd {
    match called {
        Ok(Verdict::Continue) => PluginEnd::Continued,
        Ok(Verdict::Respond(_) | Verdict::Close) => PluginEnd::Responded,
        Err(error) => PluginEnd::Failed(error.kind.as_str()),
    }
}

/// What a failed plugin does to its request. The client learns the kind of failure; the details,
/// which may name what is inside, are in the log. With a body of the client's before it, a plugin
/// that runs out of memory says that the body is too large for it.
fn failed(plugin: &Plugin, error: &CallError, has_clients_body: bool) -> Verdict {
    match plugin.spec.failure_mode {
        FailureMode::Open => Verdict::Continue,
        FailureMode::Closed => {
            let why = match error.kind {
                ErrorKind::Trap => "it trapped",
                ErrorKind::Timeout => "plugin execution timeout",
                ErrorKind::Memory => "failed to allocate memory",
                ErrorKind::BadOutput => "its output is invalid",
                ErrorKind::Refused if plugin.load_error().is_some() => "it could not be loaded",
                ErrorKind::Refused => "it is not available",
            };
            let status = match error.kind {
                ErrorKind::Memory if has_clients_body => 413,
                _ => plugin.spec.kind.failure_status(),
            };
            let error = format!("plugin \"{}\" failed: {why}", plugin.spec.name);
            Verdict::Respond(respond::json_error(status, &error))
        }
    }
}

#[cfg(test)]
mod tests;
