//! A call's input and messages, as a gateway would have them, from a document that tells of them.
//!
//! A document is what docs/plugin-abi.md describes, or as much of it as its author cared to write.
//! Its messages are read by the parser of requests and responses, annotated as an exchange does it,
//! and the input is written by what writes every input: what a gateway would refuse, withhold or
//! add is refused, withheld and added here.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::value::to_raw_value;
use serde_json::{Map, Value};

use super::super::abi::{self, Draft};
use super::super::chain::{BodySlot, CallAnswer, Carried, Facts, MessageBounds, Subject, Verdict};
use super::super::failure::CallError;
use super::super::json_abi;
use super::super::module::Plugin;
use super::super::pool::Pools;
use super::super::scene::Annotate;
use super::super::spec::{Encoding, Phase, PluginType};
use super::told;
use crate::error::Error;
use crate::http::coding::Codings;
use crate::http::connection::{Connection, Scheme};
use crate::http::field_class::is_of_connection;
use crate::http::h1::head;
use crate::http::message::{Fields, RequestHead, ResponseHead};
use crate::limits;
use crate::route::path::{Rules, normalise};

/// Whom a document that names nobody comes from.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// One call: what the plugin is told, and what its output is checked against.
pub(super) struct Given<'i> {
    pub(super) phase: Phase,
    pub(super) request_id: &'i str,
    service: &'i str,
    route_path: &'i str,
    client_ip: IpAddr,
    request: RequestHead,
    response: ResponseHead,
    body: BodySlot,
    answers: Vec<Answer<'i>>,
    carried: Carried,
}

/// What one call of an aggregation was answered.
struct Answer<'i> {
    name: &'i str,
    service: &'i str,
    error: Option<&'i str>,
    status: u16,
    fields: Fields,
    body: Vec<u8>,
}

impl<'i> Given<'i> {
    /// Reads a document. The error is what a gateway would refuse, or what no gateway would give.
    pub(super) fn read(
        plugin: &Plugin,
        document: &'i Value,
        annotate: Annotate,
    ) -> Result<Self, String> {
        let text = |path: &str| document.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let phase = phase_of(plugin.spec.kind, text("/context/phase"));
        let input = document.get("input").unwrap_or(&Value::Null);
        // In the response phase the request stands apart; what it does not say, the input does.
        let request = input.get("request").filter(|_| phase == Phase::Response).unwrap_or(input);
        let client_ip = match text("/context/clientIp") {
            "" => CLIENT,
            ip => ip.parse().map_err(|_| format!("context.clientIp {ip:?} is not an address"))?,
        };
        let mut given = Self {
            phase,
            request_id: text("/context/requestId"),
            service: text("/context/serviceId"),
            route_path: text("/context/routePath"),
            client_ip,
            request: RequestHead::default(),
            response: ResponseHead { status: 200, ..ResponseHead::default() },
            body: BodySlot::default(),
            answers: Vec::new(),
            carried: Carried::new(),
        };
        if let Some(metadata @ Value::Object(_)) = document.pointer("/context/metadata") {
            let metadata = to_raw_value(metadata).map_err(|error| error.to_string())?;
            let merged = json_abi::merged(given.carried.metadata_json(), Some(&metadata));
            given.carried.set_metadata(merged.map_err(|error| error.text)?);
        }
        given.read_request(request, input, annotate)?;
        if plugin.takes_body_in(Phase::Response) && given.request.fields.contains("accept-encoding")
        {
            given.request.fields.set(b"Accept-Encoding", b"identity");
        }
        match phase {
            Phase::Request => given.body.given = Some(collected(plugin, phase, input)?),
            Phase::Response => {
                given.response = response_of(input, "the response")?;
                given.body.given = Some(collected(plugin, phase, input)?);
            }
            Phase::Aggregation => {
                let parts = input.get("responses").and_then(Value::as_array);
                given.answers =
                    parts.into_iter().flatten().map(answer_of).collect::<Result<_, _>>()?;
            }
        }
        given.check_coding(plugin)?;
        Ok(given)
    }

