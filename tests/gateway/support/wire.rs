//! A small strict HTTP/1 reader for the tests' two ends: the client and the scripted origin.
//!
//! Stricter than any real peer on purpose: what the gateway writes must be CRLF-terminated,
//! unfolded and framed in exactly one way, or the test that reads it fails.

use std::io::{ErrorKind, Read};

/// Why a message could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireError {
    /// The peer closed before the first byte of a message.
    Closed,
    /// The peer closed in the middle of a message.
    Truncated,
    /// Nothing came for the bound of the socket.
    TimedOut,
    /// The peer sent something that the strict reader refuses.
    Malformed(String),
}

/// How a body was delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
    Eof,
}

/// A head as it stood on the wire.
#[derive(Debug, Clone)]
pub struct Head {
    pub raw: Vec<u8>,
    pub start: String,
    pub fields: Vec<(String, Vec<u8>)>,
}

impl Head {
    /// All values of a field, as text.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.fields
            .iter()
            .filter(|(have, _)| have.eq_ignore_ascii_case(name))
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    /// The one value of a field; fails if it is there twice.
    pub fn get(&self, name: &str) -> Option<String> {
        let mut values = self.all(name);
        assert!(values.len() < 2, "{name} stands {} times: {self}", values.len());
        values.pop()
    }

    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    fn parse(raw: Vec<u8>) -> Result<Self, WireError> {
        let bad = |what: &str| {
            let shown = String::from_utf8_lossy(&raw).into_owned();
            Err(WireError::Malformed(format!("{what}: {shown:?}")))
        };
        let text = &raw[..raw.len() - 4];
        let mut lines = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.windows(2).position(|pair| pair == b"\r\n") {
            lines.push(&rest[..at]);
            rest = &rest[at + 2..];
        }
        lines.push(rest);
        if lines.iter().any(|line| line.iter().any(|byte| b"\r\n\0".contains(byte))) {
            return bad("bare CR, bare LF or NUL in a head");
        }
        let Ok(start) = std::str::from_utf8(lines[0]) else {
            return bad("start line is not UTF-8");
        };
        let mut fields = Vec::new();
        for line in &lines[1..] {
            let Some(colon) = line.iter().position(|&byte| byte == b':') else {
                return bad("field without a colon");
            };
            let name = &line[..colon];
            if name.is_empty() || name.iter().any(|byte| !byte.is_ascii_graphic()) {
                return bad("field name is not a token");
            }
            let value = line[colon + 1..].trim_ascii().to_vec();
            fields.push((String::from_utf8_lossy(name).into_owned(), value));
        }
        Ok(Self { start: start.to_owned(), fields, raw })
    }

    /// The framing that this head announces, apart from rules about methods and statuses.
    fn framing(&self) -> Result<Option<Framing>, WireError> {
        let codings = self.all("transfer-encoding");
        let lengths = self.all("content-length");
        match (codings.as_slice(), lengths.as_slice()) {
            ([], []) => Ok(None),
            ([], [one]) if one.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Some(Framing::Length(one.parse().unwrap())))
            }
            ([one], []) if one == "chunked" => Ok(Some(Framing::Chunked)),
            _ => Err(WireError::Malformed(format!(
                "ambiguous framing: Transfer-Encoding {codings:?}, Content-Length {lengths:?}"
            ))),
        }
    }

    /// How the body of this request is delimited.
    pub fn request_framing(&self) -> Result<Framing, WireError> {
        Ok(self.framing()?.unwrap_or(Framing::None))
    }

    /// The status code of a response's head.
    pub fn status(&self) -> Result<u16, WireError> {
        let parts: Vec<&str> = self.start.splitn(3, ' ').collect();
        match parts.as_slice() {
            ["HTTP/1.1" | "HTTP/1.0", code, _reason] if code.len() == 3 => code
                .parse()
                .map_err(|_| WireError::Malformed(format!("status line {:?}", self.start))),
            _ => Err(WireError::Malformed(format!("status line {:?}", self.start))),
        }
    }

    /// How the body of this response to a `method` request is delimited.
    pub fn response_framing(&self, method: &str) -> Result<Framing, WireError> {
        let status = self.status()?;
        let announced = self.framing()?;
        if method == "HEAD" || status == 204 || status == 304 || status < 200 {
            return Ok(Framing::None);
        }
        Ok(announced.unwrap_or(Framing::Eof))
    }
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(&self.raw).escape_debug())
    }
}

