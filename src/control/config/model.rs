//! What a configuration file says, in the user's terms: every default filled in, every value
//! checked by itself, nothing resolved. The types of `wasm` stand in `model_wasm`, those of
//! `limits` in `model_limits`.
//!
//! Control thread only. Names stay names, addresses stay unresolved and plugin files unread: to
//! make the machine's form of it (the snapshot) is the work of `compile`.

use std::path::PathBuf;
use std::time::Duration;

use super::model_origins::Over;
use super::{
    Clients, Http2, Limits, Origins, Routes, ServiceLimits, ServiceTimeouts, Tracing, Wasm,
};
use crate::aggregate::Rule;
use crate::limits;
use crate::route::path::Rules;
use crate::trace::access_log::Field;

/// Where something stands in the configuration file, counted from 1; columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// A whole configuration. Two equal ones need no reload between them.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file's name as errors print it; compile's own errors begin with it.
    pub file: String,
    /// The folder of the configuration file; empty for the embedded one. Paths in the file do not
    /// start here but at the working directory of the process.
    pub dir: PathBuf,
    /// `server`: listeners, workers, limits.
    pub server: Server,
    /// `admin`: the admin API.
    pub admin: Admin,
    /// `logging`.
    pub logging: Logging,
    /// `tracing`: which requests are traced, and where that is told.
    pub tracing: Tracing,
    /// `kv`: where the plugins' shared state is.
    pub kv: crate::kv::config::Config,
    /// `modules`: how modules are fetched from other machines.
    pub modules: super::Modules,
    /// `wasm`: the plugins and what they may use.
    pub wasm: Wasm,
    /// `services`, in the order of the file. Empty: every request gets 404.
    pub services: Vec<Service>,
    /// Whether the file has a list of services, be it an empty one.
    pub speaks_of_services: bool,
    /// `fleet`: where the sections that this file has not come from.
    pub fleet: Option<Box<super::Fleet>>,
    /// The document of the fleet that they have come from.
    pub document: Option<super::Document>,
    /// What the variables in the file hold, which is never shown.
    pub variables: super::Variables,
    /// The files that `${file:...}` has named.
    pub secret_files: Vec<PathBuf>,
}

impl Config {
    /// Why it should not take the place of one that serves something: a file that was cut off has
    /// no services either, and would answer every request with 404.
    pub fn lacks_services(&self) -> Option<String> {
        let is_meant = self.speaks_of_services || !self.services.is_empty();
        let why = || {
            format!(
                "{}: services: missing, and there are some now; give what is served, or write \
                 services: [] to serve nothing",
                self.file
            )
        };
        (!is_meant).then(why)
    }

    /// The same, wherever in a file it stands: equal ones mean the same.
    #[must_use]
    pub fn without_places(&self) -> Self {
        let mut config = self.clone();
        for service in &mut config.services {
            service.place = Place::default();
            service.targets.iter_mut().for_each(|target| target.place = Place::default());
        }
        let plugins = config.wasm.plugins.iter();
        config.wasm.plugins = plugins.map(super::Plugin::without_places).collect();
        config
    }
}

/// `server`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where requests are accepted; never empty, no address twice.
    pub listen: Vec<super::Listener>,
    /// Who is asked for the names of targets; none: the system's resolver.
    pub name_servers: Vec<std::net::SocketAddr>,
    /// The proxies whose word about who asks is believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// How many workers.
    pub workers: Workers,
    /// Whether each worker is bound to a core of its own.
    pub pin_cores: bool,
    /// How workers wait for sockets.
    pub io_driver: IoDriver,
    /// Whether the peers in front of the gateway may say who the client is: `X-Forwarded-*` are
    /// replaced if not, `X-Forwarded-For` is appended to if so.
    pub trust_forwarded: bool,
    /// Whether headers of clients pass whose names have a `_`.
    pub keeps_underscores: bool,
    /// What a path may have in it that origins read in different ways: `encodedSlashes`,
    /// `pathParameters`, `nonUtf8Paths`.
    pub paths: Rules,
    /// Whether a client that has ended its sending still gets its response, however long it takes.
    pub keeps_half_closed: bool,
    /// Whether responses tell what took how long.
    pub server_timing: bool,
    /// Bounds of sizes and numbers.
    pub limits: Limits,
    /// Bounds of HTTP/2 with clients.
    pub http2: Http2,
    /// Bounds of waiting.
    pub timeouts: Timeouts,
    /// How long exchanges in flight may go on after SIGTERM.
    pub drain_timeout: Duration,
    /// How long the new process of a binary upgrade may take until it could serve.
    pub upgrade_timeout: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: vec![super::Listener::plain(Listen::tcp("127.0.0.1", 8080))],
            name_servers: Vec::new(),
            trusted_proxies: Vec::new(),
            workers: Workers::Auto,
            pin_cores: true,
            io_driver: IoDriver::Auto,
            trust_forwarded: false,
            keeps_underscores: false,
            paths: Rules::default(),
            keeps_half_closed: false,
            server_timing: false,
            limits: Limits::default(),
            http2: Http2::default(),
            timeouts: Timeouts::default(),
            drain_timeout: limits::DRAIN_TIMEOUT,
            upgrade_timeout: limits::UPGRADE_TIMEOUT,
        }
    }
}

