//! Responses that the gateway makes itself: errors, and the reason in the body.

use crate::error::Error;
use crate::http::message::{Fields, LocalResponse};
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
}
