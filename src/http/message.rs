//! The version-neutral form of a request and a response: heads, fields, bodies.
//!
//! Codecs (HTTP/1 today) translate bytes to these types and back; everything between them
//! (exchange, routing, plugins, relay) knows only these. Framing fields (Content-Length,
//! Transfer-Encoding) and hop-by-hop fields never stand in [`Fields`]: the codec that reads a head
//! turns them into a [`BodyLength`] and connection state, the codec that writes one makes its own.
//!
//! Everything here is reused from one exchange to the next (`clear` keeps the capacity), so a
//! warmed-up worker parses a head without an allocation (but where `Connection` names fields).

mod ip_text;
mod method;

use std::ops::Range;

pub use self::ip_text::IpText;
pub use self::method::Method;
use crate::http::upgrade::Upgrade;

/// Whether `bytes` is a `token` of RFC 9110 section 5.6.2.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// Whether `byte` may stand in a token: a field name, a method.
pub const fn is_token_byte(byte: u8) -> bool {
    matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.'
        | b'^' | b'_' | b'`' | b'|' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')
}

/// Whether `bytes` may stand as a field value: no CTL but HTAB, no surrounding white space (RFC
/// 9110 section 5.5). Bytes over 0x7F are allowed as they are (obs-text).
pub fn is_field_value(bytes: &[u8]) -> bool {
    let edge = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    !edge(bytes.first())
        && !edge(bytes.last())
        && bytes.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

/// Whether `bytes` can be an authority without user information: `host`, `host:port`, `[v6]:port`
/// (RFC 3986 section 3.2), by its bytes alone.
pub fn is_authority(bytes: &[u8]) -> bool {
    if let [b'[', rest @ ..] = bytes {
        let Some(end) = rest.iter().position(|&byte| byte == b']') else {
            return false;
        };
        let (address, behind) = (&rest[..end], &rest[end + 1..]);
        let is_address = |byte: &u8| byte.is_ascii_hexdigit() || b":.".contains(byte);
        return !address.is_empty() && address.iter().all(is_address) && is_no_or_a_port(behind);
    }
    let name = bytes.iter().take_while(|&&byte| NAME_BYTES[usize::from(byte)]).count();
    name > 0 && is_no_or_a_port(&bytes[name..])
}

/// The bytes of a host's name (`reg-name`, but for `,`).
static NAME_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte as u8, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.'
            | b'_' | b'~' | b'%' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';'
            | b'=');
        byte += 1;
    }
    table
};

fn is_no_or_a_port(behind_host: &[u8]) -> bool {
    match behind_host {
        [] => true,
        [b':', port @ ..] => is_port(port),
        _ => false,
    }
}

fn is_port(bytes: &[u8]) -> bool {
    let is_small = || matches!((bytes.len(), bytes <= &b"65535"[..]), (..5, _) | (5, true));
    bytes.iter().all(u8::is_ascii_digit) && is_small()
}

/// Between a name and its value, and after that.
const SEPARATOR: &[u8] = b": ";
const LINE_END: &[u8] = b"\r\n";

/// Where one field's name and value stand in the bytes of its [`Fields`].
#[derive(Debug, Clone, Copy)]
struct Place {
    name: u32,
    name_end: u32,
    value: u32,
    end: u32,
    /// The field stands as its line is to be written: separator and line end are there.
    is_line: bool,
}

/// The fields of a head (or trailers), in their order, names in the sender's spelling. Several
/// fields of one name stay several.
///
/// Invariant: every name is a token, every value passes [`is_field_value`]; whoever pushes has
/// checked it (the parser by parsing, the plugin ABI by asking), so that no encoder has to.
///
/// The bytes are lines as they stand in an HTTP/1 head: what a parser reads is copied whole, and
/// what goes on unchanged is written in few pieces ([`Self::write_lines`]).
#[derive(Debug, Clone, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    places: Places,
}

/// The places of the fields of one [`Fields`].
#[derive(Debug, Clone, Default)]
pub struct Places {
    list: Vec<Place>,
    /// The [`kind`] of each name that is or was there: most names that are asked for are not.
    kinds: u64,
    /// A name that was read has a `_`.
    has_underscores: bool,
}

/// A bit for a name, by its length and first letter, the same in either case.
#[inline]
fn kind(name: &[u8]) -> u64 {
    let first = name.first().map_or(0, |byte| usize::from(byte | 0x20));
    1 << ((name.len() ^ first << 3) % 64)
}

