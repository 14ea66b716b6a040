//! How far a request may go: circles (`CDN-Loop`, RFC 8586) and `Max-Forwards` (RFC 9110 section
//! 7.6.2).

use crate::error::Error;
use crate::http::cdn_loop;
use crate::http::message::{LocalResponse, Method, RequestHead};
use crate::http::respond::ALLOWED_METHODS;
use crate::limits::PASSES_MAX;
use crate::text::decimal;

/// Whom the request has passed; refuses what goes no further whatever any plugin says.
pub(super) fn check(request: &RequestHead) -> Result<Vec<u8>, Error> {
    if request.method == Method::Trace {
        return Err(Error::TraceRefused);
    }
    let passed = cdn_loop::passed(&request.fields);
    if !passed.is_empty() && cdn_loop::passes(&passed) > PASSES_MAX {
        return Err(Error::Loop);
    }
    Ok(passed)
}

/// Whether an OPTIONS request may be forwarded, which is then counted. If not, whoever has it
/// answers: [`options`].
pub(super) fn may_forward(request: &mut RequestHead) -> Result<bool, Error> {
    let Some(value) = request.fields.get("max-forwards") else {
        return Ok(true);
    };
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    if !is_number || request.fields.get_all("max-forwards").nth(1).is_some() {
        return Err(Error::BadRequest("Max-Forwards is not one whole number"));
    }
    // What is too large for us is cut to what is not, as the section allows.
    let left = value
        .iter()
        .fold(0u32, |left, digit| left.saturating_mul(10).saturating_add(u32::from(digit - b'0')));
    let Some(left) = left.checked_sub(1) else {
        return Ok(false);
    };
    let mut text = Vec::with_capacity(10);
    decimal(u64::from(left), &mut text);
    request.fields.set(b"Max-Forwards", &text);
    Ok(true)
}

/// What the gateway says of itself to OPTIONS.
pub(super) fn options() -> LocalResponse {
    let mut local = LocalResponse { status: 204, ..LocalResponse::default() };
    local.fields.push(b"Allow", ALLOWED_METHODS);
    local
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(values: &[&str]) -> Result<Option<String>, Error> {
        let mut request = RequestHead::default();
        for value in values {
            request.fields.push(b"Max-Forwards", value.as_bytes());
        }
        let may = may_forward(&mut request)?;
        let value = request.fields.get("max-forwards").unwrap_or_default();
        Ok(may.then(|| String::from_utf8_lossy(value).into_owned()))
    }

    #[test]
    fn each_forward_takes_one_and_none_is_left_at_zero() {
        for (value, left) in [
            ("1", Some("0")),
            ("10", Some("9")),
            ("007", Some("6")),
            ("0", None),
            ("000", None),
            ("99999999999999999999999", Some("4294967294")),
        ] {
            assert_eq!(forwarded(&[value]).unwrap().as_deref(), left, "{value}");
        }
        assert_eq!(forwarded(&[]).unwrap().as_deref(), Some(""));
        for bad in [&["-1"][..], &["1.5"], &[""], &["1, 2"], &["1", "2"], &["0x1"]] {
            assert!(forwarded(bad).is_err(), "{bad:?}");
        }
    }
}
