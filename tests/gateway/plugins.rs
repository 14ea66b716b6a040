//! The JSON ABI and the chain: what a plugin is given, what its answer does, who runs when.

use crate::support::{Client, Origin, Setup, TempDir, ask, get, get_with, post, wasm};
use serde_json::json;

#[test]
fn a_plugin_is_given_the_request_and_its_context() {
    let gateway = Setup::new()
        .service("name: users-service, basePath: /api/users, targets: ['builtin:echo']")
        .plugin(
            "my-plugin",
            wasm::showing_input(),
            "type: request, config: {key: value, nested: {deep: [1, true]}}",
        )
        .start();
    let response = ask(
        gateway.addr,
        "POST /api//users/1?limit=10&tag=a&tag=b%20c&flag HTTP/1.1\r\nHost: example.com\r\n\
         X-Request-Id: abc-123\r\nContent-Type: application/json\r\nX-Two: 1\r\nX-Two: 2\r\n\
         Content-Length: 8\r\n\r\n{\"a\":1}\n",
    );
    assert_eq!(response.status, 299);
    let given = response.json();
    let config = json!({"key": "value", "nested": {"deep": [1, true]}});
    let context = &given["context"];
    assert_eq!(context["requestId"], "abc-123");
    assert_eq!(context["serviceId"], "users-service");
    assert_eq!(context["routePath"], "/api/users");
    assert_eq!(context["phase"], "request");
    assert_eq!(context["plugin"], "my-plugin");
    assert_eq!(context["clientIp"], "127.0.0.1");
    assert_eq!(context["config"], config);
    assert_eq!(context["metadata"], json!({}));
    let timestamp = context["timestamp"].as_str().unwrap();
    assert!(
        timestamp.starts_with("20") && timestamp.ends_with('Z'),
        "{timestamp}"
    );
    assert_eq!(given["config"], config);
    let input = &given["input"];
    assert_eq!(input["method"], "POST");
    assert_eq!(
        input["url"],
        "http://example.com/api/users/1?limit=10&tag=a&tag=b%20c&flag"
    );
    assert_eq!(
        input["headers"]["Content-Type"],
        json!(["application/json"])
    );
    assert_eq!(input["headers"]["X-Two"], json!(["1", "2"]));
    assert_eq!(input["body"], "{\"a\":1}\n");
    assert!(input.get("bodyEncoding").is_none());
    assert_eq!(input["query"]["limit"], json!(["10"]));
    assert_eq!(input["query"]["tag"], json!(["a", "b c"]));
    assert_eq!(input["query"]["flag"], json!([""]));
}

#[test]
fn a_plugin_is_given_the_response_and_the_requests_head() {
    let origin = Origin::raw(
        "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nSet-Cookie: a=1\r\n\
         Set-Cookie: b=2\r\nContent-Length: 7\r\n\r\nnothing",
    );
    let gateway = Setup::to(&origin)
        .plugin("it", wasm::showing_input(), "type: response")
        .start();
    let response = get_with(gateway.addr, "/x?y=z", "X-Asked: yes\r\n");
    assert_eq!(response.status, 299);
    let given = response.json();
    assert_eq!(given["context"]["phase"], "response");
    let input = &given["input"];
    assert_eq!(input["statusCode"], 404);
    assert_eq!(input["headers"]["Content-Type"], json!(["text/plain"]));
    assert_eq!(input["headers"]["Set-Cookie"], json!(["a=1", "b=2"]));
    assert_eq!(input["body"], "nothing");
    assert_eq!(input["request"]["method"], "GET");
    assert_eq!(input["request"]["url"], "http://a.test/x?y=z");
    assert_eq!(input["request"]["headers"]["X-Asked"], json!(["yes"]));
}

#[test]
fn bodies_that_are_not_text_come_as_base64_and_say_so() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin)
        .plugin("it", wasm::showing_input(), "type: request")
        .start();
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n\xff\x00\xfe";
    let input = ask(gateway.addr, request).json()["input"].clone();
    assert_eq!(
        (&input["body"], &input["bodyEncoding"]),
        (&json!("/wD+"), &json!("base64"))
    );
}