impl Places {
    /// Notes that a name has a `_`.
    pub fn note_underscore(&mut self) {
        self.has_underscores = true;
    }

    /// Notes a field of a head: its name and where that begins, where its value begins and ends,
    /// and whether it stands as a line is written: `Name: value`, CR LF.
    #[inline]
    pub fn add(&mut self, name: &[u8], name_at: usize, value: Range<usize>, is_line: bool) {
        // u32: a head is bounded by limits::HEAD_BYTES_MAX and what plugins may add to it.
        let (name_end, value, end) = (name_at + name.len(), value.start as u32, value.end as u32);
        let (name_at, name_end) = (name_at as u32, name_end as u32);
        self.list.push(Place { name: name_at, name_end, value, end, is_line });
        self.kinds |= kind(name);
    }
}

impl Fields {
    /// No fields.
    pub const fn new() -> Self {
        const PLACES: Places = Places { list: Vec::new(), kinds: 0, has_underscores: false };
        Self { bytes: Vec::new(), places: PLACES }
    }

    /// Forgets all fields, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.places.list.clear();
        self.places.kinds = 0;
        self.places.has_underscores = false;
    }

    /// Whether a name in the head that was read has a `_`.
    pub fn has_underscores(&self) -> bool {
        self.places.has_underscores
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.places.list.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.places.list.is_empty()
    }

    /// Begins anew with the fields of a head that `find` finds in `bytes`: it adds their places and
    /// returns where the head ends. On its error there are no fields.
    #[inline(always)]
    pub fn copy<E>(
        &mut self,
        bytes: &[u8],
        find: impl FnOnce(&mut Places) -> Result<usize, E>,
    ) -> Result<usize, E> {
        self.clear();
        let found = find(&mut self.places);
        match found {
            Ok(end) => self.bytes.extend_from_slice(&bytes[..end]),
            Err(_) => self.clear(),
        }
        debug_assert!(self.iter().all(|(name, value)| is_token(name) && is_field_value(value)));
        debug_assert!(self.places.list.iter().all(|place| !place.is_line || self.stands(place)));
        found
    }

    /// Whether separator and line end stand around the value.
    fn stands(&self, place: &Place) -> bool {
        let end = place.end as usize;
        self.bytes[place.name_end as usize..place.value as usize] == *SEPARATOR
            && self.bytes.get(end..end + LINE_END.len()) == Some(LINE_END)
    }

    /// Appends a field. The caller has checked name and value (see the type's invariant).
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        debug_assert!(is_token(name) && is_field_value(value));
        let start = self.bytes.len();
        let value_start = start + name.len() + SEPARATOR.len();
        self.places.add(name, start, value_start..value_start + value.len(), true);
        self.bytes.reserve(name.len() + SEPARATOR.len() + value.len() + LINE_END.len());
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(SEPARATOR);
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(LINE_END);
    }

    /// The same for a field of a head that is read (see [`Self::has_underscores`]).
    pub fn push_received(&mut self, name: &[u8], value: &[u8]) {
        if memchr::memchr(b'_', name).is_some() {
            self.places.note_underscore();
        }
        self.push(name, value);
    }

    /// Appends each field to `out` as a line of an HTTP/1 head. Lines that stand one behind the
    /// other are written together.
    pub fn write_lines(&self, out: &mut Vec<u8>) {
        let mut places = self.places.list.iter().peekable();
        while let Some(place) = places.next() {
            if !place.is_line {
                out.extend_from_slice(self.name_of(*place));
                out.extend_from_slice(SEPARATOR);
                out.extend_from_slice(self.value_of(*place));
                out.extend_from_slice(LINE_END);
                continue;
            }
            let line_end = |place: &Place| place.end + LINE_END.len() as u32;
            let mut end = line_end(place);
            while let Some(next) = places.next_if(|next| next.name == end && next.is_line) {
                end = line_end(next);
            }
            out.extend_from_slice(&self.bytes[place.name as usize..end as usize]);
        }
    }

    /// As [`Self::write_lines`], followed by the fields of `set` in the place of those of their
    /// names.
    #[inline]
    pub fn write_lines_with(&self, set: &Fields, out: &mut Vec<u8>) {
        if set.is_empty() {
            return self.write_lines(out);
        }
        for (name, value) in self.iter().filter(|(name, _)| !set.has(name)) {
            for part in [name, SEPARATOR, value, LINE_END] {
                out.extend_from_slice(part);
            }
        }
        set.write_lines(out);
    }

    /// All fields, as `(name, value)`.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.places.list.iter().map(|place| (self.name_of(*place), self.value_of(*place)))
    }

    /// The first value of the field `name` (any letter case).
    #[inline]
    pub fn get<'a>(&'a self, name: &str) -> Option<&'a [u8]> {
        self.places_of(name.as_bytes()).next().map(|place| self.value_of(*place))
    }

    /// All values of the field `name` (any letter case), in order.
    #[inline]
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.places_of(name.as_bytes()).map(|place| self.value_of(*place))
    }

    /// Whether there is a field `name` (any letter case).
    #[inline]
    pub fn contains(&self, name: &str) -> bool {
        self.has(name.as_bytes())
    }

    #[inline]
    fn has(&self, name: &[u8]) -> bool {
        self.places_of(name).next().is_some()
    }

    /// Makes each field of `other` the only one of its name.
    pub fn set_all(&mut self, other: &Fields) {
        other.iter().for_each(|(name, _)| self.remove(name));
        other.iter().for_each(|(name, value)| self.push(name, value));
    }

    /// Whether there is a name that begins with one of two letters (given small, either case
    /// counts) and of which `is` says so: most names are not looked at.
    #[inline]
    pub fn any_name(&self, letters: [u8; 2], is: impl Fn(&[u8]) -> bool) -> bool {
        let begins = |place: &Place| {
            let first = self.bytes.get(place.name as usize).map_or(0, |byte| byte | 0x20);
            first == letters[0] || first == letters[1]
        };
        self.places.list.iter().any(|place| begins(place) && is(self.name_of(*place)))
    }

    /// Takes every field `name` (any letter case) out.
    pub fn remove(&mut self, name: &[u8]) {
        if !self.has(name) {
            return;
        }
        let bytes = &self.bytes;
        self.places.list.retain(|place| {
            !bytes[place.name as usize..place.name_end as usize].eq_ignore_ascii_case(name)
        });
    }

    /// Makes `value` the only value of the field `name`.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        self.remove(name);
        self.push(name, value);
    }

    /// The places of the fields `name`. By its kind first, then by length: most fields are not it.
    #[inline]
    fn places_of<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a Place> {
        let is_possible = self.places.kinds & kind(name) != 0;
        let list = if is_possible { &self.places.list[..] } else { &[] };
        list.iter().filter(move |place| {
            (place.name_end - place.name) as usize == name.len()
                && self.name_of(**place).eq_ignore_ascii_case(name)
        })
    }

    /// Keeps only the fields for which `keep(name, value)` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let bytes = &self.bytes;
        let part = |from: u32, to: u32| &bytes[from as usize..to as usize];
        self.places
            .list
            .retain(|place| keep(part(place.name, place.name_end), part(place.value, place.end)));
    }

    fn name_of(&self, place: Place) -> &[u8] {
        &self.bytes[place.name as usize..place.name_end as usize]
    }

    fn value_of(&self, place: Place) -> &[u8] {
        &self.bytes[place.value as usize..place.end as usize]
    }
}

