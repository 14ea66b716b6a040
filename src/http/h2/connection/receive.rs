//! What a connection receives.

use super::abuse::Kind;
use super::stream::{Ended, Stream};
use super::{Connection, Event, Failure, Owner, Role};
use crate::http::h2::frame::{
    self, Code, HEAD_BYTES, Head, PAYLOAD_BYTES_MAX, PREFACE, WINDOW_MAX, flag, kind,
};
use crate::http::h2::hpack::{BLOWN_UP, Broken};

pub(super) const fn failure<R>(code: Code, reason: &'static str) -> Result<R, Failure> {
    Err(Failure { code, reason })
}

pub(super) const fn protocol<R>(reason: &'static str) -> Result<R, Failure> {
    failure(Code::Protocol, reason)
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        let code = if broken == BLOWN_UP { Code::EnhanceYourCalm } else { Code::Compression };
        Self { code, reason: broken.0 }
    }
}

impl<T: Owner> Connection<T> {
    /// Reads what `bytes` begin with: how many of them that was, and what it means. `None`: more
    /// must come first.
    pub fn receive<'a>(
        &mut self,
        bytes: &'a [u8],
        now_ms: u64,
    ) -> Result<Option<(usize, Event<'a>)>, Failure> {
        if self.preface_left > 0 {
            return self.preface(bytes);
        }
        let Some(head) = Head::read(bytes) else { return Ok(None) };
        let outcome = if head.length > PAYLOAD_BYTES_MAX {
            failure(Code::FrameSize, "a frame is over SETTINGS_MAX_FRAME_SIZE")
        } else {
            let end = HEAD_BYTES + head.length;
            let Some(payload) = bytes.get(HEAD_BYTES..end) else { return Ok(None) };
            self.frame(head, payload, now_ms).map(|event| Some((end, event)))
        };
        if let Err(failure) = outcome {
            self.fail(failure);
        }
        outcome
    }

    fn preface<'a>(&mut self, bytes: &[u8]) -> Result<Option<(usize, Event<'a>)>, Failure> {
        let missing = PREFACE.get(PREFACE.len() - self.preface_left..).unwrap_or_default();
        let count = bytes.len().min(missing.len());
        if count == 0 {
            return Ok(None);
        }
        if bytes.get(..count) != missing.get(..count) {
            let failure = Failure { code: Code::Protocol, reason: "no preface of HTTP/2" };
            self.fail(failure);
            return Err(failure);
        }
        self.preface_left -= count;
        Ok(Some((count, Event::Nothing)))
    }

    fn frame<'a>(
        &mut self,
        head: Head,
        payload: &'a [u8],
        now_ms: u64,
    ) -> Result<Event<'a>, Failure> {
        if !self.has_settings && head.kind != kind::SETTINGS {
            return protocol("no SETTINGS at the beginning");
        }
        if self.block.is_some() && head.kind != kind::CONTINUATION {
            return protocol("another frame stands within a field block");
        }
        match head.kind {
            kind::DATA => self.data(head, payload, now_ms),
            kind::HEADERS => self.headers(head, payload, now_ms),
            kind::PRIORITY => self.priority(head, payload, now_ms),
            kind::RST_STREAM => self.rst_stream(head, payload, now_ms),
            kind::SETTINGS => {
                self.pay(Kind::Reply, now_ms)?;
                self.settings(head, payload)
            }
            kind::PUSH_PROMISE => protocol("PUSH_PROMISE, which nobody may send"),
            kind::PING => self.ping(head, payload, now_ms),
            kind::GOAWAY => {
                self.pay(Kind::Empty, now_ms)?;
                self.goaway(head, payload)
            }
            kind::WINDOW_UPDATE => self.window_update(head, payload, now_ms),
            kind::CONTINUATION => self.continuation(head, payload, now_ms),
            _ => self.pay(Kind::Empty, now_ms).map(|()| Event::Nothing),
        }
    }

    /// The peer asks for something that costs it less than us.
    pub(super) fn pay(&mut self, kind: Kind, now_ms: u64) -> Result<(), Failure> {
        if self.abuse.take(kind, now_ms) {
            return Ok(());
        }
        let reason = match kind {
            Kind::Reset => "too many streams are reset",
            Kind::Reply => "too many PING or SETTINGS",
            Kind::Empty => "too many frames that carry nothing",
        };
        failure(Code::EnhanceYourCalm, reason)
    }

    /// Whether a stream has never been opened.
    pub(super) fn is_idle(&self, id: u32) -> bool {
        let is_own = (id % 2 == 1) == (self.role == Role::Client);
        if is_own { id >= self.next_own } else { id > self.last_of_peer }
    }

    /// Resets a stream for what its peer did.
    pub(super) fn stream_error<'a>(
        &mut self,
        id: u32,
        code: Code,
        now_ms: u64,
    ) -> Result<Event<'a>, Failure> {
        self.pay(Kind::Reset, now_ms)?;
        frame::write_reset(id, code, &mut self.out);
        if self.streams.get(id).is_none() {
            self.streams.note_ended(id, Ended::ByUs);
            return Ok(Event::Nothing);
        }
        self.end(id, code, Ended::ByUs);
        Ok(Event::Reset { id, code })
    }

    /// A stream is over before its time.
    fn end(&mut self, id: u32, code: Code, ended: Ended) {
        self.streams.note_ended(id, ended);
        self.streams.change(id, |stream| {
            (stream.is_remote_open, stream.is_local_open) = (false, false);
            stream.reset = Some(code);
            stream.queued = 0;
            if let Some(owner) = &stream.owner {
                owner.progressed();
            }
        });
    }

    fn data<'a>(
        &mut self,
        head: Head,
        payload: &'a [u8],
        now_ms: u64,
    ) -> Result<Event<'a>, Failure> {
        let id = head.stream;
        if id == 0 {
            return protocol("DATA of no stream");
        }
        let bytes = unpadded(head, payload)?;
        let ends = head.has(flag::END_STREAM);
        let length = payload.len() as u32;
        self.receive_window -= i64::from(length);
        if self.receive_window < 0 {
            return failure(Code::FlowControl, "DATA over the connection's window");
        }
        match bytes.is_empty() && !ends {
            true => self.pay(Kind::Empty, now_ms)?,
            false => self.abuse.carried(),
        }
        let (role, is_idle) = (self.role, self.is_idle(id));
        let fault = match self.streams.get_mut(id).filter(|stream| stream.reset.is_none()) {
            Some(stream) if stream.is_remote_open => {
                stream.receive_window -= i64::from(length);
                stream.unused += length;
                data_fault(role, stream, bytes.len(), ends)
            }
            Some(stream) => {
                stream.unused += length;
                Some(Code::StreamClosed)
            }
            None if is_idle => return protocol("DATA of a stream that is not open"),
            None => {
                self.credit_connection(length);
                return match self.streams.ended(id) {
                    Some(Ended::ByUs) => Ok(Event::Nothing),
                    _ => self.stream_error(id, Code::StreamClosed, now_ms),
                };
            }
        };
        if let Some(code) = fault {
            self.used(id, payload.len());
            return self.stream_error(id, code, now_ms);
        }
        self.streams.change(id, |stream| stream.is_remote_open &= !ends);
        // What padding takes is used at once.
        self.used(id, payload.len() - bytes.len());
        Ok(Event::Data { id, bytes, ends })
    }

    fn priority<'a>(
        &mut self,
        head: Head,
        payload: &[u8],
        now_ms: u64,
    ) -> Result<Event<'a>, Failure> {
        if head.stream == 0 {
            return protocol("PRIORITY of no stream");
        }
        self.pay(Kind::Empty, now_ms)?;
        let code = match *payload {
            [a, b, c, d, _] => {
                let depends_on = u32::from_be_bytes([a, b, c, d]) & frame::STREAM_MAX;
                (depends_on == head.stream).then_some(Code::Protocol)
            }
            _ => Some(Code::FrameSize),
        };
        match code {
            // One that is not open cannot be reset (section 5.1): there the connection ends.
            Some(code) if self.is_idle(head.stream) => failure(code, "PRIORITY is malformed"),
            Some(code) => self.stream_error(head.stream, code, now_ms),
            None => Ok(Event::Nothing),
        }
    }

    fn rst_stream<'a>(
        &mut self,
        head: Head,
        payload: &[u8],
        now_ms: u64,
    ) -> Result<Event<'a>, Failure> {
        let id = head.stream;
        let Ok(code) = <[u8; 4]>::try_from(payload) else {
            return failure(Code::FrameSize, "RST_STREAM of a broken length");
        };
        if id == 0 || self.is_idle(id) {
            return protocol("RST_STREAM of a stream that is not open");
        }
        let code = Code::of(u32::from_be_bytes(code));
        match self.streams.get(id) {
            Some(stream) if stream.reset.is_none() => {
                if stream.is_open() {
                    self.pay(Kind::Reset, now_ms)?;
                }
                self.end(id, code, Ended::Known);
                Ok(Event::Reset { id, code })
            }
            _ => self.pay(Kind::Empty, now_ms).map(|()| Event::Nothing),
        }
    }

    fn ping<'a>(&mut self, head: Head, payload: &[u8], now_ms: u64) -> Result<Event<'a>, Failure> {
        let Ok(opaque) = <[u8; 8]>::try_from(payload) else {
            return failure(Code::FrameSize, "PING of a broken length");
        };
        if head.stream != 0 {
            return protocol("PING of a stream");
        }
        self.pay(Kind::Reply, now_ms)?;
        if !head.has(flag::ACK) {
            frame::write_ping(opaque, true, &mut self.out);
        }
        Ok(Event::Nothing)
    }

    fn goaway<'a>(&mut self, head: Head, payload: &[u8]) -> Result<Event<'a>, Failure> {
        if head.stream != 0 {
            return protocol("GOAWAY of a stream");
        }
        let Some((&[a, b, c, d, e, f, g, h], _)) = payload.split_first_chunk::<8>() else {
            return failure(Code::FrameSize, "GOAWAY of a broken length");
        };
        let last = u32::from_be_bytes([a, b, c, d]) & frame::STREAM_MAX;
        let code = Code::of(u32::from_be_bytes([e, f, g, h]));
        self.goaway_received = Some(self.goaway_received.map_or(last, |before| before.min(last)));
        if self.role == Role::Client {
            let unseen: Vec<u32> =
                self.streams.iter_mut().map(|stream| stream.id).filter(|id| *id > last).collect();
            for id in unseen {
                self.end(id, Code::RefusedStream, Ended::Known);
            }
        }
        Ok(Event::GoAway { last, code })
    }

    fn window_update<'a>(
        &mut self,
        head: Head,
        payload: &[u8],
        now_ms: u64,
    ) -> Result<Event<'a>, Failure> {
        let Ok(more) = <[u8; 4]>::try_from(payload) else {
            return failure(Code::FrameSize, "WINDOW_UPDATE of a broken length");
        };
        let more = i64::from(u32::from_be_bytes(more) & frame::STREAM_MAX);
        self.pay(Kind::Empty, now_ms)?;
        let id = head.stream;
        if id == 0 {
            self.send_window += more;
            return match more {
                0 => protocol("WINDOW_UPDATE by nothing"),
                _ if self.send_window > WINDOW_MAX => {
                    failure(Code::FlowControl, "WINDOW_UPDATE makes a window too large")
                }
                _ => {
                    self.drive();
                    Ok(Event::Nothing)
                }
            };
        }
        if self.is_idle(id) {
            return protocol("WINDOW_UPDATE of a stream that is not open");
        }
        let Some(stream) = self.streams.get_mut(id).filter(|stream| stream.reset.is_none()) else {
            return Ok(Event::Nothing);
        };
        stream.send_window += more;
        let is_too_large = stream.send_window > WINDOW_MAX;
        match more {
            0 => self.stream_error(id, Code::Protocol, now_ms),
            _ if is_too_large => self.stream_error(id, Code::FlowControl, now_ms),
            _ => {
                self.flush(id);
                Ok(Event::Nothing)
            }
        }
    }
}

