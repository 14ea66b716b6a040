//! Field blocks that a connection receives: HEADERS and CONTINUATION (RFC 9113 section 4.3).

use super::abuse::Kind;
use super::receive::{failure, is_all_there, protocol, unpadded};
use super::stream::{Ended, Stream};
use super::{Connection, Event, Failure, Owner, Role};
use crate::http::h2::frame::{self, Code, Head, PAYLOAD_BYTES_MAX, flag};
use crate::http::h2::head::{RequestReader, ResponseReader, TrailersReader, Unfit};
use crate::http::message::BodyLength;
use crate::limits::{CONTINUATIONS_MAX, HEAD_FIELDS_CEILING, STREAM_WINDOW_BYTES};

/// A field block whose end has not come.
#[derive(Debug)]
pub(super) struct OpenBlock {
    id: u32,
    purpose: Purpose,
    bytes: Vec<u8>,
    frames: u32,
}

/// What a field block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Request {
        ends: bool,
    },
    Response {
        ends: bool,
    },
    Trailers,
    /// It only keeps the compression's state right.
    Ignored,
    /// The same, and its stream is reset.
    Reset(Code),
}

impl<T: Owner> Connection<T> {
    pub(super) fn headers<'a>(
        &mut self,
        head: Head,
        payload: &[u8],
        now_ms: u64,
    ) -> Result<Event<'a>, Failure> {
        let id = head.stream;
        if id == 0 {
            return protocol("HEADERS of no stream");
        }
        let mut fragment = unpadded(head, payload)?;
        let mut depends_on = 0;
        if head.has(flag::PRIORITY) {
            let Some((&[a, b, c, d, _], rest)) = fragment.split_first_chunk::<5>() else {
                return failure(Code::FrameSize, "HEADERS are too short for their priority");
            };
            depends_on = u32::from_be_bytes([a, b, c, d]) & frame::STREAM_MAX;
            fragment = rest;
        }
        let mut purpose = self.purpose(id, head.has(flag::END_STREAM))?;
        if depends_on == id && purpose != Purpose::Ignored {
            purpose = Purpose::Reset(Code::Protocol);
        }
        if head.has(flag::END_HEADERS) {
            return self.whole_block(id, purpose, fragment, now_ms);
        }
        self.block = Some(OpenBlock { id, purpose, bytes: fragment.to_vec(), frames: 0 });
        Ok(Event::Nothing)
    }

    /// What a field block that begins now is.
    fn purpose(&mut self, id: u32, ends: bool) -> Result<Purpose, Failure> {
        if let Some(stream) = self.streams.get(id) {
            return Ok(match stream {
                _ if stream.reset.is_some() => return self.purpose_of_ended(id),
                _ if !stream.is_remote_open => Purpose::Reset(Code::StreamClosed),
                _ if self.role == Role::Client && !stream.has_head => Purpose::Response { ends },
                // Only trailers may follow, and they are the end (section 8.1).
                _ if !ends => Purpose::Reset(Code::Protocol),
                _ => Purpose::Trailers,
            });
        }
        if self.role == Role::Client || id.is_multiple_of(2) {
            return match self.is_idle(id) || (self.role == Role::Client && id.is_multiple_of(2)) {
                true => protocol("HEADERS of a stream that the peer may not open"),
                false => Ok(Purpose::Ignored),
            };
        }
        if id <= self.last_of_peer {
            return self.purpose_of_ended(id);
        }
        if self.goaway_sent.is_some_and(|last| id > last) {
            return Ok(Purpose::Ignored);
        }
        self.last_of_peer = id;
        self.opened_by_peer = self.opened_by_peer.saturating_add(1);
        let most = self.options.streams_max as usize;
        if self.streams.open() >= most || self.streams.len() >= 2 * most {
            return Ok(Purpose::Reset(Code::RefusedStream));
        }
        Ok(Purpose::Request { ends })
    }

    fn purpose_of_ended(&self, id: u32) -> Result<Purpose, Failure> {
        match self.streams.ended(id) {
            Some(Ended::ByUs) => Ok(Purpose::Ignored),
            Some(Ended::Known) => failure(Code::StreamClosed, "HEADERS of a stream that has ended"),
            None => protocol("HEADERS of a stream below the last one"),
        }
    }

    pub(super) fn continuation<'a>(
        &mut self,
        head: Head,
        payload: &[u8],
        now_ms: u64,
    ) -> Result<Event<'a>, Failure> {
        let Some(mut block) = self.block.take() else {
            return protocol("CONTINUATION of nothing");
        };
        if block.id != head.stream {
            return protocol("CONTINUATION of another stream");
        }
        block.frames += 1;
        // What Huffman's code makes of a head is at most as large again, and index entries less.
        let bytes_max = 2 * self.options.heads.bytes_max + PAYLOAD_BYTES_MAX;
        if block.frames > CONTINUATIONS_MAX || block.bytes.len() + payload.len() > bytes_max {
            return failure(Code::EnhanceYourCalm, "a field block is too long");
        }
        block.bytes.extend_from_slice(payload);
        if head.has(flag::END_HEADERS) {
            return self.whole_block(block.id, block.purpose, &block.bytes, now_ms);
        }
        self.block = Some(block);
        Ok(Event::Nothing)
    }

    fn whole_block<'a>(
        &mut self,
        id: u32,
        purpose: Purpose,
        block: &[u8],
        now_ms: u64,
    ) -> Result<Event<'a>, Failure> {
        match purpose {
            Purpose::Ignored => self.pay(Kind::Empty, now_ms)?,
            _ => self.abuse.carried(),
        }
        match purpose {
            Purpose::Request { ends } => self.whole_request(id, ends, block, now_ms),
            Purpose::Response { ends } => self.whole_response(id, ends, block, now_ms),
            Purpose::Trailers => {
                let mut reader = TrailersReader::new(&mut self.room.trailers);
                self.decoder.decode(block, &mut reader)?;
                let is_whole = reader.finish().is_ok()
                    && self.streams.get(id).is_some_and(|stream| is_all_there(stream));
                if !is_whole {
                    return self.stream_error(id, Code::Protocol, now_ms);
                }
                self.streams.change(id, |stream| stream.is_remote_open = false);
                Ok(Event::Trailers { id })
            }
            Purpose::Ignored => {
                self.decoder.decode(block, &mut ())?;
                Ok(Event::Nothing)
            }
            Purpose::Reset(code) => {
                self.decoder.decode(block, &mut ())?;
                self.stream_error(id, code, now_ms)
            }
        }
    }

    fn whole_request<'a>(
        &mut self,
        id: u32,
        ends: bool,
        block: &[u8],
        now_ms: u64,
    ) -> Result<Event<'a>, Failure> {
        let heads = self.options.heads;
        let mut reader = RequestReader::new(&mut self.room.request, &mut self.room.cookies, heads);
        self.decoder.decode(block, &mut reader)?;
        let event = match reader.finish(ends) {
            Ok(facts) => Event::Request { id, ends, facts },
            Err(Unfit::Refused(error)) => Event::Refused { id, error },
            Err(Unfit::Malformed(_)) => return self.stream_error(id, Code::Protocol, now_ms),
        };
        let mut stream = Stream::new(id, STREAM_WINDOW_BYTES, self.peer.window);
        stream.has_head = true;
        stream.is_remote_open = !ends;
        if let BodyLength::Known(length) = self.room.request.body
            && matches!(event, Event::Request { .. })
        {
            stream.expected = Some(length);
        }
        self.streams.add(stream);
        Ok(event)
    }

    fn whole_response<'a>(
        &mut self,
        id: u32,
        ends: bool,
        block: &[u8],
        now_ms: u64,
    ) -> Result<Event<'a>, Failure> {
        let response = &mut self.room.response;
        let bytes_max = self.options.heads.bytes_max;
        let mut reader = ResponseReader::new(response, bytes_max, HEAD_FIELDS_CEILING);
        self.decoder.decode(block, &mut reader)?;
        if reader.finish(ends).is_err() {
            return self.stream_error(id, Code::Protocol, now_ms);
        }
        let (status, length) = (response.status, response.body);
        let permits_body = response.permits_body();
        let is_broken = self.streams.change(id, |stream| {
            stream.has_head = status >= 200;
            let is_tunnel = stream.is_connect && status < 300;
            let length = if is_tunnel { BodyLength::Unknown } else { length };
            if let (BodyLength::Known(length), true) = (length, stream.has_head) {
                stream.expected = Some(if stream.is_head || !permits_body { 0 } else { length });
            }
            stream.is_remote_open &= !ends;
            ends && !is_all_there(stream)
        });
        match is_broken {
            Some(true) => self.stream_error(id, Code::Protocol, now_ms),
            _ => Ok(Event::Response { id, ends }),
        }
    }
}
