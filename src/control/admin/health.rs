//! `GET /healthz`: the process is alive. `GET /readyz`: whether it should be sent requests, and
//! what keeps it from serving some of them.

use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::reload::Control;
use super::super::targets::panicking;
use super::guard::shows_token;
use super::{State, millis};

pub(super) async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// What [`readyz`] says, and what does not work, in words.
pub(in crate::control) fn judge(control: &Control) -> (&'static str, Vec<String>) {
    let running = control.running();
    let failures = running.failures.iter().map(|failure| failure.to_string());
    let panicking = panicking(control).into_iter();
    let panicking = panicking.map(|service| format!("service {service}: all targets are sick"));
    let problems: Vec<String> = failures.chain(panicking).collect();
    let status = if control.is_draining() {
        "draining"
    } else if running.failures.iter().any(|failure| failure.refuses) {
        "not ready"
    } else if problems.is_empty() {
        "ready"
    } else {
        "degraded"
    };
    (status, problems)
}

/// 503 while it drains, or while a plugin or a service that does not work refuses requests; 200
/// and `degraded` when all are served, some without a plugin that fails open, or by targets that
/// are all sick. What it is that does
/// not work (names, paths, reasons) is for those who show `admin.token`; probes need the status.
/// So is which configuration was refused since: what runs serves as well as before.
pub(super) async fn readyz(control: State, headers: HeaderMap) -> Response {
    let running = control.running();
    let failures = running.failures.iter().map(|failure| {
        json!({
            "what": failure.what,
            "reason": failure.reason,
            "effect": failure.effect,
        })
    });
    let panicking = panicking(&control).into_iter().map(|service| {
        json!({
            "what": format!("service {service}"),
            "reason": "all of its targets are sick (GET /api/status says why)",
            "effect": "requests go to all of them",
        })
    });
    let failures: Vec<Value> = failures.chain(panicking).collect();
    let (status, _) = judge(&control);
    let code = match status {
        "ready" | "degraded" => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    if !shows_token(&control, &headers) {
        return (code, Json(json!({ "status": status }))).into_response();
    }
    let refused = control.refused_file().map(|refused| {
        json!({ "atMs": millis(refused.at), "change": refused.words, "reason": refused.reason })
    });
    let body = json!({
        "status": status,
        "generation": running.snapshot.generation,
        "failures": failures,
        "refused": refused,
        "fleet": control.fleet().map(|place| place.standing().words()),
    });
    (code, Json(body)).into_response()
}
