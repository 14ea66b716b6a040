//! The border between the planes: a whole configuration in the machine's form.
//!
//! The control plane builds a snapshot, checks all of it and publishes it; from then on nobody
//! changes it. An exchange takes one at its start and finishes on it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::aggregate::Aggregation;
use crate::error::Error;
use crate::http::compression::Compression;
use crate::http::connection::Protocol;
use crate::http::message::{Fields, Method, RequestHead};
use crate::http::trusted::Trusted;
use crate::io::clients::{ClientBounds, Clients};
use crate::io::proxy::ProxyProtocol;
use crate::io::tls::certificate::Certificate;
use crate::io::tls::server::Offer;
use crate::plugin::{Chain, MessageBounds, Plugin};
use crate::route::cors::{self, Cors};
use crate::route::edit::{FieldEdit, Redirect, Rewrite};
use crate::route::mirror::Mirror;
use crate::route::path::Rules;
use crate::route::split;
use crate::route::table::Table;
use crate::trace::Tracing;
use crate::trace::access_log::AccessLog;
use crate::upstream::cluster::Cluster;

/// Everything that decides how a request is served.
#[derive(Debug)]
pub struct Snapshot {
    /// How many connections clients have, where that is bounded, and the bounds.
    pub clients: Option<(Arc<Clients>, ClientBounds)>,
    /// Counts the snapshots of the process, from 1.
    pub generation: u64,
    /// Bounds of sizes.
    pub limits: Limits,
    /// Bounds of waiting.
    pub timeouts: Timeouts,
    /// Where requests come in.
    pub listeners: Vec<Arc<Listener>>,
    /// The TLS of the admin API.
    pub admin_tls: Option<Arc<ServerTls>>,
    /// Whose `X-Forwarded-*` and PROXY headers are believed.
    pub trusted: Trusted,
    /// Whether fields of clients pass whose names have a `_`.
    pub keeps_underscores: bool,
    /// What a path may have in it that origins read in different ways.
    pub paths: Rules,
    /// Whether a client that has ended its sending still gets its response, however long it takes.
    pub keeps_half_closed: bool,
    /// Base paths to indices of `services`.
    pub routes: Table,
    /// The services.
    pub services: Vec<Service>,
    /// Their names to their places: the next snapshot takes over what has not changed.
    pub places: HashMap<String, usize>,
    /// Where each request leaves a line, if anywhere.
    pub access_log: Option<Arc<AccessLog>>,
    /// How traces are continued, if they are: else their fields pass as they come.
    pub tracing: Option<Tracing>,
    /// Whether responses tell what took how long (`Server-Timing`).
    pub server_timing: bool,
    /// Every enabled plugin, once; the chains of the services share them.
    pub plugins: Vec<Arc<Plugin>>,
}

impl Snapshot {
    /// What bounds the messages that plugins make.
    pub fn message_bounds(&self) -> MessageBounds {
        MessageBounds {
            head_bytes_max: self.limits.head_bytes_max,
            head_fields_max: self.limits.head_fields_max,
            uri_bytes_max: self.limits.uri_bytes_max,
            body_bytes_max: self.limits.plugin_body_bytes_max,
            paths: self.paths,
        }
    }

    /// The service that a request goes to, whose path is normal.
    pub fn service_of(&self, request: &mut RequestHead) -> Option<&Service> {
        if request.method == Method::Options
            && let Some(service) = self.service_of_preflight(request)
        {
            return Some(service);
        }
        self.routes.find(request).and_then(|index| self.services.get(index))
    }

    /// The service whose rules answer a preflight: that of the request which is to follow, as far
    /// as its method goes.
    #[cold]
    fn service_of_preflight(&self, request: &mut RequestHead) -> Option<&Service> {
        if !cors::is_preflight(request) {
            return None;
        }
        let asked = cors::asked_method(request)?;
        let own = std::mem::replace(&mut request.method, asked);
        let found = self.routes.find(request);
        request.method = own;
        let has_rules = |service: &&Service| {
            service.extras.as_ref().is_some_and(|extras| extras.cors.is_some())
        };
        found.and_then(|index| self.services.get(index)).filter(has_rules)
    }

