//! A client of etcd: the few calls that a fleet needs, over one connection at a time.
//!
//! tonic carries the calls; the messages are written out (`messages`), because the crates that have
//! them made need protoc on each machine that builds. One member is asked at a time. A call that
//! fails by the connection closes it, and the next call goes to the next member: who calls decides
//! whether to call again ([`Etcd::patient`] asks the others for what may be asked twice). A member
//! that hangs takes connections and never answers: each one has to answer before it counts.

pub mod messages;
mod watch;

use std::time::Duration;

use tonic::Code;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{AsciiMetadataValue, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use self::messages as m;
use crate::control::config;
use crate::files;
use crate::limits::{
    FLEET_ANSWER_BYTES_MAX, FLEET_CALL_TIMEOUT, FLEET_CONNECT_TIMEOUT, FLEET_LOOK_TIMEOUT,
    TLS_FILE_BYTES_MAX,
};

pub use watch::{Told, Watch};

/// Why a call was not answered as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// No member answers, or none that could: later one may. Whether it was done is not known.
    Away(String),
    /// etcd does not want to: no room, no right, no such thing.
    Refused(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Away(why) | Self::Refused(why) => f.write_str(why),
        }
    }
}

/// Calls etcd.
pub struct Etcd {
    config: config::Etcd,
    /// Which member is asked.
    at: usize,
    /// The one that was connected last.
    last: usize,
    /// How many members are asked before what may be asked twice has failed.
    attempts: usize,
    open: Option<Connection>,
}

#[derive(Clone)]
struct Connection {
    channel: Channel,
    token: Option<AsciiMetadataValue>,
}

impl Etcd {
    /// Nothing is connected yet. `first` says which member is asked first, so that not all nodes
    /// ask the same one.
    pub fn new(config: config::Etcd, first: usize) -> Self {
        let at = first % config.endpoints.len().max(1);
        Self { config, at, last: at, attempts: 1, open: None }
    }

    /// Asks every member, if need be, before a read has failed: for a command, which has nobody
    /// who would call again.
    pub fn patient(mut self) -> Self {
        self.attempts = self.config.endpoints.len().max(2);
        self
    }

    /// Another caller over the same connection.
    pub fn share(&self) -> Self {
        Self { config: self.config.clone(), open: self.open.clone(), ..*self }
    }

    /// How etcd is called.
    pub fn config(&self) -> &config::Etcd {
        &self.config
    }

    /// The member that is asked.
    pub fn member(&self) -> String {
        self.config.endpoints.get(self.at).map(ToString::to_string).unwrap_or_default()
    }

    /// Leaves the member that is asked for the next one.
    pub fn leave(&mut self) {
        self.open = None;
        self.at = (self.at + 1) % self.config.endpoints.len().max(1);
    }

    /// Who is asked first after this connection: not the member that it was to.
    pub fn next_turn(&self) -> usize {
        self.last + 1
    }

    /// Connects to the first member that takes a connection, from the one whose turn it is.
    ///
    /// # Errors
    /// None does, or it refuses the user.
    pub async fn connect(&mut self) -> Result<(), Failure> {
        let mut reasons = Vec::new();
        for _ in 0..self.config.endpoints.len() {
            match self.connection().await {
                Ok(_) => return Ok(()),
                Err(failure @ Failure::Refused(_)) => return Err(failure),
                Err(Failure::Away(why)) => reasons.push(why),
            }
        }
        Err(Failure::Away(reasons.join("; ")))
    }

