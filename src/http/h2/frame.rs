//! Frames as they stand on the wire (RFC 9113 section 4 and 6).

/// Bytes of a frame's head.
pub const HEAD_BYTES: usize = 9;
/// What a client's connection begins with (section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Largest payload that each side takes unless it says otherwise, and all that we take and send.
pub const PAYLOAD_BYTES_MAX: usize = 16 * 1024;
/// Largest window (section 6.9.1).
pub const WINDOW_MAX: i64 = (1 << 31) - 1;
/// A window that nobody has spoken of.
pub const WINDOW_DEFAULT: i64 = 65_535;
/// Largest identifier of a stream.
pub const STREAM_MAX: u32 = (1 << 31) - 1;

/// The types that we know.
pub mod kind {
    #![expect(missing_docs, reason = "RFC 9113 section 6 describes each under its name")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags, by the name that RFC 9113 gives them.
pub mod flag {
    #![expect(missing_docs, reason = "RFC 9113 section 6 describes each under its name")]
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const PADDED: u8 = 8;
    pub const PRIORITY: u8 = 0x20;
}

/// Parameters of SETTINGS (section 6.5.2).
pub mod setting {
    #![expect(missing_docs, reason = "RFC 9113 section 6.5.2 describes each under its name")]
    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
    /// RFC 8441 section 3.
    pub const ENABLE_CONNECT_PROTOCOL: u16 = 8;
    /// RFC 9218 section 2.1.
    pub const NO_RFC7540_PRIORITIES: u16 = 9;
}

/// Why a stream or a connection ends (section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Nothing is wrong.
    NoError,
    /// The peer breaks the protocol.
    Protocol,
    /// The fault is ours.
    Internal,
    /// The peer has sent more than its window.
    FlowControl,
    /// A frame came for a stream that the peer has ended.
    StreamClosed,
    /// A frame's size is wrong.
    FrameSize,
    /// Nothing was done with the stream: it may be tried again.
    RefusedStream,
    /// The stream is not wanted any more.
    Cancel,
    /// The compression's state is lost.
    Compression,
    /// The peer asks for more than it should.
    EnhanceYourCalm,
    /// One that the peer has sent and that we do not send.
    Other(u32),
}

/// Those with a name, by their number.
const CODES: [Code; 12] = [
    Code::NoError,
    Code::Protocol,
    Code::Internal,
    Code::FlowControl,
    Code::Other(4),
    Code::StreamClosed,
    Code::FrameSize,
    Code::RefusedStream,
    Code::Cancel,
    Code::Compression,
    Code::Other(10),
    Code::EnhanceYourCalm,
];

impl Code {
    /// The code of this number.
    pub fn of(number: u32) -> Self {
        let known = usize::try_from(number).ok().and_then(|number| CODES.get(number));
        known.copied().unwrap_or(Self::Other(number))
    }

    /// Its number.
    pub fn number(self) -> u32 {
        match self {
            Self::Other(number) => number,
            known => CODES.iter().position(|code| *code == known).unwrap_or_default() as u32,
        }
    }
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Bytes of its payload.
    pub length: usize,
    /// See [`kind`].
    pub kind: u8,
    /// See [`flag`].
    pub flags: u8,
    /// Its stream; 0: the connection.
    pub stream: u32,
}

impl Head {
    /// The head that stands at the beginning of `bytes`, if all of it is there.
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, d, e, f, g] = *bytes.first_chunk::<HEAD_BYTES>()?;
        Some(Self {
            length: u32::from_be_bytes([0, a, b, c]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes([d, e, f, g]) & STREAM_MAX,
        })
    }

    /// Whether it has this flag.
    #[inline]
    pub fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Appends the head of a frame.
#[inline]
pub fn write_head(length: usize, kind: u8, flags: u8, stream: u32, out: &mut Vec<u8>) {
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind, flags, d, e, f, g]);
}

