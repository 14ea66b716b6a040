//! The documents that plugins are given, and what becomes of the messages.

use serde_json::{Value, json};

use super::super::testing::{Bench, Exchange, answer, answers, logs_input, on_both_drivers};
use super::super::{BodyMode, Plugin, PluginSpec, PluginType};
use super::*;
use crate::http::message::BodyLength;

async fn input_of(bench: &Bench, exchange: &mut Exchange, phase: Phase) -> Value {
    let mut spec = PluginSpec::new("p", PluginType::Middleware);
    spec.set_config(json!({"key": "value"}));
    let plugin = bench.plugin_of(spec, &logs_input());
    let fresh = Exchange::new(&[&plugin]);
    exchange.chain = fresh.chain;
    exchange.selected = fresh.selected;
    assert_eq!(answer(exchange.run(bench, phase).await), None);
    let line = bench.lines().pop().unwrap();
    let (_, text) = line.split_once("info: ").unwrap();
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What plugins that log it are told, all in one run of a chain.
async fn told(
    bench: &Bench,
    exchange: &mut Exchange,
    phase: Phase,
    plugins: &[&Arc<Plugin>],
) -> Vec<Value> {
    let fresh = Exchange::new(plugins);
    exchange.chain = fresh.chain;
    exchange.selected = fresh.selected;
    assert_eq!(answer(exchange.run(bench, phase).await), None);
    // A plugin that fails has a line of its own.
    let inputs = bench.lines().into_iter().filter_map(|line| {
        let (_, input) = line.split_once("info: ")?;
        Some(serde_json::from_str(input).unwrap_or_else(|error| panic!("{error}: {input}")))
    });
    inputs.collect()
}

#[test]
fn a_plugin_of_a_chain_is_told_what_it_would_be_told_alone() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let logs = |wants_body: bool| {
            let mut spec = PluginSpec::new("p", PluginType::Middleware);
            spec.body = if wants_body { BodyMode::Whole } else { BodyMode::None };
            bench.plugin_of(spec, &logs_input())
        };
        let says = |message: &str| {
            let output = format!(r#"{{"continue":true,"modified":true,{message}}}"#);
            bench.plugin(PluginType::Middleware, &answers(&output))
        };
        let (with, without) = (logs(true), logs(false));
        let field = says(r#""response":{"headers":{"X-A":["1","2"],"Accept":[]}}"#);
        let body = says(r#""response":{"body":"other \\ one"}"#);
        let bytes = says(r#""response":{"body":"/////w==","bodyEncoding":"base64"}"#);
        let told_more = says(r#""metadata":{"user":"ann"}"#);
        let target = bench.plugin(
            PluginType::Request,
            &answers(
                r#"{"continue":true,"modified":true,"response":{"url":"/other","method":"PUT"}}"#,
            ),
        );
        let status = bench.plugin(
            PluginType::Response,
            &answers(r#"{"continue":true,"modified":true,"response":{"statusCode":201}}"#),
        );
        let fails = bench.plugin(PluginType::Middleware, &answers("{"));
        let refused = says(r#""response":{"headers":{"Connection":["x"]},"body":"refused"}"#);
        let plugins = [
            &with, &with, &without, &with, &field, &with, &fails, &with, &body, &without, &with,
            &told_more, &with, &bytes, &with, &with, &field, &body, &with, &refused, &with,
            &target, &status, &without, &with,
        ];
        for phase in [Phase::Request, Phase::Response] {
            for given in [Some(&b"h\"i\n"[..]), Some(b"\xff"), None] {
                let exchange = || {
                    let mut exchange = Exchange::new(&[]);
                    exchange.request_body.given = given.map(<[u8]>::to_vec);
                    exchange.response_body.given = given.map(<[u8]>::to_vec);
                    exchange
                };
                let (mut one, mut other) = (exchange(), exchange());
                let together = told(&bench, &mut one, phase, &plugins).await;
                let mut alone = Vec::new();
                for plugin in plugins {
                    alone.extend(told(&bench, &mut other, phase, &[plugin]).await);
                }
                assert_eq!(together.len(), 15);
                assert_eq!(together, alone);
            }
        }
    });
}

/// Runs one plugin that answers `output`; the exchange says what became of it.
async fn after(bench: &Bench, kind: PluginType, phase: Phase, output: &str) -> Exchange {
    let plugin = bench.plugin(kind, &answers(output));
    let mut exchange = Exchange::new(&[&plugin]);
    exchange.request.fields.push(b"X-Bytes", b"caf\xe9");
    exchange.request.fields.push(b"x-two", b"1");
    exchange.request.fields.push(b"X-Two", b"2");
    exchange.response.fields.push(b"Set-Cookie", b"a=1");
    exchange.response.fields.push(b"Set-Cookie", b"b=2");
    assert_eq!(answer(exchange.run(bench, phase).await), None);
    exchange
}

#[test]
fn the_input_of_the_request_phase_is_the_documented_one() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let mut exchange = Exchange::new(&[]);
        exchange.request.fields.push(b"X-Two", b"1");
        exchange.request.fields.push(b"x-two", b"2\"");
        exchange.request_body.given = Some(b"h\"i\n".to_vec());
        let input = input_of(&bench, &mut exchange, Phase::Request).await;
        let expected = json!({
            "context": {
                "requestId": "r-1", "serviceId": "users-service", "routePath": "/api/users",
                "timestamp": "2024-01-01T00:00:00.000Z", "phase": "request", "plugin": "p",
                "clientIp": "192.0.2.7", "scheme": "http", "protocol": "HTTP/1.1",
                "config": {"key": "value"}, "metadata": {}
            },
            "input": {
                "method": "GET", "url": "http://gateway.test/api/users?limit=10",
                "path": "/api/users",
                "headers": {
                    "Host": ["gateway.test"], "Accept": ["*/*"], "X-Two": ["1", "2\""]
                },
                "body": "h\"i\n", "query": {"limit": ["10"]}
            },
            "config": {"key": "value"}
        });
        assert_eq!(input, expected);
    });
}

#[test]
fn the_input_of_the_response_phase_has_both_messages() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let mut exchange = Exchange::new(&[]);
        exchange.request_body.given = Some(b"the request's".to_vec());
        exchange.response_body.given = Some(Vec::new());
        let input = input_of(&bench, &mut exchange, Phase::Response).await;
        assert_eq!(input["context"]["phase"], "response");
        let expected = json!({
            "method": "GET", "url": "http://gateway.test/api/users?limit=10", "path": "/api/users",
            "statusCode": 200,
            "headers": {"Content-Type": ["text/plain"]}, "body": "",
            "request": {
                "method": "GET", "url": "http://gateway.test/api/users?limit=10",
                "path": "/api/users", "query": {"limit": ["10"]},
                "headers": {"Host": ["gateway.test"], "Accept": ["*/*"]}
            },
            "query": {"limit": ["10"]}
        });
        assert_eq!(input["input"], expected);
    });
}

