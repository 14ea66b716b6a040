//! What an exchange leaves: a line in the access log, `Server-Timing`.

use std::time::Duration;

use super::{Core, Exchange, Outcome, Reply, Scratch};
use crate::http::connection::Asker;
use crate::http::grpc::GrpcStatus;
use crate::http::message::Fields;
use crate::plugin::Chain;
use crate::snapshot::Snapshot;
use crate::trace::access_log::Answered;

/// Leaves a line in the access log, if there is one.
pub(super) fn leave(
    worker: &Core,
    snapshot: &Snapshot,
    asker: Asker<'_>,
    scratch: &Scratch,
    reply: &impl Reply,
    outcome: Outcome,
    took: Duration,
) {
    let Some(log) = &snapshot.access_log else {
        return;
    };
    let service = scratch.service.get().and_then(|index| snapshot.services.get(index));
    let upstream = scratch.upstream.get().and_then(|id| snapshot.authority_of(id));
    let error = outcome.error.map(|error| error.to_string());
    worker.log_exchange(
        log,
        &scratch.asked,
        &Answered {
            request_id: &scratch.request_id,
            trace_id: scratch.trace.id(),
            asker,
            status: outcome.status,
            grpc_status: reply.grpc_status().map_or("", GrpcStatus::as_str),
            body_bytes_sent: reply.body_bytes(),
            took,
            service: service.map_or("", |service| &service.name),
            upstream: upstream.unwrap_or_default(),
            error: error.as_deref().unwrap_or_default(),
            worker: worker.id,
        },
    );
}

/// Adds `Server-Timing` to the fields of an error's response, if that is asked for.
pub(super) fn add_server_timing(snapshot: &Snapshot, scratch: &Scratch, fields: &mut Fields) {
    let plugins = snapshot.chain_of(scratch.routed).into_iter().flat_map(Chain::names);
    scratch.trace.add_server_timing(plugins, fields);
}

impl Exchange<'_> {
    /// The same for a response of the service's own.
    pub(super) fn add_server_timing(&self, fields: &mut Fields) {
        self.trace.add_server_timing(self.chain.names(), fields);
    }
}
