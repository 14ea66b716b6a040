//! What a configuration file says of how a service's requests are shared out among its targets, and
//! of targets that fail.

use std::path::PathBuf;
use std::time::Duration;

use crate::http::connection::Protocol;
use crate::limits;
use crate::upstream::balance::Algorithm;
use crate::upstream::check::Thresholds;
use crate::upstream::ejection::Outlier;
use crate::upstream::policy::{HashOn, Retry};

/// `services[].loadBalancing`, `hash`, `outlier`, `slowStart`, `retry`, `healthCheck`, `resolve`
/// and `addresses`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origins {
    /// How targets take turns.
    pub algorithm: Algorithm,
    /// What leads a request to its target, where the algorithm goes by a key.
    pub hash: HashOn,
    /// When a target is ejected; `None`: never.
    pub outlier: Option<Outlier>,
    /// How long a target that is new or back takes to its whole share; zero: no time.
    pub slow_start: Duration,
    /// When a request that was sent is sent again.
    pub retry: Option<Retry>,
    /// How targets are checked; `None`: by their requests alone.
    pub check: Option<Check>,
    /// How targets of `https://` are called.
    pub tls: OriginTls,
    /// How often the names of targets are looked up.
    pub resolve: Refresh,
    /// Whether each address of a name is a target of its own; else a name is one target, and its
    /// addresses are tried one after the other.
    pub splits_names: bool,
}

impl Default for Origins {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::default(),
            hash: HashOn::default(),
            outlier: Some(Outlier::default()),
            slow_start: Duration::ZERO,
            retry: None,
            check: None,
            tls: OriginTls::default(),
            resolve: Refresh::default(),
            splits_names: true,
        }
    }
}

/// `services[].resolve`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Refresh {
    /// As the answers' time to live says where name servers are asked, else as a limit says.
    #[default]
    Unsaid,
    /// After so long.
    Every(Duration),
    /// As the time to live of the answers says: name servers are asked, not the system's resolver.
    ByTtl,
}

/// `services[].tls`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginTls {
    /// Who signs the targets' certificates; `None`: whom the system trusts.
    pub ca: Option<PathBuf>,
    /// The name in their certificates, which they are asked for; `None`: that of the URL.
    pub server_name: Option<String>,
    /// Whether any certificate will do.
    pub is_insecure: bool,
    /// What the gateway shows of its own; never without `key`.
    pub cert: Option<PathBuf>,
    /// The key of that.
    pub key: Option<PathBuf>,
    /// What is offered to be spoken, the preferred first; empty: HTTP/1.1.
    pub alpn: Vec<Protocol>,
}

impl OriginTls {
    /// What is offered to be spoken.
    pub fn protocols(&self) -> &[Protocol] {
        if self.alpn.is_empty() { &[Protocol::Http1] } else { &self.alpn }
    }

    /// Whether nothing is said but, perhaps, the name.
    pub fn is_default(&self) -> bool {
        let Self { ca, server_name: _, is_insecure, cert, key, alpn: _ } = self;
        let is_http1 = self.protocols() == [Protocol::Http1];
        is_http1 && ca.is_none() && !is_insecure && cert.is_none() && key.is_none()
    }

    /// Its files.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.ca.iter().chain(&self.cert).chain(&self.key)
    }
}

/// `services[].healthCheck`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Check {
    /// What a target is asked.
    pub asks: Asks,
    /// The `Host` of the question; `None`: the target's own.
    pub host: Option<String>,
    /// Between two checks of a target.
    pub interval: Duration,
    /// For a whole check.
    pub timeout: Duration,
    /// Passed checks that make a sick target well.
    pub healthy_after: u32,
    /// Failed checks that make a well target sick.
    pub unhealthy_after: u32,
    /// The statuses that pass, as ranges with their ends.
    pub statuses: Vec<(u16, u16)>,
    /// By how much an interval is longer or shorter, in percent of it.
    pub jitter_percent: u32,
}

/// What a check asks of a target.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Asks {
    /// To take a connection, with TLS where its URL says so.
    Connection,
    /// For this path, by GET: over HTTP/2 where its URL says so.
    Path(String),
    /// How this service stands, by gRPC's health checking protocol (`grpc.health.v1.Health/Check`);
    /// without a name the server as a whole.
    Grpc(String),
}

impl Check {
    /// How many checks change what is thought of a target.
    pub fn thresholds(&self) -> Thresholds {
        let Self { healthy_after, unhealthy_after, .. } = *self;
        Thresholds { healthy_after, unhealthy_after }
    }
}

impl Default for Check {
    fn default() -> Self {
        Self {
            asks: Asks::Path("/".to_owned()),
            host: None,
            interval: limits::CHECK_INTERVAL,
            timeout: limits::CHECK_TIMEOUT,
            healthy_after: limits::CHECK_HEALTHY_AFTER,
            unhealthy_after: limits::CHECK_UNHEALTHY_AFTER,
            statuses: vec![limits::CHECK_STATUSES],
            jitter_percent: limits::CHECK_JITTER_PERCENT,
        }
    }
}

/// What is spoken to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Over {
    /// HTTP/1.1 in the clear.
    Http,
    /// HTTP/2 in the clear.
    Http2,
    /// HTTP/1.1 over TLS.
    Https,
}

impl Over {
    /// The scheme of its URLs.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Http2 => "h2",
            Self::Https => "https",
        }
    }
}
