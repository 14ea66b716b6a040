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
        IpAddr::V6(address) => {
            of_v6(address).or_else(|| embedded(address).into_iter().find_map(of_v4))
        }
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

/// The IPv4 addresses that an IPv6 one stands for, by every form that embeds one. There may be
/// several: Teredo names its server too, and of a NAT64 prefix of one's own nobody tells how long
/// it is.
fn embedded(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        // :: and ::1 are themselves.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Vec::new(),
        // Compatible (::/96), mapped (::ffff:0:0/96), translated (::ffff:0:0:0/96), NAT64 with the
        // prefix of all (64:ff9b::/96).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => vec![v4(high, low)],
        [0x64, 0xff9b, 1, rest @ ..] => of_own_nat64(rest),
        // 6to4.
        [0x2002, high, low, ..] => vec![v4(high, low)],
        // Teredo: its server, and its client with all bits turned.
        [0x2001, 0, server_high, server_low, _, _, high, low] => {
            vec![v4(server_high, server_low), v4(!high, !low)]
        }
        // ISATAP, under any prefix; two bits say how far the address is known.
        [.., 0 | 0x100 | 0x200 | 0x300, 0x5efe, high, low] => vec![v4(high, low)],
        _ => Vec::new(),
    }
}

/// What follows `64:ff9b:1::/48` (RFC 8215), for prefixes of 48, 56, 64 and 96 bits (RFC 6052,
/// section 2.2): the first three go around the bits 64 to 71 and end in zeros.
fn of_own_nat64(rest: [u16; 5]) -> Vec<Ipv4Addr> {
    let bytes: Vec<u8> = rest.iter().flat_map(|segment| segment.to_be_bytes()).collect();
    // Without the byte that is always zero.
    let around = [&bytes[..2], &bytes[3..]].concat();
    let address = |at: &[u8]| Ipv4Addr::new(at[0], at[1], at[2], at[3]);
    // No address begins with a zero: such a reading is one of a prefix that ends earlier or later.
    let is_last =
        |from: usize| around[from] != 0 && around[from + 4..].iter().all(|&byte| byte == 0);
    let short = (0..3).filter(|&from| bytes[2] == 0 && is_last(from));
    let mut found: Vec<_> = short.map(|from| address(&around[from..])).collect();
    // With one of them these are its zeros.
    if found.is_empty() || bytes[6..] != [0; 4] {
        found.push(address(&bytes[6..]));
    }
    found
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
            "::ffff:0:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::10.0.0.1",
            "64:ff9b:1:7::10.0.0.1",
            "64:ff9b:1:a00:0:100::",
            "2001:db8::5efe",
            "2002:0a00:0001::1",
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
            // Translated by a stateless translator (SIIT, RFC 2765).
            "::ffff:0:169.254.169.254",
            // NAT64 with a prefix of one's own (RFC 8215), of each length that RFC 6052 knows.
            "64:ff9b:1::a9fe:a9fe",
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:a9:fe:a9fe::",
            "64:ff9b:1:0:a9:fea9:fe00:0",
            "64:ff9b:1:7::a9fe:a9fe",
            // Teredo (RFC 4380): the client's address with all bits turned, and its server's.
            "2001:0:101:101:8000:f227:5601:5601",
            "2001:0:a9fe:a9fe:8000:f227:9bff:fefe",
            // ISATAP (RFC 5214), of local and of global addresses, under any prefix.
            "fd00::5efe:169.254.169.254",
            "2001:db8::200:5efe:169.254.169.254",
            // What an IPv4 address behind one of them may not be, a metadata service's own either.
            "2002:6464:64c8::",
            "64:ff9b:1::6464:64c8",
        ] {
            assert!(refusal(refused.parse().unwrap()).is_some(), "{refused}");
        }
    }
}
