//! TLS to an origin: whom to trust, under which name, and why a handshake failed.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::io::runtime::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, ClientConnection};

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
        let session = session.map_err(|error| reason(Some(&error)))?;
        TlsStream::handshake(tcp, session.into())
            .await
            .map_err(|error| reason(error.get_ref().and_then(|error| error.downcast_ref())))
    }
}

/// In words that lead to the cause: whoever reads them cannot see the other side's log.
fn reason(cause: Option<&rustls::Error>) -> Error {
    Error::TlsFailed(match cause {
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            CertificateError::UnknownIssuer => {
                "upstream's certificate is signed by nobody whom this machine trusts \
                 (SSL_CERT_FILE, SSL_CERT_DIR or the system's certificates)"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "upstream's certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "upstream's certificate is not valid yet"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "upstream's certificate is for another name"
            }
            CertificateError::Revoked => "upstream's certificate was revoked",
            _ => "upstream's certificate is not valid",
        },
        Some(rustls::Error::AlertReceived(_)) => "upstream refused the TLS handshake",
        Some(rustls::Error::PeerIncompatible(_)) => {
            "upstream speaks neither TLS 1.2 nor TLS 1.3 with a cipher that is allowed"
        }
        Some(rustls::Error::InvalidMessage(_)) => "upstream does not speak TLS on this port",
        Some(_) => "TLS handshake with the upstream failed",
        None => "upstream closed the connection during the TLS handshake",
    })
}