#[test]
fn bytes_that_are_not_utf8_reach_a_plugin_whole() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let mut exchange = Exchange::new(&[]);
        exchange.request.fields.push(b"X-Bytes", b"caf\xe9");
        exchange.request.fields.push(b"X-Bytes", b"plain");
        exchange.request_body.given = Some(b"\xff\x00".to_vec());
        let input = input_of(&bench, &mut exchange, Phase::Request).await;
        assert_eq!(input["input"]["headers"]["X-Bytes"], json!(["caf\u{fffd}", "plain"]));
        assert_eq!(input["input"]["headersBase64"], json!({"X-Bytes": ["Y2Fm6Q==", "cGxhaW4="]}));
        assert_eq!(input["input"]["body"], "/wA=");
        assert_eq!(input["input"]["bodyEncoding"], "base64");
    });
}

#[test]
fn a_body_that_was_not_asked_for_is_not_given() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let auth = bench.plugin(PluginType::Auth, &logs_input());
        let mut exchange = Exchange::new(&[&auth]);
        assert!(!exchange.selected.needs_request_body());
        // Collected all the same, for another plugin of the chain.
        exchange.request_body.given = Some(b"secret".to_vec());
        assert_eq!(answer(exchange.request(&bench).await), None);
        assert!(!bench.lines()[0].contains("\"body\""));
    });
}

#[test]
fn a_request_without_a_host_has_a_path_for_its_url() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let mut exchange = Exchange::new(&[]);
        exchange.request.authority.clear();
        exchange.request.query.clear();
        let input = input_of(&bench, &mut exchange, Phase::Request).await;
        assert_eq!(input["input"]["url"], "/api/users");
        assert_eq!(input["input"]["headers"], json!({"Accept": ["*/*"]}));
    });
}

