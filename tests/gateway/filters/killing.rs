//! What no guest may do to a worker, in whatever callback it does it: endless loops, traps, memory
//! without end, recursion without end, garbage. The client gets an answer, and others are served.

use super::built;
use crate::support::{Client, Gateway, Origin, Setup, ask, get, wait_until, wasm};
use std::time::{Duration, Instant};

/// How a callback goes wrong, and what the log then says.
const STEPS: [(&str, &str); 4] = [
    ("spin", "plugin execution timeout"),
    ("trap", "trapped"),
    ("hog", "failed to allocate memory"),
    ("deep", "trapped"),
];

/// Callbacks of an exchange, and what its client is told when one of them goes wrong.
const OF_EXCHANGES: [(&str, u16); 10] = [
    ("request_headers", 503),
    ("request_body", 503),
    ("request_trailers", 503),
    ("response_headers", 503),
    ("response_body", 503),
    // The answer that has not gone out yet is taken back; else it is cut.
    ("response_trailers", 503),
    ("http_call_response", 503),
    ("log", 200),
    ("done", 200),
    ("delete", 200),
];

/// A request with a body and trailers.
const REQUEST: &str = " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n\
                       5\r\nhello\r\n0\r\nx-sum: 5\r\n\r\n";

/// An origin whose responses have a body and trailers.
fn origin() -> Origin {
    Origin::scripted(|connection, _| {
        while connection.request().is_some() {
            connection.send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\
                 x-sum: 5\r\n\r\n",
            );
        }
    })
}

fn quoted(script: &str) -> String {
    script.trim().replace('\n', ";").replace('\'', "''")
}

/// A worker that has nothing to do with it answers at once. (What an instance that others have
/// ended was waited for with counts as a request's own time: the next one comes a little later.)
fn is_well(gateway: &Gateway) {
    std::thread::sleep(Duration::from_millis(50));
    let started = Instant::now();
    assert_eq!(get(gateway.addr, "/free").status, 200);
    assert!(started.elapsed() < Duration::from_millis(1500), "{:?}", started.elapsed());
}

#[test]
fn what_goes_wrong_in_a_callback_of_an_exchange_costs_that_one_at_most() {
    let origin = origin();
    for (step, told) in STEPS {
        let mut setup =
            Setup::new().service("name: free, basePath: /free, targets: ['builtin:echo']");
        for (callback, _) in OF_EXCHANGES {
            // The log line tells which one it was.
            let before = match callback {
                "http_call_response" => {
                    "on request_headers\nhttp_call \"free\" [:method=GET,:path=/free,:authority=a] \
                     \"\" [] 1000 >t\nreturn 1\n"
                }
                _ => "",
            };
            let name = callback.replace('_', "-");
            let script = quoted(&format!("{before}on {callback}\n{step}"));
            setup = setup
                .service(&format!("name: {name}, basePath: /{name}, targets: ['{}']", origin.url()))
                .plugin(
                    &name,
                    built("filter-script"),
                    &format!(
                        "services: [{name}], timeout: 250ms, vmId: {name}, maxMemoryPages: 64, \
                         config: '{script}'"
                    ),
                );
        }
        let gateway = setup.start();
        for (callback, expected) in OF_EXCHANGES {
            let name = callback.replace('_', "-");
            for _ in 0..2 {
                let mut client = Client::connect(gateway.addr);
                client.send(format!("POST /{name}{REQUEST}"));
                let status = client.try_response().map_or(0, |response| response.status);
                assert_eq!(status, expected, "{step} in {callback}");
                is_well(&gateway);
            }
            wait_until(&format!("{step} in {callback} is told"), || {
                let of = format!("plugin=\"{name}\"");
                gateway.log().lines().any(|line| line.contains(&of) && line.contains(told))
            });
        }
    }
}

