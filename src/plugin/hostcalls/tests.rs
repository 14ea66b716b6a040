//! What guests get from the functions they import, and what they cannot do with them.

mod described;
mod reach;

use std::sync::Arc;

use super::super::testing::{
    Bench, Exchange, answer, answers_and, executes, on_both_drivers, wat_string,
};
use super::super::{LogLevel, Plugin, PluginSpec, PluginType};
use crate::limits;

/// Without the import of `log`, for guests that import it in another form.
fn without_log(guest: &str) -> String {
    guest.replacen(r#"(import "env" "log" (func $log (param i32 i32)))"#, "", 1)
}

fn with_import(import: &str, guest: &str) -> String {
    guest.replacen("(module", &format!("(module {import}"), 1)
}

async fn lines_of(bench: &Bench, plugin: &Arc<Plugin>) -> Vec<String> {
    let _ = answer(Exchange::new(&[plugin]).request(bench).await);
    bench.lines()
}

#[test]
fn log_lines_have_the_level_they_were_given_and_those_below_the_plugins_are_dropped() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let code: String = (-1..=6)
            .map(|level| {
                format!("(call $level (i32.const {level}) (i32.const 1025) (i32.const 8))")
            })
            .collect();
        let guest = with_import(
            r#"(import "env" "log" (func $level (param i32 i32 i32)))"#,
            &without_log(&executes(&code)),
        );
        let mut spec = PluginSpec::new("p", PluginType::Request);
        spec.log_level = LogLevel::Debug;
        let plugin = bench.plugin_of(spec, &guest);
        assert_eq!(
            lines_of(&bench, &plugin).await,
            [
                r#"p [r-1] debug: "continu"#,
                r#"p [r-1] info: "continu"#,
                r#"p [r-1] warn: "continu"#,
                r#"p [r-1] error: "continu"#,
                r#"p [r-1] error: "continu"#,
                r#"p [r-1] error: "continu"#,
            ]
        );
    });
}

#[test]
fn ten_thousand_log_lines_cost_no_more_than_the_rate_allows() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let plugin = bench.plugin(
            PluginType::Request,
            &executes(
                "(loop $l
                   (call $log (i32.const 1024) (i32.const 10))
                   (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
                   (br_if $l (i32.lt_u (i32.load (i32.const 0)) (i32.const 10000))))",
            ),
        );
        let count = lines_of(&bench, &plugin).await.len();
        // More only if a second ended in between.
        assert!(count <= 2 * (limits::PLUGIN_LOG_LINES_PER_SECOND as usize + 1), "{count}");
    });
}

#[test]
fn get_config_answers_in_both_forms_and_places_each_value_once() {
    let keys = r#"(data (i32.const 512) "redis.host\00limit\00none\00") (memory"#;
    let packed = with_import(
        r#"(import "env" "get_config" (func $get (param i32 i32) (result i64)))"#,
        &executes(
            "(local $v i64)
             (local.set $v (call $get (i32.const 512) (i32.const 10)))
             (call $log (i32.wrap_i64 (local.get $v))
                        (i32.wrap_i64 (i64.shr_u (local.get $v) (i64.const 32))))
             (local.set $v (call $get (i32.const 523) (i32.const 5)))
             (call $log (i32.wrap_i64 (local.get $v)) (i32.const 3))
             (if (i64.ne (local.get $v) (call $get (i32.const 523) (i32.const 5)))
               (then (unreachable)))
             (if (i64.ne (call $get (i32.const 529) (i32.const 4)) (i64.const 0))
               (then (unreachable)))",
        ),
    );
    let c = with_import(
        r#"(import "env" "get_config" (func $get (param i32) (result i32)))"#,
        &executes(
            "(local $v i32)
             (local.set $v (call $get (i32.const 512)))
             (call $log (local.get $v) (i32.const 10))
             (if (i32.load8_u offset=10 (local.get $v)) (then (unreachable)))
             (local.set $v (call $get (i32.const 523)))
             (call $log (local.get $v) (i32.const 3))
             (if (i32.load8_u offset=3 (local.get $v)) (then (unreachable)))
             (if (i32.ne (local.get $v) (call $get (i32.const 523))) (then (unreachable)))
             (if (call $get (i32.const 529)) (then (unreachable)))",
        ),
    );
    let malloc = r#"(global $top (mut i32) (i32.const 70000))
        (func (export "malloc") (param i32) (result i32)
          (global.get $top)
          (global.set $top (i32.add (global.get $top) (local.get 0))))"#;
    on_both_drivers(|| async {
        let bench = Bench::new();
        for (guest, allocator) in [(&packed, ""), (&packed, malloc), (&c, ""), (&c, malloc)] {
            let guest = guest.replacen("(memory", &format!("{allocator} {keys}"), 1);
            let mut spec = PluginSpec::new("p", PluginType::Request);
            spec.set_config(serde_json::json!({"redis": {"host": "redis:6379"}, "limit": 100}));
            let plugin = bench.plugin_of(spec, &guest);
            for _ in 0..2 {
                let lines = lines_of(&bench, &plugin).await;
                assert_eq!(lines, ["p [r-1] info: redis:6379", "p [r-1] info: 100"]);
            }
        }
    });
}

