//! How a service's requests are shared out, as JSON: see [`super::view`].

use std::path::PathBuf;

use serde_json::{Value, json};

use super::TargetKind;
use super::model_limits::{ServiceLimits, ServiceTimeouts};
use super::model_origins::{Asks, Check, OriginTls, Origins, Refresh};
use super::origins::{show_optional, show_percent, show_statuses};
use super::value::show_duration;
use crate::upstream::balance::Algorithm;
use crate::upstream::ejection::Outlier;
use crate::upstream::policy::{HashOn, Retry};

/// The name of an algorithm in the file.
pub fn algorithm(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RoundRobin => "round-robin",
        Algorithm::LeastConnections => "least-connections",
        Algorithm::PowerOfTwo => "p2c",
        Algorithm::Random => "random",
        Algorithm::ConsistentHash { .. } => "consistent-hash",
    }
}

pub(super) fn hash(origins: &Origins) -> Option<Value> {
    let Algorithm::ConsistentHash { bound_percent } = origins.algorithm else { return None };
    let (header, cookie, ip, plugin) = match &origins.hash {
        HashOn::Header(name) => (Some(name), None, false, false),
        HashOn::Cookie(name) => (None, Some(name), false, false),
        HashOn::ClientAddress => (None, None, true, false),
        HashOn::Plugin => (None, None, false, true),
    };
    let bound = (bound_percent > 0).then(|| f64::from(bound_percent) / 100.0);
    Some(json!({
        "header": header,
        "cookie": cookie,
        "ip": ip,
        "plugin": plugin,
        "boundedLoad": bound,
    }))
}

pub(super) fn outlier(outlier: Option<&Outlier>) -> Value {
    let Some(outlier) = outlier else { return "off".into() };
    json!({
        "consecutiveErrors": outlier.consecutive_errors,
        "errorRate": show_percent(outlier.error_rate_percent),
        "interval": show_duration(outlier.interval),
        "ejection": show_duration(outlier.ejection),
        "ejectedMax": show_percent(outlier.ejected_max_percent),
    })
}

pub(super) fn retry(retry: &Retry) -> Value {
    let mut on = vec!["connect".to_owned()];
    on.extend(retry.on_reset.then(|| "reset".to_owned()));
    on.extend(retry.on_timeout.then(|| "timeout".to_owned()));
    on.extend(retry.on_statuses.iter().map(ToString::to_string));
    json!({
        "tries": retry.tries,
        "on": on,
        "perTry": show_optional(retry.per_try),
        "budget": show_percent(retry.budget_percent),
        "delay": show_duration(retry.delay),
        "methods": retry.methods.iter().map(|method| method.as_str()).collect::<Vec<_>>(),
    })
}

pub(super) fn tls(tls: &OriginTls) -> Value {
    let show =
        |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
    json!({
        "ca": show(&tls.ca),
        "serverName": tls.server_name,
        "insecure": tls.is_insecure,
        "cert": show(&tls.cert),
        "key": show(&tls.key),
        "alpn": tls.protocols().iter().map(|one| one.alpn()).collect::<Vec<_>>(),
    })
}

pub(super) fn check(check: &Check) -> Value {
    let (path, grpc) = match &check.asks {
        Asks::Connection => (None, None),
        Asks::Path(path) => (Some(path), None),
        Asks::Grpc(service) if service.is_empty() => (None, Some(Value::Bool(true))),
        Asks::Grpc(service) => (None, Some(Value::from(service.as_str()))),
    };
    json!({
        "path": path,
        "host": check.host,
        "interval": show_duration(check.interval),
        "timeout": show_duration(check.timeout),
        "healthyAfter": check.healthy_after,
        "unhealthyAfter": check.unhealthy_after,
        "status": check.statuses.iter().map(|one| show_statuses(*one)).collect::<Vec<_>>(),
        "jitter": show_percent(check.jitter_percent),
        "tcp": check.asks == Asks::Connection,
        "grpc": grpc,
    })
}

pub(super) fn resolve(refresh: Refresh) -> Option<String> {
    match refresh {
        Refresh::Every(interval) => Some(show_duration(interval)),
        Refresh::ByTtl => Some("ttl".to_owned()),
        Refresh::Unsaid => None,
    }
}

/// The URL of a target, as the file writes it.
pub fn target_url(kind: &TargetKind) -> String {
    match kind {
        TargetKind::Http { host, port } if host.contains(':') => format!("http://[{host}]:{port}"),
        TargetKind::Http { host, port } => format!("http://{host}:{port}"),
        TargetKind::Http2 { host, port } if host.contains(':') => format!("h2://[{host}]:{port}"),
        TargetKind::Http2 { host, port } => format!("h2://{host}:{port}"),
        TargetKind::Https { host, port } if host.contains(':') => {
            format!("https://[{host}]:{port}")
        }
        TargetKind::Https { host, port } => format!("https://{host}:{port}"),
        TargetKind::Srv { name, over } => format!("{}://srv:{name}", over.scheme()),
        TargetKind::Unix(path) => format!("http://unix:{}", path.display()),
        TargetKind::Echo => "builtin:echo".to_owned(),
    }
}

pub(super) fn limits(limits: &ServiceLimits) -> Value {
    json!({
        "connections": limits.connections,
        "pending": limits.pending,
        "pendingTimeout": super::view::span(limits.pending_timeout),
        "bodyBytesMax": limits.body_bytes,
        "headBytesMax": limits.head_bytes,
        "headFieldsMax": limits.head_fields,
        "uriBytesMax": limits.uri_bytes,
    })
}

pub(super) fn timeouts(timeouts: &ServiceTimeouts) -> Value {
    json!({
        "connect": timeouts.connect.map(show_duration),
        "firstByte": timeouts.first_byte.map(show_duration),
        "idle": timeouts.idle.map(show_duration),
        "tunnel": timeouts.tunnel.map(show_duration),
    })
}
