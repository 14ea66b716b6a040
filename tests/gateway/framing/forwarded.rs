//! Heads that are forwarded: what the origin sees of them, and what it must never see.

use crate::support::carrier::over_both;
use crate::support::origin::Received;
use crate::support::wire::Framing;
use crate::support::{Carrier, Origin, Setup};

/// Sends one request; it must be answered with 200. Returns what the origin saw.
fn forwarded(by: Carrier, request: impl AsRef<[u8]>) -> Received {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).carried_by(by).start();
    let response = gateway.client().ask(request);
    assert_eq!(response.status, 200, "{}", response.text());
    origin.only_request()
}

fn white_space_around_a_framing_value_is_taken_off(by: Carrier) {
    // RFC 9112 section 5: OWS is SP and HTAB.
    let received =
        forwarded(by, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:  \t5\t \r\n\r\nhello");
    assert_eq!((received.framing, received.text()), (Framing::Length(5), "hello".into()));
    let received = forwarded(
        by,
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked \r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    assert_eq!((received.framing, received.text()), (Framing::Chunked, "hello".into()));
}

fn codings_are_matched_in_any_letter_case(by: Carrier) {
    // RFC 9112 section 7: names of codings are case-insensitive.
    let received = forwarded(
        by,
        "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: ChunKed\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    assert_eq!((received.framing, received.text()), (Framing::Chunked, "hello".into()));
}

fn an_empty_line_before_the_request_line_is_passed_over(by: Carrier) {
    // RFC 9112 section 2.2.
    assert_eq!(forwarded(by, "\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n").target, "/a");
}

fn http10_without_a_host_is_forwarded(by: Carrier) {
    let received = forwarded(by, "GET /a HTTP/1.0\r\n\r\n");
    assert_eq!(received.target, "/a");
    assert_eq!(received.head.all("host").len(), 1, "HTTP/1.1 upstream needs a Host");
}

fn an_unknown_method_is_forwarded_as_it_is(by: Carrier) {
    assert_eq!(forwarded(by, "PURGE /a HTTP/1.1\r\nHost: a\r\n\r\n").method, "PURGE");
    // RFC 9110 section 9.1: methods are case-sensitive, so this is not GET.
    assert_eq!(forwarded(by, "get /a HTTP/1.1\r\nHost: a\r\n\r\n").method, "get");
}

fn options_asterisk_is_answered(by: Carrier) {
    // RFC 9112 section 3.2.4: the gateway may answer for itself or ask the origin.
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).carried_by(by).start();
    let response = gateway.client().ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!([200, 204].contains(&response.status), "{}: {}", response.status, response.text());
    for request in origin.requests() {
        assert_eq!((request.method.as_str(), request.target.as_str()), ("OPTIONS", "*"));
    }
}

fn absolute_form_wins_over_host(by: Carrier) {
    // RFC 9112 section 3.2.2: the proxy ignores the received Host and makes its own.
    let received = forwarded(by, "GET http://b.test:8080/a?c HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(received.target, "/a?c");
    assert_eq!(received.head.get("host").unwrap(), "b.test:8080");
    assert_eq!(received.head.get("x-forwarded-host").unwrap(), "b.test:8080");
}

fn absolute_form_without_a_path_asks_for_the_root(by: Carrier) {
    assert_eq!(forwarded(by, "GET http://b.test HTTP/1.1\r\nHost: b.test\r\n\r\n").target, "/");
    assert_eq!(forwarded(by, "GET http://b.test?c HTTP/1.1\r\nHost: b.test\r\n\r\n").target, "/?c");
}

fn host_reaches_the_origin_as_the_client_wrote_it(by: Carrier) {
    for host in ["a.test", "a.test:8080", "127.0.0.1", "[::1]:80", "A.Test"] {
        let received = forwarded(by, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(received.head.get("host").unwrap(), host);
    }
}

fn end_to_end_fields_keep_order_spelling_values_and_bytes(by: Carrier) {
    let received = forwarded(
        by,
        b"GET / HTTP/1.1\r\nHost: a\r\nX-b: 1\r\nAccept:\r\nX-B: 2\r\nX-Caf\x65: caf\xe9 \"q\"\r\n\
          cOOkie: a=b; c=d\r\n\r\n",
    );
    let own = ["host", "connection", "content-length", "x-request-id", "cdn-loop"];
    let mut fields = received.head.fields;
    fields.retain(|(name, _)| {
        let name = name.to_ascii_lowercase();
        !own.contains(&name.as_str()) && !name.starts_with("x-forwarded-")
    });
    let expected: [(&str, &[u8]); 5] = [
        ("X-b", b"1"),
        ("Accept", b""),
        ("X-B", b"2"),
        ("X-Cafe", b"caf\xe9 \"q\""),
        ("cOOkie", b"a=b; c=d"),
    ];
    let fields: Vec<(&str, &[u8])> =
        fields.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    assert_eq!(fields, expected);
}

fn hop_by_hop_fields_are_taken_out_of_requests(by: Carrier) {
    // RFC 9110 section 7.6.1.
    let received = forwarded(
        by,
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Secret , x-other\r\n\
         Connection: X-Third\r\nX-Secret: 1\r\nX-Other: 2\r\nX-Third: 3\r\nX-Stays: 4\r\n\
         Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n\
         Upgrade: websocket\r\n\r\n",
    );
    for gone in [
        "x-secret",
        "x-other",
        "x-third",
        "keep-alive",
        "proxy-connection",
        "te",
        "upgrade",
        "transfer-encoding",
    ] {
        assert!(!received.head.has(gone), "{gone} in {}", received.head);
    }
    assert_eq!(received.head.get("x-stays").unwrap(), "4");
    let connection = received.head.all("connection").join(",").to_ascii_lowercase();
    assert!(!connection.contains("x-"), "{connection}");
}

fn connection_cannot_nominate_what_the_gateway_needs(by: Carrier) {
    // RFC 9110 section 7.6.1: fields meant for all recipients must not be nominated; nominating
    // them is how a client takes them off before the origin (or the framing) sees them.
    let received = forwarded(
        by,
        "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close, host, content-length, \
         transfer-encoding, x-forwarded-for, x-forwarded-host, x-forwarded-proto, x-request-id\r\n\
         Content-Length: 5\r\n\r\nhello",
    );
    assert_eq!(received.head.get("host").unwrap(), "a.test");
    assert_eq!((received.framing, received.text()), (Framing::Length(5), "hello".into()));
    for stays in ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id"] {
        assert!(received.head.has(stays), "{stays} not in {}", received.head);
    }
}

fn an_upgrade_that_is_no_handshake_is_not_forwarded(by: Carrier) {
    // h2c smuggling: the origin must not be led to speak HTTP/2 behind the gateway's back.
    for upgrade in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c, TLS/1.0\r\nSec-WebSocket-Version: 13\r\n",
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        "Connection: HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        "Upgrade: h2c\r\n",
    ] {
        let received = forwarded(by, format!("GET / HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n"));
        assert!(!received.head.has("upgrade"), "{}", received.head);
        assert!(!received.head.has("http2-settings") || !upgrade.contains("Connection"));
        let connection = received.head.all("connection").join(",").to_ascii_lowercase();
        assert!(!connection.contains("upgrade"), "{}", received.head);
    }
}

fn a_switch_of_protocols_that_nobody_asked_for_is_a_bad_gateway(by: Carrier) {
    let origin = Origin::raw(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    );
    let gateway = Setup::to(&origin).carried_by(by).start();
    let response = gateway.client().get("/");
    assert_eq!(response.status, 502);
    assert!(!response.reason().is_empty());
}

fn requests_with_and_without_a_body_are_framed_in_one_way(by: Carrier) {
    let received = forwarded(by, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!((received.framing, received.text()), (Framing::Length(5), "hello".into()));
    let received = forwarded(by, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert!(matches!(received.framing, Framing::Length(0)), "{:?}", received.framing);
    let received = forwarded(by, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(received.framing, Framing::None);
}

fn a_request_split_at_every_byte_is_the_whole_request(by: Carrier) {
    let origin = Origin::ok();
    let gateway = Setup::new()
        .service(&format!(
            "name: all, basePath: /, targets: ['{}'], requestTrailers: [X-T]",
            origin.url()
        ))
        .carried_by(by)
        .start();
    let request = "POST /split HTTP/1.1\r\nHost: a\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-T: u\r\n\r\n";
    let mut client = gateway.client();
    client.send_bytewise(request);
    assert_eq!(client.response().status, 200);
    for at in 1..request.len() {
        let (first, second) = request.split_at(at);
        client.send(first);
        std::thread::yield_now();
        client.send(second);
        assert_eq!(client.response().status, 200, "split at {at}");
    }
    let requests = origin.requests();
    assert_eq!(requests.len(), request.len());
    for received in requests {
        assert_eq!((received.target.as_str(), received.text().as_str()), ("/split", "hello world"));
        assert_eq!(received.trailers, [("X-T".to_owned(), b"u".to_vec())]);
    }
}

over_both!(
    white_space_around_a_framing_value_is_taken_off,
    codings_are_matched_in_any_letter_case,
    an_empty_line_before_the_request_line_is_passed_over,
    http10_without_a_host_is_forwarded,
    an_unknown_method_is_forwarded_as_it_is,
    options_asterisk_is_answered,
    absolute_form_wins_over_host,
    absolute_form_without_a_path_asks_for_the_root,
    host_reaches_the_origin_as_the_client_wrote_it,
    end_to_end_fields_keep_order_spelling_values_and_bytes,
    hop_by_hop_fields_are_taken_out_of_requests,
    connection_cannot_nominate_what_the_gateway_needs,
    an_upgrade_that_is_no_handshake_is_not_forwarded,
    a_switch_of_protocols_that_nobody_asked_for_is_a_bad_gateway,
    requests_with_and_without_a_body_are_framed_in_one_way,
    a_request_split_at_every_byte_is_the_whole_request,
);
