//! One call without a gateway.

use serde_json::json;

use super::super::spec::{BodyMode, PluginType};
use super::super::testing::{answers, executes, logs_input};
use super::*;

fn call(kind: PluginType, guest: &str, input: &str) -> Report {
    let mut spec = PluginSpec::new("p", kind);
    spec.timeout = Duration::from_millis(100);
    run(&wat::parse_str(guest).unwrap(), spec, Scene::default(), input, |_| Ok(Reach::default()))
}

#[test]
fn the_output_comes_back_as_it_was_written() {
    let output = r#"{ "continue" : true , "modified":false, "mine": [1] }"#;
    let report = call(PluginType::Auth, &answers(output), "{}");
    assert_eq!(report.output.as_deref(), Ok(output));
    assert!(report.lines.is_empty());
}

#[test]
fn the_input_reaches_the_plugin_with_the_config_that_was_given() {
    let wasm = wat::parse_str(logs_input()).unwrap();
    let input = r#"{"context":{"requestId":"r"},"config":{"a":1},"extra":null}"#;
    let seen = |spec: PluginSpec| -> Value {
        let report = run(&wasm, spec, Scene::default(), input, |_| Ok(Reach::default()));
        assert!(report.output.is_ok());
        serde_json::from_str(&report.lines[0].1).unwrap()
    };
    let plain = PluginSpec::new("p", PluginType::Request);
    assert_eq!(seen(plain.clone()), serde_json::from_str::<Value>(input).unwrap());
    let mut given = plain;
    given.set_config(json!({"b": 2}));
    let expected = json!({
        "context": {"requestId": "r", "config": {"b": 2}}, "config": {"b": 2}, "extra": null
    });
    assert_eq!(seen(given), expected);
}

#[test]
fn what_a_gateway_would_refuse_is_an_error_here() {
    let goes_on = r#"{"continue":true}"#;
    for (kind, guest, input, reason) in [
        (PluginType::Auth, answers("{}"), "{}", "output has no \"continue\""),
        (
            PluginType::Request,
            answers(r#"{"continue":true,"modified":true,"request":{"url":"http://evil.test/"}}"#),
            r#"{"input":{"url":"http://good.test/a?b"}}"#,
            "names another scheme or host",
        ),
        (PluginType::Request, answers(r#"{"continue":true,"error":"x"}"#), "{}", "reports: x"),
        (PluginType::Request, executes("(unreachable)"), "{}", "the plugin trapped"),
        (PluginType::Request, executes("(loop $l (br $l))"), "{}", "plugin execution timeout"),
        (PluginType::Request, "(module)".to_owned(), "{}", "exports no memory"),
        (
            PluginType::Request,
            answers(goes_on),
            r#"{"input":{"headers":{"Bad Name":["2"]}}}"#,
            "a gateway would refuse the request: field name has a byte",
        ),
        (
            PluginType::Request,
            answers(goes_on),
            r#"{"input":{"url":"http://a/%2e%2e/x"}}"#,
            "a gateway would refuse the request: ",
        ),
        (
            PluginType::Request,
            answers(goes_on),
            r#"{"input":{"url":"http://a/","headers":{"Host":["b"]}}}"#,
            "names two hosts",
        ),
        (
            PluginType::Response,
            answers(goes_on),
            r#"{"input":{"statusCode":1000}}"#,
            "a gateway would not take the response",
        ),
        (PluginType::Request, answers(goes_on), "[]", "the input is not a JSON object"),
        (PluginType::Request, answers(goes_on), "{", "the input is not a JSON object"),
    ] {
        let error = call(kind, &guest, input).output.unwrap_err();
        assert!(error.contains(reason), "{reason}: {error}");
    }
}

#[test]
fn a_url_of_the_inputs_own_host_is_taken() {
    let output = r#"{"continue":true,"modified":true,"request":{"url":"http://good.test/b"}}"#;
    let input = r#"{"context":{"phase":"request"},"input":{"url":"http://good.test/a?b",
        "headers":{"X-A":["1"]}}}"#;
    assert!(call(PluginType::Middleware, &answers(output), input).output.is_ok());
}

/// What a plugin of this type is told for a document.
fn told(spec: PluginSpec, document: &str) -> Value {
    let wasm = wat::parse_str(logs_input()).unwrap();
    let report = run(&wasm, spec, Scene::default(), document, |_| Ok(Reach::default()));
    assert!(report.output.is_ok(), "{report:?}");
    serde_json::from_str(&report.lines[0].1).unwrap()
}

#[test]
fn an_input_is_what_a_gateway_would_give() {
    let document = r#"{
        "context": {"requestId": "r-1", "timestamp": "then", "mine": 1},
        "input": {
            "method": "POST", "url": "http://a.test/x/%41/../b?c=d&c=e",
            "headers": {"X-A": "1", "Connection": ["X-A2"], "Content-Length": ["99"], "TE": ["a"]},
            "body": "text"
        },
        "extra": true
    }"#;
    let spec = |kind| PluginSpec::new("p", kind);
    let input = told(spec(PluginType::Request), document);
    assert_eq!(
        input["input"],
        json!({
            "method": "POST", "url": "http://a.test/x/b?c=d&c=e", "path": "/x/b",
            "headers": {"Host": ["a.test"], "X-A": ["1"], "X-Request-Id": ["r-1"]},
            "body": "text", "query": {"c": ["d", "e"]},
        })
    );
    assert_eq!(input["context"]["plugin"], "p");
    assert_eq!(
        (&input["context"]["timestamp"], &input["context"]["mine"]),
        (&json!("then"), &json!(1))
    );
    assert_eq!((&input["context"]["phase"], &input["extra"]), (&json!("request"), &json!(true)));
    // What the configuration does not say is withheld from an auth plugin.
    assert_eq!(told(spec(PluginType::Auth), document)["input"].get("body"), None);
    let mut asks = spec(PluginType::Auth);
    asks.body = BodyMode::Whole;
    assert_eq!(told(asks, document)["input"]["body"], "text");
}

#[test]
fn a_response_has_its_request_without_the_body() {
    let document = r#"{"input": {
        "method": "GET", "url": "http://a.test/x?c=d", "statusCode": 201,
        "headers": {"Content-Type": ["a/b"], "Keep-Alive": ["5"]},
        "headersBase64": {"Content-Type": ["/w=="]}, "body": "aGk=", "bodyEncoding": "base64",
        "request": {"method": "GET", "url": "http://a.test/x?c=d", "headers": {}, "body": "no"}
    }}"#;
    let input = told(PluginSpec::new("p", PluginType::Response), document);
    assert_eq!(
        input["input"],
        json!({
            "method": "GET", "url": "http://a.test/x?c=d", "path": "/x", "statusCode": 201,
            "headers": {"Content-Type": ["\u{fffd}"]}, "headersBase64": {"Content-Type": ["/w=="]},
            "body": "hi", "query": {"c": ["d"]},
            "request": {
                "method": "GET", "url": "http://a.test/x?c=d", "path": "/x",
                "headers": {"Host": ["a.test"]}, "query": {"c": ["d"]},
            },
        })
    );
}
