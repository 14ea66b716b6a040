//! One line for each request, written into a buffer of its worker's own.
//!
//! The worker formats; a full buffer, or one whose time is up, goes through a bounded queue to a
//! thread that writes it (`control/access_log.rs`). Nothing here waits: when the queue is full, the
//! lines of that buffer are dropped and counted.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, SystemTime};

use crate::http::connection::{Asker, TlsFacts};
use crate::http::message::RequestHead;
use crate::limits::ACCESS_LOG_BUFFER_BYTES;
use crate::text::{self, rfc_3339};

/// What a line can tell. The names are those of `logging.accessLogFields`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// When the exchange ended, RFC 3339 with milliseconds.
    Time,
    /// The exchange's `X-Request-Id`.
    RequestId,
    /// The trace that it belongs to; empty without tracing.
    TraceId,
    /// The client's address.
    Client,
    /// What the client's connection speaks: `HTTP/1.1` or `HTTP/2`.
    Protocol,
    /// How the client came: `http` or `https`.
    Scheme,
    /// The other end of the connection: a proxy's address, where the client has one in between.
    Peer,
    /// The version of TLS; empty without.
    TlsVersion,
    /// The cipher suite; empty without TLS.
    TlsCipher,
    /// The host that the client's TLS has asked for (SNI).
    ServerName,
    /// The subject of the client's certificate.
    ClientCertificate,
    /// The request's method.
    Method,
    /// The path as the client sent it, without the query.
    Path,
    /// The query as the client sent it, without the `?`: may hold secrets.
    Query,
    /// The host that was asked for.
    Host,
    /// The request's `User-Agent`.
    UserAgent,
    /// The request's `Referer`.
    Referer,
    /// The status that was sent; 0 if the client went away before.
    Status,
    /// The `grpc-status` that a client of gRPC was told; empty for others.
    GrpcStatus,
    /// Bytes of the response's body, as sent, without its framing.
    BodyBytesSent,
    /// Bytes that came from the client by a connection that went on with another protocol; of no
    /// other.
    TunnelBytesReceived,
    /// Milliseconds from the request's head to the end of the response.
    DurationMs,
    /// The service's name.
    Service,
    /// The endpoint that was asked last.
    Upstream,
    /// Why the exchange failed.
    Error,
    /// The worker that served it.
    Worker,
}

impl Field {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 26] = [
        ("time", Self::Time),
        ("request_id", Self::RequestId),
        ("trace_id", Self::TraceId),
        ("client", Self::Client),
        ("protocol", Self::Protocol),
        ("scheme", Self::Scheme),
        ("peer", Self::Peer),
        ("tls_version", Self::TlsVersion),
        ("tls_cipher", Self::TlsCipher),
        ("server_name", Self::ServerName),
        ("client_certificate", Self::ClientCertificate),
        ("method", Self::Method),
        ("path", Self::Path),
        ("query", Self::Query),
        ("host", Self::Host),
        ("user_agent", Self::UserAgent),
        ("referer", Self::Referer),
        ("status", Self::Status),
        ("grpc_status", Self::GrpcStatus),
        ("body_bytes_sent", Self::BodyBytesSent),
        ("tunnel_bytes_received", Self::TunnelBytesReceived),
        ("duration_ms", Self::DurationMs),
        ("service", Self::Service),
        ("upstream", Self::Upstream),
        ("error", Self::Error),
        ("worker", Self::Worker),
    ];

    /// Those of a line unless others are asked for. The query is not among them: it is where
    /// applications put what must not be in a log.
    pub const DEFAULT: [Self; 12] = [
        Self::Time,
        Self::RequestId,
        Self::Client,
        Self::Method,
        Self::Path,
        Self::Status,
        Self::BodyBytesSent,
        Self::TunnelBytesReceived,
        Self::DurationMs,
        Self::Service,
        Self::Upstream,
        Self::Error,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, field)| *field == self).map_or("", |(name, _)| name)
    }
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `name=value name="a value"`.
    Text,
    /// A JSON object.
    Json,
}

/// What goes to the thread that writes.
#[derive(Debug)]
pub enum Batch {
    /// Whole lines.
    Lines(Vec<u8>),
    /// Says through the channel that all before it is written.
    Written(SyncSender<()>),
}