/// Appends SETTINGS.
pub fn write_settings(settings: &[(u16, u32)], out: &mut Vec<u8>) {
    write_head(settings.len() * 6, kind::SETTINGS, 0, 0, out);
    for (parameter, value) in settings {
        out.extend_from_slice(&parameter.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Appends the acknowledgement of SETTINGS.
pub fn write_settings_ack(out: &mut Vec<u8>) {
    write_head(0, kind::SETTINGS, flag::ACK, 0, out);
}

/// Appends PING.
pub fn write_ping(payload: [u8; 8], is_ack: bool, out: &mut Vec<u8>) {
    write_head(8, kind::PING, if is_ack { flag::ACK } else { 0 }, 0, out);
    out.extend_from_slice(&payload);
}

/// Appends RST_STREAM.
pub fn write_reset(stream: u32, code: Code, out: &mut Vec<u8>) {
    write_head(4, kind::RST_STREAM, 0, stream, out);
    out.extend_from_slice(&code.number().to_be_bytes());
}

/// Appends WINDOW_UPDATE.
pub fn write_window_update(stream: u32, more: u32, out: &mut Vec<u8>) {
    write_head(4, kind::WINDOW_UPDATE, 0, stream, out);
    out.extend_from_slice(&more.to_be_bytes());
}

/// Appends GOAWAY; `why` is for who reads a trace.
pub fn write_goaway(last: u32, code: Code, why: &str, out: &mut Vec<u8>) {
    write_head(8 + why.len(), kind::GOAWAY, 0, 0, out);
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&code.number().to_be_bytes());
    out.extend_from_slice(why.as_bytes());
}

/// Appends a field block as HEADERS, with CONTINUATION where it is longer than a frame.
pub fn write_block(stream: u32, prefix: &[u8], block: &[u8], ends: bool, out: &mut Vec<u8>) {
    let end_stream = if ends { flag::END_STREAM } else { 0 };
    let room = PAYLOAD_BYTES_MAX - prefix.len();
    let (first, mut rest) = block.split_at(block.len().min(room));
    let end_headers = |rest: &[u8]| if rest.is_empty() { flag::END_HEADERS } else { 0 };
    let flags = end_stream | end_headers(rest);
    write_head(prefix.len() + first.len(), kind::HEADERS, flags, stream, out);
    out.extend_from_slice(prefix);
    out.extend_from_slice(first);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(PAYLOAD_BYTES_MAX));
        rest = after;
        write_head(piece.len(), kind::CONTINUATION, end_headers(rest), stream, out);
        out.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_numbers_of_the_rfc() {
        assert_eq!(Code::of(0x7), Code::RefusedStream);
        assert_eq!(Code::EnhanceYourCalm.number(), 0xb);
        assert_eq!(Code::of(0x4).number(), 0x4);
        assert_eq!(Code::of(u32::MAX), Code::Other(u32::MAX));
    }

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let mut out = Vec::new();
        write_head(0x1234, kind::PING, flag::ACK, STREAM_MAX, &mut out);
        let head = Head { length: 0x1234, kind: kind::PING, flags: 1, stream: STREAM_MAX };
        assert_eq!(Head::read(&out), Some(head));
        assert_eq!(Head::read(&out[..8]), None);
        // The reserved bit is ignored.
        out[5] |= 0x80;
        assert_eq!(Head::read(&out), Some(head));
    }

    #[test]
    fn a_long_block_goes_on_in_continuations() {
        let mut out = Vec::new();
        let block = vec![7; PAYLOAD_BYTES_MAX * 2];
        write_block(5, b"\x20", &block, true, &mut out);
        let (mut at, mut kinds, mut bytes) = (0, Vec::new(), 0);
        while let Some(head) = Head::read(&out[at..]) {
            kinds.push((head.kind, head.flags));
            bytes += head.length;
            at += HEAD_BYTES + head.length;
        }
        let expected = [(kind::HEADERS, 1), (kind::CONTINUATION, 0), (kind::CONTINUATION, 4)];
        assert_eq!(kinds, expected);
        assert_eq!((at, bytes), (out.len(), block.len() + 1));
    }
}
