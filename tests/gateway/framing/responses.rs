//! Responses of origins: what ends where, what is refused, and that a byte too many never becomes
//! somebody else's response.

use crate::support::carrier::over_both;
use crate::support::wire::{Framing, WireError};
use crate::support::{Carrier, Client, Gate, Origin, Setup, wasm};
use std::io::ErrorKind;

/// Name, section of RFC 9112, bytes.
const MALFORMED: &[(&str, &str, &[u8])] = &[
    (
        "Content-Length with chunked",
        "6.3",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "two lengths that differ",
        "6.3",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 2\r\n\r\nhello",
    ),
    ("list of lengths that differ", "6.3", b"HTTP/1.1 200 OK\r\nContent-Length: 5, 2\r\n\r\nhello"),
    ("signed length", "6.2", b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello"),
    ("negative length", "6.2", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
    ("length of 2^64", "6.2", b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n"),
    ("unknown coding", "6.1", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    (
        "chunked not last",
        "6.1",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    ),
    (
        "two codings",
        "6.1",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n\
              0\r\n\r\n",
    ),
    ("bare LF", "2.2", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    (
        "bare LF in a field",
        "2.2",
        b"HTTP/1.1 200 OK\r\nX-A: b\nX-C: d\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "bare CR in a field",
        "2.2",
        b"HTTP/1.1 200 OK\r\nX-A: b\rX-C: d\r\nContent-Length: 0\r\n\r\n",
    ),
    ("NUL in a value", "RFC 9110 5.5", b"HTTP/1.1 200 OK\r\nX-A: b\0\r\nContent-Length: 0\r\n\r\n"),
    ("no colon", "5.1", b"HTTP/1.1 200 OK\r\nX-A\r\nContent-Length: 0\r\n\r\n"),
    ("no name", "5.1", b"HTTP/1.1 200 OK\r\n: b\r\nContent-Length: 0\r\n\r\n"),
    ("not HTTP", "4", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    ("another version", "2.3", b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("status of two digits", "4", b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
    ("status of four digits", "4", b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
    ("status that is no number", "4", b"HTTP/1.1 2xx OK\r\nContent-Length: 0\r\n\r\n"),
    ("status below 100", "RFC 9110 15", b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"),
    ("status of 0", "RFC 9110 15", b"HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n"),
    ("closed without a byte", "6.3", b""),
    ("closed within the head", "8", b"HTTP/1.1 200 OK\r\nContent-Le"),
];

fn ambiguous_or_malformed_responses_are_a_bad_gateway(by: Carrier) {
    let big = format!("HTTP/1.1 200 OK\r\nX-Big: {}\r\n\r\n", "x".repeat(1 << 20));
    let mut cases = MALFORMED.to_vec();
    cases.push(("head over its limit", "3", big.as_bytes()));
    let mut failures = Vec::new();
    for (name, rfc, answer) in cases {
        let origin = Origin::raw_then_close(answer);
        let gateway = Setup::to(&origin).carried_by(by).start();
        let mut client = gateway.client();
        match client.send_get_and_read() {
            Ok(response) if response.status == 502 => drop(response.reason()),
            other => failures.push(format!("{name} (section {rfc}): {other:?}")),
        }
    }
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

impl Client {
    fn send_get_and_read(&mut self) -> Result<crate::support::Response, WireError> {
        self.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        self.try_response()
    }
}

fn folds_and_spaces_in_response_fields_never_reach_the_client(by: Carrier) {
    // RFC 9112 sections 5.1 and 5.2: a proxy repairs them or refuses; it may not pass them on. The
    // strict reader of these tests fails on either.
    for answer in [
        "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    ] {
        let origin = Origin::raw_then_close(answer);
        let gateway = Setup::to(&origin).carried_by(by).start();
        let response = gateway.client().get("/");
        assert!([200, 502].contains(&response.status), "{answer:?}: {}", response.status);
        if response.status == 200 {
            assert_eq!(response.text(), "ok", "{answer:?}");
        }
    }
}

fn bodies_keep_their_length_whatever_delimits_them(by: Carrier) {
    // (name, answer, what the client must get)
    let cases = [
        ("length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"),
        ("length 0", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
        (
            "chunks",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                    2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
            "hello",
        ),
        (
            "chunks with padding",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                    5 ;x=y\r\nhello\r\n00000000000000000000\r\n\r\n",
            "hello",
        ),
        ("end of connection", "HTTP/1.1 200 OK\r\n\r\nhello", "hello"),
        ("end of an HTTP/1.0 connection", "HTTP/1.0 200 OK\r\n\r\nhello", "hello"),
        ("HTTP/1.0 with a length", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"),
        ("no reason phrase", "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", "hello"),
    ];
    for (name, answer, expected) in cases {
        let origin = Origin::raw_then_close(answer);
        let gateway = Setup::to(&origin).carried_by(by).start();
        let mut client = gateway.client();
        let response = client.get("/");
        assert_eq!((response.status, response.text().as_str()), (200, expected), "{name}");
        if response.framing == Framing::Eof {
            assert!(response.closes(), "{name}: ends by closing, so it must say so");
        } else {
            assert_eq!(client.get("/").status, 200, "{name}: the client's connection is kept");
        }
    }
}

fn a_status_without_a_class_passes_and_counts_as_a_failure_of_the_origin(by: Carrier) {
    // RFC 9110 section 15: clients take it for a 5xx. RFC 9112 section 4: phrases mean nothing.
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            let status = request.target.trim_start_matches('/');
            connection.send(format!(
                "HTTP/1.1 199 Unheard Of\r\n\r\nHTTP/1.1 {status} Words Of Its Own\r\n\
                 Content-Length: 2\r\n\r\nok"
            ));
        }
    });
    let same = wasm::answering(
        r#"{"continue":true,"modified":true,"response":{"statusCode":700,"body":"ok"}}"#,
    );
    let gateway = Setup::to(&origin)
        .plugin("same", same, "type: response, allowedUrls: ['^/700']")
        .logging("accessLog: stdout")
        .carried_by(by)
        .start();
    let mut client = gateway.client();
    for (status, line) in [
        (200, "HTTP/1.1 200 OK"),
        (299, "HTTP/1.1 299 "),
        (599, "HTTP/1.1 599 "),
        (600, "HTTP/1.1 600 "),
        (700, "HTTP/1.1 700 "),
        (999, "HTTP/1.1 999 "),
    ] {
        client.send(format!("GET /{status} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.head().status().unwrap(), 199);
        let response = client.response();
        assert_eq!((response.head.start.as_str(), response.text().as_str()), (line, "ok"));
        gateway.wait_log(&format!("path=/{status} status={status} "));
    }
    let metrics = gateway.call("GET", "/metrics", "").text();
    for line in [
        "odin_requests_total{service=\"all\",status=\"5xx\"} 4",
        "odin_upstream_requests_total{service=\"all\",outcome=\"5xx\"} 4",
    ] {
        assert!(metrics.contains(line), "no {line} in {metrics}");
    }
}

fn http10_clients_get_no_chunks(by: Carrier) {
    // RFC 9112 section 7.1: never to a client that has not shown HTTP/1.1.
    let origin = Origin::raw(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: u\r\n\r\n",
    );
    let gateway = Setup::to(&origin).carried_by(by).start();
    for connection in ["", "Connection: keep-alive\r\n"] {
        let mut client = gateway.client();
        let response = client.ask(format!("GET / HTTP/1.0\r\n{connection}\r\n"));
        assert_eq!((response.framing, response.text().as_str()), (Framing::Eof, "hello"));
        assert!(!response.head.has("transfer-encoding"));
        client.assert_closed();
    }
}

fn responses_without_a_body_have_none_whatever_their_head_says(by: Carrier) {
    // RFC 9110 sections 6.4.1, 9.3.2, 15.3.5, 15.4.5. The origin sends a body all the same.
    let cases = [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, Some("5")),
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            200,
            None,
        ),
        ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", 204, None),
        (
            "GET",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            204,
            None,
        ),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", 304, Some("5")),
    ];
    for (method, answer, status, length) in cases {
        let origin = Origin::scripted(move |connection, _| {
            while let Some(request) = connection.request() {
                let target = request.target;
                if target == "/next" {
                    connection.answer("next");
                } else {
                    connection.send(answer);
                }
            }
        });
        let gateway = Setup::to(&origin).carried_by(by).start();
        let mut client = gateway.client();
        let response = client.ask(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!((response.status, response.body.len()), (status, 0), "{answer:?}");
        if status == 204 {
            assert!(!response.head.has("content-length"), "RFC 9110 section 8.6: {answer:?}");
            assert!(!response.head.has("transfer-encoding"), "RFC 9112 section 6.1: {answer:?}");
        } else if let (Some(length), Some(got)) = (length, response.head.get("content-length")) {
            assert_eq!(got, length, "{answer:?}");
        }
        // The bytes that should not have been sent are nobody's response.
        let next = client.get("/next");
        assert_eq!((next.status, next.text().as_str()), (200, "next"), "after {answer:?}");
    }
}

fn head_keeps_the_length_that_get_would_have(by: Carrier) {
    let origin = Origin::raw("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n");
    let gateway = Setup::to(&origin).carried_by(by).start();
    let mut client = gateway.client();
    for _ in 0..3 {
        let response = client.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(response.head.get("content-length").unwrap(), "1234");
    }
    assert_eq!(origin.connections(), 1, "a response to HEAD leaves the connection usable");
}

fn bytes_after_a_response_never_become_the_next_response(by: Carrier) {
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            if request.target == "/next" {
                connection.answer("next");
            } else {
                connection.send(
                    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\
                     HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned",
                );
            }
        }
    });
    let gateway = Setup::to(&origin).carried_by(by).start();
    for _ in 0..20 {
        assert_eq!(gateway.client().get("/").text(), "ok");
        assert_eq!(gateway.client().get("/next").text(), "next");
    }
}

fn a_response_that_nobody_asked_for_is_nobodys_response(by: Carrier) {
    let (idle, sent) = (Gate::default(), Gate::default());
    let (wait_idle, tell_sent) = (idle.clone(), sent.clone());
    let origin = Origin::scripted(move |connection, number| {
        while let Some(request) = connection.request() {
            connection.answer(&format!("{} on {number}", request.target));
            if number == 0 {
                wait_idle.wait();
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned");
                tell_sent.open();
            }
        }
    });
    let gateway = Setup::to(&origin).carried_by(by).start();
    assert_eq!(gateway.client().get("/a").text(), "/a on 0");
    idle.open();
    sent.wait();
    assert_eq!(gateway.client().get("/b").text(), "/b on 1");
}

fn a_response_cut_short_is_cut_short_for_the_client_too(by: Carrier) {
    // RFC 9112 section 8: an incomplete response must not look complete.
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        // Broken rather than short.
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nrubbish\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
    ] {
        let origin = Origin::raw_then_close(answer);
        let gateway = Setup::to(&origin).carried_by(by).start();
        let mut client = gateway.client();
        match client.send_get_and_read() {
            Err(WireError::Truncated | WireError::Closed) => {}
            // A gateway that had not sent its head yet may say it openly.
            Ok(response) if response.status == 502 => {}
            other => panic!("{answer:?} became {other:?}"),
        }
    }
}

fn a_body_that_breaks_before_any_of_it_was_sent_is_a_bad_gateway(by: Carrier) {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (what, body) in [
        ("no size", "rubbish\r\n"),
        ("a size over 64 bits", "fffffffffffffffff\r\n"),
        ("a bare LF", "5\nhello\r\n0\r\n\r\n"),
        ("no CR LF behind the data", "5\r\nhelloXX0\r\n\r\n"),
        ("a good chunk, then none", "5\r\nhello\r\nrubbish\r\n"),
        ("a trailer without a colon", "5\r\nhello\r\n0\r\nrubbish\r\n\r\n"),
    ] {
        let origin = Origin::raw_then_close(format!("{HEAD}{body}"));
        let gateway = Setup::to(&origin).logging("accessLog: stdout").carried_by(by).start();
        let mut client = gateway.client();
        let response = client.get("/first");
        assert_eq!(response.status, 502, "{what}");
        assert!(!response.reason().is_empty(), "{what}");
        assert_eq!(client.get("/second").status, 502, "{what}: the connection is kept");
        gateway.wait_log("path=/first status=502");
        let metrics = gateway.call("GET", "/metrics", "").text();
        for line in [
            "odin_requests_total{service=\"all\",status=\"5xx\"} 2",
            "odin_upstream_errors_total{service=\"all\",kind=\"bad_response_body\"} 2",
        ] {
            assert!(metrics.contains(line), "{what}: no {line} in {metrics}");
        }
    }
}

fn a_body_that_breaks_later_is_visibly_cut_and_told_of(by: Carrier) {
    for (what, head, rest) in [
        ("chunks", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "rubbish\r\n"),
        ("a length", "Content-Length: 50\r\n\r\nhello", " world"),
    ] {
        for version in ["1.1", "1.0"] {
            let read = Gate::default();
            let wait_read = read.clone();
            let origin = Origin::scripted(move |connection, _| {
                if connection.request().is_some() {
                    connection.send(format!("HTTP/1.1 200 OK\r\n{head}"));
                    wait_read.wait();
                    connection.send(rest);
                }
            });
            let gateway = Setup::to(&origin).logging("accessLog: stdout").carried_by(by).start();
            let mut client = gateway.client();
            client.send(format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n"));
            let mut got = Vec::new();
            while !got.windows(5).any(|piece| piece == b"hello") {
                got.extend(client.take(1));
            }
            read.open();
            let (rest, ended) = client.ending();
            got.extend(rest);
            let got = String::from_utf8(got).unwrap();
            if got.contains("Content-Length: 50") {
                assert!(got.len() < got.find("hello").unwrap() + 50, "{what} {version}: {got}");
            } else if version == "1.1" {
                assert!(!got.contains("\r\n0\r\n"), "{what} {version}: {got}");
            } else {
                // Nothing in the bytes could tell that this is not all.
                let kind = ended.map_err(|error| error.kind());
                assert_eq!(kind, Err(ErrorKind::ConnectionReset), "{what}: {got}");
            }
            gateway.wait_log("error=");
            let metrics = gateway.call("GET", "/metrics", "").text();
            assert!(metrics.contains("odin_exchanges_failed_total{worker=\"0\"} 1\n"), "{metrics}");
        }
    }
}

fn hop_by_hop_fields_are_taken_out_of_responses(by: Carrier) {
    let origin = Origin::raw(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Secret\r\nX-Secret: 1\r\nX-Stays: 2\r\n\
         Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\n\
         Content-Length: 2\r\n\r\nok",
    );
    let gateway = Setup::to(&origin).carried_by(by).start();
    let response = gateway.client().get("/");
    for gone in ["x-secret", "keep-alive", "proxy-connection", "upgrade"] {
        assert!(!response.head.has(gone), "{gone} in {}", response.head);
    }
    assert_eq!(response.head.get("x-stays").unwrap(), "2");
}

fn the_framing_of_a_response_cannot_be_nominated_away(by: Carrier) {
    let origin = Origin::raw(
        "HTTP/1.1 200 OK\r\nConnection: content-length, set-cookie\r\nSet-Cookie: a=b\r\n\
         Content-Length: 2\r\n\r\nok",
    );
    let gateway = Setup::to(&origin).carried_by(by).start();
    assert_eq!(gateway.client().get("/").text(), "ok");
}

fn response_trailers_pass_but_cannot_smuggle_forbidden_fields(by: Carrier) {
    let origin = Origin::raw(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\n\
         X-Sum: 12\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\
         Set-Cookie: evil=1\r\n\r\n",
    );
    let gateway = Setup::to(&origin).carried_by(by).start();
    let mut client = gateway.client();
    let response = client.get("/");
    assert_eq!(response.text(), "hello");
    assert_eq!(response.trailers, [("X-Sum".to_owned(), b"12".to_vec())]);
    assert_eq!(client.get("/").text(), "hello");
}

fn no_response_trailer_passes_response_plugins_that_its_service_does_not_name(by: Carrier) {
    let origin = Origin::raw(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\
         X-Internal: 7\r\nX-Sum: 12\r\n\r\n",
    );
    let removing = r#"{"modified":true,"continue":true,"response":{"headers":{"X-Internal":[]}}}"#;
    for (keys, expected) in
        [("", &[][..]), (", responseTrailers: [x-sum]", &[("X-Sum".to_owned(), b"12".to_vec())])]
    {
        let gateway = Setup::new()
            .service(&format!("name: all, basePath: /, targets: ['{}'] {keys}", origin.url()))
            .plugin("hiding", wasm::answering(removing), "type: response, body: false")
            .carried_by(by)
            .start();
        let response = gateway.client().get("/");
        assert_eq!(response.text(), "hello");
        assert_eq!(response.trailers, expected, "{keys}");
    }
}

fn interim_responses_do_not_end_the_exchange(by: Carrier) {
    // RFC 9110 section 15.2: any number of 1xx may come before the response.
    let origin = Origin::raw(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
         HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let gateway = Setup::to(&origin).carried_by(by).start();
    let mut client = gateway.client();
    for _ in 0..3 {
        let response = client.get("/");
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    }
    assert_eq!(origin.connections(), 1);
}

fn http10_clients_get_no_interim_responses(by: Carrier) {
    // RFC 9110 section 15.2: a server must not send 1xx to an HTTP/1.0 client.
    let origin = Origin::raw(
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let gateway = Setup::to(&origin).carried_by(by).start();
    let mut client = gateway.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.head().status().unwrap(), 200);
}

fn an_endless_row_of_interim_responses_ends_in_a_bad_gateway(by: Carrier) {
    let origin = Origin::scripted(|connection, _| {
        if connection.request().is_some() {
            while connection.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n") {}
        }
    });
    let gateway = Setup::to(&origin).carried_by(by).start();
    assert_eq!(gateway.client().get("/").status, 502);
    origin.wait_all_closed();
}

over_both!(
    ambiguous_or_malformed_responses_are_a_bad_gateway,
    folds_and_spaces_in_response_fields_never_reach_the_client,
    bodies_keep_their_length_whatever_delimits_them,
    a_status_without_a_class_passes_and_counts_as_a_failure_of_the_origin,
    http10_clients_get_no_chunks,
    responses_without_a_body_have_none_whatever_their_head_says,
    head_keeps_the_length_that_get_would_have,
    bytes_after_a_response_never_become_the_next_response,
    a_response_that_nobody_asked_for_is_nobodys_response,
    a_response_cut_short_is_cut_short_for_the_client_too,
    a_body_that_breaks_before_any_of_it_was_sent_is_a_bad_gateway,
    a_body_that_breaks_later_is_visibly_cut_and_told_of,
    hop_by_hop_fields_are_taken_out_of_responses,
    the_framing_of_a_response_cannot_be_nominated_away,
    response_trailers_pass_but_cannot_smuggle_forbidden_fields,
    no_response_trailer_passes_response_plugins_that_its_service_does_not_name,
    interim_responses_do_not_end_the_exchange,
    http10_clients_get_no_interim_responses,
    an_endless_row_of_interim_responses_ends_in_a_bad_gateway,
);
