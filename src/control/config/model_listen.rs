//! What a configuration says of listeners: `server.listen`, and the TLS of `admin.listen`.

use std::path::{Path, PathBuf};

use super::Listen;
use crate::http::connection::Protocol;
use crate::io::proxy::ProxyProtocol;

/// One of `server.listen`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where it accepts.
    pub address: Listen,
    /// How its connections are secured; `None`: in the clear.
    pub tls: Option<Tls>,
    /// What may be spoken over its connections; never empty.
    pub protocols: Vec<Protocol>,
    /// Whether a proxy in front tells by the PROXY protocol who has connected.
    pub proxy_protocol: ProxyProtocol,
}

impl Listener {
    /// In the clear.
    pub fn plain(address: Listen) -> Self {
        let protocols = vec![Protocol::Http2, Protocol::Http1];
        Self { address, tls: None, protocols, proxy_protocol: ProxyProtocol::Off }
    }
}

/// What names each listener over all configurations: its address, and a number where the kernel
/// chooses the ports of several.
pub fn listener_ids(listeners: &[Listener]) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    for listener in listeners {
        let address = listener.address.to_string();
        let with = |number: usize| match number {
            1 => address.clone(),
            number => format!("{address} ({number})"),
        };
        // One of so many numbers is free.
        let id = (1..=listeners.len()).map(with).find(|id| !ids.contains(id));
        ids.push(id.unwrap_or(address));
    }
    ids
}

/// `tls` of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Which certificates there are; never empty. The first is for whoever asks for none of them.
    pub certificates: Vec<CertificateFiles>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Whether clients prove who they are.
    pub client_auth: Option<ClientAuth>,
}

impl Tls {
    /// All files that it is made of.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let certificates = self.certificates.iter().flat_map(|files| {
            [Some(&files.cert), Some(&files.key), files.ocsp.as_ref()].into_iter().flatten()
        });
        let ca = self.client_auth.iter().map(|auth| &auth.ca);
        certificates.chain(ca).map(PathBuf::as_path)
    }
}

/// One of `certificates`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and those that lead from it to a root, in PEM.
    pub cert: PathBuf,
    /// Its key, in PEM and not encrypted.
    pub key: PathBuf,
    /// What its issuer says of it (OCSP, in DER), to be sent along.
    pub ocsp: Option<PathBuf>,
}

/// `clientAuth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuth {
    /// Who issues clients' certificates, in PEM.
    pub ca: PathBuf,
    /// Whether each client must have one.
    pub is_required: bool,
}

/// `minVersion`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246, with AEAD and forward secrecy alone.
    V1_2,
    /// RFC 8446.
    V1_3,
}

impl TlsVersion {
    /// As the configuration has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        }
    }
}
