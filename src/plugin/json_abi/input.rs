//! The input of one call: the document that docs/plugin-abi.md describes.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::super::chain::{CallAnswer, Facts};
use super::super::module::Plugin;
use super::super::spec::Phase;
use super::draft::{Known, Layout};
use super::escape::{is_plain_ascii, write_escaped};
use super::text::{write_list, write_lossy, write_query, write_str, write_time};
use crate::http::connection::{Protocol, Scheme, TlsFacts};
use crate::http::message::{Fields, IpText, RequestHead, ResponseHead};
use crate::text::decimal;

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

/// Writes the whole input; returns where it has what the next one may take.
pub(super) fn write(
    out: &mut Vec<u8>,
    plugin: &Plugin,
    facts: &Facts<'_>,
    phase: Phase,
    messages: Messages<'_>,
    metadata_json: &str,
    known: Known<'_>,
) -> Layout {
    let config = plugin.spec.config_json().as_bytes();
    // In this order, so that a guest finds what it always needs (its configuration, the phase)
    // first, and need not even look where the rest ends.
    out.extend_from_slice(b"{\"config\":");
    out.extend_from_slice(config);
    out.extend_from_slice(b",\"context\":{\"phase\":");
    write_str(out, phase.as_str());
    out.extend_from_slice(b",\"requestId\":");
    write_str(out, facts.request_id);
    out.extend_from_slice(b",\"serviceId\":");
    write_str(out, facts.service);
    out.extend_from_slice(b",\"routePath\":");
    write_str(out, facts.route_path);
    out.extend_from_slice(b",\"timestamp\":");
    write_time(out, facts.received);
    out.extend_from_slice(b",\"plugin\":");
    write_str(out, &plugin.spec.name);
    out.extend_from_slice(b",\"clientIp\":\"");
    out.extend_from_slice(IpText::new(facts.client_ip.to_canonical()).as_bytes());
    write_connection(out, facts);
    out.extend_from_slice(b",\"config\":");
    out.extend_from_slice(config);
    out.extend_from_slice(b",\"metadata\":");
    out.extend_from_slice(metadata_json.as_bytes());
    out.extend_from_slice(b"},\"input\":");
    let start = out.len();
    let body = match known {
        Known::Messages(messages, body) => {
            out.extend_from_slice(messages);
            body.clone()
        }
        Known::Body(known) => write_messages(out, facts, messages, Some(known)),
        Known::Nothing => write_messages(out, facts, messages, None),
    };
    let messages = start..out.len();
    out.push(b'}');
    Layout { messages, body }
}

/// Ends `clientIp`, and tells how the client has come.
fn write_connection(out: &mut Vec<u8>, facts: &Facts<'_>) {
    match (facts.scheme, facts.connection.protocol) {
        (Scheme::Http, Protocol::Http1) => {
            out.extend_from_slice(b"\",\"scheme\":\"http\",\"protocol\":\"HTTP/1.1\"");
        }
        (scheme, protocol) => {
            for piece in
                ["\",\"scheme\":\"", scheme.as_str(), "\",\"protocol\":\"", protocol.as_str()]
            {
                out.extend_from_slice(piece.as_bytes());
            }
            out.push(b'"');
        }
    }
    if let Some(tls) = &facts.connection.tls {
        write_tls(out, tls);
    }
}

/// `,"tls":{…}`
#[cold]
fn write_tls(out: &mut Vec<u8>, tls: &TlsFacts) {
    out.extend_from_slice(b",\"tls\":{\"version\":");
    write_str(out, tls.version);
    out.extend_from_slice(b",\"cipher\":");
    write_str(out, tls.cipher);
    if let Some(name) = &tls.server_name {
        out.extend_from_slice(b",\"serverName\":");
        write_str(out, name);
    }
    if let Some(client) = &tls.client {
        out.extend_from_slice(b",\"clientCertificate\":{\"subject\":");
        write_str(out, &client.subject);
        out.extend_from_slice(b",\"fingerprint\":");
        write_str(out, &client.fingerprint);
        out.extend_from_slice(b",\"names\":");
        write_list(out, client.names.iter().map(String::as_bytes));
        out.push(b'}');
    }
    out.push(b'}');
}

