//! The fields of a head that speak of the message's framing or of the connection, read once.

use super::HeadFacts;
use crate::error::Error;
use crate::http::field_class::{Special, is};
use crate::http::h1::lines::{Line, Malformed, TakeField, take_fields};
use crate::http::message::{BodyLength, Fields, Places, RequestHead, is_authority};
use crate::http::upgrade::Upgrade;
use crate::limits::NOMINATIONS_MAX;
use crate::text;

/// Most digits of a Content-Length: 18 of them stay far below `u64::MAX`.
const LENGTH_DIGITS_MAX: usize = 18;

/// How the `Transfer-Encoding` fields of a head read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    /// There is none.
    None,
    /// Exactly `chunked`.
    Chunked,
    /// A coding that we don't know, well-formed.
    Unknown,
}

/// Who has sent a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// A client: its `Host` becomes the authority.
    Client,
    /// An origin.
    Origin,
}

/// What the framing and connection fields of one head say.
pub(super) struct FieldRules<'a> {
    is_http10: bool,
    whose: Whose,
    length: Option<u64>,
    coding: Coding,
    host: Option<&'a [u8]>,
    hosts: usize,
    has_close: bool,
    has_keep_alive: bool,
    expect: Option<&'a [u8]>,
    upgrade: Option<&'a [u8]>,
    upgrades: usize,
    /// Values of `Connection` that name fields beside `close` and `keep-alive`.
    nominations: Vec<&'a [u8]>,
    /// How many fields they name.
    nominated: usize,
}

