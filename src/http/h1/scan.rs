//! Finds the end of a head in bytes that arrive bit by bit, without going over all of them again.
//!
//! Parsing again after every read would let a client that sends one byte at a time cost the square
//! of its head's length. The scanner also refuses a line that ends in a bare LF (RFC 9112 section
//! 2.2 lets a recipient accept it; a chain of two readers that disagree on it is how requests are
//! smuggled).

#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "instructions not of every processor are called behind a check")
)]

use memchr::memchr_iter;

/// Where the scan of one head stands. A new one (`default`) for every head.
#[derive(Debug, Default, Clone, Copy)]
pub struct HeadScanner {
    /// Bytes already looked at.
    scanned: usize,
}

/// A line that does not end in CR LF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BareLineFeed;

impl HeadScanner {
    /// Looks at what is new in `bytes` (the head from its first byte, as far as it has come).
    /// `Some(length)` once the empty line that ends the head is there.
    pub fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, BareLineFeed> {
        match first_line_end(bytes, self.scanned) {
            Some(feed) if is_bare(bytes, feed) => Err(BareLineFeed),
            Some(feed) => Ok(Some(feed + 1)),
            None => {
                self.scanned = bytes.len();
                Ok(None)
            }
        }
    }
}

fn is_bare(bytes: &[u8], feed: usize) -> bool {
    feed == 0 || bytes[feed - 1] != b'\r'
}

/// The first line feed from `start` on that is bare or ends an empty line.
fn first_line_end(bytes: &[u8], start: usize) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: this processor has what the function is compiled for.
        return unsafe { vectors::first_line_end(bytes, start) };
    }
    by_bytes(bytes, start)
}

fn by_bytes(bytes: &[u8], start: usize) -> Option<usize> {
    let is_telling = |&feed: &usize| is_bare(bytes, feed) || feed == 1 || bytes[feed - 2] == b'\n';
    memchr_iter(b'\n', bytes.get(start..)?).map(|at| start + at).find(is_telling)
}

/// With vectors of 32 bytes: the same. A search for each line feed costs ten times as much, as
/// short as the lines of a head are.
#[cfg(target_arch = "x86_64")]
mod vectors {
    use std::arch::x86_64::*;

    use super::by_bytes;
    use crate::http::h1::lines::vectors::{first, load};

    /// A bit for each of the last 32 bytes that [`super::first_line_end`] looks for: the two bytes
    /// before each of them tell.
    #[target_feature(enable = "avx2")]
    fn telling(bytes: &[u8; 34]) -> u32 {
        let [_, _, block @ ..] = bytes;
        let [_, before @ .., _] = bytes;
        let [two_before @ .., _, _] = bytes;
        let is_feed = |bytes| _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'\n' as i8));
        let is_return = _mm256_cmpeq_epi8(load(before), _mm256_set1_epi8(b'\r' as i8));
        // Not bare, and nothing of its line before it.
        let plain = _mm256_andnot_si256(is_feed(load(two_before)), is_return);
        _mm256_movemask_epi8(_mm256_andnot_si256(plain, is_feed(load(block)))) as u32
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn first_line_end(bytes: &[u8], start: usize) -> Option<usize> {
        let mut at = start;
        if at < 2 {
            // These have no two bytes before them: a line feed there is bare, or the line is empty.
            let few = bytes.get(at..bytes.len().min(2))?;
            if let Some(place) = few.iter().position(|byte| *byte == b'\n') {
                return Some(at + place);
            }
            at = 2;
        }
        let find_in_few = |bytes: &[u8], at| by_bytes(bytes, at).unwrap_or(bytes.len());
        let found = first(bytes, at, |block| telling(block), find_in_few);
        (found < bytes.len()).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_however_the_head_is_split() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        for split in 0..head.len() {
            let mut scanner = HeadScanner::default();
            let first = scanner.find_end(&head[..split]).unwrap();
            let end = first.or(scanner.find_end(head).unwrap());
            assert_eq!(end, Some(head.len() - 4), "split at {split}");
        }
    }

    #[test]
    fn a_telling_line_feed_is_found_wherever_it_stands_and_from_wherever_the_search_starts() {
        for pattern in ["\n", "\r\n", "a\r\n\r\n", "\r\n\r\n", "\r\na\n", "\n\r\n", "\r\r\n\n"] {
            for (before, after) in (0..80).flat_map(|at| [(at, 0), (at, 7), (at, 70)]) {
                let text = "a".repeat(before) + pattern + &"a".repeat(after);
                for start in 0..=text.len() {
                    let (found, expected) =
                        (first_line_end(text.as_bytes(), start), by_bytes(text.as_bytes(), start));
                    assert_eq!(found, expected, "{text:?} from {start}");
                }
            }
        }
    }

    #[test]
    fn a_bare_line_feed_is_refused_wherever_it_stands() {
        for bad in ["\n", "GET / HTTP/1.1\n", "GET / HTTP/1.1\r\nA: b\n\r\n", "A\r\n\n"] {
            let mut scanner = HeadScanner::default();
            for _ in 0..2 {
                assert_eq!(scanner.find_end(bad.as_bytes()), Err(BareLineFeed), "{bad:?}");
            }
        }
    }

    #[test]
    fn a_leading_empty_line_is_an_end() {
        assert_eq!(HeadScanner::default().find_end(b"\r\nGET"), Ok(Some(2)));
    }
}
