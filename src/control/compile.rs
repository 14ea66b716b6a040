//! A [`Config`] (the user's words) to a [`Snapshot`] (the machine's form).
//!
//! Control thread: reads plugin files, compiles them, resolves names. What keeps a single plugin or
//! endpoint from working is a warning, not an error: the snapshot is published, the plugin's
//! failure mode or a 502 tells its clients, and the log and the admin API tell the operator.

mod clients;
mod clusters;
mod dns;
mod findings;
mod modules;
mod names;
mod plugins;
mod routes;
mod scope;

use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::access_log;
use super::config::{self, Config, TargetKind};
use super::courtesy::yield_core;
use super::descriptors;
use super::edge::{Edge, SharedTickets, ToldTickets};
use super::modules::Lacking;
use super::reach::{Common, OriginKey, Upkeep};
use super::trust::Trust;
use crate::aggregate::{Aggregation, Call, Dependency};
use crate::http::message::Fields;
use crate::http::trusted::Trusted;
use crate::io::clients::{ClientBounds, Clients};
use crate::limits::TRACE_QUEUE_EXCHANGES;
use crate::plugin::{Callee, Chain, Plugin, Runtime, Scheme};
use crate::snapshot::{Http2Limits, Limits, Service, Snapshot, Timeouts};
use crate::trace::finished::Finished;
use crate::trace::{Sampler, Tracing};
use crate::upstream::call::Bounds;
use crate::upstream::cluster::{Address, Cluster};
use crate::upstream::condition::Condition;
pub use findings::{Failure, Findings};
pub use names::{Looked, look};
use plugins::Loader;
pub use routes::matcher;
pub use scope::Scope;

/// Makes the snapshots of a process, one after the other.
pub struct Compiler {
    /// Where workers leave sampled exchanges: one queue for all snapshots.
    spans: SyncSender<Box<Finished>>,
    workers: usize,
    generation: u64,
    ids: Ids,
    loader: Loader,
    trust: Trust,
    edge: Edge,
    /// Counted over all snapshots, from the first that bounds them on.
    clients: Option<Arc<Clients>>,
}

/// Numbers whatever a worker keeps something of, over all snapshots.
#[derive(Default)]
struct Ids {
    /// The next one.
    next: usize,
    endpoints: HashMap<Address, usize>,
    origins: HashMap<OriginKey, usize>,
    targets: HashMap<TargetKey, (usize, Arc<Condition>)>,
    clusters: HashMap<String, usize>,
}

/// What a target is over all snapshots: where it is, and which address of a name it is.
type TargetKey = (TargetKind, Option<SocketAddr>);

impl Ids {
    fn of_endpoint(&mut self, address: &Address) -> usize {
        number(&mut self.next, &mut self.endpoints, address)
    }

    /// Of a target, what the process knows of it, and whether it is new.
    fn of_target(&mut self, key: &TargetKey) -> (usize, Arc<Condition>, bool) {
        if let Some((id, condition)) = self.targets.get(key) {
            return (*id, Arc::clone(condition), false);
        }
        let (id, condition) = (self.next, Arc::<Condition>::default());
        self.next += 1;
        self.targets.insert(key.clone(), (id, Arc::clone(&condition)));
        (id, condition, true)
    }

    /// Of the endpoints of the service of this name.
    fn of_cluster(&mut self, service: &String) -> usize {
        number(&mut self.next, &mut self.clusters, service)
    }

    /// Of a host that a plugin calls; and as a target, which a service may have too.
    fn of_origin(&mut self, key: &OriginKey) -> (usize, usize, Arc<Condition>) {
        let (scheme, host, port) = (key.0, key.1.clone(), key.2);
        let target = match scheme {
            Scheme::Http => TargetKind::Http { host, port },
            Scheme::Https => TargetKind::Https { host, port },
        };
        let (named, condition, _) = self.of_target(&(target, None));
        (number(&mut self.next, &mut self.origins, key), named, condition)
    }
}

fn number<K: Clone + Eq + Hash>(next: &mut usize, given: &mut HashMap<K, usize>, key: &K) -> usize {
    let id = *given.entry(key.clone()).or_insert(*next);
    *next = (*next).max(id + 1);
    id
}

