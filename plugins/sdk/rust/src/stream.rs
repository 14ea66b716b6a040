//! Bodies that pass a plugin piece by piece (`body: stream`) or event by event (`body: events`).
//!
//! A [`Body`] is the state of one message's body; the gateway's exchanges are interleaved in one
//! instance, so what belongs to one of them stands there and nowhere else.
//!
//! ```
//! use odin_plugin::stream::{Body, Chunk, Passed};
//! use odin_plugin::{Context, Error, NoConfig, Plugin, Response};
//!
//! struct Upper;
//!
//! impl Plugin for Upper {
//!     type Config = NoConfig;
//!     fn new(_: NoConfig) -> Result<Self, Error> {
//!         Ok(Self)
//!     }
//! }
//!
//! struct UpperBody;
//!
//! impl Body for UpperBody {
//!     type Plugin = Upper;
//!
//!     fn of_response(_: &mut Upper, _: &Context, _: &Response) -> Result<Option<Self>, Error> {
//!         Ok(Some(Self))
//!     }
//!
//!     fn chunk(&mut self, _: &mut Upper, chunk: Chunk) -> Result<Passed, Error> {
//!         Ok(Passed::replace(chunk.bytes().to_ascii_uppercase()))
//!     }
//! }
//!
//! odin_plugin::export!(Upper, response_body UpperBody);
//! ```

use std::borrow::Cow;
use std::collections::HashMap;

use crate::input::Envelope;
use crate::{Context, Error, Outcome, Plugin, Request, Response};

#[doc(hidden)]
pub type Chunks<B> = fn(&mut B, &mut <B as Body>::Plugin, Chunk) -> Result<Passed, Error>;

/// The state of one message's body while it passes.
pub trait Body: Sized + 'static {
    /// The plugin that it belongs to.
    type Plugin: Plugin;

    /// The body of a request begins to come; `None` lets it pass as it is.
    ///
    /// # Errors
    /// Whatever keeps the plugin from its work: its `failureMode` decides then.
    fn of_request(
        plugin: &mut Self::Plugin,
        context: &Context,
        request: &Request,
    ) -> Result<Option<Self>, Error> {
        let _ = (plugin, context, request);
        Ok(None)
    }

    /// The body of a response begins to come; `None` lets it pass as it is.
    ///
    /// # Errors
    /// Whatever keeps the plugin from its work: its `failureMode` decides then.
    fn of_response(
        plugin: &mut Self::Plugin,
        context: &Context,
        response: &Response,
    ) -> Result<Option<Self>, Error> {
        let _ = (plugin, context, response);
        Ok(None)
    }

    /// A piece of the body, or an event of it.
    ///
    /// # Errors
    /// Whatever keeps the plugin from its work: its `failureMode` decides then.
    fn chunk(&mut self, plugin: &mut Self::Plugin, chunk: Chunk) -> Result<Passed, Error>;

    /// The exchange is over, whether the body has passed whole or not.
    fn close(self, plugin: &mut Self::Plugin) {
        let _ = plugin;
    }
}

/// A piece of a body.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    bytes: &'a [u8],
    flags: u32,
}

/// Nothing comes behind the bytes of this call.
const FLAG_END: u32 = 1;
/// The bytes of this call are one whole event.
const FLAG_EVENT: u32 = 2;

impl<'a> Chunk<'a> {
    /// A piece, as the gateway gives it: `flags` 1 for the last one, 2 for a whole event.
    pub fn new(bytes: &'a [u8], flags: u32) -> Self {
        Self { bytes, flags }
    }

    /// The bytes; of the last piece there may be none.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether nothing comes behind it.
    pub fn is_end(&self) -> bool {
        self.flags & FLAG_END != 0
    }

    /// The event that it is; `None` if it is none, or a part of one.
    pub fn event(&self) -> Option<Event<'a>> {
        (self.flags & FLAG_EVENT != 0).then(|| Event::parse(self.bytes))
    }
}

/// A server-sent event (WHATWG HTML, section 9.2.6).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event<'a> {
    /// `event`: its type; empty if it says none.
    pub name: Cow<'a, str>,
    /// `data`: its lines, with a line feed between each two. Empty for what is only a comment.
    pub data: Cow<'a, str>,
    /// `id`.
    pub id: Option<Cow<'a, str>>,
}

impl<'a> Event<'a> {
    /// The fields of an event in its form on the wire.
    pub fn parse(bytes: &'a [u8]) -> Self {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut event = Self::default();
        let mut has_data = false;
        for line in bytes.split(|&byte| byte == b'\n' || byte == b'\r') {
            let (name, value) = match line.iter().position(|&byte| byte == b':') {
                Some(at) => (&line[..at], &line[at + 1..]),
                None => (line, &b""[..]),
            };
            let value = value.strip_prefix(b" ").unwrap_or(value);
            let text = String::from_utf8_lossy(value);
            match name {
                b"event" => event.name = text,
                b"id" => event.id = Some(text),
                b"data" if has_data => event.data = format!("{}\n{text}", event.data).into(),
                b"data" => {
                    event.data = text;
                    has_data = true;
                }
                _ => {}
            }
        }
        event
    }
}

