//! Heads of HTTP/2 (RFC 9113 section 8): fields as they come from a field block, to a
//! [`RequestHead`], [`ResponseHead`] or trailers, and back.
//!
//! Whatever HTTP/1 cannot carry, or would carry as something else, does not get past here: that is
//! how requests are smuggled through gateways that speak both.

mod request;
mod response;
mod trailers;
mod write;

pub use self::request::{Facts, RequestLimits, RequestReader};
pub use self::response::ResponseReader;
pub use self::trailers::TrailersReader;
pub use self::write::{connect_head, interim_head, is_grpc, request_head, response_head, trailers};

use crate::error::Error;
use crate::http::message::is_field_value;

/// What a field counts towards the size of its head beside its bytes (section 10.5.1).
const FIELD_BYTES: usize = 32;
/// Most digits of a Content-Length: 18 of them stay far below `u64::MAX`.
const LENGTH_DIGITS_MAX: usize = 18;

/// Why a head is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It is malformed (section 8.1.1): its stream is reset. In words for logs.
    Malformed(&'static str),
    /// It is answered with this.
    Refused(Error),
}

/// Whether `name` can be the name of a field: a token without capitals (section 8.2.1).
fn is_field_name(name: &[u8]) -> bool {
    static NAME_BYTES: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            table[byte] = crate::http::message::is_token_byte(byte as u8)
                && !(byte as u8).is_ascii_uppercase();
            byte += 1;
        }
        table
    };
    !name.is_empty() && name.iter().all(|&byte| NAME_BYTES[usize::from(byte)])
}

/// Checks the name and the value of a field that is no pseudo-header.
fn check_field(name: &[u8], value: &[u8]) -> Result<(), &'static str> {
    if !is_field_name(name) {
        return Err("a field name has a byte that is not allowed");
    }
    if !is_field_value(value) {
        return Err("a field value has a byte that is not allowed");
    }
    Ok(())
}

fn parse_length(value: &[u8]) -> Result<u64, &'static str> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err("content-length is not a decimal number");
    }
    if value.len() > LENGTH_DIGITS_MAX {
        return Err("content-length is too large");
    }
    Ok(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests;
