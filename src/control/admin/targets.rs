//! The call about targets: to drain one, and to have it back.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::super::targets::named;
use super::State;
use super::reply::{Failed, object};
use crate::io::deadline::now_ms;

/// `PUT /api/targets/drained` `{"url": "…", "drained": bool}`: a target that is drained gets no new
/// requests; those under way end as they would. It stays so over reloads.
pub(super) async fn drain(
    control: State,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Failed> {
    let mut keys = object(body)?;
    let bad = |reason: &str| Failed::new(StatusCode::BAD_REQUEST, reason);
    let (url, drained) = (keys.remove("url"), keys.remove("drained"));
    let Some(Value::String(url)) = url else {
        return Err(bad("\"url\" is missing; send the target's, as GET /api/status shows it"));
    };
    let Some(Value::Bool(drained)) = drained else {
        return Err(bad("\"drained\" is missing; send true or false"));
    };
    if !keys.is_empty() {
        return Err(bad("only \"url\" and \"drained\" can be sent here"));
    }
    let snapshot = control.running().snapshot;
    let mut changed = Vec::new();
    for (endpoint, slow_start) in named(&snapshot, &url) {
        endpoint.condition.set_drained(now_ms(), drained, slow_start);
        changed.push(endpoint.url.clone());
    }
    changed.sort_unstable();
    changed.dedup();
    if changed.is_empty() {
        let url = url.escape_default();
        return Err(Failed::new(StatusCode::NOT_FOUND, format!("no target {url}")));
    }
    Ok(Json(json!({ "status": "ok", "targets": changed })))
}