/// What becomes of a piece.
#[derive(Debug)]
pub struct Passed(Kind);

#[derive(Debug)]
enum Kind {
    Pass,
    Replace(Vec<u8>),
    Hold,
    End(Vec<u8>),
    Cut(String),
    Answer(Box<Outcome>),
}

impl Passed {
    /// It goes on as it is: the cheapest.
    pub fn pass() -> Self {
        Self(Kind::Pass)
    }

    /// These bytes go on in its place; none: nothing does. What the plugin has kept of it is its
    /// own to pass later.
    pub fn replace(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Kind::Replace(bytes.into()))
    }

    /// The gateway keeps it, and gives it again in front of the next one, within
    /// `server.limits.pluginBodyBytesMax`. Not of the last one.
    pub fn hold() -> Self {
        Self(Kind::Hold)
    }

    /// These bytes go on in its place, and are the end of the body: the other side sees a whole
    /// message, what the origin still sends is not read.
    pub fn end(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Kind::End(bytes.into()))
    }

    /// The message is cut off, so that the other side sees that it is not whole; the reason goes
    /// to the log.
    pub fn cut(reason: impl Into<String>) -> Self {
        Self(Kind::Cut(reason.into()))
    }

    /// The exchange is answered so, as a refusal is; if some of a response is out already, it
    /// is cut off.
    pub fn answer(outcome: Outcome) -> Self {
        Self(Kind::Answer(Box::new(outcome)))
    }

    /// The number of the action, and its output.
    fn write(self, output: &mut Vec<u8>) -> u64 {
        output.clear();
        let (action, bytes) = match self.0 {
            Kind::Pass => return 0,
            Kind::Hold => return 2,
            Kind::Replace(bytes) => (1, bytes),
            Kind::End(bytes) => (3, bytes),
            Kind::Cut(reason) => (4, reason.into_bytes()),
            Kind::Answer(outcome) => {
                let written = outcome.output(output).to_vec();
                (5, written)
            }
        };
        *output = bytes;
        action
    }
}

/// The bodies that pass one instance.
pub struct Bodies<B> {
    open: HashMap<(u32, bool), B>,
    failures: HashMap<(u32, bool), Error>,
    output: Vec<u8>,
}

impl<B> Default for Bodies<B> {
    fn default() -> Self {
        Self { open: HashMap::new(), failures: HashMap::new(), output: Vec::new() }
    }
}

impl<B: Body> Bodies<B> {
    /// A message's body begins to come.
    pub(crate) fn open(&mut self, plugin: Result<&mut B::Plugin, Error>, id: u32, input: &[u8]) {
        let is_response = Envelope::read(input).is_ok_and(|envelope| envelope.is_response());
        let opened = plugin.and_then(|plugin| Envelope::read(input)?.open::<B>(plugin));
        match opened {
            Ok(Some(body)) => {
                self.open.insert((id, is_response), body);
            }
            Ok(None) => {}
            Err(error) => {
                self.failures.insert((id, is_response), error);
            }
        }
    }

    /// A piece comes: the action's number, and its output.
    pub(crate) fn chunk(
        &mut self,
        plugin: Option<&mut B::Plugin>,
        (id, is_response): (u32, bool),
        chunk: Chunk,
    ) -> (u64, &[u8]) {
        let passed = match (self.failures.remove(&(id, is_response)), plugin) {
            (Some(error), _) => Err(error),
            (None, Some(plugin)) => match self.open.get_mut(&(id, is_response)) {
                Some(body) => body.chunk(plugin, chunk),
                None => Ok(Passed::pass()),
            },
            (None, None) => Ok(Passed::pass()),
        };
        let action = match passed {
            Ok(passed) => passed.write(&mut self.output),
            Err(error) => {
                self.output = error.text().as_bytes().to_vec();
                6
            }
        };
        (action, &self.output)
    }

    /// An exchange is over.
    pub(crate) fn close(&mut self, mut plugin: Option<&mut B::Plugin>, id: u32) {
        for is_response in [false, true] {
            self.failures.remove(&(id, is_response));
            if let (Some(body), Some(plugin)) =
                (self.open.remove(&(id, is_response)), plugin.as_deref_mut())
            {
                body.close(plugin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Event;

    #[test]
    fn an_event_is_read_whatever_its_lines_end_with() {
        for text in [
            "event: a\ndata: 1\ndata:2\n: no\nid\n\n",
            "event: a\r\ndata: 1\r\ndata:2\r\nid:\r\n\r\n",
            "\nevent: a\rdata: 1\rdata:2\rid\r\r",
            "\u{feff}event: a\ndata: 1\ndata:2\nid\n\n",
        ] {
            let event = Event::parse(text.as_bytes());
            assert_eq!((&*event.name, &*event.data, event.id.as_deref()), ("a", "1\n2", Some("")));
        }
        assert_eq!(Event::parse(b": ping\n\n"), Event::default());
    }
}
