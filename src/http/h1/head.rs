//! Parses one whole head into [`RequestHead`] or [`ResponseHead`], and what it says of framing and
//! of the connection into [`HeadFacts`].
//!
//! Framing and hop-by-hop fields do not leave this module as fields (RFC 9110 section 7.6.1): they
//! become `BodyLength` and `HeadFacts`. `http/field_class.rs` knows them by name.

mod fields;
mod target;

use self::fields::{FieldRules, Refused, Whose};
use crate::error::Error;
use crate::http::h1::lines::{self, Malformed};
use crate::http::message::{Method, RequestHead, ResponseHead};
use crate::limits::HEAD_FIELDS_CEILING;
use crate::text;

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
    head.clear();
    let line = lines::request_line(bytes).map_err(refusal)?;
    if line.target.len() > uri_bytes_max {
        return Err(Error::UriTooLong);
    }
    head.method = Method::from_bytes(line.method)
        .ok_or(Error::BadRequest("request method is not a token"))?;
    if head.method == Method::Connect {
        return Err(Error::UnsupportedMethod);
    }
    let (rules, length) = FieldRules::read(
        bytes,
        line.end,
        line.is_http10,
        Whose::Client,
        fields_max,
        &mut head.fields,
    )
    .map_err(|refused| match refused {
        Refused::Malformed(error) => refusal(error),
        Refused::Ambiguous(reason) => Error::BadRequest(reason),
        Refused::TooMany => Error::HeadTooLarge,
    })?;
    let target = text::from_bytes(line.target).ok_or(refusal(Malformed::StartLine))?;
    target::parse(target, head)?;
    rules.host(head)?;
    head.body = rules.request_body()?;
    head.upgrade = rules.upgrade();
    Ok(HeadFacts { length, expects_continue: rules.expects_continue()?, ..rules.facts() })
}

/// Parses the response head that `bytes` begin with; more may follow it. `request_method` decides
/// whether a body follows (RFC 9112 section 6.3).
///
/// The head of an answer to HEAD, and of a 304, keeps the `BodyLength` that a body would have had;
/// whether there is a body at all is [`ResponseHead::has_body`]'s to say.
pub fn parse_response(bytes: &[u8], head: &mut ResponseHead) -> Result<HeadFacts, Error> {
    let malformed = |error| {
        Error::BadResponse(match error {
            Malformed::BareLineFeed => BARE_LINE_FEED_UPSTREAM,
            _ => "upstream sent a malformed response head",
        })
    };
    head.clear();
    let line = lines::status_line(bytes).map_err(malformed)?;
    let most = HEAD_FIELDS_CEILING;
    let (rules, length) =
        FieldRules::read(bytes, line.end, line.is_http10, Whose::Origin, most, &mut head.fields)
            .map_err(|refused| match refused {
                Refused::Malformed(error) => malformed(error),
                Refused::Ambiguous(_) => {
                    Error::BadResponse("upstream sent an ambiguous response head")
                }
                Refused::TooMany => {
                    Error::BadResponse("upstream sent a response head with over 1000 fields")
                }
            })?;
    // Those over 599 are in no class, and RFC 9110 section 15 tells clients what to make of them.
    if line.status < 100 {
        return Err(Error::BadResponse("upstream sent a status below 100"));
    }
    head.status = line.status;
    head.body = rules.response_body(line.status)?;
    if line.status == 101 {
        head.upgrade = rules.upgrade();
    }
    Ok(HeadFacts { length, ..rules.facts() })
}

fn refusal(error: Malformed) -> Error {
    match error {
        // Whoever calls has seen the empty line.
        Malformed::End => Error::BadRequest("request head is malformed"),
        Malformed::Version => Error::UnsupportedVersion,
        Malformed::StartLine => Error::BadRequest("request line is malformed"),
        Malformed::Name => Error::BadRequest("field name has a byte that is not allowed"),
        Malformed::Value => Error::BadRequest("field value has a byte that is not allowed"),
        Malformed::BareLineFeed => Error::BadRequest(BARE_LINE_FEED),
    }
}
