//! Answers: JSON always, `{"error": …}` with the right status when something is wrong.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::config;
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
            RefusalKind::Elsewhere => StatusCode::CONFLICT,
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
    if has_number_that_does_not_fit(&body) {
        let expected = config::FITTING_NUMBER;
        return Err(bad(format!("the body holds a number that doesn't fit, expected {expected}")));
    }
    match serde_json::from_slice(&body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(bad("the body must be a JSON object".to_owned())),
        Err(error) => Err(bad(format!("the body is not JSON: {error}"))),
    }
}

/// Whether a number of this JSON text would lose what it is: the file refuses it too.
fn has_number_that_does_not_fit(json: &[u8]) -> bool {
    let mut rest = json;
    while let Some(at) = rest.iter().position(|byte| b"\"-0123456789".contains(byte)) {
        rest = &rest[at..];
        let length = if rest[0] == b'"' {
            string_length(rest)
        } else {
            let is_other = |byte: &u8| !b"+-.0123456789eE".contains(byte);
            rest.iter().position(is_other).unwrap_or(rest.len())
        };
        let (token, behind) = rest.split_at(length);
        rest = behind;
        let number = std::str::from_utf8(token).unwrap_or_default();
        let digits = number.strip_prefix('-').unwrap_or(number);
        let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let is_lost = if is_whole {
            number.parse::<u64>().is_err() && number.parse::<i64>().is_err()
        } else {
            // A string is no number, whatever stands in it.
            number.parse::<f64>().is_ok_and(f64::is_infinite)
        };
        if is_lost {
            return true;
        }
    }
    false
}

/// The length of the string that begins here, its quotes included.
fn string_length(text: &[u8]) -> usize {
    let mut is_escaped = true; // the quote that begins it
    let end = text.iter().position(|&byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(text.len(), |end| end + 1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_would_lose_digits_or_its_size_is_found() {
        let fits = |json: &str| !has_number_that_does_not_fit(json.as_bytes());
        for number in ["0", "-1", "18446744073709551615", "-9223372036854775808", "0.10", "1e300"] {
            assert!(
                fits(number) && fits(&format!(r#"{{"a":[{number},1],"1e400":2}}"#)),
                "{number}"
            );
        }
        for number in ["18446744073709551616", "-9223372036854775809", "1e400", "-1.5E999"] {
            assert!(!fits(number) && !fits(&format!(r#"{{"a":[{number},1]}}"#)), "{number}");
            for text in [format!("\"{number}\""), format!(r#"["\"{number}", "\\"]"#)] {
                assert!(fits(&text), "{text}");
            }
        }
        for other in ["", "-", "\"", "\"\\", "1-2", "nonsense", "[\"a\",-]"] {
            assert!(fits(other), "{other}");
        }
    }
}