#[test]
fn standard_output_becomes_log_lines() {
    let import = r#"(import "wasi_snapshot_preview1" "fd_write"
        (func $write (param i32 i32 i32 i32) (result i32)))"#;
    let code = r"
        (i32.store (i32.const 0) (i32.const 512)) (i32.store (i32.const 4) (i32.const 4))
        (i32.store (i32.const 8) (i32.const 516)) (i32.store (i32.const 12) (i32.const 9))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 2) (i32.const 16)))
        (if (i32.ne (i32.load (i32.const 16)) (i32.const 13)) (then (unreachable)))
        (if (i32.ne (call $write (i32.const 5) (i32.const 0) (i32.const 2) (i32.const 16))
                    (i32.const 8)) (then (unreachable)))";
    let guest = with_import(import, &executes(code));
    let guest =
        guest.replacen("(memory", r#"(data (i32.const 512) "one\0atwo\0athree") (memory"#, 1);
    on_both_drivers(|| async {
        let bench = Bench::new();
        let plugin = bench.plugin(PluginType::Request, &guest);
        let lines = lines_of(&bench, &plugin).await;
        let expected = ["p [r-1] info: one", "p [r-1] info: two", "p [r-1] info: three"];
        assert_eq!(lines, expected);
    });
}

#[test]
fn wasi_functions_that_are_not_there_answer_an_errno() {
    let imports = r#"
        (import "wasi_snapshot_preview1" "path_open"
          (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_unstable" "sock_send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_prestat_get"
          (func $prestat (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "clock_time_get"
          (func $clock (param i32 i64 i32) (result i32)))"#;
    let z = "(i32.const 0)";
    let code = format!(
        "(if (i32.ne (call $open {z} {z} {z} {z} {z} (i64.const 0) (i64.const 0) {z} {z})
                     (i32.const 52)) (then (unreachable)))
         (if (i32.ne (call $send {z} {z} {z} {z} {z}) (i32.const 52)) (then (unreachable)))
         (if (i32.ne (call $prestat (i32.const 3) {z}) (i32.const 8)) (then (unreachable)))
         (if (call $random {z} (i32.const 16)) (then (unreachable)))
         (if (i64.eqz (i64.load {z})) (then (unreachable)))
         (if (i32.eqz (call $random {z} (i32.const 0x10000000))) (then (unreachable)))
         (if (call $clock (i32.const 1) (i64.const 0) (i32.const 32)) (then (unreachable)))
         (if (i64.lt_u (i64.load (i32.const 32)) (i64.const 1700000000000000000))
           (then (unreachable)))"
    );
    on_both_drivers(|| async {
        let bench = Bench::new();
        let plugin = bench.plugin(PluginType::Auth, &with_import(imports, &executes(&code)));
        assert!(lines_of(&bench, &plugin).await.is_empty());
    });
}

const WASI: &str = "wasi_snapshot_preview1";

/// Module, name, parameters and result of a function, and arguments that point out of a memory of
/// two pages (and a few that the host may have added).
const WILD: [[&str; 5]; 11] = [
    ["env", "log", "i32 i32", "", "(i32.const -1) (i32.const 2)"],
    ["env", "log", "i32 i32", "", "(i32.const 0) (i32.const -1)"],
    ["env", "log", "i32 i32 i32", "", "(i32.const 9) (i32.const 999999) (i32.const 2)"],
    ["env", "get_config", "i32", "i32", "(i32.const -1)"],
    ["env", "get_config", "i32 i32", "i64", "(i32.const 999999) (i32.const 1)"],
    [WASI, "random_get", "i32 i32", "i32", "(i32.const 999999) (i32.const 8)"],
    [WASI, "clock_time_get", "i32 i64 i32", "i32", "(i32.const 0) (i64.const 0) (i32.const -4)"],
    [
        WASI,
        "fd_write",
        "i32 i32 i32 i32",
        "i32",
        "(i32.const 1) (i32.const 0) (i32.const -1) (i32.const 0)",
    ],
    [
        WASI,
        "fd_write",
        "i32 i32 i32 i32",
        "i32",
        "(i32.const 1) (i32.const 1024) (i32.const 1) (i32.const 0)",
    ],
    [
        WASI,
        "poll_oneoff",
        "i32 i32 i32 i32",
        "i32",
        "(i32.const 999999) (i32.const 0) (i32.const 1) (i32.const 0)",
    ],
    [WASI, "environ_sizes_get", "i32 i32", "i32", "(i32.const 0) (i32.const -1)"],
];

#[test]
fn wild_addresses_trap_in_every_host_function_and_touch_nothing() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        for [module, name, params, result, arguments] in WILD {
            let result = if result.is_empty() { "" } else { &format!("(result {result})") };
            let import =
                format!(r#"(import "{module}" "{name}" (func $wild (param {params}) {result}))"#);
            let call = format!("(call $wild {arguments})");
            let code = if result.is_empty() { call } else { format!("(drop {call})") };
            let guest = with_import(&import, &without_log(&executes(&code)));
            let plugin = bench.plugin(PluginType::Auth, &guest);
            let got = answer(Exchange::new(&[&plugin]).request(&bench).await);
            assert_eq!(got.map(|got| got.0), Some(503), "{name} {arguments}");
            let lines = bench.lines();
            assert!(lines[0].contains("kind trap"), "{name} {arguments}: {lines:?}");
        }
    });
}

