//! Content codings (RFC 9110 section 8.4): which ones a body has, and the plain bytes under them.
//!
//! Whoever has to see what a body says needs this; what was decoded is not encoded again, unless a
//! service compresses its responses ([`encoder`]). A coded body comes from outside and may be made
//! to cost: it is decoded in steps that are bounded both by what they read and by what they make,
//! with a pause through the timer when they have taken a millisecond together.

mod decoder;
pub mod encoder;
mod undo;

use std::time::Instant;

use self::decoder::{Decoder, Malformed};
pub use self::undo::{Step, Undo};
use crate::error::Error;
use crate::http::message::Fields;
use crate::io::budget::Held;
use crate::io::sleep;
use crate::limits::{
    BROTLI_TABLES_BYTES, BROTLI_WINDOW_BYTES_MAX, CODINGS_MAX, DECODE_OUTPUT_BYTES,
    DECODE_RATIO_FROM, DECODE_RATIO_MAX, INFLATE_BYTES, PLUGIN_YIELD, ZSTD_TABLES_BYTES,
    ZSTD_WINDOW_LOG_MAX,
};

/// The codings that are known, as `Accept-Encoding` names them.
pub const KNOWN: &str = "gzip, br, zstd, deflate";

/// Fields that tell of the coded bytes: of the plain ones they would be wrong.
const OF_CODED_BYTES: [&[u8]; 6] = [
    b"Content-Encoding",
    b"Content-MD5",
    b"Digest",
    b"Content-Digest",
    b"Repr-Digest",
    b"Accept-Ranges",
];

/// A coding that can be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952, any number of members.
    Gzip,
    /// The zlib format, or bare deflate data, which many senders call so.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878, any number of frames.
    Zstd,
}

/// The codings of a body, in the order in which they were applied; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Codings {
    list: [Coding; CODINGS_MAX],
    count: usize,
}

/// A coding that is not known, or more codings than are undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown;

/// Why there are no plain bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It is not what its coding says: damaged, cut, or with something behind its end.
    Malformed,
    /// The plain bytes are over the limit, or out of proportion to the coded ones.
    TooLarge,
    /// There is no memory for them.
    NoRoom(Error),
}

impl Coding {
    /// What `Content-Encoding` calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// The memory of its decoder for `most` plain bytes: its tables, and its window as far as it
    /// is used.
    fn memory(self, most: usize) -> usize {
        match self {
            Self::Gzip | Self::Deflate => INFLATE_BYTES,
            Self::Brotli => BROTLI_TABLES_BYTES + most.min(BROTLI_WINDOW_BYTES_MAX),
            Self::Zstd => ZSTD_TABLES_BYTES + most.min(1 << ZSTD_WINDOW_LOG_MAX),
        }
    }
}

impl Codings {
    /// What `Content-Encoding` names; `None` for a plain body.
    ///
    /// # Errors
    /// It cannot be undone.
    pub fn of(fields: &Fields) -> Result<Option<Self>, Unknown> {
        let mut codings = Self { list: [Coding::Gzip; CODINGS_MAX], count: 0 };
        let values = fields.get_all("content-encoding");
        for token in values.flat_map(|value| value.split(|&byte| byte == b',')) {
            let is = |name: &[u8]| token.trim_ascii().eq_ignore_ascii_case(name);
            let coding = match () {
                () if is(b"") || is(b"identity") => continue,
                () if is(b"gzip") || is(b"x-gzip") => Coding::Gzip,
                () if is(b"deflate") => Coding::Deflate,
                () if is(b"br") => Coding::Brotli,
                () if is(b"zstd") => Coding::Zstd,
                () => return Err(Unknown),
            };
            *codings.list.get_mut(codings.count).ok_or(Unknown)? = coding;
            codings.count += 1;
        }
        Ok((codings.count > 0).then_some(codings))
    }

    /// The plain bytes, at most `bytes_max`; each memory that they take on the way is `held`.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn undo(
        &self,
        coded: &[u8],
        bytes_max: usize,
        held: &Held,
    ) -> Result<Vec<u8>, Failure> {
        let mut codings = self.list[..self.count].iter().rev();
        let Some(&last) = codings.next().filter(|_| !coded.is_empty()) else {
            // Some senders name a coding for nothing.
            return Ok(Vec::new());
        };
        let mut bytes = undo(last, coded, bytes_max, held).await?;
        for &coding in codings {
            let plain = undo(coding, &bytes, bytes_max, held).await?;
            held.give_back(std::mem::replace(&mut bytes, plain));
        }
        Ok(bytes)
    }
}

/// Makes the fields those of the plain bytes.
pub fn describe_plain(fields: &mut Fields) {
    for name in OF_CODED_BYTES {
        fields.remove(name);
    }
    // It names the coded bytes. Those who have the plain ones may still ask whether they changed.
    let strong = fields.get("etag").filter(|tag| tag.first() == Some(&b'"'));
    if let Some(weak) = strong.map(|tag| [b"W/", tag].concat()) {
        fields.set(b"ETag", &weak);
    }
}

/// Whether these first bytes of a body say how it is decoded.
fn is_enough_for(coding: Coding, first: &[u8]) -> bool {
    match coding {
        // Bare deflate data or zlib's format.
        Coding::Deflate => first.len() >= 2,
        Coding::Gzip | Coding::Brotli | Coding::Zstd => !first.is_empty(),
    }
}

async fn undo(
    coding: Coding,
    coded: &[u8],
    bytes_max: usize,
    held: &Held,
) -> Result<Vec<u8>, Failure> {
    let most = bytes_max.min((coded.len().saturating_mul(DECODE_RATIO_MAX)).max(DECODE_RATIO_FROM));
    let _reserved = held.reserve(coding.memory(most)).map_err(Failure::NoRoom)?;
    let mut decoder = Decoder::new(coding, coded).ok_or(Failure::NoRoom(Error::OverBudget))?;
    let mut plain = Vec::new();
    let mut since = Instant::now();
    loop {
        let step = DECODE_OUTPUT_BYTES.min(most + 1 - plain.len());
        held.make_room(&mut plain, step, most + 1).map_err(Failure::NoRoom)?;
        let start = plain.len();
        plain.resize(start + step, 0);
        let (made, is_whole) =
            decoder.step(&mut plain[start..]).map_err(|Malformed| Failure::Malformed)?;
        plain.truncate(start + made);
        if plain.len() > most {
            return Err(Failure::TooLarge);
        }
        if is_whole {
            return Ok(plain);
        }
        if since.elapsed() >= PLUGIN_YIELD {
            // Through the timer: a task that wakes itself keeps all others from running.
            sleep(PLUGIN_YIELD).await;
            since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests;
