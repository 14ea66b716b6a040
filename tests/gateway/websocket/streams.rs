//! WebSockets over HTTP/2 (RFC 8441): from clients, to origins, and both.

use std::time::Duration;

use odin::http::h2::frame::kind;

use crate::metrics::{scrape, value};
use crate::support::http2::{Http2, frame_of};
use crate::support::websocket::{
    ACCEPT, GOING_AWAY, accepting, assert_echoes, echo, echoing, handshake, masked, open, switching,
};
use crate::support::{Gateway, Origin, Setup, ask, wasm};

type Field = (&'static str, &'static str);

/// An extended CONNECT, with more fields.
fn connect(more: &[Field]) -> Vec<Field> {
    let head = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "a.example"),
        (":path", "/chat?x=1"),
        ("sec-websocket-version", "13"),
    ];
    [&head[..], more].concat()
}

/// Opens a tunnel on a stream.
fn open_stream(client: &mut Http2, stream: u32) {
    client.request(stream, &connect(&[]), false);
    assert!(client.until(|client| client.streams.contains_key(&stream)));
    assert_eq!(client.streams[&stream].status(), 200);
}

/// Waits until so many bytes have come on a stream, and takes them.
fn take(client: &mut Http2, stream: u32, count: usize) -> Vec<u8> {
    assert!(client.until(|client| client.streams[&stream].body.len() >= count));
    client.streams.get_mut(&stream).unwrap().body.drain(..count).collect()
}

fn assert_stream_echoes(client: &mut Http2, stream: u32, text: &str) {
    let bytes = masked(text);
    client.data(stream, &bytes, false);
    assert_eq!(take(client, stream, bytes.len()), bytes);
}

fn in_front_of(second: &Gateway) -> Gateway {
    Setup::new()
        .service(&format!("name: first, basePath: /, targets: ['h2://{}']", second.addr))
        .start()
}

#[test]
fn an_extended_connect_goes_to_an_origin_of_http1() {
    let origin = Origin::scripted(|connection, _| {
        let request = connection.request().unwrap();
        connection.send(accepting(&request, "Sec-WebSocket-Protocol: chat\r\nX-Own: 1\r\n"));
        echo(connection);
    });
    let gateway = Setup::to(&origin).start();
    let mut client = Http2::connect(gateway.addr);
    let offers = [("sec-websocket-protocol", "chat, other"), ("sec-websocket-key", "none")];
    client.request(1, &connect(&offers), false);
    // Before it knows whether there is anybody.
    client.data(1, &masked("early"), false);
    assert!(client.until(|client| client.streams.contains_key(&1)));
    let head = client.streams[&1].clone();
    assert_eq!((head.status(), head.field("sec-websocket-protocol").as_str()), (200, "chat"));
    assert_eq!(head.field("x-own"), "1");
    for name in ["sec-websocket-accept", "connection", "upgrade", "content-length"] {
        assert!(head.field(name).is_empty(), "{name}");
    }
    assert_eq!(take(&mut client, 1, 11), masked("early"));
    assert_stream_echoes(&mut client, 1, "more");
    let received = origin.only_request();
    assert_eq!(received.head.start, "GET /chat?x=1 HTTP/1.1");
    assert_eq!(received.head.all("upgrade"), ["websocket"]);
    assert_eq!(received.head.all("connection"), ["Upgrade"]);
    assert_eq!(received.head.all("sec-websocket-protocol"), ["chat, other"]);
    let key = received.head.get("sec-websocket-key").unwrap();
    assert!(odin::http::websocket::key(key.as_bytes()).is_some(), "{key}");
    assert!(!received.head.has("transfer-encoding") && !received.head.has("content-length"));
    // The client's SETTINGS said that it may.
    let said = client.control.iter().any(|(head, payload)| {
        head.kind == kind::SETTINGS && payload.chunks(6).any(|one| one == [0, 8, 0, 0, 0, 1])
    });
    assert!(said, "{:?}", client.control);
}

