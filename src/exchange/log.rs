//! What an exchange leaves: a line in the access log, `Server-Timing`.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Core, Exchange, Outcome, Reply, Scratch};
use crate::http::connection::{Asker, Connection, Scheme};
use crate::http::grpc::GrpcStatus;
use crate::http::message::Fields;
use crate::plugin::Chain;
use crate::snapshot::Snapshot;
use crate::trace::access_log::{Answered, Asked};

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
            tunnel_bytes_received: None,
            took,
            service: service.map_or("", |service| &service.name),
            upstream: upstream.unwrap_or_default(),
            error: error.as_deref().unwrap_or_default(),
            worker: worker.id,
        },
    );
}

/// The line of an exchange that goes on as a tunnel, at whose end it is written.
#[derive(Debug)]
pub(super) struct Line {
    asked: Asked,
    request_id: String,
    trace_id: String,
    ip: IpAddr,
    scheme: Scheme,
    status: u16,
    service: String,
    upstream: String,
    began: Instant,
}

impl Line {
    /// That of this one; `None`: there is no log.
    pub(super) fn of(
        snapshot: &Snapshot,
        asker: Asker<'_>,
        scratch: &mut Scratch,
        status: u16,
        began: Instant,
    ) -> Option<Box<Self>> {
        snapshot.access_log.as_ref()?;
        let service = scratch.service.get().and_then(|index| snapshot.services.get(index));
        let upstream = scratch.upstream.get().and_then(|id| snapshot.authority_of(id));
        Some(Box::new(Self {
            asked: std::mem::take(&mut scratch.asked),
            request_id: scratch.request_id.clone(),
            trace_id: scratch.trace.id().to_owned(),
            ip: asker.ip,
            scheme: asker.scheme,
            status,
            service: service.map_or_else(String::new, |service| service.name.clone()),
            upstream: upstream.unwrap_or_default().to_owned(),
            began,
        }))
    }

    /// Writes it, to the log that there is now. Of the bytes, those that the client has sent come
    /// first.
    pub(super) fn write(
        &self,
        worker: &Core,
        connection: &Connection,
        (received, sent): (u64, u64),
        error: Option<&str>,
    ) {
        let snapshot = worker.snapshot();
        let Some(log) = &snapshot.access_log else { return };
        let answered = Answered {
            request_id: &self.request_id,
            trace_id: &self.trace_id,
            asker: Asker { ip: self.ip, scheme: self.scheme, connection },
            status: self.status,
            grpc_status: "",
            body_bytes_sent: sent,
            tunnel_bytes_received: Some(received),
            took: self.began.elapsed(),
            service: &self.service,
            upstream: &self.upstream,
            error: error.unwrap_or_default(),
            worker: worker.id,
        };
        worker.log_exchange(log, &self.asked, &answered);
    }
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
