//! When the names of which services are looked up again (`services[].resolve`). Pure: the clock is
//! an argument.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::control::config::{Config, Refresh, Service, TargetKind};
use crate::limits::{NAME_REFRESH_INTERVAL, NAME_TTL_MIN};

/// When each service was looked up last, by name.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    last: HashMap<String, Instant>,
    /// For how long the last answers hold, where that is known.
    ttls: HashMap<String, Duration>,
}

impl Lookups {
    /// When the next service is due. One that is seen for the first time has just been looked up.
    pub(super) fn due(&mut self, config: &Config, now: Instant) -> Instant {
        let names = |name: &String| config.services.iter().any(|service| service.name == *name);
        self.last.retain(|name, _| names(name));
        self.ttls.retain(|name, _| names(name));
        let mut next = now + NAME_REFRESH_INTERVAL;
        for service in named(config) {
            let last = self.last.entry(service.name.clone()).or_insert(now);
            let last = *last;
            next = next.min(last + self.interval(service, config));
        }
        next
    }

    /// Notes for how long the last answers hold.
    pub(super) fn note(&mut self, ttls: HashMap<String, Duration>) {
        self.ttls.extend(ttls);
    }

    /// How long after its last look-up a service is due. Of one that goes by its answers' time to
    /// live, and was looked up for a snapshot alone, that is not known yet.
    fn interval(&self, service: &Service, config: &Config) -> Duration {
        let has_srv = service.targets.iter().any(|one| matches!(one.kind, TargetKind::Srv { .. }));
        match service.origins.resolve {
            Refresh::Every(interval) => interval,
            Refresh::Unsaid if config.server.name_servers.is_empty() && !has_srv => {
                NAME_REFRESH_INTERVAL
            }
            Refresh::Unsaid | Refresh::ByTtl => {
                self.ttls.get(&service.name).copied().unwrap_or(NAME_TTL_MIN)
            }
        }
    }

    /// The services that are due, which this notes as looked up.
    pub(super) fn take_due(&mut self, config: &Config, now: Instant) -> Vec<String> {
        let mut due = Vec::new();
        for service in named(config) {
            let last = *self.last.entry(service.name.clone()).or_insert(now);
            if now >= last + self.interval(service, config) {
                self.last.insert(service.name.clone(), now);
                due.push(service.name.clone());
            }
        }
        due
    }
}

/// The services that have targets with a name.
fn named(config: &Config) -> impl Iterator<Item = &crate::control::config::Service> {
    config.services.iter().filter(|service| {
        service.targets.iter().any(|target| match &target.kind {
            TargetKind::Http { host, .. }
            | TargetKind::Http2 { host, .. }
            | TargetKind::Https { host, .. } => host.parse::<std::net::IpAddr>().is_err(),
            TargetKind::Srv { .. } => true,
            TargetKind::Unix(_) | TargetKind::Echo => false,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::control::config::parse_text;

    #[test]
    fn each_service_is_due_after_its_own_time() {
        let text = "services:\n\
                    - {name: a, basePath: /a, targets: ['http://a.test:1'], resolve: 1s}\n\
                    - {name: b, basePath: /b, targets: ['http://b.test:1']}\n\
                    - {name: c, basePath: /c, targets: ['http://127.0.0.1:1'], resolve: 1s}\n";
        let config = parse_text(text, "test").unwrap();
        let (mut lookups, start) = (Lookups::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(lookups.due(&config, start), at(1));
        assert_eq!(lookups.take_due(&config, at(1)), ["a"]);
        assert_eq!(lookups.due(&config, at(1)), at(2));
        assert_eq!(lookups.take_due(&config, at(10)), ["a", "b"]);
        assert_eq!(lookups.take_due(&config, at(10)), Vec::<String>::new());
    }
}