/// What a head says of the body that follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyLength {
    /// There is no body.
    #[default]
    Empty,
    /// Exactly so many bytes (never 0: that is `Empty`, unless a `Content-Length: 0` must be said).
    Known(u64),
    /// Ends by itself: HTTP/1 chunks, the end of an HTTP/1.0 connection, an HTTP/2 END_STREAM.
    Unknown,
}

/// The head of a request.
#[derive(Debug, Clone, Default)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// Host and port as the client named them: of the absolute-form target, else of `Host`. Empty
    /// for an HTTP/1.0 request without either.
    pub authority: String,
    /// The path: as received until the exchange has normalised it, normalised from then on.
    pub path: String,
    /// The query with its leading `?`, as received; empty if the target has no `?`.
    pub query: String,
    /// The end-to-end fields, `Host` not among them.
    pub fields: Fields,
    /// What body follows.
    pub body: BodyLength,
    /// What the client wants to go on with in the place of HTTP, if it does: the exchange takes it.
    pub upgrade: Option<Box<Upgrade>>,
}

impl RequestHead {
    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.method = Method::Get;
        self.authority.clear();
        self.path.clear();
        self.query.clear();
        self.fields.clear();
        self.body = BodyLength::Empty;
        self.upgrade = None;
    }
}

/// The head of a response.
#[derive(Debug, Clone, Default)]
pub struct ResponseHead {
    /// The status code, 200 to 999 once an exchange sees it (1xx stay in the codec). Over 599 there
    /// is no class: RFC 9110 section 15 has it count as 5xx.
    pub status: u16,
    /// The end-to-end fields.
    pub fields: Fields,
    /// What body follows.
    pub body: BodyLength,
    /// What an origin says that it goes on with (101), where it says so.
    pub upgrade: Option<Box<Upgrade>>,
}

