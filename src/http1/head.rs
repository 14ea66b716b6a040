//! Parses one whole head into [`RequestHead`] or [`ResponseHead`], and what it says of framing and
//! of the connection into [`HeadFacts`].
//!
//! Framing and hop-by-hop fields do not leave this module as fields (RFC 9110 section 7.6.1): they
//! become `BodyLength` and `HeadFacts`. `head/fields.rs` knows them by name.

mod fields;
mod target;

use std::mem::MaybeUninit;

use httparse::{ParserConfig, Status};

pub use self::fields::is_hop_by_hop;
use self::fields::{FieldRules, Whose};
use crate::error::Error;
use crate::limits::{HEAD_FIELDS_CEILING, HEAD_FIELDS_MAX};
use crate::message::{Method, RequestHead, ResponseHead};

/// What a client is told whose lines end in a bare LF.
pub const BARE_LINE_FEED: &str = "line does not end in CR LF";
/// What is said of an origin whose lines do.
pub const BARE_LINE_FEED_UPSTREAM: &str = "upstream sent a response head with a bare line feed";

/// What a head says beside the message itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeadFacts {
    /// Bytes of the head, its empty line included.
    pub length: usize,
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

/// Parses the request head that `bytes` begin with; more may follow it.
///
/// The path is left as received; normalising it is the exchange's first step.
pub fn parse_request(
    bytes: &[u8],
    uri_bytes_max: usize,
    fields_max: usize,
    head: &mut RequestHead,
) -> Result<HeadFacts, Error> {
    if fields_max <= HEAD_FIELDS_MAX {
        return parse_request_of::<HEAD_FIELDS_MAX>(bytes, uri_bytes_max, fields_max, head);
    }
    parse_request_of::<HEAD_FIELDS_CEILING>(bytes, uri_bytes_max, fields_max, head)
}

/// The same with room for `MOST` fields. (32 KiB of stack are more than every request should
/// touch.)
fn parse_request_of<const MOST: usize>(
    bytes: &[u8],
    uri_bytes_max: usize,
    fields_max: usize,
    head: &mut RequestHead,
) -> Result<HeadFacts, Error> {
    head.clear();
    let mut fields = [const { MaybeUninit::uninit() }; MOST];
    let mut request = httparse::Request::new(&mut []);
    let parsed =
        ParserConfig::default().parse_request_with_uninit_headers(&mut request, bytes, &mut fields);
    let length = match parsed {
        Ok(Status::Complete(length)) => length,
        // There is an empty line, so this is a head that ends elsewhere.
        Ok(Status::Partial) => return Err(Error::BadRequest("request head is malformed")),
        Err(error) => return Err(refusal(error, bytes)),
    };
    let bytes = &bytes[..length];
    if !has_whole_line_ends(bytes, request.headers) {
        return Err(Error::BadRequest(BARE_LINE_FEED));
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
    let rules =
        FieldRules::read(bytes, request.headers, version == 0, Whose::Client, &mut head.fields)
            .map_err(Error::BadRequest)?;
    target::parse(target, head)?;
    rules.host(head)?;
    head.body = rules.request_body()?;
    Ok(HeadFacts { length, expects_continue: rules.expects_continue()?, ..rules.facts() })
}

/// Parses the response head that `bytes` begin with; more may follow it. `request_method` decides
/// whether a body follows (RFC 9112 section 6.3).
///
/// The head of an answer to HEAD, and of a 304, keeps the `BodyLength` that a body would have had;
/// whether there is a body at all is [`ResponseHead::has_body`]'s to say.
pub fn parse_response(bytes: &[u8], head: &mut ResponseHead) -> Result<HeadFacts, Error> {
    let outcome = match parse_response_of::<HEAD_FIELDS_MAX>(bytes, head) {
        // Rare: see `parse_request_of`.
        Err(None) => parse_response_of::<HEAD_FIELDS_CEILING>(bytes, head),
        outcome => outcome,
    };
    let too_many = Error::BadResponse("upstream sent a response head with over 1000 fields");
    outcome.map_err(|error| error.unwrap_or(too_many))
}

/// The same with room for `MOST` fields. `Err(None)`: there are more.
fn parse_response_of<const MOST: usize>(
    bytes: &[u8],
    head: &mut ResponseHead,
) -> Result<HeadFacts, Option<Error>> {
    let refuse = |reason| Err(Some(Error::BadResponse(reason)));
    head.clear();
    let mut fields = [const { MaybeUninit::uninit() }; MOST];
    let mut response = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        bytes,
        &mut fields,
    );
    let length = match parsed {
        Ok(Status::Complete(length)) => length,
        Err(httparse::Error::TooManyHeaders) => return Err(None),
        _ => return refuse("upstream sent a malformed response head"),
    };
    let bytes = &bytes[..length];
    if !has_whole_line_ends(bytes, response.headers) {
        return refuse(BARE_LINE_FEED_UPSTREAM);
    }
    let (Some(status @ 100..=599), Some(version)) = (response.code, response.version) else {
        return refuse("upstream sent a status outside 100 to 599");
    };
    head.status = status;
    let is_http10 = version == 0;
    let rules =
        FieldRules::read(bytes, response.headers, is_http10, Whose::Origin, &mut head.fields)
            .map_err(|_| Some(Error::BadResponse("upstream sent an ambiguous response head")))?;
    head.body = rules.response_body(status)?;
    Ok(HeadFacts { length, ..rules.facts() })
}

/// Whether each line of a parsed head ends in CR LF. The parser takes a bare LF as well (RFC 9112
/// section 2.2 lets a recipient do so); two readers that disagree on it are how requests are
/// smuggled.
fn has_whole_line_ends(head: &[u8], fields: &[httparse::Header<'_>]) -> bool {
    let is_behind_line_end = |field: &httparse::Header<'_>| {
        let start = field.name.as_ptr().addr().wrapping_sub(head.as_ptr().addr());
        start >= 2 && head.get(start - 2..start) == Some(b"\r\n")
    };
    head.ends_with(b"\r\n\r\n") && fields.iter().all(is_behind_line_end)
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
        httparse::Error::NewLine => Error::BadRequest(BARE_LINE_FEED),
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
