//! Traces: W3C Trace Context through the gateway, spans as a collector gets them.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;

use crate::metrics::{scrape, value};
use crate::support::origin::Received;
use crate::support::{Client, Gateway, Origin, Setup, get, get_with, wait_until, wasm};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A collector that takes everything.
fn collector() -> Origin {
    Origin::raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
}

/// A gateway in the making that traces everything and exports it.
fn traced(setup: Setup, collector: &Origin) -> Setup {
    let endpoint = collector.url();
    setup.yaml(&format!("tracing: {{otlp: {{endpoint: '{endpoint}', headers: {{x-key: k1}}}}}}"))
}

fn field(request: &Received, name: &str) -> Vec<String> {
    request.head.all(name)
}

fn decoded(message: &Received) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(&*message.body).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

/// The spans that the collector has, once there are so many.
fn spans(collector: &Origin, count: usize) -> Vec<Span> {
    let all = || collector.requests().iter().flat_map(decoded).collect::<Vec<_>>();
    wait_until("the collector has the spans", || all().len() >= count);
    let all = all();
    assert_eq!(all.len(), count, "{all:?}");
    all
}

fn of_kind(spans: &[Span], kind: SpanKind) -> Vec<&Span> {
    spans.iter().filter(|span| span.kind() == kind).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An attribute as text.
fn told(span: &Span, key: &str) -> String {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == key);
    let value = attribute.and_then(|attribute| attribute.value.clone()?.value);
    match value {
        Some(Any::StringValue(text)) => text,
        Some(Any::IntValue(number)) => number.to_string(),
        Some(Any::BoolValue(is_so)) => is_so.to_string(),
        Some(other) => panic!("{key}: {other:?}"),
        None => String::new(),
    }
}

fn has_failed(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
}

#[test]
fn without_tracing_the_fields_pass_as_they_come() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).start();
    get_with(gateway.addr, "/", "TraceParent: odd\r\ntracestate: A=1,,b\r\n");
    let request = origin.only_request();
    assert_eq!(field(&request, "traceparent"), ["odd"]);
    assert_eq!(field(&request, "tracestate"), ["A=1,,b"]);
}

#[test]
fn a_trace_begins_where_there_is_none() {
    for (rate, flags) in [("1", "01"), ("0", "00")] {
        let origin = Origin::ok();
        let tracing = format!("tracing: {{sampleRate: {rate}}}");
        let gateway = Setup::to(&origin).yaml(&tracing).start();
        // A state without a parent says nothing.
        get_with(gateway.addr, "/", "tracestate: a=1\r\n");
        get(gateway.addr, "/");
        let requests = origin.requests();
        let parents: Vec<_> =
            requests.iter().map(|one| field(one, "traceparent").remove(0)).collect();
        for parent in &parents {
            let parts: Vec<_> = parent.split('-').collect();
            assert_eq!((parts[0], parts[3], parts.len()), ("00", flags, 4), "{parent}");
            assert_eq!((parts[1].len(), parts[2].len()), (32, 16), "{parent}");
        }
        assert_ne!(parents[0][3..35], parents[1][3..35], "each request is a trace");
        assert_eq!(field(&requests[0], "tracestate"), [""; 0]);
    }
}

#[test]
fn a_trace_goes_on_under_a_parent_that_somebody_gets_to_see() {
    let collector = collector();
    for is_exported in [false, true] {
        let origin = Origin::ok();
        let setup = Setup::to(&origin);
        let gateway = match is_exported {
            true => traced(setup, &collector).start(),
            false => setup.yaml("tracing: {enabled: true}").start(),
        };
        let state = "tracestate: a=1, b=2\r\nTraceState: c=3\r\n";
        get_with(gateway.addr, "/", &format!("traceparent: {PARENT}\r\n{state}"));
        let request = origin.only_request();
        let sent = field(&request, "traceparent");
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert_eq!(sent[0][..35], PARENT[..35], "the trace stays");
        assert_eq!(sent[0][36..52] != PARENT[36..52], is_exported, "{sent:?}");
        assert_eq!(sent[0][52..], PARENT[52..], "so does the decision to sample");
        assert_eq!(field(&request, "tracestate"), ["a=1, b=2,c=3"]);
    }
}

