//! HTTP/2 from clients, by prior knowledge: what a stream asks for and gets, what is refused, and
//! what ends a stream alone or the whole connection.

use std::time::Duration;

use odin::http::h2::frame::{flag, kind};

use crate::support::http2::{Http2, block_of, frame_of, get};
use crate::support::{Client, Origin, Setup, get as get_http1, wasm};

const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 7;

fn with<'a>(path: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&get(path)[..], more].concat()
}

#[test]
fn a_request_goes_to_an_origin_of_http1_and_its_answer_comes_back() {
    let origin = Origin::raw(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Origin: 1\r\nConnection: keep-alive\r\n\r\n\
         hello",
    );
    let gateway = Setup::to(&origin).start();
    let mut client = Http2::connect(gateway.addr);
    let fields = with("/a?b=c", &[("cookie", "a=1"), ("x-y", "z"), ("cookie", "b=2")]);
    let answer = client.ask(1, &fields);
    assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"));
    assert_eq!(
        (answer.field("x-origin").as_str(), answer.field("content-length").as_str()),
        ("1", "5")
    );
    assert!(answer.field("connection").is_empty() && !answer.field("date").is_empty());
    let received = origin.only_request();
    assert_eq!(received.head.start, "GET /a?b=c HTTP/1.1");
    assert_eq!(received.head.get("cookie").as_deref(), Some("a=1; b=2"));
    assert_eq!(received.head.get("x-y").as_deref(), Some("z"));
    assert_eq!(received.head.get("x-forwarded-host").as_deref(), Some("a.example"));
    // The same listener speaks HTTP/1 to others.
    assert_eq!(get_http1(gateway.addr, "/").status, 200);
}

#[test]
fn the_preface_may_come_byte_by_byte_and_must_be_first() {
    let gateway = Setup::echo().start();
    let mut client = Http2::bare(gateway.addr);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let request = frame_of(kind::HEADERS, 5, 1, &block_of(&get("/x")));
    for byte in [&preface[..], &frame_of(kind::SETTINGS, 0, 0, b""), &request].concat() {
        client.send(&[byte]);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(client.until_over(1).status(), 200);
    let mut old = Client::connect(gateway.addr);
    assert_eq!(old.get("/").status, 200);
    assert_eq!(old.ask(preface).status, 505);
}

/// What the gateway has said in all that may be sent on a stream.
fn window_of(client: &Http2, stream: u32) -> usize {
    let updates = client
        .control
        .iter()
        .filter(|(head, _)| (head.kind, head.stream) == (kind::WINDOW_UPDATE, stream));
    let more = updates.map(|(_, payload)| u32::from_be_bytes(payload[..].try_into().unwrap()));
    65_535 + more.sum::<u32>() as usize
}

#[test]
fn plugins_guard_each_stream_by_itself_also_after_a_reload_and_with_a_body_on_its_way() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin)
        .plugin(
            "keys",
            crate::filters::built("api-key-auth"),
            "type: auth, priority: 1, config: {headerName: X-API-Key, validKeys: [key1]}",
        )
        .plugin("body", wasm::showing_input(), "type: request, priority: 2")
        .start();
    let mut client = Http2::connect(gateway.addr);
    let mut post = with("/", &[("x-api-key", "key1")]);
    post[0].1 = "POST";
    // One waits for its body while others come and go, one of them without a key.
    client.request(1, &post, false);
    client.data(1, b"first, ", false);
    assert_eq!(client.ask(3, &get("/")).status(), 401);
    assert_eq!(client.ask(5, &with("/", &[("x-api-key", "wrong")])).status(), 401);
    assert_eq!(origin.requests().len(), 0);
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    assert_eq!(client.ask(7, &get("/")).status(), 401);
    client.data(1, b"second", true);
    let shown = client.until_over(1);
    assert_eq!(shown.status(), 299);
    let shown: serde_json::Value = serde_json::from_str(&shown.text()).unwrap();
    assert_eq!(shown["input"]["body"], "first, second");
    assert!(shown["input"]["headers"].get("x-api-key").is_none(), "{shown}");
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn h2c_is_a_word_for_http2_in_the_clear() {
    let listen = "{address: '127.0.0.1:0', protocols: [h2c, http/1.1]}";
    let gateway = Setup::echo().listen(listen).start();
    assert_eq!(Http2::connect(gateway.addr).ask(1, &get("/x")).status(), 200);
    assert_eq!(get_http1(gateway.addr, "/").status, 200);
}

