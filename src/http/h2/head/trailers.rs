//! Trailers, received (RFC 9113 section 8.1).

use super::check_field;
use crate::http::field_class::{Special, may_be_trailer};
use crate::http::h2::hpack::TakeField;
use crate::http::message::Fields;
use crate::limits::TRAILER_BYTES_MAX;

/// Takes the fields of a trailer section; what may not stand in one is dropped.
#[derive(Debug)]
pub struct TrailersReader<'h> {
    fields: &'h mut Fields,
    bytes: usize,
    malformed: Option<&'static str>,
}

impl<'h> TrailersReader<'h> {
    /// One that writes to `fields` from their beginning.
    pub fn new(fields: &'h mut Fields) -> Self {
        fields.clear();
        Self { fields, bytes: 0, malformed: None }
    }

    /// They are complete. Why they are malformed, if they are.
    pub fn finish(self) -> Result<(), &'static str> {
        self.malformed.map_or(Ok(()), Err)
    }

    fn check(&mut self, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
        self.bytes = self.bytes.saturating_add(name.len() + value.len());
        if self.bytes > TRAILER_BYTES_MAX {
            return Err("trailers are too large");
        }
        if name.first() == Some(&b':') {
            return Err("a pseudo-header stands in trailers");
        }
        check_field(name, value)?;
        match Special::of(name) {
            Some(Special::Trailer | Special::Te) => {}
            Some(Special::Connection | Special::TransferEncoding | Special::OtherHop) => {
                return Err("a field belongs to connections of HTTP/1");
            }
            _ if may_be_trailer(name) => self.fields.push_received(name, value),
            _ => {}
        }
        Ok(())
    }
}

impl TakeField for TrailersReader<'_> {
    fn take(&mut self, name: &[u8], value: &[u8]) {
        if self.malformed.is_none() {
            self.malformed = self.check(name, value).err();
        }
    }
}
