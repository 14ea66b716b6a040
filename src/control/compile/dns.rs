//! Questions to name servers: where the answer's time to live counts, for SRV records, and where
//! the configuration names the servers. Other names are the system's resolver's (getaddrinfo(3)).
//!
//! Blocks. Each question is asked anew, on a runtime of its own: nothing is cached but by the
//! snapshot, and a changed `/etc/resolv.conf` counts at once.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

use crate::limits::{ADDRESSES_MAX, NAME_LOOKUP_TIMEOUT, NAME_TTL_MAX, NAME_TTL_MIN};

/// What a name server said, and how long that holds.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub(super) found: Vec<T>,
    pub(super) ttl: Duration,
}

/// An SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// A name, without its last dot.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) priority: u16,
    pub(super) weight: u16,
}

/// The addresses of a host, those of IPv4 first.
pub(super) fn addresses(host: &str, servers: &[SocketAddr]) -> Result<Answer<IpAddr>, String> {
    let name = absolute(host, servers);
    ask(servers, async |resolver| {
        let found = resolver.lookup_ip(name.as_str()).await.map_err(|error| error.to_string())?;
        let ttl = lasts(found.valid_until());
        let found: Vec<_> = found.iter().take(ADDRESSES_MAX).collect();
        if found.is_empty() { Err("no address".to_owned()) } else { Ok(Answer { found, ttl }) }
    })
}

/// The SRV records of a name, the best priority first.
pub(super) fn records(name: &str, servers: &[SocketAddr]) -> Result<Answer<Record>, String> {
    let name = absolute(name, servers);
    ask(servers, async |resolver| {
        let found = resolver.srv_lookup(name.as_str()).await.map_err(|error| error.to_string())?;
        let ttl = lasts(found.valid_until());
        let record = |data: &RData| match data {
            RData::SRV(srv) => Some(Record {
                host: srv.target.to_utf8().trim_end_matches('.').to_owned(),
                port: srv.port,
                priority: srv.priority,
                weight: srv.weight,
            }),
            _ => None,
        };
        let mut found: Vec<_> =
            found.answers().iter().filter_map(|answer| record(&answer.data)).collect();
        // A target of "." says that there is no such service.
        found.retain(|one| !one.host.is_empty() && one.port > 0);
        found.sort_by(|a, b| (a.priority, &a.host, a.port).cmp(&(b.priority, &b.host, b.port)));
        found.truncate(ADDRESSES_MAX);
        if found.is_empty() { Err("no SRV record".to_owned()) } else { Ok(Answer { found, ttl }) }
    })
}

/// Servers of one's own are asked for the name as it stands; the system's resolver has a list of
/// domains to search.
fn absolute(name: &str, servers: &[SocketAddr]) -> String {
    match servers.is_empty() || name.ends_with('.') {
        true => name.to_owned(),
        false => format!("{name}."),
    }
}

fn lasts(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now()).clamp(NAME_TTL_MIN, NAME_TTL_MAX)
}

/// Asks on a thread of its own: the caller's may be a runtime's.
fn ask<T: Send>(
    servers: &[SocketAddr],
    question: impl AsyncFnOnce(TokioResolver) -> Result<Answer<T>, String> + Send,
) -> Result<Answer<T>, String> {
    let asked = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        runtime.block_on(async move {
            let resolver = resolver(servers)?;
            let asked = tokio::time::timeout(NAME_LOOKUP_TIMEOUT, question(resolver)).await;
            asked.unwrap_or_else(|_| Err(format!("no answer within {NAME_LOOKUP_TIMEOUT:?}")))
        })
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("odin-names".to_owned());
        let thread = thread.spawn_scoped(scope, asked).map_err(|error| error.to_string())?;
        thread.join().unwrap_or_else(|_| Err("the resolver failed".to_owned()))
    })
}

fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, String> {
    let provider = TokioRuntimeProvider::default();
    let mut builder = if servers.is_empty() {
        TokioResolver::builder(provider).map_err(|error| format!("/etc/resolv.conf: {error}"))?
    } else {
        let server = |at: &SocketAddr| {
            let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
            (udp.port, tcp.port) = (at.port(), at.port());
            NameServerConfig::new(at.ip(), true, vec![udp, tcp])
        };
        let config = ResolverConfig::from_name_servers(servers.iter().map(server).collect());
        TokioResolver::builder_with_config(config, provider)
    };
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    if !servers.is_empty() {
        options.use_hosts_file = ResolveHosts::Never;
        options.timeout = NAME_LOOKUP_TIMEOUT / 4;
        options.attempts = 2;
    }
    builder.build().map_err(|error| error.to_string())
}
