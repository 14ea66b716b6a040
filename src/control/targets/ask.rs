//! How a target is asked whether it is well: a connection, and a request over it.

mod grpc;

use std::io;

use bytes::Bytes;
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::control::config::{Asks, Check};
use crate::limits::{CHECK_BYTES_MAX, HTTP2_CHECK_HEAD_BYTES_MAX};
use crate::upstream::cluster::Address;
use crate::upstream::tls::{self, Spoken, Tls};

const AGENT: &str = concat!("odin/", env!("CARGO_PKG_VERSION"), " (health check)");

/// A connection to a target.
pub(super) enum Connected {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What a question goes over.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Connects to the first address that takes a connection.
pub(super) async fn connect(address: &Address) -> io::Result<Connected> {
    let addresses = match address {
        Address::Unix(path) => return Ok(Connected::Unix(UnixStream::connect(path).await?)),
        Address::Tcp(addresses) | Address::Http2(addresses) | Address::Tls(addresses, _) => {
            addresses
        }
    };
    let mut failed = io::Error::other("its name leads nowhere");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(Connected::Tcp(stream)),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Makes a check; why it has failed, in words.
pub(super) async fn ask(address: &Address, authority: &str, check: &Check) -> Result<(), String> {
    let asked = tokio::time::timeout(check.timeout, ask_once(address, authority, check)).await;
    asked.unwrap_or_else(|_| Err(format!("no answer within {:?}", check.timeout)))
}

async fn ask_once(address: &Address, authority: &str, check: &Check) -> Result<(), String> {
    let connected = connect(address).await.map_err(|error| format!("cannot connect: {error}"))?;
    let is_grpc = matches!(check.asks, Asks::Grpc(_));
    let stream: Box<dyn Stream> = match (connected, address) {
        (Connected::Tcp(stream), Address::Tls(_, tls)) => {
            Box::new(shake(stream, tls, is_grpc).await?)
        }
        (Connected::Tcp(stream), _) => Box::new(stream),
        (Connected::Unix(stream), _) => Box::new(stream),
    };
    let authority = check.host.as_deref().unwrap_or(authority);
    let scheme = if matches!(address, Address::Tls(..)) { "https" } else { "http" };
    let status = match &check.asks {
        Asks::Connection => return Ok(()),
        Asks::Grpc(service) => {
            return grpc::ask(stream, &format!("{scheme}://{authority}"), service).await;
        }
        Asks::Path(path) if matches!(address, Address::Http2(_)) => {
            let request = Request::get(format!("{scheme}://{authority}{path}"));
            let request = request.header(USER_AGENT, AGENT).body(Full::default());
            over_http2(stream, request.map_err(|error| error.to_string())?).await?.status()
        }
        Asks::Path(path) => over_http1(stream, path, authority).await?.status(),
    };
    let status = status.as_u16();
    let is_good = check.statuses.iter().any(|(first, last)| (*first..=*last).contains(&status));
    if is_good { Ok(()) } else { Err(format!("it answers with {status}")) }
}

/// The TLS handshake, as requests make it; for HTTP/2 with that as its protocol.
async fn shake(
    stream: TcpStream,
    to: &Tls,
    is_http2: bool,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let mut config = std::sync::Arc::clone(&to.config);
    let asked: Option<&[u8]> = match (is_http2, to.spoken()) {
        (true, _) => Some(b"h2"),
        (false, Spoken::Http1) => None,
        // A check by a path asks by HTTP/1, whatever else the target speaks.
        (false, _) => Some(b"http/1.1"),
    };
    if let Some(protocol) = asked {
        std::sync::Arc::make_mut(&mut config).alpn_protocols = vec![protocol.to_vec()];
    }
    let shaken = TlsConnector::from(config).connect(to.name.clone(), stream).await;
    shaken.map_err(|error| match tls::reason(&error) {
        Some(reason) => reason.to_owned(),
        None => format!("the TLS handshake failed: {error}"),
    })
}

/// The head of the answer to a GET.
async fn over_http1(
    stream: Box<dyn Stream>,
    path: &str,
    authority: &str,
) -> Result<Response<Incoming>, String> {
    let failed = |error: hyper::Error| format!("it does not answer with HTTP: {error}");
    let mut builder = http1::Builder::new();
    builder.max_buf_size(CHECK_BYTES_MAX);
    let (mut sender, connection) =
        builder.handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.map_err(failed)?;
    let request = Request::builder()
        .method(Method::GET)
        .uri(path)
        .header(HOST, authority)
        .header(USER_AGENT, AGENT)
        .header(CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    // Dropped with the answer's head: the rest of it is of no use.
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        // An answer that ends the connection may have come with its end.
        _ended = connection => answer.await,
    };
    answer.map_err(failed)
}

/// The head of the answer to a request over HTTP/2, by prior knowledge; the connection ends with
/// the answer.
async fn over_http2(
    stream: Box<dyn Stream>,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, String> {
    let failed = |error: hyper::Error| format!("it does not answer with HTTP/2: {error}");
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.max_header_list_size(HTTP2_CHECK_HEAD_BYTES_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // It ends when sender and answer are dropped.
    let running = tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(failed);
    if answer.is_err() {
        running.abort();
    }
    answer
}

/// The origin of a URL, where it can be one.
fn uri(origin: &str, path: &str) -> Result<Uri, String> {
    format!("{origin}{path}").parse().map_err(|error| format!("{origin} is no origin: {error}"))
}
