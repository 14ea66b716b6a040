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

impl Tls {
    /// Shakes hands over a new connection.
    pub async fn connect(&self, tcp: TcpStream) -> Result<TlsStream, Error> {
        let session = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        let session = session.map_err(|error| Error::TlsFailed(reason::of(Some(&error))))?;
        TlsStream::handshake(tcp, session.into())
            .await
            .map_err(|error| Error::TlsFailed(reason::of(cause(&error))))
    }
}

/// Why a handshake failed, in words; `None` if the connection did.
pub fn reason(error: &io::Error) -> Option<&'static str> {
    cause(error).map(|cause| reason::of(Some(cause)))
}

fn cause(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}
