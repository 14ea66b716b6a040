//! What a service says of its targets becomes a cluster: names become addresses, each of them a
//! target of its own unless the service says otherwise.

use std::net::SocketAddr;
use std::sync::Arc;

use super::super::config::{self, Config, Over, Target, TargetKind};
use super::names::{Place, Whom, addresses, authority, places};
use super::{Compiler, Findings, share, upstream_max};
use crate::io::deadline::now_ms;
use crate::limits::{ENDPOINTS_MAX, UPSTREAM_TARGET_QUARTERS};
use crate::plugin::Scheme;
use crate::snapshot::Snapshot;
use crate::upstream::admission::Caps;
use crate::upstream::cluster::{Address, Cluster, Endpoint, Endpoints, Rank};
use crate::upstream::policy::Policy;

/// The targets that are found for one of a configuration: an address, and which one of a name it
/// is.
type Found = Vec<(Address, Option<SocketAddr>)>;

impl Compiler {
    pub(super) fn cluster(
        &mut self,
        service: &config::Service,
        config: &Config,
        published: Option<&Snapshot>,
        findings: &mut Findings,
    ) -> Arc<Cluster> {
        let (mut endpoints, mut missing) = (Vec::new(), Vec::new());
        let whom = Whom::of(service, config);
        for target in &service.targets {
            let (found, authority) = match &target.kind {
                TargetKind::Echo => return reused(Cluster::Echo, &service.name, published),
                TargetKind::Srv { name, .. } => {
                    match self.srv(service, target, (whom, published), findings) {
                        Ok(found) => {
                            endpoints.extend(found);
                            continue;
                        }
                        Err(reason) => (Err(reason), name.clone()),
                    }
                }
                TargetKind::Unix(path) => {
                    (Ok(vec![(Address::Unix(path.clone()), None)]), "localhost".to_owned())
                }
                TargetKind::Http { host, port } | TargetKind::Http2 { host, port } => {
                    let kind = match target.kind {
                        TargetKind::Http2 { .. } => Address::Http2,
                        _ => Address::Tcp,
                    };
                    let at = (host.as_str(), *port, Scheme::Http);
                    let found =
                        addresses(at, (&service.name, whom), published, &mut findings.warnings);
                    let each = |found| each_target(found, host, service, kind);
                    (found.map(each), authority(host, *port, Scheme::Http))
                }
                TargetKind::Https { host, port } => {
                    let at = (host.as_str(), *port, Scheme::Https);
                    let found =
                        addresses(at, (&service.name, whom), published, &mut findings.warnings);
                    // Never in the clear: without trust there is no target.
                    let tls = &service.origins.tls;
                    let found = found.and_then(|found| Ok((found, self.trust.origin(host, tls)?)));
                    let each = |(found, tls): (Vec<SocketAddr>, crate::upstream::tls::Tls)| {
                        each_target(found, host, service, |list| Address::Tls(list, tls.clone()))
                    };
                    (found.map(each), authority(host, *port, Scheme::Https))
                }
            };
            let found = found.unwrap_or_else(|reason| {
                missing.push((authority.clone(), reason));
                vec![(Address::Tcp(Vec::new()), None)]
            });
            for one in found {
                endpoints.push((self.endpoint(service, target, &authority, one), target.weight));
            }
        }
        if service.origins.tls.is_insecure {
            findings.warnings.push(format!(
                "service {}: tls.insecure is true: whoever answers is taken for its target",
                service.name
            ));
        }
        // Those without an address have no turns where others have one: they are looked up again.
        let has_others = endpoints.iter().any(|(endpoint, _)| endpoint.address.is_known());
        if has_others {
            endpoints.retain(|(endpoint, _)| endpoint.address.is_known());
        }
        bound(&mut endpoints, &service.name, &mut findings.warnings);
        findings.unreachable(&service.name, missing, has_others);
        let id = self.ids.of_cluster(&service.name);
        let policy = self.policy(service, config);
        let cluster = Cluster::Endpoints(Endpoints::new(id, endpoints).with_policy(policy));
        reused(cluster, &service.name, published)
    }

