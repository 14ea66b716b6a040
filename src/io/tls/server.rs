//! The server's side of a handshake: what it costs has its turn, and how it ends is known.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use rustls::{Connection, HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection};

use super::TlsStream;
use super::certificate::Certificate;
use super::hello::{Unanswerable, prefers_chacha20};
use crate::io::stream::{self, Direction, Reader as _, Stream, Writer as _};
use crate::io::timeout;
use crate::io::turns::Turns;
use crate::limits::{HANDSHAKE_LINGER, HANDSHAKE_LINGER_BYTES, HANDSHAKE_LINGER_STEPS};

/// What a TLS handshake has agreed on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite by its registered name.
    pub cipher: &'static str,
    /// The host that the client has asked for (SNI), in small letters.
    pub server_name: Option<String>,
    /// An earlier session went on: no new signature was made.
    pub is_resumed: bool,
    /// Whom the client has proved to be; verified.
    pub client: Option<ClientCertificate>,
}

/// A client's certificate, as it is told to plugins and logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject's distinguished name, such as `CN=alice, O=Example`.
    pub subject: String,
    /// SHA-256 of the certificate, in hexadecimal.
    pub fingerprint: String,
    /// Its alternative names, such as `DNS:alice.example` or `URI:spiffe://example/alice`.
    pub names: Vec<String>,
}

/// What a server agrees to.
#[derive(Debug, Clone)]
pub struct Offer {
    /// In our order: AES-128 with SHA-256 costs a handshake far less than AES-256, whose SHA-384
    /// common processors have no instructions for.
    pub usual: Arc<ServerConfig>,
    /// In the client's order: for those that like ChaCha20 best.
    pub as_asked: Arc<ServerConfig>,
}

/// How a handshake has ended that has not succeeded.
#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    /// The client has gone, or has broken the connection off.
    Gone,
    /// It began as HTTP in the clear does, and was answered so.
    PlainHttp,
    /// Too many others wait for their turn.
    Busy,
    /// What came is no handshake that can be agreed on: the client was told so by an alert.
    Refused(rustls::Error),
}

/// What is answered to a client that speaks HTTP in the clear where TLS is spoken.
const PLAIN_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n\
    Content-Length: 64\r\nConnection: close\r\n\r\n\
    {\"error\":\"TLS is spoken here: ask by https:// in place of http\"}";

/// A fatal alert: `decode_error`.
const DECODE_ERROR_ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 50];

impl<S: Stream> TlsStream<S> {
    /// Shakes hands as the server of `offer`. What costs a lot has its turn among `turns`. Of
    /// whoever fails the connection may be closed at once: what it was told has arrived, or will
    /// not.
    pub async fn accept(stream: S, offer: &Offer, turns: &Rc<Turns>) -> Result<Self, Failure> {
        let session = |config: &Arc<ServerConfig>| {
            ServerConnection::new(Arc::clone(config)).map_err(Failure::Refused)
        };
        let mut this = Self::over(stream, session(&offer.usual)?.into());
        let mut is_first = true;
        loop {
            this.reader.fill(None).await.map_err(|_| Failure::Gone)?;
            if is_first && this.has_plain_http() {
                this.tell(PLAIN_ANSWER).await;
                return Err(Failure::PlainHttp);
            }
            if std::mem::take(&mut is_first) {
                if let Some(unanswerable) = this.unanswerable() {
                    this.tell(&unanswerable.alert()).await;
                    let reason = rustls::PeerIncompatible::Tls12NotOffered;
                    return Err(Failure::Refused(reason.into()));
                }
                if prefers_chacha20(&this.reader.shared.incoming.borrow().bytes) {
                    this.reader.shared.session.replace(session(&offer.as_asked)?.into());
                }
            }
            let digested = turns.take(|| this.reader.digest()).await;
            let digested = digested.map_err(|_| Failure::Busy)?;
            let is_untold = digested.is_err() && !this.reader.shared.session.borrow().wants_write();
            // An alert, or the next step: if it cannot be sent, so be it.
            let sent = this.writer.send(|| ()).await;
            match digested {
                Ok(0) => return Err(Failure::Gone),
                Ok(_) if sent.is_err() => return Err(Failure::Gone),
                Ok(_) => {}
                Err(error) => {
                    // Of a message that is too large the session itself says nothing.
                    let alert: &[u8] = if is_untold { &DECODE_ERROR_ALERT } else { &[] };
                    this.tell(alert).await;
                    return Err(failure(&error));
                }
            }
            if !this.reader.shared.session.borrow().is_handshaking() {
                this.reader.shared.has_unread.set(this.has_more());
                return Ok(this);
            }
        }
    }

