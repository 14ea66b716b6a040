//! Heads and bodies of a client of HTTP/2, field by field: what its origin of HTTP/1 gets.

use odin::http::h2::frame::{flag, kind};

use crate::support::http2::{Http2, block_of, frame_of, get};
use crate::support::{Origin, Setup};

const PROTOCOL: Option<u32> = Some(1);

fn with(changes: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let mut fields = get("/");
    for (name, value) in changes {
        match fields.iter_mut().find(|one| one.0 == *name && name.starts_with(':')) {
            Some(field) => field.1 = value,
            None => fields.push((name, value)),
        }
    }
    fields
}

#[test]
fn a_head_that_is_malformed_resets_its_stream_and_reaches_nobody() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    let mut client = Http2::connect(gateway.addr);
    let mut cases: Vec<Vec<(&str, &str)>> = vec![Vec::new(), vec![("x", "y")]];
    for missing in [":method", ":scheme", ":path"] {
        cases.push(get("/").into_iter().filter(|one| one.0 != missing).collect());
    }
    for twice in get("/") {
        cases.push([vec![twice], get("/")].concat());
    }
    for path in
        ["", "x", "*", "http://a.example/", "/ x", "/\tx", "/\0", "/\r\n", "/\x7f", "?a", " /"]
    {
        cases.push(with(&[(":path", path)]));
    }
    for method in ["", "G ET", "GET\r\n", "g\0", "GET(", ":", "GET\t"] {
        cases.push(with(&[(":method", method)]));
    }
    for scheme in ["", "ht tp", "http\r\n", "http://", "\0", "1http"] {
        cases.push(with(&[(":scheme", scheme)]));
    }
    for authority in [
        "u:p@a", "a:x", "a:70000", "a b", "a/x", "a?x", "a#x", "a\\x", "a,b", "a\r\n", "a\0",
        "[::1", "[z]",
    ] {
        cases.push(with(&[(":authority", authority)]));
    }
    for name in
        ["", "X", "a B", "a:b", "a\0", "a\r\n", " a", "a ", "a\t", "a\"b", "a(b", ":x", ":status"]
    {
        cases.push(with(&[(name, "v")]));
        cases.push([vec![(name, "v")], get("/")].concat());
    }
    for value in ["a\r\nb: c", "a\nb", "a\rb", "a\0b", "\x01", "a\x7f"] {
        cases.push(with(&[("x-a", value)]));
    }
    for field in [
        ("connection", "close"),
        ("keep-alive", "5"),
        ("proxy-connection", "x"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
        ("host", "b.example"),
        ("content-length", ""),
        ("content-length", "-1"),
        ("content-length", "+0"),
        ("content-length", "0,0"),
        ("content-length", "0x0"),
        ("content-length", "5"),
        ("content-length", "99999999999999999999"),
    ] {
        cases.push(with(&[field]));
    }
    let mut stream = 1;
    for fields in cases {
        let answer = client.ask(stream, &fields);
        let is_refused =
            answer.reset == PROTOCOL || (answer.reset.is_none() && answer.status() == 400);
        assert!(is_refused, "{fields:?}: {answer:?}");
        stream += 2;
    }
    assert_eq!(origin.requests().len(), 0);
    assert_eq!(client.ask(stream, &get("/")).status(), 200);
}

#[test]
fn a_body_is_as_long_as_its_head_says_and_trailers_are_trailers() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    let mut client = Http2::connect(gateway.addr);
    let mut stream = 1;
    let mut ask =
        |length: Option<&'static str>, pieces: &[&[u8]], trailers: Option<&[(&str, &str)]>| {
            let mut fields = with(&[(":method", "POST")]);
            fields.extend(length.map(|length| ("content-length", length)));
            let mut frames = frame_of(kind::HEADERS, flag::END_HEADERS, stream, &block_of(&fields));
            for (at, piece) in pieces.iter().enumerate() {
                let ends = at + 1 == pieces.len() && trailers.is_none();
                frames.extend(frame_of(kind::DATA, u8::from(ends), stream, piece));
            }
            if let Some(trailers) = trailers {
                frames.extend(frame_of(kind::HEADERS, 5, stream, &block_of(trailers)));
            }
            client.send(&frames);
            let answer = client.until_over(stream);
            stream += 2;
            match answer.reset {
                Some(code) => Err(code),
                None => Ok(answer.status()),
            }
        };
    assert_eq!(ask(Some("3"), &[b"abc"], None), Ok(200));
    assert_eq!(ask(Some("3"), &[b"ab", b"c"], Some(&[("x", "y")])), Ok(200));
    assert_eq!(ask(None, &[b"ab", b"c"], None), Ok(200));
    assert_eq!(ask(None, &[b""], None), Ok(200));
    assert_eq!(ask(None, &[b"a"], Some(&[])), Ok(200));
    for (length, pieces) in [
        ("5", &[&b"abc"[..]][..]),
        ("2", &[b"abc"]),
        ("2", &[b"ab", b"c"]),
        ("0", &[b"c"]),
        ("5", &[b""]),
    ] {
        assert_eq!(ask(Some(length), pieces, None), Err(1), "{length}: {pieces:?}");
    }
    assert_eq!(ask(Some("5"), &[b"abc"], Some(&[("x", "y")])), Err(1));
    for name in [":path", ":status", "X", "", "connection", "transfer-encoding", "a b"] {
        assert_eq!(ask(None, &[b"a"], Some(&[(name, "v")])), Err(1), "{name:?}");
    }
    let wholes = origin.requests().iter().filter(|one| one.text().ends_with('c')).count();
    assert_eq!(wholes, 3, "no broken one has come whole");
}

