//! A [`Config`] (the user's words) to a [`Snapshot`] (the machine's form).
//!
//! Control thread: reads plugin files, compiles them, resolves names. What keeps a single plugin or
//! endpoint from working is a warning, not an error: the snapshot is published, the plugin's
//! failure mode or a 502 tells its clients, and the log and the admin API tell the operator.

use std::collections::HashMap;
use std::net::ToSocketAddrs;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::config::{self, Config, TargetKind};
use super::reach::{Common, OriginKey, Reaching, Upkeep};
use crate::aggregate::{Aggregation, Call, Dependency};
use crate::limits::PLUGIN_MODULE_BYTES_MAX;
use crate::plugin::{
    Callee, Chain, FailureMode, Isolation, LogLevel, Plugin, PluginSpec, PluginType, Runtime,
};
use crate::route::table::Table;
use crate::snapshot::{Limits, Service, Snapshot, Timeouts};
use crate::upstream::call::Bounds;
use crate::upstream::cluster::{Address, Cluster, Endpoint, Endpoints};

/// Makes the snapshots of a process, one after the other.
pub struct Compiler {
    runtime: Arc<Runtime>,
    workers: usize,
    generation: u64,
    ids: Ids,
    reaching: Reaching,
}

/// Numbers whatever has idle connections, over all snapshots.
#[derive(Default)]
struct Ids {
    /// The next one.
    next: usize,
    endpoints: HashMap<Address, usize>,
    origins: HashMap<OriginKey, usize>,
}

impl Ids {
    fn of_endpoint(&mut self, address: &Address) -> usize {
        let next = self.next;
        let id = *self.endpoints.entry(address.clone()).or_insert(next);
        self.next = next.max(id + 1);
        id
    }

    fn of_origin(&mut self, key: &OriginKey) -> usize {
        let next = self.next;
        let id = *self.origins.entry(key.clone()).or_insert(next);
        self.next = next.max(id + 1);
        id
    }
}

/// A snapshot, and what is wrong with parts of it.
pub struct Compiled {
    /// To be published.
    pub snapshot: Snapshot,
    /// In words, for the log.
    pub warnings: Vec<String>,
}

impl Compiler {
    /// A compiler for a process with so many workers. The shared state in memory is as large as
    /// `kv` says, whatever later configurations do.
    pub fn new(runtime: Arc<Runtime>, workers: usize, kv: &crate::kv::config::Config) -> Self {
        let reaching = Reaching::new(kv);
        Self { runtime, workers, generation: 0, ids: Ids::default(), reaching }
    }

    /// What must run as long as the process does.
    pub fn upkeep(&self) -> Upkeep {
        self.reaching.upkeep()
    }

    /// Makes the next snapshot. Takes as long as compiling the plugins does: up to seconds.
    pub fn compile(&mut self, config: &Config) -> Compiled {
        let mut warnings = Vec::new();
        let clusters: Vec<Arc<Cluster>> = config
            .services
            .iter()
            .map(|service| Arc::new(self.cluster(service, &mut warnings)))
            .collect();
        let plugins = self.plugins(config, &clusters, &mut warnings);
        warn_of_idle_plugins(config, &mut warnings);
        let services: Vec<Service> = config
            .services
            .iter()
            .zip(clusters)
            .enumerate()
            .map(|(index, (service, cluster))| {
                self.service(index, service, cluster, config, &plugins)
            })
            .collect();
        let routes =
            Table::new(services.iter().map(|service| (service.base_path.as_str(), service.index)));
        self.generation += 1;
        let snapshot = Snapshot {
            generation: self.generation,
            limits: limits(&config.server, self.workers),
            timeouts: timeouts(&config.server.timeouts),
            trust_forwarded: config.server.trust_forwarded,
            keeps_encoded_slashes: config.server.keeps_encoded_slashes,
            routes,
            services,
            plugins: plugins.into_iter().flatten().collect(),
        };
        Compiled { snapshot, warnings }
    }