    /// The fields of the message.
    pub(super) fn fields(&self) -> Option<&Fields> {
        match self.phase {
            Phase::Request => Some(&self.request.fields),
            Phase::Response => Some(&self.response.fields),
            Phase::Aggregation => None,
        }
    }

    /// Takes its body out.
    pub(super) fn take_body(&mut self) -> Option<Vec<u8>> {
        self.body.given.take()
    }

    /// A plugin that reads bodies is given plain ones, and no word of how they came.
    fn check_coding(&self, plugin: &Plugin) -> Result<(), String> {
        let fields = match self.phase {
            Phase::Request => &self.request.fields,
            Phase::Response => &self.response.fields,
            Phase::Aggregation => return Ok(()),
        };
        if !plugin.takes_body_in(self.phase) || plugin.spec.encoding == Encoding::Raw {
            return Ok(());
        }
        match Codings::of(fields) {
            Ok(None) => Ok(()),
            _ => {
                Err("the message has a Content-Encoding; a gateway decodes what its plugin reads \
                      and takes the field away: write the plain body, and leave the field out"
                    .to_owned())
            }
        }
    }

    /// As a client of HTTP/1 would send it: read and refused by the gateway's own parser.
    fn read_request(
        &mut self,
        request: &Value,
        input: &Value,
        annotate: Annotate,
    ) -> Result<(), String> {
        let text = |name: &str| {
            let of = |value: &'_ Value| value.get(name).and_then(Value::as_str).map(str::to_owned);
            of(request).or_else(|| of(input))
        };
        let method = text("method").unwrap_or_else(|| "GET".to_owned());
        let url = text("url").unwrap_or_else(|| "http://host/".to_owned());
        let headers = headers_of(request)?;
        let named = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let named = named.map(|(_, value)| String::from_utf8_lossy(value).into_owned());
        let (host, target) = match url.split_once("://").filter(|_| !url.starts_with('/')) {
            Some((_, rest)) => {
                let (host, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
                (Some(host.to_owned()), target)
            }
            None => (None, url.as_str()),
        };
        if let (Some(host), Some(named)) = (&host, &named)
            && !host.eq_ignore_ascii_case(named)
        {
            return Err(format!(
                "the request names two hosts, {host:?} by its url and {named:?} by its Host; a \
                 gateway makes one of both"
            ));
        }
        let host = host.or(named);
        let slash = if target.starts_with('/') || target == "*" { "" } else { "/" };
        // Who names no host speaks HTTP/1.0.
        let version = if host.is_some() { "1.1" } else { "1.0" };
        let mut bytes = format!("{method} {slash}{target} HTTP/{version}\r\n").into_bytes();
        if let Some(host) = host {
            bytes.extend_from_slice(format!("Host: {host}\r\n").as_bytes());
        }
        write_fields(&headers, &mut bytes);
        let refused = |error: Error| {
            format!("a gateway would refuse the request: {error} ({})", error.status())
        };
        if bytes.len() > limits::HEAD_BYTES_MAX {
            return Err(refused(Error::HeadTooLarge));
        }
        let (uri_max, fields_max) = (limits::URI_BYTES_MAX, limits::HEAD_FIELDS_MAX);
        head::parse_request(&bytes, uri_max, fields_max, &mut self.request).map_err(refused)?;
        if self.request.path != "*" {
            let mut path = String::new();
            normalise(&self.request.path, Rules::default(), &mut path).map_err(refused)?;
            self.request.path = path;
        }
        annotate(&mut self.request, self.client_ip);
        if !self.request_id.is_empty() && !self.request.fields.contains("x-request-id") {
            self.request.fields.set(b"X-Request-Id", self.request_id.as_bytes());
        }
        Ok(())
    }

    /// The input. What the document says beside the messages (facts of its context, keys that no
    /// gateway knows) stands as it says.
    pub(super) fn input(&mut self, plugin: &Plugin, document: &Value) -> Result<Vec<u8>, String> {
        if document.get("input").is_none() {
            // Nothing of it is a message.
            return Ok(document.to_string().into_bytes());
        }
        let mut written = Vec::new();
        self.with_subject(|facts, subject, body, carried| {
            json_abi::write_input(&mut written, plugin, facts, subject, body, carried);
        });
        let mut input: Map<String, Value> = serde_json::from_slice(&written)
            .map_err(|error| format!("the gateway's own input is not JSON: {error}"))?;
        for (name, value) in document.as_object().into_iter().flatten() {
            match (name.as_str(), input.get_mut(name), value) {
                ("context", Some(Value::Object(context)), Value::Object(own)) => {
                    let own = own.iter().filter(|(key, _)| !is_settled(key));
                    context.extend(own.map(|(key, value)| (key.clone(), value.clone())));
                }
                ("config" | "input", ..) => {}
                _ => drop(input.insert(name.clone(), value.clone())),
            }
        }
        serde_json::to_vec(&input).map_err(|error| error.to_string())
    }

    /// Checks the output as an exchange would, with messages that nobody sends.
    pub(super) fn check(mut self, plugin: &Plugin, mut output: Vec<u8>) -> Result<(), String> {
        let mut buffers = simd_json::Buffers::default();
        self.with_subject(|facts, subject, body, carried| {
            let spec = &plugin.spec;
            json_abi::act_on(&mut output, &mut buffers, spec, facts, subject, body, carried)
        })
        .map(drop)
        .map_err(|error| error.text)
    }

    /// Runs the phase of a foreign filter, from its first callback to its last; what became of it,
    /// told as an output of the JSON ABI would.
    pub(super) async fn run_foreign(
        &self,
        pools: &Pools,
        plugin: &Arc<Plugin>,
    ) -> Result<String, CallError> {
        let facts = self.facts();
        let (mut request, mut response) = (self.request.clone(), self.response.clone());
        let mut body = BodySlot { given: self.body.given.clone(), replaced: false };
        let (mut carried, mut draft) = (Carried::new(), Draft::default());
        let mut subject = match self.phase {
            Phase::Request => Subject::Request { head: &mut request },
            Phase::Response | Phase::Aggregation => {
                Subject::Response { request: &request, head: &mut response }
            }
        };
        let (body_slot, open) = (&mut body, &mut carried);
        let ran = abi::run_phase(pools, plugin, &facts, &mut subject, body_slot, open, &mut draft);
        let ran = ran.await;
        let output = ran.map(|verdict| match verdict {
            Verdict::Continue => match self.phase {
                Phase::Request => told::request(&self.request, &request, &body),
                Phase::Response | Phase::Aggregation => {
                    told::response(&self.response, &response, &body)
                }
            },
            Verdict::Respond(local) => told::answer(&local),
            Verdict::Close => told::closed(),
        });
        carried.end(&request, &response).await;
        output
    }

    fn facts(&self) -> Facts<'i> {
        Facts {
            request_id: self.request_id,
            service: self.service,
            route_path: self.route_path,
            scheme: Scheme::Http,
            client_ip: self.client_ip,
            connection: Connection::NONE,
            received: SystemTime::UNIX_EPOCH,
            bounds: MessageBounds::DEFAULT,
            trace: None,
            passed: &[],
            upstreams: None,
            asked: crate::plugin::Asked::default(),
        }
    }