#[test]
fn headers_replace_those_of_their_names_and_an_empty_list_removes() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let output = r#"{"modified":true,"continue":true,"response":{"headers":
            {"X-TWO":["3"],"accept":[],"X-New":["a","b"],"X-Text":" text\t"},"body":"other"}}"#;
        let exchange = after(&bench, PluginType::Request, Phase::Request, output).await;
        let fields: Vec<_> = exchange
            .request
            .fields
            .iter()
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect();
        let expected = [
            (&b"X-Bytes"[..], &b"caf\xe9"[..]),
            (b"X-TWO", b"3"),
            (b"X-New", b"a"),
            (b"X-New", b"b"),
            (b"X-Text", b"text"),
        ]
        .map(|(name, value)| (name.to_vec(), value.to_vec()));
        assert_eq!(fields, expected);
        assert_eq!(exchange.request_body.given.as_deref(), Some(&b"other"[..]));
        assert!(exchange.request_body.replaced);
        assert_eq!(exchange.request.body, BodyLength::Known(5));
    });
}

#[test]
fn handing_everything_back_changes_nothing_not_even_a_byte() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let output = r#"{"modified":true,"continue":true,"request":{"method":"GET",
            "url":"http://gateway.test/api/users?limit=10","body":"same","headers":
            {"Host":["gateway.test"],"Accept":["*/*"],"X-Bytes":["caf�"],"x-two":["1","2"]}}}"#;
        let plugin = bench.plugin(PluginType::Request, &answers(output));
        let mut exchange = Exchange::new(&[&plugin]);
        exchange.request.fields.push(b"X-Bytes", b"caf\xe9");
        exchange.request.fields.push(b"x-two", b"1");
        exchange.request.fields.push(b"X-Two", b"2");
        exchange.request_body.given = Some(b"same".to_vec());
        let before = format!("{:?}", exchange.request);
        assert_eq!(answer(exchange.request(&bench).await), None);
        assert_eq!(format!("{:?}", exchange.request), before);
        assert!(!exchange.request_body.replaced);
    });
}

#[test]
fn what_is_not_modified_is_not_changed() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        for modified in ["", r#""modified":false,"#] {
            let output = format!(
                r#"{{{modified}"continue":true,"response":{{"headers":{{"X-New":["a"]}},
                     "body":"x","statusCode":500}}}}"#
            );
            let exchange = after(&bench, PluginType::Request, Phase::Request, &output).await;
            assert!(!exchange.request.fields.contains("x-new") && !exchange.request_body.replaced);
            let exchange = after(&bench, PluginType::Response, Phase::Response, &output).await;
            assert_eq!(exchange.response.status, 200);
        }
    });
}

#[test]
fn a_request_object_changes_method_target_host_and_body() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let cases = [
            ("/v2/users?x=1", "/v2/users", "?x=1"),
            ("http://gateway.test/v2/../a%20b", "/a%20b", ""),
            ("http://gateway.test", "/", ""),
            ("http://gateway.test?q", "/", "?q"),
            ("/api/users", "/api/users", ""),
        ];
        for (url, path, query) in cases {
            let output = format!(
                r#"{{"modified":true,"continue":true,"response":{{"headers":{{"X-No":"1"}}}},
                     "request":{{"method":"POST","url":"{url}","headers":{{"host":"b.test:8"}},
                     "body":"AAH/","bodyEncoding":"base64"}}}}"#
            );
            let exchange = after(&bench, PluginType::Middleware, Phase::Request, &output).await;
            let head = &exchange.request;
            assert_eq!((head.path.as_str(), head.query.as_str()), (path, query));
            assert_eq!((head.method.as_str(), head.authority.as_str()), ("POST", "b.test:8"));
            assert!(!head.fields.contains("x-no") && !head.fields.contains("host"));
            assert_eq!(exchange.request_body.given.as_deref(), Some(&[0, 1, 255][..]));
        }
    });
}

#[test]
fn a_response_is_changed_in_status_headers_and_body() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let output = r#"{"modified":true,"continue":true,"response":{"statusCode":201,
            "headers":{"set-cookie":["c=3"],"Content-Type":["application/json"]},"body":""},
            "request":{"method":"GET","headers":{"X-Not":["here"]}}}"#;
        let exchange = after(&bench, PluginType::Response, Phase::Response, output).await;
        let head = &exchange.response;
        assert_eq!((head.status, head.body), (201, BodyLength::Empty));
        assert_eq!(head.fields.get_all("set-cookie").collect::<Vec<_>>(), [b"c=3"]);
        assert_eq!(head.fields.get("content-type"), Some(&b"application/json"[..]));
        assert!(exchange.response_body.replaced && !head.fields.contains("x-not"));
    });
}

