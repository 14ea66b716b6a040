//! What RFC 9113 section 8 calls malformed, field by field; and what is written, read again.

use super::*;
use crate::http::h2::hpack::{Decoder, TakeField};
use crate::http::message::{BodyLength, Fields, Method, RequestHead, ResponseHead};

const LIMITS: RequestLimits = RequestLimits { bytes_max: 2048, fields_max: 20, uri_bytes_max: 200 };

type Field<'a> = (&'a str, &'a str);
const GET: [Field<'_>; 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "a.example"), (":path", "/p?q=1")];

fn read(fields: &[Field<'_>], ends: bool) -> (Result<Facts, Unfit>, RequestHead) {
    let (mut head, mut cookies) = (RequestHead::default(), Vec::new());
    let mut reader = RequestReader::new(&mut head, &mut cookies, LIMITS);
    fields.iter().for_each(|(name, value)| reader.take(name.as_bytes(), value.as_bytes()));
    let outcome = reader.finish(ends);
    (outcome, head)
}

fn with<'a>(more: &[Field<'a>]) -> Vec<Field<'a>> {
    [&GET[..], more].concat()
}

fn without<'a>(name: &str, more: &[Field<'a>]) -> Vec<Field<'a>> {
    let kept = GET.into_iter().filter(|(one, _)| *one != name);
    kept.chain(more.iter().copied()).collect()
}

#[test]
fn a_request_is_taken_apart() {
    let fields = with(&[
        ("cookie", "a=1"),
        ("accept", "*/*"),
        ("cookie", "b=2"),
        ("te", "trailers"),
        ("host", "A.example"),
        ("content-length", "12"),
        ("expect", "100-Continue"),
        ("x_y", "1"),
        ("trailer", "grpc-status"),
    ]);
    let (outcome, head) = read(&fields, false);
    assert_eq!(outcome, Ok(Facts { expects_continue: true }));
    assert_eq!((head.method, head.authority.as_str()), (Method::Get, "a.example"));
    assert_eq!((head.path.as_str(), head.query.as_str()), ("/p", "?q=1"));
    assert_eq!(head.body, BodyLength::Known(12));
    assert!(head.fields.has_underscores());
    let fields: Vec<_> = head.fields.iter().map(|(name, _)| name).collect();
    assert_eq!(fields, [&b"accept"[..], b"x_y", b"cookie"]);
    assert_eq!(head.fields.get("cookie"), Some(&b"a=1; b=2"[..]));
    assert_eq!(read(&GET, true).1.body, BodyLength::Empty);
    assert_eq!(read(&GET, false).1.body, BodyLength::Unknown);
    let host = without(":authority", &[("host", "b.example:8080")]);
    assert_eq!(read(&host, true).1.authority, "b.example:8080");
}

