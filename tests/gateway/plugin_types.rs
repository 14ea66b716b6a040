//! The table of plugin types, row by row: phase, body, default refusal, and what happens on an
//! error, a trap, a timeout and a failed load.

use crate::support::client::Response;
use crate::support::{Origin, Setup, get, get_with, post, wasm};

/// A row of the table.
struct Row {
    name: &'static str,
    /// The status of a refusal that names none.
    refusal: u16,
    /// What the client gets when the plugin fails: 200 where it fails open.
    failure: u16,
    in_request_phase: bool,
    in_response_phase: bool,
    has_body: bool,
}

/// `aggregation` is not here: it joins the responses of calls, which no chain makes.
const ROWS: [Row; 5] = [
    Row {
        name: "auth",
        refusal: 401,
        failure: 503,
        in_request_phase: true,
        in_response_phase: false,
        has_body: false,
    },
    Row {
        name: "ratelimit",
        refusal: 429,
        failure: 503,
        in_request_phase: true,
        in_response_phase: false,
        has_body: false,
    },
    Row {
        name: "request",
        refusal: 403,
        failure: 200,
        in_request_phase: true,
        in_response_phase: false,
        has_body: true,
    },
    Row {
        name: "response",
        refusal: 403,
        failure: 200,
        in_request_phase: false,
        in_response_phase: true,
        has_body: true,
    },
    Row {
        name: "middleware",
        refusal: 403,
        failure: 200,
        in_request_phase: true,
        in_response_phase: true,
        has_body: true,
    },
];

/// Asks once through one plugin of this type; returns the answer and how often the origin was
/// asked.
fn through(kind: &str, keys: &str, module: &[u8], fields: &str) -> (Response, usize) {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).plugin("it", module, &format!("type: {kind}{keys}")).start();
    let response = get_with(gateway.addr, "/", fields);
    (response, origin.requests().len())
}

#[test]
fn a_refusal_without_a_status_gets_the_types() {
    for row in &ROWS {
        let module = wasm::answering(r#"{"continue":false,"error":"not for you"}"#);
        let (response, asked) = through(row.name, "", &module, "");
        assert_eq!(response.status, row.refusal, "{}", row.name);
        assert_eq!(response.reason(), "not for you", "{}", row.name);
        assert_eq!(asked, usize::from(!row.in_request_phase), "{}", row.name);
    }
}

#[test]
fn a_refusal_with_a_response_is_that_response() {
    for row in &ROWS {
        let module = wasm::answering(
            r#"{"continue":false,"response":{"statusCode":418,
                "headers":{"X-Why":["tea"],"Content-Type":["text/plain"]},"body":"short"}}"#,
        );
        let (response, _) = through(row.name, "", &module, "");
        assert_eq!((response.status, response.text().as_str()), (418, "short"), "{}", row.name);
        assert_eq!(response.head.get("x-why").unwrap(), "tea", "{}", row.name);
        assert_eq!(response.head.get("content-type").unwrap(), "text/plain", "{}", row.name);
        assert_eq!(response.head.get("content-length").unwrap(), "5", "{}", row.name);
    }
}

#[test]
fn a_failure_is_what_the_types_failure_mode_says() {
    for row in &ROWS {
        for deed in ["do-trap", "do-error", "do-garbage", "do-pointer", "do-spin", "do-hog"] {
            // The response phase sees the request's headers too, in `input.request`.
            let fields = format!("X-Do: {deed}\r\n");
            let (response, _) = through(row.name, ", timeout: 100ms", &wasm::obeying(), &fields);
            assert_eq!(response.status, row.failure, "{} {deed}: {}", row.name, response.text());
            if row.failure == 200 {
                assert_eq!(response.text(), "ok", "{} {deed}", row.name);
            } else {
                assert!(!response.reason().is_empty(), "{} {deed}", row.name);
            }
        }
    }
}

#[test]
fn failure_mode_overrides_the_type() {
    for row in &ROWS {
        for (mode, status) in [("open", 200), ("closed", 503)] {
            for deed in ["do-trap", "do-error", "do-spin"] {
                let keys = format!(", timeout: 100ms, failureMode: {mode}");
                let fields = format!("X-Do: {deed}\r\n");
                let (response, _) = through(row.name, &keys, &wasm::obeying(), &fields);
                assert_eq!(response.status, status, "{} {mode} {deed}", row.name);
            }
        }
    }
}

