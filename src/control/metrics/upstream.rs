//! Of the requests to services' endpoints.

use super::Totals;
use super::text::Text;
use crate::error::UpstreamFailure;
use crate::upstream::counts::{UpstreamCounts, UpstreamOutcome};

/// A family with one series for each service.
type Family = (&'static str, &'static str, &'static str, fn(&UpstreamCounts) -> u64);

const FAMILIES: [Family; 5] = [
    (
        "odin_upstream_retries_total",
        "counter",
        "Tries at an endpoint after the first of their request.",
        |counts| counts.retries,
    ),
    (
        "odin_upstream_connections_reused_total",
        "counter",
        "Requests to endpoints over a connection that was there.",
        |counts| counts.reused,
    ),
    (
        "odin_upstream_connections_open",
        "gauge",
        "Connections to endpoints, idle ones included.",
        |counts| counts.active + counts.idle,
    ),
    ("odin_upstream_connections_idle", "gauge", "Idle connections to endpoints.", |counts| {
        counts.idle
    }),
    ("odin_upstream_requests_active", "gauge", "Requests to endpoints under way.", |counts| {
        counts.active
    }),
];

pub(super) fn families(text: &mut Text, totals: &Totals) {
    let services = || {
        let services = totals.services.iter();
        services.map(|(name, counts)| (name.as_str(), &counts.upstream))
    };
    let family = "odin_upstream_requests_total";
    text.family(family, "counter", "Requests to a service's endpoints, by outcome.");
    for (service, counts) in services() {
        for (outcome, count) in UpstreamOutcome::ALL.into_iter().zip(counts.requests) {
            text.line(family, &[("service", service), ("outcome", outcome.as_str())], count);
        }
    }
    let family = "odin_upstream_errors_total";
    text.family(family, "counter", "Failures of a service's endpoints, by kind.");
    for (service, counts) in services() {
        for (kind, count) in UpstreamFailure::ALL.into_iter().zip(counts.errors) {
            text.line(family, &[("service", service), ("kind", kind.as_str())], count);
        }
    }
    let family = "odin_upstream_connect_duration_seconds";
    text.family(family, "summary", "Time to connect to endpoints, TLS included.");
    for (service, counts) in services() {
        let total = counts.connect_time.as_secs_f64();
        text.summary(family, &[("service", service)], total, counts.connects);
    }
    for (family, kind, help, value) in FAMILIES {
        text.family(family, kind, help);
        for (service, counts) in services() {
            text.line(family, &[("service", service)], value(counts));
        }
    }
}
