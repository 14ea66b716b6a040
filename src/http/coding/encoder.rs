//! A plain body on its way to a coded one, piece by piece. Pure: no clock, no memory but the
//! encoders' own.

use brotli::enc::StandardAlloc;
use brotli::enc::encode::{
    BrotliEncoderOperation, BrotliEncoderParameter, BrotliEncoderStateStruct,
};
use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

use super::Coding;
use crate::limits::{
    BROTLI_ENCODER_BYTES, BROTLI_LEVEL, ENCODE_OUTPUT_BYTES, ENCODE_WINDOW_LOG, GZIP_ENCODER_BYTES,
    GZIP_LEVEL, ZSTD_ENCODER_BYTES, ZSTD_LEVEL,
};

/// A member without name and time; made by nobody in particular (RFC 1952 section 2.3.1).
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// What becomes of what was taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// It may stay inside until more comes.
    More,
    /// All of it comes out, so that it can be decoded; more follows.
    Flush,
    /// All of it comes out, and the end of the body.
    End,
}

/// The encoder failed: its own fault, which no input brings about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

/// One body on its way.
pub struct Encoder(Engine);

enum Engine {
    Gzip(Box<Gzip>),
    Brotli(Box<BrotliEncoderStateStruct<StandardAlloc>>),
    Zstd(CCtx<'static>),
}

impl Encoder {
    /// An encoder for this coding; `None` if there is none, or no memory for it.
    pub fn new(coding: Coding) -> Option<Self> {
        Some(Self(match coding {
            Coding::Deflate => return None,
            Coding::Gzip => Engine::Gzip(Box::default()),
            Coding::Brotli => {
                let mut state = BrotliEncoderStateStruct::new(StandardAlloc::default());
                let mut set = |parameter, value| state.set_parameter(parameter, value);
                let is_set = set(BrotliEncoderParameter::BROTLI_PARAM_QUALITY, BROTLI_LEVEL)
                    && set(BrotliEncoderParameter::BROTLI_PARAM_LGWIN, ENCODE_WINDOW_LOG);
                is_set.then_some(())?;
                Engine::Brotli(Box::new(state))
            }
            Coding::Zstd => {
                let mut context = CCtx::try_create()?;
                context.set_parameter(CParameter::CompressionLevel(ZSTD_LEVEL)).ok()?;
                context.set_parameter(CParameter::WindowLog(ENCODE_WINDOW_LOG)).ok()?;
                Engine::Zstd(context)
            }
        }))
    }

    /// The memory of one.
    pub fn memory(coding: Coding) -> usize {
        match coding {
            Coding::Gzip | Coding::Deflate => GZIP_ENCODER_BYTES,
            Coding::Brotli => BROTLI_ENCODER_BYTES,
            Coding::Zstd => ZSTD_ENCODER_BYTES,
        }
    }