    async fn connection(&mut self) -> Result<Connection, Failure> {
        if let Some(open) = &self.open {
            return Ok(open.clone());
        }
        let member = self.member();
        let away = |why: String| Failure::Away(format!("{member}: {why}"));
        let endpoint = self.endpoint().await.map_err(away)?;
        let connecting = async {
            let channel = endpoint.connect().await.map_err(|error| chain(&error))?;
            let connection = Connection { channel, token: None };
            self.ask_little(&connection).await.map_err(|status| chain(&status))?;
            Ok(connection)
        };
        let connected = tokio::time::timeout(FLEET_CONNECT_TIMEOUT, connecting).await;
        let connected = connected
            .unwrap_or_else(|_| Err(format!("no answer within {FLEET_CONNECT_TIMEOUT:?}")));
        let mut connection = connected.map_err(away).inspect_err(|_| self.leave())?;
        self.last = self.at;
        if let Some((name, password)) = self.config.user.clone() {
            let password = password.reveal().to_owned();
            let request = m::AuthenticateRequest { name, password };
            let path = "/etcdserverpb.Auth/Authenticate";
            let answer: Result<m::AuthenticateResponse, _> =
                unary(&connection, path, request).await;
            let answer = answer.map_err(|status| self.judge(&status))?;
            let token = MetadataValue::try_from(answer.token)
                .map_err(|_| Failure::Refused(format!("{member}: its token is no text")))?;
            connection.token = Some(token);
        }
        self.open = Some(connection.clone());
        Ok(connection)
    }

    async fn endpoint(&self) -> Result<Endpoint, String> {
        let Some(member) = self.config.endpoints.get(self.at) else {
            return Err("no endpoints".to_owned());
        };
        let endpoint = Endpoint::from_shared(member.to_string())
            .map_err(|error| error.to_string())?
            .connect_timeout(FLEET_CONNECT_TIMEOUT)
            .tcp_nodelay(true);
        if !member.is_secure {
            return Ok(endpoint);
        }
        let tls = self.config.tls.clone();
        let host = member.host.clone();
        let tls = tokio::task::spawn_blocking(move || tls_config(&tls, host)).await;
        let tls = tls.map_err(|_| "reading its certificates panicked".to_owned())??;
        endpoint.tls_config(tls).map_err(|error| chain(&error))
    }

