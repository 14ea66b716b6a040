//! TLS to an origin: whom to trust, under which name, and why a handshake failed.

mod reason;

use std::hash::{Hash, Hasher};
use std::io;
use std::sync::Arc;

use crate::io::runtime::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::error::Error;
use crate::io::tls::TlsStream;

/// How the connections to one origin are secured.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Whom to trust. Made by the control thread, one for all origins.
    pub config: Arc<ClientConfig>,
    /// The name, or address, that the origin's certificate must be for.
    pub name: ServerName<'static>,
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config) && self.name == other.name
    }
}

impl Eq for Tls {}

impl Hash for Tls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// What is spoken to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// HTTP/1.
    Http1,
    /// HTTP/2.
    Http2,
    /// Either, as each of its connections agrees on.
    Agreed,
}

/// The name of HTTP/2 (ALPN).
const HTTP2: &[u8] = b"h2";

impl Tls {
    /// What is offered to be spoken.
    pub fn spoken(&self) -> Spoken {
        match &self.config.alpn_protocols[..] {
            [one] if one == HTTP2 => Spoken::Http2,
            several if several.iter().any(|one| one == HTTP2) => Spoken::Agreed,
            _ => Spoken::Http1,
        }
    }

    /// Shakes hands over a new connection.
    pub async fn connect(&self, tcp: TcpStream) -> Result<TlsStream, Error> {
        let session = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        let session = session.map_err(|error| Error::TlsFailed(reason::of(Some(&error))))?;
        let stream = TlsStream::handshake(tcp, session.into())
            .await
            .map_err(|error| Error::TlsFailed(reason::of(cause(&error))))?;
        // One that knows no ALPN would go on with HTTP/1.
        match self.spoken() == Spoken::Http2 && !is_http2(&stream) {
            true => Err(Error::TlsFailed("upstream does not speak HTTP/2 (tls.alpn asks for it)")),
            false => Ok(stream),
        }
    }
}

/// Whether HTTP/2 was agreed on.
pub fn is_http2(stream: &TlsStream) -> bool {
    stream.alpn().as_deref() == Some(HTTP2)
}

/// Why a handshake failed, in words; `None` if the connection did.
pub fn reason(error: &io::Error) -> Option<&'static str> {
    cause(error).map(|cause| reason::of(Some(cause)))
}

fn cause(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}
