//! Heads and trailers, written as field blocks. What the message types guarantee (names are tokens,
//! values hold no CR, LF or NUL) is why nothing is checked here.

use crate::http::cdn_loop;
use crate::http::h2::hpack;
use crate::http::message::{BodyLength, Fields, Method, RequestHead, ResponseHead};
use crate::text::decimal;

/// Places in the static table (RFC 7541 appendix A).
mod place {
    pub(super) const AUTHORITY: u8 = 1;
    pub(super) const GET: u8 = 2;
    pub(super) const POST: u8 = 3;
    pub(super) const ROOT: u8 = 4;
    pub(super) const HTTP: u8 = 6;
    pub(super) const HTTPS: u8 = 7;
    pub(super) const STATUS: u8 = 8;
    pub(super) const CONTENT_LENGTH: u8 = 28;
}

/// Appends the head of a final response. `has_body`: one may follow it.
pub fn response_head(head: &ResponseHead, has_body: bool, out: &mut Vec<u8>) {
    status(head.status, out);
    fields(&head.fields, out);
    match head.body {
        // RFC 9110 section 8.6: no Content-Length in a 204; a 304 or HEAD need not have one.
        BodyLength::Known(length) if head.status != 204 => content_length(length, out),
        BodyLength::Empty if has_body => content_length(0, out),
        _ => {}
    }
}

/// Appends the head of an interim (1xx) response.
pub fn interim_head(head: &ResponseHead, out: &mut Vec<u8>) {
    status(head.status, out);
    fields(&head.fields, out);
}

/// Appends the head of a request. `path` and `query` stand as the service wants them, and so do the
/// fields of `set`, in the place of those of their names.
pub fn request_head(
    head: &RequestHead,
    (authority, path): (&str, &str),
    is_tls: bool,
    set: &Fields,
    out: &mut Vec<u8>,
) {
    match head.method {
        Method::Get => hpack::write_indexed(place::GET, out),
        Method::Post => hpack::write_indexed(place::POST, out),
        _ => hpack::write_named(place::GET, head.method.as_str().as_bytes(), out),
    }
    hpack::write_indexed(if is_tls { place::HTTPS } else { place::HTTP }, out);
    hpack::write_named(place::AUTHORITY, authority.as_bytes(), out);
    if head.query.is_empty() {
        hpack::write_named(place::ROOT, path.as_bytes(), out);
    } else {
        let target = [path, &head.query].concat();
        hpack::write_named(place::ROOT, target.as_bytes(), out);
    }
    for (name, value) in head.fields.iter() {
        if set.is_empty() || !set.iter().any(|(one, _)| one.eq_ignore_ascii_case(name)) {
            hpack::write_field(name, value, out);
        }
    }
    fields(set, out);
    cdn_loop::with_value(|value| hpack::write_field(cdn_loop::NAME.as_bytes(), value, out));
    if is_grpc(&head.fields) {
        // What a gRPC server asks for; the gateway relays trailers.
        hpack::write_field(b"te", b"trailers", out);
    }
    if let BodyLength::Known(length) = head.body {
        content_length(length, out);
    }
}

/// Appends the head of an extended CONNECT (RFC 8441 section 4), for which `head` stands as it
/// would be asked by HTTP/1.
pub fn connect_head(
    head: &RequestHead,
    (authority, path): (&str, &str),
    is_tls: bool,
    protocol: &str,
    out: &mut Vec<u8>,
) {
    hpack::write_named(place::GET, b"CONNECT", out);
    hpack::write_field(b":protocol", protocol.as_bytes(), out);
    hpack::write_indexed(if is_tls { place::HTTPS } else { place::HTTP }, out);
    hpack::write_named(place::AUTHORITY, authority.as_bytes(), out);
    let target = [path, &head.query].concat();
    hpack::write_named(place::ROOT, target.as_bytes(), out);
    fields(&head.fields, out);
    cdn_loop::with_value(|value| hpack::write_field(cdn_loop::NAME.as_bytes(), value, out));
}

/// Whether the message is one of gRPC.
pub fn is_grpc(fields: &Fields) -> bool {
    const TYPE: &[u8] = b"application/grpc";
    fields.get("content-type").is_some_and(|value| {
        let (kind, rest) = value.split_at(value.len().min(TYPE.len()));
        kind.eq_ignore_ascii_case(TYPE) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
    })
}

/// Appends trailers.
pub fn trailers(trailers: &Fields, out: &mut Vec<u8>) {
    fields(trailers, out);
}

fn fields(fields: &Fields, out: &mut Vec<u8>) {
    for (name, value) in fields.iter() {
        hpack::write_field(name, value, out);
    }
}

fn status(status: u16, out: &mut Vec<u8>) {
    let index = match status {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => {
            let digit = |place: u16| b'0' + (status / place % 10) as u8;
            let digits = [digit(100), digit(10), digit(1)];
            return hpack::write_named(place::STATUS, &digits, out);
        }
    };
    hpack::write_indexed(index, out);
}

fn content_length(length: u64, out: &mut Vec<u8>) {
    let mut digits = Vec::with_capacity(20);
    decimal(length, &mut digits);
    hpack::write_named(place::CONTENT_LENGTH, &digits, out);
}
