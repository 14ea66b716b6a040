//! The HTTP client of the exporter: one connection to the collector, kept open.
//!
//! hyper is here as axum's other half; nothing of it is on the path of a request.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::control::config::{Endpoint, Otlp};
use crate::control::trust::Trust;
use crate::limits::TRACE_ANSWER_BYTES_MAX;
use crate::upstream::tls;

/// Why a message was not taken.
#[derive(Debug)]
pub(super) enum Failure {
    /// It may be taken later.
    Passing {
        /// In words.
        reason: String,
        /// When the collector wants it again.
        after: Option<Duration>,
    },
    /// It never will be.
    Lasting(String),
}

fn passing(reason: impl Into<String>) -> Failure {
    Failure::Passing { reason: reason.into(), after: None }
}

/// Sends messages.
#[derive(Default)]
pub(super) struct Client {
    /// An open connection, and where it leads.
    open: Option<(Endpoint, SendRequest<Full<Bytes>>)>,
}

impl Client {
    /// Sends one message; how many of its spans the collector refused.
    pub(super) async fn send(&mut self, otlp: &Otlp, body: Bytes) -> Result<u64, Failure> {
        let timeout = otlp.timeout;
        let answer = tokio::time::timeout(timeout, self.exchange(otlp, body)).await;
        let answer = answer.unwrap_or_else(|_| {
            Err(passing(format!("no answer within {timeout:?} (tracing.otlp.timeout)")))
        });
        if answer.is_err() {
            // Whatever is wrong with it, the next try has a connection of its own.
            self.open = None;
        }
        answer
    }

    async fn exchange(&mut self, otlp: &Otlp, body: Bytes) -> Result<u64, Failure> {
        let mut sender = self.connection(&otlp.endpoint).await?;
        let response = sender.send_request(request(otlp, body)?).await;
        let response = response.map_err(|error| passing(describe(&error)))?;
        let refused = read(response).await?;
        self.open = Some((otlp.endpoint.clone(), sender));
        Ok(refused)
    }

    async fn connection(
        &mut self,
        endpoint: &Endpoint,
    ) -> Result<SendRequest<Full<Bytes>>, Failure> {
        if let Some((to, mut sender)) = self.open.take()
            && to == *endpoint
            // The collector may have closed it meanwhile.
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await;
        let stream = stream.map_err(|error| passing(format!("cannot connect: {error}")))?;
        if !endpoint.is_secure {
            return open(stream).await;
        }
        // Reads the system's certificates.
        let host = endpoint.host.clone();
        let tls = tokio::task::spawn_blocking(move || Trust::default().tls(&host)).await;
        let tls = tls.unwrap_or_else(|_| Err("TLS cannot be set up".to_owned()));
        let tls = tls.map_err(passing)?;
        let shaken = TlsConnector::from(Arc::clone(&tls.config)).connect(tls.name, stream).await;
        open(shaken.map_err(|error| passing(handshake_failure(&error)))?).await
    }
}

fn handshake_failure(error: &std::io::Error) -> String {
    match tls::reason(error) {
        Some(reason) => format!("TLS handshake failed: {reason}"),
        None => format!("TLS handshake failed: {error}"),
    }
}

/// Puts HTTP on a new stream.
async fn open<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(|error| passing(describe(&error)))?;
    tokio::spawn(async move {
        // How it ended shows where something is sent by it.
        let _ = connection.await;
    });
    Ok(sender)
}

fn request(otlp: &Otlp, body: Bytes) -> Result<Request<Full<Bytes>>, Failure> {
    let mut request = Request::post(format!("{}/v1/traces", otlp.endpoint.path))
        .header(HOST, otlp.endpoint.authority())
        .header(USER_AGENT, concat!("odin/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/x-protobuf");
    for (name, value) in &otlp.headers {
        request = request.header(name, value.reveal());
    }
    // Names and values were checked when the configuration was read.
    request.body(Full::new(body)).map_err(|error| Failure::Lasting(error.to_string()))
}

/// What the collector says (OTLP specification, "OTLP/HTTP Response").
async fn read(response: Response<Incoming>) -> Result<u64, Failure> {
    let status = response.status();
    let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let after = after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let body = Limited::new(response.into_body(), TRACE_ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| passing(format!("its answer cannot be read: {error}")))?;
    match status {
        _ if status.is_success() => {
            // An answer that is no such message was a yes all the same.
            let answer = ExportTraceServiceResponse::decode(body.to_bytes()).unwrap_or_default();
            let refused = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
            Ok(u64::try_from(refused).unwrap_or(0))
        }
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => {
            Err(Failure::Passing { reason: format!("the collector answers {status}"), after })
        }
        _ => Err(Failure::Lasting(format!("the collector answers {status}"))),
    }
}

/// An error of hyper with its cause, which says more.
fn describe(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
