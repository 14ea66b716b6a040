//! What a client's hello says of versions, read before the session does: it would refuse these
//! clients for what they cannot have, and not tell them that their version is the reason.

/// The alerts of a hello that cannot be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswerable {
    /// TLS 1.1 or older.
    OldVersion,
    /// The client has tried a later version before, and somebody has kept it from that (RFC 7507).
    Fallback,
}

impl Unanswerable {
    /// What the client is told: a fatal alert, as a record.
    pub(super) const fn alert(self) -> [u8; 7] {
        match self {
            Self::OldVersion => [21, 3, 1, 0, 2, 2, 70],
            Self::Fallback => [21, 3, 3, 0, 2, 2, 86],
        }
    }

    /// What the first bytes of a connection say, as far as they have come; `None`: go on.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        // A record of a handshake with a whole hello, or so much of one that its version is in it.
        let (&[22, 3, _, length @ ..], hello) = bytes.split_first_chunk::<5>()? else {
            return None;
        };
        let hello = hello.get(..usize::from(u16::from_be_bytes(length))).unwrap_or(hello);
        let (&[1, a, b, c, major, minor], rest) = hello.split_first_chunk::<6>()? else {
            return None;
        };
        // Later versions say 1.2 there (RFC 8446 section 4.1.2).
        if (major, minor) < (3, 3) {
            return Some(Self::OldVersion);
        }
        // Behind its version.
        let length = (u32::from_be_bytes([0, a, b, c]) as usize).checked_sub(2)?;
        has_fallen_back(rest.get(..length)?)?.then_some(Self::Fallback)
    }
}

/// Whether a hello, from its random bytes on, says so and offers no version that is later than 1.2.
fn has_fallen_back(hello: &[u8]) -> Option<bool> {
    const SCSV: [u8; 2] = [0x56, 0];
    const SUPPORTED_VERSIONS: u16 = 43;
    const TLS13: [u8; 2] = [3, 4];
    let mut rest = hello.get(32..)?;
    take(&mut rest, 1)?;
    let suites = take(&mut rest, 2)?;
    if !suites.as_chunks().0.contains(&SCSV) {
        return Some(false);
    }
    take(&mut rest, 1)?;
    let Some(mut extensions) = take(&mut rest, 2) else { return Some(rest.is_empty()) };
    while !extensions.is_empty() {
        let (kind, mut behind) = extensions.split_first_chunk::<2>()?;
        let mut value = take(&mut behind, 2)?;
        extensions = behind;
        if u16::from_be_bytes(*kind) == SUPPORTED_VERSIONS {
            return Some(!take(&mut value, 1)?.as_chunks().0.contains(&TLS13));
        }
    }
    Some(true)
}

/// Takes a vector whose length stands before it, in so many bytes.
fn take<'a>(rest: &mut &'a [u8], length_bytes: usize) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_at_checked(length_bytes)?;
    let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    let (value, behind) = behind.split_at_checked(length)?;
    *rest = behind;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record with a hello of this version, with these suites and extensions.
    fn hello(version: [u8; 2], suites: &[u8], extensions: Option<&[u8]>) -> Vec<u8> {
        let mut body =
            [&version[..], &[7; 32], &[4, 1, 2, 3, 4], &[0, suites.len() as u8]].concat();
        body.extend_from_slice(suites);
        body.extend_from_slice(&[1, 0]);
        if let Some(extensions) = extensions {
            body.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
            body.extend_from_slice(extensions);
        }
        let message = [&[1, 0, 0, body.len() as u8], &body[..]].concat();
        [&[22, 3, 1, 0, message.len() as u8], &message[..]].concat()
    }

    const SUITES: &[u8] = &[0xc0, 0x2b, 0x56, 0];
    const TLS13: &[u8] = &[0, 10, 0, 1, 9, 0, 43, 0, 5, 4, 3, 4, 3, 3];
    const TLS12: &[u8] = &[0, 10, 0, 1, 9, 0, 43, 0, 3, 2, 3, 3];

    #[test]
    fn a_version_that_is_too_old_and_a_fallback_are_told_apart() {
        let fallback = Some(Unanswerable::Fallback);
        for (what, hello, expected) in [
            ("TLS 1.1", hello([3, 2], &[0xc0, 0x13], None), Some(Unanswerable::OldVersion)),
            ("TLS 1.2", hello([3, 3], &[0xc0, 0x2b], Some(TLS12)), None),
            ("no fallback from 1.3", hello([3, 3], SUITES, Some(TLS13)), None),
            ("a fallback that names its versions", hello([3, 3], SUITES, Some(TLS12)), fallback),
            ("one that does not", hello([3, 3], SUITES, Some(&[])), fallback),
            ("one without extensions", hello([3, 3], SUITES, None), fallback),
            ("no hello", vec![22, 3, 1, 0, 4, 14, 0, 0, 0], None),
            ("no handshake", vec![23, 3, 3, 0, 6, 1, 0, 0, 2, 3, 1], None),
            ("a hello in records of one byte", [22, 3, 1, 0, 1, 1].repeat(2), None),
        ] {
            assert_eq!(Unanswerable::of(&hello), expected, "{what}");
        }
    }

    #[test]
    fn a_hello_that_is_cut_says_nothing_wrong() {
        let whole = hello([3, 3], SUITES, Some(TLS13));
        for end in 0..whole.len() {
            assert_eq!(Unanswerable::of(&whole[..end]), None, "{end}");
        }
    }
}
