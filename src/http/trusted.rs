//! Whose word counts about who asks: proxies in front of the gateway, by their addresses.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::http::connection::{Asker, Connection, Scheme};
use crate::http::message::Fields;

/// The proxies whose `X-Forwarded-*`, `Forwarded` and PROXY headers are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trusted {
    /// Whatever has connected may say who asks: its fields pass.
    pub everybody: bool,
    /// Those at these addresses say who the client is.
    pub proxies: Vec<IpNet>,
}

impl Trusted {
    /// Whether a proxy with this address says who the client is.
    pub fn has(&self, ip: IpAddr) -> bool {
        if self.proxies.is_empty() {
            return false;
        }
        let ip = ip.to_canonical();
        self.proxies.iter().any(|network| network.contains(&ip))
    }

    /// Whether what a request from there says of who asks is left as it is.
    pub fn passes(&self, ip: IpAddr) -> bool {
        self.everybody || self.has(ip)
    }

    /// Who asks: whoever has connected, or whom it names if it is trusted.
    #[inline]
    pub fn asker<'c>(&self, connection: &'c Connection, fields: &Fields) -> Asker<'c> {
        match self.has(connection.client) {
            false => Asker::of(connection),
            true => self.named(connection, fields),
        }
    }

    #[cold]
    fn named<'c>(&self, connection: &'c Connection, fields: &Fields) -> Asker<'c> {
        let mut asker = Asker::of(connection);
        if fields.contains("x-forwarded-for") {
            let values: Vec<&[u8]> = fields.get_all("x-forwarded-for").collect();
            let hops = values.iter().rev().flat_map(|value| value.rsplit(|&byte| byte == b','));
            asker.ip = self.nearest(asker.ip, hops.map(address));
        } else {
            let values: Vec<&[u8]> = fields.get_all("forwarded").collect();
            let hops = values.iter().rev().flat_map(|value| value.rsplit(|&byte| byte == b','));
            asker.ip = self.nearest(asker.ip, hops.map(|hop| address(parameter(hop, "for")?)));
        }
        let said = fields.get_all("x-forwarded-proto").last();
        let said = said.and_then(|value| value.rsplit(|&byte| byte == b',').next());
        let said = said.or_else(|| {
            let value = fields.get_all("forwarded").last()?;
            parameter(value.rsplit(|&byte| byte == b',').next()?, "proto")
        });
        match said.map(<[u8]>::trim_ascii) {
            Some(said) if said.eq_ignore_ascii_case(b"https") => asker.scheme = Scheme::Https,
            Some(said) if said.eq_ignore_ascii_case(b"http") => asker.scheme = Scheme::Http,
            _ => {}
        }
        asker
    }

    /// Of the hops from the last to the first, the first whose address is no trusted proxy's. What
    /// stands before one that says nothing is anybody's word.
    fn nearest(&self, own: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
        let mut found = own;
        for hop in hops {
            let Some(ip) = hop else { break };
            found = ip;
            if !self.has(ip) {
                break;
            }
        }
        found
    }
}

/// An address, with or without a port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let ip = match text.parse::<IpAddr>() {
        Ok(ip) => ip,
        Err(_) => match text.parse::<SocketAddr>() {
            Ok(address) => address.ip(),
            Err(_) => text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?,
        },
    };
    Some(ip.to_canonical())
}

/// A parameter of an element of `Forwarded` (RFC 7239), without its quotes.
fn parameter<'v>(element: &'v [u8], name: &str) -> Option<&'v [u8]> {
    element.split(|&byte| byte == b';').find_map(|pair| {
        let at = pair.iter().position(|&byte| byte == b'=')?;
        let (own, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
        let value = value.strip_prefix(b"\"").unwrap_or(value);
        let value = value.strip_suffix(b"\"").unwrap_or(value);
        own.eq_ignore_ascii_case(name.as_bytes()).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(peer: &str, lines: &[(&str, &str)]) -> (String, Scheme) {
        let proxies = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        let trusted = Trusted { everybody: false, proxies };
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        let connection = Connection::plain(peer.parse().unwrap());
        let asker = trusted.asker(&connection, &fields);
        (asker.ip.to_string(), asker.scheme)
    }

    const FOR: &str = "X-Forwarded-For";

    #[test]
    fn the_client_is_the_nearest_that_no_trusted_proxy_is() {
        for (peer, lines, want) in [
            ("192.0.2.1", &[(FOR, "1.2.3.4")][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[(FOR, "1.2.3.4")], "1.2.3.4"),
            ("::ffff:10.0.0.1", &[(FOR, "1.2.3.4")], "1.2.3.4"),
            ("10.0.0.1", &[(FOR, "6.6.6.6, 1.2.3.4")], "1.2.3.4"),
            ("10.0.0.1", &[(FOR, "6.6.6.6, 1.2.3.4, 10.0.0.2")], "1.2.3.4"),
            ("10.0.0.1", &[(FOR, "6.6.6.6"), (FOR, "1.2.3.4,10.0.0.2")], "1.2.3.4"),
            ("10.0.0.1", &[(FOR, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
            ("10.0.0.1", &[(FOR, "6.6.6.6, unknown, 10.0.0.2")], "10.0.0.2"),
            ("10.0.0.1", &[(FOR, "6.6.6.6,")], "10.0.0.1"),
            ("10.0.0.1", &[(FOR, "[2001:db9::7]:80")], "2001:db9::7"),
            ("2001:db8::1", &[(FOR, "1.2.3.4:5678")], "1.2.3.4"),
            (
                "10.0.0.1",
                &[("Forwarded", "for=6.6.6.6, for=\"[2001:db9::7]:1\";proto=https")],
                "2001:db9::7",
            ),
            ("10.0.0.1", &[("Forwarded", "for=_hidden")], "10.0.0.1"),
            ("10.0.0.1", &[(FOR, "1.2.3.4"), ("Forwarded", "for=6.6.6.6")], "1.2.3.4"),
        ] {
            assert_eq!(asked(peer, lines).0, want, "{peer} {lines:?}");
        }
    }

    #[test]
    fn the_scheme_is_what_the_nearest_proxy_says_if_it_is_trusted() {
        const PROTO: &str = "X-Forwarded-Proto";
        for (peer, lines, want) in [
            ("192.0.2.1", &[(PROTO, "https")][..], Scheme::Http),
            ("10.0.0.1", &[(PROTO, "https")], Scheme::Https),
            ("10.0.0.1", &[(PROTO, "https, HTTP")], Scheme::Http),
            ("10.0.0.1", &[(PROTO, "ftp")], Scheme::Http),
            ("10.0.0.1", &[("Forwarded", "for=1.2.3.4;Proto=\"https\"")], Scheme::Https),
        ] {
            assert_eq!(asked(peer, lines).1, want, "{peer} {lines:?}");
        }
    }
}