#[test]
fn a_header_value_that_is_not_utf8_reaches_a_plugin_and_the_origin() {
    let origin = Origin::ok();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nX-Odd: caf\xe9\x80\xff\r\nX-Next: fine\r\n\r\n";
    let gateway = Setup::to(&origin)
        .plugin("it", wasm::showing_input(), "type: request")
        .start();
    let response = ask(gateway.addr, request);
    assert_eq!(response.status, 299);
    let input = response.json()["input"].clone();
    assert!(
        input["headers"]["X-Odd"][0]
            .as_str()
            .unwrap()
            .starts_with("caf"),
        "{input}"
    );
    assert_eq!(input["headers"]["X-Next"][0], "fine");
    // A plugin that leaves it alone leaves its bytes alone.
    let module = wasm::setting_headers(r#""X-Set":["1"]"#);
    let gateway = Setup::to(&origin)
        .plugin("it", module, "type: middleware")
        .start();
    assert_eq!(ask(gateway.addr, request).status, 200);
    let received = origin.only_request();
    let odd = received
        .head
        .fields
        .iter()
        .find(|(name, _)| name == "X-Odd")
        .unwrap();
    assert_eq!(odd.1, b"caf\xe9\x80\xff");
    assert_eq!(received.head.get("x-set").unwrap(), "1");
}

#[test]
fn headers_are_set_replaced_and_removed_on_the_way_to_the_origin() {
    let origin = Origin::ok();
    let module = wasm::setting_headers(
        r#""X-New":["1","2"],"x-replaced":["new"],"X-REMOVED":[],"X-Null":null"#,
    );
    let gateway = Setup::to(&origin)
        .plugin("it", module, "type: request")
        .start();
    let fields = "X-Replaced: old\r\nX-Replaced: older\r\nX-Removed: a\r\nX-Stays: b\r\n";
    assert_eq!(get_with(gateway.addr, "/", fields).status, 200);
    let head = origin.only_request().head;
    assert_eq!(head.all("x-new"), ["1", "2"]);
    assert_eq!(head.all("x-replaced"), ["new"]);
    assert!(!head.has("x-removed"));
    assert_eq!(head.get("x-stays").unwrap(), "b");
}

#[test]
fn a_request_object_changes_method_target_headers_and_body() {
    let origin = Origin::ok();
    let module = wasm::answering(
        r#"{"modified":true,"continue":true,"request":{"method":"PUT","url":"/other?x=1",
            "headers":{"X-By":["plugin"]},"body":"changed"}}"#,
    );
    let gateway = Setup::to(&origin)
        .plugin("it", module, "type: request")
        .start();
    assert_eq!(post(gateway.addr, "/original", "hello").status, 200);
    let received = origin.only_request();
    assert_eq!(
        (received.method.as_str(), received.target.as_str()),
        ("PUT", "/other?x=1")
    );
    assert_eq!(received.head.get("x-by").unwrap(), "plugin");
    assert_eq!(received.text(), "changed");
}

#[test]
fn status_headers_and_body_of_a_response_are_changed() {
    let origin = Origin::raw(
        "HTTP/1.1 500 Oops\r\nX-Gone: 1\r\nX-Stays: 2\r\nContent-Length: 5\r\n\r\nhello",
    );
    let module = wasm::answering(
        r#"{"modified":true,"continue":true,"response":{"statusCode":202,
            "headers":{"X-Gone":[],"X-New":["a","b"]},"body":"changed"}}"#,
    );
    let gateway = Setup::to(&origin)
        .plugin("it", module, "type: response")
        .start();
    let response = get(gateway.addr, "/");
    assert_eq!(
        (response.status, response.text().as_str()),
        (202, "changed")
    );
    assert!(!response.head.has("x-gone"));
    assert_eq!(response.head.get("x-stays").unwrap(), "2");
    assert_eq!(response.head.all("x-new"), ["a", "b"]);
}

