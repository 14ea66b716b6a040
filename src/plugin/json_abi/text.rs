//! Writing JSON by hand into a reused buffer: strings, dates, query strings.
//!
//! The input is rebuilt for every call of every plugin; a serialiser that walks a tree of values
//! measured 1.3 to 1.7 times as long.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::text::civil_date;

/// Appends `text` as a JSON string.
pub(in super::super) fn write_str(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    write_escaped(out, text.as_bytes());
    out.push(b'"');
}

/// Appends bytes as a JSON string; what is not UTF-8 becomes U+FFFD. Says whether anything did.
pub(super) fn write_lossy(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    if is_plain(bytes) {
        out.push(b'"');
        out.extend_from_slice(bytes);
        out.push(b'"');
        return false;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            write_str(out, text);
            false
        }
        Err(_) => {
            write_str(out, &String::from_utf8_lossy(bytes));
            true
        }
    }
}

/// Whether all of `bytes` are ASCII characters that stand for themselves in a JSON string: what
/// most values are, seen in one pass.
pub(super) fn is_plain(bytes: &[u8]) -> bool {
    let word = |eight: &[u8; 8]| {
        let block = u64::from_le_bytes(*eight);
        block & HIGH != 0 || any_needs_escape(block)
    };
    match bytes.last_chunk::<8>() {
        // The last eight bytes overlap those before them: no byte is looked at alone.
        Some(last) => !bytes.as_chunks::<8>().0.iter().any(word) && !word(last),
        None => bytes.iter().all(|&byte| byte < 0x80 && !needs_escape(byte)),
    }
}

/// Appends `"name":`.
pub(super) fn write_key(out: &mut Vec<u8>, name: &str) {
    write_str(out, name);
    out.push(b':');
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Appends what stands between the quotes of a JSON string.
pub(super) fn write_escaped(out: &mut Vec<u8>, text: &[u8]) {
    if is_plain(text) {
        out.extend_from_slice(text);
        return;
    }
    write_with_escapes(out, text);
}

/// Eight bytes at a time: what is clean is copied in runs, a block with an escape in it byte by
/// byte. (A run for each piece between two escapes measured three times as long on JSON, which has
/// a quote every few bytes.)
fn write_with_escapes(out: &mut Vec<u8>, text: &[u8]) {
    let (blocks, rest) = text.as_chunks::<8>();
    out.reserve(text.len() + text.len() / 8);
    let mut run = 0;
    for (index, block) in blocks.iter().enumerate() {
        if any_needs_escape(u64::from_le_bytes(*block)) {
            out.extend_from_slice(&text[run..8 * index]);
            block.iter().for_each(|&byte| push_escaped(out, byte));
            run = 8 * (index + 1);
        }
    }
    out.extend_from_slice(&text[run..8 * blocks.len()]);
    rest.iter().for_each(|&byte| push_escaped(out, byte));
}

/// What stands behind the backslash of a byte's escape: `u` for its number, 0 for no escape.
static ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        escapes[control] = b'u';
        control += 1;
    }
    escapes[b'\n' as usize] = b'n';
    escapes[b'\r' as usize] = b'r';
    escapes[b'\t' as usize] = b't';
    escapes[b'"' as usize] = b'"';
    escapes[b'\\' as usize] = b'\\';
    escapes
};

#[inline]
fn push_escaped(out: &mut Vec<u8>, byte: u8) {
    match ESCAPES[usize::from(byte)] {
        0 => out.push(byte),
        b'u' => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&digits);
        }
        letter => out.extend_from_slice(&[b'\\', letter]),
    }
}

/// [`needs_escape`] of eight bytes at once ("determine if a word has a byte less than n" and "equal
/// to n" of the Bit Twiddling Hacks): a borrow may reach a byte above one that is found, never one
/// that stands alone.
fn any_needs_escape(block: u64) -> bool {
    let less = |word: u64, than: u8| word.wrapping_sub(ONES * u64::from(than)) & !word & HIGH;
    let equal = |to: u8| less(block ^ (ONES * u64::from(to)), 1);
    less(block, 0x20) | equal(b'"') | equal(b'\\') != 0
}

