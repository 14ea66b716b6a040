//! The static table (RFC 7541 appendix A).

/// Its entries, the first of which has index 1.
#[rustfmt::skip]
pub static STATIC: [(&[u8], &[u8]); 61] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];

/// The index of `authorization`.
pub(super) const AUTHORIZATION: u8 = 23;
/// The index of `cookie`.
pub(super) const COOKIE: u8 = 32;

/// Places of names: a name's hash leads to its index, and to no other name's.
const SLOTS: usize = 256;

const fn hash(length: usize, first: u8, middle: u8, last: u8) -> usize {
    let (first, middle, last) = (first as usize, middle as usize, last as usize);
    (length * MIX[0] + first * MIX[1] + middle * MIX[2] + last * MIX[3]) % SLOTS
}

/// Found by search: with these, no two names of the table share a slot.
const MIX: [usize; 4] = [131, 28, 200, 42];

static PLACES: [u8; SLOTS] = {
    let mut places = [0_u8; SLOTS];
    let mut index = 14;
    while index < STATIC.len() {
        let name = STATIC[index].0;
        let slot = hash(name.len(), name[0], name[name.len() / 2], name[name.len() - 1]);
        assert!(places[slot] == 0, "two names share a slot");
        places[slot] = index as u8 + 1;
        index += 1;
    }
    places
};

/// The index of a field's name, in letters of either case; of no pseudo-header.
#[inline]
pub(super) fn find(name: &[u8]) -> Option<u8> {
    let small = |byte: Option<&u8>| byte.map_or(0, u8::to_ascii_lowercase);
    let (first, last) = (small(name.first()), small(name.last()));
    let middle = small(name.get(name.len() / 2));
    let index = *PLACES.get(hash(name.len(), first, middle, last))?;
    let known = STATIC.get(usize::from(index).checked_sub(1)?)?.0;
    name.eq_ignore_ascii_case(known).then_some(index)
}