#[test]
fn what_is_not_said_to_be_modified_is_not() {
    let origin = Origin::ok();
    let module = wasm::answering(
        r#"{"modified":false,"continue":true,"response":{"headers":{"X-New":["1"]},"body":"no"}}"#,
    );
    let gateway = Setup::to(&origin)
        .plugin("it", module, "type: middleware")
        .start();
    let response = post(gateway.addr, "/", "hello");
    assert_eq!(response.text(), "ok");
    assert!(!response.head.has("x-new"));
    let received = origin.only_request();
    assert_eq!(received.text(), "hello");
    assert!(!received.head.has("x-new"));
}

#[test]
fn metadata_is_merged_and_handed_to_every_later_plugin_of_the_exchange() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin)
        .plugin(
            "first",
            wasm::answering(r#"{"continue":true,"metadata":{"user":"ann","n":1}}"#),
            "type: auth, priority: 1",
        )
        .plugin(
            "second",
            wasm::answering(r#"{"continue":true,"metadata":{"n":2,"more":{"x":[1]}}}"#),
            "type: request, priority: 2",
        )
        .plugin(
            "third",
            wasm::showing_input(),
            "type: response, priority: 3",
        )
        .start();
    let mut client = Client::connect(gateway.addr);
    for _ in 0..2 {
        let given = client.get("/").json();
        let expected = json!({"user": "ann", "n": 2, "more": {"x": [1]}});
        assert_eq!(
            given["context"]["metadata"], expected,
            "not carried to the next exchange"
        );
    }
}

#[test]
fn the_rust_samples_spelling_of_continue_is_accepted() {
    let origin = Origin::ok();
    for (output, status) in [
        (
            r#"{"modified":false,"continue_":true,"response":null,"error":""}"#,
            200,
        ),
        (
            r#"{"modified":false,"continue_":false,"response":null,"error":""}"#,
            401,
        ),
    ] {
        let gateway = Setup::to(&origin)
            .plugin("it", wasm::answering(output), "type: auth")
            .start();
        assert_eq!(get(gateway.addr, "/").status, status, "{output}");
    }
}

#[test]
fn lower_priorities_run_first_and_equal_ones_in_the_files_order() {
    let appending = |letter: &str| {
        wasm::answering(&format!(
            r#"{{"continue":true,"metadata":{{"{letter}":1}}}}"#
        ))
    };
    let origin = Origin::ok();
    // The names sort otherwise than the priorities, and the file otherwise than both.
    let gateway = Setup::to(&origin)
        .plugin("c", wasm::showing_input(), "type: request, priority: 20")
        .plugin("z", appending("z"), "type: request, priority: 10")
        .plugin("a", appending("a"), "type: request, priority: 30")
        .plugin("m", appending("m"), "type: request, priority: -5")
        .plugin("b", appending("b"), "type: request, priority: 20")
        .start();
    let given = get(gateway.addr, "/").json();
    let ran: Vec<&String> = given["context"]["metadata"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(
        ran,
        ["m", "z"],
        "c, of priority 20, stands before b in the file"
    );
}

#[test]
fn a_refusal_ends_the_chain() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin)
        .plugin(
            "guard",
            wasm::answering(r#"{"continue":false}"#),
            "type: auth, priority: 1",
        )
        .plugin("after", wasm::showing_input(), "type: request, priority: 2")
        .start();
    assert_eq!(get(gateway.addr, "/").status, 401);
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn plugins_run_on_the_urls_and_services_they_name() {
    let module = || wasm::answering(r#"{"continue":false}"#);
    let gateway = Setup::new()
        .service("name: users, basePath: /api/users, targets: ['builtin:echo']")
        .service("name: other, basePath: /api/other, targets: ['builtin:echo']")
        .plugin(
            "urls",
            module(),
            "type: auth, allowedUrls: ['/api/.*/private', '^/api/users/1$']",
        )
        .plugin("services", module(), "type: ratelimit, services: [other]")
        .start();
    for (path, status) in [
        ("/api/users", 200),
        ("/api/users/1", 401),
        ("/api/users/1?x=private", 401),
        ("/api/users/12", 200),
        ("/api/users/private", 401),
        ("/api/users/x?y=/api/users/private", 200),
        ("/api/other", 429),
    ] {
        assert_eq!(get(gateway.addr, path).status, status, "{path}");
    }
}

#[test]
fn no_spelling_of_a_path_leads_past_a_guard() {
    let origin = Origin::naming_targets();
    let gateway = Setup::to(&origin)
        .plugin(
            "guard",
            wasm::answering(r#"{"continue":false}"#),
            "type: auth, allowedUrls: [^/admin]",
        )
        .start();
    for path in [
        "/admin",
        "/admin/",
        "//admin",
        "/./admin",
        "/x/../admin",
        "/%61dmin",
        "/x/%2e%2e/admin",
        "/x/%2E./%61%64%6d%69%6e",
        "/admin?x",
        "http://a.test/admin",
        "http://a.test//admin",
    ] {
        let response = get(gateway.addr, path);
        assert!(
            [400, 401].contains(&response.status),
            "{path}: {}",
            response.status
        );
    }
    for request in origin.requests() {
        panic!("{} got through", request.target);
    }
}

#[test]
fn disabled_plugins_do_not_run() {
    let guard = || wasm::answering(r#"{"continue":false}"#);
    let origin = Origin::ok();
    let gateway = Setup::to(&origin)
        .plugin("it", guard(), "type: auth, enabled: false")
        .start();
    assert_eq!(get(gateway.addr, "/").status, 200);
    let gateway = Setup::to(&origin)
        .wasm("enabled: false")
        .plugin("it", guard(), "type: auth")
        .start();
    assert_eq!(get(gateway.addr, "/").status, 200);
}

#[test]
fn a_guest_logs_through_both_forms_of_log() {
    let module = wasm::module(
        r#"(module
            (import "env" "log" (func $log (param i32 i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "a plain line from the guest")
            (data (i32.const 100) "{\22continue\22:true}")
            (func (export "execute") (param i32 i32) (result i64)
              (call $log (i32.const 0) (i32.const 27))
              (i64.or (i64.shl (i64.const 17) (i64.const 32)) (i64.const 100))))"#,
    );
    let levelled = wasm::module(
        r#"(module
            (import "env" "log" (func $log (param i32 i32 i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "a grave line from the guest")
            (data (i32.const 100) "{\22continue\22:true}")
            (func (export "execute") (param i32 i32) (result i64)
              (call $log (i32.const 4) (i32.const 0) (i32.const 27))
              (i64.or (i64.shl (i64.const 17) (i64.const 32)) (i64.const 100))))"#,
    );
    let origin = Origin::ok();
    let gateway = Setup::to(&origin)
        .plugin("talker", module, "type: auth")
        .plugin("shouter", levelled, "type: auth")
        .start();
    assert_eq!(get(gateway.addr, "/").status, 200);
    gateway.wait_log("a plain line from the guest");
    gateway.wait_log("a grave line from the guest");
    let line = |text: &str| {
        let log = gateway.log();
        log.lines()
            .find(|line| line.contains(text))
            .unwrap()
            .to_owned()
    };
    assert!(
        line("a plain line").contains("talker"),
        "a line says whose it is"
    );
    assert!(line("a grave line").contains("shouter"));
}

#[test]
fn a_log_line_cannot_forge_another() {
    let module = wasm::module(
        r#"(module
            (import "env" "log" (func $log (param i32 i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "real\0aforged line\1b[31m")
            (data (i32.const 100) "{\22continue\22:true}")
            (func (export "execute") (param i32 i32) (result i64)
              (call $log (i32.const 0) (i32.const 21))
              (i64.or (i64.shl (i64.const 17) (i64.const 32)) (i64.const 100))))"#,
    );
    let origin = Origin::ok();
    let gateway = Setup::to(&origin)
        .plugin("forger", module, "type: auth")
        .start();
    assert_eq!(get(gateway.addr, "/").status, 200);
    gateway.wait_log("forged line");
    let log = gateway.log();
    assert!(!log.lines().any(|line| line.starts_with("forged")), "{log}");
}

#[test]
fn get_time_is_the_time() {
    // 2025-01-01 in Unix seconds, which milliseconds would exceed a thousand times.
    let module = wasm::module(
        r#"(module
            (import "env" "get_time" (func $time (result i64)))
            (memory (export "memory") 1)
            (data (i32.const 100) "{\22continue\22:true}")
            (func (export "execute") (param i32 i32) (result i64)
              (if (i64.lt_s (call $time) (i64.const 1735689600)) (then unreachable))
              (if (i64.gt_s (call $time) (i64.const 100000000000)) (then unreachable))
              (i64.or (i64.shl (i64.const 17) (i64.const 32)) (i64.const 100))))"#,
    );
    let origin = Origin::ok();
    let gateway = Setup::to(&origin)
        .plugin("clock", module, "type: auth")
        .start();
    assert_eq!(get(gateway.addr, "/").status, 200);
}

#[test]
fn get_config_answers_in_both_forms() {
    // Both guests return the value of the key `answer.it` as their output.
    let packed = wasm::module(
        r#"(module
            (import "env" "get_config" (func $config (param i32 i32) (result i64)))
            (memory (export "memory") 1)
            (data (i32.const 100) "answer.it")
            (func (export "execute") (param i32 i32) (result i64)
              (call $config (i32.const 100) (i32.const 9))))"#,
    );
    let terminated = wasm::module(
        r#"(module
            (import "env" "get_config" (func $config (param i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 100) "answer.it\00")
            (func (export "execute") (param i32 i32) (result i64)
              (local $at i32) (local $end i32)
              (local.set $at (call $config (i32.const 100)))
              (local.set $end (local.get $at))
              (block $found (loop $next
                (br_if $found (i32.eqz (i32.load8_u (local.get $end))))
                (local.set $end (i32.add (local.get $end) (i32.const 1)))
                (br $next)))
              (i64.or
                (i64.shl (i64.extend_i32_u (i32.sub (local.get $end) (local.get $at)))
                         (i64.const 32))
                (i64.extend_i32_u (local.get $at)))))"#,
    );
    for module in [packed, terminated] {
        for it in [
            r#"{continue: false, response: {statusCode: 418}}"#,
            r#"'{"continue":false,"response":{"statusCode":418}}'"#,
        ] {
            let origin = Origin::ok();
            let gateway = Setup::to(&origin)
                .plugin(
                    "it",
                    &module,
                    &format!("type: auth, config: {{answer: {{it: {it}}}}}"),
                )
                .start();
            assert_eq!(get(gateway.addr, "/").status, 418, "{it}");
        }
        // No such key is 0: an empty output, which is an error.
        let origin = Origin::ok();
        let gateway = Setup::to(&origin)
            .plugin("it", &module, "type: auth")
            .start();
        assert_eq!(get(gateway.addr, "/").status, 503);
    }
}

#[test]
fn an_exported_allocator_is_used() {
    // A bump allocator that keeps its buffers between 8192 and 49152, and an `execute` that traps
    // when its input lies anywhere else.
    for name in ["alloc", "malloc"] {
        let module = wasm::module(&format!(
            r#"(module
                (memory (export "memory") 1 1)
                (global $next (mut i32) (i32.const 8192))
                (data (i32.const 100) "{{\22continue\22:true}}")
                (func (export "{name}") (param $size i32) (result i32) (local $at i32)
                  (if (i32.gt_u (i32.add (global.get $next) (local.get $size)) (i32.const 49152))
                    (then (global.set $next (i32.const 8192))))
                  (local.set $at (global.get $next))
                  (global.set $next (i32.add (global.get $next) (local.get $size)))
                  (local.get $at))
                (func (export "execute") (param $at i32) (param $len i32) (result i64)
                  (if (i32.lt_u (local.get $at) (i32.const 8192)) (then unreachable))
                  (if (i32.gt_u (i32.add (local.get $at) (local.get $len)) (i32.const 49152))
                    (then unreachable))
                  (if (i32.ne (i32.load8_u (local.get $at)) (i32.const 123)) (then unreachable))
                  (i64.or (i64.shl (i64.const 17) (i64.const 32)) (i64.const 100))))"#,
        ));
        let origin = Origin::ok();
        let gateway = Setup::to(&origin)
            .plugin("it", module, "type: auth")
            .start();
        let mut client = Client::connect(gateway.addr);
        for _ in 0..300 {
            assert_eq!(client.get("/").status, 200, "{name}");
        }
    }
}

#[test]
fn an_allocator_that_lies_is_an_error() {
    for at in ["0", "-1", "65000"] {
        let module = wasm::module(&format!(
            r#"(module
                (memory (export "memory") 1 1)
                (data (i32.const 100) "{{\22continue\22:true}}")
                (func (export "alloc") (param i32) (result i32) (i32.const {at}))
                (func (export "execute") (param i32 i32) (result i64)
                  (i64.or (i64.shl (i64.const 17) (i64.const 32)) (i64.const 100))))"#,
        ));
        let origin = Origin::ok();
        let gateway = Setup::to(&origin)
            .plugin("it", module, "type: auth")
            .start();
        let long = format!("X-Long: {}\r\n", "x".repeat(2000));
        assert_eq!(
            get_with(gateway.addr, "/", &long).status,
            503,
            "alloc returned {at}"
        );
    }
}

#[test]
fn start_functions_run_before_the_first_call() {
    // Each writes the one byte that the output lacks.
    let module = |export: &str| {
        wasm::module(&format!(
            r#"(module
                (memory (export "memory") 1)
                (data (i32.const 100) "{{\22continue\22:true ")
                (func (export "{export}") (i32.store8 (i32.const 116) (i32.const 125)))
                (func (export "execute") (param i32 i32) (result i64)
                  (i64.or (i64.shl (i64.const 17) (i64.const 32)) (i64.const 100))))"#
        ))
    };
    for export in ["_initialize", "_start", "init"] {
        let origin = Origin::ok();
        let gateway = Setup::to(&origin)
            .plugin("it", module(export), "type: auth")
            .start();
        assert_eq!(get(gateway.addr, "/").status, 200, "{export}");
    }
}

#[test]
fn a_command_module_may_exit_with_zero() {
    let module = |code: u32| {
        wasm::module(&format!(
            r#"(module
                (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                (memory (export "memory") 1)
                (data (i32.const 100) "{{\22continue\22:true}}")
                (func (export "_start") (call $exit (i32.const {code})))
                (func (export "execute") (param i32 i32) (result i64)
                  (i64.or (i64.shl (i64.const 17) (i64.const 32)) (i64.const 100))))"#
        ))
    };
    for (code, status) in [(0, 200), (1, 503)] {
        let origin = Origin::ok();
        let gateway = Setup::to(&origin)
            .plugin("it", module(code), "type: auth")
            .start();
        assert_eq!(get(gateway.addr, "/").status, status, "proc_exit({code})");
    }
}

#[test]
fn an_init_that_traps_is_a_failed_load() {
    let module = wasm::module(
        r#"(module
            (memory (export "memory") 1)
            (func (export "init") unreachable)
            (func (export "execute") (param i32 i32) (result i64) (i64.const 0)))"#,
    );
    let origin = Origin::ok();
    let gateway = Setup::to(&origin)
        .plugin("badstart", module, "type: auth")
        .start();
    assert_eq!(get(gateway.addr, "/").status, 503);
    gateway.wait_log("badstart");
}

#[test]
fn an_init_that_never_ends_does_not_keep_the_gateway_from_starting() {
    let module = wasm::module(
        r#"(module
            (memory (export "memory") 1)
            (func (export "init") (loop $spin (br $spin)))
            (func (export "execute") (param i32 i32) (result i64) (i64.const 0)))"#,
    );
    let origin = Origin::ok();
    let gateway = Setup::to(&origin)
        .service(&format!(
            "name: free, basePath: /free, targets: ['{}']",
            origin.url()
        ))
        .plugin(
            "endless",
            module,
            "type: auth, timeout: 200ms, services: [all]",
        )
        .start();
    assert_eq!(get(gateway.addr, "/").status, 503);
    assert_eq!(get(gateway.addr, "/free").status, 200);
}

#[test]
fn a_module_that_cannot_be_a_plugin_is_refused_with_words_that_help() {
    for (text, words) in [
        (r#"(module (memory (export "memory") 1))"#, "execute"),
        (
            r#"(module (func (export "execute") (param i32 i32) (result i64) (i64.const 0)))"#,
            "memory",
        ),
        (
            r#"(module (memory (export "memory") 1)
                (func (export "execute") (param i32) (result i32) (i32.const 0)))"#,
            "execute",
        ),
        (
            r#"(module (import "env" "launch_missiles" (func)) (memory (export "memory") 1)
                (func (export "execute") (param i32 i32) (result i64) (i64.const 0)))"#,
            "launch_missiles",
        ),
    ] {
        let origin = Origin::ok();
        let gateway = Setup::to(&origin)
            .plugin("odd", wasm::module(text), "type: auth")
            .start();
        assert_eq!(get(gateway.addr, "/").status, 503, "{words}");
        let log = gateway.log();
        let line = log
            .lines()
            .find(|line| line.contains("odd") && line.contains(words));
        assert!(line.is_some(), "no line names {words:?}:\n{log}");
    }
}