#[test]
fn bodies_go_both_ways_with_their_trailers() {
    let origin = Origin::raw(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n",
    );
    let gateway = Setup::new()
        .service(&format!(
            "name: all, basePath: /, targets: ['{}'], requestTrailers: [x-check]",
            origin.url()
        ))
        .start();
    let mut client = Http2::connect(gateway.addr);
    let mut post = get("/");
    post[0].1 = "POST";
    client.request(1, &post, false);
    let large = vec![b'x'; 100_000];
    let mut sent = 0;
    for piece in large.chunks(16_000) {
        sent += piece.len();
        assert!(client.until(|client| window_of(client, 1) >= sent), "the window stays shut");
        client.data(1, piece, false);
    }
    client.frame(kind::HEADERS, 5, 1, &block_of(&[("x-check", "1"), ("x-other", "2")]));
    let answer = client.until_over(1);
    assert_eq!((answer.status(), answer.text().as_str()), (200, "abc"));
    assert_eq!(answer.field("x-sum"), "7");
    let received = origin.only_request();
    assert_eq!(received.body.len(), large.len());
    assert_eq!(received.trailers, [("x-check".to_owned(), b"1".to_vec())]);
}

#[test]
fn heads_alone_and_interim_responses_are_what_they_are() {
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            let answer = match request.target.as_str() {
                "/early" => {
                    "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n\
                     HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                }
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
            };
            if !connection.send(answer) {
                return;
            }
        }
    });
    let gateway = Setup::to(&origin).start();
    let mut client = Http2::connect(gateway.addr);
    let early = client.ask(1, &get("/early"));
    assert_eq!(early.heads[0][0], (":status".to_owned(), "103".to_owned()));
    assert_eq!((early.heads.len(), early.text().as_str()), (2, "ok"));
    let mut head = get("/head");
    head[0].1 = "HEAD";
    let answer = client.ask(3, &head);
    assert_eq!((answer.status(), answer.field("content-length").as_str()), (200, "7"));
    assert!(answer.body.is_empty() && answer.has_ended);
    for (stream, path, status) in [(5, "/204", 204), (7, "/304", 304)] {
        let answer = client.ask(stream, &get(path));
        assert_eq!((answer.status(), answer.body.len()), (status, 0));
    }
}

#[test]
fn a_client_that_waits_to_be_asked_for_its_body_is_asked() {
    let gateway = Setup::echo().start();
    let mut client = Http2::connect(gateway.addr);
    let mut fields = with("/", &[("expect", "100-continue")]);
    fields[0].1 = "POST";
    client.request(1, &fields, false);
    assert!(client.until(|client| client.streams.get(&1).is_some_and(|one| !one.heads.is_empty())));
    assert_eq!(client.streams[&1].status(), 100);
    client.data(1, b"body", true);
    let answer = client.until_over(1);
    assert_eq!(answer.status(), 200);
    assert!(answer.text().contains("body"), "{}", answer.text());
}