/// Appends a point in time as RFC 3339 has it, in UTC with milliseconds, as a JSON string.
pub(super) fn write_time(out: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seconds = since.as_secs();
    let (year, month, day) = civil_date(seconds / 86_400);
    out.push(b'"');
    write_padded(out, year, 4, b'-');
    write_padded(out, month, 2, b'-');
    write_padded(out, day, 2, b'T');
    write_padded(out, seconds / 3600 % 24, 2, b':');
    write_padded(out, seconds / 60 % 60, 2, b':');
    write_padded(out, seconds % 60, 2, b'.');
    write_padded(out, u64::from(since.subsec_millis()), 3, b'Z');
    out.push(b'"');
}

/// Appends so many digits of a number and what stands behind them.
fn write_padded(out: &mut Vec<u8>, number: u64, digits: u32, behind: u8) {
    for place in (0..digits).rev() {
        out.push(b'0' + (number / 10_u64.pow(place) % 10) as u8);
    }
    out.push(behind);
}

/// Appends a query string (with or without its `?`) as an object of lists, decoded as forms are:
/// `+` is a space, what is not UTF-8 becomes U+FFFD.
pub(super) fn write_query(out: &mut Vec<u8>, query: &str) {
    let query = query.strip_prefix('?').unwrap_or(query);
    out.push(b'{');
    if !query.is_empty() {
        let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(name), decode(value))
            })
            .collect();
        // Stable: the values of one name keep their order. (Grouping by search would be quadratic
        // in what a client may send.)
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        for (index, group) in pairs.chunk_by(|a, b| a.0 == b.0).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_key(out, &group[0].0);
            write_list(out, group.iter().map(|(_, value)| value.as_bytes()));
        }
    }
    out.push(b'}');
}

/// Appends a list of strings. Says whether one was not UTF-8.
pub(super) fn write_list<'a>(out: &mut Vec<u8>, values: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut lossy = false;
    out.push(b'[');
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        lossy |= write_lossy(out, value);
    }
    out.push(b']');
    lossy
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = |offset: usize| {
            bytes.get(at + offset).and_then(|&digit| char::from(digit).to_digit(16))
        };
        match (byte, hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            (b'+', ..) => {
                decoded.push(b' ');
                at += 1;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_what_serde_json_reads_back() {
        let all: String = (0..0x300).filter_map(char::from_u32).collect();
        for start in 0..70 {
            let text = format!("{}{all}", "x".repeat(start));
            let json = written(|out| write_str(out, &text));
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }

    #[test]
    fn times_are_rfc_3339_in_utc() {
        for (seconds, expected) in [
            (0, "\"1970-01-01T00:00:00.000Z\""),
            (951_782_399, "\"2000-02-28T23:59:59.000Z\""),
            (951_782_400, "\"2000-02-29T00:00:00.000Z\""),
            (1_704_067_200, "\"2024-01-01T00:00:00.000Z\""),
            (4_107_542_399, "\"2100-02-28T23:59:59.000Z\""),
            (4_107_542_400, "\"2100-03-01T00:00:00.000Z\""),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(written(|out| write_time(out, time)), expected);
        }
        let time = UNIX_EPOCH + Duration::from_millis(1_732_314_722_007);
        assert_eq!(written(|out| write_time(out, time)), "\"2024-11-22T22:32:02.007Z\"");
    }

    #[test]
    fn a_query_becomes_an_object_of_lists() {
        let query = "?limit=10&a=1&a=&b&c=%41+%e2%82%ac%zz&%ff=x&&limit=20";
        assert_eq!(
            written(|out| write_query(out, query)),
            r#"{"a":["1",""],"b":[""],"c":["A €%zz"],"limit":["10","20"],"�":["x"]}"#
        );
        assert_eq!(written(|out| write_query(out, "")), "{}");
        assert_eq!(written(|out| write_query(out, "?")), "{}");
    }
}
