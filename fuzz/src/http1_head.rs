//! Heads: where they end doesn't depend on the cuts of the stream, one that is taken is written as
//! exactly one head that says the same, and another parser takes the same ones for the same.

use odin::http::h1::encode::{self, ResponseForm};
use odin::http::h1::head;
use odin::http::h1::lines;
use odin::http::h1::scan::{BareLineFeed, HeadScanner};
use odin::http::message::{Fields, RequestHead, ResponseHead, is_field_value, is_token};
use odin::limits::{HEAD_FIELDS_MAX, URI_BYTES_MAX};
use odin::route::path::{Parameters, Rules, normalise};

/// One input: a stream that begins with a head.
pub fn run(input: &[u8]) {
    let end = HeadScanner::default().find_end(input);
    assert_eq!(bytewise(input), end);
    as_others_read(input);
    let Ok(Some(length)) = end else {
        return;
    };
    request(&input[..length]);
    response(&input[..length]);
    found_by_parsing(input, length);
}

type Parts<'a> = (Vec<&'a [u8]>, Vec<(&'a [u8], &'a [u8])>, usize);

/// httparse takes the same heads for the same, but for line ends of a bare LF, which it allows.
fn as_others_read(input: &[u8]) {
    // It passes over empty lines before a head.
    if matches!(input.first(), Some(b'\r' | b'\n')) {
        return;
    }
    assert_eq!(our_request(input), their_request(input), "{}", String::from_utf8_lossy(input));
    assert_eq!(our_response(input), their_response(input), "{}", String::from_utf8_lossy(input));
}

fn version(is_http10: bool) -> &'static [u8] {
    if is_http10 { b"1.0" } else { b"1.1" }
}

fn our_fields<'a>(input: &'a [u8], start: usize, words: Vec<&'a [u8]>) -> Option<Parts<'a>> {
    let mut fields = Vec::new();
    let end = lines::each_field(input, start, |line| {
        fields.push((line.name, line.value));
        Ok::<_, lines::Malformed>(())
    });
    Some((words, fields, end.ok()?))
}

fn our_request(input: &[u8]) -> Option<Parts<'_>> {
    let line = lines::request_line(input).ok()?;
    std::str::from_utf8(line.target).ok()?;
    our_fields(input, line.end, vec![line.method, line.target, version(line.is_http10)])
}

fn our_response(input: &[u8]) -> Option<Parts<'_>> {
    let line = lines::status_line(input).ok()?;
    our_fields(input, line.end, vec![&input[9..12], version(line.is_http10)])
}

fn their_fields<'a>(
    input: &'a [u8],
    fields: &[httparse::Header<'a>],
    words: Vec<&'a [u8]>,
    end: usize,
) -> Option<Parts<'a>> {
    let lines = input[..end].split_inclusive(|&byte| byte == b'\n');
    let all_whole = lines.into_iter().all(|line| line.ends_with(b"\r\n"));
    let fields = fields.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
    all_whole.then_some((words, fields, end))
}

fn their_request(input: &[u8]) -> Option<Parts<'_>> {
    let mut fields = vec![httparse::EMPTY_HEADER; input.len()];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(end) = request.parse(input).ok()? else {
        return None;
    };
    let version = version(request.version? == 0);
    let words = vec![request.method?.as_bytes(), request.path?.as_bytes(), version];
    their_fields(input, request.headers, words, end)
}

fn their_response(input: &[u8]) -> Option<Parts<'_>> {
    let mut fields = vec![httparse::EMPTY_HEADER; input.len()];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(end) = response.parse(input).ok()? else {
        return None;
    };
    let words = vec![&input[9..12], version(response.version? == 0)];
    their_fields(input, response.headers, words, end)
}

/// The parser finds the same end by itself, whatever follows. (A receiver that sees no line at the
/// start does not let it look.)
fn found_by_parsing(input: &[u8], length: usize) {
    if matches!(input[0], b'\r' | b'\n') {
        return;
    }
    let (mut alone, mut followed) = (RequestHead::default(), RequestHead::default());
    let read =
        |bytes, head: &mut _| head::parse_request(bytes, URI_BYTES_MAX, HEAD_FIELDS_MAX, head);
    let facts = read(&input[..length], &mut alone);
    assert_eq!(read(input, &mut followed), facts);
    assert!(facts.is_err() || facts.is_ok_and(|facts| facts.length == length));
    assert!(alone.fields.iter().eq(followed.fields.iter()));
    let (mut alone, mut followed) = (ResponseHead::default(), ResponseHead::default());
    let facts = head::parse_response(&input[..length], &mut alone);
    assert_eq!(head::parse_response(input, &mut followed), facts);
    assert!(facts.is_err() || facts.is_ok_and(|facts| facts.length == length));
    assert!(alone.fields.iter().eq(followed.fields.iter()));
}