/// The access log of a snapshot.
#[derive(Debug)]
pub struct AccessLog {
    /// What a line tells, in this order.
    pub fields: Vec<Field>,
    /// How it looks.
    pub form: Form,
    /// To the thread that writes.
    pub queue: SyncSender<Batch>,
}

/// What is kept of a request for its line: plugins may change the request meanwhile. Reused.
#[derive(Debug, Default)]
pub struct Asked {
    method: String,
    path: String,
    query: String,
    host: String,
    user_agent: Vec<u8>,
    referer: Vec<u8>,
}

impl Asked {
    /// Keeps what `log` tells of a request.
    pub fn keep(&mut self, log: &AccessLog, request: &RequestHead) {
        for field in &log.fields {
            match field {
                Field::Method => refill(&mut self.method, request.method.as_str()),
                Field::Path => refill(&mut self.path, &request.path),
                Field::Query => refill(&mut self.query, request.query.trim_start_matches('?')),
                Field::Host => refill(&mut self.host, &request.authority),
                Field::UserAgent => refill_bytes(&mut self.user_agent, request, "user-agent"),
                Field::Referer => refill_bytes(&mut self.referer, request, "referer"),
                _ => {}
            }
        }
    }

    /// Forgets the request before: the head of this one could not be read.
    pub fn clear(&mut self) {
        for text in [&mut self.method, &mut self.path, &mut self.query, &mut self.host] {
            text.clear();
        }
        self.user_agent.clear();
        self.referer.clear();
    }
}

fn refill(text: &mut String, from: &str) {
    text.clear();
    text.push_str(from);
}

fn refill_bytes(bytes: &mut Vec<u8>, request: &RequestHead, name: &str) {
    bytes.clear();
    bytes.extend_from_slice(request.fields.get(name).unwrap_or_default());
}

/// What the end of an exchange adds. An empty text is left out of the line.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// See [`Field`].
    pub request_id: &'a str,
    /// See [`Field`].
    pub trace_id: &'a str,
    /// Who asked, and how.
    pub asker: Asker<'a>,
    /// See [`Field`].
    pub status: u16,
    /// See [`Field`].
    pub grpc_status: &'a str,
    /// See [`Field`].
    pub body_bytes_sent: u64,
    /// See [`Field`].
    pub tunnel_bytes_received: Option<u64>,
    /// See [`Field`].
    pub took: Duration,
    /// See [`Field`].
    pub service: &'a str,
    /// See [`Field`].
    pub upstream: &'a str,
    /// See [`Field`].
    pub error: &'a str,
    /// See [`Field`].
    pub worker: usize,
}

/// The lines of one worker that are not yet on their way.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    count: u64,
    dropped: u64,
    log: Option<Arc<AccessLog>>,
    clock: Clock,
}

impl Lines {
    /// Adds a line; hands all on when the buffer is nearly full, or is that of another log.
    pub fn add(&mut self, log: &Arc<AccessLog>, asked: &Asked, answered: &Answered<'_>) {
        if self.log.as_ref().is_none_or(|last| !Arc::ptr_eq(last, log)) {
            self.flush();
            self.bytes.reserve_exact(ACCESS_LOG_BUFFER_BYTES);
            self.log = Some(Arc::clone(log));
        }
        write_line(&mut self.bytes, log, &mut self.clock, asked, answered);
        self.count += 1;
        if self.bytes.len() > ACCESS_LOG_BUFFER_BYTES - ACCESS_LOG_BUFFER_BYTES / 8 {
            self.flush();
        }
    }

    /// Sends the lines on their way.
    pub fn flush(&mut self) {
        let Some(log) = self.log.take() else {
            return;
        };
        let (bytes, count) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.count));
        if log.queue.try_send(Batch::Lines(bytes)).is_err() {
            self.dropped += count;
        }
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many lines were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

