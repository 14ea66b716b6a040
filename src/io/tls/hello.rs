//! What a client's hello says of versions and of ciphers, read before the session does: it would
//! refuse some clients for what they cannot have, and not tell them that their version is the
//! reason; and it takes one side's order of ciphers for all.

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
        let (version, hello) = hello(bytes)?;
        // Later versions say 1.2 there (RFC 8446 section 4.1.2).
        if version < [3, 3] {
            return Some(Self::OldVersion);
        }
        has_fallen_back(hello?)?.then_some(Self::Fallback)
    }
}

/// Whether a client likes ChaCha20 better than AES: it has no instructions for that.
pub(super) fn prefers_chacha20(bytes: &[u8]) -> bool {
    const CHACHA20: [[u8; 2]; 3] = [[0x13, 0x03], [0xcc, 0xa8], [0xcc, 0xa9]];
    const AES: [[u8; 2]; 6] =
        [[0x13, 0x01], [0x13, 0x02], [0xc0, 0x2b], [0xc0, 0x2c], [0xc0, 0x2f], [0xc0, 0x30]];
    let suites = hello(bytes).and_then(|(_, hello)| suites(&mut hello?));
    // Among those that can be agreed on; others stand between them (RFC 8701).
    let known = suites.unwrap_or_default().as_chunks().0.iter();
    known
        .clone()
        .find(|suite| CHACHA20.contains(suite) || AES.contains(suite))
        .is_some_and(|first| CHACHA20.contains(first))
}

/// The version of the hello that a connection begins with, and all behind it, if that has come.
fn hello(bytes: &[u8]) -> Option<([u8; 2], Option<&[u8]>)> {
    // A record of a handshake with a whole hello, or so much of one that its version is in it.
    let (&[22, 3, _, length @ ..], hello) = bytes.split_first_chunk::<5>()? else {
        return None;
    };
    let hello = hello.get(..usize::from(u16::from_be_bytes(length))).unwrap_or(hello);
    let (&[1, a, b, c, major, minor], rest) = hello.split_first_chunk::<6>()? else {
        return None;
    };
    // Behind its version.
    let length = (u32::from_be_bytes([0, a, b, c]) as usize).checked_sub(2)?;
    Some(([major, minor], rest.get(..length)))
}

/// The cipher suites of a hello, from its random bytes on, which are taken with them.
fn suites<'a>(hello: &mut &'a [u8]) -> Option<&'a [u8]> {
    *hello = hello.get(32..)?;
    take(hello, 1)?;
    take(hello, 2)
}

/// Whether a hello, from its random bytes on, says so and offers no version that is later than 1.2.
fn has_fallen_back(mut rest: &[u8]) -> Option<bool> {
    const SCSV: [u8; 2] = [0x56, 0];
    const SUPPORTED_VERSIONS: u16 = 43;
    const TLS13: [u8; 2] = [3, 4];
    let suites = suites(&mut rest)?;
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
    fn who_likes_chacha20_best_says_so_by_its_order_whatever_else_it_names() {
        for (suites, expected) in [
            (&[0x13, 0x02, 0x13, 0x03, 0x13, 0x01][..], false),
            (&[0x13, 0x03, 0x13, 0x01], true),
            (&[0x1a, 0x1a, 0xcc, 0xa9, 0xc0, 0x2b], true),
            (&[0x0a, 0x0a, 0x00, 0xff, 0xc0, 0x30, 0xcc, 0xa8], false),
            (&[0x00, 0x2f], false),
            (&[], false),
        ] {
            assert_eq!(prefers_chacha20(&hello([3, 3], suites, Some(TLS13))), expected);
        }
        assert!(!prefers_chacha20(b"GET / HTTP/1.1"));
    }

    #[test]
    fn a_hello_that_is_cut_says_nothing_wrong() {
        let whole = hello([3, 3], SUITES, Some(TLS13));
        for end in 0..whole.len() {
            assert_eq!(Unanswerable::of(&whole[..end]), None, "{end}");
        }
    }
}