    /// Whether the first bytes are those of a request: a record begins with a number below 32.
    fn has_plain_http(&self) -> bool {
        let incoming = self.reader.shared.incoming.borrow();
        incoming.bytes.first().is_some_and(u8::is_ascii_alphabetic)
    }

    /// Whether a hello has come that gets no answer.
    fn unanswerable(&self) -> Option<Unanswerable> {
        Unanswerable::of(&self.reader.shared.incoming.borrow().bytes)
    }

    /// Says this in the clear, if anything, as the last thing on the connection.
    async fn tell(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let all = 0..bytes.len();
            let (_told_or_not, _) = self.writer.inner.write_all(bytes.to_vec(), all, || ()).await;
        }
        self.settle().await;
    }

    /// Whether something has come behind the handshake that no read has given out.
    fn has_more(&self) -> bool {
        let mut session = self.reader.shared.session.borrow_mut();
        let mut plain = session.reader();
        let has_plain = io::BufRead::fill_buf(&mut plain).is_ok_and(|bytes| !bytes.is_empty());
        has_plain || !self.reader.shared.incoming.borrow().is_taken()
    }

    /// Waits until the client has taken what it was told: a socket that is closed with something
    /// unread is reset, and that is lost.
    async fn settle(&mut self) {
        stream::shutdown(self.fd, Direction::Write);
        for _ in 0..HANDSHAKE_LINGER_STEPS {
            let readable = timeout(HANDSHAKE_LINGER, self.reader.inner.readable()).await;
            if !matches!(readable, Ok(Ok(()))) {
                return;
            }
            if stream::drop_received(self.fd, HANDSHAKE_LINGER_BYTES).has_ended {
                return;
            }
        }
    }

    /// Whether an earlier session goes on.
    pub fn is_resumed(&self) -> bool {
        let session = self.reader.shared.session.borrow();
        session.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The protocol that was agreed on by ALPN, if one was.
    pub fn alpn(&self) -> Option<Vec<u8>> {
        self.reader.shared.session.borrow().alpn_protocol().map(<[u8]>::to_vec)
    }

    /// What was agreed on.
    pub fn facts(&self) -> TlsFacts {
        let session = self.reader.shared.session.borrow();
        let server_name = match &*session {
            Connection::Server(session) => session.server_name().map(str::to_owned),
            Connection::Client(_) => None,
        };
        let certificates = session.peer_certificates().unwrap_or_default();
        let client = certificates.first().and_then(|der| Certificate::read(der));
        TlsFacts {
            version: match session.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "",
            },
            cipher: session.negotiated_cipher_suite().map_or("", |suite| cipher(suite.suite())),
            server_name,
            is_resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
            client: client.map(|Certificate { subject, fingerprint, names, .. }| {
                ClientCertificate { subject, fingerprint, names }
            }),
        }
    }
}

/// The registered name of a cipher suite.
fn cipher(suite: rustls::CipherSuite) -> &'static str {
    use rustls::CipherSuite as Suite;
    match suite {
        Suite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        Suite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        Suite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or(""),
    }
}

fn failure(error: &io::Error) -> Failure {
    match error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
        Some(cause) => Failure::Refused(cause.clone()),
        None => Failure::Gone,
    }
}