#[test]
fn what_cannot_be_read_restarts_the_trace() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).yaml("tracing: {enabled: true}").start();
    let unreadable = PARENT.replace("4bf9", "4BF9");
    let twice = format!("traceparent: {PARENT}\r\ntraceparent: {PARENT}\r\n");
    let cases = [format!("traceparent: {unreadable}\r\n"), twice];
    for fields in &cases {
        get_with(gateway.addr, "/", &format!("{fields}tracestate: a=1\r\n"));
        let request = origin.requests().pop().unwrap();
        let sent = field(&request, "traceparent");
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert!(!sent[0].to_lowercase().contains(TRACE_ID), "{sent:?}");
        assert_eq!(field(&request, "tracestate"), [""; 0]);
    }
    // The state alone is wrong: the trace goes on without it.
    get_with(gateway.addr, "/", &format!("traceparent: {PARENT}\r\ntracestate: A=1\r\n"));
    let request = origin.requests().pop().unwrap();
    assert!(field(&request, "traceparent")[0].contains(TRACE_ID));
    assert_eq!(field(&request, "tracestate"), [""; 0]);
}

#[test]
fn clients_that_are_strangers_cannot_choose_a_trace() {
    let origin = Origin::ok();
    let tracing = "tracing: {incoming: restart, sampleRate: 0}";
    let gateway = Setup::to(&origin).yaml(tracing).start();
    get_with(gateway.addr, "/", &format!("traceparent: {PARENT}\r\ntracestate: a=1\r\n"));
    let request = origin.only_request();
    let sent = field(&request, "traceparent").remove(0);
    assert!(!sent.contains(TRACE_ID) && sent.ends_with("-00"), "{sent}");
    assert_eq!(field(&request, "tracestate"), [""; 0]);
}

#[test]
fn plugins_see_the_trace_and_so_do_both_logs() {
    let logging = wasm::module(
        r#"(module
            (import "env" "log" (func $log (param i32 i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "a line of the guest")
            (data (i32.const 100) "{\22continue\22:true}")
            (func (export "execute") (param i32 i32) (result i64)
              (call $log (i32.const 0) (i32.const 19))
              (i64.or (i64.shl (i64.const 17) (i64.const 32)) (i64.const 100))))"#,
    );
    let setup = Setup::echo().plugin("talker", logging, "type: auth, priority: 1").plugin(
        "shower",
        wasm::showing_input(),
        "type: request, priority: 2",
    );
    let collector = collector();
    let setup = traced(setup, &collector);
    let path = setup.dir.path().join("access.log");
    let access_log = format!("accessLog: '{}', accessLogFields: [trace_id]", path.display());
    let gateway = setup.logging(&access_log).start();
    let answer = get_with(gateway.addr, "/", &format!("traceparent: {PARENT}\r\n"));
    let input = answer.text();
    let spans = spans(&collector, 3);
    let parent = hex(&of_kind(&spans, SpanKind::Server)[0].span_id);
    assert!(input.contains(&format!("\"traceparent\":[\"00-{TRACE_ID}-{parent}-01\"]")), "{input}");
    gateway.wait_log("a line of the guest");
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains("a line of the guest")).unwrap();
    assert!(line.contains(&format!("trace_id=\"{TRACE_ID}\"")), "{line}");
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    wait_until("the access log has its line", || !read().is_empty());
    assert_eq!(read(), format!("trace_id={TRACE_ID}\n"));
}