    /// Asks one thing.
    ///
    /// # Errors
    /// Why there is no answer. Away: the next call goes to another member.
    pub async fn call<Q, A>(&mut self, path: &'static str, request: Q) -> Result<A, Failure>
    where
        Q: prost::Message + Clone + 'static,
        A: prost::Message + Default + 'static,
    {
        let connection = self.connection().await?;
        let answer = unary(&connection, path, request.clone()).await;
        let answer = match answer {
            // The token has grown old, or etcd has forgotten it: nothing was done.
            Err(status) if is_old_token(&status) && self.config.user.is_some() => {
                self.open = None;
                let connection = self.connection().await?;
                unary(&connection, path, request).await
            }
            answer => answer,
        };
        answer.map_err(|status| self.judge(&status))
    }

    /// One small question that a member answers by itself. A refusal is an answer, too.
    async fn ask_little(&self, connection: &Connection) -> Result<(), tonic::Status> {
        let key = format!("{}/live/current", self.config.prefix).into_bytes();
        let request = m::RangeRequest { key, serializable: true, ..m::RangeRequest::default() };
        let answer: Result<m::RangeResponse, _> = unary(connection, RANGE, request).await;
        match answer {
            // What a member says has no source: that is of what happens here.
            Err(status) if std::error::Error::source(&status).is_some() => Err(status),
            _ => Ok(()),
        }
    }

    fn judge(&mut self, status: &tonic::Status) -> Failure {
        let member = self.member();
        let words = status.message();
        let words = words.strip_prefix("etcdserver: ").unwrap_or(words);
        match status.code() {
            Code::ResourceExhausted if words.contains("space exceeded") => {
                Failure::Refused(format!(
                    "{member}: its database is full ({words}); compact and defragment it, then \
                 etcdctl alarm disarm"
                ))
            }
            Code::ResourceExhausted
            | Code::InvalidArgument
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::NotFound
            | Code::Unimplemented
            | Code::OutOfRange => Failure::Refused(format!("{member}: etcd refuses it: {words}")),
            _ => {
                self.leave();
                let source = std::error::Error::source(status).map(chain);
                let words = source.filter(|_| words == "transport error" || words.is_empty());
                let words = words.unwrap_or_else(|| status.message().to_owned());
                Failure::Away(format!("{member}: {words}"))
            }
        }
    }

    /// Values of keys, from `key` on up to `end` (not included); of `key` alone without one.
    ///
    /// # Errors
    /// As [`Etcd::call`].
    pub async fn range(&mut self, request: m::RangeRequest) -> Result<m::RangeResponse, Failure> {
        let mut reasons = Vec::new();
        for _ in 0..self.attempts {
            match self.call(RANGE, request.clone()).await {
                Err(Failure::Away(why)) => reasons.push(why),
                answer => return answer,
            }
        }
        Err(Failure::Away(reasons.join("; ")))
    }

    /// Looks whether the member still answers at all; what it says does not count, nor whether it
    /// has a leader.
    ///
    /// # Errors
    /// It does not: the next call goes to another member.
    pub async fn look(&mut self) -> Result<(), Failure> {
        let connection = self.connection().await?;
        let looked = self.ask_little(&connection);
        let looked = tokio::time::timeout(FLEET_LOOK_TIMEOUT, looked).await;
        let late = || {
            let words = format!("no answer within {FLEET_LOOK_TIMEOUT:?}");
            Err(tonic::Status::deadline_exceeded(words))
        };
        looked.unwrap_or_else(|_| late()).map_err(|status| self.judge(&status))
    }

    /// Writes one key.
    ///
    /// # Errors
    /// As [`Etcd::call`].
    pub async fn put(&mut self, key: String, value: Vec<u8>, lease: i64) -> Result<(), Failure> {
        let request = m::PutRequest { key: key.into_bytes(), value, lease };
        let _: m::Done = self.call("/etcdserverpb.KV/Put", request).await?;
        Ok(())
    }

    /// Does all steps if all comparisons hold; whether they do.
    ///
    /// # Errors
    /// As [`Etcd::call`]. Away: it may have been done.
    pub async fn txn(&mut self, request: m::TxnRequest) -> Result<bool, Failure> {
        let answer: m::TxnResponse = self.call("/etcdserverpb.KV/Txn", request).await?;
        Ok(answer.succeeded)
    }

    /// Begins a lease.
    ///
    /// # Errors
    /// As [`Etcd::call`].
    pub async fn grant(&mut self, time: Duration) -> Result<i64, Failure> {
        let request = m::LeaseGrantRequest { ttl: time.as_secs().max(1).cast_signed() };
        let lease: m::LeaseGrantResponse =
            self.call("/etcdserverpb.Lease/LeaseGrant", request).await?;
        Ok(lease.id)
    }

    /// Renews a lease; whether it still lives.
    ///
    /// # Errors
    /// As [`Etcd::call`].
    pub async fn renew(&mut self, lease: i64) -> Result<bool, Failure> {
        let connection = self.connection().await?;
        let renewing = watch::one_renewal(&connection, lease);
        let renewed = tokio::time::timeout(FLEET_CALL_TIMEOUT, renewing).await;
        let renewed = renewed.unwrap_or_else(|_| Err(timed_out()));
        let renewed = renewed.map_err(|status| self.judge(&status))?;
        Ok(renewed.is_some_and(|renewed| renewed.ttl > 0))
    }

    /// Ends a lease, and the keys that go with it.
    ///
    /// # Errors
    /// As [`Etcd::call`].
    pub async fn revoke(&mut self, id: i64) -> Result<(), Failure> {
        let _: m::Done =
            self.call("/etcdserverpb.Lease/LeaseRevoke", m::LeaseRequest { id }).await?;
        Ok(())
    }

    /// Watches keys from a revision on.
    ///
    /// # Errors
    /// As [`Etcd::call`].
    pub async fn watch(&mut self, create: m::WatchCreate) -> Result<Watch, Failure> {
        let connection = self.connection().await?;
        let member = self.member();
        let opening = tokio::time::timeout(FLEET_CALL_TIMEOUT, Watch::open(&connection, create));
        let opened = opening.await.unwrap_or_else(|_| Err(timed_out()));
        opened.map(|stream| stream.of(member)).map_err(|status| self.judge(&status))
    }
}

fn timed_out() -> tonic::Status {
    tonic::Status::deadline_exceeded(format!("no answer within {FLEET_CALL_TIMEOUT:?}"))
}

fn is_old_token(status: &tonic::Status) -> bool {
    status.code() == Code::Unauthenticated && status.message().contains("token")
}

/// Certificates are read at each connection: they are renewed under a node that runs.
fn tls_config(tls: &config::EtcdTls, host: String) -> Result<ClientTlsConfig, String> {
    let read = |path: &std::path::Path| {
        let read = files::read(path, TLS_FILE_BYTES_MAX);
        read.map_err(|why| format!("fleet.etcd.tls: {}: {why}", path.display()))
    };
    let name = tls.server_name.clone().unwrap_or(host);
    let mut config = ClientTlsConfig::new().domain_name(name);
    config = match &tls.ca {
        Some(ca) => config.ca_certificate(Certificate::from_pem(read(ca)?)),
        None => {
            let found = rustls_native_certs::load_native_certs();
            if found.certs.is_empty() {
                return Err("no trusted certificates were found; install ca-certificates or give \
                            fleet.etcd.tls.ca"
                    .to_owned());
            }
            config.trust_anchors(found.certs.iter().filter_map(anchor))
        }
    };
    if let Some((cert, key)) = &tls.own {
        config = config.identity(Identity::from_pem(read(cert)?, read(key)?));
    }
    Ok(config)
}

fn anchor(
    certificate: &rustls::pki_types::CertificateDer<'_>,
) -> Option<rustls::pki_types::TrustAnchor<'static>> {
    webpki::anchor_from_trusted_cert(certificate).ok().map(|anchor| anchor.to_owned())
}

