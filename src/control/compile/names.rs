//! Where the names of targets lead: looked up, or as they were last.

use std::net::{SocketAddr, ToSocketAddrs};

use super::super::config::{Config, TargetKind};
use crate::limits::ADDRESSES_MAX;
use crate::plugin::Scheme;
use crate::snapshot::Snapshot;
use crate::upstream::cluster::{Address, Cluster};

/// Whether a name behind a target of these services resolves to other addresses than those in the
/// published snapshot. Blocks. A name that does not resolve has not changed.
pub fn have_names_moved(config: &Config, services: &[String], published: &Snapshot) -> bool {
    let due = config.services.iter().filter(|service| services.contains(&service.name));
    let targets = due.flat_map(|service| &service.targets);
    let mut names = targets.filter_map(|target| match &target.kind {
        TargetKind::Http { host, port } | TargetKind::Http2 { host, port } => {
            Some((host, *port, Scheme::Http))
        }
        TargetKind::Https { host, port } => Some((host, *port, Scheme::Https)),
        TargetKind::Unix(_) | TargetKind::Echo => None,
    });
    names.any(|(host, port, scheme)| {
        let Ok(mut now) = resolve(host, port) else {
            return false;
        };
        let mut last = last_addresses(published, scheme, &authority(host, port, scheme));
        // Name servers turn their answers round: the order says nothing.
        for list in [&mut now, &mut last] {
            list.sort_unstable();
            list.dedup();
        }
        now != last
    })
}

/// The addresses of a target: what its name resolves to, or its last ones.
pub(super) fn addresses(
    (host, port, scheme): (&str, u16, Scheme),
    service: &str,
    published: Option<&Snapshot>,
    warnings: &mut Vec<String>,
) -> Result<Vec<SocketAddr>, String> {
    resolve(host, port).or_else(|reason| {
        let last = |published| last_addresses(published, scheme, &authority(host, port, scheme));
        let last = published.map(last).unwrap_or_default();
        if last.is_empty() {
            return Err(reason);
        }
        warnings.push(format!("service {service}: {reason}; its last addresses are used"));
        Ok(last)
    })
}

/// The addresses that a name had in the published snapshot; none if it was not there.
fn last_addresses(published: &Snapshot, scheme: Scheme, authority: &str) -> Vec<SocketAddr> {
    let clusters = published.services.iter().map(|service| &*service.cluster);
    let endpoints = clusters.flat_map(|cluster| match cluster {
        Cluster::Endpoints(endpoints) => endpoints.iter(),
        Cluster::Echo => [].iter(),
    });
    let named = endpoints.filter(|endpoint| endpoint.authority == authority);
    let mut all = Vec::new();
    // Each is a target of its own, or all are ways to one.
    for endpoint in named {
        let addresses = match (&endpoint.address, scheme) {
            (Address::Tcp(addresses) | Address::Http2(addresses), Scheme::Http) => addresses,
            (Address::Tls(addresses, _), Scheme::Https) => addresses,
            _ => continue,
        };
        all.extend(addresses.iter().filter(|one| !all.contains(*one)).copied().collect::<Vec<_>>());
    }
    all
}

/// The addresses of a host, in the resolver's order.
fn resolve(host: &str, port: u16) -> Result<Vec<std::net::SocketAddr>, String> {
    let unresolved = |reason: String| format!("cannot resolve {host}: {reason}");
    let mut addresses: Vec<_> =
        (host, port).to_socket_addrs().map_err(|error| unresolved(error.to_string()))?.collect();
    addresses.truncate(ADDRESSES_MAX);
    if addresses.is_empty() { Err(unresolved("no address".to_owned())) } else { Ok(addresses) }
}

/// The `Host` that names a target.
pub(super) fn authority(host: &str, port: u16, scheme: Scheme) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port == scheme.port() { host } else { format!("{host}:{port}") }
}
