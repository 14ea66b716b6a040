//! Takes the lines of a head apart (RFC 9112 sections 2 to 5), each byte looked at once.
//!
//! Strict where readers differ, because that is how requests are smuggled: each line ends in CR LF,
//! a name stands right before its colon, and no line goes on in the next one. Values come without
//! the white space around them.
//!
//! Two questions are asked of the bytes, where a token ends and where a run without control bytes
//! does, and both are answered for 32 bytes at a time where the processor can.

#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "instructions not of every processor are called behind a check")
)]

use crate::http::message::{Places, is_token_byte};

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The bytes end before the empty line.
    End,
    /// The start line has other parts than it must have.
    StartLine,
    /// The start line is well-formed but for a version of HTTP that is neither 1.0 nor 1.1.
    Version,
    /// A field's name is empty, has a byte that is not a token's, or stands before no colon.
    Name,
    /// A value has a control byte.
    Value,
    /// A line ends in a bare LF.
    BareLineFeed,
}

/// One field, and where its parts stand in the head.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// A token.
    pub name: &'a [u8],
    /// Without the white space around it.
    pub value: &'a [u8],
    /// Where the name begins.
    pub name_at: usize,
    /// Where the value begins.
    pub value_at: usize,
    /// The line is `name: value`, with one space and no other white space.
    is_normal: bool,
}

impl Line<'_> {
    /// Notes the field among the places of its head.
    #[inline(always)]
    pub fn add_to(&self, places: &mut Places) {
        let value = self.value_at..self.value_at + self.value.len();
        places.add(self.name, self.name_at, value, self.is_normal);
    }
}

/// The parts of a request line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLine<'a> {
    /// A token.
    pub method: &'a [u8],
    /// Not empty; no white space, no control byte.
    pub target: &'a [u8],
    /// HTTP/1.0, not 1.1.
    pub is_http10: bool,
    /// Where the fields begin.
    pub end: usize,
}

/// The parts of a status line that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusLine {
    /// Three digits.
    pub status: u16,
    /// HTTP/1.0, not 1.1.
    pub is_http10: bool,
    /// Where the fields begin.
    pub end: usize,
}

/// Reads the request line that `bytes` begin with.
pub fn request_line(bytes: &[u8]) -> Result<RequestLine<'_>, Malformed> {
    let (line, end) = start_line(bytes)?;
    let method = &line[..by_bytes::token_end(line, 0)];
    let rest = line[method.len()..].strip_prefix(b" ").ok_or(Malformed::StartLine)?;
    let (target, version) = rest.split_last_chunk::<9>().ok_or(Malformed::StartLine)?;
    let version = version.strip_prefix(b" ").ok_or(Malformed::StartLine)?;
    let is_whole = !method.is_empty() && !target.is_empty();
    if !is_whole || memchr::memchr2(b' ', b'\t', target).is_some() {
        return Err(Malformed::StartLine);
    }
    Ok(RequestLine { method, target, is_http10: is_http10(version)?, end })
}

/// Reads the status line that `bytes` begin with. A reason is passed over, and may be missing with
/// its space.
pub fn status_line(bytes: &[u8]) -> Result<StatusLine, Malformed> {
    let (line, end) = start_line(bytes)?;
    let (version, rest) = line.split_first_chunk::<8>().ok_or(Malformed::StartLine)?;
    let is_http10 = is_http10(version)?;
    let rest = rest.strip_prefix(b" ").ok_or(Malformed::StartLine)?;
    let (digits, reason) = rest.split_first_chunk::<3>().ok_or(Malformed::StartLine)?;
    if !digits.iter().all(u8::is_ascii_digit) || !matches!(reason.first(), None | Some(b' ')) {
        return Err(Malformed::StartLine);
    }
    let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    Ok(StatusLine { status, is_http10, end })
}

fn start_line(bytes: &[u8]) -> Result<(&[u8], usize), Malformed> {
    let end = plain_end(bytes, 0);
    match line_end(bytes, end) {
        Ok(next) => Ok((&bytes[..end], next)),
        Err(Malformed::Value) => Err(Malformed::StartLine),
        Err(other) => Err(other),
    }
}

