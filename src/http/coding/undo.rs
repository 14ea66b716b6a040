//! The content codings of a body that is not there as a whole: undone as its bytes come.
//!
//! Pure: no clock. What a step reads and makes is bounded; the caller pauses between steps. How
//! much larger the plain body is than the coded one is not: nobody keeps it.

use super::decoder::{Engine, Malformed, Progress};
use super::{Coding, Codings, Failure, is_enough_for};
use crate::error::Error;
use crate::io::budget::Held;
use crate::limits::{CODING_HEADER_BYTES_MAX, DECODE_INPUT_BYTES, DECODE_OUTPUT_BYTES};

/// See the module's text.
pub struct Undo {
    /// In the order in which they are undone.
    layers: Vec<Layer>,
    held: Held,
}

/// How far a step has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There may be more to make of what was given.
    More,
    /// It wants more coded bytes, or has come to the end.
    Starved,
}

struct Layer {
    coding: Coding,
    engine: Option<Engine>,
    input: Vec<u8>,
    /// So much of `input` is used.
    at: usize,
    /// Between two members, behind the last, or before the first.
    is_between: bool,
    /// Nothing may come any more.
    is_over: bool,
    made: usize,
    held: usize,
}

impl std::fmt::Debug for Undo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.layers.iter().map(|layer| layer.coding)).finish()
    }
}

impl Undo {
    /// At the beginning of a body with these codings; the decoders' memory is taken from `held`.
    pub fn new(codings: &Codings, held: Held) -> Self {
        let layers = codings.list[..codings.count].iter().rev().map(|&coding| Layer {
            coding,
            engine: None,
            input: Vec::new(),
            at: 0,
            is_between: true,
            is_over: false,
            made: 0,
            held: 0,
        });
        Self { layers: layers.collect(), held }
    }

    /// Takes coded bytes.
    pub fn give(&mut self, coded: &[u8]) {
        if let Some(layer) = self.layers.first_mut() {
            layer.give(coded);
        }
    }

    /// Decodes on: appends some plain bytes to `out`. `is_end`: no more coded bytes come.
    ///
    /// # Errors
    /// The body is not what its coding says, or there is no memory for it.
    pub fn step(&mut self, is_end: bool, out: &mut Vec<u8>) -> Result<Step, Failure> {
        let Some(last) = self.layers.len().checked_sub(1) else {
            return Ok(Step::Starved);
        };
        let step = self.make(last, is_end, out)?;
        if is_end && step == Step::Starved && !self.layers.iter().all(Layer::is_complete) {
            return Err(Failure::Malformed);
        }
        Ok(step)
    }

    fn make(&mut self, index: usize, is_end: bool, out: &mut Vec<u8>) -> Result<Step, Failure> {
        let before = out.len();
        loop {
            let start = out.len();
            out.resize(start + DECODE_OUTPUT_BYTES, 0);
            let stepped = self.layers[index].step(is_end, &mut out[start..]);
            let (made, step) = stepped.map_err(|Malformed| Failure::Malformed)?;
            out.truncate(start + made);
            self.hold(index)?;
            if out.len() > before || step == Step::More {
                return Ok(Step::More);
            }
            let Some(outer) = index.checked_sub(1) else {
                return Ok(Step::Starved);
            };
            let mut input = Vec::new();
            let step = self.make(outer, is_end, &mut input)?;
            if input.is_empty() && step == Step::Starved {
                return Ok(Step::Starved);
            }
            self.layers[index].give(&input);
        }
    }

    /// Holds the memory that a decoder has by now.
    fn hold(&mut self, index: usize) -> Result<(), Failure> {
        let layer = &mut self.layers[index];
        if layer.engine.is_none() {
            return Ok(());
        }
        let needed = layer.coding.memory(layer.made);
        let more = needed.saturating_sub(layer.held);
        layer.held = layer.held.max(needed);
        self.held.claim(more).map_err(|_error| Failure::NoRoom(Error::OverBudget))
    }
}

impl Layer {
    fn give(&mut self, bytes: &[u8]) {
        self.input.drain(..self.at);
        self.at = 0;
        self.input.extend_from_slice(bytes);
    }

    /// Whether it may end here.
    fn is_complete(&self) -> bool {
        self.at == self.input.len() && self.is_between
    }