    /// The targets that SRV records name, each with its weight.
    fn srv(
        &mut self,
        service: &config::Service,
        target: &Target,
        (whom, published): (Whom<'_>, Option<&Snapshot>),
        findings: &mut Findings,
    ) -> Result<Vec<(Endpoint, u32)>, String> {
        let TargetKind::Srv { name, over } = &target.kind else { return Ok(Vec::new()) };
        // The certificate is for the name that was configured: what a name server answers is no
        // reason to trust another one (RFC 6125).
        let tls = match over {
            Over::Https => Some(self.trust.origin(domain(name), &service.origins.tls)?),
            Over::Http | Over::Http2 => None,
        };
        let found = places(&target.kind, (service, whom), published, &mut findings.warnings)?;
        let endpoint = |place: Place| {
            let at = vec![place.at];
            let address = match (over, &tls) {
                (Over::Https, Some(tls)) => Address::Tls(at, tls.clone()),
                (Over::Http2, _) => Address::Http2(at),
                _ => Address::Tcp(at),
            };
            let one = (address, Some(place.at));
            let endpoint = self.endpoint(service, target, &place.authority, one);
            let url = format!("{} ({})", config::view::target_url(&target.kind), place.at);
            (Endpoint { url, rank: place.rank, ..endpoint }, place.rank.weight)
        };
        Ok(found.into_iter().map(endpoint).collect())
    }

    fn endpoint(
        &mut self,
        service: &config::Service,
        target: &Target,
        authority: &str,
        (address, one): (Address, Option<SocketAddr>),
    ) -> Endpoint {
        let id = self.ids.of_endpoint(&address);
        let (named, condition, is_new) = self.ids.of_target(&(target.kind.clone(), one));
        // What is there when the gateway starts is as warm as it will be.
        if is_new && self.generation > 0 {
            condition.warm(now_ms(), service.origins.slow_start);
        }
        let url = config::view::target_url(&target.kind);
        let url = one.map_or_else(|| url.clone(), |one| format!("{url} ({})", one.ip()));
        let authority = authority.to_owned();
        Endpoint { id, target: named, address, authority, url, condition, rank: Rank::default() }
    }

    fn policy(&self, service: &config::Service, config: &Config) -> Policy {
        let origins = &service.origins;
        Policy {
            algorithm: origins.algorithm,
            hash: origins.hash.clone(),
            caps: caps(&service.limits, &config.server.limits, self.workers),
            outlier: origins.outlier,
            slow_start: origins.slow_start,
            retry: origins.retry.clone(),
        }
    }
}

/// No more endpoints than a service may have.
fn bound(endpoints: &mut Vec<(Endpoint, u32)>, service: &str, warnings: &mut Vec<String>) {
    let got = endpoints.len();
    if got > ENDPOINTS_MAX {
        warnings.push(format!(
            "service {service}: its targets have {got} addresses, {ENDPOINTS_MAX} of which are used"
        ));
        endpoints.truncate(ENDPOINTS_MAX);
    }
}

/// The name that SRV records are about, without the labels of service and protocol.
fn domain(name: &str) -> &str {
    let mut domain = name.trim_end_matches('.');
    while domain.starts_with('_')
        && let Some((_, rest)) = domain.split_once('.')
    {
        domain = rest;
    }
    domain
}

/// The addresses of a host, each as a target of its own. Those of the other family than the first
/// one's are other ways to the same machines: they are tried where an address leads nowhere (RFC
/// 8305), and no targets.
fn each_target(
    found: Vec<SocketAddr>,
    host: &str,
    service: &config::Service,
    address: impl Fn(Vec<SocketAddr>) -> Address,
) -> Found {
    let is_name = host.parse::<std::net::IpAddr>().is_err();
    if !is_name || !service.origins.splits_names {
        return vec![(address(found), None)];
    }
    let is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (mut ours, mut others): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|one| one.is_ipv6() == is_v6);
    // Name servers turn their answers round: the order says nothing.
    ours.sort_unstable();
    ours.dedup();
    others.sort_unstable();
    others.dedup();
    let with_others =
        |one: SocketAddr| std::iter::once(one).chain(others.iter().copied()).collect();
    ours.into_iter().map(|one| (address(with_others(one)), Some(one))).collect()
}

/// What the service has in the published snapshot, if it is the same: a plugin that calls it stays
/// as it is, then.
fn reused(cluster: Cluster, service: &str, published: Option<&Snapshot>) -> Arc<Cluster> {
    let earlier = published.and_then(|snapshot| snapshot.service_named(service));
    let earlier = earlier.filter(|earlier| *earlier.cluster == cluster);
    earlier.map_or_else(|| Arc::new(cluster), |earlier| Arc::clone(&earlier.cluster))
}

/// What one worker may have under way at a target of the service.
fn caps(service: &config::ServiceLimits, server: &config::Limits, workers: usize) -> Caps {
    let default = || upstream_max(server) / 4 * UPSTREAM_TARGET_QUARTERS;
    let pending = service.pending;
    Caps {
        connections: share(service.connections.unwrap_or_else(default), workers),
        pending: if pending == 0 { 0 } else { share(pending, workers) },
        pending_timeout: service.pending_timeout,
    }
}
