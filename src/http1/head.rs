//! Parses one whole head into [`RequestHead`] or [`ResponseHead`], and what it says of framing and
//! of the connection into [`HeadFacts`].
//!
//! Framing and hop-by-hop fields do not leave this module as fields (RFC 9110 section 7.6.1): they
//! become `BodyLength` and `HeadFacts`. `head/fields.rs` knows them by name.

mod fields;
mod target;

use std::mem::MaybeUninit;

use httparse::{ParserConfig, Status};

use self::fields::FieldRules;
pub use self::fields::is_hop_by_hop;
use crate::error::Error;
use crate::limits::HEAD_FIELDS_MAX;
use crate::message::{Method, RequestHead, ResponseHead};

/// What a head says beside the message itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeadFacts {
    /// HTTP/1.0: no chunks may be sent back, and the connection closes unless asked otherwise.
    pub is_http10: bool,
    /// The sender means to keep the connection open after this message.
    pub is_keep_alive: bool,
    /// The body comes in chunks. A response of `BodyLength::Unknown` without ends with its
    /// connection.
    pub is_chunked: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

/// Parses a request head: `bytes` ends with its empty line (see [`super::scan`]).
///
/// The path is left as received; normalising it is the exchange's first step.
pub fn parse_request(
    bytes: &[u8],
    uri_bytes_max: usize,
    fields_max: usize,
    head: &mut RequestHead,
) -> Result<HeadFacts, Error> {
    head.clear();
    let mut fields = [const { MaybeUninit::uninit() }; HEAD_FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let parsed =
        ParserConfig::default().parse_request_with_uninit_headers(&mut request, bytes, &mut fields);
    match parsed {
        Ok(Status::Complete(length)) if length == bytes.len() => {}
        // The scanner found the empty line, so anything else is a head that ends elsewhere.
        Ok(_) => return Err(Error::BadRequest("request head is malformed")),
        Err(error) => return Err(refusal(error, bytes)),
    }
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Err(Error::BadRequest("request line is incomplete"));
    };
    if request.headers.len() > fields_max {
        return Err(Error::HeadTooLarge);
    }
    if target.len() > uri_bytes_max {
        return Err(Error::UriTooLong);
    }
    head.method = Method::from_bytes(method.as_bytes())
        .ok_or(Error::BadRequest("request method is not a token"))?;
    if head.method == Method::Connect {
        return Err(Error::UnsupportedMethod);
    }
    let rules = FieldRules::read(request.headers, version == 0).map_err(Error::BadRequest)?;
    target::parse(target, head)?;
    rules.host(head)?;
    head.body = rules.request_body()?;
    let kept = request
        .headers
        .iter()
        .filter(|field| rules.keeps(field) && !field.name.eq_ignore_ascii_case("host"));
    head.fields.read(bytes, kept.map(parts));
    Ok(HeadFacts { expects_continue: rules.expects_continue()?, ..rules.facts() })
}

/// Parses a response head: `bytes` ends with its empty line. `request_method` decides whether a
/// body follows (RFC 9112 section 6.3).
///
/// The head of an answer to HEAD, and of a 304, keeps the `BodyLength` that a body would have had;
/// whether there is a body at all is [`ResponseHead::has_body`]'s to say.
pub fn parse_response(bytes: &[u8], head: &mut ResponseHead) -> Result<HeadFacts, Error> {
    head.clear();
    let mut fields = [const { MaybeUninit::uninit() }; HEAD_FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        bytes,
        &mut fields,
    );
    match parsed {
        Ok(Status::Complete(length)) if length == bytes.len() => {}
        _ => {
            return Err(Error::BadResponse("upstream sent a malformed response head"));
        }
    }
    let (Some(status @ 100..=599), Some(version)) = (response.code, response.version) else {
        return Err(Error::BadResponse("upstream sent a status outside 100 to 599"));
    };
    head.status = status;
    let rules = FieldRules::read(response.headers, version == 0)
        .map_err(|_| Error::BadResponse("upstream sent an ambiguous response head"))?;
    head.body = rules.response_body(status)?;
    let kept = response.headers.iter().filter(|field| rules.keeps(field));
    head.fields.read(bytes, kept.map(parts));
    Ok(rules.facts())
}

fn parts<'h>(field: &httparse::Header<'h>) -> (&'h [u8], &'h [u8]) {
    (field.name.as_bytes(), field.value)
}

fn refusal(error: httparse::Error, bytes: &[u8]) -> Error {
    match error {
        httparse::Error::TooManyHeaders => Error::HeadTooLarge,
        httparse::Error::Version if names_version(bytes) => Error::UnsupportedVersion,
        httparse::Error::HeaderName => {
            Error::BadRequest("field name has a byte that is not allowed")
        }
        httparse::Error::HeaderValue => {
            Error::BadRequest("field value has a byte that is not allowed")
        }
        httparse::Error::NewLine => Error::BadRequest("line does not end in CR LF"),
        httparse::Error::Version | httparse::Error::Status | httparse::Error::Token => {
            Error::BadRequest("request line is malformed")
        }
    }
}

/// Whether the request line is well-formed and names an HTTP version, if not one of ours.
fn names_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ');
    let version = words.nth(2).unwrap_or_default();
    words.next().is_none()
        && matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit())
}
