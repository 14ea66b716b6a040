//! Sampled exchanges as OTLP's messages: one server span for each, below it a client span for each
//! try at an endpoint and an internal one for each plugin's call.
//!
//! Names and attributes follow OpenTelemetry's semantic conventions for HTTP (stable since 1.23);
//! what they have no word for begins with `odin.`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

use crate::http::connection::Protocol;
use crate::http::message::Method;
use crate::trace::PluginEnd;
use crate::trace::context::SpanId;
use crate::trace::finished::{Finished, Part, PartKind, known_method};

/// Span flags: the low byte is the trace's flags, all of these are sampled.
const SAMPLED: u32 = 1;
/// Span flags: whether the parent is of another process is known …
const HAS_IS_REMOTE: u32 = 0x100;
/// … and it is.
const IS_REMOTE: u32 = 0x200;

/// One message with all of these.
pub(super) fn message(batch: &[Box<Finished>], service_name: &str) -> Bytes {
    let mut spans = Vec::new();
    for finished in batch {
        spans.push(server(finished));
        spans.extend(finished.parts.iter().map(|part| self::part(finished, part)));
    }
    let scope = InstrumentationScope {
        name: "odin".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let mut resource = Attributes::default();
    resource.text("service.name", service_name);
    resource.text("service.version", env!("CARGO_PKG_VERSION"));
    resource.number("process.pid", i64::from(std::process::id()));
    let resource = Resource { attributes: resource.0, ..Resource::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
    let resource_spans =
        vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
}

/// The span of the exchange as a whole.
fn server(finished: &Finished) -> Span {
    let mut attributes = Attributes::default();
    let method = Method::from_bytes(finished.method.as_bytes()).unwrap_or_default();
    let known = known_method(&method);
    attributes.text("http.request.method", known);
    if known == "_OTHER" {
        attributes.text("http.request.method_original", &finished.method);
    }
    attributes.text("url.scheme", finished.scheme.as_str());
    attributes.text("url.path", &finished.path);
    attributes.text("url.query", &finished.query);
    attributes.text("http.route", &finished.route);
    attributes.address("server", &finished.authority, finished.scheme.port().into());
    attributes.text("network.protocol.name", "http");
    let version = match finished.protocol {
        Protocol::Http1 => "1.1",
        Protocol::Http2 => "2",
    };
    attributes.text("network.protocol.version", version);
    // The convention has it without its name before it.
    let tls_version = finished.tls_version.trim_start_matches("TLSv");
    attributes.text("tls.protocol.version", tls_version);
    attributes.text("client.address", &finished.client.to_string());
    attributes.text("user_agent.original", &finished.user_agent);
    attributes.status(finished.status);
    attributes.text("odin.request_id", &finished.request_id);
    attributes.text("odin.service", &finished.service);
    attributes.number("odin.worker", finished.worker as i64);
    if finished.parts_dropped > 0 {
        attributes.number("odin.spans_dropped", i64::from(finished.parts_dropped));
    }
    // A server's span has failed where the server has, not where its client has.
    let is_error = finished.status >= 500 || (finished.status == 0 && finished.error.is_some());
    if let Some(error) = finished.error {
        attributes.text("error.type", error);
    } else if is_error {
        attributes.text("error.type", &finished.status.to_string());
    }
    let (parent, remote) = match finished.context.parent {
        Some(parent) => (parent.bytes().to_vec(), HAS_IS_REMOTE | IS_REMOTE),
        None => (Vec::new(), 0),
    };
    Span {
        parent_span_id: parent,
        flags: SAMPLED | remote,
        name: named(known, &finished.route),
        kind: SpanKind::Server.into(),
        attributes: attributes.0,
        status: status(is_error),
        ..span(finished, finished.context.span, Duration::ZERO, finished.took)
    }
}

/// A span below it.
fn part(finished: &Finished, part: &Part) -> Span {
    let (name, kind, attributes, is_error) = match &part.kind {
        PartKind::Plugin { name, kind, phase, end } => {
            let (attributes, is_error) = plugin(name, kind, phase, *end);
            (format!("plugin {name}"), SpanKind::Internal, attributes, is_error)
        }
        PartKind::Attempt { method, .. } => {
            let (attributes, is_error) = attempt(&part.kind);
            (named(method, ""), SpanKind::Client, attributes, is_error)
        }
    };
    Span {
        parent_span_id: finished.context.span.bytes().to_vec(),
        flags: SAMPLED | HAS_IS_REMOTE,
        name,
        kind: kind.into(),
        attributes: attributes.0,
        status: status(is_error),
        ..span(finished, part.span, part.since, part.took)
    }
}

fn plugin(name: &str, kind: &str, phase: &str, end: PluginEnd) -> (Attributes, bool) {
    let mut attributes = Attributes::default();
    attributes.text("odin.plugin.name", name);
    attributes.text("odin.plugin.type", kind);
    attributes.text("odin.plugin.phase", phase);
    let verdict = match end {
        PluginEnd::Continued => "continue",
        PluginEnd::Responded => "respond",
        PluginEnd::Failed(error) => {
            attributes.text("error.type", error);
            "failed"
        }
    };
    attributes.text("odin.plugin.verdict", verdict);
    (attributes, matches!(end, PluginEnd::Failed(_)))
}

fn attempt(kind: &PartKind) -> (Attributes, bool) {
    let mut attributes = Attributes::default();
    let PartKind::Attempt {
        service,
        scheme,
        authority,
        method,
        target,
        number,
        is_reused,
        status,
        error,
    } = kind
    else {
        return (attributes, false);
    };
    attributes.text("http.request.method", method);
    attributes.address("server", authority, if *scheme == "https" { 443 } else { 80 });
    attributes.text("url.full", &format!("{scheme}://{authority}{target}"));
    attributes.status(*status);
    if *number > 1 {
        attributes.number("http.request.resend_count", *number as i64 - 1);
    }
    attributes.text("odin.service", service);
    attributes.push("odin.connection.reused", Value::BoolValue(*is_reused));
    // A client's span has failed where it got an error of either side.
    let is_error = *status >= 400 || error.is_some();
    match error {
        Some(error) => attributes.text("error.type", error),
        None if is_error => attributes.text("error.type", &status.to_string()),
        None => {}
    }
    (attributes, is_error)
}

/// What all spans of an exchange have.
fn span(finished: &Finished, id: SpanId, since: Duration, took: Duration) -> Span {
    let begun = finished.started + since;
    Span {
        trace_id: finished.context.trace_id.to_vec(),
        span_id: id.bytes().to_vec(),
        trace_state: finished.tracestate.clone(),
        start_time_unix_nano: nanos(begun),
        end_time_unix_nano: nanos(begun + took),
        ..Span::default()
    }
}

/// `METHOD route`, with words that are few: `HTTP` stands for methods that nobody has registered.
fn named(method: &str, route: &str) -> String {
    let method = if matches!(method, "_OTHER" | "") { "HTTP" } else { method };
    if route.is_empty() { method.to_owned() } else { format!("{method} {route}") }
}

fn status(is_error: bool) -> Option<Status> {
    let code = if is_error { StatusCode::Error } else { StatusCode::Unset };
    Some(Status { code: code.into(), ..Status::default() })
}

fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Attributes in the making. What is empty is left out.
#[derive(Default)]
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn push(&mut self, key: &str, value: Value) {
        let value = Some(AnyValue { value: Some(value) });
        self.0.push(KeyValue { key: key.to_owned(), value, ..KeyValue::default() });
    }

    fn text(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.push(key, Value::StringValue(value.to_owned()));
        }
    }

    fn number(&mut self, key: &str, value: i64) {
        self.push(key, Value::IntValue(value));
    }

    /// The status of a response, if there was one.
    fn status(&mut self, status: u16) {
        if status > 0 {
            self.number("http.response.status_code", i64::from(status));
        }
    }

    /// `side.address` and `side.port` of a `host:port`.
    fn address(&mut self, side: &str, authority: &str, default_port: i64) {
        let end_of_host = authority.rfind(']').unwrap_or(0);
        let colon = authority[end_of_host..].rfind(':').map(|at| end_of_host + at);
        let (host, port) = match colon {
            Some(at) => (&authority[..at], authority[at + 1..].parse().ok()),
            None => (authority, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        self.text(&format!("{side}.address"), host);
        if !host.is_empty() {
            self.number(&format!("{side}.port"), port.unwrap_or(default_port));
        }
    }
}

#[cfg(test)]
mod tests;