fn is_http10(version: &[u8]) -> Result<bool, Malformed> {
    match version {
        b"HTTP/1.1" => Ok(false),
        b"HTTP/1.0" => Ok(true),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(Malformed::Version),
        _ => Err(Malformed::StartLine),
    }
}

/// Takes the fields of a head, one after the other.
pub trait TakeField<'a> {
    /// What ends the loop.
    type Error: From<Malformed>;

    /// Takes one field.
    fn take(&mut self, line: Line<'a>) -> Result<(), Self::Error>;

    /// Takes one with a `_` in its name.
    fn take_underscored(&mut self, line: Line<'a>) -> Result<(), Self::Error> {
        self.take(line)
    }
}

/// Gives `taker` each field of the lines that begin at `start`; where the empty line ends that
/// comes after them. More may follow it.
///
/// Unlike a closure, a `take` can be told to become part of the loop over the lines.
#[inline]
pub fn take_fields<'a, T: TakeField<'a>>(
    bytes: &'a [u8],
    start: usize,
    taker: T,
) -> Result<usize, T::Error> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: this processor has what the function is compiled for.
        return unsafe { vectors::take_fields(bytes, start, taker) };
    }
    take_fields_by(bytes, start, taker, by_bytes::line)
}

/// The same with a closure.
pub fn each_field<'a, E: From<Malformed>>(
    bytes: &'a [u8],
    start: usize,
    take: impl FnMut(Line<'a>) -> Result<(), E>,
) -> Result<usize, E> {
    struct Closure<F>(F);

    impl<'a, E: From<Malformed>, F: FnMut(Line<'a>) -> Result<(), E>> TakeField<'a> for Closure<F> {
        type Error = E;

        fn take(&mut self, line: Line<'a>) -> Result<(), E> {
            self.0(line)
        }
    }

    take_fields(bytes, start, Closure(take))
}

#[inline(always)]
fn take_fields_by<'a, T: TakeField<'a>>(
    bytes: &'a [u8],
    start: usize,
    mut taker: T,
    line: impl Fn(&[u8], usize) -> (usize, usize),
) -> Result<usize, T::Error> {
    let mut at = start;
    loop {
        let (colon, end) = line(bytes, at);
        if colon == at || bytes.get(colon) != Some(&b':') {
            // A `_` ends what is looked for too, so that names without one pay nothing for it.
            let name_end = match bytes.get(colon) {
                Some(b'_') => by_bytes::token_end(bytes, colon),
                _ => colon,
            };
            if name_end > colon && bytes.get(name_end) == Some(&b':') {
                at = take_underscored(bytes, at, name_end, end, &mut taker)?;
                continue;
            }
            return no_field(bytes, at, name_end).map_err(T::Error::from);
        }
        let (line, next) = parts(bytes, at, colon, end)?;
        taker.take(line)?;
        at = next;
    }
}

#[cold]
#[inline(never)]
fn take_underscored<'a, T: TakeField<'a>>(
    bytes: &'a [u8],
    at: usize,
    colon: usize,
    end: usize,
    taker: &mut T,
) -> Result<usize, T::Error> {
    let (line, next) = parts(bytes, at, colon, end)?;
    taker.take_underscored(line)?;
    Ok(next)
}

/// The line that begins at `at` with a name up to `colon` and goes on up to `end`; where the next
/// one begins.
#[inline(always)]
fn parts(
    bytes: &[u8],
    at: usize,
    colon: usize,
    end: usize,
) -> Result<(Line<'_>, usize), Malformed> {
    let mut value_at = colon + 1;
    while let Some(b' ' | b'\t') = bytes.get(value_at) {
        value_at += 1;
    }
    // Colon, spaces and tabs are no control bytes: the value begins at its end at the latest.
    let next = line_end(bytes, end)?;
    let mut value = &bytes[value_at..end];
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    let is_normal =
        value_at == colon + 2 && bytes[colon + 1] == b' ' && value.len() == end - value_at;
    Ok((Line { name: &bytes[at..colon], value, name_at: at, value_at, is_normal }, next))
}

