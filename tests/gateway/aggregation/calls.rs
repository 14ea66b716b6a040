//! `calls`: several services asked at once, their JSON under their names.

use super::{json, saying, targets, with_service};
use crate::support::{Client, Gate, Origin, Setup, get, get_with, post};

/// `/both` calls `a` and `b`.
fn both(a: &Origin, b: &Origin, keys: &str) -> Setup {
    let setup = with_service(with_service(Setup::new(), "a", a), "b", b);
    setup.service(&format!(
        "name: both, basePath: /both, aggregation: {{{keys} calls: [{{name: first, service: a, \
         path: /x/1}}, {{name: second, service: b, path: '/y?z=2'}}]}}"
    ))
}

#[test]
fn answers_are_merged_under_their_names_as_they_stand() {
    let (a, b) = (saying(r#"{ "n": 1.10 }"#), saying("[1, 2]"));
    let gateway = both(&a, &b, "mode: merge,").start();
    let response = get(gateway.addr, "/both");
    assert_eq!(response.status, 200);
    assert_eq!(response.text(), r#"{"first":{ "n": 1.10 },"second":[1, 2]}"#);
    assert_eq!(response.head.get("content-type").unwrap(), "application/json");
    assert!(response.head.has("date"));
    assert!(!response.head.has("etag"), "it is of another response");
    assert_eq!(a.only_request().method, "GET");
}

#[test]
fn all_calls_are_open_before_any_is_answered() {
    // Each origin answers only when both have been asked: one after the other would never end.
    let gate = Gate::default();
    let waiting = |gate: Gate| {
        Origin::scripted(move |connection, _| {
            while connection.request().is_some() {
                gate.wait();
                connection.send(json("1"));
            }
        })
    };
    let (a, b) = (waiting(gate.clone()), waiting(gate.clone()));
    let gateway = both(&a, &b, "").start();
    let mut client = Client::connect(gateway.addr);
    client.send("GET /both HTTP/1.1\r\nHost: a\r\n\r\n");
    a.wait_requests(1);
    b.wait_requests(1);
    gate.open();
    assert_eq!(client.response().text(), r#"{"first":1,"second":1}"#);
}

#[test]
fn calls_carry_who_asks_and_not_what_was_sent() {
    let (a, b) = (saying("1"), saying("2"));
    let gateway = both(&a, &b, "").start();
    let response = get_with(
        gateway.addr,
        "/both?q=%20",
        "X-Request-Id: abc\r\nAuthorization: Bearer t\r\nIf-None-Match: \"1\"\r\n\
         Accept-Encoding: gzip\r\nContent-Type: text/x\r\nRange: bytes=0-1\r\n",
    );
    assert_eq!(response.status, 200);
    let first = a.only_request();
    for (name, value) in [
        ("x-request-id", "abc"),
        ("authorization", "Bearer t"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "a.test"),
        ("accept", "application/json"),
    ] {
        assert_eq!(first.head.get(name).as_deref(), Some(value), "{name}");
    }
    for name in ["if-none-match", "accept-encoding", "content-type", "range"] {
        assert!(!first.head.has(name), "{name}");
    }
    assert_eq!(targets(&a), ["/x/1?q=%20"], "a path without a query gets the request's");
    assert_eq!(targets(&b), ["/y?z=2"]);
}

#[test]
fn connections_of_calls_are_reused() {
    let (a, b) = (saying("1"), saying("2"));
    let gateway = both(&a, &b, "").start();
    for _ in 0..5 {
        assert_eq!(get(gateway.addr, "/both").status, 200);
    }
    assert_eq!((a.connections(), b.connections()), (1, 1));
}

#[test]
fn a_failed_call_is_left_out_and_logged() {
    for (failing, why) in [
        (Origin::raw("HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n{}"), "it answered 500"),
        (Origin::raw("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n<p>"), "not JSON"),
        (Origin::scripted(|connection, _| drop(connection.request())), "closed the connection"),
    ] {
        let a = saying("1");
        let gateway = both(&a, &failing, "").start();
        let response = get(gateway.addr, "/both");
        assert_eq!((response.status, response.text().as_str()), (200, r#"{"first":1}"#), "{why}");
        gateway.wait_log(why);
        gateway.wait_log("call \"second\" to \"b\" failed");
    }
}

#[test]
fn a_failed_call_is_the_end_where_the_service_says_so() {
    let held = Origin::scripted(|connection, _| {
        connection.request();
        // Never answers: the failure of the other ends the wait.
        connection.request();
    });
    let failing = Origin::raw("HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n{}");
    let gateway = both(&held, &failing, "failOnError: true,").start();
    let response = get(gateway.addr, "/both");
    assert_eq!(response.status, 502);
    let reason = response.reason();
    assert!(reason.contains("\"second\"") && reason.contains("500"), "{reason}");
    held.wait_all_closed();
}

#[test]
fn a_call_has_the_time_of_its_service() {
    let held = Origin::scripted(|connection, _| {
        connection.request();
        connection.request();
    });
    let a = saying("1");
    let gateway = with_service(Setup::new(), "a", &a)
        .service(&format!("name: b, basePath: /b, timeout: 100ms, targets: ['{}']", held.url()))
        .service(
            "name: both, basePath: /both, aggregation: {calls: \
             [{name: first, service: a, path: /}, {name: second, service: b, path: /}]}",
        )
        .start();
    assert_eq!(get(gateway.addr, "/both").text(), r#"{"first":1}"#);
    gateway.wait_log("did not answer in time");
}

#[test]
fn an_answer_over_the_limit_has_failed() {
    let big = format!("\"{}\"", "x".repeat(2000));
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{big}\r\n0\r\n\r\n",
        big.len()
    );
    for answer in [json(&big), chunked] {
        let (a, b) = (saying("1"), Origin::raw(answer));
        let gateway = both(&a, &b, "").limits("pluginBodyBytesMax: 1000").start();
        assert_eq!(get(gateway.addr, "/both").text(), r#"{"first":1}"#);
        gateway.wait_log("pluginBodyBytesMax");
    }
}

#[test]
fn a_stale_connection_of_a_call_is_replaced() {
    let a = Origin::scripted(|connection, _| {
        connection.request();
        connection.send(json("1"));
        // Reads the next one and closes without a word.
        connection.request();
    });
    let b = saying("2");
    let gateway = both(&a, &b, "").start();
    for _ in 0..2 {
        assert_eq!(get(gateway.addr, "/both").text(), r#"{"first":1,"second":2}"#);
    }
}

#[test]
fn head_has_the_head_of_get_and_other_methods_are_refused() {
    let (a, b) = (saying("1"), saying("2"));
    let gateway = both(&a, &b, "").start();
    let mut client = Client::connect(gateway.addr);
    let length = client.get("/both").head.get("content-length").unwrap();
    let head = client.ask("HEAD /both HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head.status, head.head.get("content-length").unwrap()), (200, length));
    assert!(head.body.is_empty());
    assert_eq!(client.get("/both").status, 200, "the connection goes on");

    let refused = post(gateway.addr, "/both", "{}");
    assert_eq!(refused.status, 405);
    assert_eq!(refused.head.get("allow").unwrap(), "GET, HEAD");
}

#[test]
fn the_echo_can_be_called() {
    let gateway = Setup::new()
        .service("name: echo, basePath: /echo, headers: {X-Set: yes}, targets: ['builtin:echo']")
        .service(
            "name: all, basePath: /all, aggregation: {calls: [{name: e, service: echo, path: /p}]}",
        )
        .start();
    let echoed = get(gateway.addr, "/all").json();
    assert_eq!(echoed["e"]["headers"]["X-Set"][0], "yes");
    assert_eq!(echoed["e"]["url"], "http://a.test/p");
}

#[test]
fn a_services_headers_go_to_its_own_targets_and_to_nobody_elses() {
    let (own, other) = (saying(r#"{"n":1}"#), saying("2"));
    let service = |name: &str, origin: &Origin, keys: &str| {
        format!(
            "name: {name}, basePath: /{name}, stripBasePath: true, headers: {{X-Key: of-{name}}}, \
             targets: ['{}'] {keys}",
            origin.url()
        )
    };
    let calls = "aggregation: {calls: [{name: own, service: own, path: /1}, \
                 {name: other, service: other, path: /2}]}";
    let dependencies = "aggregation: {dependencies: [{service: other, path: /3, \
                        resultMapping: [{from: $, to: $.more}]}]}";
    let gateway = Setup::new()
        .service(&service("other", &other, ""))
        .service(&service("own", &own, &format!(", {dependencies}")))
        .service(&format!("name: both, basePath: /both, headers: {{X-Key: of-both}}, {calls}"))
        .start();
    assert_eq!(get(gateway.addr, "/both").text(), r#"{"own":{"n":1},"other":2}"#);
    assert_eq!(get(gateway.addr, "/own/x").text(), r#"{"n":1,"more":2}"#);
    assert_eq!(targets(&own), ["/1", "/x"]);
    assert_eq!(targets(&other), ["/2", "/3"]);
    for (origin, key, prefix) in [(&own, "of-own", "/own"), (&other, "of-other", "/other")] {
        for request in origin.requests() {
            assert_eq!(request.head.all("x-key"), [key], "{}", request.target);
            assert_eq!(request.head.all("x-forwarded-prefix"), [prefix], "{}", request.target);
        }
    }
}

#[test]
fn a_secret_of_the_calling_service_stays_with_it() {
    let (own, other) = (saying(r#"{"n":1}"#), saying("2"));
    let setup = with_service(Setup::new(), "other", &other);
    let gateway = setup
        .service(&format!(
            "name: own, basePath: /own, stripBasePath: true, headers: {{X-Key: secret}}, \
             targets: ['{}'], aggregation: {{dependencies: [{{service: other, path: /3, \
             resultMapping: [{{from: $, to: $.more}}]}}]}}",
            own.url()
        ))
        .start();
    assert_eq!(get(gateway.addr, "/own/x").text(), r#"{"n":1,"more":2}"#);
    assert_eq!(own.only_request().head.get("x-key").as_deref(), Some("secret"));
    let called = other.only_request();
    assert_eq!(called.head.get("x-key"), None);
    assert_eq!(called.head.get("x-forwarded-prefix"), None, "nothing of its path was taken off");
}
