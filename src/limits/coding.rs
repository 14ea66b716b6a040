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
/// Bytes of a plain body that are encoded in one step: some 100 us of brotli, the slowest.
pub const ENCODE_INPUT_BYTES: usize = 8 * 1024;
/// Bytes of coded body that are written together.
pub const ENCODE_OUTPUT_BYTES: usize = 16 * 1024;
/// How hard gzip works, 1 to 9: over 5 it takes twice the time for a hundredth of the size.
pub const GZIP_LEVEL: u32 = 5;
/// The same of zstd, 1 to 22: its own default.
pub const ZSTD_LEVEL: i32 = 3;
/// The same of brotli, 0 to 11: what is made once and sent many times may be worth more; a response
/// is not.
pub const BROTLI_LEVEL: u32 = 4;
/// Window of what is encoded with zstd and brotli, as a power of two: 128 KiB. Most of what text
/// repeats stands within it, and it bounds the memory.
pub const ENCODE_WINDOW_LOG: u32 = 17;
/// What an encoder of gzip needs: its window and the tables of matches and codes.
pub const GZIP_ENCODER_BYTES: usize = 384 * 1024;
/// What an encoder of zstd needs: window, tables and two blocks.
pub const ZSTD_ENCODER_BYTES: usize = 1024 * 1024;
/// What an encoder of brotli needs: window, tables of matches, commands of a block.
pub const BROTLI_ENCODER_BYTES: usize = 2 * 1024 * 1024;
/// A shorter body is not encoded by default: the head says more, and a packet holds it anyway.
pub const COMPRESSION_BYTES_MIN: u64 = 1024;
/// Largest value of `services[].compression.minBytes`.
pub const COMPRESSION_BYTES_CEILING: u64 = 1 << 30;
/// Most `services[].compression.types`.
pub const COMPRESSION_TYPES_MAX: usize = 64;
/// Codings of an `Accept-Encoding` that are looked at: there are not so many.
pub const ACCEPT_CODINGS_MAX: usize = 32;