    /// The plugins of an exchange that was routed to the service at this place, and went to this
    /// branch of it.
    pub fn chain_of(&self, (service, branch): (usize, Option<usize>)) -> Option<&Chain> {
        let service = self.services.get(service)?;
        match (branch, service.extras.as_ref().and_then(|extras| extras.split.as_ref())) {
            (Some(branch), Some(split)) => split.chains.get(branch),
            _ => Some(&service.chain),
        }
    }

    /// The service of this name.
    pub fn service_named(&self, name: &str) -> Option<&Service> {
        self.places.get(name).and_then(|&at| self.services.get(at))
    }

    /// The listener of this id.
    pub fn listener(&self, id: &str) -> Option<&Arc<Listener>> {
        self.listeners.iter().find(|listener| listener.id == id)
    }

    /// The `host:port` of the endpoint with this id.
    pub fn authority_of(&self, id: usize) -> Option<&str> {
        let mut endpoints = self.services.iter().flat_map(|service| match &*service.cluster {
            Cluster::Echo => [].iter(),
            Cluster::Endpoints(endpoints) => endpoints.iter(),
        });
        endpoints.find(|endpoint| endpoint.id == id).map(|endpoint| endpoint.authority.as_str())
    }
}

/// One of `server.listen`.
#[derive(Debug)]
pub struct Listener {
    /// Names it over all snapshots: its address, as configured.
    pub id: String,
    /// How its connections are secured; `None`: in the clear.
    pub tls: Option<Arc<ServerTls>>,
    /// What may be spoken over its connections; never empty.
    pub protocols: Vec<Protocol>,
    /// Whether a proxy in front tells who has connected.
    pub proxy_protocol: ProxyProtocol,
}

/// What a listener shakes hands with.
#[derive(Debug)]
pub struct ServerTls {
    /// Made by the control thread; the workers share it.
    pub offer: Offer,
    /// The certificates: the file of each, and what it says.
    pub certificates: Vec<(String, Certificate)>,
}

/// Bounds of sizes, as configured (`server.limits`).
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a request or response head.
    pub head_bytes_max: usize,
    /// Fields of a request head.
    pub head_fields_max: usize,
    /// Bytes of a request target.
    pub uri_bytes_max: usize,
    /// Bytes of a request body.
    pub body_bytes_max: u64,
    /// Bytes per second of a request body that is waited for, at least; 0: any rate will do.
    pub body_rate_min: u64,
    /// Bytes of a body that is collected for plugins.
    pub plugin_body_bytes_max: usize,
    /// Bytes of bodies that one worker holds in memory at once.
    pub buffered_bytes_max: usize,
    /// Downstream connections of one worker.
    pub connections_max: usize,
    /// The first descriptor that no client gets: those from here on are kept for the rest.
    pub descriptors_end: usize,
    /// Requests of one worker that are under way at all targets together.
    pub upstream_connections_max: usize,
    /// Idle upstream connections of one worker to one endpoint.
    pub upstream_idle_max: usize,
    /// Of HTTP/2 with clients.
    pub http2: Http2Limits,
}

/// Bounds of a client's connection of HTTP/2, as configured (`server.http2`).
#[derive(Debug, Clone, Copy)]
pub struct Http2Limits {
    /// Requests at once.
    pub streams_max: u32,
    /// Requests in all.
    pub requests_max: u32,
    /// Bytes of one body that may come ahead.
    pub stream_window_bytes: u32,
    /// Bytes of all bodies that may come ahead.
    pub connection_window_bytes: u32,
}

/// Bounds of waiting, as configured (`server.timeouts`).
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For a TLS handshake, and for a header of the PROXY protocol before it.
    pub tls_handshake: Duration,
    /// For a request head to arrive whole.
    pub head: Duration,
    /// For the next request of a kept-alive connection.
    pub idle: Duration,
    /// Between two steps of progress of a body.
    pub body: Duration,
    /// For an upstream connection.
    pub connect: Duration,
    /// For the head of the response.
    pub first_byte: Duration,
    /// For an idle upstream connection.
    pub upstream_idle: Duration,
    /// For a tunnel through which nothing passes.
    pub tunnel: Duration,
}