/// Writes the messages; returns where among them the members of the body stand.
fn write_messages(
    out: &mut Vec<u8>,
    facts: &Facts<'_>,
    messages: Messages<'_>,
    known_body: Option<&[u8]>,
) -> Range<usize> {
    let Messages { request, subject, body } = messages;
    let messages_at = out.len();
    let put_body = |out: &mut Vec<u8>| {
        let start = out.len();
        match known_body {
            Some(known) => out.extend_from_slice(known),
            None => write_body(out, body),
        }
        start - messages_at..out.len() - messages_at
    };
    let mut body_at = 0..0;
    out.push(b'{');
    write_target(out, facts, request);
    match subject {
        Subject::Request => {
            write_headers(out, Some(&request.authority), &request.fields);
            body_at = put_body(out);
        }
        Subject::Answers { answers, has_bodies } => {
            write_headers(out, Some(&request.authority), &request.fields);
            write_answers(out, answers, has_bodies);
        }
        Subject::Response(response) => {
            out.extend_from_slice(b",\"statusCode\":");
            decimal(u64::from(response.status), out);
            write_headers(out, None, &response.fields);
            body_at = put_body(out);
            out.extend_from_slice(b",\"request\":{");
            write_target(out, facts, request);
            write_headers(out, Some(&request.authority), &request.fields);
            // Beside the response's own parts as well: plugins look for it in either place.
            out.extend_from_slice(b",\"query\":");
            write_query(out, &request.query);
            out.push(b'}');
        }
    }
    out.extend_from_slice(b",\"query\":");
    write_query(out, &request.query);
    out.push(b'}');
    body_at
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
        decimal(u64::from(answer.status), out);
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

/// `"method":…,"url":…,"path":…`: the path is given, since a plugin that takes a URL apart itself
/// can be led around where the target holds `://`.
fn write_target(out: &mut Vec<u8>, facts: &Facts<'_>, request: &RequestHead) {
    out.extend_from_slice(b"\"method\":");
    write_str(out, request.method.as_str());
    out.extend_from_slice(b",\"url\":");
    out.push(b'"');
    // An HTTP/1.0 request need not name a host: its URL is a path.
    if !request.authority.is_empty() {
        out.extend_from_slice(facts.scheme.as_str().as_bytes());
        out.extend_from_slice(b"://");
        write_escaped(out, request.authority.as_bytes());
    }
    write_escaped(out, request.path.as_bytes());
    write_escaped(out, request.query.as_bytes());
    out.extend_from_slice(b"\",\"path\":\"");
    write_escaped(out, request.path.as_bytes());
    out.push(b'"');
}

/// `,"headers":{…}` and, where a value is not UTF-8, `,"headersBase64":{…}` with the exact bytes
/// of the headers that have such a value. Fields of one name (any letter case) are one key, spelled
/// as the first of them.
pub(in super::super) fn write_headers(out: &mut Vec<u8>, authority: Option<&str>, fields: &Fields) {
    out.extend_from_slice(b",\"headers\":{");
    if let Some(authority) = authority.filter(|authority| !authority.is_empty()) {
        out.extend_from_slice(b"\"Host\":[");
        write_str(out, authority);
        out.extend_from_slice(b"],");
    }
    let shared = Shared::among(fields);
    let mut lossy = false;
    for (index, field) in fields.iter().map(Field::new).enumerate() {
        if !shared.may_hold(&field) {
            lossy |= write_field(out, &field);
        } else if !field.is_among(fields, index) {
            write_name(out, field.name);
            lossy |= write_list(out, field.values_from(fields, index));
            out.push(b',');
        }
    }
    close(out);
    if lossy {
        write_exact_headers(out, fields);
    }
}

fn write_exact_headers(out: &mut Vec<u8>, fields: &Fields) {
    out.extend_from_slice(b",\"headersBase64\":{");
    for (index, field) in fields.iter().map(Field::new).enumerate() {
        let mut values = field.values_from(fields, index);
        if field.is_among(fields, index) || values.all(|value| std::str::from_utf8(value).is_ok()) {
            continue;
        }
        write_name(out, field.name);
        out.push(b'[');
        for value in field.values_from(fields, index) {
            write_base64(out, value);
            out.push(b',');
        }
        out.pop();
        out.extend_from_slice(b"],");
    }
    close(out);
}

/// `"name":["value"],`: what nearly every field becomes, in as few pieces as it has. Says whether
/// the value is not UTF-8.
fn write_field(out: &mut Vec<u8>, field: &Field<'_>) -> bool {
    if !is_plain_ascii(field.value) {
        write_name(out, field.name);
        out.push(b'[');
        let lossy = write_lossy(out, field.value);
        out.extend_from_slice(b"],");
        return lossy;
    }
    out.push(b'"');
    out.extend_from_slice(field.name);
    out.extend_from_slice(b"\":[\"");
    out.extend_from_slice(field.value);
    out.extend_from_slice(b"\"],");
    false
}

/// `"name":` of a field: a token, in which nothing needs an escape.
fn write_name(out: &mut Vec<u8>, name: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(name);
    out.extend_from_slice(b"\":");
}

/// Ends an object whose last member has a comma behind it.
fn close(out: &mut Vec<u8>) {
    if out.last() == Some(&b',') {
        out.pop();
    }
    out.push(b'}');
}

/// A field, with what tells most names apart at a glance: length, first and last letter.
struct Field<'f> {
    glance: u32,
    name: &'f [u8],
    value: &'f [u8],
}

