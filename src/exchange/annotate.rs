//! The fields that a gateway adds to a request: who asked, and under which number.

use std::borrow::Cow;
use std::net::IpAddr;

use super::Core;
use crate::http::connection::{Asker, Connection};
use crate::http::field_class::{WHO_ASKED_LETTERS, is_who_asked};
use crate::http::message::{Fields, IpText, RequestHead};
use crate::limits::REQUEST_ID_BYTES_MAX;
use crate::snapshot::{Service, Snapshot};

/// Tells an origin what of the path it does not see.
pub(super) const PREFIX: &str = "X-Forwarded-Prefix";
const FORWARDED: &str = "forwarded";

/// Makes a client's fields what plugins and origins are told.
pub(super) fn all(
    request: &mut RequestHead,
    id: &mut String,
    asker: Asker<'_>,
    snapshot: &Snapshot,
    worker: &Core,
) {
    if request.fields.has_underscores() && !snapshot.keeps_underscores {
        drop_underscores(request);
    }
    forwarded(request, asker, snapshot.trusted.passes(asker.connection.client));
    request_id(request, id, worker);
}

/// Takes out every field whose name has a `_`: CGI and what came after it (WSGI, PHP, Rack) read
/// `X_User` as `X-User`, which a plugin or a proxy may have set, or taken out.
#[cold]
fn drop_underscores(request: &mut RequestHead) {
    request.fields.retain(|name, _| !name.contains(&b'_'));
}

/// Sets `X-Forwarded-For`, `-Proto` and `-Host`. What a client says itself of who asks is taken
/// out, unless the peers in front are trusted to have set it.
fn forwarded(request: &mut RequestHead, asker: Asker<'_>, is_trusted: bool) {
    let client = IpText::new(asker.connection.client);
    let client = client.as_bytes();
    let fields = &mut request.fields;
    // A trusted proxy writes hyphens: what has an underscore it has let through.
    let is_claim = |name: &[u8]| is_who_asked(name) && (!is_trusted || name.contains(&b'_'));
    if fields.any_name(WHO_ASKED_LETTERS, is_claim) {
        fields.retain(|name, _| !is_claim(name));
    }
    if is_trusted && fields.contains("x-forwarded-for") {
        let before: Vec<&[u8]> = fields.get_all("x-forwarded-for").collect();
        let all = [before.as_slice(), &[client]].concat().join(&b", "[..]);
        fields.set(b"X-Forwarded-For", &all);
    } else {
        fields.push(b"X-Forwarded-For", client);
    }
    if is_trusted && fields.contains(FORWARDED) {
        forwarded_element(fields, asker);
    }
    // Each by itself: a trusted proxy that says only `https` must not be corrected to `http`. Of
    // anybody else none is left.
    let is_said = |name: &str, fields: &Fields| is_trusted && fields.contains(name);
    if !is_said("x-forwarded-proto", fields) {
        fields.push(b"X-Forwarded-Proto", asker.scheme.as_str().as_bytes());
    }
    if !request.authority.is_empty() && !is_said("x-forwarded-host", fields) {
        fields.push(b"X-Forwarded-Host", request.authority.as_bytes());
    }
}

/// Appends to a trusted proxy's `Forwarded` (RFC 7239 section 4) who has connected here.
#[cold]
fn forwarded_element(fields: &mut Fields, asker: Asker<'_>) {
    let ip = asker.connection.client;
    let node = if ip.is_ipv6() { format!("\"[{ip}]\"") } else { ip.to_string() };
    let element = format!("for={node};proto={}", asker.connection.scheme.as_str());
    let mut elements: Vec<&[u8]> = fields.get_all(FORWARDED).collect();
    elements.push(element.as_bytes());
    let all = elements.join(&b", "[..]);
    fields.set(b"Forwarded", &all);
}

/// What becomes of a client's fields before plugins are told of them, where the configuration says
/// nothing: for tools whose requests nobody sends.
pub fn by_default(request: &mut RequestHead, ip: IpAddr) {
    if request.fields.has_underscores() {
        drop_underscores(request);
    }
    forwarded(request, Asker::of(&Connection::plain(ip)), false);
}