    /// The plugins in the order of the file; `None` for those that do not run.
    fn plugins(
        &mut self,
        config: &Config,
        clusters: &[Arc<Cluster>],
        warnings: &mut Vec<String>,
    ) -> Vec<Option<Arc<Plugin>>> {
        let common = common(config, clusters);
        let is_enabled = |plugin: &config::Plugin| config.wasm.enabled && plugin.enabled;
        let mut load = |plugin: &config::Plugin| {
            let spec = self.spec(plugin, config);
            let path = config.wasm.file_of(plugin);
            let loaded = match read_module(&path, plugin.sha256.as_ref()) {
                Ok(wasm) => self.equip(self.runtime.load(spec, &wasm), &common, warnings),
                Err(reason) => Plugin::failed(spec, reason),
            };
            if let Some(reason) = loaded.load_error() {
                let name = &plugin.name;
                let effect = match loaded.spec.failure_mode {
                    FailureMode::Open => "its requests go on without it",
                    FailureMode::Closed => "its requests are refused",
                };
                warnings.push(format!("plugin {name} ({}): {reason}; {effect}", path.display()));
            }
            Arc::new(loaded)
        };
        let plugins = config.wasm.plugins.iter();
        let plugins = plugins.map(|plugin| is_enabled(plugin).then(|| load(plugin))).collect();
        self.reaching.settle(warnings);
        plugins
    }

    /// Gives a plugin what it may reach.
    fn equip(
        &mut self,
        mut plugin: Plugin,
        common: &Common<'_>,
        warnings: &mut Vec<String>,
    ) -> Plugin {
        let ids = &mut self.ids;
        match self.reaching.equip(&plugin, common, |key| ids.of_origin(key), warnings) {
            Ok(reach) => {
                plugin.spec.reach = reach;
                plugin
            }
            Err(reason) => Plugin::failed(plugin.spec, reason),
        }
    }

    fn spec(&self, plugin: &config::Plugin, config: &Config) -> PluginSpec {
        let wasm = &config.wasm;
        let mut spec = PluginSpec::new(&plugin.name, plugin_type(plugin.kind));
        spec.priority = plugin.priority;
        spec.timeout = plugin.timeout.unwrap_or(wasm.timeout);
        if let Some(mode) = plugin.failure_mode {
            spec.failure_mode = match mode {
                config::FailureMode::Open => FailureMode::Open,
                config::FailureMode::Closed => FailureMode::Closed,
            };
        }
        spec.wants_body = plugin.body.unwrap_or(spec.wants_body);
        spec.max_memory_pages = plugin.max_memory_pages.unwrap_or(wasm.max_memory_pages);
        spec.instances_max = plugin.max_instances.unwrap_or(wasm.max_instances);
        spec.workers = self.workers as u32;
        spec.passes_large_bodies = plugin.on_body_too_large == config::OnBodyTooLarge::Pass;
        spec.premade = plugin.instances.unwrap_or(spec.premade);
        spec.isolation = match plugin.isolation {
            config::Isolation::Shared => Isolation::Shared,
            config::Isolation::Request => Isolation::Request,
        };
        if !plugin.allowed_urls.is_empty() {
            let sources = plugin.allowed_urls.iter().map(|pattern| &pattern.source);
            let patterns = regex::RegexSet::new(sources);
            spec.allowed_urls = Some(patterns.expect("each pattern was compiled when it was read"));
        }
        spec.log_level = log_level(config.logging.level);
        // May say another level for this plugin alone.
        spec.set_config(plugin.config.clone());
        spec
    }

    fn service(
        &self,
        index: usize,
        service: &config::Service,
        cluster: Arc<Cluster>,
        config: &Config,
        plugins: &[Option<Arc<Plugin>>],
    ) -> Service {
        let serves = |plugin: &config::Plugin| {
            plugin.services.is_empty() || plugin.services.contains(&service.name)
        };
        let chain = config
            .wasm
            .plugins
            .iter()
            .zip(plugins)
            .filter(|(plugin, _)| serves(plugin))
            .filter_map(|(_, loaded)| loaded.clone())
            .collect();
        Service {
            index,
            name: service.name.clone(),
            base_path: service.base_path.clone(),
            strip_base_path: service.strip_base_path,
            preserve_host: service.preserve_host,
            timeout: service.timeout,
            fields: service.headers.clone(),
            cluster,
            chain: Chain::new(chain),
            aggregation: service
                .aggregation
                .as_ref()
                .map(|aggregation| self::aggregation(aggregation, &config.services)),
        }
    }

