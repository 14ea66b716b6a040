//! What is accepted as a plugin, and the words with which the rest is refused.

use std::sync::Arc;

use super::super::testing::{
    Bench, Exchange, answer, answers, answers_and, executes, on_both_drivers, wat_string,
};
use super::super::{PluginSpec, PluginType};

const GOES_ON: &str = r#"{"continue":true}"#;

#[test]
fn a_module_that_cannot_be_a_plugin_is_refused_with_its_reason() {
    let bench = Bench::new();
    let memory = r#"(memory (export "memory") 1)"#;
    let execute = r#"(func (export "execute") (param i32 i32) (result i64) (i64.const 0))"#;
    let cases = [
        (format!("(module {execute})"), "exports no memory"),
        (format!("(module {memory})"), "exports no function execute(ptr: i32, len: i32) -> i64"),
        (
            format!(r#"(module {memory} (func (export "execute") (param i32)))"#),
            "execute is (i32 ->); it must be (i32 i32 -> i64)",
        ),
        (
            format!(r#"(module (memory (export "memory") 101) {execute})"#),
            "failed to allocate memory: the module needs 101 pages of 64 KiB to start",
        ),
        (format!(r#"(module (memory (export "memory") i64 1) {execute})"#), "64-bit"),
        (
            format!(
                r#"(module (import "env" "http_get" (func)) (import "env" "log" (func (param f32)))
                   (import "host" "f" (func)) {memory} {execute})"#
            ),
            "does not have: env.http_get(->), env.log(f32 ->), which is there as (i32 i32 -> or \
             i32 i32 i32 ->), host.f(->); it has log(ptr, len)",
        ),
        (
            format!(
                r#"(module (import "env" "log" (func (param i32 i32)))
                   (import "env" "log" (func (param i32 i32 i32))) {memory} {execute})"#
            ),
            "env.log both as (i32 i32 ->) and as (i32 i32 i32 ->)",
        ),
        (
            format!(r#"(module (import "env" "g" (global i32)) {memory} {execute})"#),
            "env.g (not a function",
        ),
        (
            format!(r#"(module (@custom "go:buildid" "x") {memory} {execute})"#),
            "//go:wasmexport alloc",
        ),
        (
            format!(
                r#"(module (@custom "producers" "\01\08language\01\02Go\06go1.24")
                    {memory} {execute})"#
            ),
            "//go:wasmexport alloc",
        ),
        (
            format!(r#"(module (func (export "init") (param i32)) {memory} {execute})"#),
            "init must take no parameters, it is (i32 ->)",
        ),
    ];
    for (guest, reason) in cases {
        let plugin = bench.load(PluginSpec::new("p", PluginType::Auth), &guest);
        let error = plugin.load_error().unwrap_or_default();
        assert!(error.contains(reason), "{guest}\n{error}");
    }
}

#[test]
fn a_foreign_module_that_cannot_run_is_refused_with_its_reason() {
    let bench = Bench::new();
    for (fields, reason) in [
        (
            r#"(func (export "proxy_abi_version_0_9_0"))"#,
            "a filter of proxy-wasm ABI 0.9.0; this gateway runs 0.1.0, 0.2.0 and 0.2.1",
        ),
        (
            r#"(import "env" "proxy_none" (func)) (func (export "proxy_abi_version_0_2_1"))"#,
            "env.proxy_none(->)",
        ),
        (
            r#"(func (export "proxy_abi_version_0_2_1")) (func (export "proxy_on_tick"))"#,
            "proxy_on_tick is (->); it must be (i32 ->)",
        ),
        (
            r#"(func (export "handle_request") (result i64) (i64.const 0))"#,
            "the module exports no function handle_response(i32 i32 ->)",
        ),
    ] {
        let guest = format!(r#"(module {fields} (memory (export "memory") 1))"#);
        let plugin = bench.load(PluginSpec::new("p", PluginType::Auth), &guest);
        let got = plugin.load_error().unwrap_or_default();
        assert!(got.contains(reason), "{got}");
    }
}

#[test]
fn bytes_that_are_no_module_are_refused() {
    let bench = Bench::new();
    for (bytes, reason) in [
        (&b""[..], "not a WebAssembly module"),
        (b"#!/bin/sh\n", "not a WebAssembly module"),
        (b"(module)", "not a WebAssembly module"),
        (b"\0asm\x0d\0\x01\0", "component"),
        (b"\0asm\x01\0\0\0\x01\xff", "failed to compile plugin"),
    ] {
        let plugin = bench.runtime.load(PluginSpec::new("p", PluginType::Auth), bytes);
        let error = plugin.load_error().unwrap_or_default();
        assert!(error.contains(reason), "{bytes:?}: {error}");
    }
}

#[test]
fn every_kind_of_allocator_makes_room_that_grows_with_the_input() {
    let bump = "(global $top (mut i32) (i32.const 70000))
        (func $bump (param i32) (result i32)
          (global.get $top)
          (global.set $top (i32.add (global.get $top) (local.get 0)))
          (drop (memory.grow (i32.const 1))))";
    let log = |text: &str| format!(r#"(call $log (i32.const 600) (i32.const {}))"#, text.len());
    let allocators = [
        ("none", String::new()),
        (
            "alloc",
            r#"(func (export "alloc") (param i32) (result i32) (call $bump (local.get 0)))
            (func (export "dealloc") (param i32 i32) FREED)"#
                .to_owned(),
        ),
        (
            "malloc",
            r#"(func (export "malloc") (param i32) (result i32) (call $bump (local.get 0)))
            (func (export "free") (param i32) FREED)"#
                .to_owned(),
        ),
        (
            "cabi",
            r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (if (local.get 0) (then FREED)) (call $bump (local.get 3)))"#
                .to_owned(),
        ),
        (
            "new",
            r#"(func (export "__new") (param i32 i32) (result i32) (call $bump (local.get 0)))
            (func (export "__pin") (param i32) (result i32) (local.get 0))
            (func (export "__unpin") (param i32) FREED)"#
                .to_owned(),
        ),
    ];
    // The last byte of the input is its closing brace.
    let check = "(if (i32.ne (i32.load8_u (i32.sub (i32.add (local.get $in) (local.get $len))
                       (i32.const 1))) (i32.const 125)) (then (unreachable)))";
    on_both_drivers(|| async {
        let bench = Bench::new();
        for (name, functions) in &allocators {
            let functions = functions.replace("FREED", &log("freed"));
            let data = format!(r#"(data (i32.const 600) "{}")"#, wat_string("freed"));
            let more = format!("{bump} {functions} {data} (memory");
            let guest = executes(check).replacen("(memory", &more, 1);
            let plugin = bench.plugin(PluginType::Auth, &guest);
            for query in [0, 3000, 3000, 8000, 30_000] {
                let mut exchange = Exchange::new(&[&plugin]);
                exchange.request.query = format!("?q={}", "x".repeat(query));
                assert_eq!(answer(exchange.request(&bench).await), None, "{name}");
            }
            // 4 KiB, then 8 or more for the long ones: every outgrown buffer is given back.
            let freed = bench.lines().len();
            assert_eq!(freed > 0, *name != "none", "{name}");
        }
    });
}

#[test]
fn an_allocator_that_lies_is_a_failure_and_no_danger() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        for (address, reason) in [
            (0, "failed to allocate memory"),
            (-8, "do not lie in the memory"),
            (131_072, "do not lie in the memory"),
        ] {
            let more = format!(
                r#"(func (export "alloc") (param i32) (result i32) (i32.const {address}))"#
            );
            let plugin = bench.plugin(PluginType::Auth, &answers_and(GOES_ON, &more));
            assert!(answer(Exchange::new(&[&plugin]).request(&bench).await).is_some());
            let lines = bench.lines();
            assert!(lines[0].contains(reason), "{lines:?}");
        }
    });
}