impl<'f> Field<'f> {
    fn new((name, value): (&'f [u8], &'f [u8])) -> Self {
        // Letters of either case are alike; what else becomes alike is told apart by `is_same`.
        let letter = |byte: Option<&u8>| u32::from(byte.map_or(0, |byte| byte | 0x20));
        // Names are far shorter than 2^16 bytes; a cut length would only make more alike.
        let glance = (name.len() as u32) << 16 | letter(name.first()) << 8 | letter(name.last());
        Self { glance, name, value }
    }

    fn is_same(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Whether one of the first `count` fields has this name.
    fn is_among(&self, fields: &Fields, count: usize) -> bool {
        fields.iter().take(count).any(|(name, _)| self.is_same(name))
    }

    /// The values of this name from field `start` on.
    fn values_from<'a>(
        &'a self,
        fields: &'a Fields,
        start: usize,
    ) -> impl Iterator<Item = &'a [u8]> {
        fields.iter().skip(start).filter(|(name, _)| self.is_same(name)).map(|(_, value)| value)
    }
}

/// Which names may stand several times among some fields: a set of 64 glances. Almost always each
/// name is there once, and none has to be compared with all the others.
struct Shared(u64);

impl Shared {
    fn among(fields: &Fields) -> Self {
        let (mut once, mut twice) = (0, 0);
        for field in fields.iter().map(Field::new) {
            let bit = Self::bit(&field);
            twice |= once & bit;
            once |= bit;
        }
        Self(twice)
    }

    fn may_hold(&self, field: &Field<'_>) -> bool {
        self.0 & Self::bit(field) != 0
    }

    /// The six highest bits of a multiplicative hash.
    fn bit(field: &Field<'_>) -> u64 {
        1 << (field.glance.wrapping_mul(0x9e37_79b1) >> 26)
    }
}

/// `,"body":…`, in base64 with `,"bodyEncoding":"base64"` if it is not UTF-8.
pub(in super::super) fn write_body(out: &mut Vec<u8>, body: Option<&[u8]>) {
    let Some(body) = body else {
        return;
    };
    out.extend_from_slice(b",\"body\":");
    match simdutf8::basic::from_utf8(body) {
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
