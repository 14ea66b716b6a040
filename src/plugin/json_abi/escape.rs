//! What stands between the quotes of a JSON string (RFC 8259 section 7).
//!
//! A body that a plugin reads is mostly JSON itself, with a quote every few bytes: branches on each
//! byte are mispredicted, and such a body of 64 KB took longer to write than its whole request did.
//! So texts are taken by blocks, without a branch on where in a block the escapes stand.

#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "instructions not of every processor are called behind a check")
)]

/// Appends `text` with its escapes.
pub(super) fn write_escaped(out: &mut Vec<u8>, text: &[u8]) {
    if is_plain(text) {
        out.extend_from_slice(text);
        return;
    }
    out.reserve(text.len() + text.len() / 8);
    #[cfg(target_arch = "x86_64")]
    if text.len() >= wide::BLOCK_BYTES && wide::are_there() {
        // SAFETY: this processor has what the function is compiled for.
        unsafe { wide::write(out, text) };
        return;
    } else if vectors::are_there() {
        // SAFETY: as above.
        unsafe { vectors::write(out, text) };
        return;
    }
    write_by_words(out, text);
}

/// Whether `text` stands for itself, but for being UTF-8: seen in one pass, true of most values.
fn is_plain(text: &[u8]) -> bool {
    is_plain_and_lacks(text, 0)
}

/// Whether all of `bytes` are ASCII characters that stand for themselves in a JSON string.
pub(super) fn is_plain_ascii(bytes: &[u8]) -> bool {
    is_plain_and_lacks(bytes, HIGH)
}

/// Whether no byte needs an escape or has one of the bits that `bits` has in each of its bytes.
#[inline]
fn is_plain_and_lacks(bytes: &[u8], bits: u64) -> bool {
    let differs = |eight: &[u8; 8]| {
        let block = u64::from_le_bytes(*eight);
        block & bits != 0 || any_needs_escape(block)
    };
    match bytes.last_chunk::<8>() {
        // The last eight bytes overlap those before them: no byte is looked at alone.
        Some(last) => !bytes.as_chunks::<8>().0.iter().any(differs) && !differs(last),
        None => bytes.iter().all(|&byte| byte & bits as u8 == 0 && ESCAPES[usize::from(byte)] == 0),
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Whether one of eight bytes does ("determine if a word has a byte less than n" and "equal to n"
/// of the Bit Twiddling Hacks): a borrow may reach a byte above one that is found, never one that
/// stands alone.
fn any_needs_escape(block: u64) -> bool {
    let less = |word: u64, than: u8| word.wrapping_sub(ONES * u64::from(than)) & !word & HIGH;
    let equal = |to: u8| less(block ^ (ONES * u64::from(to)), 1);
    less(block, 0x20) | equal(b'"') | equal(b'\\') != 0
}

/// The control characters whose escape is a letter, and the letter.
const LETTERS: [(u8, u8); 3] = [(b'\n', b'n'), (b'\t', b't'), (b'\r', b'r')];

/// What stands behind the backslash of a byte's escape: `u` for its number, 0 for no escape.
static ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        escapes[control] = b'u';
        control += 1;
    }
    let mut at = 0;
    while at < LETTERS.len() {
        let (from, to) = LETTERS[at];
        escapes[from as usize] = to;
        at += 1;
    }
    escapes[b'"' as usize] = b'"';
    escapes[b'\\' as usize] = b'\\';
    escapes
};

fn push_escaped(out: &mut Vec<u8>, byte: u8) {
    match ESCAPES[usize::from(byte)] {
        0 => out.push(byte),
        b'u' => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&digits);
        }
        letter => out.extend_from_slice(&[b'\\', letter]),
    }
}

/// On any processor: what is clean is copied in runs, eight bytes with an escape in them byte by
/// byte. (A run for each piece between two escapes measured three times as long.)
fn write_by_words(out: &mut Vec<u8>, text: &[u8]) {
    let (blocks, rest) = text.as_chunks::<8>();
    let mut run = 0;
    for (index, block) in blocks.iter().enumerate() {
        if any_needs_escape(u64::from_le_bytes(*block)) {
            out.extend_from_slice(&text[run..8 * index]);
            block.iter().for_each(|&byte| push_escaped(out, byte));
            run = 8 * (index + 1);
        }
    }
    out.extend_from_slice(&text[run..8 * blocks.len()]);
    rest.iter().for_each(|&byte| push_escaped(out, byte));
}

/// With vectors of 16 bytes: eight bytes become up to sixteen by one shuffle, which a table gives
/// for each set of places where an escape stands.
#[cfg(target_arch = "x86_64")]
mod vectors {
    use std::arch::x86_64::*;

    use super::{LETTERS, push_escaped};

    /// Bytes of text taken together; they become at most twice as many.
    const PIECE_BYTES: usize = 512;

