//! Responses that the gateway makes itself: errors, and the reason in the body.

use crate::error::Error;
use crate::http::message::{Fields, LocalResponse};
use crate::http::websocket;
use crate::limits::OVERLOAD_RETRY_AFTER;

/// What clients may do with a resource, as far as the gateway knows: it forwards every method but
/// CONNECT and TRACE.
pub const ALLOWED_METHODS: &[u8] = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The response that tells a client of `error`: `{"error": "..."}`.
pub fn error(error: Error) -> LocalResponse {
    let mut response = json_error(error.status(), &error.to_string());
    match error {
        Error::OverBudget | Error::UpstreamBusy => {
            response.fields.push(b"Retry-After", OVERLOAD_RETRY_AFTER.as_bytes());
        }
        // RFC 6455 section 4.4.
        Error::UnsupportedWebSocket => {
            response.fields.push(b"Sec-WebSocket-Version", websocket::VERSION_13);
        }
        // RFC 9110 section 15.5.16.
        Error::UnsupportedContentCoding(accepted) => {
            response.fields.push(b"Accept-Encoding", accepted.as_bytes());
        }
        _ => {}
    }
    if error == Error::TraceRefused {
        response.fields.push(b"Allow", ALLOWED_METHODS);
    }
    response
}

/// The same to a client of gRPC, whose library shows nobody the body of an HTTP error: its status
/// and the reason in trailers that are the whole response.
pub fn grpc(local: LocalResponse) -> LocalResponse {
    let LocalResponse { status, mut fields, body } = local;
    for name in [&b"content-type"[..], b"grpc-status", b"grpc-message"] {
        fields.remove(name);
    }
    let told: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let message = match told.get("error").and_then(serde_json::Value::as_str) {
        Some(error) => error.to_owned(),
        None => String::from_utf8_lossy(&body).into_owned(),
    };
    fields.push(b"Content-Type", b"application/grpc");
    fields.push(b"Grpc-Status", grpc_status(status).to_string().as_bytes());
    if !message.is_empty() {
        fields.push(b"Grpc-Message", &percent_encoded(&message));
    }
    LocalResponse { status: 200, fields, body: Vec::new() }
}

/// What gRPC calls a status of HTTP (its `http-grpc-status-mapping.md`); a time-out and a body that
/// is too large have statuses of their own there.
fn grpc_status(status: u16) -> u8 {
    match status {
        200..300 => 0,
        400 => 13,
        401 => 16,
        403 => 7,
        404 | 405 | 501 => 12,
        408 | 504 => 4,
        413 | 431 => 8,
        429 | 502 | 503 => 14,
        _ => 2,
    }
}

/// As gRPC's protocol has `Grpc-Message`: printable ASCII but `%` stands for itself.
fn percent_encoded(message: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len());
    for &byte in message.trim().as_bytes() {
        match byte {
            b'%' => out.extend_from_slice(b"%25"),
            b' '..=b'~' => out.push(byte),
            _ => {
                let digit = |half: u8| b"0123456789ABCDEF"[usize::from(half & 15)];
                out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte)]);
            }
        }
    }
    out
}

/// A response with `{"error": message}` as its body.
pub fn json_error(status: u16, message: &str) -> LocalResponse {
    let mut fields = Fields::new();
    fields.push(b"Content-Type", b"application/json");
    LocalResponse { status, fields, body: error_body(message) }
}

/// `{"error": message}`
pub fn error_body(message: &str) -> Vec<u8> {
    serde_json::json!({ "error": message }).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_json_whatever_it_says() {
        let response = json_error(502, "a \"quoted\"\nword");
        assert_eq!(response.body, br#"{"error":"a \"quoted\"\nword"}"#);
        assert_eq!(error(Error::NoRoute).status, 404);
    }

    #[test]
    fn grpc_is_told_in_trailers_what_others_are_told_in_a_body() {
        let told = grpc(json_error(503, "50 % is\nl\u{e4}st"));
        assert_eq!((told.status, told.body.len()), (200, 0));
        assert_eq!(told.fields.get("grpc-status"), Some(&b"14"[..]));
        assert_eq!(told.fields.get("grpc-message"), Some(&b"50 %25 is%0Al%C3%A4st"[..]));
        assert_eq!(told.fields.get("content-type"), Some(&b"application/grpc"[..]));
        let verdict = LocalResponse { status: 403, body: b"no".to_vec(), ..Default::default() };
        assert_eq!(grpc(verdict).fields.get("grpc-message"), Some(&b"no"[..]));
    }
}
