//! RESP2, sans-I/O: commands to bytes, bytes to replies.
//!
//! `redis-protocol` decodes; what stands before it here are the bounds that it doesn't have. It is
//! given one whole reply of a known length and never an array: it recurses into those, so that a
//! few kilobytes of `*1\r\n` would take the worker's stack, and no command of ours is answered with
//! one. Whatever breaks these rules is a protocol error, after which the connection is useless: its
//! replies can no longer be told apart.

use std::fmt;

use redis_protocol::resp2::decode::decode_range;
use redis_protocol::resp2::types::RangeFrame;

use crate::limits;

/// Longest `$` and digits: 20 hold every 64-bit number.
const LENGTH_LINE_BYTES_MAX: usize = 24;

/// What a server answers to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A status such as `OK`.
    Status(Vec<u8>),
    /// An error in the server's words, `ERR …`. Bytes that are not UTF-8 are replaced.
    Error(String),
    /// A number.
    Integer(i64),
    /// A value.
    Bulk(Vec<u8>),
    /// No value.
    Nil,
}

/// Why bytes are not replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// The first byte of a reply is none of `+-:$`.
    Kind(u8),
    /// A status, error, number or length is too long.
    Line,
    /// A value is longer than any that the gateway writes.
    Length(u64),
    /// A number or length is none, or a value doesn't end where it should.
    Malformed,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProtocolError::Kind(byte) => {
                let byte = byte.escape_ascii();
                write!(f, "the reply begins with '{byte}', expected one of + - : $; is it redis?")
            }
            ProtocolError::Line => write!(
                f,
                "a line of the reply is longer than {} bytes",
                limits::KV_REDIS_LINE_BYTES_MAX
            ),
            ProtocolError::Length(got) => {
                let limit = limits::KV_VALUE_BYTES_MAX;
                write!(f, "the value in redis is {got} bytes, limit is {limit}")
            }
            ProtocolError::Malformed => write!(f, "the reply is malformed"),
        }
    }
}

impl std::error::Error for ProtocolError {}

/// Collects bytes as they come and gives the replies in them.
#[derive(Debug, Default)]
pub struct Replies {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are given already.
    used: usize,
}

impl Replies {
    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.used == self.buffer.len() {
            self.buffer.clear();
            self.used = 0;
            // one large value must not stay for the connection's life
            self.buffer.shrink_to(limits::BUFFER_BYTES);
        } else if self.used > 0 {
            self.buffer.drain(..self.used);
            self.used = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole reply, `None`: more bytes are needed. After an error it stays at the error.
    pub fn next_reply(&mut self) -> Result<Option<Reply>, ProtocolError> {
        let bytes = &self.buffer[self.used..];
        let Some(length) = reply_length(bytes)? else {
            return Ok(None);
        };
        let reply = decode(&bytes[..length])?;
        self.used += length;
        Ok(Some(reply))
    }

    /// Whether every byte was given as part of a reply.
    pub fn is_empty(&self) -> bool {
        self.used == self.buffer.len()
    }
}

/// Bytes of the first reply, its end checked, `None`: it is not whole.
fn reply_length(bytes: &[u8]) -> Result<Option<usize>, ProtocolError> {
    let line_max = match bytes.first() {
        None => return Ok(None),
        Some(b'+' | b'-') => limits::KV_REDIS_LINE_BYTES_MAX,
        Some(b':' | b'$') => LENGTH_LINE_BYTES_MAX,
        Some(&other) => return Err(ProtocolError::Kind(other)),
    };
    let line = &bytes[..bytes.len().min(line_max)];
    let Some(line_end) = memchr::memmem::find(line, b"\r\n") else {
        let whole = line.len() == line_max;
        return if whole { Err(ProtocolError::Line) } else { Ok(None) };
    };
    if bytes[0] != b'$' || bytes[1..line_end] == *b"-1" {
        return Ok(Some(line_end + 2));
    }
    let digits = std::str::from_utf8(&bytes[1..line_end]).map_err(|_| ProtocolError::Malformed)?;
    let length: u64 = digits.parse().map_err(|_| ProtocolError::Malformed)?;
    if length > limits::KV_VALUE_BYTES_MAX as u64 {
        return Err(ProtocolError::Length(length));
    }
    let value_end = line_end + 2 + length as usize;
    match bytes.get(value_end..value_end + 2) {
        None => Ok(None),
        Some(b"\r\n") => Ok(Some(value_end + 2)),
        Some(_) => Err(ProtocolError::Malformed),
    }
}

fn decode(bytes: &[u8]) -> Result<Reply, ProtocolError> {
    let decoded = decode_range(bytes).map_err(|_| ProtocolError::Malformed)?;
    let (frame, length) = decoded.ok_or(ProtocolError::Malformed)?;
    if length != bytes.len() {
        return Err(ProtocolError::Malformed);
    }
    let part = |(from, to): (usize, usize)| bytes.get(from..to).ok_or(ProtocolError::Malformed);
    Ok(match frame {
        RangeFrame::SimpleString(range) => Reply::Status(part(range)?.to_vec()),
        RangeFrame::Error(range) => {
            Reply::Error(String::from_utf8_lossy(part(range)?).into_owned())
        }
        RangeFrame::Integer(number) => Reply::Integer(number),
        RangeFrame::BulkString(range) => Reply::Bulk(part(range)?.to_vec()),
        RangeFrame::Null => Reply::Nil,
        RangeFrame::Array(_) => return Err(ProtocolError::Kind(b'*')),
    })
}

/// Writes one command: an array of bulk strings. The number of arguments stands in front, so it is
/// said first; [`Command::arg`] is then called that many times.
pub struct Command<'a> {
    out: &'a mut Vec<u8>,
    missing: usize,
}

impl<'a> Command<'a> {
    /// Begins a command of `args` words, its name included.
    pub fn new(out: &'a mut Vec<u8>, args: usize) -> Command<'a> {
        write_number(out, b'*', args);
        Command { out, missing: args }
    }

    /// Adds one word.
    pub fn arg(&mut self, word: &[u8]) -> &mut Self {
        self.joined(word, b"")
    }

    /// Adds one word that is two in a row: a key under its prefix.
    pub fn joined(&mut self, front: &[u8], back: &[u8]) -> &mut Self {
        write_number(self.out, b'$', front.len() + back.len());
        self.out.extend_from_slice(front);
        self.out.extend_from_slice(back);
        self.out.extend_from_slice(b"\r\n");
        self.missing -= 1;
        self
    }

    /// Adds a number in decimal.
    pub fn number(&mut self, number: i64) -> &mut Self {
        self.arg(number.to_string().as_bytes())
    }
}

impl Drop for Command<'_> {
    fn drop(&mut self) {
        debug_assert_eq!(self.missing, 0, "a command has the number of words that it announced");
    }
}

fn write_number(out: &mut Vec<u8>, kind: u8, number: usize) {
    use std::io::Write;
    out.push(kind);
    write!(out, "{number}\r\n").expect("a Vec takes every write");
}

#[cfg(test)]
mod tests;