    fn step(&mut self, is_end: bool, out: &mut [u8]) -> Result<(usize, Step), Malformed> {
        let left = self.input.get(self.at..).unwrap_or_default();
        if self.is_complete() {
            return Ok((0, Step::Starved));
        }
        if self.is_over {
            return Err(Malformed);
        }
        if self.engine.is_none() {
            if !is_end && !is_enough_for(self.coding, left) {
                return Ok((0, Step::Starved));
            }
            self.engine = Some(Engine::new(self.coding, left).ok_or(Malformed)?);
        }
        let engine = self.engine.as_mut().ok_or(Malformed)?;
        let input = &left[..left.len().min(DECODE_INPUT_BYTES)];
        let Progress { read, made, is_end: is_member_end } = engine.step(input, left, out)?;
        let is_stuck = read == 0 && made == 0 && !is_member_end;
        if is_stuck && left.len() > CODING_HEADER_BYTES_MAX {
            return Err(Malformed);
        }
        self.at = (self.at + read).min(self.input.len());
        self.made = self.made.saturating_add(made);
        if is_member_end {
            self.is_between = true;
            self.is_over = !engine.has_members();
        } else if !is_stuck {
            self.is_between = false;
        }
        Ok((made, if is_stuck { Step::Starved } else { Step::More }))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::http::message::Fields;

    fn plain(coding: &str, coded: &[u8], piece: usize) -> Result<Vec<u8>, Failure> {
        let mut fields = Fields::new();
        fields.push(b"content-encoding", coding.as_bytes());
        let codings = Codings::of(&fields).unwrap().unwrap();
        let mut undo = Undo::new(&codings, Held::default());
        let mut out = Vec::new();
        for piece in coded.chunks(piece) {
            undo.give(piece);
            while undo.step(false, &mut out)? == Step::More {}
        }
        while undo.step(true, &mut out)? == Step::More {}
        Ok(out)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        coder.write_all(bytes).unwrap();
        coder.finish().unwrap()
    }

    #[test]
    fn a_body_comes_out_plain_however_its_bytes_come() {
        let text: Vec<u8> = (0..200_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let zlib = {
            let mut coder =
                flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            coder.write_all(&text).unwrap();
            coder.finish().unwrap()
        };
        let zstd = {
            let mut coded = vec![0; zstd_safe::compress_bound(text.len())];
            let length = zstd_safe::compress(&mut coded[..], &text, 3).unwrap();
            coded.truncate(length);
            coded
        };
        let two = [gzip(&text), gzip(b"more")].concat();
        let both = [&text[..], b"more"].concat();
        for piece in [1, 2, 3, 1000, usize::MAX] {
            assert!(plain("gzip", &gzip(&text), piece).unwrap() == text, "{piece}");
            assert!(plain("gzip", &two, piece).unwrap() == both, "{piece}");
            assert!(plain("deflate", &zlib, piece).unwrap() == text, "{piece}");
            assert!(plain("zstd", &zstd, piece).unwrap() == text, "{piece}");
            assert!(plain("gzip, gzip", &gzip(&gzip(&text)), piece).unwrap() == text, "{piece}");
        }
        assert_eq!(plain("gzip", b"", 1), Ok(Vec::new()));
    }

    #[test]
    fn what_is_cut_or_goes_on_behind_its_end_is_malformed() {
        let coded = gzip(b"some text that is coded");
        for piece in [1, usize::MAX] {
            for length in 1..coded.len() {
                let cut = plain("gzip", &coded[..length], piece);
                assert_eq!(cut, Err(Failure::Malformed), "{length}");
            }
            let more = [&coded[..], b"x"].concat();
            assert_eq!(plain("gzip", &more, piece), Err(Failure::Malformed));
        }
    }

    #[test]
    fn what_is_flushed_is_plain_before_more_comes() {
        let mut fields = Fields::new();
        fields.push(b"content-encoding", b"gzip");
        let codings = Codings::of(&fields).unwrap().unwrap();
        let mut undo = Undo::new(&codings, Held::default());
        let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for event in ["data: 1\n\n", "data: 2\n\n"] {
            coder.write_all(event.as_bytes()).unwrap();
            coder.flush().unwrap();
            undo.give(&std::mem::take(coder.get_mut()));
            let mut out = Vec::new();
            while undo.step(false, &mut out).unwrap() == Step::More {}
            assert_eq!(out, event.as_bytes());
        }
    }
}
