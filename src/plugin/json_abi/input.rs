//! The input of one call: the document that docs/plugin-abi.md describes.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::super::chain::{CallAnswer, Facts};
use super::super::module::Plugin;
use super::super::spec::Phase;
use super::text::{
    write_escaped, write_key, write_list, write_number, write_query, write_str, write_time,
};
use crate::message::{Fields, RequestHead, ResponseHead};

/// The messages of an exchange as far as there are any.
#[derive(Clone, Copy)]
pub(super) struct Messages<'a> {
    pub(super) request: &'a RequestHead,
    /// What the phase is about.
    pub(super) subject: Subject<'a>,
    /// The body of the phase's message; `None`: withheld, the key is left out.
    pub(super) body: Option<&'a [u8]>,
}

/// What a phase is about.
#[derive(Clone, Copy)]
pub(super) enum Subject<'a> {
    /// The request.
    Request,
    /// The response.
    Response(&'a ResponseHead),
    /// The answers of an aggregation's calls, with or without their bodies.
    Answers { answers: &'a [CallAnswer<'a>], has_bodies: bool },
}

/// Writes the whole input.
pub(super) fn write(
    out: &mut Vec<u8>,
    plugin: &Plugin,
    facts: &Facts<'_>,
    phase: Phase,
    messages: Messages<'_>,
    metadata_json: &str,
) {
    let config = plugin.spec.config_json().as_bytes();
    out.extend_from_slice(b"{\"context\":{\"requestId\":");
    write_str(out, facts.request_id);
    out.extend_from_slice(b",\"serviceId\":");
    write_str(out, facts.service);
    out.extend_from_slice(b",\"routePath\":");
    write_str(out, facts.route_path);
    out.extend_from_slice(b",\"timestamp\":");
    write_time(out, facts.received);
    out.extend_from_slice(b",\"phase\":");
    write_str(out, phase.as_str());
    out.extend_from_slice(b",\"plugin\":");
    write_str(out, &plugin.spec.name);
    out.extend_from_slice(b",\"clientIp\":");
    // Writing to a Vec does not fail.
    let _infallible = write!(out, "\"{}\"", facts.client_ip.to_canonical());
    out.extend_from_slice(b",\"config\":");
    out.extend_from_slice(config);
    out.extend_from_slice(b",\"metadata\":");
    out.extend_from_slice(metadata_json.as_bytes());
    out.extend_from_slice(b"},\"input\":");
    write_messages(out, facts, messages);
    out.extend_from_slice(b",\"config\":");
    out.extend_from_slice(config);
    out.push(b'}');
}

fn write_messages(out: &mut Vec<u8>, facts: &Facts<'_>, messages: Messages<'_>) {
    let Messages { request, subject, body } = messages;
    out.push(b'{');
    write_target(out, facts, request);
    match subject {
        Subject::Request => {
            write_headers(out, Some(&request.authority), &request.fields);
            write_body(out, body);
        }
        Subject::Answers { answers, has_bodies } => {
            write_headers(out, Some(&request.authority), &request.fields);
            write_answers(out, answers, has_bodies);
        }
        Subject::Response(response) => {
            out.extend_from_slice(b",\"statusCode\":");
            write_number(out, u64::from(response.status));
            write_headers(out, None, &response.fields);
            write_body(out, body);
            out.extend_from_slice(b",\"request\":{");
            write_target(out, facts, request);
            write_headers(out, Some(&request.authority), &request.fields);
            out.push(b'}');
        }
    }
    out.extend_from_slice(b",\"query\":");
    write_query(out, &request.query);
    out.push(b'}');
}

/// `,"responses":[…]`
fn write_answers(out: &mut Vec<u8>, answers: &[CallAnswer<'_>], has_bodies: bool) {
    out.extend_from_slice(b",\"responses\":[");
    for (index, answer) in answers.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"name\":");
        write_str(out, answer.name);
        out.extend_from_slice(b",\"service\":");
        write_str(out, answer.service);
        out.extend_from_slice(b",\"statusCode\":");
        write_number(out, u64::from(answer.status));
        write_headers(out, None, answer.fields);
        write_body(out, has_bodies.then_some(answer.body));
        if let Some(error) = answer.error {
            out.extend_from_slice(b",\"error\":");
            write_str(out, error);
        }
        out.push(b'}');
    }
    out.push(b']');
}

