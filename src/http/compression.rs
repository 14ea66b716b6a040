//! Which responses are compressed for which clients (RFC 9110 sections 8.4 and 12.5.3). Pure: heads
//! in, a decision out.

use crate::http::coding::{Coding, describe_plain};
use crate::http::message::{BodyLength, Fields, ResponseHead};
use crate::limits::ACCEPT_CODINGS_MAX;

/// `services[].compression`. Immutable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compression {
    /// What may be made, the best first; never empty.
    pub codings: Vec<Coding>,
    /// Of bodies of these types.
    pub types: Vec<MediaType>,
    /// Shorter bodies stay as they are, where their length is known.
    pub bytes_min: u64,
}

/// A type of `Content-Type`, or several: `*` stands for any subtype or the beginning of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType {
    /// In lower case.
    kind: String,
    /// In lower case: the whole subtype, or its end behind a `*`.
    subtype: String,
    is_end: bool,
}

impl MediaType {
    /// Reads `text/html`, `text/*` or `application/*+json`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let (kind, subtype) = lower.split_once('/')?;
        let is_token = |text: &str| crate::http::message::is_token(text.as_bytes());
        let (subtype, is_end) = match subtype.strip_prefix('*') {
            Some(end) => (end, true),
            None => (subtype, false),
        };
        let is_fine = is_token(kind)
            && !kind.contains('*')
            && (is_end && subtype.is_empty() || is_token(subtype) && !subtype.contains('*'));
        is_fine.then(|| Self { kind: kind.to_owned(), subtype: subtype.to_owned(), is_end })
    }

    /// As it is written in a configuration.
    pub fn show(&self) -> String {
        format!("{}/{}{}", self.kind, if self.is_end { "*" } else { "" }, self.subtype)
    }

    fn covers(&self, content_type: &[u8]) -> bool {
        let whole = content_type.split(|&byte| byte == b';').next().unwrap_or_default();
        let mut parts = whole.trim_ascii().splitn(2, |&byte| byte == b'/');
        let (Some(kind), Some(subtype)) = (parts.next(), parts.next()) else {
            return false;
        };
        let end = match self.is_end {
            true => subtype.len().checked_sub(self.subtype.len()).and_then(|at| subtype.get(at..)),
            false => Some(subtype),
        };
        kind.eq_ignore_ascii_case(self.kind.as_bytes())
            && end.is_some_and(|end| end.eq_ignore_ascii_case(self.subtype.as_bytes()))
    }
}

/// What a client takes of what a service makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accepted {
    /// What it likes best, if it is not the plain body.
    pub coding: Option<Coding>,
    /// It refuses the plain body: what is not worth it is compressed too.
    pub refuses_plain: bool,
}

impl Compression {
    /// What the client of a request with these fields takes.
    pub fn accepted(&self, request: &Fields) -> Accepted {
        if no_transform(request) {
            return Accepted::default();
        }
        let asked = Asked::of(request);
        let plain = asked.plain();
        let weighed = self.codings.iter().map(|coding| (asked.of_coding(*coding), *coding));
        // The first of the best.
        let best =
            weighed.fold(
                (0, None),
                |best, (quality, coding)| {
                    if quality > best.0 { (quality, Some(coding)) } else { best }
                },
            );
        // What is liked less than the plain body is not made for it.
        let coding = best.1.filter(|_| plain.is_none_or(|plain| best.0 >= plain));
        Accepted { coding, refuses_plain: plain == Some(0) }
    }

    /// Which coding the body of a response gets, if any. Where another client would get a coded
    /// one, the fields say so (`Vary`). `is_sent`: a body follows, not only its head (HEAD).
    pub fn coding_for(
        &self,
        accepted: Accepted,
        response: &mut ResponseHead,
        is_sent: bool,
    ) -> Option<Coding> {
        if !self.could_be_coded(response, accepted.refuses_plain) {
            return None;
        }
        vary(&mut response.fields, b"Accept-Encoding");
        accepted.coding.filter(|_| is_sent)
    }