#[test]
fn a_sampled_request_is_a_tree_of_spans() {
    let (origin, collector) = (Origin::ok(), collector());
    let setup = Setup::to(&origin).plugin("first", wasm::passing(), "type: request").plugin(
        "broken",
        wasm::trapping(),
        "type: response, failureMode: open",
    );
    let gateway = traced(setup, &collector).start();
    let fields = format!("traceparent: {PARENT}\r\ntracestate: a=1\r\nX-Request-Id: r-7\r\n");
    assert_eq!(get_with(gateway.addr, "/users?token=s3cret", &fields).status, 200);
    let spans = spans(&collector, 4);

    let server = of_kind(&spans, SpanKind::Server)[0];
    assert_eq!(server.name, "GET /");
    assert_eq!(hex(&server.parent_span_id), "00f067aa0ba902b7");
    assert_eq!(server.trace_state, "a=1");
    assert_eq!(server.flags, 0x301, "sampled, and the parent is remote");
    for (key, value) in [
        ("url.path", "/users"),
        ("url.query", "token=REDACTED"),
        ("http.response.status_code", "200"),
        ("odin.request_id", "r-7"),
        ("odin.service", "all"),
    ] {
        assert_eq!(told(server, key), value, "{key}");
    }
    let client = of_kind(&spans, SpanKind::Client)[0];
    assert_eq!(told(client, "url.full"), format!("{}/users?token=REDACTED", origin.url()));
    assert_eq!(told(client, "http.response.status_code"), "200");
    assert_eq!(told(client, "odin.connection.reused"), "false");
    let sent = field(&origin.only_request(), "traceparent").remove(0);
    assert_eq!(sent, format!("00-{TRACE_ID}-{}-01", hex(&client.span_id)));
    let plugins = of_kind(&spans, SpanKind::Internal);
    let names: Vec<_> = plugins.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["plugin first", "plugin broken"]);
    assert_eq!(told(plugins[0], "odin.plugin.phase"), "request");
    assert_eq!(told(plugins[1], "error.type"), "trap");
    assert!(has_failed(plugins[1]) && !has_failed(plugins[0]) && !has_failed(server));
    for span in &spans {
        assert_eq!(hex(&span.trace_id), TRACE_ID);
        if span.span_id != server.span_id {
            assert_eq!(span.parent_span_id, server.span_id, "{}", span.name);
        }
        let within = |at| (server.start_time_unix_nano..=server.end_time_unix_nano).contains(&at);
        assert!(within(span.start_time_unix_nano) && within(span.end_time_unix_nano), "{span:?}");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
    }
    let message = collector.requests().remove(0);
    assert_eq!((&*message.method, &*message.target), ("POST", "/v1/traces"));
    assert_eq!(field(&message, "content-type"), ["application/x-protobuf"]);
    assert_eq!(field(&message, "x-key"), ["k1"]);
    assert!(!String::from_utf8_lossy(&message.body).contains("s3cret"));
}

#[test]
fn what_is_not_sampled_is_not_exported() {
    let (origin, collector) = (Origin::ok(), collector());
    let gateway = traced(Setup::to(&origin), &collector).start();
    let unsampled = PARENT.replace("-01", "-00");
    get_with(gateway.addr, "/unsampled", &format!("traceparent: {unsampled}\r\n"));
    get_with(gateway.addr, "/sampled", &format!("traceparent: {PARENT}\r\n"));
    let spans = spans(&collector, 2);
    assert!(spans.iter().all(|span| !told(span, "url.path").contains("unsampled")));
}

#[test]
fn each_try_is_a_span_of_its_own() {
    // Nobody listens there any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (origin, collector) = (Origin::ok(), collector());
    let targets = format!("targets: ['http://{gone}', '{}']", origin.url());
    let setup = Setup::new().service(&format!("name: all, basePath: /, {targets}"));
    let gateway = traced(setup, &collector).start();
    assert_eq!(get(gateway.addr, "/").status, 200);
    let spans = spans(&collector, 3);
    let tries = of_kind(&spans, SpanKind::Client);
    assert_eq!(told(tries[0], "error.type"), "connect_failed");
    assert!(has_failed(tries[0]) && !has_failed(tries[1]));
    assert_eq!(
        (&*tries[0].name, told(tries[0], "http.request.resend_count")),
        ("GET", String::new())
    );
    assert_eq!(told(tries[1], "http.request.resend_count"), "1");
    assert_ne!(tries[0].span_id, tries[1].span_id);
    let sent = field(&origin.only_request(), "traceparent").remove(0);
    assert!(sent.contains(&hex(&tries[1].span_id)), "{sent}");
}

