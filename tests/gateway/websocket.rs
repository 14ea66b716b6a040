//! WebSockets, and what else clients may switch to, over HTTP/1: the handshake, what is refused and
//! what is no handshake at all, bytes both ways, and the end.

mod ending;
mod living;
mod streams;

use crate::support::websocket::{
    ACCEPT, KEY, accepting, assert_echoes, echo, echoing, frame, handshake, masked, open,
};
use crate::support::{Client, Origin, Setup, ask, get, wasm};

#[test]
fn a_handshake_goes_to_the_origin_and_bytes_go_both_ways() {
    let origin = Origin::scripted(|connection, _| {
        let request = connection.request().unwrap();
        let fields = "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: x\r\nX-Own: 1\r\n";
        // The first frame comes with the head.
        connection.send([accepting(&request, fields).as_bytes(), &frame("hello")].concat());
        echo(connection);
    });
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    let fields = "Sec-WebSocket-Protocol: chat, other\r\nOrigin: http://a.example\r\n";
    // And the client's before it knows whether there is anybody.
    client.send([handshake("/chat?x=1", fields).as_bytes(), &masked("early")].concat());
    let head = client.head();
    assert_eq!(head.start, "HTTP/1.1 101 Switching Protocols");
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-accept", ACCEPT),
        ("sec-websocket-protocol", "chat"),
        ("sec-websocket-extensions", "x"),
        ("x-own", "1"),
    ] {
        assert_eq!(head.all(name), [value], "{head}");
    }
    assert!(!head.has("content-length") && !head.has("transfer-encoding"), "{head}");
    assert_eq!(client.take(7), frame("hello"));
    assert_eq!(client.take(11), masked("early"));
    assert_echoes(&mut client, "more");
    for _ in 0..20 {
        let large = vec![7; 100_000];
        client.send(&large);
        assert!(client.take(large.len()) == large);
    }
    let received = origin.only_request();
    assert_eq!(received.head.start, "GET /chat?x=1 HTTP/1.1");
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", KEY),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat, other"),
        ("origin", "http://a.example"),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        assert_eq!(received.head.all(name), [value], "{}", received.head);
    }
}

#[test]
fn an_origin_that_does_not_switch_has_answered_like_any_other() {
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            let answer = match request.target.as_str() {
                "/200" => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain",
                "/403" => "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
                "/426" => {
                    "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n\
                     Connection: Upgrade\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"
                }
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext",
            };
            connection.send(answer);
        }
    });
    let gateway = Setup::to(&origin).start();
    for (path, status) in [("/200", 200), ("/403", 403), ("/426", 426)] {
        let mut client = Client::connect(gateway.addr);
        // What follows is a request then, and nothing that the origin is to read as it is.
        let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
        client.send([handshake(path, "").as_bytes(), next.as_bytes()].concat());
        assert_eq!(client.response().status, status);
        assert_eq!(client.response().text(), "next");
    }
    // All over one connection, which goes on.
    assert_eq!(origin.connections(), 1);
    assert!(origin.requests().iter().all(|request| request.method == "GET"));
}

#[test]
fn a_switch_that_is_not_what_was_asked_for_is_a_bad_gateway() {
    let start = "HTTP/1.1 101 Switching Protocols\r\n";
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let right = format!("Sec-WebSocket-Accept: {ACCEPT}\r\n");
    for wrong in [
        String::new(),
        upgrade.to_owned(),
        right.clone(),
        format!("Upgrade: websocket\r\n{right}"),
        format!("Connection: Upgrade\r\nUpgrade: h2c\r\n{right}"),
        format!("Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n{right}"),
        format!("{upgrade}Upgrade: websocket\r\n{right}"),
        format!("{upgrade}Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOO=\r\n"),
        format!("{upgrade}{right}{right}"),
        format!("{upgrade}Content-Length: 5\r\n{right}"),
    ] {
        let answer = format!("{start}{wrong}\r\nsmuggled");
        let origin = Origin::raw(answer);
        let gateway = Setup::to(&origin).start();
        let mut client = Client::connect(gateway.addr);
        client.send(handshake("/", ""));
        let response = client.response();
        assert_eq!(response.status, 502, "{wrong}");
        assert!(response.reason().contains("upstream"), "{}", response.reason());
        // Its connection is not used for anything else.
        origin.wait_all_closed();
        // The client's is.
        assert_eq!(client.get("/").status, 502, "a 101 that nobody asked for");
    }
}