/// What stands at `at`, where the bytes up to `end` and the one there are no name and colon: the
/// line that ends the head, if all is well.
fn no_field(bytes: &[u8], at: usize, end: usize) -> Result<usize, Malformed> {
    match (bytes.get(end), at == end) {
        (None, _) => Err(Malformed::End),
        (Some(b'\r'), true) => match bytes.get(end + 1) {
            Some(b'\n') => Ok(end + 2),
            Some(_) => Err(Malformed::Name),
            None => Err(Malformed::End),
        },
        (Some(b'\n'), _) => Err(Malformed::BareLineFeed),
        (Some(_), _) => Err(Malformed::Name),
    }
}

/// Where the line after the one begins whose end is at `end`.
#[inline]
fn line_end(bytes: &[u8], end: usize) -> Result<usize, Malformed> {
    match bytes.get(end..) {
        Some([b'\r', b'\n', ..]) => Ok(end + 2),
        Some([b'\n', ..]) => Err(Malformed::BareLineFeed),
        Some([] | [b'\r']) | None => Err(Malformed::End),
        Some(_) => Err(Malformed::Value),
    }
}

fn plain_end(bytes: &[u8], at: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: this processor has what the function is compiled for.
        return unsafe { vectors::plain_end(bytes, at) };
    }
    by_bytes::plain_end(bytes, at)
}

/// On any processor.
mod by_bytes {
    use super::is_token_byte;

    const TOKEN: u8 = 1;
    const PLAIN: u8 = 2;
    /// A token's but for `_`.
    const NAME: u8 = 4;

    static CLASSES: [u8; 256] = {
        let mut classes = [0; 256];
        let mut at = 0;
        while at < 256 {
            let byte = at as u8;
            if is_token_byte(byte) {
                classes[at] |= if byte == b'_' { TOKEN } else { TOKEN | NAME };
            }
            if byte == b'\t' || (byte >= b' ' && byte != 0x7f) {
                classes[at] |= PLAIN;
            }
            at += 1;
        }
        classes
    };

    fn end(bytes: &[u8], at: usize, class: u8) -> usize {
        let is_other = |byte: &u8| CLASSES[usize::from(*byte)] & class == 0;
        let rest = bytes.get(at..).unwrap_or_default();
        at + rest.iter().position(is_other).unwrap_or(rest.len())
    }

    /// The first byte from `at` on that is not a token's; the end of `bytes` if there is none.
    pub(super) fn token_end(bytes: &[u8], at: usize) -> usize {
        end(bytes, at, TOKEN)
    }

    /// The same, or the first `_`.
    pub(super) fn name_end(bytes: &[u8], at: usize) -> usize {
        end(bytes, at, NAME)
    }

    /// The first control byte from `at` on, but for tabs; the end of `bytes` if there is none.
    pub(super) fn plain_end(bytes: &[u8], at: usize) -> usize {
        end(bytes, at, PLAIN)
    }

    /// Where the name ends that begins at `at`, and where the run without control bytes does.
    pub(super) fn line(bytes: &[u8], at: usize) -> (usize, usize) {
        let name_end = name_end(bytes, at);
        (name_end, plain_end(bytes, name_end))
    }
}

/// With vectors of 32 bytes. The functions are what those of the same names in `by_bytes` are.
#[cfg(target_arch = "x86_64")]
pub(in crate::http::h1) mod vectors {
    use std::arch::x86_64::*;

    use super::{TakeField, by_bytes, is_token_byte, take_fields_by};

    /// By the low half of a byte: for which high halves it is a name's (a token's but for `_`), a
    /// bit for each. Twice, because a shuffle looks within 16 bytes.
    static NAMES: [u8; 32] = {
        let mut table = [0; 32];
        let mut byte = 0;
        while byte < 128 {
            if is_token_byte(byte) && byte != b'_' {
                table[(byte & 15) as usize] |= 1 << (byte >> 4);
                table[(byte & 15) as usize + 16] |= 1 << (byte >> 4);
            }
            byte += 1;
        }
        table
    };

