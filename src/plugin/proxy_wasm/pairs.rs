//! Lists of names and values as they cross the border: a count, the lengths, then every name and
//! value with a NUL behind it.

/// Appends pairs in their form for a guest.
pub(super) fn write<'a>(
    pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    out: &mut Vec<u8>,
) {
    // Heads are bounded far below 2^32 bytes.
    out.extend_from_slice(&(pairs.clone().count() as u32).to_le_bytes());
    for (name, value) in pairs.clone() {
        out.extend_from_slice(&(name.len() as u32).to_le_bytes());
        out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    }
    for (name, value) in pairs {
        for part in [name, value] {
            out.extend_from_slice(part);
            out.push(0);
        }
    }
}

/// Reads pairs that a guest has written; `None` where they are not what they say they are, or more
/// than `most`. An empty text is an empty list, and so is a single NUL.
pub(super) fn read(bytes: &[u8], most: usize) -> Option<Vec<(&[u8], &[u8])>> {
    if matches!(bytes, [] | [0]) {
        return Some(Vec::new());
    }
    let count = number(bytes, 0)?;
    if count > most {
        return None;
    }
    let mut at = count.checked_mul(8)?.checked_add(4)?;
    let mut part = |length: usize| {
        let end = at.checked_add(length)?;
        let part = bytes.get(at..end)?;
        // The NUL behind the last one may be left out.
        at = end.checked_add(1)?;
        Some(part)
    };
    let mut pairs = Vec::with_capacity(count.min(bytes.len() / 8));
    for index in 0..count {
        let lengths = 4 + index * 8;
        let name = part(number(bytes, lengths)?)?;
        pairs.push((name, part(number(bytes, lengths + 4)?)?));
    }
    Some(pairs)
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_back_as_they_went() {
        let pairs: [(&[u8], &[u8]); 3] = [(b":path", b"/"), (b"", b""), (b"x", b"a\0b")];
        let mut bytes = Vec::new();
        write(pairs.iter().copied(), &mut bytes);
        assert_eq!(read(&bytes, 3).unwrap(), pairs);
        assert_eq!(read(&bytes, 2), None);
        assert_eq!(read(b"", 0), Some(Vec::new()));
        assert_eq!(read(b"\0", 0), Some(Vec::new()));
    }

    #[test]
    fn nothing_that_a_guest_writes_is_read_beyond_its_end() {
        let mut bytes = Vec::new();
        write([(&b"name"[..], &b"value"[..])].into_iter(), &mut bytes);
        for length in 1..bytes.len() - 1 {
            assert_eq!(read(&bytes[..length], 9), None, "{length}");
        }
        for at in 0..12 {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut broken = bytes.clone();
                broken[at] = byte;
                let _any = read(&broken, usize::MAX);
            }
        }
        assert_eq!(read(&[0xff; 4], usize::MAX), None);
    }
}
