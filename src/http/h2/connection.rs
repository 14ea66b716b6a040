//! What one connection of HTTP/2 does with what its peer sends, and what it sends itself. Pure:
//! [`Connection::receive`] takes bytes and says what they mean, [`Connection::take_output`] gives
//! bytes.
//!
//! Data that is to be sent waits in its stream, a chunk or two, and is framed in turns, as far as
//! the windows and the room of the output let it: one frame of each stream, then the next of each.
//! Everything else is framed at once, in the order in which it is said, which is what the
//! compression of heads asks for.
//!
//! Whatever a peer can make this hold has a bound: windows, streams, one field block at a time, and
//! a rate of frames that carry nothing (`abuse.rs`).

mod abuse;
mod blocks;
mod receive;
mod send;
mod settings;
mod stream;

use std::collections::VecDeque;
use std::rc::Rc;

use self::abuse::Abuse;
use self::blocks::OpenBlock;
use self::stream::Streams;
use crate::error::Error;
use crate::http::h2::frame::{self, Code, PREFACE, WINDOW_DEFAULT};
use crate::http::h2::head::{Facts, RequestLimits};
use crate::http::h2::hpack::Decoder;
use crate::http::message::{Fields, RequestHead, ResponseHead};
use crate::io::buffer::BufferPool;
use crate::limits::{HEAD_BLOWN_UP_FACTOR, OUTPUT_BYTES_MAX, OUTPUT_STOPS_INPUT_BYTES};

/// Which end of a connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It answers.
    Server,
    /// It asks.
    Client,
}

/// Who has a stream.
pub trait Owner {
    /// Something has happened to what it sends: there is room again, or the stream was reset.
    fn progressed(&self);
}

/// What a connection may be asked for.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Bounds of heads that are received.
    pub heads: RequestLimits,
    /// Streams that the peer may have open at once.
    pub streams_max: u32,
    /// Streams that it may open in all.
    pub requests_max: u32,
    /// Bytes that it may send ahead on one stream, once what it sends is used as it comes.
    pub stream_window: u32,
    /// The same on all streams together.
    pub connection_window: u32,
}

/// The peer breaks the rules so that nothing can go on: GOAWAY is in the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// What it is told.
    pub code: Code,
    /// Why, in words for logs.
    pub reason: &'static str,
}

/// What some bytes of the peer mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// Nothing that anybody else must know.
    Nothing,
    /// A request begins: [`Connection::request`]. Its stream wants an owner.
    Request {
        /// Its stream.
        id: u32,
        /// No body follows.
        ends: bool,
        /// What its head says beside.
        facts: Facts,
    },
    /// One that is to be answered so. Its stream wants an owner.
    Refused {
        /// Its stream.
        id: u32,
        /// Why.
        error: Error,
    },
    /// A response begins, or an interim one has come: [`Connection::response`].
    Response {
        /// Its stream.
        id: u32,
        /// No body follows.
        ends: bool,
    },
    /// A piece of a body.
    Data {
        /// Its stream.
        id: u32,
        /// The bytes.
        bytes: &'a [u8],
        /// It is the last.
        ends: bool,
    },
    /// A body has ended, with [`Connection::trailers`].
    Trailers {
        /// Its stream.
        id: u32,
    },
    /// A stream is over, by the peer's word or for what it did.
    Reset {
        /// The stream.
        id: u32,
        /// Why.
        code: Code,
    },
    /// The peer takes no more streams over `last`.
    GoAway {
        /// The last that it has looked at.
        last: u32,
        /// Why.
        code: Code,
    },
}

/// What the peer has announced (RFC 9113 section 6.5.2).
#[derive(Debug, Clone, Copy)]
struct PeerSettings {
    streams_max: u32,
    window: i64,
    takes_extended_connect: bool,
}

/// The heads that are being read.
#[derive(Debug, Default)]
struct Room {
    request: RequestHead,
    response: ResponseHead,
    trailers: Fields,
    cookies: Vec<u8>,
}