/// An address to accept connections on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A TCP port.
    Tcp {
        /// A host name or an IP address, an IPv6 one without its brackets. Not resolved yet.
        host: String,
        /// The port; 0 lets the kernel choose one.
        port: u16,
    },
    /// A unix stream socket.
    Unix(PathBuf),
}

impl Listen {
    /// The TCP address `host:port`.
    pub fn tcp(host: &str, port: u16) -> Self {
        let host = host.to_owned();
        Self::Tcp { host, port }
    }

    /// Whether only processes of this machine can connect.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp { host, .. } => match host.parse::<std::net::IpAddr>() {
                Ok(address) => address.is_loopback(),
                Err(_) => host.eq_ignore_ascii_case("localhost"),
            },
        }
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `server.workers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// One for each core that this process may use.
    Auto,
    /// Exactly so many: 1 to [`limits::WORKERS_MAX`].
    Count(usize),
}

/// `server.ioDriver`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoDriver {
    /// io_uring, or epoll where the kernel refuses it.
    Auto,
    /// io_uring or no start.
    IoUring,
    /// epoll.
    Epoll,
}

/// `server.timeouts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// For a TLS handshake, and for a header of the PROXY protocol before it.
    pub tls_handshake: Duration,
    /// For a request head to arrive whole.
    pub head: Duration,
    /// For the next request on a kept-alive connection to begin.
    pub idle: Duration,
    /// Between two steps of progress of a body.
    pub body: Duration,
    /// For a connection to an endpoint.
    pub connect: Duration,
    /// From the sent request to the first byte of the response head.
    pub first_byte: Duration,
    /// How long an idle upstream connection is kept.
    pub upstream_idle: Duration,
    /// For a tunnel through which nothing passes.
    pub tunnel: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tls_handshake: limits::TLS_HANDSHAKE_TIMEOUT,
            head: limits::HEAD_TIMEOUT,
            idle: limits::IDLE_TIMEOUT,
            body: limits::BODY_TIMEOUT,
            connect: limits::CONNECT_TIMEOUT,
            first_byte: limits::FIRST_BYTE_TIMEOUT,
            upstream_idle: limits::UPSTREAM_IDLE_TIMEOUT,
            tunnel: limits::TUNNEL_TIMEOUT,
        }
    }
}

/// `admin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where the admin API listens; `None`: it is off.
    pub listen: Option<Listen>,
    /// How its connections are secured; `None`: in the clear.
    pub tls: Option<super::Tls>,
    /// What its callers must show; always there when `listen` is not local.
    pub token: Option<Secret>,
}

impl Admin {
    /// Whether other machines could call it without a token if it listened there.
    pub fn is_exposed_at(&self, address: std::net::SocketAddr) -> bool {
        self.token.is_none() && !address.ip().to_canonical().is_loopback()
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: Some(Listen::tcp("127.0.0.1", 8081)), tls: None, token: None }
    }
}

/// A text that no log and no debug output may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, to compare with: never to print.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// `logging`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// The least severe events that are logged. `debug` shows plugins' own lines.
    pub level: Level,
    /// How a line looks.
    pub format: Format,
    /// Where each exchange leaves a line.
    pub access_log: AccessLog,
    /// What the line tells, in this order.
    pub access_log_fields: Vec<Field>,
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            level: Level::Info,
            format: Format::Text,
            access_log: AccessLog::Off,
            access_log_fields: Field::DEFAULT.to_vec(),
        }
    }
}

