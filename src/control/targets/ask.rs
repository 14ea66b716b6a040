//! How a target is asked whether it is well: a connection, and a request over it.

use std::io;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::control::config::Check;
use crate::limits::CHECK_BYTES_MAX;
use crate::upstream::cluster::Address;
use crate::upstream::tls::{self, Tls};

/// A connection to a target.
pub(super) enum Connected {
    Tcp(TcpStream),
    Unix(UnixStream),
}

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
    let status = match (connected, address, &check.path) {
        (Connected::Unix(stream), _, Some(path)) => status(stream, path, authority, check).await?,
        (Connected::Tcp(stream), Address::Tls(_, tls), path) => {
            let stream = shake(stream, tls).await?;
            match path {
                Some(path) => status(stream, path, authority, check).await?,
                None => return Ok(()),
            }
        }
        (Connected::Tcp(stream), _, Some(path)) => status(stream, path, authority, check).await?,
        (_, _, None) => return Ok(()),
    };
    let is_good = check.statuses.iter().any(|(first, last)| (*first..=*last).contains(&status));
    if is_good { Ok(()) } else { Err(format!("it answers with {status}")) }
}

async fn shake(
    stream: TcpStream,
    to: &Tls,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let connector = TlsConnector::from(std::sync::Arc::clone(&to.config));
    let shaken = connector.connect(to.name.clone(), stream).await;
    shaken.map_err(|error| match tls::reason(&error) {
        Some(reason) => reason.to_owned(),
        None => format!("the TLS handshake failed: {error}"),
    })
}

/// The status of the answer to a GET.
async fn status<S>(stream: S, path: &str, authority: &str, check: &Check) -> Result<u16, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let failed = |error: hyper::Error| format!("it does not answer with HTTP: {error}");
    let mut builder = http1::Builder::new();
    builder.max_buf_size(CHECK_BYTES_MAX);
    let (mut sender, connection) =
        builder.handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.map_err(failed)?;
    let request = Request::builder()
        .method(Method::GET)
        .uri(path)
        .header(HOST, check.host.as_deref().unwrap_or(authority))
        .header(USER_AGENT, concat!("odin/", env!("CARGO_PKG_VERSION"), " (health check)"))
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
    Ok(answer.map_err(failed)?.status().as_u16())
}
