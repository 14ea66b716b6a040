//! Whom the gateway trusts when it calls an origin or a Redis by TLS: the system's certificates, or
//! those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name. Read again with each configuration that
//! needs them.

mod origin;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest, Sha256};

pub use self::origin::unchecked;
use super::config::OriginTls;
use crate::upstream::tls::Tls;

/// The certificates of one configuration: read when the first origin needs them.
#[derive(Default)]
pub struct Trust {
    earlier: Option<Arc<Trusted>>,
    now: OnceLock<Result<Arc<Trusted>, String>>,
    /// Those of services that say so themselves, by what their files hold: with all sessions, and
    /// the same again as long as the files are.
    of_services: HashMap<[u8; 32], Arc<ClientConfig>>,
}

struct Trusted {
    digest: [u8; 32],
    roots: RootCertStore,
    /// For HTTP/1.1, which is asked for by name.
    http: Arc<ClientConfig>,
    /// For gRPC.
    http2: Arc<ClientConfig>,
    /// For protocols without a name to ask for.
    plain: Arc<ClientConfig>,
}

impl Trust {
    /// Begins another configuration: the certificates are read again, and kept with all sessions
    /// if they are the same.
    pub fn renew(&mut self) {
        if let Some(Ok(trusted)) = self.now.take() {
            self.earlier = Some(trusted);
        }
    }

    /// How to call a host by HTTP over TLS; why not, in words.
    pub fn tls(&self, host: &str) -> Result<Tls, String> {
        self.to(host, |trusted| &trusted.http)
    }

    /// How to call a target of a service that says how; why not, in words. Reads its files.
    pub fn origin(&mut self, host: &str, tls: &OriginTls) -> Result<Tls, String> {
        let host = tls.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host:?} cannot be the name in a certificate"))?;
        if tls.is_default() {
            return Ok(Tls { name, ..self.tls(host)? });
        }
        let files = origin::Files::read(tls)?;
        let system = || {
            let trusted = self.now.get_or_init(|| self.read());
            trusted.as_ref().map(|trusted| trusted.roots.clone()).map_err(String::clone)
        };
        let mut digest = files.digest();
        if files.needs_system() {
            // Where those change that the system trusts, it is another one.
            let trusted = self.now.get_or_init(|| self.read());
            let trusted = trusted.as_ref().map_err(String::clone)?;
            digest.iter_mut().zip(trusted.digest).for_each(|(ours, theirs)| *ours ^= theirs);
        }
        let config = match self.of_services.get(&digest) {
            Some(config) => Arc::clone(config),
            None => Arc::new(files.config(system)?),
        };
        self.of_services.insert(digest, Arc::clone(&config));
        Ok(Tls { config, name })
    }

    /// Forgets what no target is called by any more.
    pub fn trim(&mut self) {
        self.of_services.retain(|_, config| Arc::strong_count(config) > 1);
    }

    /// How to call a Redis by TLS; why not, in words.
    pub fn redis(&self, host: &str) -> Result<Tls, String> {
        self.to(host, |trusted| &trusted.plain)
    }

    /// How to call gRPC by TLS; why not, in words.
    pub fn grpc(&self, host: &str) -> Result<Tls, String> {
        self.to(host, |trusted| &trusted.http2)
    }

    fn to(&self, host: &str, pick: fn(&Trusted) -> &Arc<ClientConfig>) -> Result<Tls, String> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host:?} cannot be the name in a certificate"))?;
        let trusted = self.now.get_or_init(|| self.read());
        let trusted = trusted.as_ref().map_err(String::clone)?;
        Ok(Tls { config: Arc::clone(pick(trusted)), name })
    }

    fn read(&self) -> Result<Arc<Trusted>, String> {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!("trusted certificates: {error}");
        }
        let digest = digest(&found.certs);
        if let Some(earlier) = self.earlier.as_ref().filter(|earlier| earlier.digest == digest) {
            return Ok(Arc::clone(earlier));
        }
        let mut roots = RootCertStore::empty();
        let (added, ignored) = roots.add_parsable_certificates(found.certs);
        if ignored > 0 {
            tracing::warn!("trusted certificates: {ignored} of them cannot be read");
        }
        if added == 0 {
            return Err("no trusted certificates were found; install ca-certificates or point \
                        SSL_CERT_FILE to a file of them"
                .to_owned());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let plain = Arc::new(config.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Sessions are kept by the server's name alone: each protocol keeps its own.
        config.resumption = Resumption::default();
        let http = Arc::new(config.clone());
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = Resumption::default();
        Ok(Arc::new(Trusted { digest, roots, http, http2: Arc::new(config), plain }))
    }
}

fn digest(certs: &[CertificateDer<'_>]) -> [u8; 32] {
    let mut digest = Sha256::new();
    certs.iter().for_each(|cert| digest.update(cert));
    digest.finalize().into()
}
