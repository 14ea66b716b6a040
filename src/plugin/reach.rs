//! What a plugin may reach outside of its memory: hosts, files, shared state.
//!
//! Capability by configuration: the control thread reads the plugin's `config` when it loads the
//! module, looks names up, reads files and opens the state; a host function only looks here. What
//! is not here is refused, with words that say what was asked and what is allowed.

mod url;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::kv;
use crate::upstream::call::Bounds;
use crate::upstream::cluster::Cluster;
use crate::upstream::condition::Condition;
use crate::upstream::tls::Tls;
pub(crate) use url::authority_of;
pub use url::{Scheme, Url};

/// What one plugin may reach. Immutable but for the addresses of its origins.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    /// Where `http_call` may go.
    pub outbound: Outbound,
    /// What `read_file` may read.
    pub files: Vec<GivenFile>,
    /// The shared state; `None`: the plugin was given none.
    pub state: Option<kv::Binding>,
}

impl Reach {
    /// Whether both lead to the very same: clusters, origins and state of one process, files of
    /// the same bytes.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let Self { outbound, files, state } = self;
        let state = match (state, &other.state) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => ours.is_same_as(theirs),
            _ => false,
        };
        state && *files == other.files && outbound.is_same_as(&other.outbound)
    }
}

/// Where `http_call` may go.
#[derive(Debug, Clone, Default)]
pub struct Outbound {
    /// The configured services, sorted by name.
    pub services: Arc<Vec<Callee>>,
    /// What stands in the plugin's `config`.
    pub origins: Vec<Arc<Origin>>,
    /// The gateway's own bounds.
    pub bounds: Bounds,
}

/// A configured service as plugins call it.
#[derive(Debug, Clone)]
pub struct Callee {
    /// Its name, in lower case: hosts of URLs have no case.
    pub name: String,
    /// Who answers.
    pub cluster: Arc<Cluster>,
}

/// A host outside of the gateway that a plugin's `config` names.
#[derive(Debug)]
pub struct Origin {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Name or address in lower case, an IPv6 one without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Under which idle connections are kept, among the ids of endpoints.
    pub id: usize,
    /// What it is among the targets of services: it may be one of them too.
    pub target: usize,
    /// What the process knows of it.
    pub condition: Arc<Condition>,
    /// How its connections are secured; `None` for plain HTTP.
    pub tls: Option<Tls>,
    /// The same, for calls of gRPC: they need HTTP/2.
    pub grpc_tls: Option<Tls>,
    /// The last answer to its name, or why there was none. Looked up by the control thread.
    pub addresses: ArcSwap<Result<Vec<SocketAddr>, String>>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

impl Origin {
    /// `host` or `host:port`: what its requests carry as `Host`.
    pub fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        if self.port == self.scheme.port() { host } else { format!("{host}:{}", self.port) }
    }
}

/// Where one URL leads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found<'a> {
    /// To a service.
    Service(&'a Callee),
    /// To an origin.
    Origin(&'a Arc<Origin>),
}

impl Outbound {
    fn is_same_as(&self, other: &Self) -> bool {
        let Self { services, origins, bounds } = self;
        let is_same_callee = |(ours, theirs): (&Callee, &Callee)| {
            ours.name == theirs.name && Arc::ptr_eq(&ours.cluster, &theirs.cluster)
        };
        let is_same_origin = |(ours, theirs): (&Arc<Origin>, _)| Arc::ptr_eq(ours, theirs);
        services.len() == other.services.len()
            && services.iter().zip(other.services.iter()).all(is_same_callee)
            && origins.len() == other.origins.len()
            && origins.iter().zip(&other.origins).all(is_same_origin)
            && *bounds == other.bounds
    }

    /// Where a URL leads, or why it leads nowhere. A service's name counts whatever port stands
    /// behind it: the port is the service's own business.
    pub(super) fn find(&self, url: &Url<'_>) -> Result<Found<'_>, String> {
        let by_name = |callee: &Callee| callee.name.as_str().cmp(&url.host);
        if let Ok(at) = self.services.binary_search_by(by_name) {
            return match url.scheme {
                Scheme::Http => Ok(Found::Service(&self.services[at])),
                Scheme::Https => {
                    Err(format!("{} is a service of this gateway: call it by http://", url.host))
                }
            };
        }
        let port = url.port.unwrap_or_else(|| url.scheme.port());
        let is_asked = |origin: &&Arc<Origin>| {
            origin.scheme == url.scheme && origin.port == port && origin.host == url.host
        };
        match self.origins.iter().find(is_asked) {
            Some(origin) => Ok(Found::Origin(origin)),
            None => Err(self.refusal(url, port)),
        }
    }

    fn refusal(&self, url: &Url<'_>, port: u16) -> String {
        let names = list(self.services.iter().map(|callee| callee.name.as_str()));
        let origins: Vec<_> = self.origins.iter().map(|one| one.to_string()).collect();
        let origins = list(origins.iter().map(String::as_str));
        let (scheme, host) = (url.scheme.as_str(), &url.host);
        format!(
            "{scheme}://{host}:{port} is not allowed; allowed are the services {names} and what \
             the plugin's config names as a URL or in allowedHosts: {origins}"
        )
    }
}

/// A file that a plugin's `config` names, as it was when the plugin was loaded.
#[derive(Clone, PartialEq, Eq)]
pub struct GivenFile {
    /// Its path as it stands in the `config`.
    pub path: String,
    /// Its bytes, or why they could not be read.
    pub contents: Result<Arc<[u8]>, String>,
}

/// Keys and secrets are among the files: their bytes are never shown.
impl fmt::Debug for GivenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.contents.as_ref().map(|bytes| bytes.len());
        write!(f, "{:?}: {size:?}", self.path)
    }
}