    fn could_be_coded(&self, response: &ResponseHead, whatever_it_is: bool) -> bool {
        let fields = &response.fields;
        let is_plain = fields.get_all("content-encoding").all(|value| {
            value.trim_ascii().is_empty() || value.trim_ascii().eq_ignore_ascii_case(b"identity")
        });
        if !response.permits_body()
            || response.status == 206
            || response.body == BodyLength::Empty
            || !is_plain
            || fields.contains("content-range")
            || no_transform(fields)
        {
            return false;
        }
        let is_long = match response.body {
            BodyLength::Known(length) => length >= self.bytes_min && length > 0,
            BodyLength::Empty => false,
            BodyLength::Unknown => true,
        };
        let is_of_type = || {
            let content_type = fields.get("content-type");
            content_type.is_some_and(|value| self.types.iter().any(|one| one.covers(value)))
        };
        whatever_it_is && response.body != BodyLength::Known(0) || is_long && is_of_type()
    }
}

/// Makes a head that of the coded body.
pub fn describe_coded(response: &mut ResponseHead, coding: Coding) {
    describe_plain(&mut response.fields);
    response.fields.push(b"Content-Encoding", coding.as_str().as_bytes());
    response.body = BodyLength::Unknown;
}

/// Adds a name to `Vary`, unless it is there.
pub fn vary(fields: &mut Fields, name: &[u8]) {
    let is_there = |one: &[u8]| one == b"*" || one.eq_ignore_ascii_case(name);
    let has =
        |value: &[u8]| value.split(|&byte| byte == b',').any(|one| is_there(one.trim_ascii()));
    let is_said = fields.get_all("vary").any(has);
    if !is_said {
        fields.push(b"Vary", name);
    }
}

fn no_transform(fields: &Fields) -> bool {
    let directives = fields.get_all("cache-control").flat_map(|value| value.split(|&b| b == b','));
    directives.into_iter().any(|one| one.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

/// How much a client likes what it names, in thousandths.
#[derive(Debug, Default)]
struct Asked<'a> {
    named: Vec<(&'a [u8], u16)>,
}

impl<'a> Asked<'a> {
    fn of(request: &'a Fields) -> Self {
        let values = request.get_all("accept-encoding");
        let elements = values.flat_map(|value| value.split(|&byte| byte == b','));
        let named = elements.filter_map(element).take(ACCEPT_CODINGS_MAX).collect();
        Self { named }
    }

    fn quality(&self, name: &[u8]) -> Option<u16> {
        let named = |(one, _): &&(&[u8], u16)| one.eq_ignore_ascii_case(name);
        self.named.iter().find(named).map(|(_, quality)| *quality)
    }

    fn of_coding(&self, coding: Coding) -> u16 {
        let named = self.quality(coding.as_str().as_bytes());
        let other = || if coding == Coding::Gzip { self.quality(b"x-gzip") } else { None };
        named.or_else(other).or_else(|| self.quality(b"*")).unwrap_or(0)
    }

    /// `None`: nothing is said of it, and it is taken like anything.
    fn plain(&self) -> Option<u16> {
        let named = self.quality(b"identity");
        // `*` counts for it where it refuses: else a coding is as good.
        named.or_else(|| self.quality(b"*").filter(|quality| *quality == 0))
    }
}

/// `gzip;q=0.5`: a name and its quality. What is no quality counts as none: better a plain body
/// than one that is not wanted.
fn element(text: &[u8]) -> Option<(&[u8], u16)> {
    let mut parts = text.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let mut quality = 1000;
    for parameter in parts {
        if let Some((b'q' | b'Q', value)) = parameter.split_first()
            && let Some(value) = value.trim_ascii_start().strip_prefix(b"=")
        {
            quality = thousandths(value.trim_ascii()).unwrap_or(0);
        }
    }
    Some((name, quality))
}

/// RFC 9110 section 12.4.2: `0` to `1` with at most three digits behind the point.
fn thousandths(text: &[u8]) -> Option<u16> {
    let (whole, part) = match text.split_first()? {
        (b'0', part) => (0, part),
        (b'1', part) => (1000, part),
        _ => return None,
    };
    let digits = match part.split_first() {
        None => return Some(whole),
        Some((b'.', digits)) if digits.len() <= 3 => digits,
        Some(_) => return None,
    };
    let mut value = 0;
    for place in 0..3 {
        let digit = digits.get(place).copied().unwrap_or(b'0');
        value = value * 10 + u16::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    (whole + value <= 1000).then_some(whole + value)
}

#[cfg(test)]
mod tests;
