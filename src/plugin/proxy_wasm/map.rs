//! The lists of fields of a context as a guest reads and changes them: names in small letters, the
//! control data of a head as fields that begin with a colon, the framing as the field that says it.

use std::borrow::Cow;

use super::super::checks;
use super::super::spec::NonUtf8;
use super::context::{Context, Direction};
use crate::http::field_class::{CODING, LENGTH, is_of_connection};
use crate::http::message::{
    BodyLength, Fields, RequestHead, ResponseHead, is_authority, is_field_value, is_token,
};
use crate::limits;
use crate::upstream::call::Answer;

/// A list, by the number that the ABI gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Map {
    Request,
    RequestTrailers,
    Response,
    ResponseTrailers,
    /// Of a gRPC call or stream.
    GrpcInitial,
    GrpcTrailing,
    CallHeaders,
    CallTrailers,
}

impl Map {
    pub(super) fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            0 => Self::Request,
            1 => Self::RequestTrailers,
            2 => Self::Response,
            3 => Self::ResponseTrailers,
            4 => Self::GrpcInitial,
            5 => Self::GrpcTrailing,
            6 => Self::CallHeaders,
            7 => Self::CallTrailers,
            _ => return None,
        })
    }
}

/// A name and a value.
type Pair<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// A list to read.
#[derive(Clone, Copy)]
pub(super) enum View<'a> {
    Request(&'a RequestHead, &'static str),
    Response(u16, &'a Fields, BodyLength),
    Fields(&'a Fields),
}

impl<'a> View<'a> {
    /// A list of a context, if there is something in it now.
    pub(super) fn of(context: &'a Context, map: Map) -> Option<Self> {
        match map {
            Map::Request => Some(Self::Request(&context.request, context.known.scheme)),
            Map::Response if context.has_response => Some(Self::response(&context.response)),
            Map::RequestTrailers => Some(Self::Fields(&context.request_trailers)),
            Map::ResponseTrailers if context.has_response => {
                Some(Self::Fields(&context.response_trailers))
            }
            _ => None,
        }
    }

    fn response(head: &'a ResponseHead) -> Self {
        Self::Response(head.status, &head.fields, head.body)
    }

    /// The head of what a gRPC call or stream is answered.
    pub(super) fn head(head: &'a ResponseHead) -> Self {
        Self::Response(head.status, &head.fields, BodyLength::Empty)
    }

    /// The head of an answer.
    pub(super) fn answer(answer: &'a Answer) -> Self {
        Self::response(&answer.head)
    }

    /// All names, in small letters, and values, as `policy` has them seen.
    pub(super) fn pairs(self, policy: NonUtf8) -> Vec<Pair<'a>> {
        let mut pairs = Vec::with_capacity(self.fields().len() + 5);
        for name in self.control_names() {
            if let Some(value) = self.control(name) {
                pairs.push((Cow::Borrowed(*name), value));
            }
        }
        for (name, value) in self.fields().iter().filter(|(_, value)| policy.shows(value)) {
            pairs.push((lower(name), Cow::Borrowed(value)));
        }
        pairs
    }

    /// How many pairs there are.
    pub(super) fn len(self, policy: NonUtf8) -> usize {
        let control = self.control_names().iter().filter(|name| self.control(name).is_some());
        control.count() + self.fields().iter().filter(|(_, value)| policy.shows(value)).count()
    }

    /// The first value of a name.
    pub(super) fn value(self, name: &[u8], policy: NonUtf8) -> Option<Cow<'a, [u8]>> {
        if let Some(value) = self.control(&name.to_ascii_lowercase()) {
            return Some(value);
        }
        let is_it = |(named, value): &(&[u8], &[u8])| {
            named.eq_ignore_ascii_case(name) && policy.shows(value)
        };
        self.fields().iter().find(is_it).map(|(_, value)| Cow::Borrowed(value))
    }

    fn fields(self) -> &'a Fields {
        match self {
            Self::Request(head, _) => &head.fields,
            Self::Response(_, fields, _) | Self::Fields(fields) => fields,
        }
    }

    fn control_names(self) -> &'static [&'static [u8]] {
        match self {
            Self::Request(..) => &[b":authority", b":path", b":method", b":scheme", LENGTH, CODING],
            Self::Response(..) => &[b":status", LENGTH, CODING],
            Self::Fields(_) => &[],
        }
    }

    /// What is no field here; `name` in small letters.
    fn control(self, name: &[u8]) -> Option<Cow<'a, [u8]>> {
        let owned = |text: String| Cow::Owned(text.into_bytes());
        let length = match self {
            Self::Request(head, _) => head.body,
            Self::Response(_, _, length) => length,
            Self::Fields(_) => return None,
        };
        match (name, self) {
            (b":authority" | b"host", Self::Request(head, _)) => {
                Some(Cow::Borrowed(head.authority.as_bytes()))
            }
            (b":path", Self::Request(head, _)) => {
                Some(owned(format!("{}{}", head.path, head.query)))
            }
            (b":method", Self::Request(head, _)) => {
                Some(Cow::Borrowed(head.method.as_str().as_bytes()))
            }
            (b":scheme", Self::Request(_, scheme)) => Some(Cow::Borrowed(scheme.as_bytes())),
            (b":status", Self::Response(status, ..)) => Some(owned(status.to_string())),
            (LENGTH, _) => match length {
                BodyLength::Known(bytes) => Some(owned(bytes.to_string())),
                BodyLength::Empty | BodyLength::Unknown => None,
            },
            (CODING, _) if length == BodyLength::Unknown => Some(Cow::Borrowed(b"chunked")),
            _ => None,
        }
    }
}

