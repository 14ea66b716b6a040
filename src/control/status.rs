//! `GET /api/status`: the gateway at a glance, as JSON. docs/metrics.md has its shape.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::admin::fleet;
use super::metrics::Totals;
use super::modules::{Cause, Fetcher};
use super::otlp;
use super::reload::{Control, Outcome, Upgrades};
use super::targets::{Target, panicking, targets};
use crate::durations::Durations;
use crate::error::{Rejection, UpstreamFailure};
use crate::exchange::counts::{MirrorResult, Parts, TunnelCounts};
use crate::plugin::{ErrorKind, LastFailure, PluginReport};
use crate::text::rfc_3339;
use crate::upstream::counts::{UpstreamCounts, UpstreamOutcome};
use crate::worker::report::Report;

/// What does not change while the process runs.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// How the workers wait for sockets.
    pub io_driver: &'static str,
    /// When the process began to serve.
    pub started: std::time::Instant,
}

/// The whole document.
pub fn document(control: &Control, facts: &Facts, reports: &[Report], totals: &Totals) -> Value {
    let running = control.running();
    let (published, refused) = control.counts();
    let last = control.history().into_iter().next().map(|reload| match reload.outcome {
        Outcome::Published(_) => json!({ "change": reload.words, "published": true }),
        Outcome::Refused(reason) => {
            json!({ "change": reload.words, "published": false, "error": reason })
        }
    });
    let mut all = Durations::default();
    totals.services.values().for_each(|counts| all.add(&counts.durations));
    let spans = otlp::counts();
    let spans_dropped: u64 = reports.iter().map(|report| report.spans_dropped).sum();
    let failures = running.failures.iter().map(|failure| {
        json!({
            "what": failure.what,
            "reason": failure.reason,
            "effect": failure.effect,
            "refuses": failure.refuses,
        })
    });
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "uptimeMs": millis(facts.started.elapsed()),
        "ioDriver": facts.io_driver,
        "generation": running.snapshot.generation,
        "generationsAlive": control.generations_alive(),
        "draining": control.is_draining(),
        "reloads": { "published": published, "refused": refused, "last": last },
        "upgrades": upgrades(&control.upgrades()),
        "fleet": control.fleet().map(|place| fleet::own(&place.standing())),
        "failures": failures.collect::<Vec<_>>(),
        "modules": modules(control.fetcher()),
        "spans": {
            "exported": spans.exported,
            "dropped": spans_dropped,
            "failed": spans.failed,
            "rejected": spans.rejected,
        },
        "requests": { "latency": latency(&all), "curve": curve(&all) },
        "rejected": rejected(totals),
        "workers": reports.iter().map(worker).collect::<Vec<_>>(),
        "services": totals.services.iter().map(|(name, counts)| json!({
            "name": name,
            "responses": counts.responses,
            "upstream": upstream(&counts.upstream),
            "tunnels": tunnels(&counts.tunnels),
            "split": split(control, name, &counts.parts),
            "mirrored": counts.mirrored.as_ref().map(|results| mirrored(results)),
            "latency": latency(&counts.durations),
            "timeTotalMicros": counts.time_total.as_micros() as u64,
        })).collect::<Vec<_>>(),
        "targets": targets(control, reports).iter().map(target).collect::<Vec<_>>(),
        "panicking": panicking(control),
        "plugins": totals.plugins.values().map(plugin).collect::<Vec<_>>(),
    })
}

fn target(target: &Target) -> Value {
    let since = target.since.map(|at| at.duration_since(UNIX_EPOCH).unwrap_or_default());
    json!({
        "service": target.service,
        "url": target.url,
        "state": target.told.standing.as_str(),
        "reason": target.told.reason.as_str(),
        "sinceMs": since.map(millis),
        "triedInMs": target.tried_in.map(millis),
        "ejections": target.told.ejections,
        "check": target.check,
        "active": target.counts.under_way,
        "waiting": target.counts.waiting,
        "latencyMicros": target.counts.latency_micros,
    })
}

fn upgrades(upgrades: &Upgrades) -> Value {
    json!({
        "done": upgrades.done,
        "failed": upgrades.failed,
        "underWay": upgrades.is_under_way,
        "error": upgrades.error,
    })
}

/// Requests that the gateway refused itself, by reason.
fn rejected(totals: &Totals) -> Value {
    let reasons = Rejection::ALL.into_iter().zip(totals.rejected);
    let counts = reasons.map(|(reason, count)| (reason.as_str().to_owned(), count.into()));
    Value::Object(counts.collect())
}

fn worker(report: &Report) -> Value {
    json!({
        "worker": report.worker,
        "exchanges": report.ended.exchanges,
        "failures": report.ended.failures,
        "connections": report.connections.accepted,
        "connectionsOpen": report.connections_open,
        "connectionsShed": report.connections.shed,
        "timerDelayMaxMicros": micros(report.timer_delay.max),
    })
}

/// Connections and streams that went on with another protocol; bytes of those that are open, too.
fn tunnels(counts: &TunnelCounts) -> Value {
    let [from_clients, from_targets] = counts.bytes;
    json!({
        "open": counts.open,
        "ended": counts.ended,
        "bytesFromClients": from_clients,
        "bytesFromTargets": from_targets,
    })
}