#[test]
fn a_head_that_is_too_large_is_answered_whatever_of_it_is() {
    let gateway = Setup::echo().start();
    let mut client = Http2::connect(gateway.addr);
    let long = "v".repeat(60_000);
    let mut stream = 1;
    for fields in [
        vec![("x", long.as_str())],
        vec![(":path", long.as_str())],
        vec![(":authority", long.as_str())],
    ] {
        let mut head = get("/");
        head.retain(|one| one.0 != fields[0].0);
        let block = block_of(&[fields, head].concat());
        let mut pieces = block.chunks(16_000).peekable();
        let mut frames = frame_of(kind::HEADERS, 1, stream, pieces.next().unwrap());
        while let Some(piece) = pieces.next() {
            let end = if pieces.peek().is_none() { 4 } else { 0 };
            frames.extend(frame_of(kind::CONTINUATION, end, stream, piece));
        }
        client.send(&frames);
        let answer = client.until_over(stream);
        let status = answer.reset.map_or_else(|| answer.status(), |_| 0);
        assert!(status == 431 || (status == 0 && stream == 1), "{stream}: {answer:?}");
        stream += 2;
    }
    assert_eq!(client.ask(stream, &get("/")).status(), 200);
}

#[test]
fn what_is_well_formed_arrives_as_it_was_meant() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    let mut client = Http2::connect(gateway.addr);
    let fields = with(&[
        (":path", "/a/../b?c=d"),
        ("host", "a.example"),
        ("te", "trailers"),
        ("cookie", "a=1"),
        ("x-empty", ""),
        ("x-tab", "a\tb"),
        ("cookie", "b=2"),
        ("cookie", "c=3"),
    ]);
    assert_eq!(client.ask(1, &fields).status(), 200);
    let without: Vec<_> = get("/").into_iter().filter(|one| one.0 != ":authority").collect();
    let host = [without.clone(), vec![("host", "h.example:81")]].concat();
    assert_eq!(client.ask(3, &host).status(), 200);
    assert_eq!(client.ask(5, &without).status(), 400);
    let requests = origin.requests();
    assert_eq!(requests.len(), 2);
    let head = &requests[0].head;
    assert_eq!(head.start, "GET /b?c=d HTTP/1.1");
    assert_eq!(head.get("host").as_deref(), Some("a.example"));
    assert_eq!(head.get("cookie").as_deref(), Some("a=1; b=2; c=3"));
    assert_eq!(
        (head.get("x-empty").as_deref(), head.get("x-tab").as_deref()),
        (Some(""), Some("a\tb"))
    );
    assert_eq!(head.get("te"), None);
    assert_eq!(requests[1].head.get("host").as_deref(), Some("h.example:81"));
}

#[test]
fn a_request_that_should_have_a_body_and_has_none_says_so_to_origins_of_http1() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    let mut client = Http2::connect(gateway.addr);
    for (number, (method, length)) in
        [("POST", Some("0")), ("PUT", Some("0")), ("GET", None), ("DELETE", None)]
            .into_iter()
            .enumerate()
    {
        let fields = [&[(":method", method)], &get("/")[1..]].concat();
        assert_eq!(client.ask(2 * number as u32 + 1, &fields).status(), 200);
        let received = origin.requests().pop().unwrap();
        assert_eq!((received.method.as_str(), received.text().as_str()), (method, ""));
        assert_eq!(received.head.get("content-length").as_deref(), length, "{method}");
        assert!(!received.head.has("transfer-encoding"), "{method}");
    }
}
