//! Bodies and trailers of handlers of http-wasm: read in their calls, as far as they ask.

use super::handlers::handler;
use super::{built, echoing};
use crate::support::{Client, Gate, Gateway, Origin, Setup, ask, get, post};
use std::io::Write;
use std::time::{Duration, Instant};

const PASS: &str = "(i64.const 1)";
/// Reads so many bytes of the request's body, to 4096.
fn read(most: usize) -> String {
    format!("(drop (call $read (i32.const 0) (i32.const 4096) (i32.const {most})))")
}
/// Reads all of the body of a kind, a kilobyte at a time.
fn read_all(kind: u32) -> String {
    format!(
        "(loop $more (br_if $more (i64.eqz (i64.shr_u
           (call $read (i32.const {kind}) (i32.const 4096) (i32.const 1024)) (i64.const 32)))))"
    )
}
fn enable(features: u32) -> String {
    format!("(drop (call $features (i32.const {features})))")
}
/// Sets the field `x-a: one` of a kind.
fn set(kind: u32) -> String {
    format!(
        "(call $set (i32.const {kind}) (i32.const 256) (i32.const 3) (i32.const 272) (i32.const 3))"
    )
}

fn with(origin: &Origin, request: &str, response: &str, more: &str) -> Gateway {
    let service = format!(
        "name: all, basePath: /, targets: ['{}'], requestTrailers: [x-a, x-sum], \
         responseTrailers: [x-a, x-sum]",
        origin.url()
    );
    let module = handler(request, response);
    Setup::new()
        .service(&service)
        .limits("pluginBodyBytesMax: 64KiB")
        .plugin("it", module, more)
        .start()
}

fn chunked(pieces: &[&str], trailers: &str) -> String {
    let chunk = |piece: &&str| format!("{:x}\r\n{piece}\r\n", piece.len());
    let pieces: String = pieces.iter().map(chunk).collect();
    format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         {pieces}0\r\n{trailers}\r\n"
    )
}

#[test]
fn what_a_handler_reads_is_used_up_unless_the_request_is_buffered() {
    let origin = echoing();
    let gateway = with(&origin, &format!("{}{PASS}", read(4)), "", "");
    assert_eq!(post(gateway.addr, "/", "abcdefgh").text(), "efgh");
    assert_eq!(ask(gateway.addr, chunked(&["ab", "cdef", "gh"], "")).text(), "efgh");
    assert_eq!(post(gateway.addr, "/", "abcd").text(), "");
    assert_eq!(post(gateway.addr, "/", "ab").text(), "");
    assert_eq!(get(gateway.addr, "/").status, 200);
    let buffered = format!("{}{}{PASS}", enable(1), read(4));
    let gateway = with(&origin, &buffered, "", "");
    assert_eq!(post(gateway.addr, "/", "abcdefgh").text(), "abcdefgh");
    assert_eq!(ask(gateway.addr, chunked(&["ab", "cdef", "gh"], "")).text(), "abcdefgh");
    let all = with(&origin, &format!("{}{}{PASS}", enable(1), read_all(0)), "", "");
    assert_eq!(post(all.addr, "/", "abcdefgh").text(), "abcdefgh");
    let whole = with(&origin, &format!("{}{PASS}", read(4)), "", "body: whole");
    assert_eq!(post(whole.addr, "/", "abcdefgh").text(), "abcdefgh");
}

#[test]
fn a_body_larger_than_what_may_be_kept_is_read_in_pieces_and_not_kept() {
    let origin = echoing();
    let large = "x".repeat(1 << 20);
    let gateway = with(&origin, &format!("{}{PASS}", read_all(0)), "", "");
    let response = post(gateway.addr, "/", &large);
    assert_eq!((response.status, response.text()), (200, String::new()));
    let part = with(&origin, &format!("{}{PASS}", read(1000)), "", "");
    assert_eq!(post(part.addr, "/", &large).text().len(), (1 << 20) - 1000);
    let kept = with(&origin, &format!("{}{}{PASS}", enable(1), read_all(0)), "", "");
    assert_eq!(post(kept.addr, "/", &large).status, 413);
    assert_eq!(post(kept.addr, "/", "small").text(), "small");
}

