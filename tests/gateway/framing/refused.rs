//! Heads that are refused before anything is sent to an origin.

use super::{Parts, Refused, assert_none_got_through, failures_of, refused};
use crate::support::carrier::over_both;
use crate::support::{Carrier, Origin, Setup};

/// These bytes as they are.
const fn raw(bytes: &'static [u8]) -> Parts {
    [bytes, b"", b"", b""]
}

/// A POST with these field lines and this body.
const fn post(fields: &'static [u8], body: &'static [u8]) -> Parts {
    [b"POST / HTTP/1.1\r\nHost: a\r\n", fields, b"\r\n\r\n", body]
}

fn assert_all_refused(by: Carrier, cases: &[Refused]) {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).carried_by(by).start();
    let failures = failures_of(&gateway, cases);
    assert_none_got_through(&gateway, &origin, &failures);
}

const LENGTHS: &[Refused] = &[
    refused(
        "with chunked",
        "6.1",
        &[400],
        post(b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
    ),
    refused(
        "after chunked",
        "6.1",
        &[400],
        post(b"Transfer-Encoding: chunked\r\nContent-Length: 5", b"0\r\n\r\n"),
    ),
    refused(
        "0 with chunked",
        "6.1",
        &[400],
        post(b"Content-Length: 0\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
    ),
    refused(
        "two that differ",
        "6.3",
        &[400],
        post(b"Content-Length: 5\r\nContent-Length: 6", b"hello!"),
    ),
    refused(
        "two that agree",
        "6.3",
        &[400],
        post(b"Content-Length: 5\r\nContent-Length: 5", b"hello"),
    ),
    refused("list that agrees", "6.3", &[400], post(b"Content-Length: 5,5", b"hello")),
    refused("list that agrees, spaced", "6.3", &[400], post(b"Content-Length: 5, 5", b"hello")),
    refused("list that differs", "6.3", &[400], post(b"Content-Length: 5, 6", b"hello!")),
    refused("plus sign", "6.2", &[400], post(b"Content-Length: +5", b"hello")),
    refused("minus sign", "6.2", &[400], post(b"Content-Length: -5", b"hello")),
    refused("minus zero", "6.2", &[400], post(b"Content-Length: -0", b"")),
    refused("space inside", "6.2", &[400], post(b"Content-Length: 1 0", b"0123456789")),
    refused("tab inside", "6.2", &[400], post(b"Content-Length: 1\t0", b"0123456789")),
    refused("hexadecimal", "6.2", &[400], post(b"Content-Length: 0x5", b"hello")),
    refused("trailing letter", "6.2", &[400], post(b"Content-Length: 5a", b"hello")),
    refused("exponent", "6.2", &[400], post(b"Content-Length: 1e1", b"0123456789")),
    refused("decimal point", "6.2", &[400], post(b"Content-Length: 5.0", b"hello")),
    refused("quoted", "6.2", &[400], post(b"Content-Length: \"5\"", b"hello")),
    refused("empty", "6.2", &[400], post(b"Content-Length:", b"")),
    refused(
        "digit of another script",
        "6.2",
        &[400],
        post("Content-Length: \u{665}".as_bytes(), b"hello"),
    ),
    refused("vertical tab before", "6.2", &[400], post(b"Content-Length:\x0b5", b"hello")),
    refused(
        "2^64, which wraps to 0",
        "6.2",
        &[400, 413],
        post(b"Content-Length: 18446744073709551616", b""),
    ),
    refused(
        "2^64 + 5, which wraps to 5",
        "6.2",
        &[400, 413],
        post(b"Content-Length: 18446744073709551621", b"hello"),
    ),
    refused(
        "thirty digits",
        "6.2",
        &[400, 413],
        post(b"Content-Length: 999999999999999999999999999999", b""),
    ),
];

fn ambiguous_content_lengths_are_refused(by: Carrier) {
    assert_all_refused(by, LENGTHS);
}

const CODINGS: &[Refused] = &[
    refused("unknown coding", "6.1", &[501], post(b"Transfer-Encoding: xchunked", b"0\r\n\r\n")),
    refused(
        "chunked not last",
        "6.3",
        &[400, 501],
        post(b"Transfer-Encoding: chunked, identity", b"0\r\n\r\n"),
    ),
    refused("identity", "6.1", &[400, 501], post(b"Transfer-Encoding: identity", b"")),
    refused(
        "identity before chunked",
        "6.1",
        &[400, 501],
        post(b"Transfer-Encoding: identity, chunked", b"0\r\n\r\n"),
    ),
    refused(
        "gzip before chunked",
        "6.1",
        &[400, 501],
        post(b"Transfer-Encoding: gzip, chunked", b"0\r\n\r\n"),
    ),
    refused(
        "chunked twice in one field",
        "6.1",
        &[400, 501],
        post(b"Transfer-Encoding: chunked, chunked", b"0\r\n\r\n"),
    ),
    refused(
        "chunked in two fields",
        "6.1",
        &[400, 501],
        post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
    ),
    refused(
        "chunked and another field",
        "6.1",
        &[400, 501],
        post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x", b"0\r\n\r\n"),
    ),
    refused(
        "vertical tab before",
        "RFC 9110 5.5",
        &[400],
        post(b"Transfer-Encoding: \x0bchunked", b"0\r\n\r\n"),
    ),
    refused(
        "vertical tab after",
        "RFC 9110 5.5",
        &[400],
        post(b"Transfer-Encoding: chunked\x0b", b"0\r\n\r\n"),
    ),
    refused(
        "NUL after",
        "RFC 9110 5.5",
        &[400],
        post(b"Transfer-Encoding: chunked\0", b"0\r\n\r\n"),
    ),
    refused(
        "non-breaking space before",
        "6.1",
        &[400, 501],
        post(b"Transfer-Encoding: \xa0chunked", b"0\r\n\r\n"),
    ),
    refused("quoted", "6.1", &[400, 501], post(b"Transfer-Encoding: \"chunked\"", b"0\r\n\r\n")),
    refused(
        "with a parameter",
        "6.1",
        &[400, 501],
        post(b"Transfer-Encoding: chunked;q=1", b"0\r\n\r\n"),
    ),
    refused("with a comma", "6.1", &[400, 501], post(b"Transfer-Encoding: ,chunked", b"0\r\n\r\n")),
    refused("empty", "6.1", &[400, 501], post(b"Transfer-Encoding:", b"0\r\n\r\n")),
    refused("folded", "5.2", &[400], post(b"Transfer-Encoding:\r\n chunked", b"0\r\n\r\n")),
    refused(
        "space before the colon",
        "5.1",
        &[400],
        post(b"Transfer-Encoding : chunked", b"0\r\n\r\n"),
    ),
    refused(
        "tab before the colon",
        "5.1",
        &[400],
        post(b"Transfer-Encoding\t: chunked", b"0\r\n\r\n"),
    ),
    refused(
        "in HTTP/1.0",
        "6.1",
        &[400],
        raw(b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ),
    refused(
        "in HTTP/1.0 with keep-alive",
        "6.1",
        &[400],
        raw(b"POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\
              Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ),
];

fn transfer_codings_other_than_chunked_are_refused(by: Carrier) {
    assert_all_refused(by, CODINGS);
}

const LINES: &[Refused] = &[
    refused("bare LF everywhere", "2.2", &[400], raw(b"GET / HTTP/1.1\nHost: a\n\n")),
    refused(
        "bare LF after the request line",
        "2.2",
        &[400],
        raw(b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    ),
    refused(
        "bare LF after a field",
        "2.2",
        &[400],
        raw(b"GET / HTTP/1.1\r\nHost: a\nX-A: b\r\n\r\n"),
    ),
    refused("bare LF as the empty line", "2.2", &[400], raw(b"GET / HTTP/1.1\r\nHost: a\r\n\n")),
    refused(
        "bare CR in a value",
        "2.2",
        &[400],
        raw(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\rX-C: d\r\n\r\n"),
    ),
    refused(
        "bare CR in the request line",
        "2.2",
        &[400],
        raw(b"GET /\rX HTTP/1.1\r\nHost: a\r\n\r\n"),
    ),
    refused("CR CR LF", "2.2", &[400], raw(b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n")),
    refused(
        "obs-fold with a space",
        "5.2",
        &[400],
        raw(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n"),
    ),
    refused(
        "obs-fold with a tab",
        "5.2",
        &[400],
        raw(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\tc\r\n\r\n"),
    ),
    refused(
        "white space before the first field",
        "2.2",
        &[400],
        raw(b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    ),
    refused(
        "space before the colon",
        "5.1",
        &[400],
        raw(b"GET / HTTP/1.1\r\nHost: a\r\nX-A : b\r\n\r\n"),
    ),
    refused(
        "Host with a space before the colon",
        "5.1",
        &[400],
        raw(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
    ),
    refused("no name", "5.1", &[400], raw(b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n")),
    refused("no colon", "5.1", &[400], raw(b"GET / HTTP/1.1\r\nHost: a\r\nX-A\r\n\r\n")),
    refused(
        "space inside a name",
        "RFC 9110 5.1",
        &[400],
        raw(b"GET / HTTP/1.1\r\nHost: a\r\nX A: b\r\n\r\n"),
    ),
    refused(
        "NUL in a name",
        "RFC 9110 5.1",
        &[400],
        raw(b"GET / HTTP/1.1\r\nHost: a\r\nX\0A: b\r\n\r\n"),
    ),
    refused(
        "control byte in a name",
        "RFC 9110 5.1",
        &[400],
        raw(b"GET / HTTP/1.1\r\nHost: a\r\nX\x01A: b\r\n\r\n"),
    ),
    refused(
        "byte over 0x7F in a name",
        "RFC 9110 5.1",
        &[400],
        raw(b"GET / HTTP/1.1\r\nHost: a\r\nX\xe9A: b\r\n\r\n"),
    ),
    refused(
        "delimiter in a name",
        "RFC 9110 5.1",
        &[400],
        raw(b"GET / HTTP/1.1\r\nHost: a\r\nX(A): b\r\n\r\n"),
    ),
    refused(
        "NUL in a value",
        "RFC 9110 5.5",
        &[400],
        raw(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\0c\r\n\r\n"),
    ),
    refused(
        "control byte in a value",
        "RFC 9110 5.5",
        &[400],
        raw(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\x01c\r\n\r\n"),
    ),
    refused(
        "DEL in a value",
        "RFC 9110 5.5",
        &[400],
        raw(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\x7fc\r\n\r\n"),
    ),
    refused(
        "over 32 fields named by Connection",
        "each is held against each field",
        &[400],
        raw(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q\r\n\
              Connection: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p\r\n\r\n"),
    ),
];

fn malformed_lines_are_refused(by: Carrier) {
    assert_all_refused(by, LINES);
}

const REQUEST_LINES: &[Refused] = &[
    refused(
        "two spaces before the target",
        "3",
        &[400],
        raw(b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ),
    refused("two spaces after the target", "3", &[400], raw(b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n")),
    refused("tab for a space", "3", &[400], raw(b"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n")),
    refused("space in the target", "3.2", &[400], raw(b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n")),
    refused("space after the version", "3", &[400], raw(b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n")),
    refused("space before the method", "3", &[400], raw(b" GET / HTTP/1.1\r\nHost: a\r\n\r\n")),
    refused("no method", "3.1", &[400], raw(b"/ HTTP/1.1\r\nHost: a\r\n\r\n")),
    refused("delimiter in the method", "3.1", &[400], raw(b"GE(T / HTTP/1.1\r\nHost: a\r\n\r\n")),
    refused("NUL in the method", "3.1", &[400], raw(b"GE\0T / HTTP/1.1\r\nHost: a\r\n\r\n")),
    refused("no version (HTTP/0.9)", "3", &[400, 505], raw(b"GET /\r\n\r\n")),
    refused(
        "version in small letters",
        "2.3",
        &[400, 505],
        raw(b"GET / http/1.1\r\nHost: a\r\n\r\n"),
    ),
    refused(
        "version of two digits",
        "2.3",
        &[400, 505],
        raw(b"GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
    ),
    refused("HTTP/2.0", "2.3", &[400, 505], raw(b"GET / HTTP/2.0\r\nHost: a\r\n\r\n")),
    refused("fragment", "3.2.1", &[400], raw(b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n")),
    refused(
        "fragment after a query",
        "3.2.1",
        &[400],
        raw(b"GET /a?b#c HTTP/1.1\r\nHost: a\r\n\r\n"),
    ),
    refused(
        "fragment in absolute-form",
        "3.2.2",
        &[400],
        raw(b"GET http://a/#b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ),
    refused("no leading slash", "3.2.1", &[400], raw(b"GET a/b HTTP/1.1\r\nHost: a\r\n\r\n")),
    refused(
        "authority-form with GET",
        "3.2.3",
        &[400],
        raw(b"GET a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n"),
    ),
    refused("asterisk-form with GET", "3.2.4", &[400], raw(b"GET * HTTP/1.1\r\nHost: a\r\n\r\n")),
    refused(
        "absolute-form of another scheme",
        "3.2.2",
        &[400],
        raw(b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ),
    refused(
        "absolute-form without a host",
        "3.2.2",
        &[400],
        raw(b"GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n"),
    ),
    refused(
        "absolute-form with userinfo",
        "RFC 9110 4.2.4",
        &[400],
        raw(b"GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ),
    refused("NUL in the target", "3.2", &[400], raw(b"GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n")),
    refused(
        "control byte in the target",
        "3.2",
        &[400],
        raw(b"GET /a\x01b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ),
    refused(
        "byte over 0x7F in the target",
        "3.2",
        &[400],
        raw(b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ),
];

fn malformed_request_lines_are_refused(by: Carrier) {
    assert_all_refused(by, REQUEST_LINES);
}

const CONNECTS: &[Refused] = &[
    refused(
        "authority-form",
        "RFC 9110 9.3.6",
        &[405, 501],
        raw(b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"),
    ),
    refused(
        "origin-form",
        "3.2.3",
        &[400, 405, 501],
        raw(b"CONNECT / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ),
];

fn connect_is_refused_as_not_implemented(by: Carrier) {
    assert_all_refused(by, CONNECTS);
}

const HOSTS: &[Refused] = &[
    refused("missing in HTTP/1.1", "3.2", &[400], raw(b"GET / HTTP/1.1\r\n\r\n")),
    refused("missing beside absolute-form", "3.2", &[400], raw(b"GET http://a/ HTTP/1.1\r\n\r\n")),
    refused("two that differ", "3.2", &[400], raw(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")),
    refused("two that agree", "3.2", &[400], raw(b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n")),
    refused("two in HTTP/1.0", "3.2", &[400], raw(b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n")),
    refused("list", "3.2", &[400], raw(b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n")),
    refused("space inside", "3.2", &[400], raw(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n")),
    refused("path", "3.2", &[400], raw(b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n")),
    refused("userinfo", "3.2", &[400], raw(b"GET / HTTP/1.1\r\nHost: user@a\r\n\r\n")),
    refused("port that is no number", "3.2", &[400], raw(b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n")),
    refused("query", "3.2", &[400], raw(b"GET / HTTP/1.1\r\nHost: a?b\r\n\r\n")),
    refused("byte over 0x7F", "3.2", &[400], raw(b"GET / HTTP/1.1\r\nHost: \xe9.test\r\n\r\n")),
];

fn host_is_required_once_and_well_formed(by: Carrier) {
    assert_all_refused(by, HOSTS);
}

fn a_second_request_on_a_refused_connection_is_not_read(by: Carrier) {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).carried_by(by).start();
    // The second request is complete and valid: only the doubt about the first one keeps it back.
    let failures = failures_of(&gateway, &[refused("smuggled", "6.1", &[400],
        raw(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n\
          0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"))]);
    assert_none_got_through(&gateway, &origin, &failures);
}

over_both!(
    ambiguous_content_lengths_are_refused,
    transfer_codings_other_than_chunked_are_refused,
    malformed_lines_are_refused,
    malformed_request_lines_are_refused,
    connect_is_refused_as_not_implemented,
    host_is_required_once_and_well_formed,
    a_second_request_on_a_refused_connection_is_not_read,
);
