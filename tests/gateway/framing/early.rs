//! `Expect: 100-continue`, and responses that come before the request's body was read.

use crate::support::carrier::over_both;
use crate::support::wire::Framing;
use crate::support::{Carrier, Gate, Origin, Setup, wasm};

const EXPECTING: &str =
    "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

/// An origin that keeps to RFC 9110 section 10.1.1: it asks for the body it expects.
fn polite_origin() -> Origin {
    Origin::scripted(|connection, _| {
        while let Some(head) = connection.head() {
            if head.head.has("expect") {
                connection.send("HTTP/1.1 100 Continue\r\n\r\n");
            }
            let mut body = Vec::new();
            if !connection.body(head.framing, |piece| body.extend_from_slice(piece)) {
                break;
            }
            connection.answer(&String::from_utf8(body).unwrap());
        }
    })
}

fn a_client_that_expects_continue_gets_it_before_it_sends(by: Carrier) {
    let origin = polite_origin();
    let gateway = Setup::to(&origin).carried_by(by).start();
    let mut client = gateway.client();
    for _ in 0..3 {
        client.send(EXPECTING);
        assert_eq!(client.head().status().unwrap(), 100);
        client.send("hello");
        let response = client.response();
        assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    }
}

fn a_client_that_does_not_wait_for_continue_is_served_too(by: Carrier) {
    let origin = polite_origin();
    let gateway = Setup::to(&origin).carried_by(by).start();
    let mut client = gateway.client();
    client.send(format!("{EXPECTING}hello"));
    assert_eq!(client.response().text(), "hello");
    assert_eq!(client.get("/next").status, 200);
}

fn an_origin_that_ignores_expect_gets_the_body_all_the_same(by: Carrier) {
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            connection.answer(&request.text());
        }
    });
    let gateway = Setup::to(&origin).carried_by(by).start();
    let mut client = gateway.client();
    client.send(EXPECTING);
    assert_eq!(client.head().status().unwrap(), 100);
    client.send("hello");
    assert_eq!(client.response().text(), "hello");
}

fn continue_is_not_sent_for_a_request_that_is_refused(by: Carrier) {
    let origin = Origin::ok();
    let setup = Setup::new()
        .service(&format!("name: a, basePath: /up, targets: ['{}']", origin.url()))
        .limits("bodyBytesMax: 4");
    let gateway = setup.carried_by(by).start();
    for (request, status) in [
        (EXPECTING.to_owned(), 413),
        (EXPECTING.replace("/up", "/nowhere"), 404),
        (EXPECTING.replace("Length: 5", "Length: +5"), 400),
    ] {
        let mut client = gateway.client();
        client.send(request);
        assert_eq!(client.head().status().unwrap(), status);
    }
    assert_eq!(origin.requests().len(), 0);
}

fn continue_is_not_sent_to_http10(by: Carrier) {
    let origin = polite_origin();
    let gateway = Setup::to(&origin).carried_by(by).start();
    let mut client = gateway.client();
    client.send(EXPECTING.replace("HTTP/1.1", "HTTP/1.0"));
    client.send("hello");
    assert_eq!(client.head().status().unwrap(), 200);
}

fn continue_comes_before_a_plugin_that_reads_the_body_and_not_before_one_that_refuses(by: Carrier) {
    let origin = polite_origin();
    let refusal = wasm::answering(r#"{"continue":false}"#);
    let gateway = Setup::to(&origin)
        .plugin("guard", refusal, "type: auth, allowedUrls: [^/guarded]")
        .plugin("reader", wasm::passing(), "type: request, allowedUrls: [^/up]")
        .carried_by(by)
        .start();
    let mut client = gateway.client();
    client.send(EXPECTING);
    assert_eq!(client.head().status().unwrap(), 100);
    client.send("hello");
    assert_eq!(client.response().text(), "hello");

    client.send(EXPECTING.replace("/up", "/guarded"));
    assert_eq!(client.head().status().unwrap(), 401);
}

/// What the client sends after the early response: the rest of a body that reads as a request.
const TAIL: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

fn an_early_response_reaches_the_client_and_the_unread_body_is_no_request(by: Carrier) {
    let origin = Origin::scripted(|connection, _| {
        if connection.head().is_some() {
            connection.send(
                "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
            );
            // The body stays unread.
        }
    });
    let gateway = Setup::to(&origin).carried_by(by).start();
    let mut client = gateway.client();
    let length = 100 + TAIL.len();
    client.send(format!("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (401, "no"));
    client.send("x".repeat(100) + TAIL);
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    // Either the gateway has read the body to its end and answers /next, or it closes.
    if let Ok(next) = client.try_response() {
        assert_eq!(next.status, 401);
    }
    drop(client);
    origin.wait_all_closed();
    let targets: Vec<String> = origin.requests().into_iter().map(|one| one.target).collect();
    assert!(!targets.contains(&"/smuggled".to_owned()), "{targets:?}");
}

fn an_early_response_ends_an_upload_that_nobody_reads(by: Carrier) {
    // The client sends more than all buffers on the way can hold, so it would block for ever if
    // the gateway neither read on nor closed.
    let origin = Origin::scripted(|connection, _| {
        if connection.head().is_some() {
            connection.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
            connection.end_sending();
            while !connection.some().is_empty() {}
        }
    });
    let gateway = Setup::to(&origin).carried_by(by).start();
    let mut client = gateway.client();
    let size = 64 << 20;
    client.send(format!("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"));
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (413, "no"));
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..64 {
        if !client.try_send(&piece) {
            break;
        }
    }
    assert_eq!(
        gateway.client().ask("POST /next HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").status,
        413
    );
}

fn a_response_may_begin_before_the_request_has_ended(by: Carrier) {
    // RFC 9112 section 9.3 allows it; an origin that transforms as it reads does it.
    let got_first = Gate::default();
    let tell = got_first.clone();
    let origin = Origin::scripted(move |connection, _| {
        let Some(head) = connection.head() else {
            return;
        };
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n");
        let mut body = Vec::new();
        connection.body(head.framing, |piece| {
            body.extend_from_slice(piece);
            tell.open();
        });
        assert_eq!(body, b"firstsecond");
        connection.send("4\r\nlate\r\n0\r\n\r\n");
    });
    let gateway = Setup::to(&origin).carried_by(by).start();
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nfirst");
    let head = client.head();
    assert_eq!(head.status().unwrap(), 200);
    got_first.wait();
    client.send("second");
    assert_eq!(head.response_framing("POST").unwrap(), Framing::Chunked);
    let mut body = Vec::new();
    client.body(Framing::Chunked, |piece| body.extend_from_slice(piece)).unwrap();
    assert_eq!(body, b"earlylate");
}

over_both!(
    a_client_that_expects_continue_gets_it_before_it_sends,
    a_client_that_does_not_wait_for_continue_is_served_too,
    an_origin_that_ignores_expect_gets_the_body_all_the_same,
    continue_is_not_sent_for_a_request_that_is_refused,
    continue_is_not_sent_to_http10,
    continue_comes_before_a_plugin_that_reads_the_body_and_not_before_one_that_refuses,
    an_early_response_reaches_the_client_and_the_unread_body_is_no_request,
    an_early_response_ends_an_upload_that_nobody_reads,
    a_response_may_begin_before_the_request_has_ended,
);