#[test]
fn a_body_that_nobody_asks_for_goes_on_as_it_comes() {
    let (gate, seen) = (Gate::default(), Gate::default());
    let (opened, noted) = (gate.clone(), seen.clone());
    let origin = Origin::scripted(move |connection, _| {
        let head = connection.head().unwrap();
        assert_eq!(head.head.all("content-length"), ["8"]);
        let first = connection.some();
        assert_eq!(first, b"abcd");
        noted.open();
        opened.wait();
        connection.answer("done");
    });
    let unread = format!("(if (i32.const 0) (then {})) {PASS}", read(4));
    let gateway = with(&origin, &unread, "", "");
    let mut client = Client::connect(gateway.addr);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nabcd");
    seen.wait();
    client.send("efgh");
    gate.open();
    assert_eq!(client.response().text(), "done");
}

#[test]
fn a_response_that_is_not_buffered_passes_as_it_comes_and_cannot_be_read() {
    let gate = Gate::default();
    let opened = gate.clone();
    let origin = Origin::scripted(move |connection, _| {
        connection.request().unwrap();
        connection.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
             Transfer-Encoding: chunked\r\n\r\n\
             5\r\none\n\n\r\n",
        );
        opened.wait();
        connection.send("5\r\ntwo\n\n\r\n0\r\n\r\n");
    });
    let unread = format!("(if (i32.const 0) (then {}))", read_all(1));
    let gateway = with(&origin, PASS, &unread, "");
    let mut client = Client::connect(gateway.addr);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.head();
    assert_eq!(head.status().ok(), Some(200));
    assert_eq!(client.take(10), b"5\r\none\n\n\r\n");
    gate.open();
    assert_eq!(client.take(10), b"5\r\ntwo\n\n\r\n");
}

#[test]
fn a_buffered_response_is_read_and_goes_on() {
    let origin = Origin::raw("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nabcdefgh");
    for feature in [2, 3, 7] {
        let gateway = with(&origin, &format!("{}{PASS}", enable(feature)), &read_all(1), "");
        let response = get(gateway.addr, "/");
        assert_eq!((response.status, response.text()), (200, "abcdefgh".to_owned()));
        assert_eq!(response.head.all("content-length"), ["8"]);
        assert_eq!(ask(gateway.addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").text(), "abcdefgh");
    }
    let large = Origin::raw(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}",
        1 << 20,
        "x".repeat(1 << 20)
    ));
    let gateway = with(&large, &format!("{}{PASS}", enable(2)), &read_all(1), "");
    assert_eq!(get(gateway.addr, "/").status, 502);
}

#[test]
fn trailers_are_read_set_and_removed_where_they_are_enabled() {
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            let names: Vec<_> = request
                .trailers
                .iter()
                .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value)))
                .collect();
            let body = format!("{} {}", request.text(), names.join(","));
            connection.send(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n\
                 0\r\nx-sum: 9\r\n\r\n",
                body.len()
            ));
        }
    });
    let sum = chunked(&["ab", "cd"], "x-sum: 4\r\n");
    for (request, expected) in [
        // Unread, read to its end and kept, read and used up.
        (format!("{}{}{PASS}", enable(4), set(2)), "abcd x-sum=4,x-a=one"),
        (format!("{}{}{}{PASS}", enable(5), read_all(0), set(2)), "abcd x-sum=4,x-a=one"),
        (format!("{}{}{}{PASS}", enable(4), read_all(0), set(2)), " x-sum=4,x-a=one"),
        (format!("{}{}{PASS}", enable(5), read_all(0)), "abcd x-sum=4"),
        (format!("{}{PASS}", enable(4)), "abcd x-sum=4"),
    ] {
        let gateway = with(&origin, &request, "", "");
        assert_eq!(ask(gateway.addr, &sum).text(), expected, "{request}");
    }
    let trailer_of = |request: &str, response: &str| {
        let gateway = with(&origin, request, response, "");
        let mut client = Client::connect(gateway.addr);
        client.send("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close\r\n\r\n");
        String::from_utf8(client.rest()).unwrap()
    };
    let all = trailer_of(&format!("{}{PASS}", enable(6)), &format!("{}{}", read_all(1), set(3)));
    assert!(all.ends_with("0\r\nx-sum: 9\r\nx-a: one\r\n\r\n"), "{all}");
    let unread = trailer_of(&format!("{}{PASS}", enable(6)), &set(3));
    assert!(unread.ends_with("0\r\nx-sum: 9\r\nx-a: one\r\n\r\n"), "{unread}");
    let before = trailer_of(&format!("{}{}{PASS}", enable(4), set(3)), "");
    assert!(before.ends_with("0\r\nx-sum: 9\r\nx-a: one\r\n\r\n"), "{before}");
    // Without the feature, or after the service was asked.
    let gateway = with(&origin, &format!("{}{PASS}", set(2)), "", "");
    assert_eq!(get(gateway.addr, "/").status, 503);
    let gateway = with(&origin, &format!("{}{PASS}", enable(4)), &set(2), "");
    assert_eq!(get(gateway.addr, "/").status, 503);
}

