//! What a plugin sets is checked like a client's input: nothing that a plugin returns can break
//! the framing of a message or smuggle a line into it.

use crate::support::wire::Framing;
use crate::support::{Client, Origin, Setup, get, post, wasm};

/// Output objects for headers that no plugin may set, as the inside of `headers`.
const FORBIDDEN: [(&str, &str); 18] = [
    ("CR LF in a value", r#""X-A":["b\r\nX-Injected: 1"]"#),
    ("LF in a value", r#""X-A":["b\nX-Injected: 1"]"#),
    ("CR in a value", r#""X-A":["b\rX-Injected: 1"]"#),
    ("NUL in a value", r#""X-A":["b\u0000X-Injected"]"#),
    (
        "a whole message in a value",
        r#""X-A":["b\r\n\r\nGET /X-Injected HTTP/1.1\r\nHost: a\r\n\r\n"]"#,
    ),
    ("CR LF in a name", r#""X-A\r\nX-Injected":["1"]"#),
    ("colon in a name", r#""X-Injected: 1\r\nX-A":["b"]"#),
    ("space in a name", r#""X Injected":["b"]"#),
    ("NUL in a name", r#""X-Injected\u0000":["b"]"#),
    ("empty name", r#""":["X-Injected"]"#),
    ("name that is not ASCII", r#""X-Injected-é":["b"]"#),
    ("Content-Length", r#""Content-Length":["99"],"X-Injected":["1"]"#),
    ("Transfer-Encoding", r#""Transfer-Encoding":["chunked"],"X-Injected":["1"]"#),
    ("Connection", r#""connection":["close"],"X-Injected":["1"]"#),
    ("Upgrade", r#""Upgrade":["h2c"],"X-Injected":["1"]"#),
    ("Keep-Alive", r#""Keep-Alive":["timeout=5"],"X-Injected":["1"]"#),
    ("TE", r#""TE":["trailers"],"X-Injected":["1"]"#),
    ("value that is no string", r#""X-Injected":[{"a":1}]"#),
];

#[test]
fn forbidden_headers_never_reach_the_origin() {
    for (name, headers) in FORBIDDEN {
        let origin = Origin::ok();
        let gateway = Setup::to(&origin)
            .plugin("it", wasm::setting_headers(headers), "type: request")
            .start();
        // A request plugin fails open: the request goes on as it came.
        assert_eq!(get(gateway.addr, "/").status, 200, "{name}");
        let received = origin.only_request();
        let head = received.head.to_string();
        assert!(!head.to_lowercase().contains("injected"), "{name}: {head}");
        assert!(!received.head.has("x-a"), "{name}: an invalid output sets nothing: {head}");
        assert_eq!(received.framing, Framing::None, "{name}");
    }
}

#[test]
fn forbidden_headers_in_a_request_object_never_reach_the_origin() {
    for (name, headers) in FORBIDDEN {
        let origin = Origin::ok();
        let output =
            format!(r#"{{"modified":true,"continue":true,"request":{{"headers":{{{headers}}}}}}}"#);
        let gateway =
            Setup::to(&origin).plugin("it", wasm::answering(&output), "type: request").start();
        assert_eq!(get(gateway.addr, "/").status, 200, "{name}");
        let head = origin.only_request().head.to_string();
        assert!(!head.to_lowercase().contains("injected"), "{name}: {head}");
    }
}

#[test]
fn forbidden_headers_never_reach_the_client() {
    for (name, headers) in FORBIDDEN {
        let origin = Origin::ok();
        let gateway = Setup::to(&origin)
            .plugin("it", wasm::setting_headers(headers), "type: response")
            .start();
        let mut client = Client::connect(gateway.addr);
        for _ in 0..2 {
            let response = client.get("/");
            assert_eq!((response.status, response.text().as_str()), (200, "ok"), "{name}");
            let head = response.head.to_string();
            assert!(!head.to_lowercase().contains("injected"), "{name}: {head}");
        }
    }
}

#[test]
fn forbidden_headers_of_a_refusal_never_reach_the_client() {
    for (name, headers) in FORBIDDEN {
        let origin = Origin::ok();
        let output = format!(
            r#"{{"continue":false,
                "response":{{"statusCode":401,"headers":{{{headers}}},"body":"no"}}}}"#
        );
        let gateway =
            Setup::to(&origin).plugin("it", wasm::answering(&output), "type: auth").start();
        let mut client = Client::connect(gateway.addr);
        for _ in 0..2 {
            let response = client.get("/");
            // An invalid output is a failure, and auth fails closed.
            assert_eq!(response.status, 503, "{name}");
            let head = response.head.to_string();
            assert!(!head.to_lowercase().contains("injected"), "{name}: {head}");
        }
        assert_eq!(origin.requests().len(), 0);
    }
}

#[test]
fn statuses_outside_http_are_errors() {
    for status in ["0", "99", "100", "101", "199", "600", "1000", "-1", "\"200\"", "2.5"] {
        let origin = Origin::ok();
        let output = format!(r#"{{"continue":false,"response":{{"statusCode":{status}}}}}"#);
        let gateway =
            Setup::to(&origin).plugin("it", wasm::answering(&output), "type: ratelimit").start();
        let got = get(gateway.addr, "/").status;
        // 0 is what Go writes for a status that was not set.
        let expected: &[u16] = if status == "0" { &[429, 503] } else { &[503] };
        assert!(expected.contains(&got), "{status}: {got}");
    }
}

#[test]
fn a_request_body_that_a_plugin_changes_gets_its_own_length() {
    let origin = Origin::ok();
    let output = r#"{"modified":true,"continue":true,"response":{"body":"a new and longer body"}}"#;
    let gateway = Setup::to(&origin).plugin("it", wasm::answering(output), "type: request").start();
    let mut client = Client::connect(gateway.addr);
    for request in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    ] {
        assert_eq!(client.ask(request).status, 200);
    }
    for received in origin.requests() {
        assert_eq!(received.text(), "a new and longer body");
        assert_eq!(received.framing, Framing::Length(21));
    }
}

#[test]
fn a_response_body_that_a_plugin_changes_gets_its_own_length() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
    ] {
        let answer = match answer.contains("100000") {
            true => answer.to_owned() + &"x".repeat(100_000),
            false => answer.to_owned(),
        };
        let origin = Origin::raw(answer);
        let output = r#"{"modified":true,"continue":true,"response":{"body":"ten bytes!"}}"#;
        let gateway =
            Setup::to(&origin).plugin("it", wasm::answering(output), "type: response").start();
        let mut client = Client::connect(gateway.addr);
        for _ in 0..3 {
            let response = client.get("/");
            assert_eq!(response.text(), "ten bytes!");
            assert_eq!(response.framing, Framing::Length(10));
        }
    }
}

#[test]
fn an_emptied_body_is_empty() {
    let output = r#"{"modified":true,"continue":true,"response":{"body":""}}"#;
    let origin = Origin::raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let gateway =
        Setup::to(&origin).plugin("it", wasm::answering(output), "type: middleware").start();
    let mut client = Client::connect(gateway.addr);
    let response = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(response.text(), "");
    assert_eq!(origin.only_request().text(), "");
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn a_plugin_gives_no_body_to_a_response_that_may_not_have_one() {
    let output = r#"{"modified":true,"continue":true,"response":{"body":"surplus"}}"#;
    let cases = [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\n\r\n"),
    ];
    for (method, answer) in cases {
        let origin = Origin::raw(answer);
        let gateway =
            Setup::to(&origin).plugin("it", wasm::answering(output), "type: response").start();
        let mut client = Client::connect(gateway.addr);
        for _ in 0..2 {
            let response = client.ask(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!(response.body.len(), 0, "{answer:?}");
            // A second response that begins with the surplus would fail to parse.
        }
    }
}

#[test]
fn a_refusal_of_head_has_no_body_and_keeps_the_connection() {
    let origin = Origin::ok();
    let output = r#"{"continue":false,"response":{"statusCode":401,"body":"no"}}"#;
    let gateway = Setup::to(&origin).plugin("it", wasm::answering(output), "type: auth").start();
    let mut client = Client::connect(gateway.addr);
    for _ in 0..3 {
        let response = client.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((response.status, response.body.len()), (401, 0));
    }
    let mut client = Client::connect(gateway.addr);
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "no");
    }
}

#[test]
fn a_refusal_does_not_let_the_unread_body_become_a_request() {
    let origin = Origin::ok();
    let output = r#"{"continue":false,"response":{"statusCode":401,"body":"no"}}"#;
    let gateway = Setup::to(&origin)
        .plugin("it", wasm::answering(output), "type: auth, allowedUrls: ['^/guarded']")
        .start();
    let mut client = Client::connect(gateway.addr);
    let inner = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(format!(
        "POST /guarded HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{inner}",
        inner.len()
    ));
    assert_eq!(client.response().status, 401);
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    if let Ok(next) = client.try_response() {
        assert_eq!(next.text(), "ok");
    }
    let targets: Vec<String> = origin.requests().into_iter().map(|one| one.target).collect();
    assert!(targets.is_empty() || targets == ["/next"], "{targets:?}");
}

#[test]
fn a_base64_body_is_decoded() {
    let output = r#"{"modified":true,"continue":true,
        "response":{"body":"/wD+","bodyEncoding":"base64"}}"#;
    let origin = Origin::ok();
    let gateway =
        Setup::to(&origin).plugin("it", wasm::answering(output), "type: middleware").start();
    let response = post(gateway.addr, "/", "hello");
    assert_eq!(origin.only_request().body, b"\xff\x00\xfe");
    assert_eq!(response.body, b"\xff\x00\xfe");
}

#[test]
fn a_target_that_a_plugin_sets_is_checked_and_normalised() {
    // (url, what the origin sees; none: an error, so the request goes on as it came)
    for (url, target) in [
        ("/new/path?x=1", "/new/path?x=1"),
        ("/a/../new", "/new"),
        ("/new%2e", "/new."),
        ("/a b", "/original"),
        ("/a\\r\\nX-Injected: 1", "/original"),
        ("/a#fragment", "/original"),
        ("relative", "/original"),
        ("", "/original"),
        ("/a%00", "/original"),
    ] {
        let origin = Origin::ok();
        let output = format!(r#"{{"modified":true,"continue":true,"request":{{"url":"{url}"}}}}"#);
        let gateway =
            Setup::to(&origin).plugin("it", wasm::answering(&output), "type: request").start();
        let status = get(gateway.addr, "/original").status;
        let received = origin.requests();
        if status == 200 {
            assert_eq!(received[0].target, target, "{url}");
            assert!(!received[0].head.to_string().contains("Injected"), "{url}");
        } else {
            // A target that is found bad only after the chain has run is refused openly.
            assert_eq!((target, received.len()), ("/original", 0), "{url}: {status}");
        }
    }
}

#[test]
fn a_method_that_a_plugin_sets_is_checked() {
    for (method, seen) in [("PUT", "PUT"), ("G ET", "GET"), ("", "GET"), ("GET\\r\\nX: y", "GET")] {
        let origin = Origin::ok();
        let output =
            format!(r#"{{"modified":true,"continue":true,"request":{{"method":"{method}"}}}}"#);
        let gateway =
            Setup::to(&origin).plugin("it", wasm::answering(&output), "type: request").start();
        assert_eq!(get(gateway.addr, "/").status, 200, "{method}");
        assert_eq!(origin.only_request().method, seen, "{method}");
    }
}
