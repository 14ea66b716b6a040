//! Messages of gRPC as they stand in a body: a byte that says whether the message is compressed,
//! its length in four bytes, the message (grpc/grpc, `doc/PROTOCOL-HTTP2.md`).

/// Bytes before a message.
pub(super) const HEAD_BYTES: usize = 5;

/// A message as it is sent.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEAD_BYTES + message.len());
    frame.push(0);
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

/// Takes a body apart, however it is cut.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    /// More of the body has come.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether no part of a message is left.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next message, if it is whole; an error if it is compressed (nothing was said to be
    /// understood) or larger than `most`.
    pub(super) fn next(&mut self, most: usize) -> Result<Option<Vec<u8>>, String> {
        let Some((head, rest)) = self.bytes.split_first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let [is_compressed, length @ ..] = *head;
        let length = u32::from_be_bytes(length) as usize;
        if is_compressed != 0 {
            return Err("the message is compressed, which was not asked for".to_owned());
        }
        if length > most {
            return Err(format!("a message of {length} bytes, limit is {most}"));
        }
        let Some(message) = rest.get(..length) else {
            return Ok(None);
        };
        let message = message.to_vec();
        self.bytes.drain(..HEAD_BYTES + length);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_as_they_went_in_wherever_the_body_is_cut() {
        let sent: [&[u8]; 4] = [b"", b"a", b"hello", &[7; 300]];
        let body: Vec<u8> = sent.iter().flat_map(|message| framed(message)).collect();
        for size in [1, 2, 4, 5, 6, 7, 100, 1000] {
            let (mut frames, mut got) = (Frames::default(), Vec::new());
            for piece in body.chunks(size) {
                frames.push(piece);
                while let Some(message) = frames.next(300).unwrap() {
                    got.push(message);
                }
            }
            assert_eq!(got, sent, "{size}");
            assert!(frames.is_empty());
        }
    }

    #[test]
    fn what_is_too_large_or_compressed_is_an_error_before_it_is_there() {
        let mut frames = Frames::default();
        frames.push(&[0, 0xff, 0xff, 0xff, 0xff]);
        assert!(frames.next(1000).unwrap_err().contains("limit is 1000"));
        let mut frames = Frames::default();
        frames.push(&[1, 0, 0, 0, 0]);
        assert!(frames.next(1000).is_err());
    }
}
