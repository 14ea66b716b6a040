//! Which addresses a name may lead a plugin to.
//!
//! Origins live on private networks and on loopback, so those are allowed: that a name is in the
//! plugin's `config` is the permission. Refused is what no origin has and what a name server
//! could be made to answer to reach a cloud's metadata service or a whole network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why plugins may not call an address; `None` if they may.
pub(super) fn refusal(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => of_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(address) => of_v4(address),
            None => of_v6(address),
        },
    }
}

fn of_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        // Those that are not link-local: Alibaba's, Azure's, Oracle's.
        [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192] => Some("a metadata service"),
        [0, ..] => Some("unspecified (0.0.0.0/8)"),
        [169, 254, ..] => Some("link-local (169.254.0.0/16), where metadata services are"),
        [224..=239, ..] => Some("multicast (224.0.0.0/4)"),
        [255, 255, 255, 255] => Some("broadcast"),
        [240..=255, ..] => Some("reserved (240.0.0.0/4)"),
        _ => None,
    }
}

fn of_v6(address: Ipv6Addr) -> Option<&'static str> {
    /// Amazon's and Google's.
    const METADATA: [Ipv6Addr; 2] = [
        Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
        Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    ];
    if address.is_unspecified() {
        return Some("unspecified (::)");
    }
    if METADATA.contains(&address) {
        return Some("a metadata service");
    }
    match address.segments()[0] {
        0xfe80..=0xfebf => Some("link-local (fe80::/10)"),
        0xff00..=0xffff => Some("multicast (ff00::/8)"),
        _ => None,
    }
}

/// The IPv4 address that an IPv6 one stands for: mapped (::ffff:0:0/96), compatible (::/96),
/// NAT64 (64:ff9b::/96), 6to4 (2002::/16).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        // :: and ::1 are themselves.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_may_be_private_and_nothing_leads_to_metadata_services() {
        for allowed in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "93.184.215.14",
            "::1",
            "fd12:3456::1",
            "2606:2800:21f:cb07:6820:80da:af6b:8b2c",
            "::ffff:10.0.0.1",
        ] {
            assert_eq!(refusal(allowed.parse().unwrap()), None, "{allowed}");
        }
        for refused in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "64:ff9b::6464:64c8",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "::ffff:0.0.0.0",
        ] {
            assert!(refusal(refused.parse().unwrap()).is_some(), "{refused}");
        }
    }
}