/// What is set on a request with these fields that goes to a service's own targets. Where
/// `is_stripped` says that its base path was taken off, `X-Forwarded-Prefix` tells all that was: a
/// trusted proxy's first (of any other, none is left by now).
pub(super) fn for_target<'s>(
    service: &'s Service,
    fields: &Fields,
    is_stripped: bool,
) -> Cow<'s, Fields> {
    let base = service.base_path.as_bytes();
    let set = &service.fields;
    if !service.strip_base_path || set.get(PREFIX) != Some(base) {
        return Cow::Borrowed(set);
    }
    if is_stripped && !fields.contains(PREFIX) {
        return Cow::Borrowed(set);
    }
    let mut set = set.clone();
    set.remove(PREFIX.as_bytes());
    if is_stripped {
        // One path, not a list: of a list some applications take the last part alone.
        let before = fields.get_all(PREFIX).flat_map(|value| value.split(|&byte| byte == b','));
        let trimmed = before.map(<[u8]>::trim_ascii);
        let without_slash = trimmed.map(|part| part.strip_suffix(b"/").unwrap_or(part));
        let parts = without_slash.chain([base]);
        let all: Vec<&[u8]> = parts.filter(|part| part.starts_with(b"/")).collect();
        set.push(PREFIX.as_bytes(), &all.concat());
    }
    Cow::Owned(set)
}

/// Keeps the client's `X-Request-Id` if it is a short run of visible characters, else sets a new
/// one; writes it to `id`.
pub(super) fn request_id(request: &mut RequestHead, id: &mut String, worker: &Core) {
    id.clear();
    if let Some(given) = request.fields.get("x-request-id") {
        if (1..=REQUEST_ID_BYTES_MAX).contains(&given.len())
            && given.iter().all(u8::is_ascii_graphic)
            && let Ok(given) = std::str::from_utf8(given)
        {
            id.push_str(given);
            if request.fields.get_all("x-request-id").nth(1).is_none() {
                return;
            }
        }
        request.fields.remove(b"X-Request-Id");
    }
    if id.is_empty() {
        push_hexadecimal([worker.random(), worker.random()], id);
    }
    request.fields.push(b"X-Request-Id", id.as_bytes());
}

/// Thirty-two digits: the eight of each half of a number at once, a digit in each byte of a word.
fn push_hexadecimal(numbers: [u64; 2], text: &mut String) {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let digits = |half: u64| {
        let half = (half | half << 16) & 0x0000_ffff_0000_ffff;
        let half = (half | half << 8) & 0x00ff_00ff_00ff_00ff;
        let values = (half | half << 4) & 0x0f0f_0f0f_0f0f_0f0f;
        let is_letter = (values + 6 * EACH) >> 4 & EACH;
        (values + u64::from(b'0') * EACH + is_letter * u64::from(b'a' - b'9' - 1)).to_be_bytes()
    };
    let mut all = [[0; 8]; 4];
    for (two, number) in all.chunks_exact_mut(2).zip(numbers) {
        two[0] = digits(number >> 32);
        two[1] = digits(number & 0xffff_ffff);
    }
    // They are digits: never empty.
    text.push_str(crate::text::from_bytes(all.as_flattened()).unwrap_or_default());
}

/// Asks the origin for the whole answer without a content coding: plugins are to read its body.
/// They may hide what stands in it, and in a part of it, or in noise, they would not find it.
pub(super) fn plain_answer(request: &mut RequestHead) {
    let fields = &mut request.fields;
    if fields.contains("accept-encoding") {
        fields.set(b"Accept-Encoding", b"identity");
    }
    for name in ["range", "if-range"] {
        if fields.contains(name) {
            fields.remove(name.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them() {
        for shift in 0..64 {
            for number in [0x0123_4567_89ab_cdef_u64, u64::MAX, 0, 0x9a9a_9a9a_a9a9_a9a9] {
                let (number, mut text) = (number.rotate_left(shift), String::new());
                push_hexadecimal([number, !number], &mut text);
                assert_eq!(text, format!("{number:016x}{:016x}", !number));
            }
        }
    }
}