fn write_line(
    line: &mut Vec<u8>,
    log: &AccessLog,
    clock: &mut Clock,
    asked: &Asked,
    answered: &Answered<'_>,
) {
    let mut row = Row { line, form: log.form, is_first: true };
    row.open();
    for &field in &log.fields {
        let name = field.name();
        match field {
            Field::Time => row.text(name, clock.now(SystemTime::now())),
            Field::RequestId => row.text(name, answered.request_id),
            Field::TraceId => row.text(name, answered.trace_id),
            Field::Client => row.display(name, answered.asker.ip, true),
            Field::Scheme => row.text(name, answered.asker.scheme.as_str()),
            Field::Protocol => row.text(name, answered.asker.connection.protocol.as_str()),
            Field::Peer => row.display(name, answered.asker.connection.peer, true),
            Field::TlsVersion | Field::TlsCipher | Field::ServerName | Field::ClientCertificate => {
                if let Some(tls) = &answered.asker.connection.tls {
                    row.text(name, of_tls(field, tls));
                }
            }
            Field::Method => row.text(name, &asked.method),
            Field::Path => row.text(name, &asked.path),
            Field::Query => row.text(name, &asked.query),
            Field::Host => row.text(name, &asked.host),
            Field::UserAgent => row.text(name, &String::from_utf8_lossy(&asked.user_agent)),
            Field::Referer => row.text(name, &String::from_utf8_lossy(&asked.referer)),
            Field::Status => row.display(name, answered.status, false),
            Field::GrpcStatus => row.text(name, answered.grpc_status),
            Field::BodyBytesSent => row.display(name, answered.body_bytes_sent, false),
            Field::TunnelBytesReceived => {
                if let Some(bytes) = answered.tunnel_bytes_received {
                    row.display(name, bytes, false);
                }
            }
            Field::DurationMs => {
                let micros = answered.took.as_micros();
                row.display(name, format_args!("{}.{:03}", micros / 1000, micros % 1000), false);
            }
            Field::Service => row.text(name, answered.service),
            Field::Upstream => row.text(name, answered.upstream),
            Field::Error => row.text(name, answered.error),
            Field::Worker => row.display(name, answered.worker, false),
        }
    }
    row.close();
}

fn of_tls(field: Field, tls: &TlsFacts) -> &str {
    match field {
        Field::TlsVersion => tls.version,
        Field::TlsCipher => tls.cipher,
        Field::ServerName => tls.server_name.as_deref().unwrap_or_default(),
        Field::ClientCertificate => tls.client.as_ref().map_or("", |client| &client.subject),
        _ => "",
    }
}

/// A line that is being written.
struct Row<'a> {
    line: &'a mut Vec<u8>,
    form: Form,
    is_first: bool,
}

impl Row<'_> {
    fn open(&mut self) {
        if self.form == Form::Json {
            self.line.push(b'{');
        }
    }

    fn close(&mut self) {
        if self.form == Form::Json {
            self.line.push(b'}');
        }
        self.line.push(b'\n');
    }

    fn name(&mut self, name: &str) {
        let (before, after): (&[u8], &[u8]) = match (self.form, self.is_first) {
            (Form::Text, true) => (b"", b"="),
            (Form::Text, false) => (b" ", b"="),
            (Form::Json, true) => (b"\"", b"\":"),
            (Form::Json, false) => (b",\"", b"\":"),
        };
        self.is_first = false;
        self.line.extend_from_slice(before);
        self.line.extend_from_slice(name.as_bytes());
        self.line.extend_from_slice(after);
    }

    /// A text, left out if it is empty. Quoted as JSON is wherever a reader of lines could take it
    /// for something else: a client must not be able to write a line of its own.
    fn text(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        self.name(name);
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'\\');
        if self.form == Form::Text && value.bytes().all(is_plain) {
            self.line.extend_from_slice(value.as_bytes());
        } else {
            // Writing to memory does not fail.
            let _ = serde_json::to_writer(&mut *self.line, value);
        }
    }

    /// What prints as digits, or as an address.
    fn display(&mut self, name: &str, value: impl std::fmt::Display, is_text: bool) {
        self.name(name);
        let quote = if is_text && self.form == Form::Json { "\"" } else { "" };
        let _ = write!(self.line, "{quote}{value}{quote}");
    }
}

/// The time as text, in memory that is used again.
#[derive(Debug, Default)]
struct Clock {
    text: Vec<u8>,
}

impl Clock {
    fn now(&mut self, now: SystemTime) -> &str {
        self.text.clear();
        rfc_3339(now, &mut self.text);
        // It is digits and marks: never empty.
        text::from_bytes(&self.text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
