//! The PROXY protocol, versions 1 and 2: what a proxy in front says of who has connected, before
//! anything else. Taken from the socket to the byte: what follows is for whoever comes next.
//!
//! Nothing is taken before the whole header is there, so that a connection without one is as it
//! was.

use std::net::{IpAddr, SocketAddr};

use ppp::{v1, v2};

use crate::io::stream::{self, Socket};
use crate::io::{sleep, timeout};
use crate::limits::{PROXY_HEADER_BYTES_MAX, PROXY_HEADER_PAUSE};

/// Whether connections begin with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProxyProtocol {
    /// They don't.
    #[default]
    Off,
    /// Those of trusted proxies may.
    Accept,
    /// All do, and come from trusted proxies.
    Require,
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// Who has connected to the proxy, and where to.
    Proxied {
        /// The client.
        client: IpAddr,
        /// Where it has connected to.
        local: SocketAddr,
    },
    /// The proxy itself has connected, or it does not say who.
    Local,
}

/// What the bytes that have come are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A header of so many bytes.
    Whole(Header, usize),
    /// Its beginning, perhaps.
    Part,
    /// No header.
    Other,
    /// One that is broken.
    Broken,
}

/// Why there is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The connection has ended or broken before.
    Gone,
    /// It did not come in time.
    Timeout,
    /// What came is none.
    Refused,
}

const SIGNATURE_V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const SIGNATURE_V1: &[u8; 6] = b"PROXY ";
/// The longest line of version 1, with its end.
const V1_BYTES_MAX: usize = 107;

/// What `bytes`, the first of a connection, are.
pub fn find(bytes: &[u8]) -> Found {
    let begins = |signature: &[u8]| {
        let common = bytes.len().min(signature.len());
        bytes[..common] == signature[..common]
    };
    if begins(SIGNATURE_V2) {
        return match bytes {
            [_, _, _, _, _, _, _, _, _, _, _, _, _, _, high, low, ..] => {
                let length = 16 + usize::from(u16::from_be_bytes([*high, *low]));
                match bytes.get(..length) {
                    _ if length > PROXY_HEADER_BYTES_MAX => Found::Broken,
                    Some(whole) => of_v2(whole),
                    None => Found::Part,
                }
            }
            _ => Found::Part,
        };
    }
    if begins(SIGNATURE_V1) {
        return match memchr::memchr(b'\n', bytes) {
            Some(end) if end < V1_BYTES_MAX => of_v1(&bytes[..=end]),
            None if bytes.len() < V1_BYTES_MAX => Found::Part,
            _ => Found::Broken,
        };
    }
    Found::Other
}

fn of_v1(line: &[u8]) -> Found {
    let Ok(header) = v1::Header::try_from(line) else { return Found::Broken };
    let header = match header.addresses {
        v1::Addresses::Unknown => Header::Local,
        v1::Addresses::Tcp4(ip) => {
            proxied(ip.source_address.into(), (ip.destination_address, ip.destination_port).into())
        }
        v1::Addresses::Tcp6(ip) => {
            proxied(ip.source_address.into(), (ip.destination_address, ip.destination_port).into())
        }
    };
    Found::Whole(header, line.len())
}

fn of_v2(bytes: &[u8]) -> Found {
    let Ok(header) = v2::Header::try_from(bytes) else { return Found::Broken };
    let told = match (header.command, header.addresses) {
        (v2::Command::Local, _) => Header::Local,
        (v2::Command::Proxy, v2::Addresses::IPv4(ip)) => {
            proxied(ip.source_address.into(), (ip.destination_address, ip.destination_port).into())
        }
        (v2::Command::Proxy, v2::Addresses::IPv6(ip)) => {
            proxied(ip.source_address.into(), (ip.destination_address, ip.destination_port).into())
        }
        // Of a Unix socket, or unspecified: there is no address to tell of.
        (v2::Command::Proxy, _) => Header::Local,
    };
    Found::Whole(told, bytes.len())
}

fn proxied(client: IpAddr, local: SocketAddr) -> Header {
    Header::Proxied { client: client.to_canonical(), local }
}