/// (what, `response` or `request` of an output)
const REFUSED: [(&str, &str); 22] = [
    ("CR LF in a value", r#""response":{"headers":{"X-A":["a\r\nX-Evil: 1"]}}"#),
    ("LF in a value", r#""response":{"headers":{"X-A":["a\nb"]}}"#),
    ("NUL in a value", r#""response":{"headers":{"X-A":["a\u0000b"]}}"#),
    ("CR in a single value", r#""response":{"headers":{"X-A":"a\rb"}}"#),
    ("LF in a name", r#""response":{"headers":{"X-A\nX-B":["1"]}}"#),
    ("colon in a name", r#""response":{"headers":{"X-A:":["1"]}}"#),
    ("empty name", r#""response":{"headers":{"":["1"]}}"#),
    ("name that is not ASCII", r#""response":{"headers":{"X-é":["1"]}}"#),
    ("Content-Length", r#""response":{"headers":{"Content-Length":["5"]}}"#),
    ("Transfer-Encoding", r#""response":{"headers":{"transfer-encoding":["chunked"]}}"#),
    ("removed Connection", r#""response":{"headers":{"CONNECTION":[]}}"#),
    ("Keep-Alive", r#""response":{"headers":{"Keep-Alive":["x"]}}"#),
    ("Upgrade", r#""response":{"headers":{"Upgrade":["h2c"]}}"#),
    ("status 99", r#""response":{"statusCode":99}"#),
    ("status 600", r#""response":{"statusCode":600}"#),
    ("status 101", r#""response":{"statusCode":101}"#),
    ("status -200", r#""response":{"statusCode":-200}"#),
    ("bad base64", r#""response":{"body":"*","bodyEncoding":"base64"}"#),
    ("unknown encoding", r#""response":{"body":"x","bodyEncoding":"hex"}"#),
    ("second header bad", r#""response":{"headers":{"X-A":["1"],"X-B":["\r"]}}"#),
    ("bad header behind a good body", r#""response":{"body":"x","headers":{"Te":["1"]}}"#),
    ("large header", "LARGE"),
];

#[test]
fn what_a_plugin_sets_is_checked_like_a_clients_input() {
    let large = "x".repeat(40_000);
    let large = format!(r#""response":{{"headers":{{"X-A":["{large}"]}}}}"#);
    on_both_drivers(|| async {
        let bench = Bench::new();
        for (what, part) in REFUSED {
            let part = if part == "LARGE" { &large } else { part };
            for continues in [true, false] {
                for (kind, phase) in
                    [(PluginType::Auth, Phase::Request), (PluginType::Middleware, Phase::Response)]
                {
                    // In the request phase a status means nothing to a request that goes on.
                    if what.starts_with("status") && continues && phase == Phase::Request {
                        continue;
                    }
                    let output = format!(r#"{{"modified":true,"continue":{continues},{part}}}"#);
                    let plugin = bench.plugin(kind, &answers(&output));
                    let mut exchange = Exchange::new(&[&plugin]);
                    let before = format!("{:?}{:?}", exchange.request, exchange.response);
                    let got = answer(exchange.run(&bench, phase).await);
                    let closed = (kind == PluginType::Auth).then_some(503);
                    assert_eq!(got.map(|got| got.0), closed, "{what}");
                    let after = format!("{:?}{:?}", exchange.request, exchange.response);
                    assert_eq!(after, before, "{what}");
                    assert!(!exchange.request_body.replaced && !exchange.response_body.replaced);
                    let lines = bench.lines();
                    assert!(lines[0].contains("kind bad_output"), "{what}: {lines:?}");
                }
            }
        }
    });
}

#[test]
fn a_target_or_host_that_leads_elsewhere_is_refused() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        for part in [
            r#""url":"http://evil.test/""#,
            r#""url":"https://gateway.test/x""#,
            r#""url":"http://gateway.test.evil.test/x""#,
            r#""url":"//evil.test/x" ,"method":"G T""#,
            r#""url":"/a b""#,
            r#""url":"/a\r\nb""#,
            r#""url":"/a#b""#,
            r#""url":"relative""#,
            r#""url":"""#,
            r#""method":"""#,
            r#""method":"GET\r\n""#,
            r#""method":"CONNECT""#,
            r#""headers":{"Host":["a","b"]}"#,
            r#""headers":{"Host":[]}"#,
            r#""headers":{"Host":["a/b"]}"#,
            r#""headers":{"Host":[""]}"#,
        ] {
            let output = format!(r#"{{"modified":true,"continue":true,"request":{{{part}}}}}"#);
            let plugin = bench.plugin(PluginType::Auth, &answers(&output));
            let mut exchange = Exchange::new(&[&plugin]);
            let got = answer(exchange.request(&bench).await);
            assert_eq!(got.map(|got| got.0), Some(503), "{part}");
        }
    });
}

#[test]
fn too_many_headers_are_refused() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let headers = |count: usize| {
            let list: Vec<_> = (0..count).map(|n| format!(r#""X-{n}":["1"]"#)).collect();
            format!(
                r#"{{"modified":true,"continue":true,"response":{{"headers":{{{}}}}}}}"#,
                list.join(",")
            )
        };
        // What is there (one: Accept) does not count.
        for (count, got) in [(100, None), (101, Some(503)), (2001, Some(503))] {
            let plugin = bench.plugin(PluginType::Auth, &answers(&headers(count)));
            let verdict = Exchange::new(&[&plugin]).request(&bench).await;
            assert_eq!(answer(verdict).map(|got| got.0), got);
        }
    });
}

#[test]
fn a_refusal_has_the_body_that_its_plugin_gave_or_its_error() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let json = "application/json";
        let cases = [
            (
                r#""response":{"statusCode":418,"body":"tea"}"#,
                418,
                "tea",
                "text/plain; charset=utf-8",
            ),
            (r#""response":{"body":"{\"a\":1}"}"#, 401, r#"{"a":1}"#, json),
            (
                r#""response":{"body":"<a>","headers":{"content-type":"text/html"}}"#,
                401,
                "<a>",
                "text/html",
            ),
            (r#""error":"expired""#, 401, r#"{"error":"expired"}"#, json),
            (
                r#""error":"expired","response":{"statusCode":400,"body":""}"#,
                400,
                r#"{"error":"expired"}"#,
                json,
            ),
            (r#""response":{"statusCode":200,"body":""}"#, 200, "", ""),
            (r#""response":{"statusCode":204}"#, 204, "", ""),
            (r#""response":null"#, 401, r#"{"error":"refused by plugin \"p\""}"#, json),
        ];
        for (part, status, body, content_type) in cases {
            let output = format!(r#"{{"continue":false,{part}}}"#);
            let plugin = bench.plugin(PluginType::Auth, &answers(&output));
            let verdict = Exchange::new(&[&plugin]).request(&bench).await;
            let Verdict::Respond(response) = verdict else {
                panic!("{part} is a refusal");
            };
            let got = response.fields.get("content-type").unwrap_or_default();
            assert_eq!(String::from_utf8_lossy(got), content_type, "{part}");
            assert_eq!(
                (response.status, String::from_utf8_lossy(&response.body)),
                (status, body.into()),
                "{part}"
            );
        }
    });
}

#[test]
fn a_host_that_no_client_could_name_is_refused() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        for host in ["b:~", "b:", "[::1", "[]", "a b", "b:123456", "@b", "", "b:1:2"] {
            let output = format!(
                r#"{{"modified":true,"continue":true,"request":{{"headers":{{"Host":"{host}"}}}}}}"#
            );
            let plugin = bench.plugin(PluginType::Middleware, &answers(&output));
            let mut exchange = Exchange::new(&[&plugin]);
            assert_eq!(answer(exchange.request(&bench).await), None);
            // An empty port is none.
            let is_taken = host == "b:";
            assert_eq!(exchange.request.authority == host, is_taken, "{host}");
            let refused = bench.lines().iter().any(|line| line.contains("kind bad_output"));
            assert_eq!(refused, !is_taken, "{host}");
        }
    });
}

#[test]
fn a_plugin_that_says_why_it_cannot_decide_is_believed() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        for kind in [PluginType::Auth, PluginType::RateLimit, PluginType::Request] {
            for output in [
                r#"{"error":"no key named jwks"}"#,
                r#"{"continue":true,"error":"no key named jwks"}"#,
            ] {
                let plugin = bench.plugin(kind, &answers(output));
                let _ = Exchange::new(&[&plugin]).request(&bench).await;
                let line = bench.lines().pop().unwrap();
                assert!(line.contains("the plugin reports: no key named jwks"), "{line}");
                assert!(line.contains("kind refused"), "{line}");
            }
        }
    });
}

#[test]
fn a_result_whose_halves_are_the_other_way_round_is_recognised() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let output = r#"{"continue":true}"#;
        let (right, wrong) = ((output.len() as u64) << 32 | 1024, 1024 << 32 | output.len() as u64);
        let guest = answers(output).replace(&right.to_string(), &wrong.to_string());
        let plugin = bench.plugin(PluginType::Request, &guest);
        let _ = Exchange::new(&[&plugin]).request(&bench).await;
        let line = bench.lines().pop().unwrap();
        assert!(line.contains("are the other way round"), "{line}");
        assert!(line.contains("a JSON object of 17 bytes stands at 1024"), "{line}");
    });
}
