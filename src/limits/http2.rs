//! Bounds of HTTP/2: what one peer may ask of a connection.

/// Streams that a client may have open at once on one connection. nginx's default; browsers use far
/// fewer.
pub const STREAMS_MAX: u32 = 128;
/// The most that `server.http2.streamsMax` may allow: each stream has an exchange's memory.
pub const STREAMS_CEILING: usize = 10_000;
/// Requests of one connection, after which it is told to end: clients come back to another worker,
/// and what a connection holds does not grow for ever.
pub const CONNECTION_REQUESTS_MAX: u32 = 1_000_000;
/// Bytes of a body that a peer may send before any of them has been used: what RFC 9113 section
/// 6.9.2 begins with.
pub const STREAM_WINDOW_BYTES: u32 = 65_535;
/// The same once what a peer sends is used as it comes: enough for 100 Mbit/s over 40 ms.
pub const STREAM_WINDOW_BYTES_MAX: u32 = 512 * 1024;
/// The most that `server.http2.streamWindowBytes` may allow.
pub const STREAM_WINDOW_CEILING: u32 = 16 * 1024 * 1024;
/// The same of all streams of a connection together: what it may make a worker hold.
pub const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// The most that `server.http2.connectionWindowBytes` may allow.
pub const CONNECTION_WINDOW_CEILING: u32 = 256 * 1024 * 1024;
/// Bytes of frames that are made ahead of the write that is under way. One write has about as many.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// Bytes of frames that wait for a peer that does not read, at which nothing more is read from it:
/// what it has asked for is answered by frames (PING, SETTINGS, resets) that no window holds back.
pub const OUTPUT_STOPS_INPUT_BYTES: usize = 256 * 1024;
/// CONTINUATION frames of one field block. A head of the largest size takes two; senders with small
/// frames take some more.
pub const CONTINUATIONS_MAX: u32 = 32;
/// A head may be so many times as large as `server.limits.headBytesMax` before its connection is
/// cut. One that is over the limit is answered (431), but has to be read to its end, or the state
/// of the compression were lost: a byte of a block can stand for 4 KiB.
pub const HEAD_BLOWN_UP_FACTOR: usize = 4;
/// Streams whose end a connection remembers, so that frames that were under way are told from those
/// of a peer that breaks the protocol.
pub const CLOSED_STREAMS_KEPT: usize = 256;
/// Streams that a peer may reset, or have reset by breaking the rules, before the connection is cut
/// (CVE-2023-44487 and its variant of 2025): a page that is left resets some dozens.
pub const RESETS_BURST: u32 = 500;
/// So many more each second; and one more for each stream that ends well.
pub const RESETS_PER_SECOND: u32 = 50;
/// PING and SETTINGS frames of a peer, which we must answer, beyond those that come with traffic.
pub const REPLIES_BURST: u32 = 500;
/// So many more each second, and one more for each frame that carries something.
pub const REPLIES_PER_SECOND: u32 = 20;
/// Frames of a peer that carry nothing (empty DATA, PRIORITY, WINDOW_UPDATE, unknown types), beyond
/// those that come with traffic.
pub const EMPTY_FRAMES_BURST: u32 = 5_000;
/// So many more each second, and some more for each frame that carries something.
pub const EMPTY_FRAMES_PER_SECOND: u32 = 500;
/// Bytes of a response that wait for one stream's window before its origin is read on.
pub const STREAM_QUEUE_BYTES: usize = 16 * 1024;
/// How often a request is sent again that origins have refused unseen: they mean it then.
pub const REFUSED_TRIES_MAX: usize = 2;
/// Between the two steps in which a client is told that its connection ends: what it has sent in
/// the meantime is still served.
pub const GOAWAY_GRACE: std::time::Duration = std::time::Duration::from_secs(1);
