//! What is known of a client's connection: the same for every exchange over it, whatever the
//! protocol. Made by the room of listeners; nothing below them assumes how a client came.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub use crate::io::tls::server::{ClientCertificate, TlsFacts};

/// The facts of a connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Who has connected: the other end, or whom a trusted proxy names by the PROXY protocol.
    pub client: IpAddr,
    /// The other end of the socket; loopback for a Unix socket.
    pub peer: IpAddr,
    /// The client's port; 0 where it is not known (Unix sockets, the PROXY protocol).
    pub client_port: u16,
    /// Tells it from the worker's other connections. Counts from 1; 0: of a tool.
    pub id: u64,
    /// Where the client has connected to; `None` for a Unix socket.
    pub local: Option<SocketAddr>,
    /// Whether it came by TLS.
    pub scheme: Scheme,
    /// What is spoken over it.
    pub protocol: Protocol,
    /// Whether HTTP/2 may begin on it without having been agreed on (RFC 9113 section 3.3).
    pub takes_http2: bool,
    /// What the handshake has agreed on; `None` without TLS. Boxed: most of it is of a connection
    /// that has it.
    pub tls: Option<Box<TlsFacts>>,
}

impl Connection {
    /// Nobody's: for tools whose requests come over no connection.
    pub const NONE: &Self = &Self::plain(IpAddr::V4(Ipv4Addr::UNSPECIFIED));

    /// A connection in the clear, of HTTP/1, from this address.
    pub const fn plain(peer: IpAddr) -> Self {
        Self {
            client: peer,
            peer,
            client_port: 0,
            id: 0,
            local: None,
            scheme: Scheme::Http,
            protocol: Protocol::Http1,
            takes_http2: true,
            tls: None,
        }
    }
}

/// Who asks in one exchange, and how: as the connection says, or, where that is a trusted proxy's,
/// as the request does.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The client's address.
    pub ip: IpAddr,
    /// How the client came.
    pub scheme: Scheme,
    /// The connection that the request came over.
    pub connection: &'a Connection,
}

impl<'a> Asker<'a> {
    /// Whoever has connected.
    pub fn of(connection: &'a Connection) -> Self {
        Self { ip: connection.client, scheme: connection.scheme, connection }
    }
}

/// How a client has come, or an origin is spoken to, as URLs say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Scheme {
    /// In the clear.
    #[default]
    Http,
    /// By TLS.
    Https,
}

impl Scheme {
    /// Its name in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that a URL without one means.
    pub const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// What is spoken over a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.1, or 1.0.
    #[default]
    Http1,
    /// HTTP/2.
    Http2,
}

impl Protocol {
    /// Its name as start lines have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }

    /// Its name in ALPN (RFC 7301, IANA's registry) and in the configuration.
    pub const fn alpn(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
        }
    }
}
