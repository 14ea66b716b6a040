//! Empty lines before a request line, which some clients send behind a body.

use super::Start;
use crate::http::h1::head::BARE_LINE_FEED;
use crate::http::message::is_token_byte;
use crate::limits::BLANK_LINES_MAX;

/// What a client of TLS begins with.
const TLS_HANDSHAKE: u8 = 22;
const NOT_TLS: &str = "TLS is not spoken here: ask by http:// in place of https://";

/// The empty lines passed over before one request.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct BlankLines {
    lines: u8,
    /// The CR of the next one has come.
    after_cr: bool,
}

impl BlankLines {
    /// Whether none has come in part.
    pub(super) fn is_whole(self) -> bool {
        !self.after_cr
    }

    /// How many of these bytes belong to empty lines, and what stands behind them.
    #[inline]
    pub(super) fn pass_over(&mut self, bytes: &[u8]) -> (usize, Start) {
        for (at, &byte) in bytes.iter().enumerate() {
            match (self.after_cr, byte) {
                (false, b'\r') => self.after_cr = true,
                (true, b'\n') if self.lines == BLANK_LINES_MAX => {
                    return (at, Start::Refused("too many empty lines before a request"));
                }
                (true, b'\n') => {
                    self.lines += 1;
                    self.after_cr = false;
                }
                (true, _) => return (at, Start::Refused(BARE_LINE_FEED)),
                (false, _) if is_token_byte(byte) => return (at, Start::Request),
                // The line may never end: who speaks something else waits for an answer.
                (false, TLS_HANDSHAKE) => return (at, Start::Refused(NOT_TLS)),
                (false, _) => return (at, Start::Refused("a request begins with no method")),
            }
        }
        (bytes.len(), Start::Later)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_lines_are_passed_over_however_they_are_split() {
        let text = b"\r\n\r\n\r\nG";
        for split in 0..text.len() {
            let mut blank = BlankLines::default();
            let (first, rest) = text.split_at(split);
            assert_eq!(blank.pass_over(first), (split, Start::Later), "split at {split}");
            assert_eq!(blank.pass_over(rest), (rest.len() - 1, Start::Request));
        }
        assert_eq!(BlankLines::default().pass_over(b"GET"), (0, Start::Request));
    }

    #[test]
    fn they_are_counted_and_a_bare_cr_is_none() {
        let many = b"\r\n".repeat(usize::from(BLANK_LINES_MAX));
        let mut blank = BlankLines::default();
        assert_eq!(blank.pass_over(&many), (many.len(), Start::Later));
        assert!(matches!(blank.pass_over(b"\r\n"), (1, Start::Refused(_))));
        assert!(matches!(BlankLines::default().pass_over(b"\rG"), (1, Start::Refused(_))));
        assert!(matches!(BlankLines::default().pass_over(b"\r\r\n"), (1, Start::Refused(_))));
    }

    #[test]
    fn what_begins_no_method_is_not_waited_for() {
        assert_eq!(BlankLines::default().pass_over(b"\x16\x03"), (0, Start::Refused(NOT_TLS)));
        for bytes in [&b"\0"[..], b" GET", b"\r\n\x80", b"{", b":"] {
            let (_, found) = BlankLines::default().pass_over(bytes);
            assert!(matches!(found, Start::Refused(_)), "{bytes:?}");
        }
    }
}