#[test]
fn a_plugin_that_could_not_be_loaded_fails_like_its_type() {
    for row in &ROWS {
        for (cause, module) in [
            ("not wasm", Some(&b"this is not WebAssembly"[..])),
            ("cut short", Some(&wasm::passing()[..20])),
            ("missing", None),
        ] {
            let origin = Origin::ok();
            let mut setup = Setup::to(&origin);
            if let Some(module) = module {
                setup.dir.write("plugins/broken.wasm", module);
            }
            setup =
                setup.plugin_entry(&format!("name: broken, path: broken.wasm, type: {}", row.name));
            let gateway = setup.start();
            let response = get(gateway.addr, "/");
            assert_eq!(response.status, row.failure, "{} {cause}", row.name);
            gateway.wait_log("broken");
            if module.is_some() {
                gateway.wait_log("failed to compile plugin");
            }
        }
    }
}

#[test]
fn only_the_routes_of_a_plugin_that_could_not_be_loaded_are_closed() {
    let origin = Origin::ok();
    let gateway = Setup::new()
        .service(&format!("name: guarded, basePath: /guarded, targets: ['{}']", origin.url()))
        .service(&format!("name: free, basePath: /free, targets: ['{}']", origin.url()))
        .plugin_entry("name: gone, path: gone.wasm, type: auth, services: [guarded]")
        .start();
    assert_eq!(get(gateway.addr, "/guarded").status, 503);
    assert_eq!(get(gateway.addr, "/free").status, 200);
    assert_eq!(origin.only_request().target, "/free");
}

#[test]
fn types_run_in_their_phases() {
    for row in &ROWS {
        let origin = Origin::raw("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\norigin");
        let module = wasm::replacing_body_by_input();
        let gateway =
            Setup::to(&origin).plugin("it", module, &format!("type: {}", row.name)).start();
        let response = post(gateway.addr, "/", "client");
        let at_origin = origin.only_request().text();
        let at_client = response.text();
        let phase_in = |text: &str| {
            let input: serde_json::Value = serde_json::from_str(text).ok()?;
            input["context"]["phase"].as_str().map(str::to_owned)
        };
        let request = row.in_request_phase.then(|| "request".to_owned());
        let response = row.in_response_phase.then(|| "response".to_owned());
        assert_eq!(phase_in(&at_origin), request, "{}: {at_origin}", row.name);
        assert_eq!(phase_in(&at_client), response, "{}: {at_client}", row.name);
    }
}

#[test]
fn bodies_are_given_to_the_types_that_transform_and_to_those_that_ask() {
    for row in &ROWS {
        for (keys, given) in [("", row.has_body), (", body: true", true), (", body: false", false)]
        {
            let origin = Origin::raw("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nthebody");
            let gateway = Setup::to(&origin)
                .plugin("it", wasm::showing_input(), &format!("type: {}{keys}", row.name))
                .start();
            let response = post(gateway.addr, "/", "thebody");
            assert_eq!(response.status, 299, "{}{keys}: {}", row.name, response.text());
            let body = response.json()["input"]["body"].clone();
            if given {
                assert_eq!(body, "thebody", "{}{keys}", row.name);
            } else {
                assert!(body.is_null() || body == "", "{}{keys}: {body}", row.name);
            }
        }
    }
}

#[test]
fn guards_must_say_continue_and_others_need_not() {
    for row in &ROWS {
        let (response, _) = through(row.name, "", &wasm::answering(r#"{"modified":false}"#), "");
        assert_eq!(response.status, row.failure, "{}: {}", row.name, response.text());
    }
}

#[test]
fn an_error_beside_continue_does_not_open_a_guard() {
    // The extensions page advises `Continue: true` even on error; for a guard that is a hole.
    let output = r#"{"modified":false,"continue":true,"error":"could not check"}"#;
    for row in &ROWS {
        let (response, _) = through(row.name, "", &wasm::answering(output), "");
        assert_eq!(response.status, row.failure, "{}: {}", row.name, response.text());
    }
}

#[test]
fn a_guard_that_fails_keeps_the_request_from_the_origin() {
    for kind in ["auth", "ratelimit"] {
        let (response, asked) = through(kind, "", &wasm::trapping(), "");
        assert_eq!((response.status, asked), (503, 0), "{kind}");
    }
}

#[test]
fn the_default_type_is_middleware() {
    let origin = Origin::ok();
    let gateway =
        Setup::to(&origin).plugin("it", wasm::replacing_body_by_input(), "priority: 1").start();
    let response = post(gateway.addr, "/", "client");
    assert_eq!(response.json()["context"]["phase"], "response");
}
