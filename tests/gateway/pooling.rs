//! Connections to origins: kept, shared, bounded, and replaced when they have gone stale.

use crate::support::wire::Framing;
use crate::support::{Client, Gate, Gateway, Origin, Setup, get, post, wait_until};

#[test]
fn clients_one_after_another_share_a_connection() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    for _ in 0..50 {
        assert_eq!(get(gateway.addr, "/").status, 200);
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_connection_is_reused_after_every_kind_of_complete_response() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let origin = Origin::raw(answer);
        let gateway = Setup::to(&origin).start();
        for _ in 0..5 {
            get(gateway.addr, "/");
            post(gateway.addr, "/", "hello");
        }
        assert_eq!(origin.connections(), 1, "{answer:?}");
    }
}

#[test]
fn concurrent_requests_use_no_more_connections_than_they_need() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::scripted(move |connection, _| {
        while connection.request().is_some() {
            held.wait();
            connection.answer("ok");
        }
    });
    let gateway = Setup::to(&origin).start();
    let ask_all = || {
        let mut clients: Vec<Client> = (0..10).map(|_| Client::connect(gateway.addr)).collect();
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        clients
    };
    let mut clients = ask_all();
    origin.wait_requests(10);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().text(), "ok");
    }
    assert_eq!(origin.connections(), 10);
    for client in &mut ask_all() {
        assert_eq!(client.response().text(), "ok");
    }
    assert_eq!(origin.connections(), 10, "the second ten found the connections of the first");
}

/// An origin whose first connection answers one request and is then closed, or, if `told`, reads
/// a second one first and closes without a word.
fn closing_origin(reads_second: bool, closed: Gate) -> Origin {
    Origin::scripted(move |connection, number| {
        if number == 0 {
            connection.request();
            connection.answer("first");
            if reads_second {
                connection.request();
            }
            connection.end_sending();
            closed.open();
            return;
        }
        while connection.request().is_some() {
            connection.answer("again");
        }
    })
}

#[test]
fn a_connection_that_the_origin_closed_while_idle_is_replaced() {
    for method in ["GET", "POST"] {
        let closed = Gate::default();
        let origin = closing_origin(false, closed.clone());
        let gateway = Setup::to(&origin).start();
        assert_eq!(get(gateway.addr, "/").text(), "first");
        closed.wait();
        let mut client = Client::connect(gateway.addr);
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        let response = client.ask(request);
        assert_eq!((response.status, response.text().as_str()), (200, "again"), "{method}");
    }
}

/// What the second request gets when the origin closes as that request arrives.
fn ask_into_a_closing_connection(gateway: &Gateway, request: &str) -> (u16, String) {
    assert_eq!(get(gateway.addr, "/").text(), "first");
    let response = Client::connect(gateway.addr).ask(request);
    (response.status, response.text())
}

#[test]
fn an_idempotent_request_on_a_stale_connection_is_sent_again() {
    for request in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let origin = closing_origin(true, Gate::default());
        let gateway = Setup::to(&origin).start();
        let (status, text) = ask_into_a_closing_connection(&gateway, request);
        assert_eq!((status, text.as_str()), (200, "again"), "{request:?}");
    }
}

#[test]
fn a_request_that_is_not_idempotent_is_never_sent_twice() {
    // RFC 9110 section 9.2.2.
    let origin = closing_origin(true, Gate::default());
    let gateway = Setup::to(&origin).start();
    let request = "POST /once HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    let (status, _) = ask_into_a_closing_connection(&gateway, request);
    assert_eq!(status, 502);
    let count = origin.requests().iter().filter(|request| request.target == "/once").count();
    assert_eq!(count, 1);
}

#[test]
fn a_fresh_connection_that_closes_is_not_tried_again() {
    let origin = Origin::scripted(|connection, _| drop(connection.request()));
    let gateway = Setup::to(&origin).start();
    assert_eq!(get(gateway.addr, "/").status, 502);
    assert_eq!(origin.requests().len(), 1, "else a dying origin is asked for ever");
}

#[test]
fn no_idle_connections_are_kept_where_the_limit_is_zero() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).limits("upstreamIdleMax: 0").start();
    for _ in 0..3 {
        assert_eq!(get(gateway.addr, "/").status, 200);
    }
    assert_eq!(origin.connections(), 3);
    origin.wait_all_closed();
}

#[test]
fn idle_connections_are_closed_after_their_time() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).server("timeouts: {upstreamIdle: 100ms}").start();
    assert_eq!(get(gateway.addr, "/").status, 200);
    origin.wait_all_closed();
    assert_eq!(get(gateway.addr, "/").status, 200);
    assert_eq!(origin.connections(), 2);
}

#[test]
fn a_client_that_leaves_ends_its_exchange_at_the_origin() {
    // 1. the client asks, 2. the origin begins an endless response, 3. the client leaves: the
    // origin must see its connection end, or abandoned downloads would run for ever.
    let origin = Origin::scripted(|connection, _| {
        if connection.request().is_some() {
            connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            while connection.send("5\r\nhello\r\n") {}
        }
    });
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().response_framing("GET").unwrap(), Framing::Chunked);
    drop(client);
    origin.wait_all_closed();
    assert_eq!(origin.connections(), 1);
}

#[test]
fn every_worker_serves_and_keeps_its_own_connections() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).workers(3).start();
    // The kernel spreads connections by hashing their ports, so enough of them meet every worker.
    let mut clients: Vec<Client> = (0..64).map(|_| Client::connect(gateway.addr)).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(origin.requests().len(), 64);
    wait_until("three workers have a connection each", || origin.connections() >= 2);
    assert!(origin.connections() <= 3, "one after another, a worker needs one connection");
}