#[test]
fn the_ends_of_streams_are_ends_of_connections() {
    let origin = switching(|connection| {
        let first = connection.some();
        connection.send(&first);
        if first.ends_with(b"end") {
            return;
        }
        if first.ends_with(b"break") {
            connection.reset();
            return;
        }
        while !connection.some().is_empty() {}
        connection.send("bye");
    });
    let gateway = Setup::to(&origin).start();
    let mut client = Http2::connect(gateway.addr);
    // The client's END_STREAM is the origin's end, and the other way round.
    open_stream(&mut client, 1);
    client.data(1, &masked("first"), false);
    assert_eq!(take(&mut client, 1, 11), masked("first"));
    client.data(1, b"", true);
    let over = client.until_over(1);
    assert_eq!((over.text().as_str(), over.has_ended, over.reset), ("bye", true, None));
    open_stream(&mut client, 3);
    client.data(3, &masked("end"), false);
    let over = client.until_over(3);
    assert_eq!((over.body, over.has_ended), (masked("end"), true));
    // A reset of either is one for the other.
    open_stream(&mut client, 5);
    client.data(5, &masked("break"), false);
    assert!(client.until(|client| client.streams[&5].reset.is_some()));
    assert_eq!(client.streams[&5].reset, Some(8));
    open_stream(&mut client, 7);
    client.frame(kind::RST_STREAM, 0, 7, &8_u32.to_be_bytes());
    client.data(3, b"", true);
    origin.wait_all_closed();
    // And the connection goes on.
    open_stream(&mut client, 9);
    assert_stream_echoes(&mut client, 9, "last");
}

