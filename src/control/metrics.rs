//! `GET /metrics`: what all workers have counted, as Prometheus reads it (text format 0.0.4, or
//! OpenMetrics 1.0.0 for who asks for that).
//!
//! By hand: the format is lines, and a crate with counters of its own would be a second copy of
//! what the workers count. docs/metrics.md says what each line means.

mod fleet;
mod http2;
mod modules;
mod process;
mod targets;
mod text;
mod mirrors;
mod tunnels;
mod upstream;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

pub use self::text::Format;
use self::text::Text;
use super::reload::Control;
use super::{access_log, log, otlp};
use crate::downstream::frontend::{ConnectionCounts, Handshake};
use crate::error::Rejection;
use crate::exchange::counts::ServiceCounts;
use crate::http::grpc::GrpcStatus;
use crate::plugin::{ErrorKind, PluginMetric, PluginReport};
use crate::worker::report::Report;

/// What all workers have counted together.
#[derive(Debug, Default)]
pub struct Totals {
    /// Services by name.
    pub services: BTreeMap<String, ServiceCounts>,
    /// Plugins by name.
    pub plugins: BTreeMap<String, PluginReport>,
    /// Requests that the gateway refused itself, by reason ([`Rejection::ALL`]).
    pub rejected: [u64; Rejection::ALL.len()],
}

impl Totals {
    /// The sum of all workers.
    pub fn of(reports: &[Report]) -> Self {
        let mut totals = Self::default();
        for report in reports {
            totals.rejected.iter_mut().zip(report.rejected).for_each(|(sum, count)| *sum += count);
            for (name, counts) in &report.services {
                totals.services.entry(name.clone()).or_default().add(counts);
            }
            for plugin in &report.plugins {
                let none = || PluginReport::new(&plugin.name);
                totals.plugins.entry(plugin.name.clone()).or_insert_with(none).add(plugin);
            }
        }
        totals
    }
}

/// The whole text.
pub fn text(control: &Control, reports: &[Report], format: Format) -> String {
    let totals = Totals::of(reports);
    let mut text = Text { format, ..Text::default() };
    plugins(&mut text, &totals);
    own_metrics(&mut text, &totals);
    services(&mut text, &totals);
    rejected_connections(&mut text, reports);
    upstream::families(&mut text, &totals);
    tunnels::families(&mut text, &totals);
    mirrors::families(&mut text, &totals);
    targets::families(&mut text, control, reports);
    workers(&mut text, reports);
    http2::families(&mut text, reports);
    edge(&mut text, control, reports);
    spans(&mut text, reports);
    modules::families(&mut text, control);
    control_plane(&mut text, control);
    fleet::families(&mut text, control);
    process::families(&mut text);
    if format == Format::OpenMetrics {
        text.lines.push_str("# EOF\n");
    }
    text.lines
}