#[test]
fn every_wasi_function_links_and_answers() {
    // A guest may import any of preview 1; what is not offered answers an errno (not 0).
    let module = wasm::module(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write"
              (func $write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "clock_time_get"
              (func $clock (param i32 i64 i32) (result i32)))
            (import "wasi_snapshot_preview1" "random_get"
              (func $random (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "environ_sizes_get"
              (func $environ (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "path_open"
              (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "sock_shutdown"
              (func $sock (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\08\00\00\00\10\00\00\00a line on stdout")
            (data (i32.const 100) "{\22continue\22:true}")
            (func (export "execute") (param i32 i32) (result i64)
              (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 64))
                (then unreachable))
              (if (call $clock (i32.const 0) (i64.const 1) (i32.const 64)) (then unreachable))
              (if (i64.eqz (i64.load (i32.const 64))) (then unreachable))
              (if (call $random (i32.const 64) (i32.const 8)) (then unreachable))
              (if (call $environ (i32.const 64) (i32.const 68)) (then unreachable))
              (if (i32.load (i32.const 64)) (then unreachable))
              (if (i32.eqz (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1)
                  (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 64)))
                (then unreachable))
              (if (i32.eqz (call $sock (i32.const 3) (i32.const 0))) (then unreachable))
              (i64.or (i64.shl (i64.const 17) (i64.const 32)) (i64.const 100))))"#,
    );
    let origin = Origin::ok();
    let gateway = Setup::to(&origin)
        .plugin("wasi", module, "type: auth")
        .start();
    assert_eq!(get(gateway.addr, "/").status, 200);
    gateway.wait_log("a line on stdout");
}

#[test]
fn wild_pointers_in_host_calls_are_traps_and_no_more() {
    for (at, len) in [("-1", "1"), ("0", "-1"), ("65536", "1"), ("65535", "2")] {
        let module = wasm::module(&format!(
            r#"(module
                (import "env" "log" (func $log (param i32 i32)))
                (import "env" "get_config" (func $config (param i32 i32) (result i64)))
                (memory (export "memory") 1)
                (data (i32.const 100) "{{\22continue\22:true}}")
                (func (export "execute") (param i32 i32) (result i64)
                  (call $log (i32.const {at}) (i32.const {len}))
                  (drop (call $config (i32.const {at}) (i32.const {len})))
                  (i64.or (i64.shl (i64.const 17) (i64.const 32)) (i64.const 100))))"#,
        ));
        let origin = Origin::ok();
        let gateway = Setup::to(&origin)
            .plugin("wild", module, "type: auth")
            .start();
        let mut client = Client::connect(gateway.addr);
        for _ in 0..3 {
            // A host may also pass over such a call, as long as it reads nothing.
            assert!(
                [200, 503].contains(&client.get("/").status),
                "({at}, {len})"
            );
        }
    }
}

/// The complete example of the extensions page; only `pluginDir` is moved to a folder of the test.
fn complete_example(dir: &str) -> String {
    format!(
        "wasm:
  enabled: true
  pluginDir: {dir}
  maxMemoryPages: 200
  maxInstances: 50
  cacheEnabled: true
  plugins:
    # Authentication
    - name: jwt-auth
      path: auth/jwt.wasm
      type: auth
      enabled: true
      priority: 1
      timeout: 2s
      allowedUrls:
        - /api/.*
      config:
        publicKey: /etc/odin/keys/public.pem
        
    # Rate limiting
    - name: rate-limiter
      path: ratelimit.wasm
      type: ratelimit
      enabled: true
      priority: 2
      timeout: 1s
      config:
        limit: 100
        window: 60s
        
    # Request transformation
    - name: header-injector
      path: transform/headers.wasm
      type: request
      enabled: true
      priority: 5
      timeout: 1s
      services:
        - users-service
      config:
        addHeaders:
          X-Gateway: Odin
          X-Version: v1
"
    )
}

#[test]
fn the_complete_example_of_the_extensions_page_loads_and_runs() {
    let dir = TempDir::new();
    let pass = r#"{"modified":false,"continue":true}"#;
    dir.write("auth/jwt.wasm", wasm::obeying());
    dir.write("ratelimit.wasm", wasm::answering(pass));
    dir.write(
        "transform/headers.wasm",
        wasm::setting_headers(r#""X-Gateway":["Odin"],"X-Version":["v1"]"#),
    );
    let example = complete_example(&dir.path().display().to_string());
    let gateway = Setup::new()
        .service("name: users-service, basePath: /api/users, targets: ['builtin:echo']")
        .service("name: other, basePath: /other, targets: ['builtin:echo']")
        .yaml(&example)
        .env("XDG_CACHE_HOME", dir.path().to_str().unwrap())
        .start();
    let echo = get(gateway.addr, "/api/users").json();
    assert_eq!(echo["headers"]["X-Gateway"][0], "Odin");
    assert_eq!(echo["headers"]["X-Version"][0], "v1");
    let refused = get_with(gateway.addr, "/api/users", "X-Do: do-refuse\r\n");
    assert_eq!(refused.status, 401);
    // /other is neither under /api/ nor the injector's service.
    let other = get_with(gateway.addr, "/other", "X-Do: do-refuse\r\n");
    assert_eq!(other.status, 200);
    assert!(other.json()["headers"].get("X-Gateway").is_none());
}

/// A plugin built by `make plugins`.
fn built(name: &str) -> Vec<u8> {
    let path = format!("{}/plugins/dist/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}; run `make plugins`"))
}

#[test]
fn header_injection_in_three_languages_runs_in_one_chain() {
    let gateway = Setup::echo()
        .plugin(
            "rust",
            built("header-injection-rust"),
            "type: request, priority: 1, config: {addHeaders: {X-Rust: a}}",
        )
        .plugin(
            "go",
            built("header-injection-go"),
            "type: request, priority: 2, config: {addHeaders: {X-Go: b}}",
        )
        .plugin(
            "assemblyscript",
            built("header-injection-assemblyscript"),
            "type: request, priority: 3, config: {addHeaders: {X-AssemblyScript: c}}",
        )
        .start();
    let mut client = Client::connect(gateway.addr);
    for _ in 0..100 {
        let response = client.ask(
            b"POST /a?b=c HTTP/1.1\r\nHost: a\r\nX-Odd: caf\xe9 \"q\" \\\r\nContent-Length: 9\r\n\r\n\
              \xc3\xa9 \"q\" \\\n",
        );
        assert_eq!(response.status, 200, "{}", response.text());
        let echo = response.json();
        assert_eq!(echo["headers"]["X-Rust"], json!(["a"]), "{echo}");
        assert_eq!(echo["headers"]["X-Go"], json!(["b"]), "{echo}");
        assert_eq!(echo["headers"]["X-AssemblyScript"], json!(["c"]), "{echo}");
        assert_eq!(echo["body"], "\u{e9} \"q\" \\\n");
    }
}