#[test]
fn windows_hold_back_either_way() {
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counts = sent.clone();
    let origin = switching(move |connection| {
        while connection.send(vec![7; 64 * 1024]) {
            counts.fetch_add(64 * 1024, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let gateway = Setup::to(&origin).start();
    let mut client = Http2::connect(gateway.addr);
    client.takes_data = false;
    client.request(1, &connect(&[]), false);
    assert!(client.until(|client| {
        client.streams.get(&1).is_some_and(|stream| stream.body.len() == 65_535)
    }));
    let so_far = || sent.load(std::sync::atomic::Ordering::Relaxed);
    let mut before = 1;
    while before != so_far() {
        before = so_far();
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!(so_far() < 32 << 20, "{} bytes lie somewhere", so_far());
    client.frame(kind::WINDOW_UPDATE, 0, 0, &1_000_000_u32.to_be_bytes());
    client.frame(kind::WINDOW_UPDATE, 0, 1, &100_000_u32.to_be_bytes());
    assert!(client.until(|client| client.streams[&1].body.len() == 165_535));
    assert!(client.streams[&1].body.iter().all(|&byte| byte == 7));
    client.frame(kind::RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    origin.wait_all_closed();
}

#[test]
fn what_is_no_tunnel_for_a_stream_is_never_a_success() {
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            let status = if request.target.starts_with("/no") { "403 No" } else { "200 OK" };
            connection.send(format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\nplain"));
        }
    });
    let answers = r#"{"modified":true,"continue":false,
        "response":{"statusCode":200,"headers":{},"body":"cached"}}"#;
    let target = origin.url();
    let gateway = Setup::to(&origin)
        .service(&format!("name: none, basePath: /none, targets: ['{target}'], upgrades: []"))
        .service("name: echo, basePath: /echo, targets: ['builtin:echo']")
        .service(&format!("name: cached, basePath: /cached, targets: ['{target}']"))
        .plugin("cache", wasm::answering(answers), "type: request, services: [cached]")
        .start();
    let mut client = Http2::connect(gateway.addr);
    let mut stream = 1;
    for (path, protocol, version, status) in [
        ("/", "websocket", "13", 502),
        ("/no", "websocket", "13", 403),
        ("/none", "websocket", "13", 501),
        ("/none", "h2c", "13", 501),
        ("/echo", "websocket", "13", 501),
        ("/", "other", "13", 501),
        ("/", "websocket", "8", 400),
        ("/cached", "websocket", "13", 502),
    ] {
        let mut fields = connect(&[]);
        (fields[1].1, fields[4].1, fields[5].1) = (protocol, path, version);
        client.request(stream, &fields, false);
        assert_eq!(client.until_over(stream).status(), status, "{path} {protocol} {version}");
        stream += 2;
    }
    // As any malformed request: its stream alone is reset. A CONNECT by itself stays refused.
    let host = (":authority", "a.example");
    let mut no_path = connect(&[]);
    no_path.remove(4);
    let mut no_authority = connect(&[]);
    no_authority.remove(3);
    let mut of_get = connect(&[]);
    of_get[0].1 = "GET";
    for (fields, status) in [
        (no_path, 0),
        (no_authority, 0),
        (of_get, 0),
        (connect(&[("content-length", "5")]), 0),
        (vec![(":method", "CONNECT"), host], 501),
        (vec![(":method", "CONNECT"), (":protocol", "websocket"), host], 0),
    ] {
        client.request(stream, &fields, false);
        let over = client.until_over(stream);
        match status {
            0 => assert_eq!(over.reset, Some(1), "{fields:?}"),
            status => assert_eq!(over.status(), status, "{fields:?}"),
        }
        stream += 2;
    }
    assert!(origin.requests().iter().all(|request| request.method == "GET"));
}

#[test]
fn an_origin_of_http2_is_asked_by_an_extended_connect() {
    let origin = echoing();
    let second = Setup::to(&origin).start();
    let first = in_front_of(&second);
    let (mut client, head) = open(&first, "/chat");
    assert_eq!(head.all("sec-websocket-accept"), [ACCEPT], "{head}");
    assert_echoes(&mut client, "by one");
    let mut streams = Http2::connect(first.addr);
    open_stream(&mut streams, 1);
    assert_stream_echoes(&mut streams, 1, "by the other");
    // Over one connection, beside an ordinary request.
    assert_eq!(value(&scrape(&second), "odin_http2_connections_total{worker=\"0\"}"), 1.0);
    assert!(origin.requests().iter().all(|one| one.head.all("upgrade") == ["websocket"]));
    let large = vec![0x5a; 200_000];
    client.send(&large);
    assert_eq!(client.take(large.len()), large);
    drop(client);
    streams.data(1, b"", true);
    assert!(streams.until_over(1).has_ended);
    origin.wait_all_closed();
}

#[test]
fn an_origin_of_http2_that_does_not_take_it_is_told_of() {
    let origin = Origin::scripted(|connection, _| {
        connection.send(frame_of(kind::SETTINGS, 0, 0, b""));
        while !connection.some().is_empty() {}
    });
    let gateway = Setup::new()
        .service(&format!("name: all, basePath: /, targets: ['h2://{}']", origin.addr()))
        .start();
    let refused = ask(gateway.addr, handshake("/", ""));
    assert_eq!(refused.status, 501);
    assert!(refused.reason().contains("SETTINGS_ENABLE_CONNECT_PROTOCOL"), "{}", refused.reason());
    // One that says nothing has its time to say so, and no more.
    let origin = Origin::scripted(|connection, _| while !connection.some().is_empty() {});
    let gateway = Setup::new()
        .service(&format!(
            "name: all, basePath: /, targets: ['h2://{}'], timeouts: {{connect: 300ms}}",
            origin.addr()
        ))
        .start();
    assert_eq!(ask(gateway.addr, handshake("/", "")).status, 504);
}

#[test]
fn a_stream_that_is_a_tunnel_is_told_of_a_stop() {
    let origin = echoing();
    let mut gateway = Setup::to(&origin).drain_timeout("4s").start();
    let mut client = Http2::connect(gateway.addr);
    open_stream(&mut client, 1);
    gateway.terminate();
    assert!(client.until(|client| !client.goaways.is_empty()));
    assert_stream_echoes(&mut client, 1, "it goes on");
    assert_eq!(take(&mut client, 1, 4), GOING_AWAY);
    client.data(1, b"", true);
    client.until_closed();
    assert_eq!(gateway.wait_exit().code(), Some(0), "{}", gateway.log());
}

#[test]
fn a_plugin_guards_streams_that_would_be_tunnels() {
    let origin = echoing();
    let gateway = Setup::to(&origin)
        .plugin(
            "keys",
            crate::filters::built("api-key-auth"),
            "type: auth, priority: 1, config: {headerName: X-API-Key, validKeys: [key1]}",
        )
        .start();
    let mut client = Http2::connect(gateway.addr);
    client.request(1, &connect(&[]), false);
    assert_eq!(client.until_over(1).status(), 401);
    assert_eq!(origin.requests().len(), 0);
    client.request(3, &connect(&[("x-api-key", "key1")]), false);
    assert!(client.until(|client| client.streams.contains_key(&3)));
    assert_eq!(client.streams[&3].status(), 200);
    assert_stream_echoes(&mut client, 3, "in");
}
