//! Heads of requests, received (RFC 9113 section 8.3.1).

use super::{FIELD_BYTES, Unfit, check_field, parse_length};
use crate::error::Error;
use crate::http::field_class::Special;
use crate::http::h2::hpack::TakeField;
use crate::http::message::{BodyLength, Method, RequestHead, is_authority};
use crate::http::upgrade::Upgrade;
use crate::text;

/// Bounds of a request's head.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// Its bytes, as section 10.5.1 counts them.
    pub bytes_max: usize,
    /// Its fields.
    pub fields_max: usize,
    /// The bytes of its path and query.
    pub uri_bytes_max: usize,
}

/// What a head says beside the message itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

/// Which pseudo-headers have come.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    method: bool,
    scheme: bool,
    authority: bool,
    path: bool,
    /// A field that is none.
    regular: bool,
    host: bool,
    protocol: bool,
}

/// Takes the fields of a request.
#[derive(Debug)]
pub struct RequestReader<'h> {
    head: &'h mut RequestHead,
    /// All of `cookie` so far (section 8.2.3).
    cookies: &'h mut Vec<u8>,
    limits: RequestLimits,
    bytes: usize,
    fields: usize,
    seen: Seen,
    is_http: bool,
    length: Option<u64>,
    expects_continue: bool,
    malformed: Option<&'static str>,
    refused: Option<Error>,
}

impl<'h> RequestReader<'h> {
    /// One that writes to `head` from its beginning; `cookies` is room.
    pub fn new(head: &'h mut RequestHead, cookies: &'h mut Vec<u8>, limits: RequestLimits) -> Self {
        head.clear();
        cookies.clear();
        Self {
            head,
            cookies,
            limits,
            bytes: 0,
            fields: 0,
            seen: Seen::default(),
            is_http: false,
            length: None,
            expects_continue: false,
            malformed: None,
            refused: None,
        }
    }

    /// The head is complete. `ends`: no body follows it.
    pub fn finish(self, ends: bool) -> Result<Facts, Unfit> {
        let Self { head, cookies, seen, .. } = self;
        let malformed = |reason| Err(Unfit::Malformed(reason));
        if let Some(reason) = self.malformed {
            return malformed(reason);
        }
        if self.refused == Some(Error::HeadTooLarge) {
            // What is missing may be what was too much.
            return Err(Unfit::Refused(Error::HeadTooLarge));
        }
        if !seen.method {
            return malformed(":method is missing");
        }
        if seen.protocol {
            // RFC 8441 section 4: it says where to, as any request does.
            if head.method != Method::Connect || !seen.authority {
                return malformed(":protocol without CONNECT or :authority");
            }
            if self.length.is_some() {
                return malformed("content-length of a CONNECT, which has no content");
            }
            // As HTTP/1 would ask for it.
            head.method = Method::Get;
        }
        if head.method == Method::Connect {
            let is_whole = seen.authority && !seen.scheme && !seen.path;
            return match is_whole {
                true => Err(Unfit::Refused(Error::UnsupportedMethod)),
                false => malformed("CONNECT has :authority, and neither :scheme nor :path"),
            };
        }
        if !seen.scheme || !seen.path {
            return malformed(":scheme or :path is missing");
        }
        if head.path == "*" && head.method != Method::Options {
            return malformed(":path * is for OPTIONS only");
        }
        if ends && self.length.is_some_and(|length| length > 0) {
            return malformed("content-length speaks of a body that does not come");
        }
        if let Some(error) = self.refused {
            return Err(Unfit::Refused(error));
        }
        if !self.is_http {
            return Err(Unfit::Refused(Error::BadRequest(":scheme is neither http nor https")));
        }
        if head.authority.is_empty() {
            return Err(Unfit::Refused(Error::BadRequest("both :authority and host are missing")));
        }
        if !cookies.is_empty() {
            head.fields.push(b"cookie", cookies);
        }
        head.body = match self.length {
            Some(length) => BodyLength::Known(length),
            // RFC 9110 section 8.6: with these methods origins of HTTP/1 ask for it.
            None if ends
                && matches!(head.method, Method::Post | Method::Put | Method::Patch)
                && !super::is_grpc(&head.fields) =>
            {
                BodyLength::Known(0)
            }
            None if ends || seen.protocol => BodyLength::Empty,
            None => BodyLength::Unknown,
        };
        Ok(Facts { expects_continue: self.expects_continue && !ends })
    }

