//! An origin of HTTP/2 that refuses, resets, goes away or breaks the protocol.

use std::sync::{Arc, Mutex};

use odin::http::h2::frame::kind::{
    CONTINUATION, DATA, GOAWAY, HEADERS, PING, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};

use crate::support::http2::{Http2, Http2Origin, block_of, frame_of, get};
use crate::support::{Client, Gateway, Setup, ask, get as get_http1, post};

const NO_ERROR: u32 = 0;
const CANCEL: u32 = 8;
const REFUSED: [u8; 4] = [0, 0, 0, 7];

fn in_front_of(origin: &Http2Origin) -> Gateway {
    let target = origin.addr();
    Setup::new().service(&format!("name: a, basePath: /, targets: ['h2://{target}']")).start()
}

/// An origin that does this with the first requests and answers the others.
fn first(count: usize, what: impl Fn(&mut Http2, u32) + Send + Sync + 'static) -> Http2Origin {
    Http2Origin::scripted(move |connection, stream, number| match number < count {
        true => what(connection, stream),
        false => {
            connection.until_over(stream);
            let body = connection.streams[&stream].body.clone();
            connection.answer(stream, "200", &body);
        }
    })
}

#[test]
fn a_request_that_an_origin_refuses_unseen_is_sent_again_with_its_body() {
    type What = fn(&mut Http2, u32);
    let ways: [(&str, What); 4] = [
        ("REFUSED_STREAM", |origin, stream| origin.frame(RST_STREAM, 0, stream, &REFUSED)),
        ("GOAWAY", |origin, stream| origin.go_away(stream.saturating_sub(2))),
        ("GOAWAY and the end", |origin, stream| {
            origin.go_away(stream.saturating_sub(2));
            origin.hang_up();
        }),
        ("GOAWAY in two steps", |origin, stream| {
            origin.go_away(0x7fff_ffff);
            origin.go_away(stream.saturating_sub(2));
        }),
    ];
    for (name, way) in ways {
        let origin = first(1, way);
        let gateway = in_front_of(&origin);
        let answer = post(gateway.addr, "/", "hello");
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"), "{name}");
        // A client of HTTP/2, whose body is still on its way when the origin refuses.
        let origin = first(1, way);
        let gateway = in_front_of(&origin);
        let mut client = Http2::connect(gateway.addr);
        let mut fields = get("/");
        fields[0].1 = "POST";
        client.request(1, &fields, false);
        client.data(1, b"first, ", false);
        client.data(1, b"second", true);
        let answer = client.until_over(1);
        assert_eq!((answer.status(), answer.text().as_str()), (200, "first, second"), "{name}");
    }
}

#[test]
fn who_refuses_always_is_asked_three_times_and_what_is_too_large_to_keep_once() {
    let count = Arc::new(Mutex::new(0));
    let seen = count.clone();
    let origin = Http2Origin::scripted(move |connection, stream, _| {
        *seen.lock().unwrap() += 1;
        if connection.streams[&stream].heads[0].contains(&(":path".into(), "/late".into())) {
            // More has come than is kept.
            connection.until(|one| one.streams[&stream].body.len() > 80_000);
        }
        connection.frame(RST_STREAM, 0, stream, &REFUSED);
    });
    let gateway = in_front_of(&origin);
    let answer = get_http1(gateway.addr, "/");
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("refused"), "{}", answer.text());
    assert_eq!(std::mem::take(&mut *count.lock().unwrap()), 3);
    assert_eq!(post(gateway.addr, "/late", &"x".repeat(100_000)).status, 502);
    assert_eq!(*count.lock().unwrap(), 1);
    assert!(
        gateway.metric("odin_upstream_errors_total{service=\"a\",kind=\"upstream_refused\"}") > 1.0
    );
}

#[test]
fn a_request_that_was_looked_at_is_not_sent_again() {
    let origin = first(1, |origin, stream| {
        origin.go_away(stream);
        origin.hang_up();
    });
    let gateway = in_front_of(&origin);
    assert_eq!(post(gateway.addr, "/", "hello").status, 502);
    assert_eq!(post(gateway.addr, "/", "hello").text(), "hello");
}