#[test]
fn what_is_no_handshake_is_an_ordinary_request_without_the_fields() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    let rest = format!("Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n");
    for (start, fields, body) in [
        ("GET / HTTP/1.1", "Upgrade: websocket\r\n", ""),
        ("GET / HTTP/1.1", "Connection: upgrade\r\n", ""),
        ("GET / HTTP/1.1", "Connection: close\r\nUpgrade: websocket\r\n", ""),
        ("POST / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", ""),
        ("HEAD / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", ""),
        ("GET / HTTP/1.0", "Connection: Upgrade\r\nUpgrade: websocket\r\n", ""),
        (
            "GET / HTTP/1.1",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n",
            "hello",
        ),
        (
            "GET / HTTP/1.1",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
        ),
        ("GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n", ""),
        ("GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: \"websocket\"\r\n", ""),
        ("GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: web socket\r\n", ""),
        ("GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket/13\r\n", ""),
        ("GET / HTTP/1.1", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n", ""),
        ("GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n", ""),
    ] {
        let before = origin.requests().len();
        let response = ask(gateway.addr, format!("{start}\r\nHost: a\r\n{fields}{rest}\r\n{body}"));
        assert_eq!(response.status, 200, "{start} {fields}");
        let received = origin.requests().pop().unwrap();
        assert_eq!(origin.requests().len(), before + 1);
        assert!(!received.head.has("upgrade"), "{fields}: {}", received.head);
        assert!(!received.head.has("connection"), "{fields}: {}", received.head);
    }
}

#[test]
fn an_odd_handshake_is_refused_behind_the_plugins_and_no_origin_sees_it() {
    let origin = echoing();
    let key = "type: auth, priority: 1, config: {headerName: X-API-Key, validKeys: [key1]}";
    let gateway =
        Setup::to(&origin).plugin("keys", crate::filters::built("api-key-auth"), key).start();
    let start = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    let (key, version) =
        (format!("Sec-WebSocket-Key: {KEY}\r\n"), "Sec-WebSocket-Version: 13\r\n".to_owned());
    for (fields, shows_version) in [
        (version.clone(), false),
        (format!("{version}Sec-WebSocket-Key: short\r\n"), false),
        (format!("{version}Sec-WebSocket-Key: {KEY}, {KEY}\r\n"), false),
        (format!("{version}{key}{key}"), false),
        (key.clone(), true),
        (format!("{key}Sec-WebSocket-Version: 8\r\n"), true),
        (format!("{key}Sec-WebSocket-Version: 13, 8\r\n"), true),
        (format!("{key}{version}{version}"), true),
    ] {
        let without = ask(gateway.addr, format!("{start}{fields}\r\n"));
        assert_eq!(without.status, 401, "{fields}");
        let refused = ask(gateway.addr, format!("{start}{fields}X-API-Key: key1\r\n\r\n"));
        assert_eq!(refused.status, 400, "{fields}");
        assert!(refused.reason().contains("Sec-WebSocket-"), "{}", refused.reason());
        let version = refused.head.get("sec-websocket-version");
        assert_eq!(version.as_deref() == Some("13"), shows_version, "{}", refused.head);
    }
    assert_eq!(origin.requests().len(), 0);
    let mut client = Client::connect(gateway.addr);
    client.send(handshake("/", "X-API-Key: key1\r\n"));
    assert_eq!(client.head().status(), Ok(101));
    assert_echoes(&mut client, "in");
}

