//! `Via` (RFC 9110 section 7.6.3): what the gateway adds to each request that it sends on, by which
//! it knows those that come back.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use super::message::Fields;

/// The last field of a request head, as a client of HTTP/1.1 and one of HTTP/1.0 have it.
static LINES: LazyLock<[String; 2]> =
    LazyLock::new(|| ["1.1", "1.0"].map(|version| format!("Via: {version} {}\r\n", NAME.as_str())));

/// This process's own: two gateways in a row, or of one fleet, are not a circle.
static NAME: LazyLock<String> =
    LazyLock::new(|| format!("odin-{:016x}", RandomState::new().hash_one("Via")));

/// Appends the line of this gateway. It stands behind those of the gateways before it.
pub fn write_line(is_http10: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(LINES[usize::from(is_http10)].as_bytes());
}

/// How often a request has passed this gateway.
pub fn passes(fields: &Fields) -> usize {
    let passes = |value| memchr::memmem::find_iter(value, NAME.as_bytes()).count();
    fields.get_all("via").map(passes).sum()
}

/// All whom a request has passed, in one value; empty for most requests.
pub fn passed(fields: &Fields) -> Vec<u8> {
    fields.get_all("via").collect::<Vec<_>>().join(&b", "[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_was_sent_on_is_known_again() {
        let mut fields = Fields::new();
        assert_eq!((passes(&fields), passed(&fields)), (0, Vec::new()));
        fields.push(b"Via", b"1.0 fred, 1.1 odin-0123456789abcdef (a gateway)");
        assert_eq!(passes(&fields), 0);
        for (is_http10, version) in [(false, "1.1"), (true, "1.0")] {
            let mut line = Vec::new();
            write_line(is_http10, &mut line);
            let line = String::from_utf8(line).unwrap();
            let value = line.strip_prefix("Via: ").unwrap().strip_suffix("\r\n").unwrap();
            assert!(value.starts_with(&format!("{version} odin-")), "{value}");
            fields.push(b"Via", value.as_bytes());
        }
        assert_eq!(passes(&fields), 2);
        let all = String::from_utf8(passed(&fields)).unwrap();
        assert_eq!(all.split(", ").count(), 4, "{all}");
        let mut joined = Fields::new();
        joined.push(b"via", all.as_bytes());
        assert_eq!(passes(&joined), 2);
    }
}