/// A byte stream with what was read too far.
pub struct Wire<S> {
    pub stream: S,
    buffer: Vec<u8>,
}

impl<S: Read> Wire<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Reads once; `false` at the end of the stream. A reset counts as an end.
    fn fill(&mut self) -> Result<bool, WireError> {
        let mut piece = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return Ok(false),
                Ok(size) => {
                    self.buffer.extend_from_slice(&piece[..size]);
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Err(WireError::TimedOut);
                }
                Err(_) => return Ok(false),
            }
        }
    }

    /// Reads one head.
    pub fn head(&mut self) -> Result<Head, WireError> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                return Head::parse(self.buffer.drain(..end + 4).collect());
            }
            if !self.fill()? {
                return Err(match self.buffer.is_empty() {
                    true => WireError::Closed,
                    false => WireError::Truncated,
                });
            }
        }
    }

    /// Reads one body and gives its pieces to `sink`; returns the trailers.
    pub fn body(
        &mut self,
        framing: Framing,
        mut sink: impl FnMut(&[u8]),
    ) -> Result<Vec<(String, Vec<u8>)>, WireError> {
        match framing {
            Framing::None => Ok(Vec::new()),
            Framing::Length(length) => {
                self.exactly(length, &mut sink)?;
                Ok(Vec::new())
            }
            Framing::Eof => loop {
                sink(&self.buffer);
                self.buffer.clear();
                if !self.fill()? {
                    return Ok(Vec::new());
                }
            },
            Framing::Chunked => self.chunked(&mut sink),
        }
    }

    fn chunked(
        &mut self,
        sink: &mut impl FnMut(&[u8]),
    ) -> Result<Vec<(String, Vec<u8>)>, WireError> {
        loop {
            let line = self.line()?;
            let size = u64::from_str_radix(&line, 16)
                .map_err(|_| WireError::Malformed(format!("chunk size {line:?}")))?;
            if size == 0 {
                break;
            }
            self.exactly(size, sink)?;
            let end = self.line()?;
            if !end.is_empty() {
                return Err(WireError::Malformed(format!("{end:?} after a chunk")));
            }
        }
        let mut trailers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(trailers);
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| WireError::Malformed(format!("trailer {line:?}")))?;
            trailers.push((name.to_owned(), value.trim().as_bytes().to_vec()));
        }
    }

    fn line(&mut self) -> Result<String, WireError> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return String::from_utf8(line[..end].to_vec())
                    .map_err(|_| WireError::Malformed("a line is not UTF-8".into()));
            }
            if !self.fill()? {
                return Err(WireError::Truncated);
            }
        }
    }

    fn exactly(&mut self, mut left: u64, sink: &mut impl FnMut(&[u8])) -> Result<(), WireError> {
        while left > 0 {
            if self.buffer.is_empty() && !self.fill()? {
                return Err(WireError::Truncated);
            }
            let size = usize::try_from(left.min(self.buffer.len() as u64)).unwrap();
            sink(&self.buffer[..size]);
            self.buffer.drain(..size);
            left -= size as u64;
        }
        Ok(())
    }

    /// Reads at least one byte more and returns everything that is there.
    pub fn some(&mut self) -> Result<Vec<u8>, WireError> {
        if self.buffer.is_empty() && !self.fill()? {
            return Err(WireError::Closed);
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Reads exactly so many bytes.
    pub fn take(&mut self, count: usize) -> Result<Vec<u8>, WireError> {
        while self.buffer.len() < count {
            if !self.fill()? {
                return Err(WireError::Truncated);
            }
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Reads everything up to the end of the stream.
    pub fn rest(&mut self) -> Result<Vec<u8>, WireError> {
        while self.fill()? {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Reads everything up to the end of the stream, and says how it has ended.
    pub fn ending(&mut self) -> (Vec<u8>, std::io::Result<()>) {
        let ended = self.stream.read_to_end(&mut self.buffer);
        (std::mem::take(&mut self.buffer), ended.map(drop))
    }
}