#[test]
fn a_pair_of_results_is_as_good_as_a_packed_one() {
    let guest = format!(
        r#"(module (memory (export "memory") 1) (data (i32.const 64) "{}")
             (func (export "execute") (param i32 i32) (result i32 i32)
               (i32.const 64) (i32.const {})))"#,
        wat_string(GOES_ON),
        GOES_ON.len()
    );
    on_both_drivers(|| async {
        let bench = Bench::new();
        let plugin = bench.plugin(PluginType::Auth, &guest);
        assert_eq!(answer(Exchange::new(&[&plugin]).request(&bench).await), None);
    });
}

#[test]
fn initialize_runs_before_init_and_start_only_without_it() {
    let log = |at: u32| format!("(call $log (i32.const {at}) (i32.const 1))");
    let more = format!(
        r#"(data (i32.const 600) "is1")
           (func (export "_initialize") {}) (func (export "_start") {})
           (func (export "init") (result i32) {} (i32.const 7)) (memory"#,
        log(600),
        log(601),
        log(602)
    );
    on_both_drivers(|| async {
        let bench = Bench::new();
        let plugin = bench.plugin(PluginType::Auth, &executes("").replacen("(memory", &more, 1));
        assert_eq!(answer(Exchange::new(&[&plugin]).request(&bench).await), None);
        assert_eq!(bench.lines(), ["p [] info: i", "p [] info: 1"]);
    });
}

#[test]
fn a_compiled_module_is_kept_and_a_file_that_others_can_write_is_not_believed() {
    use std::os::unix::fs::PermissionsExt;
    let dir = std::env::temp_dir().join(format!("odin-cache-{}", std::process::id()));
    let _absent = std::fs::remove_dir_all(&dir);
    let options = super::super::RuntimeOptions {
        instances_max: 4,
        cache_dir: Some(dir.clone()),
        ..Default::default()
    };
    let load = || {
        let bench = Bench::with(options.clone());
        let plugin = bench.plugin(PluginType::Auth, &answers(GOES_ON));
        Arc::clone(&plugin)
    };
    load();
    let files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|file| file.unwrap().path()).collect();
    let [file] = files.as_slice() else {
        panic!("one compiled module: {files:?}");
    };
    assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    let written = std::fs::metadata(file).unwrap().modified().unwrap();
    load();
    assert_eq!(std::fs::metadata(file).unwrap().modified().unwrap(), written);
    // Open to others: compiled anew, and written anew.
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o666)).unwrap();
    load();
    let meta = std::fs::metadata(file).unwrap();
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    // A directory that is open to others is not used at all.
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::remove_file(file).unwrap();
    load();
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_proposal_that_no_toolchain_of_plugins_emits_is_refused() {
    let bench = Bench::new();
    for (name, more) in [
        ("memory64", "(memory i64 1)"),
        ("multi-memory", "(memory 1)"),
        ("relaxed simd", "(func (drop (i32x4.relaxed_trunc_f32x4_s (v128.const i64x2 0 0))))"),
        ("tail calls", "(func $f (return_call $f))"),
        ("threads", "(func (drop (i32.atomic.load (i32.const 0))))"),
        ("exceptions", "(tag)"),
        ("function references", "(type $t (func)) (func (param (ref null $t)))"),
        ("gc", "(type (struct))"),
        ("extended constants", "(global i32 (i32.add (i32.const 1) (i32.const 2)))"),
        ("custom page sizes", "(memory 1 (pagesize 1))"),
        (
            "wide arithmetic",
            "(func (drop (drop (i64.add128 (i64.const 0) (i64.const 0) (i64.const 0) \
             (i64.const 0)))))",
        ),
        ("stack switching", "(type $t (func)) (type (cont $t))"),
    ] {
        let guest = answers_and(GOES_ON, more);
        let plugin = bench.load(PluginSpec::new("p", PluginType::Request), &guest);
        let error = plugin.load_error().unwrap_or_else(|| panic!("{name} is taken"));
        assert!(error.starts_with("failed to compile plugin"), "{name}: {error}");
    }
}

#[test]
fn what_the_toolchains_of_plugins_emit_is_taken() {
    let bench = Bench::new();
    let more = r#"
        (global (export "g") (mut i32) (i32.const 0))
        (table $t 1 funcref)
        (func (result i32 i64) (i32.extend8_s (i32.const 1)) (i64.trunc_sat_f32_s (f32.const 1)))
        (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)))
        (func (memory.copy (i32.const 0) (i32.const 0) (i32.const 0)))
        (func (drop (i32x4.splat (i32.const 1))))
        (func (drop (ref.null func)))"#;
    bench.plugin(PluginType::Request, &answers_and(GOES_ON, more));
}