#[test]
fn what_http1_cannot_carry_is_refused_before_any_origin_sees_it() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    let mut client = Http2::connect(gateway.addr);
    let replaced = |name: &'static str, value: &'static str| {
        let mut fields = get("/");
        fields.iter_mut().filter(|one| one.0 == name).for_each(|one| one.1 = value);
        fields
    };
    let mut stream = 1;
    for fields in [
        with("/", &[("x", "a\r\nb: c")]),
        with("/", &[("x", "a\nb")]),
        with("/", &[("x", "a\0")]),
        with("/", &[("x\r\nb", "c")]),
        with("/", &[("x: b", "c")]),
        with("/", &[("X", "c")]),
        with("/", &[("transfer-encoding", "chunked")]),
        with("/", &[("connection", "content-length")]),
        with("/", &[("content-length", "5")]),
        with("/", &[("content-length", "0"), ("content-length", "5")]),
        with("/", &[("host", "b.example")]),
        with("/", &[("upgrade", "h2c")]),
        with("/", &[(":path", "/b")]),
        with("/", &[("te", "chunked")]),
        replaced(":method", "GET / HTTP/1.1\r\nHost: b\r\n\r\nGET"),
        replaced(":path", "/ HTTP/1.1\r\nHost: b\r\n\r\nGET /b"),
        replaced(":path", "/a b"),
        replaced(":path", "b"),
        replaced(":authority", "a\r\nx: y"),
        replaced(":authority", "u@a"),
        replaced(":scheme", "http://b/?"),
    ] {
        let answer = client.ask(stream, &fields);
        assert_eq!(answer.reset, Some(PROTOCOL_ERROR), "{fields:?}: {answer:?}");
        stream += 2;
    }
    assert_eq!(origin.requests().len(), 0);
    assert_eq!(client.ask(stream, &get("/")).status(), 200);
}

#[test]
fn what_a_gateway_refuses_is_answered_and_the_connection_goes_on() {
    let gateway = Setup::echo().limits("headBytesMax: 4096").start();
    let mut client = Http2::connect(gateway.addr);
    let long = "v".repeat(5000);
    assert_eq!(client.ask(1, &with("/", &[("x", &long)])).status(), 431);
    assert_eq!(client.ask(3, &[(":method", "CONNECT"), (":authority", "a:1")]).status(), 501);
    assert_eq!(client.ask(5, &with("/", &[("expect", "more")])).status(), 417);
    assert_eq!(client.ask(7, &get("/%00")).status(), 400);
    // A body that nobody wants any more is not waited for.
    client.request(9, &with("/", &[("x", &long)]), false);
    let answer = client.until_over(9);
    assert_eq!((answer.status(), answer.has_ended), (431, true));
    assert!(client.until(|client| client.streams[&9].reset == Some(0)));
    assert_eq!(client.ask(11, &get("/")).status(), 200);
}