/// `logging.level`, the least talkative first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    Off,
    /// What needs an operator.
    Error,
    /// What may need one.
    Warn,
    /// The life of the process.
    Info,
    /// Plugins' lines too.
    Debug,
    /// Everything.
    Trace,
}

/// `logging.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// `logging.accessLog`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    /// None.
    Off,
    /// To standard output.
    Stdout,
    /// To this file, appended.
    File(PathBuf),
}

/// One of `services`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Where the entry begins.
    pub place: Place,
    /// Its name: 1 to 128 of `A-Z a-z 0-9 . _ -`, unique.
    pub name: String,
    /// The path under which it is reached: normalised, begins with `/`, no `/` at its end unless
    /// it is `/`.
    pub base_path: String,
    /// Which requests of that path are its own, and what becomes of them: told apart from those of
    /// every other service.
    pub routes: Routes,
    /// What it does for its clients beside passing responses on.
    pub clients: Clients,
    /// Whether `base_path` is taken off before the request goes upstream.
    pub strip_base_path: bool,
    /// Where its requests go; empty only where `aggregation.calls` answer instead.
    pub targets: Vec<Target>,
    /// How requests are shared out among them, and what becomes of those that fail.
    pub origins: Origins,
    /// From the routed request to the relayed response; [`limits::SERVICE_TIMEOUT_OFF`]: as long as
    /// it takes.
    pub timeout: Duration,
    /// Bounds of waiting for its targets.
    pub timeouts: ServiceTimeouts,
    /// Fields to set on the upstream request: names are tokens, none of framing or hop-by-hop,
    /// none twice; values pass `message::is_field_value`.
    pub headers: Vec<(String, String)>,
    /// The request trailers that the upstream gets: names that may be trailers, none of `headers`.
    pub request_trailers: Vec<String>,
    /// The response trailers that clients get where plugins run on the response.
    pub response_trailers: Vec<String>,
    /// Whether the upstream sees the client's `Host`; false: the target's.
    pub preserve_host: bool,
    /// The protocols that its clients may switch to: tokens in small letters, none of HTTP's.
    pub upgrades: Vec<String>,
    /// How many requests its targets get at once.
    pub limits: ServiceLimits,
    /// How its responses are made of those of other services.
    pub aggregation: Option<Aggregation>,
}

/// `services[].aggregation`. `mode: merge` is the only one there is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Aggregation {
    /// Whether a failed call fails the request; else it is logged and left out.
    pub fail_on_error: bool,
    /// What is asked instead of the service's own targets. Names are unique.
    pub calls: Vec<Call>,
    /// What completes the service's response.
    pub dependencies: Vec<Dependency>,
}

/// One of `services[].aggregation.calls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The key of its answer: 1 to 128 of `A-Z a-z 0-9 . _ -`.
    pub name: String,
    /// The name of a service that has targets.
    pub service: String,
    /// The path that its target is asked for; nothing in it is filled in.
    pub path: String,
}

/// One of `services[].aggregation.dependencies`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The name of a service that has targets.
    pub service: String,
    /// When it is called, with what, and where its answers go.
    pub rule: Rule,
}

/// One of `services[].targets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where it stands.
    pub place: Place,
    /// What it is.
    pub kind: TargetKind,
    /// Its share of the requests beside the others: 1 to [`limits::TARGET_WEIGHT_MAX`].
    pub weight: u32,
}

/// What a target is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TargetKind {
    /// `https://host:port`.
    Https {
        /// Name or address; an IPv6 one without its brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// `http://host:port`.
    Http {
        /// A host name or an IP address, an IPv6 one without its brackets. Not resolved yet.
        host: String,
        /// The port, 80 where none is written.
        port: u16,
    },
    /// `h2://host:port`: HTTP/2 in the clear, from the first byte.
    Http2 {
        /// Name or address; an IPv6 one without its brackets.
        host: String,
        /// The port, 80 where none is written.
        port: u16,
    },
    /// `http://srv:_http._tcp.name`, `https://srv:...`, `h2://srv:...`: where SRV records say.
    Srv {
        /// The name that has them.
        name: String,
        /// What is spoken there.
        over: Over,
    },
    /// `http://unix:/path`: a unix stream socket.
    Unix(PathBuf),
    /// `builtin:echo`: the gateway answers with the request as an origin would see it.
    Echo,
}