#[test]
fn what_is_malformed_is_found() {
    let long = "v".repeat(30);
    for (fields, why) in [
        (with(&[("Accept", "1")]), "a capital"),
        (with(&[("", "1")]), "no name"),
        (with(&[("a b", "1")]), "a space in a name"),
        (with(&[("a:", "1")]), "a colon in a name"),
        (with(&[("a\r\nb", "1")]), "a line end in a name"),
        (with(&[("a\u{e9}", "1")]), "a byte over 0x7f in a name"),
        (with(&[("a", "1\r\nb: 2")]), "a line end in a value"),
        (with(&[("a", "1\nb")]), "a line feed in a value"),
        (with(&[("a", "1\0")]), "a NUL in a value"),
        (with(&[("a", " 1")]), "a space before a value"),
        (with(&[("a", "1\t")]), "a tab behind a value"),
        (with(&[("cookie", "a=1\r\nb")]), "a line end in a cookie"),
        (with(&[("connection", "close")]), "connection"),
        (with(&[("keep-alive", "1")]), "keep-alive"),
        (with(&[("proxy-connection", "close")]), "proxy-connection"),
        (with(&[("transfer-encoding", "chunked")]), "transfer-encoding"),
        (with(&[("upgrade", "h2c")]), "upgrade"),
        (with(&[("te", "gzip")]), "te"),
        (with(&[("te", "trailers, gzip")]), "te"),
        (with(&[("host", "b.example")]), "host is not :authority"),
        (with(&[("host", "a.example"), ("host", "a.example")]), "two hosts"),
        (with(&[("content-length", "1"), ("content-length", "1")]), "two lengths"),
        (with(&[("content-length", "+1")]), "a sign"),
        (with(&[("content-length", "1, 1")]), "a list of lengths"),
        (with(&[("content-length", "")]), "no digits"),
        (with(&[("content-length", &long)]), "no digits"),
        (with(&[("content-length", "3")]), "a length, and no body"),
        (with(&[(":path", "/")]), "a path twice"),
        (with(&[("a", "1"), (":foo", "1")]), "a pseudo-header behind a field"),
        (with(&[(":status", "200")]), "a response's pseudo-header"),
        (with(&[(":protocol", "websocket")]), "extended CONNECT, unasked"),
        (with(&[(":", "1")]), "a colon"),
        (without(":method", &[]), "no method"),
        (without(":scheme", &[]), "no scheme"),
        (without(":path", &[]), "no path"),
        (without(":method", &[(":method", "G T")]), "a space in a method"),
        (without(":method", &[(":method", "GET / HTTP/1.1\r\na")]), "a line in a method"),
        (without(":method", &[(":method", "")]), "no letters in a method"),
        (without(":path", &[(":path", "")]), "an empty path"),
        (without(":path", &[(":path", "p")]), "a path without a slash"),
        (without(":path", &[(":path", "http://a/")]), "a URL as a path"),
        (without(":path", &[(":path", "*")]), "* for GET"),
        (without(":path", &[(":path", "/a b")]), "a space in a path"),
        (without(":path", &[(":path", "/ HTTP/1.1\r\nx: y")]), "a line in a path"),
        (without(":path", &[(":path", "/\u{7f}")]), "DEL in a path"),
        (without(":scheme", &[(":scheme", "ht tp")]), "a space in a scheme"),
        (without(":scheme", &[(":scheme", "")]), "an empty scheme"),
        (without(":authority", &[(":authority", "")]), "an empty authority"),
        (without(":authority", &[(":authority", "u@a")]), "user information"),
        (without(":authority", &[(":authority", "a\r\nb")]), "a line end in an authority"),
        (without(":authority", &[(":authority", "a/b")]), "a path in an authority"),
        (without(":method", &[(":method", "CONNECT")]), "CONNECT with a path"),
    ] {
        let (outcome, _) = read(&fields, true);
        assert!(matches!(outcome, Err(Unfit::Malformed(_))), "{why}: {outcome:?}");
    }
}

#[test]
fn what_is_well_formed_and_not_wanted_is_answered() {
    let refused = |fields: &[Field<'_>]| match read(fields, false).0 {
        Err(Unfit::Refused(error)) => error.status(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&[(":method", "CONNECT"), (":authority", "a:443")]), 501);
    assert_eq!(refused(&without(":authority", &[])), 400);
    assert_eq!(refused(&without(":scheme", &[(":scheme", "ftp")])), 400);
    assert_eq!(refused(&without(":path", &[(":path", "/#f")])), 400);
    let long = format!("/{}", "p".repeat(200));
    assert_eq!(refused(&without(":path", &[(":path", &long)])), 414);
    assert_eq!(refused(&with(&[("expect", "a miracle")])), 417);
    assert_eq!(refused(&with(&[("a", &"v".repeat(2048))])), 431);
    assert_eq!(refused(&with(&[("a", "1"); 21])), 431);
}

#[test]
fn trailers_hold_no_pseudo_headers_and_lose_what_must_not_stand_there() {
    let read = |fields: &[Field<'_>]| {
        let mut kept = Fields::new();
        let mut reader = TrailersReader::new(&mut kept);
        fields.iter().for_each(|(name, value)| reader.take(name.as_bytes(), value.as_bytes()));
        reader.finish().map(|()| kept.len())
    };
    assert_eq!(read(&[("grpc-status", "0"), ("content-length", "3"), ("host", "a")]), Ok(1));
    for bad in [(":path", "/"), ("A", "1"), ("a", "\n"), ("connection", "close")] {
        assert!(read(&[("a", "1"), bad]).is_err(), "{bad:?}");
    }
    assert!(read(&[("a", &"v".repeat(9000))]).is_err());
}