#[test]
fn what_goes_wrong_when_an_instance_starts_or_by_itself_is_told_and_stops_nobody() {
    for (step, told) in STEPS {
        let by_itself = [
            ("vm_start", format!("on vm_start\n{step}"), "", 503),
            ("configure", step.to_owned(), "", 503),
            ("context_create", format!("on context_create\n{step}"), "", 503),
            ("tick", String::new(), "set_tick_period_milliseconds 20\non tick\n", 200),
            (
                "queue_ready",
                String::new(),
                "register_shared_queue \"q\" >q\nenqueue_shared_queue $q \"x\"\non queue_ready\n",
                200,
            ),
        ];
        for (callback, vm, config, expected) in by_itself {
            let (vm, config) = match config {
                "" if callback == "configure" => (String::new(), quoted(step)),
                "" => (quoted(&vm), String::new()),
                config => (String::new(), quoted(&format!("{config}{step}"))),
            };
            let keys = format!(
                "services: [guarded], timeout: 250ms, vmId: v, maxMemoryPages: 64, \
                 config: '{config}', vmConfig: '{vm}'"
            );
            let gateway = Setup::new()
                .service("name: free, basePath: /free, targets: ['builtin:echo']")
                .service("name: guarded, basePath: /guarded, targets: ['builtin:echo']")
                .plugin("it", built("filter-script"), &keys)
                .start();
            let from = Instant::now();
            let mut statuses = Vec::new();
            while from.elapsed() < Duration::from_millis(700) {
                statuses.push(get(gateway.addr, "/guarded").status);
                is_well(&gateway);
            }
            // Between one that has ended and the next there may be none for a moment.
            let is_expected = |status: &u16| *status == expected || *status == 503;
            assert!(statuses.iter().all(is_expected), "{step} in {callback}: {statuses:?}");
            gateway.wait_log(told);
        }
    }
}

/// A filter of its own text: `more` stands among its functions.
fn filter(more: &str) -> Vec<u8> {
    let allocates = if more.contains("\"malloc\"") || more.contains("memory_allocate") {
        String::new()
    } else {
        r#"(func (export "malloc") (param i32) (result i32) (i32.const 65536))"#.to_owned()
    };
    wasm::module(&format!(
        r#"(module
          (import "env" "proxy_get_header_map_pairs"
            (func $pairs (param i32 i32 i32) (result i32)))
          (memory (export "memory") 4)
          (func (export "proxy_abi_version_0_2_1"))
          {allocates}
          {more})"#
    ))
}

const CALLS_PAIRS: &str = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32)
    (result i32) (drop (call $pairs (i32.const 0) (i32.const 512) (i32.const 516)))
    (i32.const 0))"#;

fn guarded(module: Vec<u8>, more: &str) -> Gateway {
    Setup::new()
        .service("name: free, basePath: /free, targets: ['builtin:echo']")
        .service("name: guarded, basePath: /guarded, targets: ['builtin:echo']")
        .plugin("it", module, &format!("services: [guarded], timeout: 250ms{more}"))
        .start()
}