    fn pseudo(&mut self, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
        const TWICE: &str = "a pseudo-header is there twice";
        let once =
            |seen: &mut bool| if std::mem::replace(seen, true) { Err(TWICE) } else { Ok(()) };
        if self.seen.regular {
            return Err("a pseudo-header stands behind other fields");
        }
        match name {
            b":method" => {
                once(&mut self.seen.method)?;
                self.head.method = Method::from_bytes(value).ok_or(":method is not a token")?;
            }
            b":scheme" => {
                once(&mut self.seen.scheme)?;
                if !is_scheme(value) {
                    return Err(":scheme is not a scheme");
                }
                let is = |scheme: &[u8]| value.eq_ignore_ascii_case(scheme);
                self.is_http = is(b"http") || is(b"https");
            }
            b":authority" => {
                once(&mut self.seen.authority)?;
                self.authority(value, ":authority is not a host name with an optional port")?;
            }
            b":path" => {
                once(&mut self.seen.path)?;
                self.path(value)?;
            }
            b":protocol" => {
                once(&mut self.seen.protocol)?;
                self.head.upgrade = Upgrade::of_connect(value);
                if self.head.upgrade.is_none() {
                    return Err(":protocol is not the name of a protocol");
                }
            }
            _ => return Err("a pseudo-header is unknown"),
        }
        Ok(())
    }

    fn authority(&mut self, value: &[u8], reason: &'static str) -> Result<(), &'static str> {
        if !is_authority(value) {
            return Err(reason);
        }
        // The bytes of an authority are ASCII.
        self.head.authority.push_str(text::from_bytes(value).unwrap_or_default());
        Ok(())
    }

    fn path(&mut self, value: &[u8]) -> Result<(), &'static str> {
        const MALFORMED: &str = ":path is neither a path nor *";
        let is_plain = |byte: &u8| *byte > b' ' && *byte != 0x7f;
        let target = text::from_bytes(value).ok_or(MALFORMED)?;
        if !value.iter().all(is_plain) || !(target.starts_with('/') || target == "*") {
            return Err(MALFORMED);
        }
        if value.len() > self.limits.uri_bytes_max {
            self.refused = Some(Error::UriTooLong);
            return Ok(());
        }
        if memchr::memchr(b'#', value).is_some() {
            self.refused = Some(Error::BadRequest("request target has a fragment"));
        }
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        self.head.path.push_str(path);
        self.head.query.push_str(query);
        Ok(())
    }

    fn regular(&mut self, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
        self.seen.regular = true;
        check_field(name, value)?;
        match Special::of(name) {
            None if name == b"cookie" => {
                if !self.cookies.is_empty() && !value.is_empty() {
                    self.cookies.extend_from_slice(b"; ");
                }
                self.cookies.extend_from_slice(value);
            }
            None => self.head.fields.push_received(name, value),
            Some(Special::Host) => self.host(value)?,
            Some(Special::Expect) => match value.eq_ignore_ascii_case(b"100-continue") {
                true => self.expects_continue = true,
                false => self.refused = Some(Error::UnsupportedExpectation),
            },
            Some(Special::ContentLength) => {
                if self.length.replace(parse_length(value)?).is_some() {
                    return Err("content-length is there twice");
                }
            }
            // It says what fields a trailer section has, which may lose some here.
            Some(Special::Trailer) => {}
            Some(Special::Te) => {
                if !value.eq_ignore_ascii_case(b"trailers") {
                    return Err("te is not trailers");
                }
            }
            Some(
                Special::Connection
                | Special::TransferEncoding
                | Special::Upgrade
                | Special::OtherHop,
            ) => {
                return Err("a field belongs to connections of HTTP/1");
            }
        }
        Ok(())
    }

    /// Pseudo-headers come on top of the fields that there may be.
    fn fields_max(&self) -> usize {
        self.limits.fields_max + 4 + usize::from(self.seen.protocol)
    }

    /// Section 8.3.1: it names what `:authority` names, or stands in for it.
    fn host(&mut self, value: &[u8]) -> Result<(), &'static str> {
        if std::mem::replace(&mut self.seen.host, true) {
            return Err("host is there twice");
        }
        if !self.seen.authority {
            return self.authority(value, "host is not a host name with an optional port");
        }
        match self.head.authority.as_bytes().eq_ignore_ascii_case(value) {
            true => Ok(()),
            false => Err("host is not what :authority is"),
        }
    }
}

impl TakeField for RequestReader<'_> {
    fn take(&mut self, name: &[u8], value: &[u8]) {
        self.bytes = self.bytes.saturating_add(name.len() + value.len() + FIELD_BYTES);
        self.fields += 1;
        if self.bytes > self.limits.bytes_max || self.fields > self.fields_max() {
            self.refused = Some(Error::HeadTooLarge);
            return;
        }
        if self.malformed.is_some() {
            return;
        }
        let outcome = match name.first() {
            Some(b':') => self.pseudo(name, value),
            _ => self.regular(name, value),
        };
        self.malformed = outcome.err();
    }
}

/// RFC 3986 section 3.1.
fn is_scheme(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
}