impl ResponseHead {
    /// Whether, as the answer to `method`, it has a body on the wire: RFC 9112 section 6.3 items 1
    /// and 2. `body` may say what a body would have been (HEAD, 304).
    pub fn has_body(&self, method: &Method) -> bool {
        *method != Method::Head && self.permits_body()
    }

    /// Whether its status lets it have a body, as an answer to anything but HEAD.
    pub fn permits_body(&self) -> bool {
        self.status >= 200 && self.status != 204 && self.status != 304
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.status = 0;
        self.fields.clear();
        self.body = BodyLength::Empty;
        self.upgrade = None;
    }
}

/// A response that the gateway makes itself: an error, a plugin's verdict, the echo.
#[derive(Debug, Clone, Default)]
pub struct LocalResponse {
    /// The status code.
    pub status: u16,
    /// The fields, `Content-Type` among them where there is a body.
    pub fields: Fields,
    /// The body.
    pub body: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_order_spelling_and_several_values() {
        let mut fields = Fields::new();
        fields.push(b"X-One", b"1");
        fields.push(b"Set-Cookie", b"a");
        fields.push(b"set-cookie", b"b");
        assert_eq!(fields.get_all("SET-COOKIE").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(fields.iter().next(), Some((&b"X-One"[..], &b"1"[..])));
        fields.set(b"set-cookie", b"c");
        assert_eq!(fields.len(), 2);
        assert_eq!(fields.get("Set-Cookie"), Some(&b"c"[..]));
        fields.remove(b"x-ONE");
        assert!(!fields.contains("x-one"));
    }

    #[test]
    fn fields_that_go_on_unchanged_are_written_as_they_came() {
        let head = b"GET / HTTP/1.1\r\nA: 1\r\nB:2\r\nC: 3 \r\nD: 4\r\nE:\r\nF: 6\r\n\r\n";
        let mut fields = Fields::new();
        fields.push(b"Old", b"gone");
        let found = fields.copy(head, |places| {
            let (whole, other) = (true, false);
            for (name, value, is_line) in [
                (16, 19..20, whole),
                (22, 24..25, other),
                (27, 30..31, other),
                (34, 37..38, whole),
                (40, 42..42, other),
                (44, 47..48, whole),
            ] {
                places.add(&head[name..name + 1], name, value, is_line);
            }
            Ok::<_, ()>(head.len())
        });
        assert_eq!(found, Ok(head.len()));
        fields.push(b"G", b"7");
        fields.push(b"H", b"8");
        let mut out = Vec::new();
        fields.write_lines(&mut out);
        let expected = "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: \r\nF: 6\r\nG: 7\r\nH: 8\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);

        fields.remove(b"d");
        fields.set(b"A", b"9");
        out.clear();
        fields.write_lines(&mut out);
        let expected = "B: 2\r\nC: 3\r\nE: \r\nF: 6\r\nG: 7\r\nH: 8\r\nA: 9\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn field_values_hold_no_control_bytes_and_no_white_space_at_their_ends() {
        for bad in [&b"a\r\nb"[..], b"a\nb", b"a\0b", b" a", b"a\t", b"\x7f"] {
            assert!(!is_field_value(bad), "{bad:?}");
        }
        for good in [&b""[..], b"a b", b"a\tb", b"caf\xe9"] {
            assert!(is_field_value(good), "{good:?}");
        }
    }

    #[test]
    fn methods_are_tokens() {
        assert_eq!(Method::from_bytes(b"GET"), Some(Method::Get));
        assert_eq!(Method::from_bytes(b"PURGE"), Some(Method::Other("PURGE".into())));
        assert_eq!(Method::from_bytes(b"GE T"), None);
        assert_eq!(Method::from_bytes(b""), None);
    }
}
