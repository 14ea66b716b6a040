//! What every host function answers. The SDKs end their guest by a trap at a status that they do
//! not expect (proxy-wasm-rust-sdk, `src/hostcalls.rs`), so this table is what lets a filter live.

use crate::support::{Origin, Setup, get, wasm};

const OK: u16 = 0;
const NOT_FOUND: u16 = 1;
const BAD_ARGUMENT: u16 = 2;
const PARSE_FAILURE: u16 = 4;
const INVALID_MEMORY: u16 = 6;
const EMPTY: u16 = 7;
const CAS_MISMATCH: u16 = 8;

/// Texts in the guest's memory: their addresses and lengths, as arguments of a function.
const KEY: &str = "(i32.const 256) (i32.const 3)"; // x-a
const MISSING: &str = "(i32.const 272) (i32.const 7)"; // missing
const VALUE: &str = "(i32.const 288) (i32.const 1)"; // v
const PATH: &str = "(i32.const 304) (i32.const 14)"; // request, method
const BAD: &str = "(i32.const 0x7ffffff0) (i32.const 64)";
const NONE: &str = "(i32.const 0) (i32.const 0)";
/// Where results go.
const TO: &str = "(i32.const 512) (i32.const 516)";
const BAD_TO: &str = "(i32.const -4) (i32.const -8)";
/// A list that says it has four billion pairs.
const HUGE: &str = "(i32.const 320) (i32.const 8)";
/// `:method`, `:path` and `:authority`, as a list.
const HEADERS: &str = "(i32.const 1024) (i32.const 74)";

