//! One coded body on its way to plain bytes, step by step. Pure: no clock, no memory but the
//! decoders' own.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Crc, Decompress, FlushDecompress, Status};
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use super::Coding;
use crate::limits::{DECODE_INPUT_BYTES, ZSTD_WINDOW_LOG_MAX};

/// It is not what its coding says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// What one call of a decoder did.
pub(super) struct Progress {
    pub(super) read: usize,
    pub(super) made: usize,
    /// The end of a member, a stream or a frame.
    pub(super) is_end: bool,
}

/// A coded body, and how far it is decoded.
pub(super) struct Decoder<'a> {
    left: &'a [u8],
    engine: Engine,
    /// Between two members, or behind the last.
    is_between: bool,
}

/// The decoder of one coding.
pub(super) enum Engine {
    Gzip(Gzip),
    Deflate(Decompress),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
    Zstd(DCtx<'static>),
}

impl<'a> Decoder<'a> {
    /// At the beginning of `coded`; `None` if there is no memory for it.
    pub(super) fn new(coding: Coding, coded: &'a [u8]) -> Option<Self> {
        Some(Self { left: coded, engine: Engine::new(coding, coded)?, is_between: false })
    }

    /// Decodes on, into `out`, which is not empty: how many bytes it made, and whether they are the
    /// last. Each step that is not the last makes progress.
    pub(super) fn step(&mut self, out: &mut [u8]) -> Result<(usize, bool), Malformed> {
        let input = &self.left[..self.left.len().min(DECODE_INPUT_BYTES)];
        let progress = self.engine.step(input, self.left, out)?;
        let Progress { read, made, is_end } = progress;
        self.left = self.left.get(read..).ok_or(Malformed)?;
        if is_end {
            self.is_between = true;
        } else if read > 0 {
            self.is_between = false;
        }
        let is_whole = self.is_between && self.left.is_empty();
        // Nothing behind the end, where there may be but one.
        let is_done = is_end && !self.engine.has_members();
        if is_done && !is_whole || read == 0 && made == 0 && !is_whole {
            return Err(Malformed);
        }
        Ok((made, is_whole))
    }
}

impl Engine {
    /// At the beginning of a body that starts with `coded`; `None` if there is no memory for it.
    pub(super) fn new(coding: Coding, coded: &[u8]) -> Option<Self> {
        Some(match coding {
            Coding::Gzip => Self::Gzip(Gzip::default()),
            Coding::Deflate => Self::Deflate(Decompress::new(is_zlib(coded))),
            Coding::Brotli => Self::Brotli(Box::new(BrotliState::new_strict(
                StandardAlloc::default(),
                StandardAlloc::default(),
                StandardAlloc::default(),
            ))),
            Coding::Zstd => {
                let mut context = DCtx::try_create()?;
                context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX)).ok()?;
                Self::Zstd(context)
            }
        })
    }

    /// Whether another member or frame may follow the first.
    pub(super) fn has_members(&self) -> bool {
        matches!(self, Self::Gzip(_) | Self::Zstd(_))
    }

    /// `input` is the first part of `left`, which a header is looked for in.
    pub(super) fn step(
        &mut self,
        input: &[u8],
        left: &[u8],
        out: &mut [u8],
    ) -> Result<Progress, Malformed> {
        match self {
            Self::Gzip(gzip) => gzip.step(input, left, out),
            Self::Deflate(inflate) => run(inflate, input, out),
            Self::Brotli(state) => {
                let (mut unread, mut read) = (input.len(), 0);
                let (mut room, mut made, mut total) = (out.len(), 0, 0);
                let result = BrotliDecompressStream(
                    &mut unread,
                    &mut read,
                    input,
                    &mut room,
                    &mut made,
                    out,
                    &mut total,
                    state,
                );
                let is_end = match result {
                    BrotliResult::ResultSuccess => true,
                    BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => false,
                    BrotliResult::ResultFailure => return Err(Malformed),
                };
                Ok(Progress { read, made, is_end })
            }
            Self::Zstd(context) => {
                let mut source = InBuffer::around(input);
                let mut sink = OutBuffer::around(out);
                let hint = context.decompress_stream(&mut sink, &mut source);
                let is_end = hint.map_err(|_code| Malformed)? == 0;
                Ok(Progress { read: source.pos(), made: sink.pos(), is_end })
            }
        }
    }
}