    fn with_subject<R>(
        &mut self,
        then: impl FnOnce(&Facts<'_>, &mut Subject<'_>, &mut BodySlot, &mut Carried) -> R,
    ) -> R {
        let facts = self.facts();
        let answers: Vec<_> = self.answers.iter().map(Answer::as_told).collect();
        let Self { request, response, body, carried, .. } = self;
        let mut subject = match self.phase {
            Phase::Request => Subject::Request { head: request },
            Phase::Response => Subject::Response { request, head: response },
            Phase::Aggregation => {
                Subject::Aggregation { request, answers: &answers, head: response }
            }
        };
        then(&facts, &mut subject, body, carried)
    }
}

impl Answer<'_> {
    fn as_told(&self) -> CallAnswer<'_> {
        let Self { name, service, error, status, fields, body } = self;
        CallAnswer { name, service, status: *status, fields, body, error: *error }
    }
}

/// Facts of the context that are not the document's to say: they are the plugin's, or read already.
fn is_settled(key: &str) -> bool {
    matches!(key, "phase" | "config" | "metadata")
}

fn phase_of(kind: PluginType, named: &str) -> Phase {
    match named {
        "response" => Phase::Response,
        "request" => Phase::Request,
        "aggregation" => Phase::Aggregation,
        _ if kind == PluginType::Aggregation => Phase::Aggregation,
        _ if kind == PluginType::Response => Phase::Response,
        _ => Phase::Request,
    }
}

