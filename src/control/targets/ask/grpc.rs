//! gRPC's health checking protocol (`grpc.health.v1.Health/Check`), as a client that asks once.
//!
//! Two messages of one field each: written and read here.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, TE, USER_AGENT};
use hyper::{HeaderMap, Method, Request};

use super::{AGENT, Stream, over_http2, uri};
use crate::limits::CHECK_GRPC_MESSAGE_MAX;

/// Asks how a service stands, or without a name the server; why it does not serve, in words.
pub(super) async fn ask(
    stream: Box<dyn Stream>,
    origin: &str,
    service: &str,
) -> Result<(), String> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(uri(origin, "/grpc.health.v1.Health/Check")?)
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, AGENT)
        .body(Full::new(question(service)))
        .map_err(|error| error.to_string())?;
    let (head, body) = over_http2(stream, request).await?.into_parts();
    if head.status != 200 {
        return Err(format!("it does not answer with gRPC: status {}", head.status.as_u16()));
    }
    // An answer without a message has its status in the head.
    refused(&head.headers, service)?;
    let body = Limited::new(body, CHECK_GRPC_MESSAGE_MAX).collect().await;
    let body = body.map_err(|error| format!("it does not answer with gRPC: {error}"))?;
    match body.trailers() {
        Some(trailers) => refused(trailers, service)?,
        None => return Err("it does not answer with gRPC: no trailers".to_owned()),
    }
    match standing(&body.to_bytes()) {
        Some(1) => Ok(()),
        Some(2) => Err("it says NOT_SERVING".to_owned()),
        Some(other) => Err(format!("it says that it does not serve (status {other})")),
        None => Err("its answer is no HealthCheckResponse".to_owned()),
    }
}

/// A `HealthCheckRequest`: the name of a service is its field 1. Behind the five bytes of a gRPC
/// message: not compressed, its length.
fn question(service: &str) -> Bytes {
    let mut message = Vec::with_capacity(service.len() + 3);
    if !service.is_empty() {
        message.push(0x0a);
        varint(service.len() as u64, &mut message);
        message.extend_from_slice(service.as_bytes());
    }
    let mut whole = vec![0];
    whole.extend_from_slice(&(message.len() as u32).to_be_bytes());
    whole.extend_from_slice(&message);
    whole.into()
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Why the call failed, if it did.
fn refused(fields: &HeaderMap, service: &str) -> Result<(), String> {
    let Some(status) = fields.get("grpc-status") else { return Ok(()) };
    match status.as_bytes() {
        b"0" => Ok(()),
        b"5" => Err(format!("it knows no service {service:?} (grpc-status 5)")),
        b"12" => Err("it has no grpc.health.v1.Health (grpc-status 12)".to_owned()),
        other => Err(format!("it refuses the check (grpc-status {})", other.escape_ascii())),
    }
}

/// The `status` of a `HealthCheckResponse`, its field 1; 0 where it is left out. `None`: it is
/// none, or compressed, which was not asked for.
fn standing(message: &[u8]) -> Option<u64> {
    let (head, mut rest) = message.split_at_checked(5)?;
    let length = u32::from_be_bytes(head.get(1..)?.try_into().ok()?) as usize;
    if head.first() != Some(&0) || rest.len() != length {
        return None;
    }
    let mut status = 0;
    while !rest.is_empty() {
        let tag = take_varint(&mut rest)?;
        let skipped = match tag & 7 {
            0 => {
                let value = take_varint(&mut rest)?;
                status = if tag >> 3 == 1 { value } else { status };
                0
            }
            1 => 8,
            2 => usize::try_from(take_varint(&mut rest)?).ok()?,
            5 => 4,
            _ => return None,
        };
        rest = rest.get(skipped..)?;
    }
    Some(status)
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for at in 0..10 {
        let (byte, left) = rest.split_first()?;
        *rest = left;
        number |= u64::from(byte & 0x7f).checked_shl(7 * at)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_is_what_protobuf_says() {
        assert_eq!(question("").as_ref(), [0, 0, 0, 0, 0]);
        assert_eq!(question("ab").as_ref(), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = "x".repeat(200);
        assert_eq!(question(&long).get(..8), Some(&[0, 0, 0, 0, 203, 0x0a, 0xc8, 1][..]));
    }

    #[test]
    fn a_status_is_read_and_nothing_is_taken_for_one() {
        let of = |message: &[u8]| {
            let mut whole = vec![0, 0, 0, 0, message.len() as u8];
            whole.extend_from_slice(message);
            standing(&whole)
        };
        assert_eq!(of(&[8, 1]), Some(1));
        assert_eq!(of(&[8, 2]), Some(2));
        assert_eq!(of(&[]), Some(0), "UNKNOWN is left out");
        assert_eq!(of(&[0x12, 2, 8, 1, 8, 1]), Some(1), "a field that is not known");
        for broken in [&[8][..], &[8, 0x80], &[0x12, 9, 1], &[0x0b], &[8; 3]] {
            assert_eq!(of(broken), None, "{broken:?}");
        }
        assert_eq!(standing(&[1, 0, 0, 0, 2, 8, 1]), None, "compressed");
        assert_eq!(standing(&[0, 0, 0, 0, 3, 8, 1]), None, "cut");
        assert_eq!(standing(&[0; 4]), None);
    }
}