#[test]
fn assemblyscript_tells_why_it_aborts() {
    let import = r#"(import "env" "abort" (func $abort (param i32 i32 i32 i32)))"#;
    let utf16 = |text: &str| {
        let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let length = (bytes.len() as u32).to_le_bytes();
        length.iter().chain(&bytes).map(|byte| format!("\\{byte:02x}")).collect::<String>()
    };
    let data = format!(
        r#"(data (i32.const 0) "{}") (data (i32.const 100) "{}") (memory"#,
        utf16("no key: é"),
        utf16("auth.ts")
    );
    let code = "(call $abort (i32.const 4) (i32.const 104) (i32.const 7) (i32.const 3))";
    let guest = with_import(import, &executes(code)).replacen("(memory", &data, 1);
    on_both_drivers(|| async {
        let bench = Bench::new();
        let plugin = bench.plugin(PluginType::Auth, &guest);
        let lines = lines_of(&bench, &plugin).await;
        assert!(lines[0].contains("abort: no key: é in auth.ts:7:3, in "), "{lines:?}");
    });
}

#[test]
fn a_command_that_exits_well_stays_loaded_and_one_that_fails_does_not() {
    let output = r#"{"continue":true}"#;
    let guest = |code: i32| {
        let more = format!(
            r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
               (func (export "_start") (call $exit (i32.const {code})))"#
        );
        answers_and(output, &more)
    };
    on_both_drivers(|| async {
        let bench = Bench::new();
        let well = bench.plugin(PluginType::Auth, &guest(0));
        assert_eq!(answer(Exchange::new(&[&well]).request(&bench).await), None);
        let fails = bench.plugin(PluginType::Auth, &guest(3));
        assert!(answer(Exchange::new(&[&fails]).request(&bench).await).is_some());
        assert!(bench.lines()[0].contains("_start: the plugin exited with code 3"));
    });
}