/// One connection. `T` is what its streams are owned by.
#[derive(Debug)]
pub struct Connection<T> {
    role: Role,
    options: Options,
    peer: PeerSettings,
    /// Bytes of the client's preface that have not come yet.
    preface_left: usize,
    /// The peer's first SETTINGS have come.
    has_settings: bool,
    decoder: Decoder,
    /// A field block that goes on in the next frame.
    block: Option<OpenBlock>,
    room: Room,
    streams: Streams<T>,
    receive_window: i64,
    /// Bytes that have been used and that the peer has not been told of.
    credit: u32,
    send_window: i64,
    /// Streams that have data and a window, in the order of their turns.
    ring: VecDeque<u32>,
    out: Vec<u8>,
    /// The last stream that the peer has opened.
    last_of_peer: u32,
    /// How many it has opened.
    opened_by_peer: u32,
    /// The next that we open.
    next_own: u32,
    /// What our GOAWAY says.
    goaway_sent: Option<u32>,
    /// It has ended by [`Self::fail`].
    has_failed: bool,
    /// What the peer's GOAWAY says.
    goaway_received: Option<u32>,
    /// The next field block tells the peer that its compression table is not used.
    tells_no_table: bool,
    abuse: Abuse,
    pool: Rc<BufferPool>,
}

impl<T: Owner> Connection<T> {
    /// One that begins: its preface is in the output.
    pub fn new(role: Role, options: Options, pool: Rc<BufferPool>) -> Self {
        let mut connection = Self {
            role,
            options,
            peer: PeerSettings {
                // Before it has said so: what RFC 9113 section 6.5.2 has as the least.
                streams_max: 100,
                window: WINDOW_DEFAULT,
                takes_extended_connect: false,
            },
            preface_left: if role == Role::Server { PREFACE.len() } else { 0 },
            has_settings: false,
            decoder: Decoder::bounded(
                super::hpack::TABLE_BYTES_DEFAULT,
                options.heads.bytes_max.saturating_mul(HEAD_BLOWN_UP_FACTOR),
            ),
            block: None,
            room: Room::default(),
            streams: Streams::new(),
            receive_window: i64::from(options.connection_window),
            credit: 0,
            send_window: WINDOW_DEFAULT,
            ring: VecDeque::new(),
            out: pool.take(),
            last_of_peer: 0,
            opened_by_peer: 0,
            next_own: 1,
            goaway_sent: None,
            has_failed: false,
            goaway_received: None,
            tells_no_table: false,
            abuse: Abuse::new(),
            pool,
        };
        connection.begin();
        connection
    }

    /// The head that [`Event::Request`] or [`Event::Refused`] speaks of: it may be taken out.
    pub fn request(&mut self) -> &mut RequestHead {
        &mut self.room.request
    }

    /// The head that [`Event::Response`] speaks of: it may be taken out.
    pub fn response(&mut self) -> &mut ResponseHead {
        &mut self.room.response
    }

    /// The trailers that [`Event::Trailers`] speaks of: they may be taken out.
    pub fn trailers(&mut self) -> &mut Fields {
        &mut self.room.trailers
    }

    /// Gives a stream its owner.
    pub fn adopt(&mut self, id: u32, owner: T) {
        if let Some(stream) = self.streams.get_mut(id) {
            stream.owner = Some(owner);
        }
    }

    /// Who has a stream.
    pub fn owner(&self, id: u32) -> Option<&T> {
        self.streams.get(id)?.owner.as_ref()
    }

    /// All who have a stream.
    pub fn owners(&mut self) -> impl Iterator<Item = &T> {
        self.streams.iter_mut().filter_map(|stream| stream.owner.as_ref())
    }

    /// How many streams somebody has.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Whether a frame or a field block has begun to come whose rest is missing, of which `unread`
    /// is here.
    pub fn is_within_message(&self, unread: &[u8]) -> bool {
        self.block.is_some() || self.preface_left > 0 || !unread.is_empty() || !self.has_settings
    }