    /// For each set of places among eight bytes: where each byte of the outcome comes from. 8 is
    /// the backslash; what lies beyond the outcome does not matter.
    static SPREAD: [[u8; 16]; 256] = {
        let mut table = [[0; 16]; 256];
        let mut set = 0;
        while set < 256 {
            let (mut from, mut to) = (0, 0);
            while from < 8 {
                if set >> from & 1 == 1 {
                    table[set][to] = 8;
                    to += 1;
                }
                table[set][to] = from;
                to += 1;
                from += 1;
            }
            set += 1;
        }
        table
    };

    /// Whether this processor has what the functions are compiled for.
    pub(super) fn are_there() -> bool {
        is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("popcnt")
    }

    #[target_feature(enable = "ssse3")]
    fn load(bytes: &[u8; 16]) -> __m128i {
        // SAFETY: sixteen bytes are read, of any alignment.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    }

    #[target_feature(enable = "ssse3")]
    fn store(bytes: &mut [u8; 16], vector: __m128i) {
        // SAFETY: sixteen bytes are written, of any alignment.
        unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), vector) }
    }

    /// Appends `text` with its escapes.
    #[target_feature(enable = "ssse3,popcnt")]
    pub(super) fn write(out: &mut Vec<u8>, text: &[u8]) {
        let mut made = [0; 2 * PIECE_BYTES];
        for piece in text.chunks(PIECE_BYTES) {
            let (blocks, rest) = piece.as_chunks::<16>();
            let mut end = 0;
            for block in blocks {
                match write_block(&mut made, end, load(block)) {
                    Some(after) => end = after,
                    None => {
                        out.extend_from_slice(&made[..end]);
                        end = 0;
                        block.iter().for_each(|&byte| push_escaped(out, byte));
                    }
                }
            }
            out.extend_from_slice(&made[..end]);
            rest.iter().for_each(|&byte| push_escaped(out, byte));
        }
    }

    /// Puts a block with its escapes at `end` of `made`, which has room for twice as much, and says
    /// where it ends. `None`: a character in it has no escape of a single letter.
    #[target_feature(enable = "ssse3,popcnt")]
    #[inline]
    fn write_block(made: &mut [u8; 2 * PIECE_BYTES], end: usize, block: __m128i) -> Option<usize> {
        let all = |byte: u8| _mm_set1_epi8(byte.cast_signed());
        let is = |byte| _mm_cmpeq_epi8(block, all(byte));
        let controls = _mm_cmpeq_epi8(_mm_min_epu8(block, all(0x1f)), block);
        let escaped = _mm_or_si128(_mm_or_si128(is(b'"'), is(b'\\')), controls);
        let places = _mm_movemask_epi8(escaped) as usize;
        if places == 0 {
            store(made[end..].first_chunk_mut()?, block);
            return Some(end + 16);
        }
        let mut letters = block;
        if _mm_movemask_epi8(controls) != 0 {
            let mut others = controls;
            for (from, to) in LETTERS {
                let change = _mm_and_si128(is(from), all(from ^ to));
                letters = _mm_xor_si128(letters, change);
                others = _mm_andnot_si128(is(from), others);
            }
            if _mm_movemask_epi8(others) != 0 {
                return None;
            }
        }
        let (low, high) = (places & 0xff, places >> 8 & 0xff);
        let spread = |half, places: usize| _mm_shuffle_epi8(half, load(&SPREAD[places]));
        let middle = end + 8 + low.count_ones() as usize;
        let first = spread(_mm_unpacklo_epi64(letters, all(b'\\')), low);
        store(made[end..].first_chunk_mut()?, first);
        let second = spread(_mm_unpackhi_epi64(letters, all(b'\\')), high);
        store(made[middle..].first_chunk_mut()?, second);
        Some(middle + 8 + high.count_ones() as usize)
    }
}

