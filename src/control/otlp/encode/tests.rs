//! What a collector is told, read back from the bytes.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::http::connection::Scheme;
use crate::trace::context::Context;

fn exchange() -> Finished {
    let span = SpanId::from_random(0xaa);
    Finished {
        context: Context { is_sampled: true, ..Context::begin([1, 2], span) },
        tracestate: "a=b".to_owned(),
        started: UNIX_EPOCH + Duration::from_secs(1_000),
        took: Duration::from_micros(250),
        method: "GET".to_owned(),
        path: "/api/users".to_owned(),
        query: "token=REDACTED".to_owned(),
        authority: "gateway.example:8080".to_owned(),
        user_agent: "curl".to_owned(),
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        scheme: Scheme::Https,
        protocol: Protocol::Http1,
        tls_version: "TLSv1.3",
        request_id: "r-1".to_owned(),
        service: "users".to_owned(),
        route: "/api".to_owned(),
        status: 200,
        error: None,
        worker: 3,
        parts: Vec::new(),
        parts_dropped: 0,
    }
}

fn plugin(end: PluginEnd) -> PartKind {
    PartKind::Plugin { name: "jwt".to_owned(), kind: "auth", phase: "request", end }
}

fn attempt(status: u16, error: Option<&'static str>) -> PartKind {
    PartKind::Attempt {
        service: "users".to_owned(),
        scheme: "https",
        authority: "[::1]:9443".to_owned(),
        method: "GET",
        target: "/users?a=REDACTED".to_owned(),
        number: 2,
        is_reused: true,
        status,
        error,
    }
}

fn part(kind: PartKind) -> Part {
    let micros = Duration::from_micros;
    Part { span: SpanId::from_random(0xbb), since: micros(10), took: micros(20), kind }
}

fn spans(finished: Finished) -> Vec<Span> {
    let bytes = message(&[Box::new(finished)], "edge");
    let mut request = ExportTraceServiceRequest::decode(bytes).unwrap();
    let mut resource_spans = request.resource_spans.remove(0);
    let resource = resource_spans.resource.unwrap();
    assert_eq!(resource.attributes[0].key, "service.name");
    assert_eq!(resource_spans.scope_spans[0].scope.as_ref().unwrap().name, "odin");
    resource_spans.scope_spans.remove(0).spans
}

/// An attribute as text.
fn told(span: &Span, key: &str) -> Option<String> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match attribute.value.clone()?.value? {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(is_so) => is_so.to_string(),
        other => panic!("{key}: {other:?}"),
    })
}

fn is_error(span: &Span) -> bool {
    span.status.as_ref().unwrap().code() == StatusCode::Error
}

#[test]
fn an_exchange_is_a_server_span_by_the_conventions() {
    let span = spans(exchange()).remove(0);
    assert_eq!((&*span.name, span.kind()), ("GET /api", SpanKind::Server));
    assert_eq!(span.start_time_unix_nano, 1_000_000_000_000);
    assert_eq!(span.end_time_unix_nano, 1_000_000_250_000);
    assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
    assert_eq!((&*span.trace_state, span.parent_span_id.len()), ("a=b", 0));
    for (key, value) in [
        ("http.request.method", "GET"),
        ("url.scheme", "https"),
        ("url.path", "/api/users"),
        ("url.query", "token=REDACTED"),
        ("http.route", "/api"),
        ("server.address", "gateway.example"),
        ("server.port", "8080"),
        ("network.protocol.version", "1.1"),
        ("tls.protocol.version", "1.3"),
        ("client.address", "192.0.2.7"),
        ("user_agent.original", "curl"),
        ("http.response.status_code", "200"),
        ("odin.request_id", "r-1"),
    ] {
        assert_eq!(told(&span, key).as_deref(), Some(value), "{key}");
    }
    assert!(!is_error(&span) && told(&span, "error.type").is_none());
}

#[test]
fn a_server_span_has_failed_where_the_server_has() {
    for (status, error, has_failed, kind) in [
        (404, Some("no_route"), false, Some("no_route")),
        (401, None, false, None),
        (502, Some("connect_failed"), true, Some("connect_failed")),
        (503, None, true, Some("503")),
        (0, Some("downstream_gone"), true, Some("downstream_gone")),
    ] {
        let span = spans(Finished { status, error, ..exchange() }).remove(0);
        assert_eq!(is_error(&span), has_failed, "{status}");
        assert_eq!(told(&span, "error.type").as_deref(), kind, "{status}");
    }
}

#[test]
fn a_method_that_nobody_has_registered_names_no_span() {
    let span = spans(Finished { method: "PURGE".to_owned(), ..exchange() }).remove(0);
    assert_eq!(span.name, "HTTP /api");
    assert_eq!(told(&span, "http.request.method").as_deref(), Some("_OTHER"));
    assert_eq!(told(&span, "http.request.method_original").as_deref(), Some("PURGE"));
}

#[test]
fn tries_and_plugins_stand_below_the_exchange() {
    let parts = [
        plugin(PluginEnd::Continued),
        plugin(PluginEnd::Failed("timeout")),
        attempt(404, None),
        attempt(0, Some("upstream_timeout")),
        attempt(200, None),
    ];
    let parts = parts.into_iter().map(part).collect();
    let spans = spans(Finished { parts, ..exchange() });
    for span in &spans[1..] {
        assert_eq!(span.parent_span_id, spans[0].span_id);
        assert_eq!(span.trace_id, spans[0].trace_id);
        assert_eq!(span.start_time_unix_nano, 1_000_000_010_000);
        assert_eq!(span.end_time_unix_nano, 1_000_000_030_000);
    }
    let kinds: Vec<_> = spans[1..].iter().map(Span::kind).collect();
    let (internal, client) = (SpanKind::Internal, SpanKind::Client);
    assert_eq!(kinds, [internal, internal, client, client, client]);
    let failed: Vec<_> = spans[1..].iter().map(is_error).collect();
    assert_eq!(failed, [false, true, true, true, false]);
    assert_eq!((&*spans[1].name, &*spans[3].name), ("plugin jwt", "GET"));
    assert_eq!(told(&spans[1], "odin.plugin.verdict").as_deref(), Some("continue"));
    assert_eq!(told(&spans[2], "error.type").as_deref(), Some("timeout"));
    assert_eq!(told(&spans[3], "error.type").as_deref(), Some("404"));
    for (key, value) in [
        ("url.full", "https://[::1]:9443/users?a=REDACTED"),
        ("server.address", "::1"),
        ("server.port", "9443"),
        ("http.request.resend_count", "1"),
        ("odin.connection.reused", "true"),
    ] {
        assert_eq!(told(&spans[5], key).as_deref(), Some(value), "{key}");
    }
}
