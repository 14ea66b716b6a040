//! W3C Trace Context, version 00 (<https://www.w3.org/TR/trace-context/>): the two fields that name
//! a request's place in its trace.
//!
//! What cannot be read restarts the trace, as the specification wants: nothing is guessed.

use crate::http::message::Fields;
use crate::limits::{TRACESTATE_MEMBER_PART_BYTES_MAX, TRACESTATE_MEMBERS_MAX};
use crate::text::hex_into;

/// The name of the field with the ids.
pub const TRACEPARENT: &str = "traceparent";
/// The name of the field that each tracing system keeps its own data in.
pub const TRACESTATE: &str = "tracestate";

/// Length of a version 00 `traceparent`: `00-`, 32 digits, `-`, 16 digits, `-`, 2 digits.
const LENGTH: usize = 55;

/// A `traceparent` as text.
pub type Text = [u8; LENGTH];

/// The id of a span; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanId([u8; 8]);

impl SpanId {
    /// An id of random bits.
    pub fn from_random(random: u64) -> Self {
        // 0 means "none".
        Self(random.max(1).to_be_bytes())
    }

    /// Its bytes.
    pub fn bytes(self) -> [u8; 8] {
        self.0
    }
}

/// The trace of an exchange, and the exchange's own span in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Names the trace; not all 0.
    pub trace_id: [u8; 16],
    /// The span of whoever sent the request; none: the trace begins here.
    pub parent: Option<SpanId>,
    /// The span of the exchange.
    pub span: SpanId,
    /// Whether whoever began the trace wants it recorded.
    pub is_sampled: bool,
}

impl Context {
    /// A trace that begins here. It takes two random numbers for its id.
    pub fn begin(random: [u64; 2], span: SpanId) -> Self {
        let id = u128::from(random[0]) << 64 | u128::from(random[1]);
        let trace_id = id.max(1).to_be_bytes();
        Self { trace_id, parent: None, span, is_sampled: false }
    }

    /// The trace that a request's fields name, to be gone on with as `span`. `None` if there is no
    /// `traceparent`, more than one, or one that cannot be read.
    pub fn of(fields: &Fields, span: SpanId) -> Option<Self> {
        let mut values = fields.get_all(TRACEPARENT);
        let value = values.next().filter(|_| values.next().is_none())?;
        parse(value, span)
    }

    /// The part of the trace's id that is surely random (all of it, where it began here).
    pub fn randomness(&self) -> u64 {
        u128::from_be_bytes(self.trace_id) as u64
    }

    /// The `traceparent` that names `span` of this trace as the parent.
    pub fn text(&self, span: SpanId) -> Text {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        hex_into(&self.trace_id, &mut text[3..35]);
        hex_into(&span.0, &mut text[36..52]);
        // Of the flags only this one is defined; the others must be 0.
        text[54] = if self.is_sampled { b'1' } else { b'0' };
        text
    }

    /// Appends the trace's id as text.
    pub fn push_id(&self, out: &mut String) {
        let mut digits = [0; 32];
        hex_into(&self.trace_id, &mut digits);
        out.extend(digits.map(char::from));
    }
}

/// Reads lower-case hexadecimal; the specification allows no other.
fn bytes_of<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

fn parse(value: &[u8], span: SpanId) -> Option<Context> {
    let head = value.get(..LENGTH)?;
    let [version] = bytes_of(&head[..2])?;
    // A later version may have more behind a dash; version 00 has nothing.
    let is_whole = match (version, value.get(LENGTH)) {
        (0xff, _) => false,
        (_, None) => true,
        (0, Some(_)) => false,
        (_, Some(next)) => *next == b'-',
    };
    let has_dashes = [2, 35, 52].iter().all(|&at| head[at] == b'-');
    if !is_whole || !has_dashes {
        return None;
    }
    let trace_id: [u8; 16] = bytes_of(&head[3..35])?;
    let parent: [u8; 8] = bytes_of(&head[36..52])?;
    let [flags] = bytes_of(&head[53..55])?;
    if trace_id == [0; 16] || parent == [0; 8] {
        return None;
    }
    let (parent, is_sampled) = (Some(SpanId(parent)), flags & 1 == 1);
    Some(Context { trace_id, parent, span, is_sampled })
}

/// What becomes of a request's `tracestate`.
#[derive(Debug, PartialEq, Eq)]
pub enum State {
    /// There is none.
    None,
    /// It is well formed and stands in one field.
    Kept,
    /// It was spread over several fields: this is one with all of it.
    Joined(Vec<u8>),
    /// It is malformed, or empty: it must not be sent on.
    Dropped,
}

/// Judges the `tracestate` of a request whose `traceparent` could be read.
pub fn state_of(fields: &Fields) -> State {
    let (mut count, mut members) = (0, 0);
    for value in fields.get_all(TRACESTATE) {
        count += 1;
        for member in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if member.is_empty() {
                continue;
            }
            members += 1;
            if members > TRACESTATE_MEMBERS_MAX || !is_member(member) {
                return State::Dropped;
            }
        }
    }
    match (count, members) {
        (0, _) => State::None,
        (_, 0) => State::Dropped,
        (1, _) => State::Kept,
        _ => State::Joined(
            fields
                .get_all(TRACESTATE)
                .filter(|value| !value.is_empty())
                .collect::<Vec<_>>()
                .join(&b","[..]),
        ),
    }
}

/// `key=value` of section 3.3.1.3.
fn is_member(member: &[u8]) -> bool {
    let Some(equals) = member.iter().position(|&byte| byte == b'=') else {
        return false;
    };
    let (key, value) = (&member[..equals], &member[equals + 1..]);
    is_key(key) && is_value(value)
}

fn is_key(key: &[u8]) -> bool {
    let is_word = |word: &[u8]| {
        word.iter()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/'))
    };
    let begins_with = |word: &[u8], is_first: fn(&u8) -> bool| word.first().is_some_and(is_first);
    match key.iter().position(|&byte| byte == b'@') {
        None => {
            key.len() <= TRACESTATE_MEMBER_PART_BYTES_MAX
                && begins_with(key, u8::is_ascii_lowercase)
                && is_word(key)
        }
        Some(at) => {
            // tenant@system: 241 and 14 characters at most.
            let (tenant, system) = (&key[..at], &key[at + 1..]);
            let is_first = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            tenant.len() <= 241
                && system.len() <= 14
                && begins_with(tenant, is_first)
                && begins_with(system, u8::is_ascii_lowercase)
                && is_word(tenant)
                && is_word(system)
        }
    }
}

/// Visible ASCII and inner spaces without `,` and `=`. What surrounds a member is cut already.
fn is_value(value: &[u8]) -> bool {
    (1..=TRACESTATE_MEMBER_PART_BYTES_MAX).contains(&value.len())
        && value.iter().all(|byte| matches!(byte, b' '..=b'~') && !b",=".contains(byte))
}

#[cfg(test)]
mod tests;