/// A snapshot, and what is wrong with parts of it.
pub struct Compiled {
    /// To be published.
    pub snapshot: Snapshot,
    /// What is wrong.
    pub findings: Findings,
}

impl Compiler {
    /// A compiler for a process with so many workers. The shared state in memory is as large as
    /// `kv` says, whatever later configurations do.
    pub fn new(runtime: Arc<Runtime>, workers: usize, kv: &crate::kv::config::Config) -> Self {
        let loader = Loader::new(runtime, workers, kv);
        // Whoever exports spans takes the other end.
        let (spans, _) = sync_channel(0);
        let (trust, edge) = (Trust::default(), Edge::default());
        Self {
            spans,
            workers,
            generation: 0,
            ids: Ids::default(),
            loader,
            trust,
            edge,
            clients: None,
        }
    }

    /// The connections of clients, if they are bounded.
    fn clients(&mut self, limits: &config::Limits) -> Option<(Arc<Clients>, ClientBounds)> {
        let bounds = ClientBounds {
            connections: limits.client_connections_max,
            per_second: limits.client_connections_per_second,
        };
        (bounds != ClientBounds::default())
            .then(|| (Arc::clone(self.clients.get_or_insert_default()), bounds))
    }

    /// Listeners go on with the tickets of the process before.
    pub fn inherit_tickets(&mut self, told: Vec<ToldTickets>) {
        self.edge.inherit(told);
    }

    /// The keys of all tickets, for the next process.
    pub fn tickets(&self) -> Arc<SharedTickets> {
        self.edge.tickets()
    }

    /// The next snapshot is made without these modules, which could not be had.
    pub fn lack(&mut self, lacking: Lacking) {
        self.loader.lacking = lacking;
    }

    /// Where the exchanges of later snapshots come out that are to be exported.
    pub fn take_spans(&mut self) -> Receiver<Box<Finished>> {
        let (spans, finished) = sync_channel(TRACE_QUEUE_EXCHANGES);
        self.spans = spans;
        finished
    }

    /// What must run as long as the process does.
    pub fn upkeep(&self) -> Upkeep {
        self.loader.upkeep()
    }

    /// Makes the next snapshot. Takes as long as compiling the plugins does: up to seconds. What
    /// is in `published` and has not changed is taken over as it is: plugins with their instances,
    /// addresses of names that do not resolve any more.
    pub fn compile(&mut self, config: &Config, published: Option<&Snapshot>) -> Compiled {
        self.compile_scope(config, published, &Scope::All)
    }

    /// Makes the next snapshot of what is in `scope`; the rest is as it was published, whatever has
    /// become of its files.
    pub fn compile_part(
        &mut self,
        config: &Config,
        published: &Snapshot,
        scope: &Scope,
    ) -> Compiled {
        self.compile_scope(config, Some(published), scope)
    }

    fn compile_scope(
        &mut self,
        config: &Config,
        published: Option<&Snapshot>,
        scope: &Scope,
    ) -> Compiled {
        let mut findings = Findings::default();
        if *scope == Scope::All {
            self.trust.renew();
            self.trust.trim();
        }
        let clusters: Vec<Arc<Cluster>> = config
            .services
            .iter()
            .map(|service| match scope.kept_cluster(service, published) {
                Some(kept) => kept,
                None => self.cluster(service, config, published, &mut findings),
            })
            .collect();
        yield_core();
        let common = common(config, &clusters, &self.trust);
        let plugins =
            self.loader.load_all(config, &common, &mut self.ids, published, scope, &mut findings);
        yield_core();
        if *scope != Scope::Addresses {
            warn_of_idle_plugins(config, &mut findings.warnings);
        }
        let services: Vec<Service> = config
            .services
            .iter()
            .zip(clusters)
            .enumerate()
            .map(|(index, (service, cluster))| {
                self.service(index, service, cluster, config, &plugins)
            })
            .collect();
        let (listeners, admin_tls) = match published.filter(|_| *scope != Scope::All) {
            Some(published) => (published.listeners.clone(), published.admin_tls.clone()),
            None => {
                (self.edge.listeners(config, &mut findings), self.edge.admin(config, &mut findings))
            }
        };
        let places = services.iter().map(|service| (service.name.clone(), service.index)).collect();
        let routes = routes::table(&config.services);
        let access_log = match published.filter(|_| *scope != Scope::All) {
            Some(published) => published.access_log.clone(),
            None => access_log::open(&config.logging).unwrap_or_else(|reason| {
                findings.no_access_log(reason);
                None
            }),
        };
        findings.hide(&config.variables);
        self.generation += 1;
        let snapshot = Snapshot {
            clients: self.clients(&config.server.limits),
            generation: self.generation,
            limits: limits(&config.server, self.workers),
            timeouts: timeouts(&config.server.timeouts),
            listeners,
            admin_tls,
            trusted: Trusted {
                everybody: config.server.trust_forwarded,
                proxies: config.server.trusted_proxies.clone(),
            },
            keeps_underscores: config.server.keeps_underscores,
            paths: config.server.paths,
            keeps_half_closed: config.server.keeps_half_closed,
            routes,
            services,
            places,
            access_log,
            tracing: self.tracing(&config.tracing),
            server_timing: config.server.server_timing,
            plugins: plugins.into_iter().flatten().collect(),
        };
        Compiled { snapshot, findings }
    }

