//! Handlers of http-wasm: the conformance tests of the ABI, and what they leave out.

use crate::support::{Gateway, Setup, TempDir, get, post, wasm};
use std::net::TcpListener;
use std::process::Command;

/// Runs one of the Go tests of `tests/tck`.
fn go_test(name: &str, environment: &[(&str, &str)]) {
    let root = env!("CARGO_MANIFEST_DIR");
    let toolchain = format!("{root}/plugins/target/toolchain/go.env");
    let script = format!(
        "[ -f {toolchain} ] && . {toolchain}; \
         ${{GO:-go}} test -count=1 -run {name} -skip TestTCK/get_method/TRACE ."
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(format!("{root}/tests/tck"));
    command.envs(environment.iter().copied());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

/// All but one: the gateway refuses TRACE before any plugin is asked.
#[test]
fn the_conformance_tests_pass() {
    let dir = TempDir::new();
    let guest = dir.path().join("tck.wasm");
    go_test("TestGuest", &[("GUEST", guest.to_str().unwrap())]);
    let backend = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let gateway = Setup::new()
        .service(&format!("name: all, basePath: /, targets: ['http://{backend}']"))
        .plugin("tck", std::fs::read(guest).unwrap(), "")
        .start();
    let url = format!("http://{}", gateway.addr);
    go_test("TestTCK", &[("URL", &url), ("BACKEND", &backend)]);
}

/// A handler whose two functions are this code. Texts: `x-a` at 256, `one` at 272, `/new` at 288,
/// `made here` at 304.
pub fn handler(request: &str, response: &str) -> Vec<u8> {
    wasm::module(&format!(
        r#"(module
          (import "http_handler" "set_header_value"
            (func $set (param i32 i32 i32 i32 i32)))
          (import "http_handler" "set_uri" (func $uri (param i32 i32)))
          (import "http_handler" "set_status_code" (func $status (param i32)))
          (import "http_handler" "get_status_code" (func $get_status (result i32)))
          (import "http_handler" "enable_features" (func $features (param i32) (result i32)))
          (import "http_handler" "write_body" (func $write (param i32 i32 i32)))
          (import "http_handler" "read_body" (func $read (param i32 i32 i32) (result i64)))
          (import "http_handler" "get_config" (func $config (param i32 i32) (result i32)))
          (memory (export "memory") 2)
          (data (i32.const 256) "x-a") (data (i32.const 272) "one") (data (i32.const 288) "/new")
          (data (i32.const 304) "made here")
          (func (export "handle_request") (result i64) {request})
          (func (export "handle_response") (param $request i32) (param $failed i32) {response}))"#
    ))
}

fn with(module: Vec<u8>, more: &str) -> Gateway {
    Setup::echo().plugin("it", module, more).start()
}

const NAME: &str = "(i32.const 256) (i32.const 3)";
const VALUE: &str = "(i32.const 272) (i32.const 3)";

#[test]
fn requests_and_responses_are_changed_and_answered() {
    let request = format!(
        "(call $set (i32.const 0) {NAME} {VALUE}) (call $uri (i32.const 288) (i32.const 4))
         (i64.const 0x700000001)"
    );
    let response = format!(
        "(if (i32.eq (local.get $request) (i32.const 7)) (then
           (drop (call $features (i32.const 2)))
           (call $set (i32.const 1) {NAME} {VALUE})
           (call $status (i32.add (i32.const 1) (call $get_status)))
           (call $write (i32.const 1) (i32.const 304) (i32.const 9))))"
    );
    let gateway = with(handler(&request, &response), "");
    let got = post(gateway.addr, "/old", "body");
    assert_eq!((got.status, got.text()), (201, "made here".to_owned()));
    assert_eq!(got.head.all("x-a"), ["one"]);
    let silent = with(handler(&request, ""), "");
    let echo = post(silent.addr, "/old", "body").json();
    assert_eq!(
        (echo["url"].as_str(), echo["body"].as_str()),
        (Some("http://a.test/new"), Some("body"))
    );
    let answer =
        "(call $status (i32.const 403)) (call $write (i32.const 1) (i32.const 304) (i32.const 9))
                  (i64.const 0)";
    let got = get(with(handler(answer, ""), "").addr, "/");
    assert_eq!((got.status, got.text()), (403, "made here".to_owned()));
}

#[test]
fn a_misuse_ends_the_guest_and_one_request_pays() {
    let pass = "(i64.const 1)";
    for response in [
        format!("(call $set (i32.const 0) {NAME} {VALUE})"),
        format!("(call $set (i32.const 1) {NAME} {VALUE})"),
        "(call $status (i32.const 201))".to_owned(),
        "(drop (call $read (i32.const 1) (i32.const 1024) (i32.const 10)))".to_owned(),
        "unreachable".to_owned(),
    ] {
        let gateway = with(handler(pass, &response), "");
        for _ in 0..3 {
            assert_eq!(get(gateway.addr, "/").status, 503, "{response}");
        }
        let open = with(handler(pass, &response), "failureMode: open");
        assert_eq!(get(open.addr, "/").status, 200, "{response}");
    }
    for request in [
        "(call $set (i32.const 9) (i32.const 256) (i32.const 3) (i32.const 272) (i32.const 3))",
        "(call $set (i32.const 0) (i32.const 256) (i32.const 0) (i32.const 272) (i32.const 3))",
        "(call $set (i32.const 0) (i32.const -8) (i32.const 64) (i32.const 272) (i32.const 3))",
        "(call $status (i32.const 99999))",
        "(drop (call $read (i32.const 0) (i32.const 1024) (i32.const 0)))",
        "(loop $for_ever (br $for_ever))",
    ] {
        let gateway = with(handler(&format!("{request} {pass}"), ""), "timeout: 200ms");
        assert_eq!(get(gateway.addr, "/").status, 503, "{request}");
    }
}

#[test]
fn instances_come_back_however_an_exchange_ends() {
    // Two instances on the one worker: what does not come back is missed at the third request.
    let gateway = Setup::new()
        .service("name: dead, basePath: /dead, targets: ['http://127.0.0.1:9']")
        .service("name: echo, basePath: /, targets: ['builtin:echo']")
        .plugin("it", handler("(i64.const 1)", ""), "maxInstances: 2, timeout: 500ms")
        .start();
    for _ in 0..6 {
        assert!(get(gateway.addr, "/dead").status >= 502);
        assert_eq!(get(gateway.addr, "/").status, 200);
    }
}