fn pairs(pairs: &[(&str, &str)]) -> String {
    let mut bytes = (pairs.len() as u32).to_le_bytes().to_vec();
    for (name, value) in pairs {
        bytes.extend((name.len() as u32).to_le_bytes());
        bytes.extend((value.len() as u32).to_le_bytes());
    }
    for (name, value) in pairs {
        bytes.extend(name.bytes().chain([0]).chain(value.bytes()).chain([0]));
    }
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

/// A guest that answers requests with 200 and what `call` returns; `before` runs before that.
fn guest(function: &str, params: usize, before: &str, call: &str) -> Vec<u8> {
    let i64_last = matches!(function, "proxy_increment_metric" | "proxy_record_metric");
    let mut types = vec!["i32"; params];
    if i64_last {
        types[params - 1] = "i64";
    }
    let types = types.join(" ");
    let import = match function {
        "proxy_send_local_response" => String::new(),
        _ => format!(r#"(import "env" "{function}" (func $f (param {types}) (result i32)))"#),
    };
    let call = call.replace("$f", if import.is_empty() { "$local" } else { "$f" });
    let headers = pairs(&[(":method", "GET"), (":path", "/"), (":authority", "a")]);
    wasm::module(&format!(
        r#"(module
          (import "env" "proxy_send_local_response"
            (func $local (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_define_metric"
            (func $define (param i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_register_shared_queue"
            (func $register (param i32 i32 i32) (result i32)))
          {import}
          (memory (export "memory") 2)
          (data (i32.const 256) "x-a") (data (i32.const 272) "missing") (data (i32.const 288) "v")
          (data (i32.const 304) "request\00method")
          (data (i32.const 320) "\ff\ff\ff\ff\00\00\00\00")
          (data (i32.const 1024) "{headers}")
          (global $heap (mut i32) (i32.const 65536))
          (func (export "proxy_abi_version_0_2_1"))
          (func (export "malloc") (param $size i32) (result i32)
            (global.get $heap)
            (global.set $heap (i32.add (global.get $heap) (local.get $size))))
          (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (local $got i32)
            {before}
            (local.set $got {call})
            (drop (call $local (i32.add (i32.const 200) (local.get $got))
              (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
              (i32.const -1)))
            (i32.const 1)))"#
    ))
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn table() -> Vec<(&'static str, usize, &'static str, String, u16)> {
    let mut table: Vec<(&'static str, usize, &'static str, String, u16)> = Vec::new();
    let mut add = |function, params, call: &str, expected| {
        table.push((function, params, "", format!("(call $f {call})"), expected));
    };
    let map = |number: u32| format!("(i32.const {number})");
    for (number, expected) in
        [(0, OK), (2, NOT_FOUND), (4, NOT_FOUND), (6, NOT_FOUND), (99, BAD_ARGUMENT)]
    {
        let call = format!("{} {MISSING} {TO}", map(number));
        add("proxy_get_header_map_value", 5, &call, if number == 0 { NOT_FOUND } else { expected });
    }
    add("proxy_get_header_map_value", 5, &format!("{} {KEY} {TO}", map(0)), OK);
    add("proxy_get_header_map_value", 5, &format!("{} {BAD} {TO}", map(0)), INVALID_MEMORY);
    add("proxy_get_header_map_value", 5, &format!("{} {KEY} {BAD_TO}", map(0)), INVALID_MEMORY);
    for function in ["proxy_add_header_map_value", "proxy_replace_header_map_value"] {
        // Also of what is not there, or no more: the SDKs know no other status.
        for number in [0, 1, 2, 3, 6] {
            add(function, 5, &format!("{} {KEY} {VALUE}", map(number)), OK);
        }
        add(function, 5, &format!("{} {BAD} {VALUE}", map(0)), INVALID_MEMORY);
    }
    for number in [0, 2] {
        add("proxy_remove_header_map_value", 3, &format!("{} {MISSING}", map(number)), OK);
    }
    add("proxy_get_header_map_pairs", 3, &format!("{} {TO}", map(0)), OK);
    add("proxy_get_header_map_pairs", 3, &format!("{} {TO}", map(2)), OK);
    add("proxy_get_header_map_pairs", 3, &format!("{} {BAD_TO}", map(0)), INVALID_MEMORY);
    add("proxy_get_header_map_size", 2, "(i32.const 0) (i32.const 512)", OK);
    add("proxy_set_header_map_pairs", 3, &format!("{} {HEADERS}", map(0)), OK);
    add("proxy_set_header_map_pairs", 3, &format!("{} {HUGE}", map(0)), BAD_ARGUMENT);
    add("proxy_set_header_map_pairs", 3, &format!("{} {BAD}", map(0)), INVALID_MEMORY);
    for (number, expected) in
        [(0, OK), (1, OK), (2, OK), (4, NOT_FOUND), (7, OK), (8, OK), (9, BAD_ARGUMENT)]
    {
        let call = format!("(i32.const {number}) (i32.const 0) (i32.const 100) {TO}");
        add("proxy_get_buffer_bytes", 5, &call, expected);
    }
    for number in [0, 1, 4, 7] {
        let call = format!("(i32.const {number}) (i32.const 0) (i32.const 1) {VALUE}");
        add("proxy_set_buffer_bytes", 5, &call, OK);
    }
    add("proxy_get_buffer_status", 3, &format!("(i32.const 7) {TO}"), OK);
    add("proxy_get_buffer_status", 3, &format!("(i32.const 0) {TO}"), OK);
    add("proxy_get_buffer_status", 3, &format!("(i32.const 4) {TO}"), NOT_FOUND);
    for stream in 0..4 {
        add("proxy_continue_stream", 1, &format!("(i32.const {stream})"), OK);
    }
    add("proxy_continue_stream", 1, "(i32.const 9)", BAD_ARGUMENT);
    add("proxy_set_effective_context", 1, "(local.get 0)", OK);
    add("proxy_set_effective_context", 1, "(i32.const 777)", BAD_ARGUMENT);
    add("proxy_set_effective_context", 1, "(i32.const 0)", BAD_ARGUMENT);
    add("proxy_done", 0, "", OK);
    add("proxy_set_tick_period_milliseconds", 1, "(i32.const 0)", OK);
    add("proxy_log", 3, &format!("(i32.const 2) {KEY}"), OK);
    add("proxy_log", 3, &format!("(i32.const 2) {BAD}"), INVALID_MEMORY);
    add("proxy_get_log_level", 1, "(i32.const 512)", OK);
    add("proxy_get_current_time_nanoseconds", 1, "(i32.const 512)", OK);
    add("proxy_get_current_time_nanoseconds", 1, "(i32.const -4)", INVALID_MEMORY);
    add("proxy_get_property", 4, &format!("{PATH} {TO}"), OK);
    add("proxy_get_property", 4, &format!("{MISSING} {TO}"), NOT_FOUND);
    add("proxy_set_property", 4, &format!("{MISSING} {VALUE}"), OK);
    add("proxy_get_shared_data", 5, &format!("{MISSING} {TO} (i32.const 520)"), NOT_FOUND);
    add("proxy_set_shared_data", 5, &format!("{KEY} {VALUE} (i32.const 0)"), OK);
    // What is not there has no version that could be another one.
    add("proxy_set_shared_data", 5, &format!("{MISSING} {VALUE} (i32.const 9)"), OK);
    add("proxy_resolve_shared_queue", 5, &format!("{NONE} {MISSING} (i32.const 512)"), NOT_FOUND);
    add("proxy_dequeue_shared_queue", 3, &format!("(i32.const 9) {TO}"), NOT_FOUND);
    add("proxy_enqueue_shared_queue", 3, &format!("(i32.const 9) {VALUE}"), NOT_FOUND);
    add("proxy_define_metric", 4, &format!("(i32.const 0) {KEY} (i32.const 512)"), OK);
    add("proxy_define_metric", 4, &format!("(i32.const 9) {KEY} (i32.const 512)"), BAD_ARGUMENT);
    add("proxy_increment_metric", 2, "(i32.const 9) (i64.const 1)", NOT_FOUND);
    add("proxy_record_metric", 2, "(i32.const 9) (i64.const 1)", NOT_FOUND);
    add("proxy_get_metric", 2, "(i32.const 9) (i32.const 512)", NOT_FOUND);
    let call = |upstream: &str, headers: &str| {
        format!("{upstream} {headers} {NONE} {NONE} (i32.const 1000) (i32.const 512)")
    };
    add("proxy_http_call", 10, &call(MISSING, HEADERS), BAD_ARGUMENT);
    add("proxy_http_call", 10, &call("(i32.const 257) (i32.const 1)", HUGE), BAD_ARGUMENT);
    add("proxy_http_call", 10, &call(BAD, HEADERS), INVALID_MEMORY);
    let nothing = NONE;
    let twelve = format!("{nothing} {nothing} {nothing} {nothing} {nothing} {nothing}");
    add("proxy_grpc_call", 12, &twelve, PARSE_FAILURE);
    let nine = format!("{nothing} {nothing} {nothing} {nothing} (i32.const 0)");
    add("proxy_grpc_stream", 9, &nine, PARSE_FAILURE);
    add("proxy_grpc_send", 4, &format!("{nothing} {nothing}"), NOT_FOUND);
    add("proxy_grpc_cancel", 1, "(i32.const 1)", NOT_FOUND);
    add("proxy_grpc_close", 1, "(i32.const 1)", NOT_FOUND);
    add("proxy_get_status", 3, "(i32.const 512) (i32.const 516) (i32.const 520)", OK);
    add("proxy_call_foreign_function", 6, &format!("{MISSING} {nothing} {TO}"), NOT_FOUND);
    let defined =
        "(drop (call $define (i32.const 0) (i32.const 256) (i32.const 3) (i32.const 512)))";
    let set = "(drop (call $f (i32.const 256) (i32.const 3) (i32.const 288) (i32.const 1)
                 (i32.const 0)))";
    let mut after = |before, function, params, call: &str, expected| {
        table.push((function, params, before, format!("(call $f {call})"), expected));
    };
    let other = format!("{KEY} {VALUE} (i32.const 9)");
    after(set, "proxy_set_shared_data", 5, &other, CAS_MISMATCH);
    after(defined, "proxy_increment_metric", 2, "(i32.load (i32.const 512)) (i64.const 1)", OK);
    after(
        defined,
        "proxy_increment_metric",
        2,
        "(i32.load (i32.const 512)) (i64.const -1)",
        BAD_ARGUMENT,
    );
    let registered = "(drop (call $register (i32.const 256) (i32.const 3) (i32.const 512)))";
    after(
        registered,
        "proxy_dequeue_shared_queue",
        3,
        &format!("(i32.load (i32.const 512)) {TO}"),
        EMPTY,
    );
    after(
        registered,
        "proxy_resolve_shared_queue",
        5,
        &format!("{NONE} {KEY} (i32.const 520)"),
        OK,
    );
    after(
        registered,
        "proxy_enqueue_shared_queue",
        3,
        &format!("(i32.load (i32.const 512)) {BAD}"),
        INVALID_MEMORY,
    );
    table
}

#[test]
fn every_function_answers_what_the_sdks_take() {
    let table = table();
    let origin = Origin::ok();
    let mut setup = Setup::to(&origin);
    for (index, (function, params, before, call, _)) in table.iter().enumerate() {
        let module = guest(function, *params, before, call);
        setup = setup
            .service(&format!("name: s{index}, basePath: /s{index}, targets: ['builtin:echo']"))
            .plugin(
                &format!("p{index}"),
                module,
                &format!("services: [s{index}], vmId: v{index}, config: text"),
            );
    }
    let gateway = setup.start();
    let mut wrong = Vec::new();
    for (index, (function, _, _, call, expected)) in table.iter().enumerate() {
        let request =
            format!("GET /s{index} HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nConnection: close\r\n\r\n");
        let got = crate::support::ask(gateway.addr, request).status;
        if got != 200 + expected {
            wrong.push(format!("{function}: {got}, not {}: {call}", 200 + expected));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(get(gateway.addr, "/").status, 200);
}

#[test]
fn versions_before_are_run_and_others_refused() {
    let origin = Origin::ok();
    let old = |version: &str| {
        wasm::module(&format!(
            r#"(module
              (import "env" "proxy_get_configuration" (func $config (param i32 i32) (result i32)))
              (import "env" "proxy_continue_request" (func $go))
              (import "env" "proxy_clear_route_cache" (func $clear (result i32)))
              (import "env" "proxy_get_header_map_value"
                (func $get (param i32 i32 i32 i32 i32) (result i32)))
              (import "env" "proxy_send_local_response"
                (func $local (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
              (memory (export "memory") 2)
              (data (i32.const 256) "missing")
              (func (export "proxy_abi_version_{version}"))
              (func (export "malloc") (param i32) (result i32) (i32.const 65536))
              (func (export "proxy_on_configure") (param i32 i32) (result i32)
                (drop (call $config (i32.const 512) (i32.const 516)))
                (i32.eq (i32.load (i32.const 516)) (local.get 1)))
              (func (export "proxy_on_request_headers") (param i32 i32) (result i32)
                (call $go)
                (drop (call $clear))
                (drop (call $local (i32.add (i32.const 200) (call $get (i32.const 0)
                    (i32.const 256) (i32.const 7) (i32.const 512) (i32.const 516)))
                  (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                  (i32.const 0) (i32.const -1)))
                (i32.const 1)))"#
        ))
    };
    // A missing header: empty in 0.1.0, not found from 0.2.0 on.
    for (version, status) in [("0_1_0", 200), ("0_2_0", 201), ("0_2_1", 201)] {
        let gateway = Setup::to(&origin).plugin("old", old(version), "config: abc").start();
        assert_eq!(get(gateway.addr, "/").status, status, "{version}");
    }
    let gateway = Setup::to(&origin).plugin("new", old("0_9_0"), "failureMode: closed").start();
    assert_eq!(get(gateway.addr, "/").status, 503);
    gateway.wait_log("a filter of proxy-wasm ABI 0.9.0");
}
