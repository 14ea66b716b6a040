//! Large texts of guests, read in pieces: the worker serves others between two of them.
//!
//! What may be large in them is a body. It is taken out of the text, and so is what nobody asks
//! for; what remains is short, or refused, and is read like any other text. Here only strings and
//! brackets are looked at: whether the rest is JSON, its parser says.

use std::borrow::Cow;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::super::chain::MessageBounds;
use super::explain::unit;
use crate::limits;

/// A text without its bodies.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Parts {
    /// The text, each body in it empty.
    pub(in super::super) rest: String,
    /// The body of the request, or of the text if it is a message itself.
    pub(in super::super) request: Option<String>,
    /// The body of the response.
    pub(in super::super) response: Option<String>,
}

/// Takes an output apart. `pause` is waited for between two pieces.
///
/// # Errors
/// What is wrong with it, to be read behind its name.
pub(super) async fn take_apart(
    text: &str,
    bounds: &MessageBounds,
    pause: impl AsyncFn(),
) -> Result<Parts, String> {
    let mut reader = Reader::new(text, bounds, pause);
    reader.output().await?;
    Ok(reader.parts)
}

/// Takes the body out of a text that is a message itself, all in one piece.
///
/// # Errors
/// What is wrong with it, to be read behind its name.
pub(in super::super) fn take_body(text: &str, bounds: &MessageBounds) -> Result<Parts, String> {
    let mut reader = Reader::new(text, bounds, async || {});
    at_once(reader.message()).expect("its pauses are none")?;
    Ok(reader.parts)
}

/// Runs what never waits.
pub(super) fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Where in the text the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Output,
    Request,
    Response,
}

/// What becomes of a member.
enum Use {
    /// Read from the rest.
    Kept,
    /// Taken out as a body, if it is a string.
    Body,
    /// Looked into.
    Message(Part),
    /// Nobody asks for it.
    None,
}

impl Part {
    fn use_of(self, key: &str) -> Use {
        match (self, key) {
            (Self::Output, "request") => Use::Message(Self::Request),
            (Self::Output, "response") => Use::Message(Self::Response),
            (
                Self::Output,
                "continue" | "continue_" | "modified" | "error" | "metadata" | "upstream",
            ) => Use::Kept,
            (Self::Request | Self::Response, "body") => Use::Body,
            (
                Self::Request | Self::Response,
                "statusCode" | "method" | "url" | "headers" | "bodyEncoding" | "timeoutMs",
            ) => Use::Kept,
            _ => Use::None,
        }
    }
}

struct Reader<'t, P> {
    text: &'t str,
    at: usize,
    /// Up to where the text has gone to the rest.
    taken: usize,
    /// Where the last pause was.
    paused: usize,
    pause: P,
    rest_max: usize,
    body_max: usize,
    parts: Parts,
}

type Step = Result<(), String>;

impl<'t, P: AsyncFn()> Reader<'t, P> {
    fn new(text: &'t str, bounds: &MessageBounds, pause: P) -> Self {
        Self {
            text,
            at: 0,
            taken: 0,
            paused: 0,
            pause,
            // Names and values with most of their bytes escaped, and all the brackets around them.
            rest_max: limits::PLUGIN_OUTPUT_WHOLE_BYTES + 4 * bounds.head_bytes_max,
            // In base64.
            body_max: bounds.body_bytes_max / 3 * 4 + 4,
            parts: Parts::default(),
        }
    }

    async fn output(&mut self) -> Step {
        self.members(Part::Output).await?;
        self.keep_until(self.text.len())
    }

    async fn message(&mut self) -> Step {
        self.members(Part::Request).await?;
        self.keep_until(self.text.len())
    }

    /// The members of an object, from its bracket to behind the one that ends it.
    async fn members(&mut self, part: Part) -> Step {
        self.space();
        self.at += 1; // its bracket
        loop {
            self.space();
            match self.peek()? {
                b'}' => {
                    self.at += 1;
                    break;
                }
                b',' => self.at += 1,
                b'"' => self.member(part).await?,
                other => return Err(unexpected(other, self.at)),
            }
        }
        if part == Part::Output { Ok(()) } else { self.keep_until(self.at) }
    }

    async fn member(&mut self, part: Part) -> Step {
        let start = self.at;
        self.string().await?;
        let text = self.text;
        let key = key_of(&text[start..self.at]);
        self.space();
        match self.peek()? {
            b':' => self.at += 1,
            other => return Err(unexpected(other, self.at)),
        }
        self.space();
        match (part.use_of(&key), self.peek()?) {
            // The bracket of a message is kept with what stands in it.
            (Use::Message(part), b'{') => Box::pin(self.members(part)).await,
            (Use::Body, b'"') => {
                self.keep_until(self.at)?;
                let body = self.body().await?;
                self.replace_by("\"\"");
                match part {
                    Part::Response => self.parts.response = Some(body),
                    Part::Request | Part::Output => self.parts.request = Some(body),
                }
                Ok(())
            }
            (Use::None, _) => {
                self.keep_until(self.at)?;
                self.value().await?;
                self.replace_by("null");
                Ok(())
            }
            (Use::Kept | Use::Message(_) | Use::Body, _) => {
                self.value().await?;
                self.keep_until(self.at)
            }
        }
    }