/// `"method":…,"url":…`
fn write_target(out: &mut Vec<u8>, facts: &Facts<'_>, request: &RequestHead) {
    out.extend_from_slice(b"\"method\":");
    write_str(out, request.method.as_str());
    out.extend_from_slice(b",\"url\":");
    out.push(b'"');
    // An HTTP/1.0 request need not name a host: its URL is a path.
    if !request.authority.is_empty() {
        write_escaped(out, facts.scheme.as_bytes());
        out.extend_from_slice(b"://");
        write_escaped(out, request.authority.as_bytes());
    }
    write_escaped(out, request.path.as_bytes());
    write_escaped(out, request.query.as_bytes());
    out.push(b'"');
}

/// `,"headers":{…}` and, where a value is not UTF-8, `,"headersBase64":{…}` with the exact bytes of
/// the headers that have such a value. Fields of one name (any letter case) are one key, spelled
/// as the first of them.
pub(in super::super) fn write_headers(out: &mut Vec<u8>, authority: Option<&str>, fields: &Fields) {
    out.extend_from_slice(b",\"headers\":{");
    if let Some(authority) = authority.filter(|authority| !authority.is_empty()) {
        write_key(out, "Host");
        write_list(out, std::iter::once(authority.as_bytes()));
        out.push(b',');
    }
    let fields: Vec<Field<'_>> = fields.iter().map(Field::new).collect();
    let mut lossy = false;
    for (index, field) in fields.iter().enumerate() {
        if !field.is_among(&fields[..index]) {
            write_key(out, field.name());
            lossy |= write_list(out, field.values_from(&fields[index..]));
            out.push(b',');
        }
    }
    close(out);
    if lossy {
        write_exact_headers(out, &fields);
    }
}

fn write_exact_headers(out: &mut Vec<u8>, fields: &[Field<'_>]) {
    out.extend_from_slice(b",\"headersBase64\":{");
    for (index, field) in fields.iter().enumerate() {
        let mut values = field.values_from(&fields[index..]);
        if field.is_among(&fields[..index])
            || values.all(|value| std::str::from_utf8(value).is_ok())
        {
            continue;
        }
        write_key(out, field.name());
        out.push(b'[');
        for value in field.values_from(&fields[index..]) {
            write_base64(out, value);
            out.push(b',');
        }
        out.pop();
        out.extend_from_slice(b"],");
    }
    close(out);
}

/// Ends an object whose last member has a comma behind it.
fn close(out: &mut Vec<u8>) {
    if out.last() == Some(&b',') {
        out.pop();
    }
    out.push(b'}');
}

/// A field, with what tells most names apart at a glance: every field is compared to every other.
struct Field<'f> {
    glance: u64,
    name: &'f [u8],
    value: &'f [u8],
}

impl<'f> Field<'f> {
    fn new((name, value): (&'f [u8], &'f [u8])) -> Self {
        let lower = |byte: Option<&u8>| u64::from(byte.map_or(0, u8::to_ascii_lowercase));
        let glance = (name.len() as u64) << 16 | lower(name.first()) << 8 | lower(name.last());
        Self { glance, name, value }
    }

    /// The name: a token, so it is ASCII.
    fn name(&self) -> &'f str {
        std::str::from_utf8(self.name).unwrap_or_default()
    }

    #[inline]
    fn is_same(&self, other: &Self) -> bool {
        self.glance == other.glance && self.name.eq_ignore_ascii_case(other.name)
    }

    fn is_among(&self, fields: &[Self]) -> bool {
        fields.iter().any(|field| self.is_same(field))
    }

    /// The values of this name among `fields`.
    fn values_from<'a>(&'a self, fields: &'a [Self]) -> impl Iterator<Item = &'f [u8]> + 'a {
        fields.iter().filter(|field| self.is_same(field)).map(|field| field.value)
    }
}

/// `,"body":…`, in base64 with `,"bodyEncoding":"base64"` if it is not UTF-8.
pub(in super::super) fn write_body(out: &mut Vec<u8>, body: Option<&[u8]>) {
    let Some(body) = body else {
        return;
    };
    out.extend_from_slice(b",\"body\":");
    match std::str::from_utf8(body) {
        Ok(text) => write_str(out, text),
        Err(_) => {
            write_base64(out, body);
            out.extend_from_slice(b",\"bodyEncoding\":\"base64\"");
        }
    }
}

fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // The room is what standard base64 with padding needs.
    let written = BASE64.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
    out.push(b'"');
}