#[test]
fn no_plugin_breaks_a_handshake_and_one_may_make_another_request_of_it() {
    let sets = r#""Sec-WebSocket-Key":["AAAAAAAAAAAAAAAAAAAAAA=="],"Sec-WebSocket-Version":["8"],
        "X-Plugin":["1"]"#;
    let origin = echoing();
    let gateway = Setup::to(&origin)
        .plugin("sets", wasm::setting_headers(sets), "type: request, priority: 1")
        .start();
    let (mut client, head) = open(&gateway, "/");
    assert_eq!(head.all("sec-websocket-accept"), [ACCEPT]);
    assert_echoes(&mut client, "on");
    let received = origin.only_request();
    assert_eq!(received.head.all("sec-websocket-key"), [KEY]);
    assert_eq!(received.head.all("sec-websocket-version"), ["13"]);
    assert_eq!(received.head.all("x-plugin"), ["1"]);

    for (output, method, body) in [
        (r#"{"modified":true,"continue":true,"request":{"method":"POST"}}"#, "POST", ""),
        (r#"{"modified":true,"continue":true,"request":{"body":"own"}}"#, "GET", "own"),
    ] {
        let origin = Origin::ok();
        let gateway = Setup::to(&origin)
            .plugin("makes", wasm::answering(output), "type: request, body: true")
            .start();
        let response = ask(gateway.addr, handshake("/", ""));
        assert_eq!(response.status, 200, "{output}");
        let received = origin.only_request();
        assert_eq!((received.method.as_str(), received.text().as_str()), (method, body));
        assert!(!received.head.has("upgrade") && !received.head.has("connection"));
    }
}

#[test]
fn a_service_switches_to_what_it_names_and_to_nothing_else() {
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            let Some(protocol) = request.head.get("upgrade") else {
                connection.answer("plain");
                continue;
            };
            connection.send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                 Upgrade: {protocol}\r\n\r\n"
            ));
            echo(connection);
            return;
        }
    });
    let target = origin.url();
    let gateway = Setup::new()
        .service(&format!("name: none, basePath: /none, targets: ['{target}'], upgrades: []"))
        .service(&format!("name: own, basePath: /own, targets: ['{target}'], upgrades: [a/1, B]"))
        .service(&format!("name: default, basePath: /, targets: ['{target}']"))
        .start();
    assert_eq!(ask(gateway.addr, handshake("/none", "")).text(), "plain");
    assert_eq!(ask(gateway.addr, handshake("/own", "")).text(), "plain");
    let asking = |path: &str, protocols: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: upgrade, x-hop\r\nX-Hop: 1\r\n\
             Upgrade: {protocols}\r\n\r\n"
        )
    };
    // The first that the client prefers and the service names, and that alone.
    for (protocols, chosen) in [("h2c, b, a/1", "b"), ("A/1", "a/1"), ("a, x, B", "b")] {
        let mut client = Client::connect(gateway.addr);
        client.send(asking("/own", protocols));
        let head = client.head();
        assert_eq!(head.all("upgrade"), [chosen], "{head}");
        client.send("any bytes");
        assert_eq!(client.take(9), b"any bytes");
        let received = origin.requests().pop().unwrap();
        assert_eq!(received.head.all("upgrade"), [chosen], "{}", received.head);
        assert!(!received.head.has("x-hop") && !received.head.has("sec-websocket-key"));
    }
    for (path, protocols) in [("/own", "h2c, h2"), ("/own", "a"), ("/", "h2c"), ("/", "b")] {
        assert_eq!(ask(gateway.addr, asking(path, protocols)).text(), "plain", "{path}");
    }
}

#[test]
fn who_has_no_origin_to_switch_with_says_so() {
    let origin = Origin::ok();
    let target = origin.url();
    let calls = "calls: [{name: one, service: all, path: /}]";
    let gateway = Setup::to(&origin)
        .service("name: echo, basePath: /echo, targets: ['builtin:echo']")
        .service(&format!("name: joined, basePath: /joined, aggregation: {{{calls}}}"))
        .service(&format!(
            "name: moved, basePath: /moved, redirect: {{path: /}}, targets: ['{target}']"
        ))
        .start();
    for (path, words) in [("/echo", "builtin:echo"), ("/joined", "aggregates")] {
        let refused = ask(gateway.addr, handshake(path, ""));
        assert_eq!(refused.status, 501, "{path}");
        assert!(refused.reason().contains(words), "{}", refused.reason());
        assert_eq!(get(gateway.addr, path).status, 200);
    }
    assert_eq!(ask(gateway.addr, handshake("/moved", "")).status / 100, 3);
    let rejected = "odin_rejected_total{reason=\"upgrade_refused\"}";
    assert_eq!(gateway.metric(rejected), 2.0);
}

#[test]
fn a_websocket_goes_to_the_part_that_a_split_chooses_and_comes_to_no_part_by_itself() {
    let (canary, old) = (echoing(), Origin::raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    let gateway = Setup::new()
        .service(
            "name: all, basePath: /all, split: \
             [{service: next, match: {headers: {X-Canary: 'yes'}}}, {service: old}]",
        )
        .service(&format!("name: next, internal: true, targets: ['{}']", canary.url()))
        .service(&format!("name: old, internal: true, targets: ['{}']", old.url()))
        .start();
    let mut client = Client::connect(gateway.addr);
    client.send(handshake("/all", "X-Canary: yes\r\n"));
    let head = client.head();
    assert_eq!(head.start, "HTTP/1.1 101 Switching Protocols", "{head}");
    assert_echoes(&mut client, "through the split");
    // The other part is asked, and does not switch.
    assert_eq!(ask(gateway.addr, handshake("/all", "")).status, 200);
    assert_eq!(old.requests().len(), 1);
    assert_eq!(ask(gateway.addr, handshake("/", "X-Canary: yes\r\n")).status, 404);
}