/// The parts of a service that splits its requests, each with its weight and what it got; those
/// that it has no longer at weight 0. `null` of a service that does not split.
fn split(control: &Control, name: &str, counts: &Parts) -> Value {
    let running = control.running();
    let service = running.snapshot.services.iter().find(|service| service.name == name);
    let plan = service.and_then(|one| one.extras.as_ref()?.split.as_ref()).map(|split| &split.plan);
    let mut parts: Vec<(&str, u64, u64)> = Vec::new();
    let weighted = plan.iter().flat_map(|plan| &plan.branches);
    let weighted = weighted.map(|part| (part.name.as_str(), u64::from(part.weight), 0));
    for (name, weight, count) in
        weighted.chain(counts.iter().map(|(name, count)| (&**name, 0, *count)))
    {
        match parts.iter_mut().find(|(part, ..)| *part == name) {
            Some((_, weights, counts)) => {
                (*weights, *counts) = (*weights + weight, *counts + count)
            }
            None => parts.push((name, weight, count)),
        }
    }
    if parts.is_empty() {
        return Value::Null;
    }
    let shown = parts.into_iter().map(|(service, weight, requests)| {
        json!({ "service": service, "weight": weight, "requests": requests })
    });
    Value::Array(shown.collect())
}

/// What became of the copies of a service's requests.
fn mirrored(counts: &[u64; MirrorResult::ALL.len()]) -> Value {
    let results = MirrorResult::ALL.into_iter().zip(counts);
    let shown = results.map(|(result, count)| (result.as_str().to_owned(), (*count).into()));
    Value::Object(shown.collect())
}

/// What was counted of the requests to a service's endpoints. Of a service that has none
/// (`builtin:echo`), zeros.
fn upstream(counts: &UpstreamCounts) -> Value {
    let mut requests = serde_json::Map::new();
    for (outcome, count) in UpstreamOutcome::ALL.into_iter().zip(counts.requests) {
        requests.insert(outcome.as_str().to_owned(), count.into());
    }
    let mut errors = serde_json::Map::new();
    for (kind, count) in UpstreamFailure::ALL.into_iter().zip(counts.errors) {
        errors.insert(kind.as_str().to_owned(), count.into());
    }
    let mean = counts.connect_time.checked_div(counts.connects.try_into().unwrap_or(u32::MAX));
    json!({
        "requests": requests,
        "errors": errors,
        "retries": counts.retries,
        "active": counts.active,
        "connections": {
            "open": counts.active + counts.idle,
            "idle": counts.idle,
            "made": counts.connects,
            "reused": counts.reused,
            "connectMeanMicros": mean.map_or(0, micros),
        },
    })
}

/// What was fetched from other machines.
fn modules(fetcher: &Fetcher) -> Value {
    let (fetched, bytes) = fetcher.fetched();
    let failed = Cause::ALL.map(|cause| (cause.as_str().to_owned(), fetcher.failed(cause).into()));
    json!({
        "fetched": fetched,
        "fetchedBytes": bytes,
        "failed": failed.into_iter().collect::<serde_json::Map<String, Value>>(),
        "cacheBytes": fetcher.kept_bytes(),
    })
}

/// What was counted of one plugin.
pub fn plugin(report: &PluginReport) -> Value {
    let stats = &report.stats;
    let errors =
        ErrorKind::ALL.map(|kind| (kind.as_str().to_owned(), stats.errors_of(kind).into()));
    json!({
        "name": report.name,
        "executions": stats.executions,
        "errors": errors.into_iter().collect::<serde_json::Map<String, Value>>(),
        "latency": latency(&report.durations),
        "timeTotalMicros": stats.time_total.as_micros() as u64,
        "instances": stats.instances,
        "instancesActive": stats.instances_active,
        "instancesDiscarded": stats.instances_discarded,
        "memoryBytes": stats.memory_bytes,
        "isBackedOff": stats.is_backed_off,
        "lastFailure": report.last_failure.as_ref().map(failure),
    })
}

fn failure(last: &LastFailure) -> Value {
    let mut time = Vec::new();
    rfc_3339(last.at, &mut time);
    json!({
        "time": String::from_utf8_lossy(&time),
        "kind": last.kind.as_str(),
        "text": last.text,
    })
}

/// Exact quantiles (to two digits), in microseconds.
fn latency(durations: &Durations) -> Value {
    json!({
        "count": durations.count(),
        "p50Micros": durations.quantile(0.5),
        "p90Micros": durations.quantile(0.9),
        "p99Micros": durations.quantile(0.99),
        "p999Micros": durations.quantile(0.999),
        "maxMicros": durations.max(),
    })
}

/// The percentile curve: `[percentile, microseconds]`, closer and closer to 100.
fn curve(durations: &Durations) -> Value {
    let percentiles = [0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 100.0];
    percentiles.map(|percentile| json!([percentile, durations.quantile(percentile / 100.0)])).into()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
