//! What a gateway must know of WebSockets (RFC 6455): the handshake's key and its answer, and where
//! one frame ends and the next begins. What the frames carry is nobody's business here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Its name as a protocol to switch to.
pub const NAME: &str = "websocket";
/// The field with the key of a handshake.
pub const KEY: &str = "sec-websocket-key";
/// The field with the answer to it.
pub const ACCEPT: &str = "sec-websocket-accept";
/// The field with the version.
pub const VERSION: &str = "sec-websocket-version";
/// The only version there is (section 4.1).
pub const VERSION_13: &[u8] = b"13";
/// What a peer is told that ends because it goes away (section 7.4.1).
pub const GOING_AWAY: u16 = 1001;

/// What section 1.3 has behind the key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Sixteen bytes in base64.
const KEY_BYTES: usize = 24;

/// A key: sixteen bytes in base64.
pub type Key = [u8; KEY_BYTES];

/// The key that a field names; `None` if it is none (section 4.1).
pub fn key(value: &[u8]) -> Option<Key> {
    let key = Key::try_from(value).ok()?;
    STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16).then_some(key)
}

/// A key of random bytes.
pub fn new_key(random: [u64; 2]) -> Key {
    let mut key = [0; KEY_BYTES];
    let bytes = random.map(u64::to_ne_bytes);
    // Sixteen bytes are always as long.
    let _length = STANDARD.encode_slice(bytes.as_flattened(), &mut key);
    key
}

/// The answer to a key (section 4.2.2).
pub fn accept(key: &Key) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(GUID);
    STANDARD.encode(context.finish())
}

/// A close frame (section 5.5.1), masked as clients must.
pub fn close_frame(code: u16, mask: Option<[u8; 4]>) -> Vec<u8> {
    let [high, low] = code.to_be_bytes();
    match mask {
        None => vec![0x88, 2, high, low],
        Some([a, b, c, d]) => vec![0x88, 0x82, a, b, c, d, high ^ a, low ^ b],
    }
}

/// How far the frames of one direction have gone (section 5.2): a frame of our own may stand only
/// between two of theirs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Frames {
    /// The first bytes of a frame whose head is not whole, and how many they are.
    head: [u8; 2],
    has: u8,
    /// Bytes of the frame that are still to come, once they are known.
    left: Option<u64>,
    /// Bytes of its length that have not come, and what came before them.
    length_left: u8,
    length: u64,
    has_closed: bool,
}

impl Frames {
    /// Goes on by what has passed.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let Some(left) = self.left {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                bytes = &bytes[count..];
                self.left_over(left - count as u64);
                continue;
            }
            bytes = rest;
            self.head_byte(byte);
        }
    }

    fn head_byte(&mut self, byte: u8) {
        if self.has < 2 {
            self.head[usize::from(self.has)] = byte;
            self.has += 1;
            if self.has < 2 {
                return;
            }
            self.has_closed |= self.head[0] & 0x0f == 8;
            (self.length, self.length_left) = match byte & 0x7f {
                126 => (0, 2),
                127 => (0, 8),
                length => (u64::from(length), 0),
            };
        } else {
            self.length = self.length << 8 | u64::from(byte);
            self.length_left -= 1;
        }
        if self.length_left == 0 {
            let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
            self.left_over(self.length.saturating_add(mask));
        }
    }

    fn left_over(&mut self, left: u64) {
        self.left = Some(left);
        if left == 0 {
            let has_closed = self.has_closed;
            *self = Self { has_closed, ..Self::default() };
        }
    }

    /// Whether a frame may stand here: none is under way, and none has been the last.
    pub fn is_between(&self) -> bool {
        self.has == 0 && !self.has_closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_key_is_that_of_the_rfc() {
        let key = key(b"dGhlIHNhbXBsZSBub25jZQ==").unwrap();
        assert_eq!(accept(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_key_is_sixteen_bytes_in_base64_and_nothing_else() {
        assert!(key(&new_key([1, u64::MAX])).is_some());
        for odd in [
            &b""[..],
            b"dGhlIHNhbXBsZSBub25jZQ",
            b"dGhlIHNhbXBsZSBub25jZQ=",
            b"dGhlIHNhbXBsZSBub25jZWU=",
            b"dGhlIHNhbXBsZSBub25jZR==",
            b"dGhlIHNhbXBsZSBub25j ZQ=",
            b"dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
        ] {
            assert_eq!(key(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn where_a_frame_ends_does_not_depend_on_where_a_read_does() {
        let frames: [&[u8]; 5] = [
            &[0x81, 0x00],
            &[0x82, 0x81, 1, 2, 3, 4, 5],
            &[[&[0x02, 126, 1, 0][..], &[7; 256]].concat(), vec![]].concat(),
            &[
                [&[0x80, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 9, 9, 9, 9][..], &[7; 65536]].concat(),
                vec![],
            ]
            .concat(),
            &[0x89, 1, 0x88],
        ];
        let all = frames.concat();
        let borders: Vec<usize> = frames
            .iter()
            .scan(0, |end, frame| {
                *end += frame.len();
                Some(*end)
            })
            .collect();
        for size in [1, 2, 3, 7, 1000, all.len()] {
            let (mut passed, mut at) = (Frames::default(), 0);
            for piece in all.chunks(size) {
                passed.pass(piece);
                at += piece.len();
                assert_eq!(passed.is_between(), borders.contains(&at), "{size} {at}");
            }
        }
    }

    #[test]
    fn behind_a_close_frame_stands_none() {
        let mut passed = Frames::default();
        passed.pass(&close_frame(GOING_AWAY, None));
        assert!(!passed.is_between());
        let mut passed = Frames::default();
        passed.pass(&close_frame(GOING_AWAY, Some([1, 2, 3, 4])));
        assert!(passed.has == 0 && passed.has_closed);
        passed.pass(&[0xff; 64]);
        assert!(!passed.is_between());
    }
}
