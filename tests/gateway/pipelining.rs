//! Requests that come before the response to the one before.

use crate::support::{Client, Gate, Origin, Setup};
use std::fmt::Write as _;

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let origin = Origin::naming_targets();
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    let mut requests = String::new();
    for number in 0..200 {
        write!(requests, "GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    client.send(requests);
    for number in 0..200 {
        assert_eq!(client.response().text(), format!("/{number}"));
    }
}

#[test]
fn a_fast_response_waits_for_the_slow_one_before_it() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::scripted(move |connection, _| {
        while let Some(request) = connection.request() {
            if request.target == "/slow" {
                held.wait();
            }
            connection.answer(&request.target);
        }
    });
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET /fast HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_requests(1);
    gate.open();
    assert_eq!(client.response().text(), "/slow");
    assert_eq!(client.response().text(), "/fast");
}

#[test]
fn bodies_between_pipelined_requests_end_where_they_say() {
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            connection.answer(&format!("{} {}", request.target, request.text()));
        }
    });
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    client.send(
        "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
         POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
         GET /3 HTTP/1.1\r\nHost: a\r\n\r\n\
         POST /4 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n\
         GET /5 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    for expected in ["/1 hello", "/2 abc", "/3 ", "/4 ", "/5 "] {
        assert_eq!(client.response().text(), expected);
    }
}

#[test]
fn head_and_get_are_told_apart_when_pipelined() {
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            let body = if request.method == "HEAD" { "" } else { "hello" };
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{body}"));
        }
    });
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3));
    for _ in 0..3 {
        assert_eq!(client.response_to("HEAD").body.len(), 0);
        assert_eq!(client.response().text(), "hello");
    }
}

#[test]
fn responses_before_a_refused_request_are_delivered() {
    let origin = Origin::naming_targets();
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    client.send(
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n\
         GET /3 HTTP/1.1\r\nHost : a\r\n\r\nGET /4 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(client.response().text(), "/1");
    assert_eq!(client.response().text(), "/2");
    assert_eq!(client.response().status, 400);
    client.assert_closed();
    assert_eq!(origin.requests().len(), 2);
}

/// What has come may end like a head and be more than one.
#[test]
fn a_head_ends_at_its_first_empty_line_whatever_the_packet_ends_with() {
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            connection.answer(&request.text());
        }
    });
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    client
        .send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nbody\r\n\r\n{get}"));
    assert_eq!(client.response().text(), "body\r\n\r\n");
    assert_eq!(client.response().status, 200);
}

#[test]
fn empty_lines_before_a_request_are_passed_over_however_they_come() {
    // RFC 9112 section 2.2; some clients send one behind a body.
    let origin = Origin::naming_targets();
    let gateway = Setup::to(&origin).start();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut client = Client::connect(gateway.addr);
    for (number, pieces) in [
        vec!["\r\n"],
        vec!["\r", "\n"],
        vec!["\r\n", "\r\n"],
        vec!["\r\n\r", "\n\r\n"],
        vec!["POST /0 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok\r\n"],
        vec!["POST /0 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok\r", "\n"],
    ]
    .iter()
    .enumerate()
    {
        for piece in pieces {
            client.send(piece);
            // So that they are read one by one, mostly: right it is in any case.
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        client.send(get(&format!("/{number}")));
        if pieces[0].starts_with("POST") {
            assert_eq!(client.response().text(), "/0", "{pieces:?}");
        }
        assert_eq!(client.response().text(), format!("/{number}"), "{pieces:?}");
    }
    client.send_bytewise(format!("\r\n\r\n{}", get("/bytewise")));
    assert_eq!(client.response().text(), "/bytewise");
}

#[test]
fn empty_lines_before_a_request_are_not_without_number() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for (what, before) in [
        ("17 empty lines", "\r\n".repeat(17)),
        ("a bare CR", "\r".into()),
        ("a bare LF", "\n".into()),
        ("a line of a space", " \r\n".into()),
    ] {
        let mut client = Client::connect(gateway.addr);
        client.send(format!("{before}{get}"));
        let response = client.response();
        assert_eq!(response.status, 400, "{what}");
        assert!(!response.reason().is_empty() && response.closes(), "{what}");
    }
    assert_eq!(Client::connect(gateway.addr).ask("\r\n".repeat(16) + get).status, 200);
    assert_eq!(origin.requests().len(), 1);
}
