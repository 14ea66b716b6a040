//! The listeners of a configuration in the machine's form: certificates read and held against
//! their keys, sessions that go on over reloads.
//!
//! Control thread. A certificate that does not fit refuses the configuration, so that the last good
//! one stays; nothing that is said of a key tells what is in it.

mod files;
mod resolver;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{
    ProducesTickets, ServerSessionMemoryCache, StoresServerSessions, WebPkiClientVerifier,
};
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};

use self::resolver::ByName;
use super::compile::Findings;
use super::config::{self, Config, TlsVersion};
use crate::http::connection::Protocol;
use crate::io::tls::certificate::Certificate;
use crate::limits::TLS_SESSIONS_MAX;
use crate::snapshot::{Listener, ServerTls};

/// What listeners keep from one configuration to the next.
#[derive(Default)]
pub struct Edge {
    /// By what a client has proved in a session: by whose certificates, and whether it had to.
    sessions: HashMap<[u8; 32], Sessions>,
}

/// Sessions that can go on: a client that comes back to another worker, another certificate or
/// another listener makes no new signature necessary.
#[derive(Clone)]
struct Sessions {
    /// Makes and reads tickets; its keys are changed every six hours and read for twice as long.
    tickets: Option<Arc<dyn ProducesTickets>>,
    /// For TLS 1.2 without tickets.
    ids: Arc<dyn StoresServerSessions>,
}

impl Sessions {
    fn new() -> Self {
        // The system has no randomness: then nothing is resumed.
        let tickets = aws_lc_rs::Ticketer::new().ok();
        Self { tickets, ids: ServerSessionMemoryCache::new(TLS_SESSIONS_MAX) }
    }
}

impl Edge {
    /// All of `server.listen`.
    pub fn listeners(&mut self, config: &Config, findings: &mut Findings) -> Vec<Arc<Listener>> {
        let configured = &config.server.listen;
        let mut listeners = Vec::new();
        for (index, (listener, id)) in
            configured.iter().zip(config::listener_ids(configured)).enumerate()
        {
            let key = format!("{}: server.listen[{index}]", config.file);
            let protocols = &listener.protocols;
            let tls = listener.tls.as_ref().map(|tls| self.tls(tls, protocols, &key, findings));
            listeners.push(Arc::new(Listener {
                id,
                tls: tls.flatten(),
                protocols: protocols.clone(),
                proxy_protocol: listener.proxy_protocol,
            }));
        }
        listeners
    }

    /// The admin API's.
    pub fn admin(&mut self, config: &Config, findings: &mut Findings) -> Option<Arc<ServerTls>> {
        let key = format!("{}: admin.listen", config.file);
        self.tls(config.admin.tls.as_ref()?, &[Protocol::Http1], &key, findings)
    }

    /// `None`: it does not fit, which is among the refusals.
    fn tls(
        &mut self,
        tls: &config::Tls,
        protocols: &[Protocol],
        key: &str,
        findings: &mut Findings,
    ) -> Option<Arc<ServerTls>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut loaded = Vec::new();
        for (index, files) in tls.certificates.iter().enumerate() {
            let key = format!("{key}.tls.certificates[{index}]");
            match files::load(files, &provider) {
                Ok(found) => {
                    let warnings = files::doubts(files, &found, now());
                    findings.warnings.extend(warnings.map(|doubt| format!("{key}.{doubt}")));
                    loaded.push((files.cert.display().to_string(), found));
                }
                Err(reason) => findings.refusals.push(format!("{key}.{reason}")),
            }
        }
        let config = self
            .config(tls, protocols, &loaded, provider)
            .map_err(|reason| findings.refusals.push(format!("{key}.tls.{reason}")))
            .ok()?;
        let is_whole = loaded.len() == tls.certificates.len();
        let certificates: Vec<(String, Certificate)> =
            loaded.into_iter().map(|(file, found)| (file, found.certificate)).collect();
        is_whole.then(|| Arc::new(ServerTls { config: Arc::new(config), certificates }))
    }

    fn config(
        &mut self,
        tls: &config::Tls,
        protocols: &[Protocol],
        loaded: &[(String, files::Loaded)],
        provider: Arc<CryptoProvider>,
    ) -> Result<ServerConfig, String> {
        let versions: &[&rustls::SupportedProtocolVersion] = match tls.min_version {
            TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::V1_3 => &[&rustls::version::TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|error| format!("minVersion: {error}"))?;
        let mut proved = Sha256::new();
        let builder =
            match &tls.client_auth {
                None => builder.with_no_client_auth(),
                Some(auth) => {
                    let (roots, bytes) = files::roots(&auth.ca)?;
                    proved.update([1, u8::from(auth.is_required)]);
                    proved.update(&bytes);
                    let verifier = verifier(roots, auth.is_required, provider);
                    builder.with_client_cert_verifier(verifier.map_err(|error| {
                        format!("clientAuth.ca: {}: {error}", auth.ca.display())
                    })?)
                }
            };
        let keys = loaded.iter().map(|(_, found)| (&found.certificate.hosts, &found.key));
        let mut config = builder.with_cert_resolver(Arc::new(ByName::new(keys)));
        let sessions = self.sessions.entry(proved.finalize().into()).or_insert_with(Sessions::new);
        if let Some(tickets) = &sessions.tickets {
            config.ticketer = Arc::clone(tickets);
        }
        config.session_storage = Arc::clone(&sessions.ids);
        config.alpn_protocols =
            protocols.iter().map(|protocol| protocol.alpn().as_bytes().to_vec()).collect();
        // Never: what comes before the handshake ends may be sent again by anybody.
        config.max_early_data_size = 0;
        Ok(config)
    }
}

fn verifier(
    roots: RootCertStore,
    is_required: bool,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, String> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if is_required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| error.to_string())
}

/// Seconds since 1970.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