#[test]
fn calls_of_an_aggregation_are_spans_too() {
    let (users, orders, collector) = (
        Origin::raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
        Origin::raw("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        collector(),
    );
    let setup = Setup::new()
        .service(&format!("name: users, basePath: /users, targets: ['{}']", users.url()))
        .service(&format!("name: orders, basePath: /orders, targets: ['{}']", orders.url()))
        .service(
            "name: page, basePath: /page, aggregation: {calls: [\
             {name: u, service: users, path: /users/1}, \
             {name: o, service: orders, path: /orders}]}",
        );
    let gateway = traced(setup, &collector).start();
    assert_eq!(get(gateway.addr, "/page").status, 200);
    let spans = spans(&collector, 3);
    let mut calls: Vec<_> = of_kind(&spans, SpanKind::Client);
    calls.sort_by_key(|span| told(span, "odin.service"));
    assert_eq!(told(calls[0], "odin.service"), "orders");
    assert_eq!(told(calls[0], "error.type"), "404");
    assert_eq!(told(calls[1], "url.full"), format!("{}/users/1", users.url()));
    let sent = field(&users.only_request(), "traceparent").remove(0);
    assert!(sent.contains(&hex(&calls[1].span_id)), "{sent}");
    assert_eq!(told(of_kind(&spans, SpanKind::Server)[0], "http.route"), "/page");
}

#[test]
fn what_the_gateway_refuses_is_traced_as_well() {
    let collector = collector();
    let setup = Setup::new().service("name: a, basePath: /a, targets: ['builtin:echo']").plugin(
        "no",
        wasm::answering(r#"{"continue":false}"#),
        "type: auth",
    );
    let gateway = traced(setup, &collector).start();
    assert_eq!(get(gateway.addr, "/b").status, 404);
    assert_eq!(get(gateway.addr, "/a").status, 401);
    let spans = spans(&collector, 3);
    let servers = of_kind(&spans, SpanKind::Server);
    assert_eq!((&*servers[0].name, told(servers[0], "error.type")), ("GET", "no_route".to_owned()));
    assert_eq!(told(servers[1], "http.response.status_code"), "401");
    assert!(!servers.iter().any(|span| has_failed(span)), "a client's mistake is no failure");
    let verdict = told(of_kind(&spans, SpanKind::Internal)[0], "odin.plugin.verdict");
    assert_eq!(verdict, "respond");
}

/// The value of the series of spans with this outcome.
fn count(gateway: &Gateway, outcome: &str) -> f64 {
    value(&scrape(gateway), &format!("odin_trace_spans_total{{outcome=\"{outcome}\"}}"))
}

#[test]
fn a_collector_that_is_busy_gets_the_spans_later() {
    let collector = Origin::scripted(|connection, number| {
        while connection.request().is_some() {
            let busy = "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
            let done = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            connection.send(if number < 2 { busy } else { done });
        }
    });
    let gateway = traced(Setup::echo(), &collector).start();
    get(gateway.addr, "/");
    wait_until("the span is exported", || count(&gateway, "exported") == 1.0);
    let bodies: Vec<_> = collector.requests().into_iter().map(|request| request.body).collect();
    assert!(
        bodies.len() >= 2 && bodies.iter().all(|body| *body == bodies[0]),
        "sent again as it was"
    );
    assert_eq!(count(&gateway, "failed"), 0.0);
    gateway.wait_log("the collector answers 503");
    gateway.wait_log("spans are exported again");
}

#[test]
fn spans_that_a_collector_refuses_are_counted() {
    let partial = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 1,
            error_message: "no".to_owned(),
        }),
    };
    let body = partial.encode_to_vec();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let collector = Origin::raw([head.as_bytes(), &body].concat());
    let gateway = traced(Setup::echo(), &collector).start();
    get(gateway.addr, "/");
    wait_until("the span is refused", || count(&gateway, "rejected") == 1.0);
    assert_eq!((count(&gateway, "exported"), count(&gateway, "failed")), (0.0, 0.0));
}

#[test]
fn a_collector_that_is_gone_or_strict_costs_no_request() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let tracing = format!("tracing: {{otlp: {{endpoint: 'http://{gone}'}}}}");
    let gateway = Setup::echo().yaml(&tracing).start();
    let mut client = Client::connect(gateway.addr);
    for _ in 0..50 {
        assert_eq!(client.get("/").status, 200);
    }
    gateway.wait_log("spans are not exported: cannot connect");

    let strict = Origin::raw("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n");
    let gateway = traced(Setup::echo(), &strict).start();
    get(gateway.addr, "/");
    wait_until("the span is given up", || count(&gateway, "failed") == 1.0);
    assert_eq!(strict.requests().len(), 1, "what is wrong stays wrong");
}

#[test]
fn the_last_spans_are_sent_before_the_process_ends() {
    let collector = collector();
    let mut gateway = traced(Setup::echo(), &collector).start();
    get(gateway.addr, "/");
    gateway.terminate();
    gateway.wait_exit();
    assert_eq!(collector.requests().iter().flat_map(decoded).count(), 1);
}

#[test]
fn a_reload_names_another_collector() {
    let (first, second) = (collector(), collector());
    let gateway = traced(Setup::echo(), &first).start();
    get(gateway.addr, "/first");
    spans(&first, 1);
    gateway.rewrite(&gateway.config().replace(&first.url(), &second.url()));
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    get(gateway.addr, "/second");
    assert_eq!(told(&spans(&second, 1)[0], "url.path"), "/second");
    spans(&first, 1);
}

