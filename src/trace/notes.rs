//! What is noted of an exchange while it runs: plain values, resolved at its end.

use std::time::{Duration, Instant};

use super::context::SpanId;
use super::finished::{Part, PartKind};
use crate::error::Error;
use crate::plugin::{ErrorKind, Phase};
use crate::snapshot::{Service, Snapshot};
use crate::upstream::cluster::{Address, Cluster, Endpoint};

/// How a plugin's call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginEnd {
    /// The exchange goes on.
    Continued,
    /// It made the response.
    Responded,
    /// It failed.
    Failed(ErrorKind),
}

/// A part of an exchange.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) begun: Instant,
    /// None: it is not over.
    pub(super) took: Option<Duration>,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// A call of a plugin.
    Plugin {
        /// Its place in the chain of the exchange's service.
        index: usize,
        phase: Phase,
        end: PluginEnd,
    },
    /// A request to an endpoint, up to the head of its response.
    Attempt(Attempt),
}

/// See [`What::Attempt`].
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) span: SpanId,
    /// The place of the asked service in the snapshot.
    pub(super) service: usize,
    /// `Endpoint::id`.
    pub(super) endpoint: usize,
    /// Counts the tries of one request, from 1.
    pub(super) number: usize,
    pub(super) is_reused: bool,
    pub(super) status: u16,
    pub(super) error: Option<Error>,
    pub(super) method: &'static str,
    /// Path and query; empty unless it is exported.
    pub(super) target: String,
}

impl Note {
    /// The note in the form that is exported. `own` is the exchange's service; `random` makes the
    /// id of a span that nobody has been told of yet.
    pub(super) fn resolve(
        self,
        started: Instant,
        snapshot: &Snapshot,
        own: Option<&Service>,
        random: u64,
    ) -> Part {
        let since = self.begun.saturating_duration_since(started);
        let took = self.took.unwrap_or_else(|| self.begun.elapsed());
        let (span, kind) = match self.what {
            What::Plugin { index, phase, end } => {
                let plugin = own.and_then(|service| service.chain.plugins().get(index));
                let kind = PartKind::Plugin {
                    name: plugin.map_or_else(String::new, |plugin| plugin.spec.name.clone()),
                    kind: plugin.map_or("", |plugin| plugin.spec.kind.as_str()),
                    phase: phase.as_str(),
                    end,
                };
                (SpanId::from_random(random), kind)
            }
            What::Attempt(attempt) => {
                let service = snapshot.services.get(attempt.service);
                let endpoint = service.and_then(|service| endpoint(service, attempt.endpoint));
                let scheme = match endpoint.map(|endpoint| &endpoint.address) {
                    Some(Address::Tls(..)) => "https",
                    _ => "http",
                };
                let authority = endpoint.map(|endpoint| endpoint.authority.clone());
                let kind = PartKind::Attempt {
                    service: service.map_or_else(String::new, |service| service.name.clone()),
                    scheme,
                    authority: authority.unwrap_or_default(),
                    method: attempt.method,
                    target: attempt.target,
                    number: attempt.number,
                    is_reused: attempt.is_reused,
                    status: attempt.status,
                    error: attempt.error.map(Error::label),
                };
                (attempt.span, kind)
            }
        };
        Part { span, since, took, kind }
    }
}

fn endpoint(service: &Service, id: usize) -> Option<&Endpoint> {
    match &*service.cluster {
        Cluster::Endpoints(endpoints) => endpoints.iter().find(|endpoint| endpoint.id == id),
        Cluster::Echo => None,
    }
}