fn lower(name: &[u8]) -> Cow<'_, [u8]> {
    match name.iter().any(u8::is_ascii_uppercase) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    }
}

/// What is done to one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Add,
    Replace,
}

/// Adds a value, or makes it the only one of its name. Whether the list can be changed now.
pub(super) fn set(
    context: &mut Context,
    map: Map,
    change: Change,
    name: &[u8],
    value: &[u8],
) -> bool {
    let Some(direction) = writable(context, map) else {
        return false;
    };
    let value = value.trim_ascii();
    let is_head = matches!(map, Map::Request | Map::Response);
    let is_control = name.first() == Some(&b':') || map == Map::Request && is_host(name);
    if is_head && is_control {
        context.removed.retain(|removed| !name.eq_ignore_ascii_case(removed.as_bytes()));
        set_control(context, direction, name, value);
        return true;
    }
    if name.is_empty() {
        return true; // nothing is named
    }
    if !is_token(name) || !is_field_value(value) {
        let shown = String::from_utf8_lossy(&name[..name.len().min(SHOWN_BYTES_MAX)]);
        context.blame(format!("header {shown:?} or its value is not one that can be sent"));
        return true;
    }
    if is_of_connection(name) {
        return true; // the gateway frames what it sends
    }
    let bounds = context.known.bounds;
    context.is_changed |= is_head;
    let fields = fields_of(context, map);
    let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    // What the client sent is within these; the filter may add as much again.
    let most = bounds.head_bytes_max.saturating_mul(2);
    if fields.len() >= limits::PLUGIN_HEAD_FIELDS_MAX || bytes + name.len() + value.len() > most {
        let count = fields.len();
        context.blame(format!(
            "the head would have more than {count} headers of {bytes} bytes; limits are \
             {} headers and {most} bytes (twice server.limits.headBytesMax)",
            limits::PLUGIN_HEAD_FIELDS_MAX
        ));
        return true;
    }
    let name = lower(name);
    match change {
        Change::Add => fields.push(&name, value),
        Change::Replace => fields.set(&name, value),
    }
    true
}

/// So much of what a guest says is shown.
const SHOWN_BYTES_MAX: usize = 128;

