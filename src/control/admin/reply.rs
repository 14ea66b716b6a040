//! Answers: JSON always, `{"error": …}` with the right status when something is wrong.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::reload::{Applied, Refusal, RefusalKind};

/// A call that was not done.
pub(super) struct Failed {
    status: StatusCode,
    reason: String,
}

impl Failed {
    pub(super) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.kind {
            RefusalKind::Unknown => StatusCode::NOT_FOUND,
            RefusalKind::Invalid => StatusCode::BAD_REQUEST,
            RefusalKind::Broken => StatusCode::UNPROCESSABLE_ENTITY,
            RefusalKind::Busy => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, refusal.reason)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.reason }))).into_response()
    }
}

/// The answer to a change.
pub(super) fn done(result: Result<Applied, Refusal>) -> Result<Json<Value>, Failed> {
    let Applied { generation, warnings } = result?;
    Ok(Json(json!({ "status": "ok", "generation": generation, "warnings": warnings })))
}

/// The body of a request, read as JSON: an object.
pub(super) fn object(
    body: Result<axum::body::Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<serde_json::Map<String, Value>, Failed> {
    let body = bytes(body)?;
    let bad = |reason: String| Failed::new(StatusCode::BAD_REQUEST, reason);
    match serde_json::from_slice(&body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(bad("the body must be a JSON object".to_owned())),
        Err(error) => Err(bad(format!("the body is not JSON: {error}"))),
    }
}

/// The body of a request.
pub(super) fn bytes(
    body: Result<axum::body::Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<axum::body::Bytes, Failed> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Failed::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than this call takes")
        }
        status => Failed::new(status, rejection.body_text()),
    })
}

/// No such path.
pub(super) async fn nothing_here() -> Failed {
    Failed::new(StatusCode::NOT_FOUND, "nothing here; docs/openapi.yaml lists the calls")
}

/// The path is there, for another method.
pub(super) async fn other_method() -> Failed {
    let reason = "this path takes another method; docs/openapi.yaml lists the calls";
    Failed::new(StatusCode::METHOD_NOT_ALLOWED, reason)
}