#[test]
fn the_time_that_a_body_is_waited_for_is_not_the_handlers() {
    let origin = echoing();
    let read = format!("{}{}{PASS}", enable(1), read_all(0));
    let gateway = with(&origin, &read, "", "timeout: 200ms, maxInstances: 4");
    let mut client = Client::connect(gateway.addr);
    let started = Instant::now();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n");
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(100));
        client.send("ab");
        // Others are served meanwhile.
        assert_eq!(get(gateway.addr, "/").status, 200);
    }
    assert_eq!(client.response().text(), "abababab");
    assert!(started.elapsed() > Duration::from_millis(350));
    // Who leaves while it is waited for costs an instance, and nothing else.
    for _ in 0..8 {
        let mut leaving = Client::connect(gateway.addr);
        leaving.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nab");
        leaving.reset();
    }
    assert_eq!(post(gateway.addr, "/", "abc").text(), "abc");
}

#[test]
fn a_coded_body_is_read_plain_and_its_rest_goes_on_plain() {
    let origin = echoing();
    let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let text = "plain text ".repeat(20_000);
    coder.write_all(text.as_bytes()).unwrap();
    let coded = coder.finish().unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        coded.len()
    );
    let request = [head.as_bytes(), &coded].concat();
    for (features, left) in [(1, &text[..]), (0, &text[100..])] {
        let gateway = with(&origin, &format!("{}{}{PASS}", enable(features), read(100)), "", "");
        let response = ask(gateway.addr, &request);
        assert!(response.status == 200 && response.text() == left, "{features}");
        assert_eq!(origin.requests().last().unwrap().head.all("content-encoding").len(), 0);
    }
    let cut = [head.as_bytes(), &coded[..coded.len() - 9], b"123456789"].concat();
    let gateway = with(&origin, &format!("{}{PASS}", read_all(0)), "", "");
    assert_eq!(ask(gateway.addr, &cut).status, 400);
}

#[test]
fn a_handler_reads_what_the_filter_before_it_has_made_and_the_next_one_what_it_has_left() {
    let origin = echoing();
    let read = handler(&format!("{}{PASS}", read(2)), "");
    let service = format!("name: all, basePath: /, targets: ['{}']", origin.url());
    let chain = |filter: i32, handler: i32| {
        Setup::new()
            .service(&service)
            .plugin("filter", built("filter-rust"), &format!("config: body, priority: {filter}"))
            .plugin("handler", &read, &format!("priority: {handler}"))
            .start()
    };
    let behind = chain(1, 2);
    assert_eq!(post(behind.addr, "/", "my secret").text(), " ******!");
    let before = chain(2, 1);
    assert_eq!(post(before.addr, "/", "my secret").text(), " ******!");
    let two = Setup::new()
        .service(&service)
        .plugin("first", &read, "priority: 1")
        .plugin("second", &read, "priority: 2")
        .start();
    assert_eq!(post(two.addr, "/", "abcdef").text(), "ef");
}

#[test]
fn a_handler_is_told_that_there_is_no_response_of_the_service() {
    // It trips over the service's error, which the log tells of.
    let response = "(if (local.get $failed) (then unreachable))";
    let gateway = Setup::new()
        .service("name: dead, basePath: /dead, targets: ['http://127.0.0.1:9']")
        .service("name: echo, basePath: /, targets: ['builtin:echo']")
        .plugin("it", handler(PASS, response), "")
        .start();
    assert_eq!(get(gateway.addr, "/").status, 200);
    assert_eq!(get(gateway.addr, "/dead").status, 502);
    gateway.wait_log("unreachable");
    assert_eq!(get(gateway.addr, "/").status, 200);
}
