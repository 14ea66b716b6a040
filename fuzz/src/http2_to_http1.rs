//! Requests of HTTP/2 as HTTP/1 says them: one that is taken, an extended CONNECT too, is exactly
//! one head that says the same, and so is what it becomes for an origin of HTTP/2.

use odin::http::h1::{encode, head};
use odin::http::h2::head::{RequestLimits, RequestReader, connect_head, request_head};
use odin::http::h2::hpack::{Decoder, TakeField};
use odin::http::message::{Fields, Method, RequestHead};
use odin::route::path::{Rules, normalise};

use super::http1_head::{assert_one_head, check_fields, without_own_via};

const LIMITS: RequestLimits =
    RequestLimits { bytes_max: 64 * 1024, fields_max: 100, uri_bytes_max: 8 * 1024 };

/// One input: whether a body follows, then fields: RS before each, US between name and value.
pub fn run(input: &[u8]) {
    let Some((&first, rest)) = input.split_first() else {
        return;
    };
    let (mut request, mut room) = (RequestHead::default(), Vec::new());
    let mut reader = RequestReader::new(&mut request, &mut room, LIMITS);
    for field in rest.split(|&byte| byte == 0x1e).filter(|field| !field.is_empty()) {
        let at = field.iter().position(|&byte| byte == 0x1f).unwrap_or(field.len());
        let (name, value) = field.split_at(at);
        reader.take(name, value.get(1..).unwrap_or_default());
    }
    if reader.finish(first & 1 == 1).is_err() {
        return;
    }
    check_fields(&request.fields);
    let mut path = String::new();
    let is_any = request.path == "*";
    if is_any || normalise(&request.path, Rules::default(), &mut path).is_err() {
        return;
    }
    assert!(request.method != Method::Connect);
    match &request.upgrade {
        None => as_http1(&request, &path),
        Some(upgrade) => {
            assert!(upgrade.is_connect && upgrade.protocols().count() == 1);
            as_upgrade(&request, &path, &upgrade.protocols);
        }
    }
    as_http2(&request, &path);
}

fn as_http1(request: &RequestHead, path: &str) {
    let mut written = Vec::new();
    encode::request_head(request, &request.authority, path, &Fields::new(), &mut written);
    let again = read(&written);
    assert!(again.upgrade.is_none());
    assert_eq!(again.body, request.body);
    assert_same(&again, request, path);
}

fn as_upgrade(request: &RequestHead, path: &str, protocol: &str) {
    let mut written = Vec::new();
    encode::upgrade_head(request, &request.authority, path, protocol, &mut written);
    let again = read(&written);
    let upgrade = again.upgrade.as_ref().expect("it asks for it");
    assert_eq!(upgrade.protocols, protocol);
    assert_same(&again, request, path);
}

fn read(written: &[u8]) -> RequestHead {
    assert_one_head(written);
    let mut again = RequestHead::default();
    head::parse_request(written, usize::MAX, 1000, &mut again).expect("it can be read");
    again
}

fn assert_same(again: &RequestHead, request: &RequestHead, path: &str) {
    assert_eq!(again.method, request.method);
    assert_eq!((again.path.as_str(), &again.query), (path, &request.query));
    assert_eq!(again.authority, request.authority);
    assert!(without_own_via(&again.fields).eq(request.fields.iter()));
}

/// Takes what is written as a field block to be read again.
fn as_http2(request: &RequestHead, path: &str) {
    let mut block = Vec::new();
    let to = (request.authority.as_str(), path);
    match &request.upgrade {
        None => request_head(request, to, true, &Fields::new(), &mut block),
        Some(upgrade) => connect_head(request, to, true, &upgrade.protocols, &mut block),
    }
    let (mut again, mut room) = (RequestHead::default(), Vec::new());
    let mut reader = RequestReader::new(
        &mut again,
        &mut room,
        RequestLimits { bytes_max: usize::MAX, fields_max: 1000, uri_bytes_max: usize::MAX },
    );
    Decoder::new(0).decode(&block, &mut reader).expect("it can be decoded");
    reader.finish(false).expect("it is taken");
    assert_eq!((&again.method, &again.upgrade), (&request.method, &request.upgrade));
    assert_eq!((again.path.as_str(), &again.query), (path, &request.query));
    assert_eq!(again.authority, request.authority);
}
