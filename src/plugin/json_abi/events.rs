//! The borders of server-sent events (WHATWG HTML, section 9.2.5) in a body whose bytes come in any
//! pieces. Pure: no guest, no clock.
//!
//! An event ends with an empty line; lines end with CR LF, LF or CR. Where an event ends with a CR,
//! it is over there: it is not held back for the LF that may follow, which then stands at the
//! beginning of the next event, where it means nothing. No byte is lost or made.

/// Bytes of a stream of events, and how far they have been looked at.
#[derive(Debug, Default)]
pub(super) struct Events {
    bytes: Vec<u8>,
    /// Where the first event that has not been taken begins.
    start: usize,
    /// So far no border was found behind `start`.
    seen: usize,
    /// The line at `seen` has something in it.
    is_in_line: bool,
    /// What stands before `seen` is a CR: a LF there belongs to it.
    is_behind_cr: bool,
}

impl Events {
    /// Takes bytes.
    pub(super) fn give(&mut self, bytes: &[u8]) {
        if self.start == self.bytes.len() {
            self.bytes.clear();
        } else {
            self.bytes.drain(..self.start);
        }
        self.seen -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next event, with the empty line that ends it, if it is there whole.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        while let Some(&byte) = self.bytes.get(self.seen) {
            self.seen += 1;
            let is_behind_cr = std::mem::replace(&mut self.is_behind_cr, byte == b'\r');
            match byte {
                b'\n' if is_behind_cr => {}
                b'\n' | b'\r' if self.is_in_line => self.is_in_line = false,
                b'\n' | b'\r' => {
                    // A LF that has come by now goes with its CR.
                    if byte == b'\r' && self.bytes.get(self.seen) == Some(&b'\n') {
                        self.seen += 1;
                        self.is_behind_cr = false;
                    }
                    let event = self.start..self.seen;
                    self.start = self.seen;
                    return self.bytes.get(event);
                }
                _ => self.is_in_line = true,
            }
        }
        None
    }

    /// What has been given and not taken, which is no whole event.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Takes all that is left.
    pub(super) fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.rest().to_vec();
        *self = Self::default();
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"\xef\xbb\xbfdata: 1\n\ndata: 2\r\n: x\r\n\r\ndata: 3\rid: 4\r\r\
        \n\n\r\r\r\n\r\ndata: a\r\n\ndata: b\n\r\n: last\n";

    fn split(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut events = Events::default();
        let mut all = Vec::new();
        for piece in pieces {
            events.give(piece);
            while let Some(event) = events.next() {
                all.push(event.to_vec());
            }
        }
        (all, events.take_rest())
    }

    /// The texts of the lines of the events, without those that are empty.
    fn meaning(events: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
        let lines = |event: &Vec<u8>| -> Vec<Vec<u8>> {
            let lines = event.split(|&byte| byte == b'\r' || byte == b'\n');
            lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
        };
        events.iter().map(lines).filter(|event| !event.is_empty()).collect()
    }

    #[test]
    fn borders_are_where_lines_are_empty() {
        let (events, rest) = split(&[STREAM]);
        let shown: Vec<String> = meaning(&events)
            .iter()
            .map(|lines| String::from_utf8_lossy(&lines.join(&b'|')).into())
            .collect();
        assert_eq!(
            shown,
            ["\u{feff}data: 1", "data: 2|: x", "data: 3|id: 4", "data: a", "data: b"]
        );
        assert_eq!(rest, b": last\n");
    }

    #[test]
    fn no_way_of_cutting_a_stream_changes_its_events() {
        let (whole, rest) = split(&[STREAM]);
        for at in 0..=STREAM.len() {
            for behind in at..=STREAM.len() {
                let pieces = [&STREAM[..at], &STREAM[at..behind], &STREAM[behind..]];
                let (events, end) = split(&pieces);
                assert_eq!(meaning(&events), meaning(&whole), "{at} {behind}");
                let meant = end.strip_prefix(b"\n").unwrap_or(&end);
                assert_eq!(meant, rest, "{at} {behind}");
                assert_eq!([&events.concat()[..], &end].concat(), STREAM, "{at} {behind}");
            }
        }
        let bytes: Vec<&[u8]> = STREAM.chunks(1).collect();
        assert_eq!(meaning(&split(&bytes).0), meaning(&whole));
    }

    #[test]
    fn an_event_is_there_with_its_last_byte() {
        for event in [&b"data: 1\n\n"[..], b"data: 1\r\r", b"data: 1\r\n\r", b"\n", b"\r"] {
            for at in 0..event.len() {
                let mut events = Events::default();
                events.give(&event[..at]);
                assert_eq!(events.next(), None, "{at}");
                events.give(&event[at..]);
                assert_eq!(events.next(), Some(event), "{at}");
            }
        }
    }
}