/// Why the fields of a head are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// A line is no field.
    Malformed(Malformed),
    /// The framing can be read in two ways; in words for the client.
    Ambiguous(&'static str),
    /// There are more than allowed.
    TooMany,
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// Fields on their way from a head: through the rules, and to the places if they are kept.
struct Sorting<'s, 'a> {
    rules: &'s mut FieldRules<'a>,
    places: &'s mut Places,
    /// How many more there may be.
    left: usize,
}

impl<'a> TakeField<'a> for Sorting<'_, 'a> {
    type Error = Refused;

    #[inline(always)]
    fn take(&mut self, line: Line<'a>) -> Result<(), Refused> {
        self.left = self.left.checked_sub(1).ok_or(Refused::TooMany)?;
        if self.rules.note(&line).map_err(Refused::Ambiguous)? {
            line.add_to(self.places);
        }
        Ok(())
    }

    fn take_underscored(&mut self, line: Line<'a>) -> Result<(), Refused> {
        self.places.note_underscore();
        self.take(line)
    }
}

impl<'a> FieldRules<'a> {
    /// Reads them all, at most `most` from `start` on, and copies those that are end-to-end from
    /// `head` into `kept`. Where the head ends comes with the rules.
    pub(super) fn read(
        head: &'a [u8],
        start: usize,
        is_http10: bool,
        whose: Whose,
        most: usize,
        kept: &mut Fields,
    ) -> Result<(Self, usize), Refused> {
        let mut rules = Self {
            is_http10,
            whose,
            length: None,
            coding: Coding::None,
            host: None,
            hosts: 0,
            has_close: false,
            has_keep_alive: false,
            expect: None,
            upgrade: None,
            upgrades: 0,
            nominations: Vec::new(),
            nominated: 0,
        };
        let end = kept.copy(head, |places| {
            take_fields(head, start, Sorting { rules: &mut rules, places, left: most })
        })?;
        if !rules.nominations.is_empty() {
            kept.retain(|name, _| !rules.is_nominated(name));
        }
        if rules.coding != Coding::None {
            // RFC 9112 section 6.1: either combination is how requests are smuggled.
            if rules.length.is_some() {
                return Err(Refused::Ambiguous(
                    "both Content-Length and Transfer-Encoding are present",
                ));
            }
            if is_http10 {
                return Err(Refused::Ambiguous("Transfer-Encoding is not allowed in HTTP/1.0"));
            }
        }
        Ok((rules, end))
    }

    /// Notes what the field says; whether it is end-to-end, as far as its name tells.
    #[inline(always)]
    fn note(&mut self, line: &Line<'a>) -> Result<bool, &'static str> {
        let Some(special) = Special::of(line.name) else {
            return Ok(true);
        };
        match special {
            Special::Host => {
                self.hosts += 1;
                self.host = Some(line.value);
                return Ok(self.whose == Whose::Origin);
            }
            Special::Expect => self.expect = Some(line.value),
            Special::Connection => self.note_connection(line.value)?,
            Special::ContentLength => {
                if self.length.is_some() {
                    return Err("Content-Length is present more than once");
                }
                self.length = Some(parse_length(line.value)?);
            }
            Special::TransferEncoding => {
                if self.coding != Coding::None {
                    return Err("Transfer-Encoding is present more than once");
                }
                self.coding = parse_coding(line.value)?;
            }
            Special::Upgrade => {
                self.upgrades += 1;
                self.upgrade = Some(line.value);
            }
            Special::Te | Special::Trailer | Special::OtherHop => {}
        }
        Ok(false)
    }

    fn note_connection(&mut self, value: &'a [u8]) -> Result<(), &'static str> {
        // What nearly all clients and origins say.
        if is(value, b"keep-alive") {
            self.has_keep_alive = true;
            return Ok(());
        }
        let before = self.nominated;
        for option in options(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.has_close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.has_keep_alive = true;
            } else {
                self.nominated += 1;
            }
        }
        if self.nominated > NOMINATIONS_MAX {
            return Err("Connection names too many fields");
        }
        if self.nominated > before {
            self.nominations.push(value);
        }
        Ok(())
    }

    /// Whether one of the `Connection` fields names this one.
    fn is_nominated(&self, name: &[u8]) -> bool {
        let mut named = self.nominations.iter().flat_map(|value| options(value));
        named.any(|option| option.eq_ignore_ascii_case(name))
    }

    /// The facts but for `length` and `expects_continue`.
    pub(super) fn facts(&self) -> HeadFacts {
        HeadFacts {
            is_http10: self.is_http10,
            is_keep_alive: !self.has_close && (!self.is_http10 || self.has_keep_alive),
            is_chunked: self.coding == Coding::Chunked,
            ..HeadFacts::default()
        }
    }

    /// Checks `Host` (RFC 9112 section 3.2) and makes it the authority, unless the target named
    /// one: then that wins and `Host` is ignored (section 3.2.2).
    pub(super) fn host(&self, head: &mut RequestHead) -> Result<(), Error> {
        if self.hosts > 1 {
            return Err(Error::BadRequest("Host is present more than once"));
        }
        let Some(host) = self.host else {
            let is_required = !self.is_http10;
            return if is_required { Err(Error::BadRequest("Host is missing")) } else { Ok(()) };
        };
        if !is_authority(host) {
            return Err(Error::BadRequest("Host is not a host name with an optional port"));
        }
        if head.authority.is_empty() {
            // The bytes of an authority are ASCII.
            head.authority.push_str(text::from_bytes(host).unwrap_or_default());
        }
        Ok(())
    }

    /// RFC 9112 section 6.3: a request without either field has no body.
    pub(super) fn request_body(&self) -> Result<BodyLength, Error> {
        match (self.coding, self.length) {
            (Coding::Unknown, _) => Err(Error::UnsupportedCoding),
            (Coding::Chunked, _) => Ok(BodyLength::Unknown),
            (Coding::None, Some(length)) => Ok(BodyLength::Known(length)),
            (Coding::None, None) => Ok(BodyLength::Empty),
        }
    }

    /// RFC 9112 section 6.3: a response without either field lasts until the connection closes.
    pub(super) fn response_body(&self, status: u16) -> Result<BodyLength, Error> {
        match (self.coding, self.length) {
            (Coding::Unknown, _) => {
                Err(Error::BadResponse("upstream sent a transfer coding that is not chunked"))
            }
            (Coding::Chunked, _) => Ok(BodyLength::Unknown),
            (Coding::None, Some(length)) => Ok(BodyLength::Known(length)),
            (Coding::None, None) if status < 200 || status == 204 || status == 304 => {
                Ok(BodyLength::Empty)
            }
            (Coding::None, None) => Ok(BodyLength::Unknown),
        }
    }

    /// What the sender wants to go on with, or does (RFC 9110 section 7.8). Whatever is odd about
    /// it makes the message an ordinary one: that is always allowed, and nothing is smuggled by it.
    #[inline]
    pub(super) fn upgrade(&self) -> Option<Box<Upgrade>> {
        if self.upgrades == 0 { None } else { self.asked_upgrade() }
    }

    #[cold]
    fn asked_upgrade(&self) -> Option<Box<Upgrade>> {
        let has_body = self.coding != Coding::None || self.length.is_some_and(|length| length > 0);
        let is_asked = self.upgrades == 1 && !self.is_http10 && !has_body;
        let value = self.upgrade.filter(|_| is_asked && self.is_nominated(b"upgrade"))?;
        Upgrade::of_field(value)
    }

    /// RFC 9110 section 10.1.1; an HTTP/1.0 client's expectation is ignored.
    pub(super) fn expects_continue(&self) -> Result<bool, Error> {
        match self.expect {
            None => Ok(false),
            Some(_) if self.is_http10 => Ok(false),
            Some(value) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
            Some(_) => Err(Error::UnsupportedExpectation),
        }
    }
}

fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|option| !option.is_empty())
}

#[inline]
fn parse_length(value: &[u8]) -> Result<u64, &'static str> {
    const MALFORMED: &str = "Content-Length is not a decimal number";
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(MALFORMED);
    }
    if value.len() > LENGTH_DIGITS_MAX {
        return Err("Content-Length is too large");
    }
    Ok(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

fn parse_coding(value: &[u8]) -> Result<Coding, &'static str> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(Coding::Chunked);
    }
    let mut codings = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let all_tokens = codings.clone().all(crate::http::message::is_token);
    let last_is_chunked = codings.clone().next_back().is_some_and(is_chunked);
    let chunked = codings.by_ref().filter(|coding| is_chunked(coding)).count();
    match (all_tokens, chunked, last_is_chunked) {
        (true, 0, _) | (true, 1, true) => Ok(Coding::Unknown),
        // RFC 9112 section 6.1: chunked once, and as the last one.
        _ => Err("Transfer-Encoding is malformed"),
    }
}
