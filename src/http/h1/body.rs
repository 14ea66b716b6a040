//! Takes the body out of the bytes of a message: by length, by chunks, until the end.
//!
//! Sans-I/O: [`BodyDecoder::decode`] sees what has been read and compacts the payload to its front,
//! over the chunk framing it has understood. The framing is read byte by byte with the state kept
//! here, so no byte is looked at twice and it does not matter where a read ends.

use crate::http::field_class::may_be_trailer;
use crate::http::h1::lines::{self, each_field};
use crate::http::message::{BodyLength, Fields};
use crate::limits::{CHUNK_LINE_BYTES_MAX, HEAD_FIELDS_MAX, TRAILER_BYTES_MAX};

/// Decodes the body of one message.
#[derive(Debug, Default)]
pub struct BodyDecoder {
    state: State,
    /// The trailer section as it comes in, up to its empty line.
    trailer_bytes: Vec<u8>,
    trailers: Fields,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The body is complete (or there is none).
    #[default]
    Done,
    /// So many bytes are still to come.
    Length(u64),
    /// Everything until the stream ends.
    UntilClose,
    /// In the line that gives a chunk's size.
    Size(SizeLine),
    /// In a chunk's data, so many bytes to come.
    Data(u64),
    /// After a chunk's data: CR LF is due, this is the byte expected next.
    DataEnd(u8),
    /// After the last chunk.
    Trailers,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct SizeLine {
    size: u64,
    bytes: usize,
    /// How far the line has been read.
    part: Part,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The first digit is due.
    #[default]
    Start,
    Digits,
    /// White space behind the size: an extension is due.
    Padding,
    Extension,
    /// CR has come, LF is due.
    End,
}

/// What one call of [`BodyDecoder::decode`] did.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct Decoded {
    /// Bytes of payload, now at the front of the input.
    pub data: usize,
    /// Bytes of the input used up, payload and framing.
    pub consumed: usize,
}

/// Why a body cannot be read on, in words for the peer.
pub type Malformed = &'static str;

