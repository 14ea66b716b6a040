//! A request to go on with another protocol on the connection, or the stream, that it came by
//! (RFC 9110 section 7.8, RFC 8441), and the halves of what both sides go on with: bytes as they
//! are.

use crate::error::Error;
use crate::http::message::is_token;
use crate::io::buffer::Chunk;

/// Longest value of `Upgrade` that is looked at, in bytes: names of some protocols.
const PROTOCOLS_BYTES_MAX: usize = 256;

/// What a client wants to go on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The names of protocols, with commas between them, as the client prefers them.
    pub protocols: String,
    /// It asks by an extended CONNECT (RFC 8441), for one protocol.
    pub is_connect: bool,
}

impl Upgrade {
    /// That of an `Upgrade` field; `None` if it is no list of protocols.
    pub fn of_field(value: &[u8]) -> Option<Box<Self>> {
        let protocols = std::str::from_utf8(value).ok()?;
        let is_protocol = |one: &str| one.split('/').all(|part| is_token(part.as_bytes()));
        let is_list = value.len() <= PROTOCOLS_BYTES_MAX
            && protocols.split(',').all(|one| is_protocol(one.trim_matches([' ', '\t'])));
        is_list.then(|| Box::new(Self { protocols: protocols.to_owned(), is_connect: false }))
    }

    /// That of a `:protocol`; `None` if it is none.
    pub fn of_connect(value: &[u8]) -> Option<Box<Self>> {
        let protocol = std::str::from_utf8(value).ok()?;
        let is_one = value.len() <= PROTOCOLS_BYTES_MAX && is_token(value);
        is_one.then(|| Box::new(Self { protocols: protocol.to_owned(), is_connect: true }))
    }

    /// Its protocols, as it prefers them.
    pub fn protocols(&self) -> impl Iterator<Item = &str> {
        self.protocols.split(',').map(|one| one.trim_matches([' ', '\t']))
    }
}

/// The half of a side that bytes come from.
pub trait TunnelSource {
    /// Whether `next_raw` has something without waiting.
    fn has_raw(&self) -> bool;
    /// The next piece; `None` at the end. Waits without a buffer. Dropping the future gives the
    /// side up.
    fn next_raw(&mut self) -> impl Future<Output = Result<Option<Chunk>, Error>>;
}

/// The half of a side that bytes go to.
pub trait TunnelSink {
    /// Takes a piece; it may stay pending until `flush_raw`.
    fn write_raw(&mut self, chunk: Chunk) -> impl Future<Output = Result<(), Error>>;
    /// Writes what is pending, and holds no buffer then.
    fn flush_raw(&mut self) -> impl Future<Output = Result<(), Error>>;
    /// Says that nothing more comes; the other direction goes on.
    fn end_raw(&mut self) -> impl Future<Output = Result<(), Error>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_list_of_protocols_is_no_upgrade() {
        let list = |value: &str| {
            let upgrade = Upgrade::of_field(value.as_bytes())?;
            Some(upgrade.protocols().map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(list("websocket").unwrap(), ["websocket"]);
        assert_eq!(list("h2c, \tWebSocket,TLS/1.0").unwrap(), ["h2c", "WebSocket", "TLS/1.0"]);
        for odd in ["", ",", "websocket,", "web socket", "a/", "\"websocket\"", "ws\u{e4}"] {
            assert_eq!(list(odd), None, "{odd}");
        }
        assert_eq!(list(&"a".repeat(257)), None);
        assert!(Upgrade::of_connect(b"websocket").is_some_and(|upgrade| upgrade.is_connect));
        assert_eq!(Upgrade::of_connect(b"websocket, h2c"), None);
    }
}
