//! The gateway between real peers: nginx as the origin, wrk as the client. Both are Debian's;
//! `make test` installs them.

use crate::support::{Client, Gateway, Nginx, Setup};
use std::process::Command;
use std::time::{Duration, Instant};

fn before_nginx(workers: usize) -> (Nginx, Gateway) {
    let nginx = Nginx::start("root html; gzip on; gzip_min_length 1;", |dir| {
        dir.write("html/index.html", "hello from nginx\n");
    });
    let gateway = Setup::new()
        .service(&format!("name: nginx, basePath: /, targets: ['http://{}']", nginx.addr))
        .log_level("info")
        .workers(workers)
        .start();
    (nginx, gateway)
}

/// The number before `words` in wrk's report.
fn count_before(report: &str, words: &str) -> Option<u64> {
    let before = report.split_once(words)?.0;
    before.split_whitespace().next_back()?.parse().ok()
}

#[test]
fn a_hundred_thousand_requests_through_nginx_and_none_fails() {
    let (_nginx, gateway) = before_nginx(2);
    let start = Instant::now();
    let mut requests = 0;
    // wrk counts time, not requests: as many slices as it takes.
    while requests < 100_000 {
        let output = Command::new("wrk")
            .args(["-t", "2", "-c", "64", "-d", "4s", "--timeout", "20s"])
            .arg(format!("http://{}/index.html", gateway.addr))
            .output()
            .expect("wrk is installed (`make test` does it)");
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{report}");
        assert!(!report.contains("Socket errors"), "{report}");
        assert!(!report.contains("Non-2xx"), "{report}");
        requests += count_before(&report, " requests in ").expect("wrk reports its requests");
        assert!(start.elapsed() < Duration::from_secs(240), "{requests} requests so far");
    }
}

#[test]
fn nginxs_files_ranges_validators_and_errors_pass_unchanged() {
    let (nginx, gateway) = before_nginx(1);
    let mut direct = Client::connect(nginx.addr);
    let mut through = Client::connect(gateway.addr);
    for request in [
        "GET /index.html HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD /index.html HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /index.html HTTP/1.1\r\nHost: a\r\nRange: bytes=6-9\r\n\r\n",
        "GET /index.html HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1,4-5\r\n\r\n",
        "GET /index.html HTTP/1.1\r\nHost: a\r\nRange: bytes=900-\r\n\r\n",
        "GET /index.html HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n",
        "GET /index.html HTTP/1.1\r\nHost: a\r\nIf-Modified-Since: \
         Fri, 01 Jan 2100 00:00:00 GMT\r\n\r\n",
        "GET /missing HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /index.html HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let (mut expected, mut got) = (direct.ask(request), through.ask(request));
        assert_eq!(got.status, expected.status, "{request:?}");
        // The boundary between parts is a random number.
        if expected.head.get("content-type").is_some_and(|kind| kind.starts_with("multipart")) {
            expected.body.clear();
            got.body.clear();
        }
        assert_eq!(got.body, expected.body, "{request:?}");
        for name in ["content-length", "content-range", "content-encoding", "etag", "last-modified"]
        {
            assert_eq!(got.head.all(name), expected.head.all(name), "{request:?} {name}");
        }
    }
}