    /// Any value; of lists and objects, their end.
    async fn value(&mut self) -> Step {
        let mut depth = 0_usize;
        loop {
            self.space();
            match self.peek()? {
                b'"' => self.string().await?,
                b'[' | b'{' => {
                    depth += 1;
                    self.at += 1;
                    if depth > limits::PLUGIN_JSON_DEPTH_MAX {
                        let most = limits::PLUGIN_JSON_DEPTH_MAX;
                        return Err(format!("is nested deeper than {most}"));
                    }
                }
                b']' | b'}' if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => self.at += 1,
                other @ (b']' | b'}' | b',' | b':') => return Err(unexpected(other, self.at)),
                _ => self.word(),
            }
            self.breathe().await;
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// A number, or a word such as `null`.
    fn word(&mut self) {
        let rest = self.piece();
        let ends = |byte: &u8| byte.is_ascii_whitespace() || b"[]{},:\"".contains(byte);
        self.at += rest.iter().position(ends).unwrap_or(rest.len());
    }

    /// A string, to behind its quote.
    async fn string(&mut self) -> Step {
        self.at += 1;
        loop {
            self.run();
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => self.at += 2,
                byte if byte < b' ' => return Err(unexpected(byte, self.at)),
                _ => {} // a piece has ended
            }
            self.breathe().await;
        }
    }

    /// What a string stands for.
    async fn body(&mut self) -> Result<String, String> {
        let text = self.text;
        let mut body = String::new();
        self.at += 1;
        loop {
            let start = self.at;
            self.run();
            body.push_str(&text[start..self.at]);
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok(body);
                }
                b'\\' => body.push(self.escaped()?),
                byte if byte < b' ' => return Err(unexpected(byte, self.at)),
                _ => {} // a piece has ended
            }
            if body.len() > self.body_max {
                return Err(format!("has a body over {} bytes, the limit", self.body_max));
            }
            self.breathe().await;
        }
    }

    /// The character that an escape stands for.
    fn escaped(&mut self) -> Result<char, String> {
        let bytes = &self.text.as_bytes()[self.at..];
        let simple = match bytes.get(1) {
            Some(&byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            _ => return self.escaped_unit(),
        };
        self.at += 2;
        Ok(simple)
    }

    fn escaped_unit(&mut self) -> Result<char, String> {
        let bytes = &self.text.as_bytes()[self.at..];
        let place = self.at;
        let first =
            unit(bytes).ok_or_else(|| format!("is not JSON: invalid escape at byte {place}"))?;
        let (number, length) = match (first, bytes.get(6..).and_then(unit)) {
            (0xd800..0xdc00, Some(second @ 0xdc00..0xe000)) => {
                (0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00), 12)
            }
            _ => (first, 6),
        };
        self.at += length;
        // Half of a pair is no character.
        char::from_u32(number)
            .ok_or_else(|| format!("has a body with half of a surrogate pair, at byte {place}"))
    }

    /// Goes on to the next byte of a string that has a meaning, at most to the end of a piece.
    fn run(&mut self) {
        self.at += plain_length(self.piece());
        // No character is cut.
        while !self.text.is_char_boundary(self.at) {
            self.at -= 1;
        }
    }

    /// What is looked at before a pause.
    fn piece(&self) -> &'t [u8] {
        let bytes = self.text.as_bytes();
        let end = bytes.len().min(self.at + limits::PLUGIN_OUTPUT_PIECE_BYTES);
        bytes.get(self.at..end).unwrap_or_default()
    }

    fn space(&mut self) {
        let rest = self.piece();
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.at += rest.iter().position(|byte| !is_space(byte)).unwrap_or(rest.len());
    }

    fn peek(&self) -> Result<u8, String> {
        let byte = self.text.as_bytes().get(self.at).copied();
        byte.ok_or_else(|| {
            format!("is not JSON: it ends too soon, after {} bytes", self.text.len())
        })
    }

    /// Adds what has been passed to the rest.
    fn keep_until(&mut self, end: usize) -> Step {
        let more = self.text.get(self.taken..end).unwrap_or_default();
        let (got, most) = (self.parts.rest.len() + more.len(), self.rest_max);
        if got > most {
            return Err(format!("is over {most} bytes without its body, the limit"));
        }
        self.parts.rest.push_str(more);
        self.taken = end;
        Ok(())
    }

    /// Puts `text` in the place of what has been passed.
    fn replace_by(&mut self, text: &str) {
        self.parts.rest.push_str(text);
        self.taken = self.at;
    }

    async fn breathe(&mut self) {
        if self.at - self.paused >= limits::PLUGIN_OUTPUT_PIECE_BYTES {
            self.paused = self.at;
            (self.pause)().await;
        }
    }
}

fn unexpected(byte: u8, at: usize) -> String {
    let shown = char::from(byte);
    format!("is not JSON: {shown:?} stands at byte {at}, where it can't")
}

/// A key without its quotes; what cannot be one of ours stays as it is.
fn key_of(quoted: &str) -> Cow<'_, str> {
    const LONGEST: usize = 100;
    let plain = &quoted[1..quoted.len() - 1];
    let unescaped = || serde_json::from_str::<String>(quoted).ok();
    match plain.len() <= LONGEST && plain.contains('\\') {
        true => unescaped().map_or(Cow::Borrowed(plain), Cow::Owned),
        false => Cow::Borrowed(plain),
    }
}

/// How many bytes of a string mean themselves. Most strings are long or have an escape every few
/// bytes: a few bytes by themselves, then many at once.
fn plain_length(bytes: &[u8]) -> usize {
    const FEW: usize = 16;
    const MANY: usize = 32;
    let has_meaning = |byte: u8| byte == b'"' || byte == b'\\' || byte < b' ';
    let few = &bytes[..bytes.len().min(FEW)];
    if let Some(at) = few.iter().position(|&byte| has_meaning(byte)) {
        return at;
    }
    let mut at = few.len();
    for many in bytes[at..].chunks_exact(MANY) {
        if many.iter().fold(false, |any, &byte| any | has_meaning(byte)) {
            break;
        }
        at += MANY;
    }
    let rest = &bytes[at..];
    at + rest.iter().position(|&byte| has_meaning(byte)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests;
