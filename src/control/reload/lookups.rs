//! When the names of which services are looked up again (`services[].resolve`). Pure: the clock is
//! an argument.

use std::collections::HashMap;
use std::time::Instant;

use crate::control::config::{Config, TargetKind};
use crate::limits::NAME_REFRESH_INTERVAL;

/// When each service was looked up last, by name.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    last: HashMap<String, Instant>,
}

impl Lookups {
    /// When the next service is due. One that is seen for the first time has just been looked up.
    pub(super) fn due(&mut self, config: &Config, now: Instant) -> Instant {
        let names = |name: &String| config.services.iter().any(|service| service.name == *name);
        self.last.retain(|name, _| names(name));
        let mut next = now + NAME_REFRESH_INTERVAL;
        for service in named(config) {
            let last = self.last.entry(service.name.clone()).or_insert(now);
            next = next.min(*last + service.origins.resolve);
        }
        next
    }

    /// The services that are due, which this notes as looked up.
    pub(super) fn take_due(&mut self, config: &Config, now: Instant) -> Vec<String> {
        let mut due = Vec::new();
        for service in named(config) {
            let last = self.last.entry(service.name.clone()).or_insert(now);
            if now >= *last + service.origins.resolve {
                *last = now;
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
