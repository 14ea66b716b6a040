//! How the targets of one service are called by TLS, where its `tls` says so: by whom their
//! certificates are signed, under which name, and what the gateway shows of its own.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};

use crate::control::config::OriginTls;
use crate::files;
use crate::limits::TLS_FILE_BYTES_MAX;

/// What the files of a service's `tls` hold.
pub(super) struct Files {
    ca: Option<Vec<u8>>,
    cert: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
    is_insecure: bool,
    alpn: Vec<Vec<u8>>,
}

impl Files {
    /// Reads them; why not, in words.
    pub(super) fn read(tls: &OriginTls) -> Result<Self, String> {
        let read = |path: &Option<std::path::PathBuf>| {
            let read = |path: &std::path::PathBuf| {
                let read = files::read(path, TLS_FILE_BYTES_MAX);
                read.map_err(|why| format!("{}: {why}", path.display()))
            };
            path.as_ref().map(read).transpose()
        };
        Ok(Self {
            ca: read(&tls.ca)?,
            cert: read(&tls.cert)?,
            key: read(&tls.key)?,
            is_insecure: tls.is_insecure,
            alpn: tls.protocols().iter().map(|one| one.alpn().as_bytes().to_vec()).collect(),
        })
    }

    /// Whether it goes by those whom the system trusts.
    pub(super) fn needs_system(&self) -> bool {
        self.ca.is_none() && !self.is_insecure
    }

    /// Tells it from others, whatever the files are called.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for file in [&self.ca, &self.cert, &self.key] {
            let file = file.as_deref().unwrap_or_default();
            digest.update((file.len() as u64).to_le_bytes());
            digest.update(file);
        }
        digest.update([u8::from(self.is_insecure)]);
        self.alpn.iter().for_each(|name| digest.update(name));
        digest.finalize().into()
    }

    /// The configuration of rustls; `system` are those whom the system trusts.
    pub(super) fn config(
        &self,
        system: impl FnOnce() -> Result<RootCertStore, String>,
    ) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?;
        let builder = match (&self.ca, self.is_insecure) {
            (_, true) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Unchecked { provider })),
            (Some(ca), false) => builder.with_root_certificates(roots(ca)?),
            (None, false) => builder.with_root_certificates(system()?),
        };
        let mut config = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let chain = certificates(cert, "tls.cert")?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|error| format!("tls.key has no private key in PEM: {error}"))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| format!("tls.cert and tls.key do not fit: {error}"))?
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(config)
    }
}

/// Takes any certificate, and shows none.
///
/// # Errors
/// TLS cannot be set up, in words.
pub fn unchecked() -> Result<ClientConfig, String> {
    let files = Files {
        ca: None,
        cert: None,
        key: None,
        is_insecure: true,
        alpn: vec![b"http/1.1".to_vec()],
    };
    files.config(|| Ok(RootCertStore::empty()))
}

fn certificates(pem: &[u8], key: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| format!("{key} cannot be read as PEM: {error}"))?;
    if all.is_empty() { Err(format!("{key} has no certificate in PEM")) } else { Ok(all) }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, "tls.ca")? {
        roots.add(certificate).map_err(|error| format!("tls.ca: {error}"))?;
    }
    Ok(roots)
}

/// Takes any certificate: `insecure: true`. That the other end has its key is checked.
#[derive(Debug)]
struct Unchecked {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
