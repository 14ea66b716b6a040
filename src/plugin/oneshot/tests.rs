//! One call without a gateway.

use serde_json::json;

use super::super::spec::PluginType;
use super::super::testing::{answers, executes, logs_input};
use super::*;

fn call(kind: PluginType, guest: &str, input: &str) -> Report {
    let mut spec = PluginSpec::new("p", kind);
    spec.timeout = Duration::from_millis(100);
    run(&wat::parse_str(guest).unwrap(), spec, input, |_| Ok(Reach::default()))
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
        let report = run(&wasm, spec, input, |_| Ok(Reach::default()));
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
        "headers":{"X-A":["1"],"Bad Name":["2"]}}}"#;
    assert!(call(PluginType::Middleware, &answers(output), input).output.is_ok());
}
