//! A server's replies: no panic, and the cuts of the stream don't matter.
//!
//! The first byte gives the size of the pieces, the rest is what the server sends.

use odin::kv::resp::{ProtocolError, Replies, Reply};

fn read(bytes: &[u8], piece: usize) -> (Vec<Reply>, Option<ProtocolError>) {
    let mut replies = Replies::default();
    let mut got = Vec::new();
    for piece in bytes.chunks(piece) {
        replies.push(piece);
        loop {
            match replies.next_reply() {
                Ok(Some(reply)) => got.push(reply),
                Ok(None) => break,
                Err(error) => return (got, Some(error)),
            }
        }
    }
    (got, None)
}

/// One input.
pub fn run(input: &[u8]) {
    if let Some((&piece, bytes)) = input.split_first() {
        let whole = read(bytes, bytes.len().max(1));
        assert_eq!(read(bytes, usize::from(piece) + 1), whole);
        assert_eq!(read(bytes, 1), whole);
    }
}