const RANGE: &str = "/etcdserverpb.KV/Range";

/// One call over a connection, with its time.
async fn unary<Q, A>(
    connection: &Connection,
    path: &'static str,
    request: Q,
) -> Result<A, tonic::Status>
where
    Q: prost::Message + 'static,
    A: prost::Message + Default + 'static,
{
    let calling = async {
        let mut grpc = grpc(connection);
        ready(&mut grpc).await?;
        let codec = tonic_prost::ProstCodec::<Q, A>::default();
        let request = connection.shown(tonic::Request::new(request));
        let answer = grpc.unary(request, PathAndQuery::from_static(path), codec).await?;
        Ok(answer.into_inner())
    };
    tokio::time::timeout(FLEET_CALL_TIMEOUT, calling).await.unwrap_or_else(|_| Err(timed_out()))
}

fn grpc(connection: &Connection) -> tonic::client::Grpc<Channel> {
    tonic::client::Grpc::new(connection.channel.clone())
        .max_decoding_message_size(FLEET_ANSWER_BYTES_MAX)
}

async fn ready(grpc: &mut tonic::client::Grpc<Channel>) -> Result<(), tonic::Status> {
    let ready = grpc.ready().await;
    ready.map_err(|error| tonic::Status::unavailable(chain(&error)))
}

impl Connection {
    /// A request that shows who asks.
    fn shown<T>(&self, mut request: tonic::Request<T>) -> tonic::Request<T> {
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }
}

/// An error with what it came from, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if words == "transport error" {
            words = next;
        } else if !words.contains(&next) {
            words = format!("{words}: {next}");
        }
        source = error.source();
    }
    words
}

/// The first key that does not begin with `prefix`: where a range of all that do ends.
pub fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // Prefixes are ASCII: the last byte has a next one.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}
