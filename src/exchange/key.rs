//! What of a request leads it to its endpoint, where its service shares requests out by a key.

use super::Exchange;
use crate::http::message::RequestHead;
use crate::upstream::balance::{Algorithm, hash};
use crate::upstream::cluster::Endpoints;
use crate::upstream::policy::HashOn;

impl Exchange<'_> {
    /// The hash of the request's key; `None` if the service goes by none, or the request has none:
    /// any endpoint will do then.
    pub(super) fn key(&self, endpoints: &Endpoints, request: &RequestHead) -> Option<u64> {
        let policy = endpoints.policy();
        match policy.algorithm {
            Algorithm::ConsistentHash { .. } => self.key_of(&policy.hash, request),
            _ => None,
        }
    }

    #[cold]
    fn key_of(&self, on: &HashOn, request: &RequestHead) -> Option<u64> {
        match on {
            HashOn::ClientAddress => Some(match self.asker.ip {
                std::net::IpAddr::V4(ip) => hash(&ip.octets()),
                std::net::IpAddr::V6(ip) => hash(&ip.octets()),
            }),
            HashOn::Header(name) => request.fields.get(name).map(hash),
            HashOn::Cookie(name) => {
                let lines = request.fields.get_all("cookie");
                cookie(lines, name.as_bytes()).map(hash)
            }
        }
    }
}

/// The value of the first cookie of this name (RFC 6265 section 5.4: `a=b; c=d`).
pub(super) fn cookie<'v>(lines: impl Iterator<Item = &'v [u8]>, name: &[u8]) -> Option<&'v [u8]> {
    let mut pairs = lines.flat_map(|line| line.split(|&byte| byte == b';'));
    pairs.find_map(|pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::cookie;

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let lines = [&b"xsession=1; session=abc;session=2"[..], b"last=9"];
        let find = |name: &[u8]| cookie(lines.into_iter(), name);
        assert_eq!(find(b"session"), Some(&b"abc"[..]));
        assert_eq!(find(b"last"), Some(&b"9"[..]));
        assert_eq!(find(b"sess"), None);
        assert_eq!(find(b"none"), None);
    }
}