/// Whether it begins as zlib's format does (RFC 1950 section 2.2).
fn is_zlib(coded: &[u8]) -> bool {
    matches!(coded, [method, flags, ..] if method & 0x8f == 8
        && (u16::from(*method) << 8 | u16::from(*flags)).is_multiple_of(31))
}

fn run(inflate: &mut Decompress, input: &[u8], out: &mut [u8]) -> Result<Progress, Malformed> {
    let (read, made) = (inflate.total_in(), inflate.total_out());
    let status = inflate.decompress(input, out, FlushDecompress::None);
    let is_end = status.map_err(|_error| Malformed)? == Status::StreamEnd;
    let since = |now: u64, then: u64| usize::try_from(now - then).map_err(|_error| Malformed);
    let (read, made) = (since(inflate.total_in(), read)?, since(inflate.total_out(), made)?);
    Ok(Progress { read, made, is_end })
}

/// Members of gzip, one behind the other (RFC 1952).
pub(super) struct Gzip {
    inflate: Decompress,
    sum: Crc,
    place: Place,
}

/// Where in a member.
#[derive(Clone, Copy)]
enum Place {
    Header,
    Data,
    Trailer,
}

/// Of a step that needs more than it was given.
const NOTHING: Progress = Progress { read: 0, made: 0, is_end: false };

impl Default for Gzip {
    fn default() -> Self {
        Self { inflate: Decompress::new(false), sum: Crc::new(), place: Place::Header }
    }
}

impl Gzip {
    fn step(&mut self, input: &[u8], left: &[u8], out: &mut [u8]) -> Result<Progress, Malformed> {
        match self.place {
            Place::Header => {
                if !left.iter().zip(MAGIC).all(|(&byte, magic)| byte == magic) {
                    return Err(Malformed);
                }
                let Some(read) = header(left) else {
                    return Ok(NOTHING);
                };
                self.inflate.reset(false);
                self.sum.reset();
                self.place = Place::Data;
                Ok(Progress { read, ..NOTHING })
            }
            Place::Data => {
                let progress = run(&mut self.inflate, input, out)?;
                self.sum.update(&out[..progress.made]);
                if !progress.is_end {
                    return Ok(progress);
                }
                self.place = Place::Trailer;
                let trailer = self.trailer(left.get(progress.read..).unwrap_or_default())?;
                let read = progress.read + trailer.read;
                Ok(Progress { read, is_end: trailer.is_end, ..progress })
            }
            Place::Trailer => self.trailer(left),
        }
    }

    fn trailer(&mut self, left: &[u8]) -> Result<Progress, Malformed> {
        let Some(trailer) = left.first_chunk::<8>() else {
            return Ok(NOTHING);
        };
        let [sum, amount] = [self.sum.sum(), self.sum.amount()].map(u32::to_le_bytes);
        if trailer[..] != [sum, amount].concat() {
            return Err(Malformed);
        }
        self.place = Place::Header;
        Ok(Progress { read: 8, made: 0, is_end: true })
    }
}

/// What a member begins with.
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

/// How long the header of a member is, which `bytes` begin with.
fn header(bytes: &[u8]) -> Option<usize> {
    const FIXED: usize = 10;
    let [header_sum, extra, name, comment, reserved] = [2, 4, 8, 16, 0xe0];
    let &[0x1f, 0x8b, 8, flags, ..] = bytes else {
        return None;
    };
    if flags & reserved != 0 {
        return None;
    }
    let mut end = FIXED;
    if flags & extra != 0 {
        let size = bytes.get(end..)?.first_chunk::<2>()?;
        end += 2 + usize::from(u16::from_le_bytes(*size));
    }
    for text in [name, comment] {
        if flags & text != 0 {
            end += memchr::memchr(0, bytes.get(end..)?)? + 1;
        }
    }
    if flags & header_sum != 0 {
        end += 2;
    }
    (end <= bytes.len()).then_some(end)
}
