//! Cookies of a request (RFC 6265 section 5.4).

/// The value of the first cookie of this name in the `Cookie` fields: `a=b; c=d`.
pub fn cookie<'v>(lines: impl Iterator<Item = &'v [u8]>, name: &[u8]) -> Option<&'v [u8]> {
    let mut pairs = lines.flat_map(|line| line.split(|&byte| byte == b';'));
    pairs.find_map(|pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::cookie;

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let lines = [&b"xsession=1; session=abc;session=2"[..], b"last=9"];
        let find = |name: &[u8]| cookie(lines.into_iter(), name);
        assert_eq!(find(b"session"), Some(&b"abc"[..]));
        assert_eq!(find(b"last"), Some(&b"9"[..]));
        assert_eq!(find(b"sess"), None);
        assert_eq!(find(b"none"), None);
    }
}