fn answer_of(part: &Value) -> Result<Answer<'_>, String> {
    let text = |name: &str| part.get(name).and_then(Value::as_str);
    let name = text("name").unwrap_or_default();
    let head = response_of(part, name)?;
    Ok(Answer {
        name,
        service: text("service").unwrap_or(name),
        error: text("error"),
        status: head.status,
        fields: head.fields,
        body: body_of(part)?,
    })
}

/// As an origin would send it. A status of 0 is a call's that was not answered.
fn response_of(message: &Value, whose: &str) -> Result<ResponseHead, String> {
    let status = message.get("statusCode").map_or(Some(200), Value::as_u64);
    let status = status.ok_or_else(|| format!("statusCode of {whose} is not a number"))?;
    let mut response = ResponseHead::default();
    if status == 0 {
        return Ok(response);
    }
    let mut bytes = format!("HTTP/1.1 {status} As Told\r\n").into_bytes();
    write_fields(&headers_of(message)?, &mut bytes);
    head::parse_response(&bytes, &mut response)
        .map_err(|error| format!("a gateway would not take {whose}: {error}"))?;
    Ok(response)
}

/// The fields of a message and the empty line; without those that frame it: they are the gateway's.
fn write_fields(headers: &[(&str, Vec<u8>)], out: &mut Vec<u8>) {
    for (name, value) in headers {
        if !is_of_connection(name.as_bytes()) && !name.eq_ignore_ascii_case("host") {
            out.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// The names and values of `headers`, with the exact bytes of `headersBase64`.
fn headers_of(message: &Value) -> Result<Vec<(&str, Vec<u8>)>, String> {
    let mut headers = Vec::new();
    for (name, values) in message.get("headers").and_then(Value::as_object).into_iter().flatten() {
        let exact = message.get("headersBase64").and_then(|exact| exact.get(name));
        for value in list(exact.unwrap_or(values)) {
            let text = value.as_str();
            let text = text.ok_or_else(|| format!("a value of the header {name} is no string"))?;
            if text.contains(['\r', '\n']) || name.contains(['\r', '\n', ':']) {
                return Err(format!("the header {name:?} holds a line break or a colon"));
            }
            let bytes = match exact {
                Some(_) => from_base64(text)?,
                None => text.as_bytes().to_vec(),
            };
            headers.push((name.as_str(), bytes));
        }
    }
    Ok(headers)
}

/// Each value of a list; one alone may stand for itself.
fn list(values: &Value) -> &[Value] {
    values.as_array().map_or(std::slice::from_ref(values), Vec::as_slice)
}

fn body_of(message: &Value) -> Result<Vec<u8>, String> {
    let body = message.get("body").and_then(Value::as_str).unwrap_or_default();
    match message.get("bodyEncoding").and_then(Value::as_str) {
        Some("base64") => from_base64(body),
        _ => Ok(body.as_bytes().to_vec()),
    }
}

/// The body of a message that a gateway collects for plugins.
fn collected(plugin: &Plugin, phase: Phase, message: &Value) -> Result<Vec<u8>, String> {
    let body = body_of(message)?;
    let (got, most) = (body.len(), limits::PLUGIN_BODY_BYTES_MAX);
    if got > most && plugin.takes_body_in(phase) {
        return Err(format!(
            "the body has {got} bytes; a gateway collects {most} for plugins \
             (server.limits.pluginBodyBytesMax)"
        ));
    }
    Ok(body)
}

fn from_base64(text: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(text).map_err(|error| format!("{text:?} is not base64: {error}"))
}