impl BodyDecoder {
    /// Prepares for the body of the next message. `is_chunked` tells which kind of
    /// `BodyLength::Unknown` it is.
    pub fn begin(&mut self, length: BodyLength, is_chunked: bool) {
        self.trailers.clear();
        self.state = match length {
            BodyLength::Empty | BodyLength::Known(0) => State::Done,
            BodyLength::Known(length) => State::Length(length),
            BodyLength::Unknown if is_chunked => State::Size(SizeLine::default()),
            BodyLength::Unknown => State::UntilClose,
        };
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// How many bytes are still to come, as far as is known.
    pub fn left(&self) -> u64 {
        match self.state {
            State::Done => 0,
            State::Length(left) => left,
            _ => u64::MAX,
        }
    }

    /// Whether the end of the stream is a proper end of this body, which it then is.
    pub fn finish_at_close(&mut self) -> bool {
        let is_end = matches!(self.state, State::UntilClose | State::Done);
        if is_end {
            self.state = State::Done;
        }
        is_end
    }

    /// The trailers, once the body is done; those that RFC 9110 section 6.5.1 forbids are dropped.
    pub fn trailers(&self) -> &Fields {
        &self.trailers
    }

    /// Takes what it can from `input`, moving payload to its front.
    pub fn decode(&mut self, input: &mut [u8]) -> Result<Decoded, Malformed> {
        let mut decoded = Decoded { data: 0, consumed: 0 };
        while decoded.consumed < input.len() && self.state != State::Done {
            self.step(input, &mut decoded)?;
        }
        Ok(decoded)
    }

    fn step(&mut self, input: &mut [u8], decoded: &mut Decoded) -> Result<(), Malformed> {
        let available = input.len() - decoded.consumed;
        match &mut self.state {
            State::Done => {}
            State::UntilClose => decoded.take(input, available),
            State::Length(left) => {
                let count = (*left).min(available as u64);
                *left -= count;
                if *left == 0 {
                    self.state = State::Done;
                }
                decoded.take(input, count as usize);
            }
            State::Data(left) => {
                let count = (*left).min(available as u64);
                *left -= count;
                if *left == 0 {
                    self.state = State::DataEnd(b'\r');
                }
                decoded.take(input, count as usize);
            }
            State::DataEnd(expected) => {
                if input[decoded.consumed] != *expected {
                    return Err("chunk data is not followed by CR LF");
                }
                decoded.consumed += 1;
                self.state = match *expected {
                    b'\r' => State::DataEnd(b'\n'),
                    _ => State::Size(SizeLine::default()),
                };
            }
            State::Size(line) => {
                let byte = input[decoded.consumed];
                decoded.consumed += 1;
                match line.push(byte)? {
                    None => {}
                    Some(0) => self.state = State::Trailers,
                    Some(size) => self.state = State::Data(size),
                }
            }
            State::Trailers => {
                let byte = input[decoded.consumed];
                decoded.consumed += 1;
                self.push_trailer_byte(byte)?;
            }
        }
        Ok(())
    }

    fn push_trailer_byte(&mut self, byte: u8) -> Result<(), Malformed> {
        let bytes = &mut self.trailer_bytes;
        bytes.push(byte);
        if bytes.len() > TRAILER_BYTES_MAX {
            return Err("trailers are too large");
        }
        if byte == b'\n' && !bytes.ends_with(b"\r\n") {
            return Err("trailer line does not end in CR LF");
        }
        if bytes == b"\r\n" || bytes.ends_with(b"\r\n\r\n") {
            let outcome = parse_trailers(bytes, &mut self.trailers);
            bytes.clear();
            outcome?;
            self.state = State::Done;
        }
        Ok(())
    }
}

impl Decoded {
    fn take(&mut self, input: &mut [u8], count: usize) {
        if self.data != self.consumed {
            input.copy_within(self.consumed..self.consumed + count, self.data);
        }
        self.data += count;
        self.consumed += count;
    }
}

impl SizeLine {
    /// Takes one byte; `Some(size)` at the end of the line: `chunk-size [ chunk-ext ] CRLF` of RFC
    /// 9112 section 7.1. White space may stand before an extension's `;` (section 7.1.1 has BWS
    /// there, which RFC 9110 section 5.6.3 demands to be read), and nowhere else around the size.
    /// What a sender hides in the rest of the line goes nowhere: chunks are framed anew.
    fn push(&mut self, byte: u8) -> Result<Option<u64>, Malformed> {
        self.bytes += 1;
        if self.bytes > CHUNK_LINE_BYTES_MAX {
            return Err("chunk size line is too long");
        }
        self.part = match (self.part, byte) {
            (Part::End, b'\n') => return Ok(Some(self.size)),
            (Part::End, _) => return Err("chunk size line does not end in CR LF"),
            (Part::Digits | Part::Extension, b'\r') => Part::End,
            (Part::Start | Part::Digits, b'\r' | b'\n') => {
                return Err("chunk size is missing or its line ends in a bare LF");
            }
            (Part::Digits | Part::Padding, b';') => Part::Extension,
            (Part::Digits | Part::Padding, b' ' | b'\t') => Part::Padding,
            (Part::Padding, _) => return Err("chunk size is followed by white space"),
            (Part::Extension, b'\t' | b' '..=0x7e | 0x80..) => Part::Extension,
            (Part::Extension, _) => return Err("chunk extension has a control byte"),
            (Part::Start | Part::Digits, _) => {
                self.push_digit(byte)?;
                Part::Digits
            }
        };
        Ok(None)
    }

    fn push_digit(&mut self, byte: u8) -> Result<(), Malformed> {
        let digit = (byte as char).to_digit(16).ok_or("chunk size is not a hexadecimal number")?;
        // By its value: zeros in front add nothing, and the line's length bounds them. Far over any
        // body limit, far under the overflow of u64.
        if self.size >= 1 << 56 {
            return Err("chunk size is too large");
        }
        self.size = self.size << 4 | u64::from(digit);
        Ok(())
    }
}

fn parse_trailers(bytes: &[u8], trailers: &mut Fields) -> Result<(), Malformed> {
    let mut left = HEAD_FIELDS_MAX;
    let end = each_field(bytes, 0, |line| {
        left = left.checked_sub(1).ok_or(lines::Malformed::End)?;
        if may_be_trailer(line.name) {
            trailers.push(line.name, line.value);
        }
        Ok::<_, lines::Malformed>(())
    });
    if end == Ok(bytes.len()) {
        return Ok(());
    }
    trailers.clear();
    Err("trailers are malformed")
}

#[cfg(test)]
mod tests;
