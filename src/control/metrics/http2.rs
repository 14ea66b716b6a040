//! Of clients' connections of HTTP/2.

use super::text::Text;
use crate::downstream::frontend::Http2Counts;
use crate::worker::report::Report;

type Count = fn(&Http2Counts) -> u64;

const FAMILIES: [(&str, &str, Count); 3] = [
    ("odin_http2_connections_total", "Client connections of HTTP/2.", |counts| counts.connections),
    ("odin_http2_streams_total", "Requests of HTTP/2.", |counts| counts.streams),
    ("odin_http2_resets_total", "Streams that clients reset, or had reset.", |counts| {
        counts.resets
    }),
];

const GOAWAYS: [(&str, Count); 3] = [
    ("drain", |counts| counts.goaways),
    ("protocol", |counts| counts.broken),
    ("abuse", |counts| counts.abused),
];

pub(super) fn families(text: &mut Text, reports: &[Report]) {
    for (family, help, count) in FAMILIES {
        text.family(family, "counter", help);
        for report in reports {
            let worker = report.worker.to_string();
            text.line(family, &[("worker", &worker)], count(&report.connections.http2));
        }
    }
    let family = "odin_http2_goaways_total";
    text.family(family, "counter", "Client connections of HTTP/2 that the gateway ended, by why.");
    for report in reports {
        let worker = report.worker.to_string();
        for (reason, count) in GOAWAYS {
            let labels = [("worker", worker.as_str()), ("reason", reason)];
            text.line(family, &labels, count(&report.connections.http2));
        }
    }
}
