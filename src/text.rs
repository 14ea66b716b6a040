//! Numbers and dates as text, for buffers that are filled by hand; and bytes as text.

#![expect(unsafe_code, reason = "bytes that were seen to be ASCII are not looked at again")]

use std::time::{SystemTime, UNIX_EPOCH};

/// `bytes` as text, if they are UTF-8. For what is ASCII nearly always and short: that is seen in a
/// fraction of the instructions that reading UTF-8 takes.
pub fn from_bytes(bytes: &[u8]) -> Option<&str> {
    if bytes.is_ascii() {
        // SAFETY: ASCII is UTF-8.
        return Some(unsafe { std::str::from_utf8_unchecked(bytes) });
    }
    std::str::from_utf8(bytes).ok()
}

/// Appends a number in decimal.
pub fn decimal(mut number: u64, out: &mut Vec<u8>) {
    // 20 digits hold u64::MAX.
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let mut digits = vec![0; bytes.len() * 2];
    hex_into(bytes, &mut digits);
    digits.into_iter().map(char::from).collect()
}

/// Writes bytes in hexadecimal: two digits of `out` for each.
pub fn hex_into(bytes: &[u8], out: &mut [u8]) {
    for (byte, pair) in bytes.iter().zip(out.chunks_exact_mut(2)) {
        pair[0] = HEX_DIGITS[usize::from(byte >> 4)];
        pair[1] = HEX_DIGITS[usize::from(byte & 15)];
    }
}

/// Appends a number in hexadecimal, without leading zeros.
pub fn hex_number(mut number: usize, out: &mut Vec<u8>) {
    let mut digits = [0; 16];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = HEX_DIGITS[number & 15];
        number >>= 4;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// As much of a text as has at most so many bytes.
pub fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Appends a point in time as RFC 3339 has it, in UTC with milliseconds. Before 1970 is 1970, after
/// 9999 its last second.
pub fn rfc_3339(time: SystemTime, out: &mut Vec<u8>) {
    /// 9999-12-31T23:59:59Z.
    const LAST: u64 = 253_402_300_799;
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (since.as_secs().min(LAST), since.subsec_millis());
    let (year, month, day) = civil_date(seconds / 86_400);
    let of_day = (seconds % 86_400) as u32;
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let pairs = [
        (0, year as u32 / 100),
        (2, year as u32 % 100),
        (5, month as u32),
        (8, day as u32),
        (11, of_day / 3600),
        (14, of_day / 60 % 60),
        (17, of_day % 60),
        (20, millis / 10),
    ];
    for (place, number) in pairs {
        text[place] += (number / 10) as u8;
        text[place + 1] += (number % 10) as u8;
    }
    text[22] += (millis % 10) as u8;
    out.extend_from_slice(&text);
}

/// The Gregorian date of a day since 1970-01-01: years are counted from March, so that the leap day
/// is a year's last, in eras of 400 years (146,097 days).
fn civil_date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468; // days from 0000-03-01
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_if_they_are_utf8() {
        assert_eq!(from_bytes(b"GET"), Some("GET"));
        assert_eq!(from_bytes("d\u{e9}j\u{e0}".as_bytes()), Some("d\u{e9}j\u{e0}"));
        assert_eq!(from_bytes(b"d\xe9"), None);
        assert_eq!(from_bytes(b""), Some(""));
    }

    #[test]
    fn numbers_are_written_in_full() {
        for number in [0, 7, 10, 502, u64::MAX] {
            let mut out = Vec::new();
            decimal(number, &mut out);
            assert_eq!(out, number.to_string().into_bytes());
        }
    }

    #[test]
    fn hexadecimal_is_lower_case() {
        assert_eq!(hex(&[0, 0x9a, 0xff]), "009aff");
        for (number, expected) in
            [(0, "0"), (0xdead_beef, "deadbeef"), (usize::MAX, "ffffffffffffffff")]
        {
            let mut out = Vec::new();
            hex_number(number, &mut out);
            assert_eq!(out, expected.as_bytes());
        }
    }

    #[test]
    fn times_are_rfc_3339_in_utc() {
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_000, "2000-02-28T23:59:59.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_704_067_200_000, "2024-01-01T00:00:00.000Z"),
            (1_732_314_722_007, "2024-11-22T22:32:02.007Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            let mut out = Vec::new();
            rfc_3339(UNIX_EPOCH + std::time::Duration::from_millis(millis), &mut out);
            assert_eq!(out, expected.as_bytes());
        }
    }

    #[test]
    fn days_are_counted_over_leap_years() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (19_722, (2023, 12, 31)),
            (19_723, (2024, 1, 1)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil_date(days), date, "{days}");
        }
    }
}