fn bytewise(input: &[u8]) -> Result<Option<usize>, BareLineFeed> {
    let mut scanner = HeadScanner::default();
    for length in 0..=input.len() {
        match scanner.find_end(&input[..length]) {
            Ok(None) => {}
            found => return found,
        }
    }
    Ok(None)
}

fn request(bytes: &[u8]) {
    let mut request = RequestHead::default();
    let read =
        |bytes, head: &mut _| head::parse_request(bytes, URI_BYTES_MAX, HEAD_FIELDS_MAX, head);
    if read(bytes, &mut request).is_err() {
        return;
    }
    check_fields(&request.fields);
    let (mut path, mut again) = (String::new(), String::new());
    let mut check = |rules: Rules| {
        let outcome = normalise(&request.path, rules, &mut path);
        if outcome.is_ok() {
            let normal = normalise(&path, rules, &mut again);
            assert!(normal.is_ok() && again == path, "{path} becomes {again}");
            let is_plain = !path.contains([';', '\\']);
            assert!(is_plain || rules.parameters == Parameters::Keep, "{path}");
        }
        outcome
    };
    let strip = Rules { parameters: Parameters::Strip, ..Rules::default() };
    let is_kept = check(Rules::OWN).is_ok();
    assert!(is_kept || check(strip).is_err());
    if check(Rules::default()).is_err() {
        return;
    }
    // A request without a host is given its target's.
    let authority = if request.authority.is_empty() { "a" } else { &request.authority };
    let mut written = Vec::new();
    encode::request_head(&request, authority, &path, &Fields::new(), &mut written);
    assert_one_head(&written);
    let mut second = RequestHead::default();
    let outcome = head::parse_request(&written, usize::MAX, HEAD_FIELDS_MAX, &mut second);
    // What is added (Host, CDN-Loop, framing) may be one field too many.
    if request.fields.len() + 3 <= HEAD_FIELDS_MAX {
        outcome.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&written)));
        assert_eq!(second.method, request.method);
        assert_eq!((&second.path, &second.query), (&path, &request.query));
        assert_eq!(second.authority, authority);
        assert_eq!(second.body, request.body);
        assert!(without_own_via(&second.fields).eq(request.fields.iter()));
    }
}

/// The fields of a written request but for the last, in which the gateway names itself.
pub(super) fn without_own_via(fields: &Fields) -> impl Iterator<Item = (&[u8], &[u8])> {
    assert_eq!(fields.iter().last().map(|(name, _)| name), Some(&b"CDN-Loop"[..]));
    fields.iter().take(fields.len() - 1)
}

fn response(bytes: &[u8]) {
    let mut response = ResponseHead::default();
    let Ok(facts) = head::parse_response(bytes, &mut response) else {
        return;
    };
    check_fields(&response.fields);
    if response.status < 200 {
        return;
    }
    let form = ResponseForm {
        is_http10: facts.is_http10,
        keep_alive: facts.is_keep_alive,
        has_body: response.has_body(&Default::default()),
    };
    let mut written = Vec::new();
    encode::response_head(&response, form, &mut written);
    assert_one_head(&written);
    if response.fields.len() + 2 <= HEAD_FIELDS_MAX {
        let mut second = ResponseHead::default();
        head::parse_response(&written, &mut second).expect("what we write can be read");
        assert_eq!(second.status, response.status);
        assert!(second.fields.iter().eq(response.fields.iter()));
    }
}

/// What encoding relies on.
pub fn check_fields(fields: &Fields) {
    for (name, value) in fields.iter() {
        assert!(is_token(name), "{name:?}");
        assert!(is_field_value(value), "{name:?}: {value:?}");
    }
}

/// Bytes on a wire must not be two messages.
pub fn assert_one_head(written: &[u8]) {
    let end = HeadScanner::default().find_end(written);
    assert_eq!(end, Ok(Some(written.len())), "{}", String::from_utf8_lossy(written));
}