fn plugins(text: &mut Text, totals: &Totals) {
    let plugins = || totals.plugins.iter().map(|(name, report)| (name.as_str(), report));
    text.family("wasm_plugin_executions_total", "counter", "Calls of a plugin.");
    for (name, report) in plugins() {
        text.line("wasm_plugin_executions_total", &[("plugin", name)], report.stats.executions);
    }
    let family = "wasm_plugin_execution_duration_seconds";
    text.family(family, "histogram", "Wall time of a plugin's calls.");
    for (name, report) in plugins() {
        let total = report.stats.time_total.as_secs_f64();
        text.histogram(family, ("plugin", name), &report.durations, total);
    }
    // One series for each plugin, as of the executions, so that a query can divide one by the
    // other without naming labels; the kinds are a family of their own.
    text.family("wasm_plugin_errors_total", "counter", "Calls of a plugin that failed.");
    for (name, report) in plugins() {
        let errors: u64 = report.stats.errors.iter().sum();
        text.line("wasm_plugin_errors_total", &[("plugin", name)], errors);
    }
    let family = "wasm_plugin_failures_total";
    text.family(family, "counter", "Calls of a plugin that failed, by the kind of failure.");
    for (name, report) in plugins() {
        for kind in ErrorKind::ALL {
            let labels = [("plugin", name), ("kind", kind.as_str())];
            text.line(family, &labels, report.stats.errors_of(kind));
        }
    }
    text.family("wasm_plugin_memory_bytes", "gauge", "Memory of a plugin's idle instances.");
    for (name, report) in plugins() {
        text.line("wasm_plugin_memory_bytes", &[("plugin", name)], report.stats.memory_bytes);
    }
    text.family(
        "wasm_plugin_instances_active",
        "gauge",
        "Instances of a plugin that are in a call.",
    );
    for (name, report) in plugins() {
        let active = report.stats.instances_active;
        text.line("wasm_plugin_instances_active", &[("plugin", name)], active);
    }
    text.family("wasm_plugin_instances", "gauge", "Instances of a plugin, idle ones included.");
    for (name, report) in plugins() {
        text.line("wasm_plugin_instances", &[("plugin", name)], report.stats.instances);
    }
    let family = "wasm_plugin_instances_discarded_total";
    text.family(family, "counter", "Instances thrown away after a call that failed.");
    for (name, report) in plugins() {
        text.line(family, &[("plugin", name)], report.stats.instances_discarded);
    }
    text.family(
        "wasm_plugin_backed_off",
        "gauge",
        "1 while a plugin that keeps failing is not called.",
    );
    for (name, report) in plugins() {
        let is_backed_off = u8::from(report.stats.is_backed_off);
        text.line("wasm_plugin_backed_off", &[("plugin", name)], is_backed_off);
    }
}

/// What plugins count themselves, by `metric_increment` and `metric_record`. The names are labels:
/// a guest cannot make a family that another one means something else by.
fn own_metrics(text: &mut Text, totals: &Totals) {
    let metrics = || {
        totals.plugins.iter().flat_map(|(plugin, report)| {
            let metrics = report.metrics.iter();
            metrics
                .map(move |(name, metric)| ([("plugin", plugin.as_str()), ("name", name)], metric))
        })
    };
    let family = "wasm_plugin_custom_total";
    text.family(family, "counter", "What a plugin counts by metric_increment.");
    for (labels, metric) in metrics() {
        if let PluginMetric::Counter(sum) = metric {
            text.line(family, &labels, sum);
        }
    }
    let family = "wasm_plugin_custom_gauge";
    text.family(family, "gauge", "What a filter of another gateway sets as a gauge.");
    for (labels, metric) in metrics() {
        if let PluginMetric::Gauge(value) = metric {
            text.line(family, &labels, value);
        }
    }
    let family = "wasm_plugin_custom_value";
    text.family(family, "summary", "What a plugin records by metric_record.");
    for (labels, metric) in metrics() {
        if let PluginMetric::Summary { count, sum, .. } = metric {
            text.line("wasm_plugin_custom_value_sum", &labels, sum);
            text.line("wasm_plugin_custom_value_count", &labels, count);
        }
    }
}

fn services(text: &mut Text, totals: &Totals) {
    const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
    let family = "odin_requests_total";
    text.family(family, "counter", "Requests by the class of the response's status.");
    for (name, counts) in &totals.services {
        for (class, count) in CLASSES.into_iter().zip(counts.responses) {
            text.line(family, &[("service", name), ("status", class)], count);
        }
    }
    let family = "odin_request_duration_seconds";
    text.family(family, "histogram", "From a request's head to the end of its response.");
    for (name, counts) in &totals.services {
        let total = counts.time_total.as_secs_f64();
        text.histogram(family, ("service", name), &counts.durations, total);
    }
    let family = "odin_grpc_responses_total";
    text.family(family, "counter", "Calls of gRPC by the status that their client was told.");
    for (name, counts) in &totals.services {
        for (place, count) in counts.grpc.iter().flat_map(|counts| counts.iter().enumerate()) {
            let labels = [("service", name.as_str()), ("grpc_status", GrpcStatus::label(place))];
            text.line(family, &labels, *count);
        }
    }
    let family = "odin_rejected_total";
    text.family(family, "counter", "Requests that the gateway refused itself, by reason.");
    for (reason, count) in Rejection::ALL.into_iter().zip(totals.rejected) {
        text.line(family, &[("reason", reason.as_str())], count);
    }
}

