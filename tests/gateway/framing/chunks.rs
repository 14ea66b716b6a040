//! Chunked request bodies. A head may have gone out before its body turns out to be broken, so
//! the promise is: no broken body ever reaches the origin as a complete one.

use super::judge;
use crate::support::carrier::over_both;
use crate::support::wire::Framing;
use crate::support::{Carrier, Gateway, Origin, Setup, wasm};

const HEAD: &str = "POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Sends a broken body and, in the same bytes, a request that must not be taken for a next one.
fn check(gateway: &Gateway, body: &[u8]) -> Result<(), String> {
    let mut client = gateway.client();
    client.send([HEAD.as_bytes(), body].concat());
    let response = client.try_response().map_err(|error| format!("{error:?}"))?;
    judge(&response, &[400, 413, 431])?;
    let rest = client.rest();
    match rest.is_empty() {
        true => Ok(()),
        false => Err(format!("then {:?}", String::from_utf8_lossy(&rest))),
    }
}

/// Name, body. RFC 9112 section 7.1 for all but the extensions (7.1.1) and trailers (7.1.2).
const MALFORMED: &[(&str, &[u8])] = &[
    ("size of 2^64", b"10000000000000000\r\nhello\r\n0\r\n\r\n"),
    ("size that overflows to 5", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("size of 2^64 - 1", b"FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n"),
    ("0x prefix", b"0x5\r\nhello\r\n0\r\n\r\n"),
    ("plus sign", b"+5\r\nhello\r\n0\r\n\r\n"),
    ("minus sign", b"-5\r\nhello\r\n0\r\n\r\n"),
    ("space before the size", b" 5\r\nhello\r\n0\r\n\r\n"),
    ("space behind the size", b"5 \r\nhello\r\n0\r\n\r\n"),
    ("space within the size", b"0 5\r\nhello\r\n0\r\n\r\n"),
    ("not a digit", b"g\r\nhello\r\n0\r\n\r\n"),
    ("underscore", b"0_5\r\nhello\r\n0\r\n\r\n"),
    ("empty size", b"\r\nhello\r\n0\r\n\r\n"),
    ("extension without a size", b";a=b\r\nhello\r\n0\r\n\r\n"),
    ("bare LF after the size", b"5\nhello\r\n0\r\n\r\n"),
    ("bare CR after the size", b"5\rhello\r\n0\r\n\r\n"),
    ("bare LF after the data", b"5\r\nhello\n0\r\n\r\n"),
    ("no line end after the data", b"5\r\nhello0\r\n\r\n"),
    ("data longer than its size", b"5\r\nhello!\r\n0\r\n\r\n"),
    ("data shorter than its size", b"5\r\nhell\r\n0\r\n\r\n"),
    ("bare LF in an extension", b"5;a=\nb\r\nhello\r\n0\r\n\r\n"),
    ("bare CR in an extension", b"5;a=\rb\r\nhello\r\n0\r\n\r\n"),
    ("NUL in an extension", b"5;a=\0b\r\nhello\r\n0\r\n\r\n"),
    ("bytes after the terminator's size", b"5\r\nhello\r\n0 GET\r\n\r\n"),
    ("bytes for the last empty line", b"5\r\nhello\r\n0\r\nGET /s HTTP/1.1\r\n\r\n"),
    ("bare LF as the last empty line", b"5\r\nhello\r\n0\r\n\n"),
    ("bare LF after the terminator", b"5\r\nhello\r\n0\n\r\n"),
    ("trailer without a colon", b"5\r\nhello\r\n0\r\nX-A\r\n\r\n"),
    ("trailer with a space before the colon", b"5\r\nhello\r\n0\r\nX-A : b\r\n\r\n"),
    ("folded trailer", b"5\r\nhello\r\n0\r\nX-A: b\r\n c\r\n\r\n"),
    ("NUL in a trailer", b"5\r\nhello\r\n0\r\nX-A: b\0\r\n\r\n"),
];

fn malformed_chunks_never_become_a_complete_request(by: Carrier) {
    let long_extension = [b"5;".as_slice(), &[b'x'; 4096], b"\r\nhello\r\n0\r\n\r\n"].concat();
    let long_size = [&[b'0'; 4096], b"5\r\nhello\r\n0\r\n\r\n".as_slice()].concat();
    let many_trailers = [b"0\r\n".as_slice(), &b"X-A: b\r\n".repeat(4000), b"\r\n"].concat();
    let mut cases = MALFORMED.to_vec();
    cases.push(("extension over its limit", &long_extension));
    cases.push(("size line over its limit", &long_size));
    cases.push(("trailers over their limit", &many_trailers));
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).carried_by(by).start();
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|(name, body)| Some(format!("{name}: {}", check(&gateway, body).err()?)))
        .collect();
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(gateway.client().get("/sentinel").status, 200);
    let complete: Vec<String> = origin
        .requests()
        .into_iter()
        .filter(|request| request.method != "MALFORMED")
        .map(|request| format!("{} {:?}", request.target, request.text()))
        .collect();
    assert_eq!(complete, ["/sentinel \"\""]);
}

