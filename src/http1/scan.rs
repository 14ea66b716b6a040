//! Finds the end of a head in bytes that arrive bit by bit, looking at each byte once.
//!
//! Parsing again after every read would let a client that sends one byte at a time cost the square
//! of its head's length. The scanner also refuses a line that ends in a bare LF (RFC 9112 section
//! 2.2 lets a recipient accept it; a chain of two readers that disagree on it is how requests are
//! smuggled).

use memchr::memchr;

/// Where the scan of one head stands. A new one (`default`) for every head.
#[derive(Debug, Default, Clone, Copy)]
pub struct HeadScanner {
    /// Bytes already looked at.
    scanned: usize,
    /// Where the current line starts.
    line: usize,
}

/// A line that does not end in CR LF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BareLineFeed;

impl HeadScanner {
    /// Looks at what is new in `bytes` (the head from its first byte, as far as it has come).
    /// `Some(length)` once the empty line that ends the head is there.
    pub fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, BareLineFeed> {
        while let Some(offset) = memchr(b'\n', &bytes[self.scanned..]) {
            let feed = self.scanned + offset;
            if feed == 0 || bytes[feed - 1] != b'\r' {
                return Err(BareLineFeed);
            }
            let is_empty_line = feed - 1 == self.line;
            self.scanned = feed + 1;
            self.line = feed + 1;
            if is_empty_line {
                return Ok(Some(feed + 1));
            }
        }
        self.scanned = bytes.len();
        Ok(None)
    }

    /// Whether the start line is whole.
    pub fn has_start_line(&self) -> bool {
        self.line > 0
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
    fn a_bare_line_feed_is_refused_wherever_it_stands() {
        for bad in ["\n", "GET / HTTP/1.1\n", "GET / HTTP/1.1\r\nA: b\n\r\n", "A\r\n\n"] {
            let outcome = HeadScanner::default().find_end(bad.as_bytes());
            assert_eq!(outcome, Err(BareLineFeed), "{bad:?}");
        }
    }

    #[test]
    fn a_leading_empty_line_is_an_end() {
        assert_eq!(HeadScanner::default().find_end(b"\r\nGET"), Ok(Some(2)));
    }
}