/// Who was turned away before a request of theirs was looked at, by reason: of a family that
/// [`services`] has begun.
fn rejected_connections(text: &mut Text, reports: &[Report]) {
    type Count = fn(&ConnectionCounts) -> u64;
    let shaken = [Handshake::Refused, Handshake::Timeout, Handshake::PlainHttp, Handshake::Busy];
    let others: [(&str, Count); 6] = [
        ("http2_abuse", |counts| counts.http2.abused),
        ("http2_protocol", |counts| counts.http2.broken),
        ("proxy_header", |counts| counts.proxy_refused),
        ("connections_max", |counts| counts.shed),
        ("client_connections", |counts| counts.client_connections),
        ("client_rate", |counts| counts.client_rate),
    ];
    let sum = |count: &dyn Fn(&ConnectionCounts) -> u64| -> u64 {
        reports.iter().map(|report| count(&report.connections)).sum()
    };
    for (reason, count) in others {
        text.line("odin_rejected_total", &[("reason", reason)], sum(&count));
    }
    for end in shaken {
        let reason = format!("tls_{}", end.as_str());
        let count = sum(&|counts| counts.handshakes[end as usize]);
        text.line("odin_rejected_total", &[("reason", &reason)], count);
    }
}

fn workers(text: &mut Text, reports: &[Report]) {
    type Value = fn(&Report) -> u64;
    let families: [(&str, &str, &str, Value); 7] = [
        ("odin_exchanges_total", "counter", "Exchanges, refused requests included.", |report| {
            report.ended.exchanges
        }),
        ("odin_exchanges_failed_total", "counter", "Exchanges that failed.", |report| {
            report.ended.failures
        }),
        ("odin_connections_total", "counter", "Client connections accepted.", |report| {
            report.connections.accepted
        }),
        (
            "odin_connections_shed_total",
            "counter",
            "Client connections closed for the limit.",
            |report| report.connections.shed,
        ),
        ("odin_buffered_bytes", "gauge", "Bytes of bodies held in memory now.", |report| {
            report.buffered_bytes as u64
        }),
        ("odin_connections_open", "gauge", "Client connections now.", |report| {
            report.connections_open as u64
        }),
        (
            "odin_access_log_lines_dropped_total",
            "counter",
            "Lines of the access log that were dropped: it is written too slowly.",
            |report| report.access_lines_dropped,
        ),
    ];
    for (family, kind, help, value) in families {
        text.family(family, kind, help);
        for report in reports {
            text.line(family, &[("worker", &report.worker.to_string())], value(report));
        }
    }
    let family = "odin_worker_timer_delay_seconds";
    text.family(family, "summary", "How late a worker's timer fired, looked at once a second.");
    for report in reports {
        let delay = &report.timer_delay;
        let labels = [("worker", &*report.worker.to_string())];
        text.summary(family, &labels, delay.total.as_secs_f64(), delay.count);
    }
}

