//! Where the names of targets lead: looked up, or as they were last. By the system's resolver, or
//! by questions to name servers (`dns.rs`) where the configuration says so, and for SRV records.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use super::super::config::{self, Config, Over, Refresh, TargetKind, view};
use super::dns;
use crate::limits::{ADDRESSES_MAX, NAME_REFRESH_INTERVAL, SRV_WEIGHT_MAX};
use crate::plugin::Scheme;
use crate::snapshot::Snapshot;
use crate::upstream::cluster::{Address, Cluster, Endpoint, Rank};

/// Who is asked for the names of a service's targets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whom<'c> {
    servers: &'c [SocketAddr],
    /// Name servers are, not the system's resolver.
    by_dns: bool,
}

impl<'c> Whom<'c> {
    /// As the configuration says.
    pub(super) fn of(service: &config::Service, config: &'c Config) -> Self {
        let servers = &config.server.name_servers[..];
        let by_dns = !servers.is_empty() || service.origins.resolve == Refresh::ByTtl;
        Self { servers, by_dns }
    }
}

/// A target that an SRV record names.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// `host:port`, as the record has it.
    pub(super) authority: String,
    pub(super) at: SocketAddr,
    pub(super) rank: Rank,
}

/// What looking names up has shown.
#[derive(Debug, Default)]
pub struct Looked {
    /// A name resolves to other addresses than those in the published snapshot.
    pub has_moved: bool,
    /// For how long the answers of a service's names hold, where they say so.
    pub ttls: HashMap<String, Duration>,
}

/// Looks up the names behind the targets of these services. Blocks. A name that does not resolve
/// has not changed.
pub fn look(config: &Config, services: &[String], published: &Snapshot) -> Looked {
    let mut looked = Looked::default();
    for service in config.services.iter().filter(|service| services.contains(&service.name)) {
        let whom = Whom::of(service, config);
        let mut shortest = None;
        for target in &service.targets {
            let (moved, ttl) = look_at(&target.kind, service, whom, published);
            looked.has_moved |= moved;
            shortest = shortest.into_iter().chain(ttl).min();
        }
        if let Some(ttl) = shortest {
            looked.ttls.insert(service.name.clone(), ttl);
        }
    }
    looked
}

fn look_at(
    kind: &TargetKind,
    service: &config::Service,
    whom: Whom<'_>,
    published: &Snapshot,
) -> (bool, Option<Duration>) {
    // Who does not answer is not asked in a hurry.
    let unknown = (false, whom.by_dns.then_some(NAME_REFRESH_INTERVAL));
    let (host, port, scheme) = match kind {
        TargetKind::Http { host, port } | TargetKind::Http2 { host, port } => {
            (host, *port, Scheme::Http)
        }
        TargetKind::Https { host, port } => (host, *port, Scheme::Https),
        TargetKind::Srv { name, over } => {
            let Ok((now, ttl)) = resolve_srv(name, *over, whom) else {
                return (false, Some(NAME_REFRESH_INTERVAL));
            };
            let set = |places: Vec<Place>| -> BTreeSet<(SocketAddr, Rank)> {
                places.into_iter().map(|place| (place.at, place.rank)).collect()
            };
            return (set(now) != set(last_places(published, service, kind)), Some(ttl));
        }
        TargetKind::Unix(_) | TargetKind::Echo => return (false, None),
    };
    let Ok((mut now, ttl)) = resolve(host, port, whom) else {
        return unknown;
    };
    let mut last = last_addresses(published, scheme, &authority(host, port, scheme));
    // Name servers turn their answers round: the order says nothing.
    for list in [&mut now, &mut last] {
        list.sort_unstable();
        list.dedup();
    }
    (now != last, ttl)
}

