//! Bounds of content codings: what is undone of them for plugins that read bodies.

/// Content codings of one body, each undone in turn. One is usual, two are a mistake that happens;
/// each is a pass over the whole body.
pub const CODINGS_MAX: usize = 2;
/// Bytes of a coded body that are looked at in one step. Small, because a few bytes may announce
/// tables that take microseconds each: the worst that could be made takes a step 1 ms.
pub const DECODE_INPUT_BYTES: usize = 2 * 1024;
/// Bytes of a header within a coded body that comes in pieces: a gzip member may name its file at
/// any length, as much as two fields of their largest size.
pub const CODING_HEADER_BYTES_MAX: usize = 128 * 1024;
/// Bytes that one step makes: a tenth of a millisecond, whatever the coding.
pub const DECODE_OUTPUT_BYTES: usize = 32 * 1024;
/// How much larger than the coded body the plain one may be, beyond [`DECODE_RATIO_FROM`]: text
/// that repeats itself comes to some hundred, a bomb to more than a thousand.
pub const DECODE_RATIO_MAX: usize = 250;
/// A plain body up to this size may be of any ratio: it is what plugins are given by default.
pub const DECODE_RATIO_FROM: usize = super::PLUGIN_BODY_BYTES_MAX;
/// Largest window of a zstd frame, as a power of two: 8 MiB, what RFC 9659 allows on the web.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Largest window of brotli. Its decoder takes of it as much as it has decoded.
pub const BROTLI_WINDOW_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a brotli decoder needs beside its window, at most: 256 trees of each of three kinds.
pub const BROTLI_TABLES_BYTES: usize = 2 * 1024 * 1024;
/// What a zstd decoder needs beside its window: its tables and two blocks.
pub const ZSTD_TABLES_BYTES: usize = 512 * 1024;
/// What a decoder of gzip or deflate needs in all.
pub const INFLATE_BYTES: usize = 64 * 1024;