/// A frame's payload without its padding (section 6.1).
pub(super) fn unpadded(head: Head, payload: &[u8]) -> Result<&[u8], Failure> {
    if !head.has(flag::PADDED) {
        return Ok(payload);
    }
    let Some((&padding, rest)) = payload.split_first() else {
        return failure(Code::FrameSize, "a frame is too short for its padding");
    };
    match rest.len().checked_sub(usize::from(padding)) {
        Some(length) => Ok(rest.get(..length).unwrap_or_default()),
        None => protocol("padding is longer than its frame"),
    }
}

/// What is wrong with a piece of a body that has come, if something is.
fn data_fault<T>(role: Role, stream: &mut Stream<T>, bytes: usize, ends: bool) -> Option<Code> {
    if stream.receive_window < 0 {
        return Some(Code::FlowControl);
    }
    if role == Role::Client && (!stream.has_head || (stream.is_head && bytes > 0)) {
        return Some(Code::Protocol);
    }
    if let Some(expected) = &mut stream.expected {
        match expected.checked_sub(bytes as u64) {
            Some(left) => *expected = left,
            None => return Some(Code::Protocol),
        }
    }
    (ends && !is_all_there(stream)).then_some(Code::Protocol)
}

/// Whether nothing is missing of what `content-length` says.
pub(super) fn is_all_there<T>(stream: &Stream<T>) -> bool {
    stream.expected.is_none_or(|left| left == 0)
}