/// The spans of a message as OpenTelemetry's own Python library reads them.
fn read_by_python(message: &[u8]) -> serde_json::Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut child = Command::new(root.join("target/python/bin/python"))
        .arg(root.join("tests/gateway/otlp.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("target/python is there: make setup makes it");
    child.stdin.take().unwrap().write_all(message).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_collectors_own_library_reads_the_same_tree() {
    let (origin, collector) = (Origin::ok(), collector());
    let setup = Setup::to(&origin).plugin("guard", wasm::passing(), "type: auth").plugin(
        "broken",
        wasm::trapping(),
        "type: response, failureMode: closed",
    );
    let gateway = traced(setup, &collector).start();
    assert_eq!(get_with(gateway.addr, "/", &format!("traceparent: {PARENT}\r\n")).status, 503);
    spans(&collector, 4);
    let messages = collector.requests();
    let read = messages.iter().map(|message| read_by_python(&message.body));
    let spans: Vec<_> = read.flat_map(|spans| spans.as_array().unwrap().clone()).collect();
    let named = |name: &str| spans.iter().find(|span| span["name"] == name).unwrap();
    let (server, client) = (named("GET /"), named("GET"));
    assert_eq!(
        (&server["kind"], &client["kind"]),
        (&"SPAN_KIND_SERVER".into(), &"SPAN_KIND_CLIENT".into())
    );
    assert_eq!(server["parentSpanId"], "00f067aa0ba902b7");
    assert_eq!(server["status"]["code"], "STATUS_CODE_ERROR");
    assert_eq!(server["attributes"]["http.response.status_code"], "503");
    assert_eq!(server["resource"]["service.name"], "odin");
    assert_eq!(server["scope"], "odin");
    for part in [client, named("plugin guard"), named("plugin broken")] {
        assert_eq!(part["parentSpanId"], server["spanId"], "{part}");
        assert_eq!(part["traceId"], TRACE_ID, "{part}");
    }
    assert_eq!(named("plugin guard")["kind"], "SPAN_KIND_INTERNAL");
    assert_eq!(named("plugin guard")["status"], serde_json::json!({}));
    assert_eq!(named("plugin broken")["status"]["code"], "STATUS_CODE_ERROR");
    assert_eq!(named("plugin broken")["attributes"]["error.type"], "trap");
}

/// What `Server-Timing` tells, as names and milliseconds.
fn timing(response: &crate::support::Response) -> Vec<(String, f64)> {
    let text = response.head.all("server-timing").join(", ");
    let entries = text.split(", ").filter(|entry| !entry.is_empty());
    let pair = |entry: &str| {
        let (name, took) = entry.split_once(";dur=").unwrap();
        (name.to_owned(), took.parse().unwrap())
    };
    entries.map(pair).collect()
}

#[test]
fn server_timing_is_told_only_when_asked_for() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).plugin("p", wasm::passing(), "type: request").start();
    assert_eq!(timing(&get(gateway.addr, "/")), []);
}

#[test]
fn server_timing_shows_each_plugins_share() {
    let origin = Origin::scripted(|connection, _| {
        while connection.request().is_some() {
            std::thread::sleep(std::time::Duration::from_millis(20));
            connection
                .send("HTTP/1.1 200 OK\r\nServer-Timing: db;dur=3\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let gateway = Setup::to(&origin)
        .server("serverTiming: true")
        .plugin("both.phases", wasm::passing(), "type: middleware, priority: 1")
        .plugin("after", wasm::passing(), "type: response, priority: 2")
        .start();
    let told = timing(&get(gateway.addr, "/"));
    let names: Vec<_> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["db", "plugin-both.phases", "plugin-after", "upstream", "total"]);
    let (upstream, total) = (told[3].1, told[4].1);
    assert!(upstream >= 20.0, "{told:?}");
    assert!(told[1].1 + told[2].1 + upstream <= total, "{told:?}");
    // Nothing is left over from one exchange to the next.
    let mut client = Client::connect(gateway.addr);
    for _ in 0..2 {
        assert_eq!(timing(&client.get("/")).len(), 5);
    }
}

#[test]
fn server_timing_is_on_what_the_gateway_answers_itself() {
    let gateway = Setup::new()
        .server("serverTiming: true")
        .service("name: a, basePath: /a, targets: ['builtin:echo']")
        .plugin("no", wasm::answering(r#"{"continue":false}"#), "type: auth")
        .start();
    let names = |path| -> Vec<String> {
        timing(&get(gateway.addr, path)).into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names("/a"), ["plugin-no", "total"]);
    assert_eq!(names("/b"), ["total"]);
}
