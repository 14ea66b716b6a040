//! Which certificate a client gets: by the host that it asks for, then by what it can verify.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The certificates of a listener.
#[derive(Debug)]
pub(super) struct ByName {
    /// By host, in small letters, in the order of the configuration.
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what stands behind the `*.` of a wildcard.
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// For whoever asks for no host, or for another: the first, and those of the same hosts.
    default: Vec<Arc<CertifiedKey>>,
}

impl ByName {
    /// Of certificates with the hosts that they are for.
    pub(super) fn new<'a>(
        keys: impl Iterator<Item = (&'a Vec<String>, &'a Arc<CertifiedKey>)> + Clone,
    ) -> Self {
        let mut this =
            Self { exact: HashMap::new(), wildcard: HashMap::new(), default: Vec::new() };
        let first = keys.clone().next().map(|(hosts, _)| hosts);
        for (at, (hosts, key)) in keys.enumerate() {
            for host in hosts {
                let (names, host) = match host.strip_prefix("*.") {
                    Some(parent) => (&mut this.wildcard, parent),
                    None => (&mut this.exact, host.as_str()),
                };
                names.entry(host.to_owned()).or_default().push(Arc::clone(key));
            }
            let is_first = at == 0 || (!hosts.is_empty() && Some(hosts) == first);
            if is_first {
                this.default.push(Arc::clone(key));
            }
        }
        this
    }

    fn for_host(&self, host: Option<&str>) -> &[Arc<CertifiedKey>] {
        let named = host.and_then(|host| {
            let host = host.to_ascii_lowercase();
            let exact = self.exact.get(&host);
            // A `*` is exactly one label (RFC 6125 section 6.4.3).
            exact.or_else(|| self.wildcard.get(host.split_once('.')?.1))
        });
        named.unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let keys = self.for_host(hello.server_name());
        let schemes = hello.signature_schemes();
        let fitting = keys.iter().find(|one| one.key.choose_scheme(schemes).is_some());
        // With none that it can verify the handshake fails by the alert that says so.
        fitting.or_else(|| keys.first()).cloned()
    }
}
