//! HTTP/2 to origins (`h2://`), in front of which the clients speak either version. The origin is a
//! second gateway, in front of a scripted one.

use std::time::Duration;

use odin::http::h2::frame::kind;

use crate::metrics::{scrape, value};
use crate::support::http2::{Http2, get};
use crate::support::{Client, Gateway, Origin, Setup, ask, get as get_http1};

/// A gateway whose target is spoken to by HTTP/2, and that target, in front of `origin`.
fn chain(origin: &Origin, keys: &str) -> (Gateway, Gateway) {
    let second = Setup::new()
        .service(&format!(
            "name: second, basePath: /, targets: ['{}'], requestTrailers: [x-check]",
            origin.url()
        ))
        .workers(1)
        .start();
    let first = in_front_of(&second, keys);
    (first, second)
}

/// The connections of HTTP/2 that have come to a gateway of one worker.
fn connections(gateway: &Gateway) -> f64 {
    value(&scrape(gateway), "odin_http2_connections_total{worker=\"0\"}")
}

fn in_front_of(second: &Gateway, keys: &str) -> Gateway {
    let target = second.addr;
    Setup::new()
        .service(&format!(
            "name: first, basePath: /, targets: ['h2://{target}'], requestTrailers: [x-check]{keys}"
        ))
        .workers(1)
        .start()
}

#[test]
fn both_versions_reach_an_origin_of_http2() {
    let origin = Origin::ok();
    let (first, second) = chain(&origin, "");
    let answer = ask(
        first.addr,
        "POST /a?b=c HTTP/1.1\r\nHost: a.example\r\nX-One: 1\r\nContent-Length: 5\r\n\r\nhello",
    );
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    let received = origin.only_request();
    assert_eq!(received.head.start, "POST /a?b=c HTTP/1.1");
    assert_eq!(
        (received.text().as_str(), received.head.get("host").as_deref()),
        ("hello", Some("a.example"))
    );
    assert_eq!(received.head.get("content-length").as_deref(), Some("5"));
    assert_eq!(received.head.get("x-one").as_deref(), Some("1"));
    let mut client = Http2::connect(first.addr);
    let answer = client.ask(1, &get("/"));
    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
    // All over one connection.
    assert_eq!(connections(&second), 1.0);
}

#[test]
fn long_bodies_and_trailers_go_both_ways() {
    let large = "z".repeat(300_000);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\
         X-Sum: 7\r\n\r\n",
        large.len()
    );
    let origin = Origin::raw(answer);
    let (first, _second) = chain(&origin, "");
    let mut client = Client::connect(first.addr);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..20 {
        client.send(format!("4000\r\n{}\r\n", "q".repeat(0x4000)));
    }
    client.send("0\r\nX-Check: 1\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.status, answer.body.len()), (200, large.len()));
    let received = origin.only_request();
    assert_eq!(received.body.len(), 20 * 0x4000);
    assert_eq!(received.trailers, [("x-check".to_owned(), b"1".to_vec())]);
    let mut client = Http2::connect(first.addr);
    let answer = client.ask(1, &get("/"));
    assert_eq!((answer.body.len(), answer.field("x-sum").as_str()), (large.len(), "7"));
}

#[test]
fn responses_without_bodies_are_whole() {
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            let answer = match request.target.as_str() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
                "/103" => {
                    "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n\
                     HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
                }
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
            };
            if !connection.send(answer) {
                return;
            }
        }
    });
    let (first, _second) = chain(&origin, "");
    let mut client = Client::connect(first.addr);
    for (path, status) in [("/204", 204), ("/304", 304)] {
        assert_eq!(client.get(path).status, status);
    }
    client.send("HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.response_to("HEAD");
    assert_eq!((answer.status, answer.head.get("content-length").as_deref()), (200, Some("7")));
    let mut client = Http2::connect(first.addr);
    let answer = client.ask(1, &get("/103"));
    assert_eq!((answer.heads.len(), answer.status()), (2, 200));
}

#[test]
fn what_a_client_gives_up_is_given_up_at_the_origin_alone() {
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            if request.target == "/slow" {
                assert!(connection.some().is_empty());
                return;
            }
            connection.answer("ok");
        }
    });
    let (first, second) = chain(&origin, "");
    let mut client = Http2::connect(first.addr);
    client.request(1, &get("/slow"), true);
    origin.wait_requests(1);
    client.frame(kind::RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    assert_eq!(client.ask(3, &get("/")).text(), "ok");
    assert_eq!(connections(&second), 1.0);
}

#[test]
fn an_origin_that_says_goodbye_loses_no_request() {
    let origin = Origin::ok();
    let (first, mut second) = chain(&origin, "");
    assert_eq!(get_http1(first.addr, "/").status, 200);
    second.terminate();
    assert!(second.wait_exit().success());
    assert_eq!(get_http1(first.addr, "/").status, 502);
}

#[test]
fn an_origin_of_http1_behind_h2_is_a_bad_gateway() {
    let origin = Origin::raw("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    let target = origin.addr();
    let gateway =
        Setup::new().service(&format!("name: a, basePath: /, targets: ['h2://{target}']")).start();
    assert_eq!(get_http1(gateway.addr, "/").status, 502);
}

#[test]
fn a_client_of_grpc_is_told_in_trailers_and_waited_for_as_it_says() {
    let origin = Origin::scripted(|connection, _| {
        let _ = connection.request();
        std::thread::sleep(Duration::from_secs(3));
    });
    let (first, _second) = chain(&origin, "");
    let mut client = Http2::connect(first.addr);
    let mut call = get("/a.Service/Call");
    call[0].1 = "POST";
    call.extend([
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", "200m"),
    ]);
    client.request(1, &call, false);
    client.data(1, &[0, 0, 0, 0, 0], true);
    let answer = client.until_over(1);
    assert_eq!((answer.status(), answer.heads.len(), answer.body.len()), (200, 1, 0));
    assert_eq!(answer.field("grpc-status"), "4", "DEADLINE_EXCEEDED: {answer:?}");
    assert_eq!(answer.field("content-type"), "application/grpc");
    assert!(!answer.field("grpc-message").is_empty());
    // Its origin is asked for trailers, which a gateway relays.
    let none = Setup::new().service("name: a, basePath: /x, targets: ['builtin:echo']").start();
    let mut client = Http2::connect(none.addr);
    assert_eq!(client.ask(1, &call).field("grpc-status"), "12", "UNIMPLEMENTED");
}