/// One of `services`.
#[derive(Debug)]
pub struct Service {
    /// Its place in `Snapshot::services`.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// The path under which it is reached.
    pub base_path: String,
    /// Whether the base path is taken off for the origin.
    pub strip_base_path: bool,
    /// What else becomes of the path.
    pub rewrite: Option<Rewrite>,
    /// Where clients are sent instead.
    pub redirect: Option<Redirect>,
    /// What becomes of the header fields of requests to its own targets, beside `fields`.
    pub request_edit: Option<Box<FieldEdit>>,
    /// What becomes of those of its responses.
    pub response_edit: Option<Box<FieldEdit>>,
    /// Whether the origin sees the client's `Host`.
    pub preserve_host: bool,
    /// The protocols that its clients may switch to, in small letters.
    pub upgrades: Vec<String>,
    /// For a whole exchange.
    pub timeout: Duration,
    /// Bounds of waiting for its targets: `connect`, `first_byte`, `body` and `tunnel` are
    /// its own.
    pub timeouts: Timeouts,
    /// Fields set on what goes to its own targets, and on nothing else: there may be secrets among
    /// them. With `strip_base_path`, `X-Forwarded-Prefix` is one.
    pub fields: Fields,
    /// The request trailers that its targets get.
    pub request_trailers: Vec<String>,
    /// The response trailers that clients get past plugins.
    pub response_trailers: Vec<String>,
    /// Who answers.
    pub cluster: Arc<Cluster>,
    /// The plugins that may run on its requests.
    pub chain: Chain,
    /// How its responses are made of those of other services.
    pub aggregation: Option<Aggregation>,
    /// What few services have.
    pub extras: Option<Box<Extras>>,
}

impl Service {
    /// Which service gets copies of its requests.
    pub fn mirror(&self) -> Option<&Mirror> {
        self.extras.as_ref()?.mirror.as_ref()
    }
}

/// What a service may do beside passing requests and responses on.
#[derive(Debug, Default)]
pub struct Extras {
    /// Which pages of other origins may read its responses.
    pub cors: Option<Cors>,
    /// Which of its responses are compressed.
    pub compression: Option<Compression>,
    /// To which services its requests go.
    pub split: Option<Split>,
    /// Which service gets copies of them.
    pub mirror: Option<Mirror>,
    /// How large they may be, in the place of the server's limits.
    pub bounds: Option<RequestBounds>,
}

/// Bounds of a service's requests, as configured (`services[].limits`). Those of heads are held
/// beside the server's, which are held before a service is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestBounds {
    /// Bytes of a head: request line and fields.
    pub head_bytes_max: usize,
    /// Fields of a head.
    pub head_fields_max: usize,
    /// Bytes of a request target.
    pub uri_bytes_max: usize,
    /// Bytes of a body.
    pub body_bytes_max: u64,
}

impl RequestBounds {
    /// Refuses a head that is over them.
    ///
    /// # Errors
    /// [`Error::UriTooLong`], [`Error::HeadTooLarge`].
    pub fn check(&self, request: &RequestHead) -> Result<(), Error> {
        // With what stands between the parts: spaces, colons, ends of lines, `?`.
        let target = request.path.len() + request.query.len();
        let line = request.method.as_str().len() + target + " HTTP/1.1\r\n".len() + 1;
        let host = request.authority.len() + "Host: \r\n".len();
        let fields = request.fields.iter().map(|(name, value)| name.len() + value.len() + 4);
        if target > self.uri_bytes_max {
            return Err(Error::UriTooLong);
        }
        let is_over = request.fields.len() > self.head_fields_max
            || fields.sum::<usize>() + line + host > self.head_bytes_max;
        if is_over { Err(Error::HeadTooLarge) } else { Ok(()) }
    }
}

/// A split, and the plugins of each of its branches.
#[derive(Debug)]
pub struct Split {
    /// How a branch is chosen.
    pub plan: split::Split,
    /// Of each branch: the plugins of the service that splits and of the one that is chosen, each
    /// once.
    pub chains: Vec<Chain>,
}