    /// The bit of each high half; none for those of bytes over 0x7F.
    static HIGH_HALVES: [u8; 32] = {
        let mut table = [0; 32];
        let mut half = 0;
        while half < 8 {
            table[half] = 1 << half;
            table[half + 16] = 1 << half;
            half += 1;
        }
        table
    };

    /// The bytes as a vector.
    #[target_feature(enable = "avx2")]
    pub(in crate::http::h1) fn load(bytes: &[u8; 32]) -> __m256i {
        // SAFETY: 32 bytes are read, of any alignment.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    /// A bit for each byte that is not a name's.
    #[target_feature(enable = "avx2")]
    fn not_names(bytes: &[u8; 32]) -> u32 {
        let bytes = load(bytes);
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), _mm256_set1_epi8(15));
        let high = _mm256_shuffle_epi8(load(&HIGH_HALVES), high);
        // A byte over 0x7F gives 0.
        let low = _mm256_shuffle_epi8(load(&NAMES), bytes);
        let outside = _mm256_cmpeq_epi8(_mm256_and_si256(low, high), _mm256_setzero_si256());
        _mm256_movemask_epi8(outside) as u32
    }

    /// A bit for each control byte but for tabs.
    #[target_feature(enable = "avx2")]
    fn controls(bytes: &[u8; 32]) -> u32 {
        let bytes = load(bytes);
        let low = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f)), bytes);
        let tab = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'\t' as i8));
        let delete = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(0x7f));
        let found = _mm256_or_si256(_mm256_andnot_si256(tab, low), delete);
        _mm256_movemask_epi8(found) as u32
    }

    /// The first byte from `at` on that `find` sets a bit for; the end of `bytes` if there is none.
    /// `find` is given blocks of `N` bytes and speaks of the last 32 of each: so many more must
    /// stand before `at`.
    #[inline(always)]
    pub(in crate::http::h1) fn first<const N: usize>(
        bytes: &[u8],
        mut at: usize,
        find: impl Fn(&[u8; N]) -> u32,
        find_in_few: impl Fn(&[u8], usize) -> usize,
    ) -> usize {
        while let Some(block) = bytes.get(at + 32 - N..).and_then(|rest| rest.first_chunk()) {
            match find(block) {
                0 => at += 32,
                found => return at + found.trailing_zeros() as usize,
            }
        }
        // The last block overlaps those before it: only of less than one is each byte looked at.
        let Some(block) = bytes.last_chunk() else {
            return find_in_few(bytes, at);
        };
        let seen = (at + 32 - bytes.len()) as u32;
        match find(block).checked_shr(seen).unwrap_or(0) {
            0 => bytes.len(),
            found => at + found.trailing_zeros() as usize,
        }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn name_end(bytes: &[u8], at: usize) -> usize {
        first(bytes, at, |block| not_names(block), by_bytes::name_end)
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn plain_end(bytes: &[u8], at: usize) -> usize {
        first(bytes, at, |block| controls(block), by_bytes::plain_end)
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn take_fields<'a, T: TakeField<'a>>(
        bytes: &'a [u8],
        start: usize,
        taker: T,
    ) -> Result<usize, T::Error> {
        // As a closure it is of this function's instructions. Both ends lie within the first 32
        // bytes of many lines, and the first of them of nearly all.
        let line = |bytes: &[u8], at: usize| {
            if let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk())
                && let (name, others) = (not_names(block), controls(block))
                && name != 0
            {
                let name_end = at + name.trailing_zeros() as usize;
                // A control byte is no name's: the first of them is not before the name's end.
                return match others {
                    0 => (name_end, plain_end(bytes, at + 32)),
                    _ => (name_end, at + others.trailing_zeros() as usize),
                };
            }
            let name_end = name_end(bytes, at);
            (name_end, plain_end(bytes, name_end))
        };
        take_fields_by(bytes, start, taker, line)
    }
}

#[cfg(test)]
mod tests;
