//! When the client's connection is kept, and when it is closed.

use crate::support::{Client, Origin, Setup, get};

#[test]
fn a_connection_serves_many_requests() {
    let origin = Origin::naming_targets();
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    for number in 0..1000 {
        assert_eq!(client.get(&format!("/{number}")).text(), format!("/{number}"));
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn connection_close_is_honoured_and_said() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    for close in ["close", "Close", "keep-alive, close", "close, X-Other"] {
        let mut client = Client::connect(gateway.addr);
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {close}\r\n\r\n");
        let response = client.ask(request);
        assert!(response.closes(), "{close}: {}", response.head);
        client.assert_closed();
    }
}

#[test]
fn a_request_after_connection_close_is_not_read() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    client.send(
        "GET /one HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n\
         GET /two HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(client.response().status, 200);
    client.assert_closed();
    assert_eq!(origin.only_request().target, "/one");
}

#[test]
fn http10_closes_unless_it_asks_to_keep() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    assert_eq!(client.ask("GET / HTTP/1.0\r\n\r\n").text(), "ok");
    client.assert_closed();

    let mut client = Client::connect(gateway.addr);
    for _ in 0..3 {
        let response = client.ask("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
        assert_eq!(response.text(), "ok");
        // An HTTP/1.0 client can know that it is kept only from this (RFC 9112 section 9.3).
        let connection = response.head.get("connection").unwrap_or_default();
        assert!(connection.eq_ignore_ascii_case("keep-alive"), "{}", response.head);
    }
}

#[test]
fn the_clients_connection_outlives_the_origins() {
    let origin = Origin::raw_then_close(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    );
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    for _ in 0..5 {
        let response = client.get("/");
        assert_eq!(response.text(), "ok");
        assert!(!response.closes(), "{}", response.head);
    }
    assert_eq!(origin.connections(), 5);
}

#[test]
fn a_refusal_that_leaves_the_framing_clear_keeps_the_connection() {
    let gateway = Setup::new().service("name: a, basePath: /a, targets: ['builtin:echo']").start();
    let mut client = Client::connect(gateway.addr);
    assert_eq!(client.get("/nowhere").status, 404);
    assert_eq!(client.get("/a").status, 200);
}

#[test]
fn a_body_that_nobody_wants_is_not_the_next_request() {
    let gateway = Setup::new().service("name: a, basePath: /a, targets: ['builtin:echo']").start();
    let mut client = Client::connect(gateway.addr);
    let inner = "GET /a/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(format!(
        "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{inner}\
         GET /a/next HTTP/1.1\r\nHost: a\r\n\r\n",
        inner.len()
    ));
    assert_eq!(client.response().status, 404);
    // The gateway may read the body to its end and go on, or close; it may not answer the inner.
    if let Ok(next) = client.try_response() {
        assert!(next.json()["url"].as_str().unwrap().ends_with("/a/next"), "{}", next.text());
    }
}

#[test]
fn a_client_that_ends_its_sending_still_gets_its_response() {
    // `nc` and many scripts shut their side down after the request (RFC 9112 section 9.6).
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.finish_sending();
    assert_eq!(client.response().text(), "ok");
    client.assert_closed();
}

#[test]
fn a_client_that_leaves_without_a_word_harms_nobody() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    for sent in ["", "GET", "GET / HTTP/1.1\r\nHo", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        for _ in 0..20 {
            let mut client = Client::connect(gateway.addr);
            client.send(sent);
        }
    }
    assert_eq!(get(gateway.addr, "/").status, 200);
}