#[test]
fn an_answer_that_comes_before_the_end_of_the_body_is_whole_although_the_stream_is_reset() {
    let origin = first(9, |origin, stream| {
        origin.answer(stream, "200", b"early");
        origin.frame(RST_STREAM, 0, stream, &[0; 4]);
    });
    let gateway = in_front_of(&origin);
    let answer = post(gateway.addr, "/", &"x".repeat(300_000));
    assert_eq!((answer.status, answer.text().as_str()), (200, "early"));
    let mut client = Http2::connect(gateway.addr);
    let mut fields = get("/");
    fields[0].1 = "POST";
    client.request(1, &fields, false);
    client.data(1, b"x", false);
    assert!(client.until(|client| client.streams.get(&1).is_some_and(|one| one.reset.is_some())));
    let answer = &client.streams[&1];
    assert_eq!((answer.status(), answer.text().as_str()), (200, "early"));
    assert_eq!(answer.reset, Some(NO_ERROR));
}

#[test]
fn what_a_client_gives_up_is_cancelled_at_the_origin() {
    let (said, heard) = std::sync::mpsc::channel();
    let said = Mutex::new(said);
    let origin = Http2Origin::scripted(move |connection, stream, _| {
        connection.until(|one| one.streams[&stream].reset.is_some());
        said.lock().unwrap().send(connection.streams[&stream].reset).unwrap();
    });
    let gateway = in_front_of(&origin);
    let mut client = Http2::connect(gateway.addr);
    client.request(1, &get("/"), true);
    while origin.connections() == 0 {
        std::thread::yield_now();
    }
    client.frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]);
    assert_eq!(heard.recv_timeout(crate::support::PATIENCE).unwrap(), Some(CANCEL));
}

/// The frames, for the stream of a request.
type Says = Box<dyn Fn(u32) -> Vec<u8> + Send + Sync>;

/// What an origin says in the place of an answer, for which there is a 502.
fn broken() -> Vec<(&'static str, Says)> {
    fn head(fields: &'static [(&'static str, &'static str)]) -> impl Fn(u32) -> Vec<u8> {
        move |stream| frame_of(HEADERS, 5, stream, &block_of(fields))
    }
    fn raw(kind: u8, of_stream: bool, payload: &'static [u8]) -> impl Fn(u32) -> Vec<u8> {
        move |stream| frame_of(kind, 0, if of_stream { stream } else { 0 }, payload)
    }
    vec![
        ("DATA before a head", Box::new(raw(DATA, true, b"x"))),
        ("DATA of 0", Box::new(raw(DATA, false, b"x"))),
        ("a promise", Box::new(raw(PUSH_PROMISE, true, b"\0\0\0\x02"))),
        (
            "a stream of its own",
            Box::new(|_| frame_of(HEADERS, 5, 2, &block_of(&[(":status", "200")]))),
        ),
        (
            "a head of a stream that is not open",
            Box::new(|id| frame_of(HEADERS, 5, id + 2, &block_of(&[(":status", "200")]))),
        ),
        ("PING of 7 bytes", Box::new(raw(PING, false, b"1234567"))),
        ("GOAWAY of 4 bytes", Box::new(raw(GOAWAY, false, b"1234"))),
        ("a window by nothing", Box::new(raw(WINDOW_UPDATE, false, &[0; 4]))),
        ("CONTINUATION of nothing", Box::new(raw(CONTINUATION, true, b""))),
        ("push is on", Box::new(raw(SETTINGS, false, b"\0\x02\0\0\0\x01"))),
        ("a frame that is too large", Box::new(|_| frame_of(77, 0, 0, &[0; 16_385]))),
        ("no status", Box::new(head(&[("x", "y")]))),
        ("two", Box::new(head(&[(":status", "200"), (":status", "200")]))),
        ("a status behind a field", Box::new(head(&[("x", "y"), (":status", "200")]))),
        ("99", Box::new(head(&[(":status", "99")]))),
        ("1000", Box::new(head(&[(":status", "1000")]))),
        ("a word", Box::new(head(&[(":status", "ok ")]))),
        ("101", Box::new(head(&[(":status", "101")]))),
        ("an interim response that ends", Box::new(head(&[(":status", "103")]))),
        (":path", Box::new(head(&[(":status", "200"), (":path", "/")]))),
        ("a name in capitals", Box::new(head(&[(":status", "200"), ("X", "y")]))),
        ("an empty name", Box::new(head(&[(":status", "200"), ("", "y")]))),
        ("CR LF in a value", Box::new(head(&[(":status", "200"), ("x", "a\r\nb: c")]))),
        ("CR LF in a name", Box::new(head(&[(":status", "200"), ("x\r\nb", "c")]))),
        ("NUL in a value", Box::new(head(&[(":status", "200"), ("x", "a\0")]))),
        ("connection", Box::new(head(&[(":status", "200"), ("connection", "close")]))),
        (
            "transfer-encoding",
            Box::new(head(&[(":status", "200"), ("transfer-encoding", "chunked")])),
        ),
        ("upgrade", Box::new(head(&[(":status", "200"), ("upgrade", "x")]))),
        (
            "two lengths",
            Box::new(head(&[(":status", "200"), ("content-length", "0"), ("content-length", "0")])),
        ),
        ("a negative length", Box::new(head(&[(":status", "200"), ("content-length", "-1")]))),
        ("a length without a body", Box::new(head(&[(":status", "200"), ("content-length", "5")]))),
        ("an index of no table", Box::new(|id| frame_of(HEADERS, 5, id, b"\x88\xff\x7f"))),
        ("a reset", Box::new(raw(RST_STREAM, true, b"\0\0\0\x02"))),
        ("a reset by NO_ERROR before an answer", Box::new(raw(RST_STREAM, true, &[0; 4]))),
        (
            "too many interim responses",
            Box::new(|id| frame_of(HEADERS, 4, id, &block_of(&[(":status", "100")])).repeat(100)),
        ),
        ("a flood of PING", Box::new(|_| frame_of(PING, 0, 0, &[0; 8]).repeat(3000))),
        ("HTTP/1", Box::new(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec())),
    ]
}