/// Takes a name out. Whether the list can be changed now. Method, path and status must be set
/// again.
pub(super) fn remove(context: &mut Context, map: Map, name: &[u8]) -> bool {
    let Some(direction) = writable(context, map) else {
        return false;
    };
    let vital: &[&str] = match direction {
        Direction::Request => &[":method", ":path"],
        Direction::Response => &[":status"],
    };
    if let Some(vital) = vital.iter().find(|vital| name.eq_ignore_ascii_case(vital.as_bytes())) {
        context.removed.push(vital);
    } else if name.first() != Some(&b':') && !is_host(name) {
        context.is_changed = true;
        fields_of(context, map).remove(name);
    }
    true
}

/// Makes `pairs` all that there is; what a policy has hidden stays, and so does control data that
/// is not among them. Whether the list can be changed now.
pub(super) fn set_all(
    context: &mut Context,
    map: Map,
    pairs: &[(&[u8], &[u8])],
    policy: NonUtf8,
) -> bool {
    if writable(context, map).is_none() {
        return false;
    }
    context.is_changed = true;
    fields_of(context, map).retain(|_, value| !policy.shows(value));
    for (name, value) in pairs {
        set(context, map, Change::Add, name, value);
    }
    true
}

fn is_host(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"host")
}

/// Whose list it is, if that can be changed now.
fn writable(context: &Context, map: Map) -> Option<Direction> {
    let direction = match map {
        Map::Request => Direction::Request,
        Map::Response => Direction::Response,
        Map::RequestTrailers => {
            let direction = Direction::Request;
            return context.has_trailers(direction).then_some(direction);
        }
        Map::ResponseTrailers => {
            let direction = Direction::Response;
            return context.has_trailers(direction).then_some(direction);
        }
        Map::GrpcInitial | Map::GrpcTrailing | Map::CallHeaders | Map::CallTrailers => return None,
    };
    (context.open == Some(direction)).then_some(direction)
}

fn fields_of(context: &mut Context, map: Map) -> &mut Fields {
    match map {
        Map::RequestTrailers => &mut context.request_trailers,
        Map::Response => &mut context.response.fields,
        Map::ResponseTrailers => &mut context.response_trailers,
        _ => &mut context.request.fields,
    }
}

fn set_control(context: &mut Context, direction: Direction, name: &[u8], value: &[u8]) {
    let made = match direction {
        Direction::Request => set_request_control(context, name, value),
        Direction::Response => set_status(context, name, value),
    };
    match made {
        Ok(()) => context.is_changed = true,
        Err(why) => context.blame(why),
    }
}

fn set_request_control(context: &mut Context, name: &[u8], value: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(value);
    let text = text.map_err(|_| format!("{} is not UTF-8", String::from_utf8_lossy(name)))?;
    let head = &mut context.request;
    match &*name.to_ascii_lowercase() {
        b":method" => head.method = checks::method(text).map_err(|error| error.text)?,
        b":path" => {
            let (scheme, bounds) = (context.known.scheme, &context.known.bounds);
            let target = checks::target(text, scheme, bounds, head);
            if let Some((path, query)) = target.map_err(|error| error.text)? {
                (head.path, head.query) = (path, query);
            }
        }
        b":authority" | b"host" => {
            if !is_authority(value) {
                return Err(format!("{text:?} is not a host name with an optional port"));
            }
            text.clone_into(&mut head.authority);
        }
        // How the client came is a fact.
        _ => {}
    }
    Ok(())
}

fn set_status(context: &mut Context, name: &[u8], value: &[u8]) -> Result<(), String> {
    if name != b":status" {
        return Ok(());
    }
    let status = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u16>().ok());
    match status.filter(|status| (200..=599).contains(status)) {
        Some(status) => context.response.status = status,
        None => {
            let got = String::from_utf8_lossy(&value[..value.len().min(SHOWN_BYTES_MAX)]);
            return Err(format!(":status: got {got:?}, expected 200 to 599"));
        }
    }
    Ok(())
}