#[test]
fn a_guest_of_another_kind_of_string_is_no_danger() {
    // `abort` with addresses that are no strings at all.
    let import = r#"(import "env" "abort" (func $abort (param i32 i32 i32 i32)))"#;
    let code = "(call $abort (i32.const 2) (i32.const -1) (i32.const 0) (i32.const 0))";
    on_both_drivers(|| async {
        let bench = Bench::new();
        let plugin = bench.plugin(PluginType::Auth, &with_import(import, &executes(code)));
        let lines = lines_of(&bench, &plugin).await;
        assert!(lines[0].contains("abort: (not a string) in (not a string)"), "{lines:?}");
    });
}

/// A guest that writes texts to descriptors (texts stand at 2048, pieces at 3000) and then runs
/// `end`.
fn writes(texts: &[(i32, &str)], end: &str) -> String {
    let (mut code, mut data, mut at) = (String::new(), String::new(), 2048);
    for (index, (fd, text)) in texts.iter().enumerate() {
        let piece = 3000 + 8 * index;
        let (text_at, length) = (at, text.len());
        data += &format!("(data (i32.const {at}) \"{}\")", wat_string(text));
        at += text.len();
        code += &format!(
            "(i32.store (i32.const {piece}) (i32.const {text_at}))
             (i32.store (i32.const {}) (i32.const {length}))
             (drop (call $write (i32.const {fd}) (i32.const {piece}) (i32.const 1)
                 (i32.const 2900)))",
            piece + 4
        );
    }
    let import = r#"(import "wasi_snapshot_preview1" "fd_write"
        (func $write (param i32 i32 i32 i32) (result i32)))"#;
    with_import(import, &executes(&format!("{code} {end}"))).replacen(
        "(func (export \"execute\")",
        &format!("{data} (func (export \"execute\")"),
        1,
    )
}

#[test]
fn the_last_words_of_a_guest_that_traps_are_in_the_log() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let texts = [(1, "half a line"), (2, "panicked at"), (1, " of output")];
        for end in ["(unreachable)", ""] {
            let plugin = bench.plugin(PluginType::Request, &writes(&texts, end));
            let lines = lines_of(&bench, &plugin).await;
            let words = ["p [r-1] info: half a line of output", "p [r-1] warn: panicked at"];
            assert_eq!(lines[..2], words, "{lines:?}");
        }
    });
}

#[test]
fn the_last_words_of_a_guest_that_is_given_up_are_in_the_log() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let mut spec = PluginSpec::new("p", PluginType::Request);
        spec.timeout = std::time::Duration::from_millis(30);
        let plugin = bench.plugin_of(spec, &writes(&[(2, "waiting")], "(loop $l (br $l))"));
        let lines = lines_of(&bench, &plugin).await;
        assert_eq!(lines[0], "p [r-1] warn: waiting", "{lines:?}");
    });
}

#[test]
fn a_long_write_is_answered_as_a_short_one_and_many_pieces_are_refused() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let import = r#"(import "wasi_snapshot_preview1" "fd_write"
            (func $write (param i32 i32 i32 i32) (result i32)))"#;
        let code = "(i32.store (i32.const 0) (i32.const 8192))
             (i32.store (i32.const 4) (i32.const 100000))
             (memory.fill (i32.const 8192) (i32.const 10) (i32.const 100000))
             (if (i32.ne (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))
                 (i32.const 0)) (then (unreachable)))
             (if (i32.ne (i32.load (i32.const 16)) (i32.const 65536)) (then (unreachable)))
             (if (i32.eqz (call $write (i32.const 1) (i32.const 0) (i32.const 1025)
                 (i32.const 16))) (then (unreachable)))";
        let plugin = bench.plugin(PluginType::Request, &with_import(import, &executes(code)));
        assert_eq!(lines_of(&bench, &plugin).await, Vec::<String>::new());
    });
}