    /// Takes from `input` and appends to `out` what comes of it, at most
    /// [`ENCODE_OUTPUT_BYTES`]; whether there is nothing left to do with this `input` (of which
    /// what was taken is gone).
    ///
    /// # Errors
    /// See [`Broken`].
    pub fn step(
        &mut self,
        input: &mut &[u8],
        until: Until,
        out: &mut Vec<u8>,
    ) -> Result<bool, Broken> {
        let start = out.len();
        out.resize(start + ENCODE_OUTPUT_BYTES, 0);
        let room = out.get_mut(start..).ok_or(Broken)?;
        let (taken, made, is_done) = match &mut self.0 {
            Engine::Gzip(gzip) => gzip.step(input, until, room)?,
            Engine::Brotli(state) => brotli(state, input, until, room)?,
            Engine::Zstd(context) => zstd(context, input, until, room)?,
        };
        out.truncate(start + made);
        *input = input.get(taken..).ok_or(Broken)?;
        Ok(is_done)
    }
}

type Stepped = Result<(usize, usize, bool), Broken>;

fn brotli(
    state: &mut BrotliEncoderStateStruct<StandardAlloc>,
    input: &[u8],
    until: Until,
    room: &mut [u8],
) -> Stepped {
    let operation = match until {
        Until::More => BrotliEncoderOperation::BROTLI_OPERATION_PROCESS,
        Until::Flush => BrotliEncoderOperation::BROTLI_OPERATION_FLUSH,
        Until::End => BrotliEncoderOperation::BROTLI_OPERATION_FINISH,
    };
    let (mut unread, mut taken) = (input.len(), 0);
    let (mut left, mut made) = (room.len(), 0);
    let is_fine = state.compress_stream(
        operation,
        &mut unread,
        input,
        &mut taken,
        &mut left,
        room,
        &mut made,
        &mut None,
        &mut |_, _, _, _| (),
    );
    let is_out = match until {
        Until::End => state.is_finished(),
        Until::More | Until::Flush => !state.has_more_output(),
    };
    is_fine.then_some((taken, made, unread == 0 && is_out)).ok_or(Broken)
}

fn zstd(context: &mut CCtx<'_>, input: &[u8], until: Until, room: &mut [u8]) -> Stepped {
    let directive = match until {
        Until::More => ZSTD_EndDirective::ZSTD_e_continue,
        Until::Flush => ZSTD_EndDirective::ZSTD_e_flush,
        Until::End => ZSTD_EndDirective::ZSTD_e_end,
    };
    let mut source = InBuffer::around(input);
    let mut sink = OutBuffer::around(room);
    let inside = context.compress_stream2(&mut sink, &mut source, directive);
    let inside = inside.map_err(|_code| Broken)?;
    let is_out = until == Until::More || inside == 0;
    Ok((source.pos(), sink.pos(), source.pos() == input.len() && is_out))
}

/// One member (RFC 1952).
struct Gzip {
    deflate: Compress,
    sum: Crc,
    /// What is not written yet of header or trailer.
    fixed: Vec<u8>,
    has_begun: bool,
    has_ended: bool,
}

impl Default for Gzip {
    fn default() -> Self {
        let deflate = Compress::new(Compression::new(GZIP_LEVEL), false);
        let (sum, fixed) = (Crc::new(), Vec::new());
        Self { deflate, sum, fixed, has_begun: false, has_ended: false }
    }
}

impl Gzip {
    fn step(&mut self, input: &[u8], until: Until, room: &mut [u8]) -> Stepped {
        if !self.has_begun {
            self.has_begun = true;
            self.fixed.extend_from_slice(&GZIP_HEADER);
        }
        let fixed = self.fixed.len().min(room.len());
        let (head, room) = room.split_at_mut(fixed);
        head.copy_from_slice(&self.fixed[..fixed]);
        self.fixed.drain(..fixed);
        if self.has_ended {
            return Ok((0, fixed, self.fixed.is_empty()));
        }
        let flush = match until {
            Until::More => FlushCompress::None,
            Until::Flush => FlushCompress::Sync,
            Until::End => FlushCompress::Finish,
        };
        let before = (self.deflate.total_in(), self.deflate.total_out());
        let status = self.deflate.compress(input, room, flush).map_err(|_error| Broken)?;
        let since = |now: u64, then: u64| usize::try_from(now - then).map_err(|_error| Broken);
        let taken = since(self.deflate.total_in(), before.0)?;
        let made = since(self.deflate.total_out(), before.1)?;
        self.sum.update(input.get(..taken).ok_or(Broken)?);
        if status == Status::StreamEnd {
            self.has_ended = true;
            for word in [self.sum.sum(), self.sum.amount()] {
                self.fixed.extend_from_slice(&word.to_le_bytes());
            }
            return Ok((taken, fixed + made, false));
        }
        // A full room may mean that there is more; one that is not full, that there is none.
        let is_out = until != Until::End && made < room.len();
        Ok((taken, fixed + made, taken == input.len() && is_out))
    }
}

#[cfg(test)]
mod tests;
