//! `CDN-Loop` (RFC 8586): what the gateway adds to each request that it sends on, by which it knows
//! those that come back. Not `Via`: origins take a request with it for a proxy's, and nginx then
//! answers without compression (`gzip_proxied`).

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use super::message::Fields;

/// The field's name.
pub const NAME: &str = "CDN-Loop";

/// Says of a request that it is a copy of another one. Any gateway's: a mirror that leads to
/// another node of a fleet must not make copies of copies either.
pub const COPY: &str = "odin-mirrored";

/// Whether a request is such a copy.
pub fn is_copy(passed: &[u8]) -> bool {
    memchr::memmem::find(passed, COPY.as_bytes()).is_some()
}

/// The last field of a request head.
static LINE: LazyLock<String> = LazyLock::new(|| format!("{NAME}: {}\r\n", OWN.as_str()));

/// This process's own: two gateways in a row, or of one fleet, are not a circle.
static OWN: LazyLock<String> =
    LazyLock::new(|| format!("odin-{:016x}", RandomState::new().hash_one(NAME)));

/// Appends the line of this gateway. It stands behind those of the gateways before it.
pub fn write_line(out: &mut Vec<u8>) {
    out.extend_from_slice(LINE.as_bytes());
}

/// Hands `write` the value of that line.
pub fn with_value(write: impl FnOnce(&[u8])) {
    write(OWN.as_bytes());
}

/// How often this gateway is among those whom a request has passed.
pub fn passes(passed: &[u8]) -> usize {
    memchr::memmem::find_iter(passed, OWN.as_bytes()).count()
}

/// All whom a request has passed, in one value; empty for most requests.
pub fn passed(fields: &Fields) -> Vec<u8> {
    if !fields.contains(NAME) {
        return Vec::new();
    }
    fields.get_all(NAME).collect::<Vec<_>>().join(&b", "[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_was_sent_on_is_known_again() {
        let mut fields = Fields::new();
        assert_eq!((passes(&passed(&fields)), passed(&fields)), (0, Vec::new()));
        fields.push(b"CDN-Loop", b"fred.example, odin-0123456789abcdef; a=b");
        assert_eq!(passes(&passed(&fields)), 0);
        for _ in 0..2 {
            let mut line = Vec::new();
            write_line(&mut line);
            let line = String::from_utf8(line).unwrap();
            let value = line.strip_prefix("CDN-Loop: ").unwrap().strip_suffix("\r\n").unwrap();
            assert!(value.starts_with("odin-"), "{value}");
            fields.push(b"CDN-Loop", value.as_bytes());
        }
        assert_eq!(passes(&passed(&fields)), 2);
        let all = String::from_utf8(passed(&fields)).unwrap();
        assert_eq!(all.split(", ").count(), 4, "{all}");
        let mut joined = Fields::new();
        joined.push(b"cdn-loop", all.as_bytes());
        assert_eq!(passes(&passed(&joined)), 2);
    }
}
