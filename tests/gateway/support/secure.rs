//! Clients that speak TLS, and certificates made on the spot.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, SignatureAlgorithm,
};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::wire::Wire;
use super::{PATIENCE, Response, TempDir};

/// Issues certificates.
pub struct Issuer {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What a certificate is made by.
pub struct Leaf<'a> {
    pub hosts: &'a [&'a str],
    pub subject: &'a str,
    pub algorithm: &'static SignatureAlgorithm,
    /// Days until it ends; negative: it has.
    pub days: i64,
}

impl Default for Leaf<'_> {
    fn default() -> Self {
        let algorithm = &rcgen::PKCS_ECDSA_P256_SHA256;
        Self { hosts: &["localhost"], subject: "leaf", algorithm, days: 2 }
    }
}

impl Issuer {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        Self { issuer: CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate and its key, in PEM.
    pub fn issue(&self, leaf: &Leaf<'_>) -> (String, String) {
        let hosts: Vec<String> = leaf.hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, leaf.subject);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let now = std::time::SystemTime::now();
        let day = std::time::Duration::from_secs(24 * 60 * 60);
        let days = u32::try_from(leaf.days.unsigned_abs()).unwrap();
        params.not_before = (now - 30 * day).into();
        params.not_after = if leaf.days < 0 { now - days * day } else { now + days * day }.into();
        let key = KeyPair::generate_for(leaf.algorithm).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// The same as files `NAME.pem` and `NAME.key`; how a configuration names them.
    pub fn write(&self, dir: &TempDir, name: &str, leaf: &Leaf<'_>) -> String {
        let (certificate, key) = self.issue(leaf);
        let cert = replace(dir, &format!("{name}.pem"), &certificate);
        let key = replace(dir, &format!("{name}.key"), &key);
        format!("{{cert: {}, key: {}}}", cert.display(), key.display())
    }
}

/// Writes a file that only its owner reads, in the place of what was there.
pub fn replace(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let new = dir.write(&format!("{name}.new"), text);
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
    let path = dir.path().join(name);
    std::fs::rename(new, &path).unwrap();
    path
}

/// How a client shakes hands. Clones share their sessions.
#[derive(Clone)]
pub struct Shaker(pub Arc<ClientConfig>);

impl Shaker {
    /// Trusts an issuer; changes what else there is.
    pub fn trusting(issuer: &Issuer, change: impl FnOnce(&mut ClientConfig)) -> Self {
        Self::with(issuer, None, change)
    }

    /// The same, with a certificate of its own (and its key).
    pub fn with(
        issuer: &Issuer,
        own: Option<(String, String)>,
        change: impl FnOnce(&mut ClientConfig),
    ) -> Self {
        Self::of_versions(issuer, own, rustls::ALL_VERSIONS, change)
    }

    pub fn of_versions(
        issuer: &Issuer,
        own: Option<(String, String)>,
        versions: &[&'static rustls::SupportedProtocolVersion],
        change: impl FnOnce(&mut ClientConfig),
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(issuer.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
                let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.resumption = Resumption::in_memory_sessions(64);
        change(&mut config);
        Self(Arc::new(config))
    }

    /// Connects and shakes hands; the error as it comes.
    pub fn try_connect(&self, addr: SocketAddr, host: &str) -> std::io::Result<Secure> {
        let tcp = TcpStream::connect_timeout(&addr, PATIENCE)?;
        self.over(tcp, host)
    }

    pub fn over(&self, tcp: TcpStream, host: &str) -> std::io::Result<Secure> {
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let session = ClientConnection::new(self.0.clone(), name).unwrap();
        let mut stream = StreamOwned::new(session, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Secure { wire: Wire::new(stream) })
    }

    pub fn connect(&self, addr: SocketAddr, host: &str) -> Secure {
        self.try_connect(addr, host).unwrap()
    }
}

/// A connection by TLS.
pub struct Secure {
    pub wire: Wire<StreamOwned<ClientConnection, TcpStream>>,
}

impl Secure {
    pub fn session(&self) -> &ClientConnection {
        &self.wire.stream.conn
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.wire.stream.write_all(bytes.as_ref());
        let _ = self.wire.stream.flush();
    }

    pub fn get(&mut self, path: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        self.response()
    }

    pub fn try_get(&mut self, path: &str) -> Option<Response> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        self.try_response()
    }

    pub fn response(&mut self) -> Response {
        self.try_response().unwrap()
    }

    pub fn try_response(&mut self) -> Option<Response> {
        let head = self.wire.head().ok()?;
        let status = head.status().ok()?;
        let framing = head.response_framing("GET").ok()?;
        let mut body = Vec::new();
        let trailers = self.wire.body(framing, |piece| body.extend_from_slice(piece)).ok()?;
        Some(Response { status, head, framing, body, trailers })
    }

    /// All that comes until the end, and whether the end was said (`close_notify`).
    pub fn rest(&mut self) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        let outcome = self.wire.stream.read_to_end(&mut bytes);
        (bytes, outcome.is_ok())
    }

    /// The host's certificate, by its first alternative name.
    pub fn certificate(&self) -> Vec<u8> {
        self.session().peer_certificates().unwrap()[0].to_vec()
    }
}

/// The bytes of the first certificate of a file.
pub fn der(path: &Path) -> Vec<u8> {
    CertificateDer::from_pem_file(path).unwrap().to_vec()
}
