//! The fields that a gateway adds to a request: who asked, and under which number.

use crate::limits::REQUEST_ID_BYTES_MAX;
use crate::message::{IpText, RequestHead};
use crate::stream::Peer;
use crate::worker::Worker;

/// Sets `X-Forwarded-For`, `-Proto` and `-Host`. A client's own are believed only if the peers in
/// front are trusted to have set them.
pub(super) fn forwarded(request: &mut RequestHead, peer: Peer, is_trusted: bool) {
    let client = IpText::new(peer.ip);
    let client = client.as_bytes();
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
    push_hexadecimal(worker.random(), id);
    push_hexadecimal(worker.random(), id);
    request.fields.set(b"X-Request-Id", id.as_bytes());
}

fn push_hexadecimal(number: u64, text: &mut String) {
    let digits = (0..16).rev().map(|place| number >> (4 * place) & 15);
    text.extend(digits.map(|digit| char::from(b"0123456789abcdef"[digit as usize])));
}
