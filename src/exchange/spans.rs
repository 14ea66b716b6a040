//! The spans of an exchange: what was noted while it ran, with the names that the snapshot has.

use std::time::{Duration, Instant};

use super::{Core, Outcome, Scratch};
use crate::error::Error;
use crate::plugin::Chain;
use crate::snapshot::{Service, Snapshot};
use crate::trace::Ending;
use crate::trace::context::SpanId;
use crate::trace::finished::{Part, PartKind};
use crate::trace::notes::{Note, What};
use crate::upstream::cluster::{Address, Cluster, Endpoint};

/// Hands the exchange's spans on, if it is to have any.
pub(super) fn finish(
    worker: &Core,
    snapshot: &Snapshot,
    scratch: &mut Scratch,
    outcome: Outcome,
    took: Duration,
) {
    let Some(queue) = snapshot.tracing.as_ref().and_then(|tracing| tracing.queue.as_ref()) else {
        return;
    };
    let Outcome { status, error, .. } = outcome;
    let Scratch { request_id, service, routed, trace, .. } = scratch;
    let chain = snapshot.chain_of(*routed);
    let service = service.get().and_then(|index| snapshot.services.get(index));
    let (name, route) = service.map_or(("", ""), |service| (&*service.name, &*service.base_path));
    let ending = Ending { status, error, took, request_id, service: name, route };
    let lost = trace.finish(queue, ending, |note, started| {
        resolve(note, started, snapshot, chain, worker.random())
    });
    worker.count_lost_spans(lost);
}

/// A note in the form that is exported. `chain` has the exchange's plugins; `random` makes the id
/// of a span that nobody has been told of yet.
fn resolve(
    note: Note,
    started: Instant,
    snapshot: &Snapshot,
    chain: Option<&Chain>,
    random: u64,
) -> Part {
    let since = note.begun.saturating_duration_since(started);
    let took = note.took.unwrap_or_else(|| note.begun.elapsed());
    let (span, kind) = match note.what {
        What::Plugin { index, phase, end } => {
            let plugin = chain.and_then(|chain| chain.plugins().get(index));
            let kind = PartKind::Plugin {
                name: plugin.map_or_else(String::new, |plugin| plugin.spec.name.clone()),
                kind: plugin.map_or("", |plugin| plugin.spec.kind.as_str()),
                phase,
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

fn endpoint(service: &Service, id: usize) -> Option<&Endpoint> {
    match &*service.cluster {
        Cluster::Endpoints(endpoints) => endpoints.iter().find(|endpoint| endpoint.id == id),
        Cluster::Echo => None,
    }
}
