//! Of connections and streams that went on with another protocol than HTTP.

use super::Totals;
use super::text::Text;
use crate::exchange::counts::TunnelCounts;

pub(super) fn families(text: &mut Text, totals: &Totals) {
    let services = || {
        let services = totals.services.iter();
        services.map(|(name, counts)| (name.as_str(), &counts.tunnels))
    };
    let mut family = |name: &str, kind, help, value: fn(&TunnelCounts) -> u64| {
        text.family(name, kind, help);
        for (service, counts) in services() {
            text.line(name, &[("service", service)], value(counts));
        }
    };
    family("odin_tunnels_open", "gauge", "WebSockets, and what else clients switched to.", |one| {
        one.open
    });
    let help = "Those that were begun.";
    family("odin_tunnels_total", "counter", help, |one| one.open + one.ended);
    let family = "odin_tunnel_bytes_total";
    text.family(family, "counter", "Bytes that passed through them, by who sent them.");
    for (service, counts) in services() {
        for (from, bytes) in ["client", "target"].into_iter().zip(counts.bytes) {
            text.line(family, &[("service", service), ("from", from)], bytes);
        }
    }
    let family = "odin_tunnel_duration_seconds";
    text.family(family, "summary", "How long those that have ended were open.");
    for (service, counts) in services() {
        let total = counts.time_total.as_secs_f64();
        text.summary(family, &[("service", service)], total, counts.ended);
    }
}