/// With vectors of 64 bytes (AVX-512 VBMI2: Intel's servers since 2021, AMD's since 2022): each of
/// 32 bytes gets a backslash before it, and one instruction drops those that no escape needs.
#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::*;
    use std::mem::MaybeUninit;

    use super::{LETTERS, push_escaped, vectors};

    /// Bytes of text taken together: shorter texts gain nothing.
    pub(super) const BLOCK_BYTES: usize = 32;

    /// Whether this processor has what the functions are compiled for.
    pub(super) fn are_there() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vbmi2")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("bmi2")
            && vectors::are_there()
    }

    /// Appends `text` with its escapes.
    #[target_feature(enable = "avx512vbmi2,avx512bw,avx512vl,bmi2,ssse3,popcnt")]
    pub(super) fn write(out: &mut Vec<u8>, text: &[u8]) {
        let (blocks, rest) = text.as_chunks::<BLOCK_BYTES>();
        for block in blocks {
            match spread(block) {
                Some((spread, places)) => append(out, spread, places),
                None => block.iter().for_each(|&byte| push_escaped(out, byte)),
            }
        }
        if !rest.is_empty() {
            vectors::write(out, rest);
        }
    }

    /// Each byte behind a backslash, and which of both to keep. `None`: a character among them has
    /// no escape of a single letter.
    #[target_feature(enable = "avx512bw,avx512vl,bmi2")]
    #[inline]
    fn spread(block: &[u8; BLOCK_BYTES]) -> Option<(__m512i, u64)> {
        const EACH_SECOND: u64 = 0x5555_5555_5555_5555;
        let all = |byte: u8| _mm256_set1_epi8(byte.cast_signed());
        // SAFETY: 32 bytes are read, of any alignment.
        let block = unsafe { _mm256_loadu_si256(block.as_ptr().cast()) };
        let is = |byte| _mm256_cmpeq_epi8_mask(block, all(byte));
        let controls = _mm256_cmple_epu8_mask(block, all(0x1f));
        let mut letters = block;
        if controls != 0 {
            let mut others = controls;
            for (from, to) in LETTERS {
                letters = _mm256_mask_mov_epi8(letters, is(from), all(to));
                others &= !is(from);
            }
            if others != 0 {
                return None;
            }
        }
        let escaped = controls | is(b'"') | is(b'\\');
        let behind = _mm512_slli_epi16::<8>(_mm512_cvtepu8_epi16(letters));
        let pairs = _mm512_or_si512(behind, _mm512_set1_epi16(i16::from(b'\\')));
        Some((pairs, _pdep_u64(u64::from(escaped), EACH_SECOND) | EACH_SECOND << 1))
    }

    /// Appends the bytes of `from` at these places.
    #[target_feature(enable = "avx512vbmi2,popcnt")]
    #[inline]
    fn append(out: &mut Vec<u8>, from: __m512i, places: u64) {
        out.reserve(64);
        let kept = _mm512_maskz_compress_epi8(places, from);
        // Always there, as it was reserved.
        let Some(room) = out.spare_capacity_mut().first_chunk_mut::<64>() else { return };
        store(room, kept);
        // SAFETY: there are 64 bytes more, of which these are at most all.
        unsafe { out.set_len(out.len() + places.count_ones() as usize) };
    }

    #[target_feature(enable = "avx512f")]
    fn store(bytes: &mut [MaybeUninit<u8>; 64], vector: __m512i) {
        // SAFETY: 64 bytes are written, of any alignment.
        unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), vector) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Way = fn(&mut Vec<u8>, &[u8]);

    /// Each way there is on this machine.
    fn ways() -> Vec<Way> {
        let mut ways: Vec<Way> = vec![write_escaped, write_by_words];
        #[cfg(target_arch = "x86_64")]
        {
            if vectors::are_there() {
                // SAFETY: the processor has what it is compiled for.
                ways.push(|out, text| unsafe { vectors::write(out, text) });
            }
            if wide::are_there() {
                // SAFETY: as above.
                ways.push(|out, text| unsafe { wide::write(out, text) });
            }
        }
        ways
    }

    fn written(way: Way, text: &str) -> String {
        let mut out = b"\"".to_vec();
        way(&mut out, text.as_bytes());
        out.push(b'"');
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_what_serde_json_reads_back() {
        let all: String = (0..0x300).filter_map(char::from_u32).collect();
        for start in 0..70 {
            let text = format!("{}{all}", "x".repeat(start));
            for way in ways() {
                assert_eq!(serde_json::from_str::<String>(&written(way, &text)).unwrap(), text);
            }
        }
    }

    #[test]
    fn every_set_of_escapes_in_sixteen_bytes_is_written_as_serde_json_writes_it() {
        for places in 0..=u16::MAX {
            for escaped in ['"', '\n', '\\'] {
                let letter = |places: u16, at: u8| match places >> at & 1 {
                    1 => escaped,
                    _ => char::from(b'a' + at),
                };
                // Behind them as many, in another set.
                let (first, then) = (0..16, 0..16);
                let text: String = first
                    .map(|at| letter(places, at))
                    .chain(then.map(|at| letter(places.wrapping_mul(0x9e37), at)))
                    .collect();
                let expected = serde_json::to_string(&text).unwrap();
                for way in ways() {
                    assert_eq!(written(way, &text), expected);
                }
            }
        }
    }

    #[test]
    fn long_texts_of_nothing_but_escapes_fit() {
        for character in ["\"", "\u{1}", "\t", "\"\u{1f}", "xxxxxxxxxxxxxxxx\u{0}\"", "é\""] {
            let text = character.repeat(3000);
            for way in ways() {
                assert_eq!(serde_json::from_str::<String>(&written(way, &text)).unwrap(), text);
            }
        }
    }
}
