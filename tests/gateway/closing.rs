//! A connection that closes behind its response takes nothing of it away (RFC 9112 section 9.6),
//! whatever the client still sends.

use crate::support::gateway::io_driver;
use crate::support::{Client, Gateway, Origin, PATIENCE, Setup, TempDir};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// More than the kernel holds for a client that does not read.
const LARGE: usize = 3_000_000;

fn origin_of_large_answers() -> Origin {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n{}", "x".repeat(LARGE));
    Origin::raw(answer)
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads at leisure, up to `most` bytes or the end; how many there were. A reset is a failure.
fn read_slowly(stream: &mut impl Read, most: usize) -> Result<usize, ErrorKind> {
    let mut piece = vec![0; 64 * 1024];
    let mut count = 0;
    while count < most {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => count += read,
            Err(error) => {
                eprintln!("{error} after {count} bytes");
                return Err(error.kind());
            }
        }
        std::thread::sleep(Duration::from_millis(4));
    }
    Ok(count)
}

/// What a client sends behind its request, in the same packet and later.
const BEHIND: [(&str, &str); 4] =
    [("", ""), ("\r\n", ""), ("", "\r\n"), ("GET /more HTTP/1.1\r\nHost: a\r\n\r\n", "rubbish")];

const POST: &str =
    "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";

fn assert_whole(stream: &mut (impl Read + Write), (at_once, later): (&str, &str)) {
    stream.write_all(format!("{POST}{at_once}").as_bytes()).unwrap();
    let mut count = read_slowly(stream, 100_000).unwrap();
    if !later.is_empty() {
        stream.write_all(later.as_bytes()).unwrap();
    }
    count += read_slowly(stream, usize::MAX).unwrap_or_else(|error| {
        panic!("{error} within the answer, after {at_once:?} and {later:?}");
    });
    assert!(count > LARGE, "{count} bytes came, after {at_once:?} and {later:?}");
}

#[test]
fn what_a_client_sends_behind_its_last_request_does_not_cut_the_answer() {
    let origin = origin_of_large_answers();
    let gateway = Setup::to(&origin).start();
    for behind in BEHIND {
        assert_whole(&mut connect(gateway.addr), behind);
    }
    assert!(origin.requests().iter().all(|request| request.target == "/"));
}

#[test]
fn the_same_over_a_unix_socket() {
    let dir = TempDir::new();
    let socket = dir.path().join("odin.sock");
    let origin = origin_of_large_answers();
    let config = format!(
        "server: {{listen: ['127.0.0.1:0', 'unix:{}'], workers: 1, pinCores: false, \
         ioDriver: {}}}\nadmin: {{listen: '127.0.0.1:0'}}\n\
         services:\n  - {{name: a, basePath: /, targets: ['{}']}}\n",
        socket.display(),
        io_driver(),
        origin.url()
    );
    let _gateway = Gateway::start(dir, &config, &[]);
    for behind in BEHIND {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_whole(&mut stream, behind);
    }
}

#[test]
fn an_answer_that_is_still_being_read_outlives_the_idle_timeout() {
    let origin = origin_of_large_answers();
    let gateway = Setup::to(&origin).server("timeouts: {idle: 50ms}").start();
    let mut stream = connect(gateway.addr);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut count = read_slowly(&mut stream, LARGE / 2).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    count += read_slowly(&mut stream, usize::MAX).unwrap();
    assert!(count > LARGE, "{count} bytes came");
}

#[test]
fn a_client_that_reads_only_when_it_has_sent_everything_reads_why_it_was_refused() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).limits("bodyBytesMax: 1000").start();
    let size = 20_000_000;
    let chunk = [format!("{size:x}\r\n").as_bytes(), &vec![b'x'; size], b"\r\n0\r\n\r\n"].concat();
    for (status, head, body) in [
        (413, format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"), &chunk),
        (413, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".into(), &chunk),
        (400, format!("POST / HTTP/1.1\r\nContent-Length: {size}\r\n\r\n"), &chunk),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nq".into(), &chunk),
        (501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n".into(), &chunk),
    ] {
        let mut client = Client::connect(gateway.addr);
        assert!(client.try_send(head.as_bytes()) && client.try_send(body), "{head}");
        let response = client.response();
        assert_eq!(response.status, status, "{head}");
        assert!(response.closes() && !response.reason().is_empty(), "{head}");
        client.finish_sending();
        client.assert_closed();
    }
}

#[test]
fn a_client_that_was_too_slow_reads_so_whatever_it_sends_later() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).server("timeouts: {head: 200ms, body: 200ms}").start();
    for sent in
        ["GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhello"]
    {
        let mut client = Client::connect(gateway.addr);
        client.send(sent);
        let head = client.head();
        assert_eq!(head.status().unwrap(), 408, "{sent:?}");
        client.send("more");
        let framing = head.response_framing("GET").unwrap();
        let mut body = Vec::new();
        client.body(framing, |piece| body.extend_from_slice(piece)).unwrap();
        assert!(String::from_utf8(body).unwrap().contains("error"), "{sent:?}");
    }
}

#[test]
fn a_client_that_never_closes_is_closed_all_the_same() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    for request in [POST, "rubbish\r\n\r\n"] {
        let mut client = Client::connect(gateway.addr);
        client.send(request);
        client.response();
        // Its own side stays open; only the gateway's end is read.
        client.assert_closed();
        crate::support::wait_until("the gateway has closed its socket", || {
            let open = gateway.call("GET", "/metrics", "").text();
            open.contains("\nodin_connections_open{worker=\"0\"} 0\n")
        });
    }
}
