//! The border between host and guest: host functions, allocators, start functions, and the modules
//! that are refused there.

use crate::support::{Client, Origin, Setup, get, get_with, wasm};

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
        log.lines().find(|line| line.contains(text)).unwrap().to_owned()
    };
    assert!(line("a plain line").contains("talker"), "a line says whose it is");
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
    let gateway = Setup::to(&origin).plugin("forger", module, "type: auth").start();
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
    let gateway = Setup::to(&origin).plugin("clock", module, "type: auth").start();
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
                .plugin("it", &module, &format!("type: auth, config: {{answer: {{it: {it}}}}}"))
                .start();
            assert_eq!(get(gateway.addr, "/").status, 418, "{it}");
        }
        // No such key is 0: an empty output, which is an error.
        let origin = Origin::ok();
        let gateway = Setup::to(&origin).plugin("it", &module, "type: auth").start();
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
        let gateway = Setup::to(&origin).plugin("it", module, "type: auth").start();
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
        let gateway = Setup::to(&origin).plugin("it", module, "type: auth").start();
        let long = format!("X-Long: {}\r\n", "x".repeat(2000));
        assert_eq!(get_with(gateway.addr, "/", &long).status, 503, "alloc returned {at}");
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
        let gateway = Setup::to(&origin).plugin("it", module(export), "type: auth").start();
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
        let gateway = Setup::to(&origin).plugin("it", module(code), "type: auth").start();
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
    let gateway = Setup::to(&origin).plugin("badstart", module, "type: auth").start();
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
        .service(&format!("name: free, basePath: /free, targets: ['{}']", origin.url()))
        .plugin("endless", module, "type: auth, timeout: 200ms, services: [all]")
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
        let gateway = Setup::to(&origin).plugin("odd", wasm::module(text), "type: auth").start();
        assert_eq!(get(gateway.addr, "/").status, 503, "{words}");
        let log = gateway.log();
        let line = log.lines().find(|line| line.contains("odd") && line.contains(words));
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
    let gateway = Setup::to(&origin).plugin("wasi", module, "type: auth").start();
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
        let gateway = Setup::to(&origin).plugin("wild", module, "type: auth").start();
        let mut client = Client::connect(gateway.addr);
        for _ in 0..3 {
            // A host may also pass over such a call, as long as it reads nothing.
            assert!([200, 503].contains(&client.get("/").status), "({at}, {len})");
        }
    }
}

/// A guest that takes 60 KB from its heap with each call, writes all of it and then looks whether
/// its input still ends with a brace. `take` takes `$n` bytes of the heap.
fn hungry(take: &str, more: &str) -> Vec<u8> {
    wasm::module(&format!(
        r#"(module
            (memory (export "memory") 1)
            (global $top (mut i32) (i32.const 1024))
            (global $end (mut i32) (i32.const 65536))
            (data (i32.const 100) "{{\22continue\22:true}}")
            (func $take (param $n i32) (result i32) (local $at i32) {take})
            (func (export "execute") (param $in i32) (param $len i32) (result i64)
              (memory.fill (call $take (i32.const 60000)) (i32.const 7) (i32.const 60000))
              (if (i32.ne (i32.const 125) (i32.load8_u
                    (i32.sub (i32.add (local.get $in) (local.get $len)) (i32.const 1))))
                (then unreachable))
              (i64.or (i64.shl (i64.const 17) (i64.const 32)) (i64.const 100)))
            {more})"#
    ))
}

/// As AssemblyScript's `--runtime stub`: up to where the memory ends, which it grows at need.
const TAKE_TO_THE_END: &str = "
    (local.set $at (global.get $top))
    (global.set $top (i32.add (local.get $at) (local.get $n)))
    (if (i32.gt_u (global.get $top) (i32.shl (memory.size) (i32.const 16)))
      (then (if (i32.lt_s (memory.grow (i32.const 1)) (i32.const 0)) (then unreachable))))
    (local.get $at)";
/// As Rust's: from the pages that growing has given.
const TAKE_WHAT_WAS_GIVEN: &str = "
    (if (i32.gt_u (i32.add (global.get $top) (local.get $n)) (global.get $end)) (then
      (local.set $at (memory.grow (i32.const 1)))
      (if (i32.eq (local.get $at) (i32.const -1)) (then unreachable))
      (global.set $top (i32.shl (local.get $at) (i32.const 16)))
      (global.set $end (i32.add (global.get $top) (i32.const 65536)))))
    (local.set $at (global.get $top))
    (global.set $top (i32.add (local.get $at) (local.get $n)))
    (local.get $at)";

#[test]
fn a_guests_heap_never_overwrites_its_input() {
    let exports = r#"(export "alloc" (func $take))"#;
    for (name, guest) in [
        ("with an allocator", hungry(TAKE_TO_THE_END, exports)),
        ("without one", hungry(TAKE_WHAT_WAS_GIVEN, "")),
    ] {
        let gateway = Setup::echo().plugin("hungry", guest, "type: auth, instances: 1").start();
        let mut client = Client::connect(gateway.addr);
        for call in 0..30 {
            assert_eq!(client.get("/").status, 200, "{name}, call {call}");
        }
        // An input for which the region has to grow, behind pages of the heap.
        let path = format!("/?q={}", "x".repeat(7000));
        assert_eq!(client.get(&path).status, 200, "{name}");
    }
}

#[test]
fn a_heap_that_would_overwrite_the_input_is_refused_with_words_that_mend_it() {
    let guest = hungry(TAKE_TO_THE_END, "");
    let file = crate::support::TempDir::new();
    std::fs::write(file.path().join("hungry.wasm"), &guest).unwrap();
    let mut inspect = std::process::Command::new(env!("CARGO_BIN_EXE_odin-cli"));
    let inspected = inspect.arg("inspect").arg(file.path().join("hungry.wasm")).output().unwrap();
    let inspected = String::from_utf8(inspected.stdout).unwrap();
    let gateway = Setup::echo().plugin("hungry", guest, "type: auth, instances: 1").start();
    assert_eq!(get(gateway.addr, "/").status, 503, "from the first request on");
    gateway.wait_log("hungry");
    for words in ["exports no allocator", "`--exportRuntime`", "-Wl,--export=malloc"] {
        assert!(inspected.contains(words), "{inspected}");
        assert!(gateway.log().contains(words), "{}", gateway.log());
    }
}