    fn tracing(&self, tracing: &config::Tracing) -> Option<Tracing> {
        tracing.enabled.then(|| Tracing {
            continues: tracing.continues,
            sampler: Sampler::new(tracing.sample_rate),
            queue: tracing.otlp.as_ref().map(|_| self.spans.clone()),
        })
    }

    fn service(
        &self,
        index: usize,
        service: &config::Service,
        cluster: Arc<Cluster>,
        config: &Config,
        plugins: &[Option<Arc<Plugin>>],
    ) -> Service {
        let chain_for = |names: &[&str]| {
            let serves = |plugin: &config::Plugin| {
                let is_named = |one: &String| names.contains(&one.as_str());
                plugin.services.is_empty() || plugin.services.iter().any(is_named)
            };
            let all = config.wasm.plugins.iter().zip(plugins);
            let own = all.filter(|(plugin, _)| serves(plugin));
            Chain::new(own.filter_map(|(_, loaded)| loaded.clone()).collect())
        };
        Service {
            index,
            name: service.name.clone(),
            base_path: service.base_path.clone(),
            strip_base_path: service.strip_base_path,
            rewrite: service.routes.rewrite.as_ref().and_then(routes::rewrite),
            redirect: service.routes.redirect.clone(),
            request_edit: routes::edit(&service.routes.request_headers),
            response_edit: routes::edit(&service.routes.response_headers),
            preserve_host: service.preserve_host,
            upgrades: service.upgrades.clone(),
            timeout: service.timeout,
            timeouts: timeouts_of(&service.timeouts, &config.server.timeouts),
            fields: fields_for_targets(service),
            request_trailers: service.request_trailers.clone(),
            response_trailers: service.response_trailers.clone(),
            cluster,
            chain: chain_for(&[&service.name]),
            aggregation: service
                .aggregation
                .as_ref()
                .map(|aggregation| self::aggregation(aggregation, &config.services)),
            extras: clients::extras(service, config, &chain_for),
        }
    }
}

/// Its `headers`, and what tells its targets of the path that they do not see.
fn fields_for_targets(service: &config::Service) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in &service.headers {
        fields.push(name.as_bytes(), value.as_bytes());
    }
    let is_stripped = service.strip_base_path && service.base_path != "/";
    if is_stripped && !fields.contains("x-forwarded-prefix") {
        fields.push(b"X-Forwarded-Prefix", service.base_path.as_bytes());
    }
    fields
}

/// Names of services become their places in the snapshot.
fn aggregation(from: &config::Aggregation, services: &[config::Service]) -> Aggregation {
    let place = |name: &str| {
        let at = services.iter().position(|service| service.name == name);
        at.expect("names of services were checked when the file was read")
    };
    let calls = from.calls.iter().map(|call| Call {
        name: call.name.clone(),
        service: place(&call.service),
        path: call.path.clone(),
    });
    let dependencies = from.dependencies.iter().map(|dependency| Dependency {
        service: place(&dependency.service),
        rule: dependency.rule.clone(),
    });
    Aggregation {
        fail_on_error: from.fail_on_error,
        calls: calls.collect(),
        dependencies: dependencies.collect(),
    }
}

