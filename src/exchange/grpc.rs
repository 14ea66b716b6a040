//! What a client of gRPC says of its call.

use super::Reply;
use crate::http::message::RequestHead;
use crate::snapshot::Service;

/// How long the exchange may take, in milliseconds: as its service says, and no longer than a
/// client of gRPC waits.
pub(super) fn patience(service: &Service, request: &RequestHead, reply: &impl Reply) -> u64 {
    let most = service.timeout.as_millis() as u64;
    if !reply.is_grpc() {
        return most;
    }
    let told = request.fields.get("grpc-timeout").and_then(timeout_ms);
    told.map_or(most, |told| told.min(most))
}

/// How many milliseconds a `grpc-timeout` says: at most eight digits and a unit; `None` if it is
/// none. Less than one counts as one.
fn timeout_ms(value: &[u8]) -> Option<u64> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => number * 3_600_000,
        b'M' => number * 60_000,
        b'S' => number * 1000,
        b'm' => number.max(1),
        b'u' => (number / 1000).max(1),
        b'n' => (number / 1_000_000).max(1),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::timeout_ms;

    #[test]
    fn units_are_those_of_grpc_and_nothing_else_is_a_timeout() {
        for (value, expected) in [
            ("1H", Some(3_600_000)),
            ("2M", Some(120_000)),
            ("3S", Some(3000)),
            ("400m", Some(400)),
            ("5000u", Some(5)),
            ("1n", Some(1)),
            ("99999999H", Some(99_999_999 * 3_600_000)),
            ("", None),
            ("S", None),
            ("5", None),
            ("-1S", None),
            ("123456789S", None),
            ("1s", None),
        ] {
            assert_eq!(timeout_ms(value.as_bytes()), expected, "{value}");
        }
    }
}
