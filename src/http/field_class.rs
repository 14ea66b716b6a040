//! Which class a field belongs to, by its name: of the connection or the framing, set by the
//! gateway, of who asked, allowed in trailers. Whoever has to know asks here: there is no other
//! list.

/// The field that says how long a body is.
pub const LENGTH: &[u8] = b"content-length";
/// The field that says that a body ends by itself.
pub const CODING: &[u8] = b"transfer-encoding";

/// Fields that a plugin cannot set although the parser relays them: they belong to a connection of
/// a protocol that the gateway does not speak.
const OTHER_CONNECTION: [&[u8]; 1] = [b"http2-settings"];

/// Fields that the gateway writes by itself, beside those of the connection.
const GATEWAY: [&[u8]; 4] = [b"expect", b"host", b"proxy-authenticate", b"cdn-loop"];

/// What RFC 9110 section 6.5.1 keeps out of trailers: framing, routing, authentication, request
/// modifiers, response control data and content format.
const NOT_IN_TRAILERS: [&[u8]; 27] = [
    b"host",
    b"authorization",
    b"proxy-authorization",
    b"www-authenticate",
    b"proxy-authenticate",
    b"cookie",
    b"set-cookie",
    b"content-type",
    b"content-encoding",
    b"content-range",
    b"expect",
    b"max-forwards",
    b"cache-control",
    b"range",
    b"if-match",
    b"if-none-match",
    b"if-modified-since",
    b"if-unmodified-since",
    b"if-range",
    b"age",
    b"date",
    b"expires",
    b"location",
    b"retry-after",
    b"vary",
    b"cdn-loop",
    b"x-request-id",
];

/// A field that whoever reads a head does not treat as any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Special {
    /// `Host`.
    Host,
    /// `Expect`.
    Expect,
    /// `Connection`.
    Connection,
    /// `Content-Length`.
    ContentLength,
    /// `Transfer-Encoding`.
    TransferEncoding,
    /// `TE`.
    Te,
    /// `Trailer`.
    Trailer,
    /// `Upgrade`.
    Upgrade,
    /// One that belongs to a connection and says nothing to us.
    OtherHop,
}

impl Special {
    /// By the length and the first letter: that leaves one candidate, and for most names none.
    #[inline(always)]
    pub(in crate::http) fn of(name: &[u8]) -> Option<Self> {
        let first = name.first()? | 0x20;
        let (is_it, special) = match (name.len(), first) {
            (2, b't') => (is(name, b"te"), Self::Te),
            (4, b'h') => (is(name, b"host"), Self::Host),
            (6, b'e') => (is(name, b"expect"), Self::Expect),
            (7, b't') => (is(name, b"trailer"), Self::Trailer),
            (7, b'u') => (is(name, b"upgrade"), Self::Upgrade),
            (10, b'c') => (is(name, b"connection"), Self::Connection),
            (10, b'k') => (is(name, b"keep-alive"), Self::OtherHop),
            (14, b'c') => (is(name, b"content-length"), Self::ContentLength),
            (16, b'p') => (is(name, b"proxy-connection"), Self::OtherHop),
            (17, b't') => (is(name, b"transfer-encoding"), Self::TransferEncoding),
            _ => return None,
        };
        is_it.then_some(special)
    }
}

/// Whether a token is this one, in letters of either case; `lower` is of small letters and hyphens.
/// Its length is known when this is compiled, which makes it a few instructions.
#[inline(always)]
pub(in crate::http) fn is<const N: usize>(token: &[u8], lower: &[u8; N]) -> bool {
    // With this bit, only a letter in either case becomes that small letter, and only a hyphen
    // becomes a hyphen, or a CR, which no token has.
    let Ok(token) = <&[u8; N]>::try_from(token) else {
        return false;
    };
    token.iter().zip(lower).fold(true, |all, (byte, lower)| all & (byte | 0x20 == *lower))
}

/// Whether a field of this name, a token, belongs to one connection or to the framing, so that it
/// is neither relayed nor settable by a plugin (RFC 9110 section 7.6.1, RFC 9112 section 6).
#[inline]
fn is_hop_by_hop(name: &[u8]) -> bool {
    !matches!(Special::of(name), None | Some(Special::Host | Special::Expect))
}

