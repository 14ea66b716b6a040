//! Of each target of a service: how it stands, what it has to do.

use super::super::reload::Control;
use super::super::targets::{Target, panicking, targets};
use super::text::Text;
use crate::upstream::condition::Standing;
use crate::worker::report::Report;

/// A family with one series for each target of a service.
type Family = (&'static str, &'static str, &'static str, fn(&Target) -> u64);

const FAMILIES: [Family; 3] = [
    (
        "odin_upstream_target_ejections_total",
        "counter",
        "How often a target was ejected.",
        |target| target.told.ejections,
    ),
    (
        "odin_upstream_target_requests_active",
        "gauge",
        "Requests under way at a target.",
        |target| target.counts.under_way as u64,
    ),
    (
        "odin_upstream_target_requests_waiting",
        "gauge",
        "Requests that wait for a target to have room.",
        |target| target.counts.waiting as u64,
    ),
];

pub(super) fn families(text: &mut Text, control: &Control, reports: &[Report]) {
    let targets = targets(control, reports);
    let family = "odin_upstream_target_state";
    text.family(family, "gauge", "How a target stands: 1 for one of the states, 0 for the others.");
    for target in &targets {
        for standing in Standing::ALL {
            let labels = [
                ("service", target.service.as_str()),
                ("target", target.url.as_str()),
                ("state", standing.as_str()),
            ];
            text.line(family, &labels, u8::from(target.told.standing == standing));
        }
    }
    for (family, kind, help, value) in FAMILIES {
        text.family(family, kind, help);
        for target in &targets {
            let labels = [("service", target.service.as_str()), ("target", target.url.as_str())];
            text.line(family, &labels, value(target));
        }
    }
    let family = "odin_upstream_target_latency_seconds";
    text.family(family, "gauge", "How long a target's answers take of late, to their heads.");
    for target in targets.iter().filter(|target| target.counts.latency_micros > 0) {
        let labels = [("service", target.service.as_str()), ("target", target.url.as_str())];
        text.line(family, &labels, target.counts.latency_micros as f64 / 1e6);
    }
    let family = "odin_upstream_panicking";
    text.family(family, "gauge", "1 while all targets of a service are sick, and all are asked.");
    let panicking = panicking(control);
    let mut services: Vec<&str> = targets.iter().map(|target| target.service.as_str()).collect();
    services.dedup();
    for service in services {
        let is_panicking = panicking.iter().any(|one| one == service);
        text.line(family, &[("service", service)], u8::from(is_panicking));
    }
}