/// Takes the header from the socket, where one must be (`is_required`) or may be. `None`: there is
/// none, and nothing was taken.
pub async fn take(
    socket: &impl Socket,
    is_required: bool,
    within: std::time::Duration,
) -> Result<Option<Header>, Failure> {
    let taking = async {
        let fd = socket.as_raw_fd();
        socket.wait_readable().await.map_err(|_| Failure::Gone)?;
        loop {
            let mut bytes = [0; PROXY_HEADER_BYTES_MAX];
            let count = stream::peek(fd, &mut bytes).ok_or(Failure::Gone)?;
            match find(&bytes[..count]) {
                Found::Whole(header, length) => {
                    stream::take_peeked(fd, length).ok_or(Failure::Gone)?;
                    return Ok(Some(header));
                }
                Found::Other if !is_required && count > 0 => return Ok(None),
                Found::Part if count < PROXY_HEADER_BYTES_MAX => {}
                Found::Other | Found::Broken | Found::Part => return Err(Failure::Refused),
            }
            // The socket stays readable: a wait for readiness would not wait.
            sleep(PROXY_HEADER_PAUSE).await;
        }
    };
    timeout(within, taking).await.unwrap_or(Err(Failure::Timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8]) -> Option<(String, String, usize)> {
        match find(bytes) {
            Found::Whole(Header::Proxied { client, local }, length) => {
                Some((client.to_string(), local.to_string(), length))
            }
            _ => None,
        }
    }

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [SIGNATURE_V2, &[command, family][..], &length, addresses].concat()
    }

    #[test]
    fn both_versions_tell_of_the_client_and_end_where_they_say() {
        let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 5678 443\r\nGET / HTTP/1.1\r\n";
        let want = ("192.0.2.7".to_owned(), "198.51.100.1:443".to_owned(), 44);
        assert_eq!(told(line), Some(want));
        let line = b"PROXY TCP6 2001:db8::7 2001:db8::1 5678 443\r\n";
        assert_eq!(told(line).unwrap().0, "2001:db8::7");
        let mut bytes = v2(0x21, 0x11, &[192, 0, 2, 7, 198, 51, 100, 1, 0, 9, 1, 187, 4, 0, 1, 0]);
        let length = bytes.len();
        bytes.extend_from_slice(b"GET");
        let want = ("192.0.2.7".to_owned(), "198.51.100.1:443".to_owned(), length);
        assert_eq!(told(&bytes), Some(want));
        let mapped = [[0; 10].as_slice(), &[255, 255, 192, 0, 2, 7], &[0; 16], &[0, 9, 1, 187]];
        assert_eq!(told(&v2(0x21, 0x21, &mapped.concat())).unwrap().0, "192.0.2.7");
    }

    #[test]
    fn a_proxy_that_speaks_for_itself_or_of_nobody_is_taken_at_its_word() {
        for bytes in [
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(),
            v2(0x20, 0x00, &[]),
            v2(0x20, 0x11, &[192, 0, 2, 7, 198, 51, 100, 1, 0, 9, 1, 187]),
            v2(0x21, 0x00, &[]),
            v2(0x21, 0x31, &[7; 216]),
        ] {
            assert_eq!(find(&bytes), Found::Whole(Header::Local, bytes.len()), "{bytes:?}");
        }
    }

    #[test]
    fn every_beginning_is_a_part_and_never_another_header() {
        let v2 = v2(0x21, 0x11, &[192, 0, 2, 7, 198, 51, 100, 1, 0, 9, 1, 187]);
        for whole in [&b"PROXY TCP4 192.0.2.7 198.51.100.1 5678 443\r\n"[..], &v2] {
            for end in 0..whole.len() {
                assert_eq!(find(&whole[..end]), Found::Part, "{end}");
            }
        }
    }

    #[test]
    fn what_is_no_header_or_a_broken_one_is_told_from_it() {
        for other in [&b"GET / HTTP/1.1\r\n"[..], b"PUT", b"\x16\x03\x01", b"\r\n\r\nG", b"proxy "]
        {
            assert_eq!(find(other), Found::Other, "{other:?}");
        }
        let long = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
        for broken in [
            &b"PROXY TCP4 192.0.2.7 198.51.100.1 5678\r\n"[..],
            b"PROXY TCP4 192.0.2.7 198.51.100.1 5678 443\n",
            b"PROXY TCP4 192.0.2.777 198.51.100.1 5678 443\r\n",
            b"PROXY TCP4 2001:db8::7 198.51.100.1 5678 443\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 5678 443 1\r\n",
            b"PROXY UDP4 192.0.2.7 198.51.100.1 5678 443\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
            b"PROXY \xff\r\n",
            &long,
            &v2(0x11, 0x11, &[0; 12]),
            &v2(0x22, 0x11, &[0; 12]),
            &v2(0x21, 0x11, &[0; 11]),
            &v2(0x21, 0x21, &[0; 12]),
            &[SIGNATURE_V2, &[0x21, 0x11, 0xff, 0xff][..]].concat(),
        ] {
            assert_eq!(find(broken), Found::Broken, "{broken:?}");
        }
    }
}