#[test]
fn a_stream_that_is_reset_ends_its_exchange_and_no_other() {
    let origin = Origin::scripted(|connection, _| {
        let Some(request) = connection.request() else { return };
        if request.target == "/slow" {
            // Until the gateway gives it up.
            assert!(connection.some().is_empty());
            return;
        }
        connection.answer("ok");
    });
    let gateway = Setup::to(&origin).start();
    let mut client = Http2::connect(gateway.addr);
    client.request(1, &get("/slow"), true);
    origin.wait_requests(1);
    client.frame(kind::RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    assert_eq!(client.ask(3, &get("/")).status(), 200);
    origin.wait_all_closed();
}

#[test]
fn a_body_is_read_only_as_it_is_used() {
    const WINDOW: usize = 65_535;
    let origin = Origin::scripted(|connection, _| {
        let Some(_) = connection.head() else { return };
        std::thread::sleep(Duration::from_secs(3));
    });
    let gateway = Setup::to(&origin).start();
    let mut client = Http2::connect(gateway.addr);
    let mut post = get("/");
    post[0].1 = "POST";
    client.request(1, &post, false);
    origin.wait_requests(0);
    // As much as the windows let through while nobody reads it.
    client.set_patience(Duration::from_millis(300));
    let room = |client: &Http2, stream: u32, first: usize| {
        let updates = client
            .control
            .iter()
            .filter(|(head, _)| head.kind == kind::WINDOW_UPDATE && head.stream == stream);
        first
            + updates
                .map(|(_, more)| u32::from_be_bytes(more[..].try_into().unwrap()) as usize)
                .sum::<usize>()
    };
    let mut sent = 0;
    loop {
        let most = room(&client, 1, WINDOW).min(room(&client, 0, WINDOW));
        if sent == most && !client.until(|client| room(client, 1, WINDOW) > most) {
            break;
        }
        let piece = (most - sent).min(16_000);
        client.data(1, &vec![b'x'; piece], false);
        sent += piece;
        assert!(sent < 64 << 20, "nothing holds the body back");
    }
    // Over its window, the stream is lost, and the connection is not.
    client.set_patience(Duration::from_secs(10));
    client.data(1, &[b'x'; 16_000], false);
    assert_eq!(client.until_over(1).reset, Some(3), "FLOW_CONTROL_ERROR");
    assert_eq!(client.ask(3, &[(":method", "CONNECT"), (":authority", "a:1")]).status(), 501);
}

#[test]
fn a_response_keeps_to_the_windows_of_its_client() {
    let body = "y".repeat(200_000);
    let origin = Origin::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n{body}"));
    let gateway = Setup::to(&origin).start();
    let mut client = Http2::connect(gateway.addr);
    client.takes_data = false;
    client.set_patience(Duration::from_millis(500));
    client.request(1, &get("/"), true);
    client.until(|_| false);
    assert_eq!(client.streams[&1].body.len(), 65_535);
    client.set_patience(Duration::from_secs(10));
    let more = 1_000_000_u32.to_be_bytes();
    client.frame(kind::WINDOW_UPDATE, 0, 1, &more);
    client.frame(kind::WINDOW_UPDATE, 0, 0, &more);
    assert_eq!(client.until_over(1).body.len(), 200_000);
}

#[test]
fn a_client_that_takes_nothing_loses_its_stream_in_time() {
    let body = "y".repeat(200_000);
    let origin = Origin::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n{body}"));
    let gateway = Setup::to(&origin).server("timeouts: { body: 1s }").start();
    let mut client = Http2::connect(gateway.addr);
    client.takes_data = false;
    let answer = client.ask(1, &get("/"));
    assert_eq!(answer.reset, Some(8), "CANCEL: {answer:?}");
    client.takes_data = true;
    client.frame(kind::WINDOW_UPDATE, 0, 0, &1_000_000_u32.to_be_bytes());
    assert_eq!(client.ask(3, &get("/")).body.len(), 200_000);
}

#[test]
fn an_origin_that_breaks_off_shows_as_a_reset_and_a_dead_one_as_502() {
    let origin = Origin::raw_then_close("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    let gateway = Setup::to(&origin).start();
    let mut client = Http2::connect(gateway.addr);
    let answer = client.ask(1, &get("/"));
    assert_eq!((answer.status(), answer.reset), (200, Some(2)), "INTERNAL_ERROR");
    drop(origin);
    let answer = client.ask(3, &get("/"));
    assert_eq!(answer.status(), 502, "{}", answer.text());
}

#[test]
fn streams_over_the_limit_are_refused_so_that_they_can_be_tried_again() {
    let origin = Origin::scripted(|connection, _| {
        let _ = connection.request();
        std::thread::sleep(Duration::from_secs(2));
    });
    let gateway = Setup::to(&origin).start();
    let mut client = Http2::connect(gateway.addr);
    for n in 0..129 {
        client.request(2 * n + 1, &get("/"), true);
    }
    assert_eq!(client.until_over(257).reset, Some(REFUSED_STREAM));
}

#[test]
fn a_drain_tells_clients_serves_what_is_open_and_ends() {
    let origin = Origin::scripted(|connection, _| {
        let _ = connection.request();
        std::thread::sleep(Duration::from_millis(1500));
        connection.answer("done");
    });
    let mut gateway = Setup::to(&origin).start();
    let mut client = Http2::connect(gateway.addr);
    client.request(1, &get("/"), true);
    origin.wait_requests(1);
    gateway.terminate();
    assert!(client.until(|client| !client.goaways.is_empty()));
    assert_eq!(client.goaways, [(0x7fff_ffff, 0)]);
    // What crosses with it is still served.
    client.request(3, &get("/"), true);
    assert_eq!(client.until_over(1).text(), "done");
    assert_eq!(client.until_over(3).text(), "done");
    client.until_closed();
    assert_eq!(client.goaways.last(), Some(&(3, 0)));
    assert!(gateway.wait_exit().success());
}

#[test]
fn a_binary_upgrade_tells_clients_and_serves_what_is_open_to_its_end() {
    let mut gateway = Setup::echo().drain_timeout("20s").linked().start();
    let first = gateway.pid();
    let mut post = get("/");
    post[0].1 = "POST";
    let mut client = Http2::connect(gateway.addr);
    client.request(1, &post, false);
    client.data(1, b"be", false);
    let mut idle = Http2::connect(gateway.addr);
    assert_eq!(idle.ask(1, &get("/")).status(), 200);
    gateway.upgrade();
    assert!(client.until(|client| !client.goaways.is_empty()));
    assert_eq!(client.goaways, [(0x7fff_ffff, 0)]);
    // What crosses with it is served by the process that has the connection.
    client.request(3, &get("/crossing"), true);
    assert_eq!(client.until_over(3).status(), 200);
    client.data(1, b"hind", true);
    assert!(client.until_over(1).text().contains("behind"));
    client.until_closed();
    assert_eq!(client.goaways.last(), Some(&(3, 0)));
    idle.until_closed();
    assert_eq!(idle.goaways.last(), Some(&(1, 0)));
    assert_eq!(Http2::connect(gateway.addr).ask(1, &get("/")).status(), 200);
    gateway.wait_ended(first);
}

#[test]
fn the_bounds_of_a_connection_are_the_operators() {
    let bounds = "http2: {streamsMax: 2, requestsMax: 5, connectionWindowBytes: 200KiB}";
    let gateway = Setup::echo().server(bounds).start();
    let mut client = Http2::connect(gateway.addr);
    for stream in [1, 3, 5] {
        client.request(stream, &get("/"), false);
    }
    assert_eq!(client.until_over(5).reset, Some(REFUSED_STREAM));
    let (_, settings) = &client.control[0];
    assert!(settings.as_chunks::<6>().0.contains(&[0, 3, 0, 0, 0, 2]), "{settings:?}");
    assert_eq!(window_of(&client, 0), 200 * 1024);
    client.data(1, b"", true);
    client.data(3, b"", true);
    assert_eq!((client.until_over(1).status(), client.until_over(3).status()), (200, 200));
    assert_eq!(client.ask(7, &get("/")).status(), 200);
    assert_eq!(client.ask(9, &get("/")).status(), 200);
    assert!(client.until(|client| !client.goaways.is_empty()), "it has asked for all it may");
}

#[test]
fn an_idle_connection_is_told_that_it_ends() {
    let gateway = Setup::echo().server("timeouts: { idle: 1s }").start();
    let mut client = Http2::connect(gateway.addr);
    assert_eq!(client.ask(1, &get("/")).status(), 200);
    client.until_closed();
    assert_eq!(client.goaways, [(1, 0)]);
}

#[test]
fn a_head_that_never_ends_is_not_waited_for_long() {
    let gateway = Setup::echo().server("timeouts: { head: 1s }").start();
    let mut client = Http2::connect(gateway.addr);
    let head = frame_of(kind::HEADERS, flag::END_HEADERS, 1, &block_of(&get("/")));
    client.send(&head[..20]);
    client.until_closed();
    let mut silent = Http2::bare(gateway.addr);
    silent.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    silent.until_closed();
}