/// What became of TLS handshakes, and how long certificates hold.
fn edge(text: &mut Text, control: &Control, reports: &[Report]) {
    let family = "odin_tls_handshakes_total";
    text.family(family, "counter", "TLS handshakes with clients, by how they ended.");
    for end in Handshake::ALL {
        let count: u64 =
            reports.iter().map(|report| report.connections.handshakes[end as usize]).sum();
        text.line(family, &[("outcome", end.as_str())], count);
    }
    let family = "odin_tls_handshakes_waiting";
    text.family(family, "gauge", "Steps of TLS handshakes that wait for their turn.");
    let waiting: usize = reports.iter().map(|report| report.handshakes_waiting).sum();
    text.line(family, &[], waiting);
    let family = "odin_proxy_headers_refused_total";
    text.family(family, "counter", "Connections closed for want of a PROXY header that counts.");
    let refused: u64 = reports.iter().map(|report| report.connections.proxy_refused).sum();
    text.line(family, &[], refused);
    let family = "odin_certificate_expiry_timestamp_seconds";
    text.family(family, "gauge", "Until when a certificate holds, since 1970.");
    let snapshot = control.running().snapshot;
    let listeners = snapshot.listeners.iter().map(|one| (&*one.id, one.tls.as_ref()));
    let admin = ("admin", snapshot.admin_tls.as_ref());
    for (listener, tls) in listeners.chain([admin]) {
        for (file, certificate) in tls.iter().flat_map(|tls| &tls.certificates) {
            let labels = [("listener", listener), ("certificate", file)];
            text.line(family, &labels, certificate.not_after);
        }
    }
}

/// What became of the spans of sampled traces.
fn spans(text: &mut Text, reports: &[Report]) {
    let dropped: u64 = reports.iter().map(|report| report.spans_dropped).sum();
    let counts = otlp::counts();
    let family = "odin_trace_spans_total";
    text.family(family, "counter", "Spans of sampled traces, by what became of them.");
    for (outcome, count) in [
        ("exported", counts.exported),
        ("dropped", dropped),
        ("failed", counts.failed),
        ("rejected", counts.rejected),
    ] {
        text.line(family, &[("outcome", outcome)], count);
    }
}

fn control_plane(text: &mut Text, control: &Control) {
    let (published, refused) = control.counts();
    text.family(
        "odin_access_log_lines_lost_total",
        "counter",
        "Lines of the access log that could not be written.",
    );
    text.line("odin_access_log_lines_lost_total", &[], access_log::lost());
    let family = "odin_log_lines_dropped_total";
    text.family(family, "counter", "Lines of the process's log that nobody took in time.");
    text.line(family, &[], log::dropped());
    text.family(
        "odin_reloads_total",
        "counter",
        "Changes of the configuration that were asked for.",
    );
    text.line("odin_reloads_total", &[("outcome", "published")], published);
    text.line("odin_reloads_total", &[("outcome", "refused")], refused);
    let upgrades = control.upgrades();
    text.family("odin_upgrades_total", "counter", "Binary upgrades, over all their processes.");
    text.line("odin_upgrades_total", &[("outcome", "done")], upgrades.done);
    text.line("odin_upgrades_total", &[("outcome", "failed")], upgrades.failed);
    let times = control.times();
    let family = "odin_reload_duration_seconds";
    text.family(family, "summary", "From the order of a change to its end, refused ones included.");
    text.summary(family, &[], times.time_total.as_secs_f64(), published + refused);
    let family = "odin_reload_last_success_timestamp_seconds";
    text.family(family, "gauge", "When the running configuration was published, since 1970.");
    text.line(family, &[], seconds(times.last_success));
    let family = "odin_config_last_reload_successful";
    text.family(family, "gauge", "0 while the configuration file that was read last is refused.");
    text.line(family, &[], u8::from(control.refused_file().is_none()));
    let running = control.running();
    text.family("odin_generation", "gauge", "The published snapshot.");
    text.line("odin_generation", &[], running.snapshot.generation);
    let alive = control.generations_alive();
    text.family(
        "odin_generations_alive",
        "gauge",
        "Snapshots in use: 1, and those of exchanges in flight.",
    );
    text.line("odin_generations_alive", &[], alive);
    text.family("odin_config_failures", "gauge", "Plugins and services that do not work.");
    text.line("odin_config_failures", &[], running.failures.len());
    text.family("odin_build_info", "gauge", "1; the version is a label.");
    text.line("odin_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
}

/// Seconds since 1970.
fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