/// Whether the gateway alone writes it, for connections and framing: no plugin sets it.
pub fn is_of_connection(name: &[u8]) -> bool {
    is_hop_by_hop(name) || is_one_of(name, &OTHER_CONNECTION)
}

/// Whether no configuration sets it: [`is_of_connection`], or the gateway writes it otherwise.
pub fn is_written_by_gateway(name: &[u8]) -> bool {
    is_of_connection(name) || is_one_of(name, &GATEWAY)
}

/// What the names of [`is_who_asked`] begin with.
pub const WHO_ASKED_LETTERS: [u8; 2] = *b"fx";

/// Whether it says who asked, and how: `Forwarded`, `X-Real-IP`, every `X-Forwarded-*`. `_` is
/// read as `-`, as CGI and WSGI do, where both spellings become the same variable.
#[inline]
pub fn is_who_asked(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"x-forwarded-";
    match name.first().map(|byte| byte | 0x20) {
        Some(b'f') => name.eq_ignore_ascii_case(b"forwarded"),
        Some(b'x') => match name.get(2).map(|byte| byte | 0x20) {
            Some(b'r') => is_spelling_of(name, b"x-real-ip"),
            Some(b'f') => name.get(..PREFIX.len()).is_some_and(|it| is_spelling_of(it, PREFIX)),
            _ => false,
        },
        _ => false,
    }
}

/// Whether it may stand in a trailer section.
pub fn may_be_trailer(name: &[u8]) -> bool {
    !is_of_connection(name) && !is_who_asked(name) && !is_one_of(name, &NOT_IN_TRAILERS)
}

/// Whether CGI would take it for the field `lower`, which has small letters and hyphens.
fn is_spelling_of(name: &[u8], lower: &[u8]) -> bool {
    let dashed = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() == lower.len() && name.iter().zip(lower).all(|(byte, is)| dashed(*byte) == *is)
}

fn is_one_of(name: &[u8], list: &[&[u8]]) -> bool {
    list.iter().any(|one| name.eq_ignore_ascii_case(one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::message::is_token;

    #[test]
    fn each_class_holds_those_that_are_stricter() {
        for name in ["Connection", "TE", "Trailer", "Upgrade", "Content-Length", "HTTP2-Settings"] {
            let name = name.as_bytes();
            assert!(is_of_connection(name) && is_written_by_gateway(name));
            assert!(!may_be_trailer(name));
        }
        for name in GATEWAY {
            assert!(is_written_by_gateway(name) && !is_of_connection(name));
            assert!(!may_be_trailer(name));
        }
    }

    #[test]
    fn who_asked_is_known_in_every_spelling_that_an_application_reads_as_one() {
        for name in [
            "Forwarded",
            "X-Real-IP",
            "x_real_ip",
            "X_Forwarded-For",
            "X-FORWARDED-PORT",
            "x-forwarded-a",
        ] {
            assert!(is_who_asked(name.as_bytes()), "{name}");
            assert!(!may_be_trailer(name.as_bytes()), "{name}");
        }
        for name in ["Forward", "X-Forwarded", "X-Real-IPs", "X-Request-Id", "From", ""] {
            assert!(!is_who_asked(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_special_name_is_known_in_any_case_and_no_other_token_is_taken_for_it() {
        const NAMES: [&str; 10] = [
            "te",
            "host",
            "expect",
            "trailer",
            "upgrade",
            "connection",
            "keep-alive",
            "content-length",
            "proxy-connection",
            "transfer-encoding",
        ];
        for name in NAMES {
            assert!(Special::of(name.to_uppercase().as_bytes()).is_some(), "{name}");
            for at in 0..name.len() {
                for byte in 0..=255 {
                    let mut other = name.as_bytes().to_vec();
                    other[at] = byte;
                    if is_token(&other) {
                        let is_it = other.eq_ignore_ascii_case(name.as_bytes());
                        assert_eq!(Special::of(&other).is_some(), is_it, "{name}, {byte} at {at}");
                    }
                }
            }
        }
    }
}