/// An aggregation plugin joins the answers of calls; without any it would silently never run.
fn warn_of_idle_plugins(config: &Config, warnings: &mut Vec<String>) {
    for plugin in &config.wasm.plugins {
        let serves = |service: &config::Service| {
            plugin.services.is_empty() || plugin.services.contains(&service.name)
        };
        let has_calls = |service: &config::Service| {
            let aggregation = service.aggregation.as_ref();
            aggregation.is_some_and(|aggregation| !aggregation.calls.is_empty())
        };
        let runs = |service| serves(service) && has_calls(service);
        let is_meant = plugin.enabled && plugin.kind == config::PluginType::Aggregation;
        if is_meant && !config.services.iter().any(runs) {
            warnings.push(format!(
                "plugin {}: no service that it is for has aggregation.calls; it never runs",
                plugin.name
            ));
        }
    }
}

/// What all plugins may use.
fn common<'a>(config: &'a Config, clusters: &[Arc<Cluster>], trust: &'a Trust) -> Common<'a> {
    let mut services: Vec<Callee> = config
        .services
        .iter()
        .zip(clusters)
        .map(|(service, cluster)| Callee {
            name: service.name.to_ascii_lowercase(),
            cluster: Arc::clone(cluster),
        })
        .collect();
    services.sort_by(|a, b| a.name.cmp(&b.name));
    let server = &config.server;
    let bounds = Bounds {
        connect: server.timeouts.connect,
        body: server.timeouts.body,
        head_bytes_max: server.limits.head_bytes_max,
        idle_max: server.limits.upstream_idle_max,
    };
    Common { kv: &config.kv, services: Arc::new(services), bounds, trust }
}

fn limits(server: &config::Server, workers: usize) -> Limits {
    let limits = &server.limits;
    Limits {
        head_bytes_max: limits.head_bytes_max,
        head_fields_max: limits.head_fields_max,
        uri_bytes_max: limits.uri_bytes_max,
        body_bytes_max: limits.body_bytes_max,
        body_rate_min: limits.body_rate_min,
        plugin_body_bytes_max: limits.plugin_body_bytes_max,
        buffered_bytes_max: limits.buffered_bytes_max,
        connections_max: limits.connections_per_worker(workers),
        upstream_connections_max: share(upstream_max(limits), workers),
        descriptors_end: descriptors::clients_end(),
        upstream_idle_max: limits.upstream_idle_max,
        http2: Http2Limits {
            streams_max: server.http2.streams_max,
            requests_max: server.http2.requests_max,
            stream_window_bytes: server.http2.stream_window_bytes,
            connection_window_bytes: server.http2.connection_window_bytes,
        },
    }
}

/// Connections of the whole process to origins.
fn upstream_max(limits: &config::Limits) -> usize {
    limits.upstream_connections_max.unwrap_or_else(descriptors::upstream_max)
}

/// One worker's share of what the process may have: never so much that all have more together,
/// unless they are more than that.
fn share(total: usize, workers: usize) -> usize {
    (total / workers.max(1)).max(1)
}

/// The server's, where the service has none of its own.
fn timeouts_of(own: &config::ServiceTimeouts, server: &config::Timeouts) -> Timeouts {
    let server = timeouts(server);
    Timeouts {
        connect: own.connect.unwrap_or(server.connect),
        first_byte: own.first_byte.unwrap_or(server.first_byte),
        body: own.idle.unwrap_or(server.body),
        tunnel: own.tunnel.unwrap_or(server.tunnel),
        ..server
    }
}

fn timeouts(timeouts: &config::Timeouts) -> Timeouts {
    Timeouts {
        tls_handshake: timeouts.tls_handshake,
        head: timeouts.head,
        idle: timeouts.idle,
        body: timeouts.body,
        connect: timeouts.connect,
        first_byte: timeouts.first_byte,
        upstream_idle: timeouts.upstream_idle,
        tunnel: timeouts.tunnel,
    }
}
