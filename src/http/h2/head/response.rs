//! Heads of responses, received (RFC 9113 section 8.3.2).

use super::{FIELD_BYTES, check_field, parse_length};
use crate::http::field_class::Special;
use crate::http::h2::hpack::TakeField;
use crate::http::message::{BodyLength, ResponseHead};

/// Takes the fields of a response.
#[derive(Debug)]
pub struct ResponseReader<'h> {
    head: &'h mut ResponseHead,
    bytes_left: usize,
    fields_left: usize,
    has_regular: bool,
    length: Option<u64>,
    malformed: Option<&'static str>,
}

impl<'h> ResponseReader<'h> {
    /// One that writes to `head` from its beginning.
    pub fn new(head: &'h mut ResponseHead, bytes_max: usize, fields_max: usize) -> Self {
        head.clear();
        Self {
            head,
            bytes_left: bytes_max,
            fields_left: fields_max,
            has_regular: false,
            length: None,
            malformed: None,
        }
    }

    /// The head is complete. `ends`: nothing follows it on its stream. Why it is malformed, if it
    /// is.
    pub fn finish(self, ends: bool) -> Result<(), &'static str> {
        if let Some(reason) = self.malformed {
            return Err(reason);
        }
        if self.head.status == 0 {
            return Err(":status is missing");
        }
        if self.head.status < 200 && ends {
            return Err("an interim response ends its stream");
        }
        self.head.body = match self.length {
            Some(length) => BodyLength::Known(length),
            None if ends => BodyLength::Empty,
            None => BodyLength::Unknown,
        };
        Ok(())
    }

    fn status(&mut self, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
        const MALFORMED: &str = ":status is not a status";
        if name != b":status" || self.has_regular || self.head.status != 0 {
            return Err("a pseudo-header is unknown, there twice, or behind other fields");
        }
        if value.len() != 3 || !value.iter().all(u8::is_ascii_digit) {
            return Err(MALFORMED);
        }
        let status = value.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        // Section 8.6: there is no 101.
        if status < 100 || status == 101 {
            return Err(MALFORMED);
        }
        self.head.status = status;
        Ok(())
    }

    fn regular(&mut self, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
        self.has_regular = true;
        check_field(name, value)?;
        match Special::of(name) {
            None | Some(Special::Host) => self.head.fields.push_received(name, value),
            Some(Special::ContentLength) => {
                if self.length.replace(parse_length(value)?).is_some() {
                    return Err("content-length is there twice");
                }
            }
            Some(Special::Expect) => {}
            Some(Special::Trailer) => {}
            Some(_) => return Err("a field belongs to connections of HTTP/1"),
        }
        Ok(())
    }

    fn count(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        let bytes = name.len().checked_add(value.len())?.checked_add(FIELD_BYTES)?;
        self.bytes_left = self.bytes_left.checked_sub(bytes)?;
        self.fields_left = self.fields_left.checked_sub(1)?;
        Some(())
    }
}

impl TakeField for ResponseReader<'_> {
    fn take(&mut self, name: &[u8], value: &[u8]) {
        if self.malformed.is_some() {
            return;
        }
        let outcome = match (self.count(name, value), name.first()) {
            (None, _) => Err("a head is over server.limits.headBytesMax"),
            (_, Some(b':')) => self.status(name, value),
            _ => self.regular(name, value),
        };
        self.malformed = outcome.err();
    }
}