fn response(fields: &[Field<'_>], ends: bool) -> Result<ResponseHead, &'static str> {
    let mut head = ResponseHead::default();
    let mut reader = ResponseReader::new(&mut head, 2048, 20);
    fields.iter().for_each(|(name, value)| reader.take(name.as_bytes(), value.as_bytes()));
    reader.finish(ends).map(|()| head)
}

#[test]
fn responses_are_taken_apart_or_refused() {
    let head = response(&[(":status", "200"), ("a", "1"), ("content-length", "5")], false);
    assert_eq!(head.unwrap().body, BodyLength::Known(5));
    for (fields, ends) in [
        (&[("a", "1")][..], true),
        (&[(":status", "20")], true),
        (&[(":status", "2000")], true),
        (&[(":status", "101")], false),
        (&[(":status", "099")], true),
        (&[(":status", "103")], true),
        (&[(":status", "200"), (":status", "200")], true),
        (&[("a", "1"), (":status", "200")], true),
        (&[(":status", "200"), (":path", "/")], true),
        (&[(":status", "200"), ("A", "1")], true),
        (&[(":status", "200"), ("a", "1\r\n")], true),
        (&[(":status", "200"), ("connection", "close")], true),
        (&[(":status", "200"), ("transfer-encoding", "chunked")], true),
    ] {
        assert!(response(fields, ends).is_err(), "{fields:?}");
    }
}

#[test]
fn what_is_written_is_read_again() {
    let (_, head) = read(&with(&[("X-A".to_lowercase().as_str(), "1"), ("b", "2")]), false);
    let mut set = Fields::new();
    set.push(b"B", b"3");
    let mut block = Vec::new();
    request_head(&head, ("o.example", "/x"), true, &set, &mut block);
    let (mut again, mut cookies) = (RequestHead::default(), Vec::new());
    let mut reader = RequestReader::new(&mut again, &mut cookies, LIMITS);
    Decoder::new(0).decode(&block, &mut reader).unwrap();
    reader.finish(false).unwrap();
    assert_eq!((again.authority.as_str(), again.path.as_str()), ("o.example", "/x"));
    assert_eq!(again.query, "?q=1");
    assert_eq!(again.fields.get_all("b").collect::<Vec<_>>(), [b"3"]);
    assert!(again.fields.contains("x-a") && again.fields.contains("cdn-loop"));

    for (status, body, has_body, length) in [
        (200, BodyLength::Known(3), true, Some(3)),
        (204, BodyLength::Known(3), false, None),
        (304, BodyLength::Known(7), false, Some(7)),
        (599, BodyLength::Empty, true, Some(0)),
        (200, BodyLength::Unknown, true, None),
    ] {
        let mut head = ResponseHead { status, body, ..ResponseHead::default() };
        head.fields.push(b"Server", b"s");
        let mut block = Vec::new();
        response_head(&head, has_body, &mut block);
        let mut again = ResponseHead::default();
        let mut reader = ResponseReader::new(&mut again, 2048, 20);
        Decoder::new(0).decode(&block, &mut reader).unwrap();
        reader.finish(false).unwrap();
        assert_eq!(again.status, status);
        let expected = length.map_or(BodyLength::Unknown, BodyLength::Known);
        assert_eq!((again.body, again.fields.len()), (expected, 1));
    }
}

#[test]
fn grpc_is_known_by_its_type() {
    let is = |kind: &str| {
        let mut fields = Fields::new();
        fields.push(b"Content-Type", kind.as_bytes());
        is_grpc(&fields)
    };
    assert!(is("application/grpc") && is("application/grpc+proto") && is("Application/gRPC;a=b"));
    assert!(!is("application/grpc-web") && !is("application/json") && !is("application/gr"));
}