#[test]
fn starts_and_allocators_that_go_wrong_are_ended() {
    let spin = "(loop $for_ever (br $for_ever))";
    let allocator = |name: &str, body: &str| {
        format!(r#"{CALLS_PAIRS} (func (export "{name}") (param i32) (result i32) {body})"#)
    };
    for (module, status) in [
        (format!(r#"(func (export "_initialize") {spin})"#), 503),
        (format!(r#"(func (export "_start") {spin})"#), 503),
        (r#"(func (export "_initialize") unreachable)"#.to_owned(), 503),
        (r#"(func (export "_start") unreachable)"#.to_owned(), 503),
        // Of a library with both only `_initialize` is called.
        (r#"(func (export "_initialize")) (func (export "_start") unreachable)"#.to_owned(), 200),
        (
            format!(
                r#"(func (export "_initialize"))
                   (func (export "main") (param i32 i32) (result i32) {spin} (i32.const 0))"#
            ),
            503,
        ),
        (format!("(func $start {spin}) (start $start)"), 503),
        ("(func $start unreachable) (start $start)".to_owned(), 503),
        (allocator("malloc", &format!("{spin} (i32.const 0)")), 503),
        (allocator("malloc", "unreachable"), 503),
        (allocator("proxy_on_memory_allocate", &format!("{spin} (i32.const 0)")), 503),
        // No memory, and memory that is not there: the call fails, the filter goes on.
        (allocator("malloc", "(i32.const 0)"), 200),
        (allocator("malloc", "(i32.const -1)"), 200),
        (allocator("malloc", "(i32.const 0x7fffffff)"), 200),
        // An allocator that calls what needs an allocator.
        (
            allocator(
                "malloc",
                "(drop (call $pairs (i32.const 0) (i32.const 512) (i32.const 516)))
                 (i32.const 65536)",
            ),
            503,
        ),
    ] {
        let gateway = guarded(filter(&module), "");
        for _ in 0..3 {
            assert_eq!(get(gateway.addr, "/guarded").status, status, "{module}");
            is_well(&gateway);
        }
    }
}

#[test]
fn modules_of_absurd_size_or_with_unknown_imports_are_refused_by_name() {
    let plain = |memory: &str, more: &str| {
        wasm::module(&format!(
            r#"(module {more} {memory} (func (export "proxy_abi_version_0_2_1")))"#
        ))
    };
    let memory = r#"(memory (export "memory") 1)"#;
    for (module, why) in [
        (plain(r#"(memory (export "memory") 65536)"#, ""), "65536 pages of 64 KiB"),
        (plain(r#"(memory (export "memory") 2000)"#, ""), "maxMemoryPages"),
        (plain(memory, r#"(import "env" "proxy_nothing" (func))"#), "env.proxy_nothing(->)"),
        (
            plain(memory, r#"(import "env" "proxy_log" (func (param i64)))"#),
            "env.proxy_log(i64 ->)",
        ),
        (plain(memory, r#"(import "other" "thing" (func (result i32)))"#), "other.thing(-> i32)"),
        (
            plain("", r#"(import "env" "memory" (memory 1)) (export "memory" (memory 0))"#),
            "env.memory (not a function",
        ),
        (plain("", ""), "exports no memory"),
        (
            plain(memory, r#"(func (export "proxy_on_request_headers") (param i64))"#),
            "proxy_on_request_headers is (i64 ->)",
        ),
    ] {
        let gateway = guarded(module, "");
        assert_eq!(get(gateway.addr, "/guarded").status, 503, "{why}");
        gateway.wait_log(why);
        is_well(&gateway);
    }
    // Tables: what wasmtime has no room for is refused, what grows without end is ended.
    let huge = guarded(plain(memory, "(table 100000000 funcref)"), "");
    assert_eq!(get(huge.addr, "/guarded").status, 503);
    is_well(&huge);
    let growing = filter(
        r#"(table 1 funcref)
           (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             (loop $more
               (br_if $more (i32.ne (i32.const -1)
                 (table.grow (ref.null func) (i32.const 1000)))))
             (i32.const 0))"#,
    );
    let gateway = guarded(growing, "");
    for _ in 0..3 {
        let status = get(gateway.addr, "/guarded").status;
        assert!([200, 503].contains(&status), "{status}");
        is_well(&gateway);
    }
    assert!(gateway.peak_rss_kib() < 192 * 1024);
}

/// The functions of WASI preview 1, and the types of their parameters.
const WASI: [(&str, &str); 46] = [
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "iIi"),
    ("fd_advise", "iIIi"),
    ("fd_allocate", "iII"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "iII"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "iI"),
    ("fd_filestat_set_times", "iIIi"),
    ("fd_pread", "iiiIi"),
    ("fd_prestat_get", "ii"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_pwrite", "iiiIi"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiiIi"),
    ("fd_renumber", "ii"),
    ("fd_seek", "iIii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiiIIi"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiiIIii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("proc_raise", "i"),
    ("random_get", "ii"),
    ("sched_yield", ""),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
    ("proc_exit", "i"),
];

#[test]
fn functions_of_wasi_bear_garbage() {
    let values = [("0", "0"), ("-1", "-1"), ("0x7ffffff0", "0x7ffffffffffffff0"), ("1", "1")];
    let mut setup = Setup::new().service("name: free, basePath: /free, targets: ['builtin:echo']");
    let mut names = Vec::new();
    for (function, types) in WASI {
        let params: Vec<&str> =
            types.chars().map(|ty| if ty == 'I' { "i64" } else { "i32" }).collect();
        let result = if function == "proc_exit" { "" } else { "(result i32)" };
        for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
            for (index, (small, large)) in values.iter().enumerate() {
                let arguments: String = params
                    .iter()
                    .map(|ty| format!("({ty}.const {})", if *ty == "i64" { large } else { small }))
                    .collect();
                let call = format!("(call $f {arguments})");
                let call = if result.is_empty() { call } else { format!("(drop {call})") };
                let guest = wasm::module(&format!(
                    r#"(module
                      (import "{module}" "{function}" (func $f (param {}) {result}))
                      (memory (export "memory") 1)
                      (func (export "proxy_abi_version_0_2_1"))
                      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                        {call} (i32.const 0)))"#,
                    params.join(" ")
                ));
                if module == "wasi_unstable" && index > 0 {
                    continue;
                }
                let name = format!(
                    "{}-{index}{}",
                    function.replace('_', "-"),
                    if module == "wasi_unstable" { "-u" } else { "" }
                );
                setup = setup
                    .service(&format!("name: {name}, basePath: /{name}, targets: ['builtin:echo']"))
                    .plugin(&name, guest, &format!("services: [{name}], timeout: 300ms"));
                names.push(name);
            }
        }
    }
    let gateway = setup.start();
    for name in names {
        let request = format!("GET /{name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let status = ask(gateway.addr, request).status;
        assert!([200, 503].contains(&status), "{name}: {status}");
    }
    is_well(&gateway);
    assert!(!gateway.log().contains("it could not be loaded"), "{}", gateway.log());
}

#[test]
fn a_plugin_of_json_is_ended_in_whatever_function_it_goes_wrong() {
    let spin = "(loop $for_ever (br $for_ever))";
    let plugin = |functions: &str| {
        let has = |name: &str| functions.contains(&format!("\"{name}\""));
        let execute = if has("execute") {
            ""
        } else {
            r#"(func (export "execute") (param i32 i32) (result i64) (i64.const 0x2000000010))"#
        };
        let alloc = if has("alloc") {
            ""
        } else {
            r#"(func (export "alloc") (param i32) (result i32) (i32.const 1024))"#
        };
        wasm::module(&format!(
            r#"(module (memory (export "memory") 4)
              (data (i32.const 16) "{{\"modified\":false,\"continue\":true}}")
              {execute} {alloc} {functions})"#
        ))
    };
    let output = "(i64.const 0x2200000010)";
    let execute = format!(r#"(func (export "execute") (param i32 i32) (result i64) {output})"#);
    let chunk = |name: &str, body: &str| {
        format!(
            r#"{execute} (func (export "{name}") (param i32 i32 i32 i32) (result i64) {body}
               (i64.const 0))"#
        )
    };
    for wrong in [spin, "unreachable"] {
        let allocating = format!(
            r#"{execute} (func (export "alloc") (param i32) (result i32) {wrong} (i32.const 1024))"#
        );
        let executing = format!(
            r#"(func (export "execute") (param i32 i32) (result i64) {wrong} (i64.const 0))"#
        );
        for (functions, keys, status) in [
            (executing, "", 503),
            (allocating, "", 503),
            (format!(r#"{execute} (func (export "init") {wrong})"#), "", 503),
            (format!(r#"{execute} (func (export "_initialize") {wrong})"#), "", 503),
            (format!(r#"{execute} (func $start {wrong}) (start $start)"#), "", 503),
            (format!(r#"{execute} (func (export "on_tick") {wrong})"#), ", tick: 1s", 200),
            (format!(r#"{execute} (func (export "cleanup") {wrong})"#), "", 200),
            (chunk("on_request_chunk", wrong), ", body: stream", 503),
            (
                format!(
                    r#"{} (func (export "on_stream_open") (param i32 i32 i32) {wrong})"#,
                    chunk("on_request_chunk", "")
                ),
                ", body: stream",
                503,
            ),
            (
                format!(
                    r#"{} (func (export "on_stream_close") (param i32) {wrong})"#,
                    chunk("on_request_chunk", "")
                ),
                ", body: stream",
                200,
            ),
        ] {
            let gateway = guarded(plugin(&functions), &format!(", failureMode: closed{keys}"));
            for _ in 0..3 {
                let got = crate::support::post(gateway.addr, "/guarded", "body").status;
                assert_eq!(got, status, "{functions}: {}", gateway.log());
                is_well(&gateway);
            }
        }
    }
}

#[test]
fn a_handler_is_ended_in_whatever_function_it_goes_wrong() {
    let spin = "(loop $for_ever (br $for_ever))";
    let handler = |request: &str, response: &str, more: &str| {
        wasm::module(&format!(
            r#"(module (memory (export "memory") 1)
              (func (export "handle_request") (result i64) {request} (i64.const 1))
              (func (export "handle_response") (param i32 i32) {response}) {more})"#
        ))
    };
    for wrong in [spin, "unreachable", "(drop (i32.load (i32.const -1)))"] {
        for (module, status) in [
            (handler(wrong, "", ""), 503),
            (handler("", wrong, ""), 503),
            (handler("", "", &format!(r#"(func (export "_initialize") {wrong})"#)), 503),
            (handler("", "", &format!(r#"(func (export "_start") {wrong})"#)), 503),
            (handler("", "", &format!("(func $start {wrong}) (start $start)")), 503),
        ] {
            let gateway = guarded(module, "");
            for _ in 0..3 {
                assert_eq!(get(gateway.addr, "/guarded").status, status, "{wrong}");
                is_well(&gateway);
            }
        }
    }
}
