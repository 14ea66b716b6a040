//! Plugins around an aggregation: the type `aggregation`, the chains that run, and the answer of a
//! `response` plugin before anyone is asked.

use super::{saying, targets, with_service};
use crate::support::{Origin, Setup, get, wasm};

/// `/all` calls `a` and `b`; a service at `/a` and one at `/b`.
fn all(a: &Origin, b: &Origin, keys: &str) -> Setup {
    let setup = with_service(with_service(Setup::new(), "a", a), "b", b);
    setup.service(&format!(
        "name: all, basePath: /all, aggregation: {{{keys} calls: [{{name: one, service: a, \
         path: /1}}, {{name: two, service: b, path: /2}}]}}"
    ))
}

#[test]
fn a_plugin_is_given_the_answers_and_makes_the_response() {
    let a = saying(r#"{"id":7}"#);
    let b = Origin::raw("HTTP/1.1 404 Gone\r\nX-Why: b\r\nContent-Length: 3\r\n\r\nno\n");
    let gateway = all(&a, &b, "")
        .plugin("join", wasm::replacing_body_by_input(), "type: aggregation, config: {k: v}")
        .start();
    let response = get(gateway.addr, "/all/x?q=1");
    assert_eq!(response.status, 200);
    assert_eq!(response.head.get("content-type").unwrap(), "application/json");
    let given = response.json();
    assert_eq!(given["context"]["phase"], "aggregation");
    assert_eq!(given["context"]["serviceId"], "all");
    assert_eq!(given["config"]["k"], "v");
    let input = &given["input"];
    assert_eq!(input["url"], "http://a.test/all/x?q=1");
    assert_eq!(input["query"]["q"][0], "1");
    assert!(input.get("body").is_none() && input.get("statusCode").is_none(), "{input}");
    let [one, two] = input["responses"].as_array().unwrap().as_slice() else {
        panic!("{input}");
    };
    assert_eq!((&one["name"], &one["service"]), (&"one".into(), &"a".into()));
    assert_eq!((&one["statusCode"], &one["body"]), (&200.into(), &r#"{"id":7}"#.into()));
    assert_eq!(one["headers"]["Content-Type"][0], "application/json");
    assert_eq!((&two["statusCode"], &two["body"]), (&404.into(), &"no\n".into()));
    assert!(one.get("error").is_none() && two.get("error").is_none());
}

#[test]
fn a_call_without_an_answer_has_status_0_and_an_error() {
    let a = saying("1");
    let b = Origin::scripted(|connection, _| drop(connection.request()));
    let gateway = all(&a, &b, "")
        .plugin("join", wasm::replacing_body_by_input(), "type: aggregation, body: false")
        .start();
    let responses = get(gateway.addr, "/all").json()["input"]["responses"].clone();
    assert_eq!(responses[1]["statusCode"], 0);
    assert!(responses[1]["error"].as_str().unwrap().contains("closed the connection"));
    assert!(responses[0].get("body").is_none(), "body: false");
    gateway.wait_log("closed the connection");
}

#[test]
fn a_plugin_may_leave_the_merging_to_the_gateway() {
    let (a, b) = (saying("1"), saying("2"));
    for (module, header) in [
        (wasm::passing(), None),
        (wasm::setting_headers(r#""X-Joined":["yes"]"#), Some("yes".to_owned())),
    ] {
        let gateway = all(&a, &b, "").plugin("join", module, "type: aggregation").start();
        let response = get(gateway.addr, "/all");
        assert_eq!(response.text(), r#"{"one":1,"two":2}"#);
        assert_eq!(response.head.get("x-joined"), header);
    }
}

#[test]
fn refusals_and_failures_are_502_unless_the_mode_is_open() {
    let (a, b) = (saying("1"), saying("2"));
    let refusing = wasm::answering(r#"{"continue":false,"error":"not these"}"#);
    for (module, keys, status) in [
        (refusing, "", 502),
        (wasm::trapping(), "", 502),
        (wasm::spinning(), ", timeout: 100ms", 502),
        (b"no module".to_vec(), "", 502),
        (wasm::trapping(), ", failureMode: open", 200),
    ] {
        let gateway =
            all(&a, &b, "").plugin("join", module, &format!("type: aggregation{keys}")).start();
        let response = get(gateway.addr, "/all");
        assert_eq!(response.status, status, "{keys}: {}", response.text());
        if status == 200 {
            assert_eq!(response.text(), r#"{"one":1,"two":2}"#);
        }
        assert_eq!(get(gateway.addr, "/a").status, 200, "a chain never runs it");
    }
}

#[test]
fn only_the_first_of_several_plugins_joins() {
    let (a, b) = (saying("1"), saying("2"));
    let body = |text| {
        wasm::answering(&format!(
            r#"{{"modified":true,"continue":true,"response":{{"body":"{text}"}}}}"#
        ))
    };
    let gateway = all(&a, &b, "")
        .plugin("late", body("late"), "type: aggregation, priority: 20")
        .plugin("early", body("early"), "type: aggregation, priority: 10")
        .plugin("other", body("other"), "type: aggregation, priority: 1, allowedUrls: [^/other]")
        .start();
    let response = get(gateway.addr, "/all");
    assert_eq!(response.text(), "early");
    assert_eq!(response.head.get("content-type").unwrap(), "text/plain; charset=utf-8");
}

#[test]
fn a_failed_call_counts_before_the_plugin_runs() {
    let (a, b) = (saying("<p>"), Origin::raw("HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n"));
    let gateway = all(&a, &b, "failOnError: true,")
        .plugin("join", wasm::passing(), "type: aggregation")
        .start();
    let response = get(gateway.addr, "/all");
    assert_eq!(response.status, 502);
    assert!(response.reason().contains("\"two\""), "what is not JSON is the plugin's business");
}

#[test]
fn the_chain_of_the_calling_service_runs_and_that_of_the_called_does_not() {
    let refusing = wasm::answering(r#"{"continue":false,"error":"stop"}"#);
    let (a, b) = (saying("1"), saying("2"));
    let gateway = all(&a, &b, "")
        .plugin("of-a", refusing.clone(), "type: auth, services: [a]")
        .plugin(
            "of-all",
            wasm::setting_headers(r#""X-Seen":["1"]"#),
            "type: middleware, services: [all]",
        )
        .start();
    let response = get(gateway.addr, "/all");
    assert_eq!(response.text(), r#"{"one":1,"two":2}"#);
    assert_eq!(response.head.get("x-seen").unwrap(), "1", "the response phase");
    assert_eq!(a.only_request().head.get("x-seen").unwrap(), "1", "the request phase");
    assert_eq!(get(gateway.addr, "/a").status, 401);

    let gateway = all(&a, &b, "").plugin("guard", refusing, "type: auth, services: [all]").start();
    assert_eq!(get(gateway.addr, "/all").status, 401);
    assert_eq!(targets(&b), ["/2"], "nothing is called for a refused request");
}

#[test]
fn response_plugins_see_what_was_completed() {
    let (a, b) = (saying(r#"{"id":1}"#), saying("\"x\""));
    let url = a.url();
    let gateway = with_service(Setup::new(), "b", &b)
        .service(&format!(
            "name: own, basePath: /own, targets: ['{url}'], aggregation: {{dependencies: \
             [{{service: b, path: '/{{id}}', parameterMapping: [{{from: $.id, to: id}}], \
             resultMapping: [{{from: $, to: $.of}}]}}]}}"
        ))
        .plugin("see", wasm::replacing_body_by_input(), "type: response, services: [own]")
        .start();
    let given = get(gateway.addr, "/own").json();
    assert_eq!(given["input"]["body"], r#"{"id":1,"of":"x"}"#);
}

#[test]
fn an_aggregation_plugin_that_never_runs_is_told_of() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).plugin("join", wasm::trapping(), "type: aggregation").start();
    assert_eq!(get(gateway.addr, "/").status, 200);
    gateway.wait_log("no service that it is for has aggregation.calls");
}

/// A guest that lets requests pass until it has seen a response, and answers them from then on.
fn caching() -> Vec<u8> {
    let pass = r#"{"modified":false,"continue":true}"#;
    let hit = concat!(
        r#"{"continue":false,"response":{"statusCode":200,"#,
        r#""headers":{"X-Cache":["hit"]},"body":"kept"}}"#
    );
    let literal = |text: &str| text.replace('"', "\\22");
    wasm::module(&format!(
        r#"(module
            (memory (export "memory") 1)
            (global $seen (mut i32) (i32.const 0))
            (data (i32.const 1024) "{pass_text}")
            (data (i32.const 2048) "{hit_text}")
            (func $pack (param $at i64) (param $len i64) (result i64)
              (i64.or (i64.shl (local.get $len) (i64.const 32)) (local.get $at)))
            (func (export "on_request") (param i32 i32) (result i64)
              (if (result i64) (global.get $seen)
                (then (call $pack (i64.const 2048) (i64.const {hit_len})))
                (else (call $pack (i64.const 1024) (i64.const {pass_len})))))
            (func (export "execute") (param i32 i32) (result i64)
              (global.set $seen (i32.const 1))
              (call $pack (i64.const 1024) (i64.const {pass_len}))))"#,
        pass_text = literal(pass),
        hit_text = literal(hit),
        pass_len = pass.len(),
        hit_len = hit.len(),
    ))
}

#[test]
fn a_response_plugin_answers_from_its_cache_before_the_origin_is_asked() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin)
        .plugin("cache", caching(), "type: response, instances: 1, maxInstances: 1")
        .start();
    assert_eq!(get(gateway.addr, "/").text(), "ok");
    for _ in 0..2 {
        let response = get(gateway.addr, "/");
        assert_eq!((response.status, response.text().as_str()), (200, "kept"));
        assert_eq!(response.head.get("x-cache").unwrap(), "hit");
    }
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn on_request_of_other_types_is_never_called() {
    for kind in ["middleware", "request", "auth"] {
        let origin = Origin::ok();
        let keys = format!("type: {kind}, instances: 1, maxInstances: 1");
        let gateway = Setup::to(&origin).plugin("cache", caching(), &keys).start();
        for _ in 0..3 {
            assert_eq!(get(gateway.addr, "/").text(), "ok", "{kind}");
        }
    }
}
