//! Schemas and instances in tables, after the groups of the official test suite, and the plugin as
//! the gateway sees it.

use super::*;
use odin_plugin::testing::{Gateway, metric, set_file, take_log};

fn mistakes(schema: &Value, instance: &Value) -> Vec<Mistake> {
    Schema::compile(schema, false).unwrap().check(instance, 20)
}

/// One group of a table: what fits and what doesn't.
#[derive(Deserialize)]
struct Case {
    #[serde(default)]
    schema: Value,
    #[serde(default)]
    format: String,
    valid: Vec<Value>,
    invalid: Vec<Value>,
}

fn assert_all(schema: &Value, case: &Case) {
    for instance in &case.valid {
        let found = mistakes(schema, instance);
        assert!(found.is_empty(), "{schema} refuses {instance}: {found:?}");
    }
    for instance in &case.invalid {
        assert!(!mistakes(schema, instance).is_empty(), "{schema} takes {instance}");
    }
}

#[test]
fn keywords_assert_what_the_specification_says() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../testdata/keywords.json")).unwrap();
    for case in &cases {
        assert_all(&case.schema, case);
    }
}

#[test]
fn formats_are_asserted() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../testdata/formats.json")).unwrap();
    for case in &cases {
        assert_all(&json!({"format": case.format}), case);
    }
}

#[test]
fn each_mistake_is_told_with_its_place() {
    let schema = json!({"type": "object", "required": ["name"], "properties": {
        "tags": {"items": {"maxLength": 3}}, "a/b~": {"type": "integer"}}});
    let found = mistakes(&schema, &json!({"tags": ["ok", "too long"], "a/b~": "x"}));
    let found: Vec<_> = found.iter().map(|one| (one.at.as_str(), one.text.as_str())).collect();
    assert_eq!(
        found,
        [
            ("", "name is missing"),
            ("/tags/1", "has 8 characters, must have at most 3"),
            ("/a~1b~0", "is string, must be integer"),
        ]
    );
}

#[test]
fn a_schema_that_refers_to_itself_without_end_is_a_mistake_and_no_crash() {
    let schema = json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"});
    assert_eq!(mistakes(&schema, &json!(1))[0].text, "nested too deeply");
}

#[test]
fn schemas_that_cannot_be_used_are_refused_with_their_place() {
    let cases = [
        (json!({"properties": {"a": {"type": "text"}}}), "#/properties/a/type"),
        (json!({"pattern": "("}), "#/pattern"),
        (json!({"$ref": "https://elsewhere/x"}), "stay within"),
        (json!({"$ref": "#/nothing"}), "there is no #/nothing"),
        (json!({"items": 1}), "#/items: 1 is no schema"),
        (json!({"minLength": -1}), "#/minLength"),
        (json!({"multipleOf": 0}), "above 0"),
        (json!({"unevaluatedProperties": false}), "not supported"),
        (json!({"allOf": {}}), "not an array"),
    ];
    for (schema, part) in cases {
        let error = Schema::compile(&schema, false).err().map(|e| e.text().to_owned());
        assert!(error.as_ref().is_some_and(|text| text.contains(part)), "{error:?}, wanted {part}");
    }
    assert!(Schema::compile(&json!({"requierd": []}), false).is_ok());
    assert!(Schema::compile(&json!({"requierd": []}), true).is_err());
}

fn post(config: Value, content_type: &str, body: &str) -> Value {
    let mut gateway = Gateway::<Validator>::new(config);
    gateway.request("POST", "http://host/api/users", &[("Content-Type", content_type)], body)
}

fn user() -> Value {
    json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]})
}

#[test]
fn a_body_that_does_not_fit_is_refused_with_all_that_is_wrong() {
    set_file("/etc/odin/schemas/user.json", user().to_string());
    let config = json!({"schemaPath": "/etc/odin/schemas/user.json", "strict": true});
    let output = post(config.clone(), "application/json; charset=utf-8", r#"{"name":"ann"}"#);
    assert_eq!(output, json!({"modified": false, "continue": true}));
    let output = post(config.clone(), "application/json", r#"{"nmae":"ann"}"#);
    assert_eq!(output["response"]["statusCode"], 400);
    let body: Value = serde_json::from_str(output["response"]["body"].as_str().unwrap()).unwrap();
    assert_eq!(
        body,
        json!({"error": "the request does not fit its schema", "details": [
        {"path": "", "message": "name is missing"}, {"path": "", "message": "nmae is not allowed"}]})
    );
    assert_eq!(post(config, "text/plain", "{}")["response"]["statusCode"], 415);
}

#[test]
fn what_is_no_json_or_nothing_does_not_fit() {
    for body in ["", "  \n", "{", "nul", "{}{}"] {
        let output = post(json!({"schema": {}}), "application/json", body);
        assert_eq!(output["response"]["statusCode"], 400, "{body}");
    }
    assert_eq!(post(json!({"schema": {}}), "application/json", "null")["continue"], true);
}

#[test]
fn other_methods_pass() {
    let mut gateway = Gateway::<Validator>::new(json!({"schema": false}));
    assert_eq!(gateway.request("GET", "http://host/", &[], "")["continue"], true);
    assert_eq!(gateway.request("PUT", "http://host/", &[], "1")["continue"], false);
}

#[test]
fn a_schema_can_be_tried_out() {
    let output = post(json!({"schema": user(), "reportOnly": true}), "application/json", "{}");
    assert_eq!(output, json!({"modified": false, "continue": true}));
    assert_eq!(metric("refused_total"), 1);
    assert_eq!(take_log()[0].1, ": name is missing");
}

#[test]
fn a_services_answer_that_does_not_fit_is_kept_from_the_client() {
    let mut gateway = Gateway::<Validator>::new(json!({"schema": user()}));
    let json = [("Content-Type", "application/problem+json")];
    let output = gateway.response("http://host/", 200, &json, r#"{"secret":1}"#);
    assert_eq!(output["response"]["statusCode"], 502);
    assert!(!output.to_string().contains("secret"), "{output}");
    for (status, headers, body) in [
        (200, &json[..], r#"{"name":""}"#),
        (500, &json[..], "{}"),
        (200, &[("Content-Type", "text/html")][..], "x"),
    ] {
        assert_eq!(gateway.response("http://host/", status, headers, body)["continue"], true);
    }
}

#[test]
fn as_many_mistakes_are_told_as_wanted() {
    let body = format!("[{}1]", "1,".repeat(10_000));
    let output =
        post(json!({"schema": {"items": false}, "maxErrors": 3}), "application/json", &body);
    let body: Value = serde_json::from_str(output["response"]["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["details"].as_array().unwrap().len(), 3);
}