#[test]
fn an_origin_that_breaks_the_protocol_is_a_bad_gateway_and_asked_again_later() {
    let cases = broken();
    let names: Vec<&str> = cases.iter().map(|case| case.0).collect();
    let origin = Http2Origin::scripted(move |connection, stream, number| {
        match cases.get(number / 2).filter(|_| number.is_multiple_of(2)) {
            Some((_, bytes)) => connection.send(&bytes(stream)),
            None => connection.answer(stream, "200", b"ok"),
        }
    });
    let gateway = in_front_of(&origin);
    for name in names {
        let answer = post(gateway.addr, "/", "");
        assert_eq!(answer.status, 502, "{name}: {}", answer.text());
        assert_eq!(get_http1(gateway.addr, "/").text(), "ok", "behind {name}");
    }
}

#[test]
fn a_body_that_is_not_as_long_as_it_says_is_visibly_cut_and_who_has_none_gets_none() {
    let origin = Http2Origin::scripted(|connection, stream, _| {
        let path = connection.streams[&stream].heads[0].iter().find(|one| one.0 == ":path");
        let path = path.unwrap().1.clone();
        let (status, length) = path[1..].split_once('/').unwrap();
        connection.request(stream, &[(":status", status), ("content-length", length)], false);
        connection.data(stream, b"abc", true);
    });
    let gateway = in_front_of(&origin);
    let cut = |path: &str| {
        let mut client = Client::connect(gateway.addr);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.try_response().map_or(502, |answer| answer.status)
    };
    assert_eq!(cut("/200/3"), 200);
    assert_eq!(cut("/200/5"), 502);
    assert_eq!(cut("/200/2"), 502);
    for (request, status) in
        [("GET /204/3", [204, 502]), ("GET /304/3", [304, 502]), ("HEAD /200/3", [200, 502])]
    {
        let mut client = Client::connect(gateway.addr);
        client.send(format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let method = request.split(' ').next().unwrap();
        let answer = client.response_to(method);
        assert!(status.contains(&answer.status), "{request}: {}", answer.status);
        assert!(!answer.text().contains("abc"));
    }
}

#[test]
fn a_response_that_fails_with_its_head_is_a_bad_gateway_to_both_versions() {
    let origin = Http2Origin::scripted(|connection, stream, _| {
        let head = block_of(&[(":status", "200"), ("content-length", "5")]);
        let (head, body) = (frame_of(HEADERS, 4, stream, &head), frame_of(DATA, 1, stream, b"abc"));
        connection.send(&[head, body].concat());
    });
    let gateway = in_front_of(&origin);
    let answer = get_http1(gateway.addr, "/");
    assert_eq!((answer.status, answer.reason().is_empty()), (502, false));
    let answer = Http2::connect(gateway.addr).ask(1, &get("/"));
    assert_eq!((answer.status(), answer.has_ended), (502, true));
}

#[test]
fn interim_responses_and_trailers_of_an_origin_reach_clients_of_both_versions() {
    let origin = Http2Origin::scripted(|connection, stream, _| {
        connection.request(stream, &[(":status", "103"), ("link", "<a>")], false);
        connection.request(stream, &[(":status", "200")], false);
        connection.data(stream, b"abc", false);
        connection.request(stream, &[("x-sum", "7")], true);
    });
    let gateway = in_front_of(&origin);
    let mut client = Http2::connect(gateway.addr);
    let answer = client.ask(1, &get("/"));
    let statuses: Vec<_> = answer.heads.iter().map(|head| head[0].1.as_str()).collect();
    assert_eq!((statuses, answer.text().as_str()), (vec!["103", "200", "7"], "abc"));
    let answer = ask(gateway.addr, "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n");
    assert_eq!((answer.status, answer.text().as_str()), (200, "abc"));
}

#[test]
fn windows_of_an_origin_that_begin_with_nothing_are_waited_for() {
    const WINDOW: u16 = 4;
    let origin = Http2Origin::announcing(&[(WINDOW, 0)], |connection, stream, _| {
        connection.takes_data = false;
        for _ in 0..50 {
            connection.frame(WINDOW_UPDATE, 0, stream, &1000_u32.to_be_bytes());
        }
        connection.until_over(stream);
        let length = connection.streams[&stream].body.len().to_string();
        connection.answer(stream, "200", length.as_bytes());
    });
    let gateway = in_front_of(&origin);
    assert_eq!(post(gateway.addr, "/", &"x".repeat(50_000)).text(), "50000");
}

#[test]
fn an_origin_that_hangs_up_between_requests_is_connected_to_again() {
    let origin = first(0, |_, _| ());
    let gateway = in_front_of(&origin);
    for _ in 0..3 {
        assert_eq!(post(gateway.addr, "/", "hello").text(), "hello");
        origin.hangs_up();
        // The gateway has seen it when it closes as well.
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn a_call_of_grpc_ends_by_a_frame_and_its_status_is_counted_and_logged() {
    let origin = Http2Origin::scripted(|connection, stream, _| {
        connection.until_over(stream);
        let path = connection.streams[&stream].field(":path");
        match path.as_str() {
            "/a.Service/Whole" => {
                connection.request(stream, &[(":status", "200")], false);
                connection.data(stream, b"\0\0\0\0\0", false);
                connection.request(stream, &[("grpc-status", "0")], true);
            }
            "/a.Service/Alone" => {
                connection.request(stream, &[(":status", "200"), ("grpc-status", "5")], true);
            }
            _ => connection.frame(RST_STREAM, 0, stream, &[0, 0, 0, 2]),
        }
    });
    let setup = Setup::new();
    let log = setup.dir.path().join("access.log");
    let keys = format!("accessLog: '{}', accessLogFields: [path, grpc_status]", log.display());
    let target = origin.addr();
    let gateway = setup
        .logging(&keys)
        .service(&format!("name: a, basePath: /, targets: ['h2://{target}']"))
        .start();
    let mut client = Http2::connect(gateway.addr);
    let mut stream = 1;
    for (path, status) in
        [("/a.Service/Whole", "0"), ("/a.Service/Alone", "5"), ("/a.Service/Gone", "14")]
    {
        let mut fields = get(path);
        fields[0].1 = "POST";
        fields.extend([("content-type", "application/grpc"), ("te", "trailers")]);
        client.request(stream, &fields, false);
        client.data(stream, b"", true);
        let answer = client.until_over(stream);
        assert_eq!(answer.field("grpc-status"), status, "{path}: {answer:?}");
        let series = format!("odin_grpc_responses_total{{service=\"a\",grpc_status=\"{status}\"}}");
        crate::support::wait_until("it is counted", || gateway.metric(&series) == 1.0);
        crate::support::wait_until("it is logged", || {
            let line = format!("path={path} grpc_status={status}");
            std::fs::read_to_string(&log).unwrap_or_default().contains(&line)
        });
        stream += 2;
    }
}

#[test]
fn a_call_of_grpc_without_messages_has_an_empty_frame_for_its_end() {
    let (said, heard) = std::sync::mpsc::channel();
    let said = Mutex::new(said);
    let origin = Http2Origin::scripted(move |connection, stream, _| {
        connection.until_over(stream);
        said.lock().unwrap().send(connection.head_flags.clone()).unwrap();
        connection.answer(stream, "200", b"");
    });
    let gateway = in_front_of(&origin);
    let mut client = Http2::connect(gateway.addr);
    let mut fields = get("/a.Service/Empty");
    fields[0].1 = "POST";
    fields.push(("content-type", "application/grpc"));
    let head = frame_of(HEADERS, 4, 1, &block_of(&fields));
    client.send(&[head, frame_of(DATA, 1, 1, b"")].concat());
    assert_eq!(client.until_over(1).status(), 200);
    let flags = heard.recv_timeout(crate::support::PATIENCE).unwrap();
    assert_eq!(flags, [4], "the head ends the stream");
}
