//! Integers with a prefix (RFC 7541 section 5.1).

use super::Broken;

/// Most bytes behind the prefix: lengths and indexes of a block fit four.
const BYTES_MAX: u32 = 4;

/// Reads one whose first byte has `prefix` bits of it.
#[inline]
pub(super) fn read(rest: &mut &[u8], prefix: u8) -> Result<usize, Broken> {
    const CUT: Broken = Broken("an integer is cut off");
    let (&first, mut after) = rest.split_first().ok_or(CUT)?;
    let mask = (1_u8 << prefix) - 1;
    let mut value = usize::from(first & mask);
    if value == usize::from(mask) {
        for position in 0.. {
            if position == BYTES_MAX {
                return Err(Broken("an integer is too large"));
            }
            let (&byte, next) = after.split_first().ok_or(CUT)?;
            after = next;
            value += usize::from(byte & 0x7f) << (7 * position);
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *rest = after;
    Ok(value)
}

/// Appends one: `prefix` bits of it in a first byte that begins with `pattern`.
#[inline]
pub(super) fn write(value: usize, prefix: u8, pattern: u8, out: &mut Vec<u8>) {
    let mask = (1_usize << prefix) - 1;
    if value < mask {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | mask as u8);
    let mut left = value - mask;
    while left >= 0x80 {
        out.push(0x80 | (left & 0x7f) as u8);
        left >>= 7;
    }
    out.push(left as u8);
}