    fn cluster(&mut self, service: &config::Service, warnings: &mut Vec<String>) -> Cluster {
        let mut endpoints = Vec::new();
        for target in &service.targets {
            let (address, authority) = match &target.kind {
                TargetKind::Echo => return Cluster::Echo,
                TargetKind::Unix(path) => (Address::Unix(path.clone()), "localhost".to_owned()),
                TargetKind::Http { host, port } => {
                    let addresses = resolve(host, *port).unwrap_or_else(|reason| {
                        warnings.push(format!("service {}: {reason}", service.name));
                        Vec::new()
                    });
                    (Address::Tcp(addresses), authority(host, *port))
                }
            };
            let id = self.ids.of_endpoint(&address);
            endpoints.push((Endpoint { id, address, authority }, target.weight));
        }
        Cluster::Endpoints(Endpoints::new(endpoints))
    }
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
fn common<'a>(config: &'a Config, clusters: &[Arc<Cluster>]) -> Common<'a> {
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
    Common { kv: &config.kv, services: Arc::new(services), bounds }
}

fn limits(server: &config::Server, workers: usize) -> Limits {
    let limits = &server.limits;
    Limits {
        head_bytes_max: limits.head_bytes_max,
        head_fields_max: limits.head_fields_max,
        uri_bytes_max: limits.uri_bytes_max,
        body_bytes_max: limits.body_bytes_max,
        plugin_body_bytes_max: limits.plugin_body_bytes_max,
        connections_max: limits.connections_per_worker(workers),
        upstream_idle_max: limits.upstream_idle_max,
    }
}

fn timeouts(timeouts: &config::Timeouts) -> Timeouts {
    Timeouts {
        head: timeouts.head,
        idle: timeouts.idle,
        body: timeouts.body,
        connect: timeouts.connect,
        first_byte: timeouts.first_byte,
        upstream_idle: timeouts.upstream_idle,
    }
}

fn plugin_type(kind: config::PluginType) -> PluginType {
    match kind {
        config::PluginType::Auth => PluginType::Auth,
        config::PluginType::RateLimit => PluginType::RateLimit,
        config::PluginType::Request => PluginType::Request,
        config::PluginType::Response => PluginType::Response,
        config::PluginType::Middleware => PluginType::Middleware,
        config::PluginType::Aggregation => PluginType::Aggregation,
    }
}

/// From which level on a plugin's lines are logged if its own `config` does not say. (With the log
/// off nothing is written whatever this is.)
fn log_level(level: config::Level) -> LogLevel {
    match level {
        config::Level::Off | config::Level::Error => LogLevel::Error,
        config::Level::Warn => LogLevel::Warn,
        config::Level::Info => LogLevel::Info,
        config::Level::Debug => LogLevel::Debug,
        config::Level::Trace => LogLevel::Trace,
    }
}

/// Reads a module, bounded, and checks its digest.
fn read_module(path: &Path, sha256: Option<&[u8; 32]>) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut wasm = Vec::new();
    file.take(PLUGIN_MODULE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut wasm)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if wasm.len() > PLUGIN_MODULE_BYTES_MAX {
        return Err(format!("is larger than {PLUGIN_MODULE_BYTES_MAX} bytes"));
    }
    match sha256 {
        Some(expected) if Sha256::digest(&wasm)[..] != expected[..] => {
            let got: String =
                Sha256::digest(&wasm).iter().map(|byte| format!("{byte:02x}")).collect();
            Err(format!("has sha256 {got}, which is not the one in the configuration"))
        }
        _ => Ok(wasm),
    }
}

/// The addresses of a host, in the resolver's order.
fn resolve(host: &str, port: u16) -> Result<Vec<std::net::SocketAddr>, String> {
    let unresolved =
        |reason: String| format!("cannot resolve {host}: {reason}; requests to it get 502");
    let addresses: Vec<_> =
        (host, port).to_socket_addrs().map_err(|error| unresolved(error.to_string()))?.collect();
    if addresses.is_empty() { Err(unresolved("no address".to_owned())) } else { Ok(addresses) }
}

/// The `Host` that names a target.
fn authority(host: &str, port: u16) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port == 80 { host } else { format!("{host}:{port}") }
}