/// The addresses of a target: what its name resolves to, or its last ones.
pub(super) fn addresses(
    (host, port, scheme): (&str, u16, Scheme),
    (service, whom): (&str, Whom<'_>),
    published: Option<&Snapshot>,
    warnings: &mut Vec<String>,
) -> Result<Vec<SocketAddr>, String> {
    resolve(host, port, whom).map(|(found, _)| found).or_else(|reason| {
        let last = |published| last_addresses(published, scheme, &authority(host, port, scheme));
        let last = published.map(last).unwrap_or_default();
        if last.is_empty() {
            return Err(reason);
        }
        warnings.push(format!("service {service}: {reason}; its last addresses are used"));
        Ok(last)
    })
}

/// The targets that a name's SRV records name, or its last ones.
pub(super) fn places(
    kind: &TargetKind,
    (service, whom): (&config::Service, Whom<'_>),
    published: Option<&Snapshot>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Place>, String> {
    let TargetKind::Srv { name, over } = kind else { return Ok(Vec::new()) };
    resolve_srv(name, *over, whom).map(|(found, _)| found).or_else(|reason| {
        let last = published.map(|published| last_places(published, service, kind));
        let last = last.filter(|last| !last.is_empty()).ok_or_else(|| reason.clone())?;
        warnings.push(format!("service {}: {reason}; its last targets are used", service.name));
        Ok(last)
    })
}

/// Those that a name had in the published snapshot.
fn last_places(published: &Snapshot, service: &config::Service, kind: &TargetKind) -> Vec<Place> {
    let of_name = format!("{} (", view::target_url(kind));
    let service = published.service_named(&service.name);
    let endpoints = match service.map(|service| &*service.cluster) {
        Some(Cluster::Endpoints(endpoints)) => endpoints.iter(),
        _ => [].iter(),
    };
    let place = |endpoint: &Endpoint| {
        let (Address::Tcp(addresses) | Address::Http2(addresses) | Address::Tls(addresses, _)) =
            &endpoint.address
        else {
            return None;
        };
        let (authority, rank) = (endpoint.authority.clone(), endpoint.rank);
        Some(Place { authority, at: *addresses.first()?, rank })
    };
    endpoints.filter(|endpoint| endpoint.url.starts_with(&of_name)).filter_map(place).collect()
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

/// The addresses of a host, in the resolver's order, and how long they hold, where that is known.
fn resolve(
    host: &str,
    port: u16,
    whom: Whom<'_>,
) -> Result<(Vec<SocketAddr>, Option<Duration>), String> {
    let unresolved = |reason: String| format!("cannot resolve {host}: {reason}");
    if whom.by_dns && host.parse::<IpAddr>().is_err() && host != "localhost" {
        let answer = dns::addresses(host, whom.servers).map_err(unresolved)?;
        let found = answer.found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
        return Ok((found, Some(answer.ttl)));
    }
    let mut addresses: Vec<_> =
        (host, port).to_socket_addrs().map_err(|error| unresolved(error.to_string()))?.collect();
    addresses.truncate(ADDRESSES_MAX);
    if addresses.is_empty() {
        return Err(unresolved("no address".to_owned()));
    }
    Ok((addresses, None))
}

/// The targets that SRV records name, and how long that holds. One whose host does not resolve is
/// left out while there are others.
fn resolve_srv(name: &str, over: Over, whom: Whom<'_>) -> Result<(Vec<Place>, Duration), String> {
    let unresolved = |reason: String| format!("cannot resolve {name}: {reason}");
    let answer = dns::records(name, whom.servers).map_err(unresolved)?;
    let heaviest = answer.found.iter().map(|one| u32::from(one.weight)).max().unwrap_or(0).max(1);
    let (mut ttl, mut places, mut failed) = (answer.ttl, Vec::new(), None);
    let (mut hosts, mut tiers) = (HashMap::new(), Vec::new());
    for record in answer.found {
        if !tiers.contains(&record.priority) {
            tiers.push(record.priority);
        }
        let host = record.host.as_str();
        let looked =
            hosts.entry(host.to_owned()).or_insert_with(|| dns::addresses(host, whom.servers));
        let found = match looked {
            Ok(found) => found,
            Err(reason) => {
                failed = Some(format!("cannot resolve {host}: {reason}"));
                continue;
            }
        };
        ttl = ttl.min(found.ttl);
        let weight = (u32::from(record.weight) * SRV_WEIGHT_MAX / heaviest).max(1);
        let tier = u8::try_from(tiers.len() - 1).unwrap_or(u8::MAX);
        let scheme = if over == Over::Https { Scheme::Https } else { Scheme::Http };
        let authority = authority(host, record.port, scheme);
        places.extend(found.found.iter().map(|ip| Place {
            authority: authority.clone(),
            at: SocketAddr::new(*ip, record.port),
            rank: Rank { tier, weight },
        }));
    }
    match failed {
        Some(reason) if places.is_empty() => Err(reason),
        _ => Ok((places, ttl)),
    }
}

/// The `Host` that names a target.
pub(super) fn authority(host: &str, port: u16, scheme: Scheme) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port == scheme.port() { host } else { format!("{host}:{port}") }
}
