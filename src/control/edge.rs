//! The listeners of a configuration in the machine's form: certificates read and held against
//! their keys, sessions that go on over reloads.
//!
//! Control thread. A certificate that does not fit refuses the configuration, so that the last good
//! one stays; nothing that is said of a key tells what is in it.

mod files;
mod resolver;
mod tickets;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{
    ProducesTickets, ServerSessionMemoryCache, StoresServerSessions, WebPkiClientVerifier,
};
use rustls::{CipherSuite, RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::resolver::ByName;
use self::tickets::{TicketKey, Tickets};
use super::compile::Findings;
use super::config::{self, Config, TlsVersion};
use crate::http::connection::Protocol;
use crate::io::tls::certificate::Certificate;
use crate::io::tls::server::Offer;
use crate::limits::TLS_SESSIONS_MAX;
use crate::snapshot::{Listener, ServerTls};

/// What listeners keep from one configuration to the next.
#[derive(Default)]
pub struct Edge {
    /// By what a client has proved in a session: by whose certificates, and whether it had to.
    sessions: HashMap<Proved, Sessions>,
    /// Keys of the process before, for sessions that no listener has had here yet.
    inherited: HashMap<Proved, Vec<TicketKey>>,
    shared: Arc<SharedTickets>,
}

/// What a client has proved in a session.
type Proved = [u8; 32];

/// The keys of the tickets of some sessions, as the next process gets them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldTickets {
    proved: Proved,
    keys: Vec<TicketKey>,
}

/// All keys of tickets, for who starts the next process.
#[derive(Debug, Default)]
pub struct SharedTickets(ArcSwap<Vec<(Proved, Arc<Tickets>)>>);

impl SharedTickets {
    /// The keys as they are now.
    pub fn told(&self) -> Vec<ToldTickets> {
        let all = self.0.load();
        let told = all.iter().map(|(proved, tickets)| (*proved, tickets.told()));
        told.map(|(proved, keys)| ToldTickets { proved, keys }).collect()
    }

    fn add(&self, proved: Proved, tickets: &Arc<Tickets>) {
        self.0.rcu(|all| {
            let mut all = Vec::clone(all);
            all.push((proved, Arc::clone(tickets)));
            all
        });
    }
}

/// Sessions that can go on: a client that comes back to another worker, another certificate or
/// another listener makes no new signature necessary.
#[derive(Clone)]
struct Sessions {
    /// `None`: the system has no randomness; then nothing is resumed.
    tickets: Option<Arc<Tickets>>,
    /// For TLS 1.2 without tickets.
    ids: Arc<dyn StoresServerSessions>,
}

impl Sessions {
    fn new(told: &[TicketKey]) -> Self {
        let tickets = Tickets::new(told).map(Arc::new);
        Self { tickets, ids: ServerSessionMemoryCache::new(TLS_SESSIONS_MAX) }
    }
}

impl Edge {
    /// Goes on with the tickets of the process before.
    pub fn inherit(&mut self, told: Vec<ToldTickets>) {
        self.inherited = told.into_iter().map(|told| (told.proved, told.keys)).collect();
    }

    /// All keys of tickets, those of later listeners too.
    pub fn tickets(&self) -> Arc<SharedTickets> {
        Arc::clone(&self.shared)
    }

    fn sessions(&mut self, proved: Proved) -> &Sessions {
        let Self { sessions, inherited, shared } = self;
        sessions.entry(proved).or_insert_with(|| {
            let sessions = Sessions::new(&inherited.remove(&proved).unwrap_or_default());
            if let Some(tickets) = &sessions.tickets {
                shared.add(proved, tickets);
            }
            sessions
        })
    }

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
        let provider = Arc::new(provider());
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
        let as_asked = self
            .config(tls, protocols, &loaded, provider)
            .map_err(|reason| findings.refusals.push(format!("{key}.tls.{reason}")))
            .ok()?;
        let is_whole = loaded.len() == tls.certificates.len();
        let certificates: Vec<(String, Certificate)> =
            loaded.into_iter().map(|(file, found)| (file, found.certificate)).collect();
        let mut usual = as_asked.clone();
        usual.ignore_client_order = true;
        let offer = Offer { usual: Arc::new(usual), as_asked: Arc::new(as_asked) };
        is_whole.then(|| Arc::new(ServerTls { offer, certificates }))
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
        let sessions = self.sessions(proved.finalize().into());
        if let Some(tickets) = &sessions.tickets {
            config.ticketer = Arc::<Tickets>::clone(tickets) as Arc<dyn ProducesTickets>;
        }
        config.session_storage = Arc::clone(&sessions.ids);
        config.alpn_protocols =
            protocols.iter().map(|protocol| protocol.alpn().as_bytes().to_vec()).collect();
        // Never: what comes before the handshake ends may be sent again by anybody.
        config.max_early_data_size = 0;
        Ok(config)
    }
}

/// The cryptography that clients are served by, AES-128 first.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| !is_aes_128(suite.suite()));
    provider
}

fn is_aes_128(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
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