fn a_body_cut_short_never_becomes_a_complete_request(by: Carrier) {
    let origin = Origin::ok();
    // No idle connections, so that all are closed at the end.
    let gateway = Setup::to(&origin).limits("upstreamIdleMax: 0").carried_by(by).start();
    for request in [
        "POST /cut HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello",
        "POST /cut HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /cut HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "POST /cut HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "POST /cut HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ] {
        let mut client = gateway.client();
        client.send(request);
        client.finish_sending();
        // Whether a 400 can still be sent is the gateway's choice; the connection must end.
        let answer = String::from_utf8(client.rest()).unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{request:?}: {answer}");
    }
    // Accepted after all the others, if there were any.
    assert_eq!(gateway.client().get("/sentinel").status, 200);
    origin.wait_all_closed();
    let mut complete = origin.requests();
    complete.retain(|request| request.method != "MALFORMED");
    let targets: Vec<String> = complete.into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["/sentinel"]);
}

fn well_formed_chunks_arrive_whole(by: Carrier) {
    // (name, body on the wire, body that arrives)
    let cases: &[(&str, &[u8], &str)] = &[
        ("one chunk", b"5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("several chunks", b"1\r\nh\r\n3\r\nell\r\n1\r\no\r\n0\r\n\r\n", "hello"),
        ("capital digits", b"A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("small digits", b"a\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("leading zeros", b"0005\r\nhello\r\n000\r\n\r\n", "hello"),
        ("extension", b"5;name=value\r\nhello\r\n0;last\r\n\r\n", "hello"),
        ("white space before an extension", b"5 \t;a=b\r\nhello\r\n0 ;a\r\n\r\n", "hello"),
        (
            "more zeros than a number of 64 bits has digits",
            b"00000000000000000005\r\nhello\r\n00000000000000000000\r\n\r\n",
            "hello",
        ),
        ("quoted extension", b"5;name=\"a b\"\r\nhello\r\n0\r\n\r\n", "hello"),
        ("empty body", b"0\r\n\r\n", ""),
    ];
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).carried_by(by).start();
    for (count, (name, body, expected)) in cases.iter().enumerate() {
        let mut client = gateway.client();
        let response = client.ask([HEAD.as_bytes(), body].concat());
        assert_eq!(response.status, 200, "{name}: {}", response.text());
        let received = origin.requests().remove(count);
        assert_eq!(received.text(), *expected, "{name}");
        assert_eq!(received.framing, Framing::Chunked, "{name}");
        assert!(!received.head.has("content-length"), "{name}");
    }
}

fn what_follows_the_terminator_is_the_next_request_and_nothing_else(by: Carrier) {
    let origin = Origin::naming_targets();
    let gateway = Setup::to(&origin).carried_by(by).start();
    let mut client = gateway.client();
    client.send(format!("{HEAD}0\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\nrubbish\r\n\r\n"));
    assert_eq!(client.response().text(), "/chunks");
    assert_eq!(client.response().text(), "/next");
    assert_eq!(client.response().status, 400);
    client.assert_closed();
    assert_eq!(origin.requests().len(), 2);
}

/// A service that lets these trailers of requests through.
fn letting(origin: &Origin, trailers: &str) -> Setup {
    Setup::new().service(&format!(
        "name: all, basePath: /, targets: ['{}'], requestTrailers: [{trailers}]",
        origin.url()
    ))
}

fn no_request_trailer_reaches_an_origin_that_its_service_does_not_name(by: Carrier) {
    let trailers = "X-User: root\r\nX-Checksum: 1234\r\nx_user: root\r\n";
    let passing = r#"{"modified":false,"continue":true}"#;
    for has_plugin in [false, true] {
        for (names, expected) in [("", &[][..]), ("x-checksum", &["X-Checksum"][..])] {
            let origin = Origin::ok();
            let mut setup = letting(&origin, names);
            if has_plugin {
                setup = setup.plugin("guard", wasm::answering(passing), "type: auth");
            }
            let gateway = setup.carried_by(by).start();
            let response = gateway.client().ask(format!("{HEAD}5\r\nhello\r\n0\r\n{trailers}\r\n"));
            assert_eq!(response.status, 200);
            let received = origin.only_request();
            assert_eq!(received.text(), "hello");
            let got: Vec<&str> = received.trailers.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(got, expected, "{names:?}, a plugin: {has_plugin}");
        }
    }
}

fn trailers_that_are_let_through_cannot_smuggle_forbidden_fields(by: Carrier) {
    let origin = Origin::ok();
    let gateway = letting(&origin, "X-Checksum").carried_by(by).start();
    // RFC 9110 section 6.5.1: framing, routing, authentication and control never in trailers.
    let response = gateway.client().ask(format!(
        "{HEAD}5\r\nhello\r\n0\r\nX-Checksum: 1234\r\nContent-Length: 99\r\n\
         Transfer-Encoding: chunked\r\nHost: evil.test\r\nAuthorization: Basic evil\r\n\
         Connection: close\r\nX-Forwarded-For: 6.6.6.6\r\nTrailer: X-Checksum\r\n\r\n"
    ));
    assert_eq!(response.status, 200);
    let received = origin.only_request();
    assert_eq!(received.text(), "hello");
    let names: Vec<&str> = received.trailers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["X-Checksum"]);
    assert_eq!(received.trailers[0].1, b"1234");
    for name in ["authorization", "content-length"] {
        assert!(!received.head.has(name), "{name} moved to the head: {}", received.head);
    }
    assert_eq!(received.head.get("host").unwrap(), "a");
}

over_both!(
    malformed_chunks_never_become_a_complete_request,
    a_body_cut_short_never_becomes_a_complete_request,
    well_formed_chunks_arrive_whole,
    what_follows_the_terminator_is_the_next_request_and_nothing_else,
    no_request_trailer_reaches_an_origin_that_its_service_does_not_name,
    trailers_that_are_let_through_cannot_smuggle_forbidden_fields,
);
