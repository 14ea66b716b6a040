//! `odin healthcheck`: asks the gateway that runs by a configuration how it is. For images without
//! a shell, where nothing else could.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::config::{Config, Listen};
use super::trust::unchecked;
use crate::limits::HEALTHCHECK_TIMEOUT;

/// More than an answer has.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Asks `/healthz`, or `/readyz` if it shall be ready too.
///
/// # Errors
/// In words: nobody answers in time, or not that all is well.
pub fn ask(config: &Config, is_ready: bool) -> Result<(), String> {
    let Some(Listen::Tcp { host, port }) = &config.admin.listen else {
        return Err("admin.listen is off, so nobody can be asked; give it an address such as \
                    127.0.0.1:8081"
            .to_owned());
    };
    let host = reachable(host);
    let authority =
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let path = if is_ready { "/readyz" } else { "/healthz" };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let asking = async {
        let asking = answer(&authority, &host, path, config.admin.tls.is_some());
        tokio::time::timeout(HEALTHCHECK_TIMEOUT, asking).await
    };
    let answer = runtime.block_on(asking);
    // A name server that does not answer is not waited for.
    runtime.shutdown_background();
    let answer = answer
        .map_err(|_| format!("{authority} does not answer within {HEALTHCHECK_TIMEOUT:?}"))?
        .map_err(|error| format!("{authority}: {error}"))?;
    judge(&answer).map_err(|why| format!("{authority}{path}: {why}"))
}

/// Where somebody on this machine reaches what listens there.
fn reachable(host: &str) -> String {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) if address.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
        Ok(IpAddr::V6(address)) if address.is_unspecified() => Ipv6Addr::LOCALHOST.to_string(),
        _ => host.to_owned(),
    }
}

async fn answer(authority: &str, host: &str, path: &str, by_tls: bool) -> std::io::Result<Vec<u8>> {
    let stream = TcpStream::connect(authority).await?;
    if !by_tls {
        return asked(stream, authority, path).await;
    }
    // Who answers at this machine's own address is not doubted, and nothing secret is said: the
    // certificate is for the names that others ask for.
    let config = unchecked().map_err(std::io::Error::other)?;
    let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    asked(stream, authority, path).await
}

async fn asked(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    authority: &str,
    path: &str,
) -> std::io::Result<Vec<u8>> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut stream = stream.take(ANSWER_BYTES_MAX);
    // To its end, which tells why; a good one says all by its status.
    while judge(&answer).is_err() {
        match stream.read_buf(&mut answer).await {
            Ok(0) => break,
            Ok(_) => {}
            // It has refused a client without a certificate (TLS 1.3 says so this late).
            Err(error) if answer.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(answer)
}

/// # Errors
/// What was answered, unless it is 200.
fn judge(answer: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(answer);
    let line = text.lines().next().unwrap_or_default();
    let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split(' ').next());
    match status {
        Some("200") => Ok(()),
        Some(status) => {
            let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim();
            Err(format!("{status} {}", body.chars().take(200).collect::<String>()))
        }
        None => Err("what answers there is not Odin's admin API".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_200_alone_is_good() {
        assert_eq!(judge(b"HTTP/1.1 200 OK\r\n\r\n{}"), Ok(()));
        let draining = b"HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\n{\"status\":\"draining\"}";
        assert_eq!(judge(draining), Err("503 {\"status\":\"draining\"}".to_owned()));
        for other in [&b""[..], b"SSH-2.0-OpenSSH\r\n", b"\xff\xfe", b"HTTP/1.1"] {
            assert!(judge(other).unwrap_err().contains("is not Odin's"), "{other:?}");
        }
    }

    #[test]
    fn what_listens_everywhere_is_asked_here() {
        for (host, want) in
            [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.1.2.3", "10.1.2.3"), ("a.b", "a.b")]
        {
            assert_eq!(reachable(host), want);
        }
    }
}