    /// How a stream was reset, if it was; [`Code::StreamClosed`] if there is none.
    pub fn reset_of(&self, id: u32) -> Option<Code> {
        self.streams.get(id).map_or(Some(Code::StreamClosed), |stream| stream.reset)
    }

    /// Whether the peer may still send on a stream.
    pub fn is_receiving(&self, id: u32) -> bool {
        self.streams.get(id).is_some_and(|stream| stream.is_remote_open)
    }

    /// What is to be written, and nothing is lost if it is not: `spare` is what comes next is put
    /// into.
    pub fn take_output(&mut self, mut spare: Vec<u8>) -> Vec<u8> {
        spare.clear();
        std::mem::replace(&mut self.out, spare)
    }

    /// Whether there is something to be written.
    pub fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// Whether so much waits to be written that nothing should be read.
    pub fn is_congested(&self) -> bool {
        self.out.len() >= OUTPUT_STOPS_INPUT_BYTES
    }

    /// Whether there is room for data in the output.
    fn has_room(&self) -> bool {
        self.out.len() < OUTPUT_BYTES_MAX
    }

    /// Ends the connection for what the peer did: GOAWAY is in the output.
    pub fn fail(&mut self, failure: Failure) {
        if std::mem::replace(&mut self.has_failed, true) {
            return;
        }
        frame::write_goaway(self.last_of_peer, failure.code, failure.reason, &mut self.out);
        self.goaway_sent = Some(self.last_of_peer);
        self.ring.clear();
        for stream in self.streams.iter_mut() {
            stream.reset = Some(failure.code);
            if let Some(owner) = &stream.owner {
                owner.progressed();
            }
        }
    }

    /// Tells the peer that the connection ends, so that no request is lost (section 6.8): first
    /// that it should open no more streams, `is_final` then which ones were the last.
    pub fn go_away(&mut self, is_final: bool) {
        let last = if is_final { self.last_of_peer } else { frame::STREAM_MAX };
        if self.goaway_sent.is_none_or(|sent| last < sent) {
            frame::write_goaway(last, Code::NoError, "", &mut self.out);
            self.goaway_sent = Some(last);
        }
    }

    /// Whether the peer was told that it should open no more streams.
    pub fn is_going_away(&self) -> bool {
        self.goaway_sent.is_some()
    }

    /// Whether it was told which ones were the last.
    pub fn is_gone_away(&self) -> bool {
        self.goaway_sent.is_some_and(|last| last < frame::STREAM_MAX)
    }

    /// Whether the peer has opened all streams that it may.
    pub fn is_used_up(&self) -> bool {
        self.opened_by_peer >= self.options.requests_max
            || self.last_of_peer > frame::STREAM_MAX / 2
    }

    /// Whether a stream may be opened now.
    pub fn may_open(&self) -> bool {
        self.is_open() && self.streams.open() < self.peer.streams_max as usize
    }

    /// Whether streams may be opened at all.
    pub fn is_open(&self) -> bool {
        self.goaway_received.is_none()
            && self.goaway_sent.is_none()
            && self.next_own < frame::STREAM_MAX
    }

    /// Whether the peer takes extended CONNECT (RFC 8441).
    pub fn takes_extended_connect(&self) -> bool {
        self.peer.takes_extended_connect
    }

    /// Whether the peer has said what it takes.
    pub fn has_settings(&self) -> bool {
        self.has_settings
    }

    /// The stream has been opened with an extended CONNECT: what a response that accepts it says of
    /// its length does not count (RFC 9110 section 9.3.6).
    pub fn is_connect(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(id) {
            stream.is_connect = true;
        }
    }

    /// Frees what only a busy connection needs.
    pub fn rest(&mut self) {
        self.room = Room::default();
        if self.out.is_empty() {
            self.pool.give(std::mem::take(&mut self.out));
        }
    }
}

#[cfg(test)]
mod tests;