impl Reach {
    /// The bytes of a file, or why there are none.
    pub(super) fn file(&self, path: &[u8]) -> Result<&Arc<[u8]>, String> {
        // A guest may ask for all of its memory.
        let shown = String::from_utf8_lossy(&path[..path.len().min(SHOWN_BYTES_MAX)]);
        match self.files.iter().find(|file| file.path.as_bytes() == path) {
            Some(GivenFile { contents: Ok(bytes), .. }) => Ok(bytes),
            Some(GivenFile { contents: Err(why), .. }) => Err(format!("{shown:?} {why}")),
            None => {
                let paths = list(self.files.iter().map(|file| file.path.as_str()));
                Err(format!(
                    "{shown:?} is not allowed; allowed are the files whose paths stand in the \
                     plugin's config: {paths}"
                ))
            }
        }
    }
}

/// So much of a path is shown in a refusal.
const SHOWN_BYTES_MAX: usize = 256;

/// Names in one line; `(none)` if there are none.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    /// So many fit into a line that is still read.
    const LISTED_MAX: usize = 20;
    let mut names = names.peekable();
    if names.peek().is_none() {
        return "(none)".to_owned();
    }
    let mut text = names.by_ref().take(LISTED_MAX).collect::<Vec<_>>().join(", ");
    let more = names.count();
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::cluster::Endpoints;

    fn outbound() -> Outbound {
        let origin = |scheme, host: &str, port| {
            Arc::new(Origin {
                scheme,
                host: host.to_owned(),
                port,
                id: 0,
                target: 0,
                condition: Arc::default(),
                tls: None,
                grpc_tls: None,
                addresses: ArcSwap::from_pointee(Ok(Vec::new())),
            })
        };
        Outbound {
            services: Arc::new(vec![Callee {
                name: "users-service".to_owned(),
                cluster: Arc::new(Cluster::Endpoints(Endpoints::new(0, Vec::new()))),
            }]),
            origins: vec![origin(Scheme::Https, "id.test", 443), origin(Scheme::Http, "::1", 8080)],
            bounds: Bounds::default(),
        }
    }

    #[test]
    fn only_what_is_named_is_found_whatever_the_spelling() {
        let outbound = outbound();
        for (url, found) in [
            ("http://users-service/a", "users-service"),
            ("http://users-service:8080/a", "users-service"),
            ("HTTP://USERS-Service", "users-service"),
            ("https://id.test/jwks?x=1", "https://id.test"),
            ("https://ID.TEST:443", "https://id.test"),
            ("http://[::1]:8080/", "http://[::1]:8080"),
            ("https://users-service/", ""),
            ("http://id.test/", ""),
            ("https://id.test:8443/", ""),
            ("https://id.test.evil.test/", ""),
            ("https://id.test./", ""),
            ("https://evil.test/?https://id.test/", ""),
            ("http://127.0.0.1:8080/", ""),
            ("http://[::ffff:0:1]:8080/", ""),
            ("http://0/", ""),
        ] {
            let parsed = Url::parse(url).unwrap_or_else(|why| panic!("{url}: {why}"));
            let got = match outbound.find(&parsed) {
                Ok(Found::Service(callee)) => callee.name.clone(),
                Ok(Found::Origin(origin)) => origin.to_string(),
                Err(_) => String::new(),
            };
            assert_eq!(got, found, "{url}");
        }
    }

    #[test]
    fn a_refusal_says_what_was_asked_and_what_is_allowed() {
        let url = Url::parse("http://evil.test/x").unwrap();
        let text = outbound().find(&url).unwrap_err();
        for part in ["http://evil.test:80", "users-service", "https://id.test", "http://[::1]:8080"]
        {
            assert!(text.contains(part), "{text}");
        }
        let text = Reach::default().file(b"/etc/passwd").unwrap_err();
        assert!(text.contains("\"/etc/passwd\"") && text.contains("(none)"), "{text}");
    }
}
