//! The fields that a gateway adds to a request: who asked, and under which number.

use std::fmt::Write;

use crate::limits::REQUEST_ID_BYTES_MAX;
use crate::message::RequestHead;
use crate::stream::Peer;
use crate::worker::Worker;

/// Sets `X-Forwarded-For`, `-Proto` and `-Host`. A client's own are believed only if the peers in
/// front are trusted to have set them.
pub(super) fn forwarded(request: &mut RequestHead, peer: Peer, is_trusted: bool) {
    let mut client = [0u8; 40 + 2];
    let length = {
        use std::io::Write;
        let mut rest = &mut client[..];
        // 39 characters hold the longest IPv6 address without a scope.
        write!(rest, "{}", peer.ip).expect("an address fits");
        42 - rest.len()
    };
    let client = &client[..length];
    let fields = &mut request.fields;
    if is_trusted {
        let before: Vec<&[u8]> = fields.get_all("x-forwarded-for").collect();
        let all = [before.as_slice(), &[client]].concat().join(&b", "[..]);
        fields.set(b"X-Forwarded-For", &all);
    } else {
        fields.set(b"X-Forwarded-For", client);
    }
    // Each by itself: a trusted proxy that says only `https` must not be corrected to `http`.
    let is_said = |name: &str, fields: &crate::message::Fields| is_trusted && fields.contains(name);
    if !is_said("x-forwarded-proto", fields) {
        fields.set(b"X-Forwarded-Proto", b"http");
    }
    if is_said("x-forwarded-host", fields) {
        return;
    }
    if request.authority.is_empty() {
        fields.remove(b"X-Forwarded-Host");
    } else {
        fields.set(b"X-Forwarded-Host", request.authority.as_bytes());
    }
}

/// Keeps the client's `X-Request-Id` if it is a short run of visible characters, else sets a new
/// one; writes it to `id`.
pub(super) fn request_id(request: &mut RequestHead, id: &mut String, worker: &Worker) {
    id.clear();
    if let Some(given) = request.fields.get("x-request-id")
        && (1..=REQUEST_ID_BYTES_MAX).contains(&given.len())
        && given.iter().all(u8::is_ascii_graphic)
        && let Ok(given) = std::str::from_utf8(given)
    {
        id.push_str(given);
        return;
    }
    let (high, low) = (worker.random(), worker.random());
    write!(id, "{high:016x}{low:016x}").expect("a String takes all");
    request.fields.set(b"X-Request-Id", id.as_bytes());
}
