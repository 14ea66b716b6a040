//! Host functions called as no SDK would: `config.mode` says how. A module of its own, because it
//! imports all of them.
//!
//! The modes `wild-…` hand over addresses and lengths that are not in the memory, or hardly; each
//! goes on with an unchanged outcome if the host lets it. `http-…` call `config.url`.

#![cfg(target_arch = "wasm32")]
#![expect(unsafe_code, reason = "host functions are foreign, and the point is to misuse them")]

use std::cell::Cell;

use canary::{UNCHANGED, constant};

mod env {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        pub(super) safe fn log(level: i32, text: usize, len: usize);
        pub(super) safe fn get_config(key: usize, len: usize) -> u64;
        pub(super) safe fn read_file(path: usize, len: usize) -> u64;
        pub(super) safe fn http_call(request: usize, len: usize) -> u64;
        pub(super) safe fn metric_increment(name: usize, len: usize, delta: i64);
        pub(super) safe fn metric_record(name: usize, len: usize, value: i64);
        pub(super) safe fn kv_get(key: usize, len: usize) -> u64;
        pub(super) safe fn kv_set(key: usize, len: usize, v: usize, v_len: usize, ttl: i64) -> i32;
        pub(super) safe fn kv_incr(key: usize, len: usize, delta: i64, ttl: i64) -> i64;
        pub(super) safe fn kv_delete(key: usize, len: usize) -> i32;
        pub(super) safe fn kv_cas(
            key: usize,
            len: usize,
            old: usize,
            old_len: usize,
            new: usize,
            new_len: usize,
            ttl: i64,
        ) -> i32;
    }
}

thread_local! {
    /// Whether `alloc` is to trap: it is called while `http_call`'s answer is delivered.
    static TRAP_IN_ALLOC: Cell<bool> = const { Cell::new(false) };
}

#[unsafe(no_mangle)]
extern "C" fn alloc(size: usize) -> usize {
    if TRAP_IN_ALLOC.get() {
        std::process::abort();
    }
    vec![0u8; size.max(1)].leak().as_mut_ptr().expose_provenance()
}

#[unsafe(no_mangle)]
extern "C" fn execute(address: usize, len: usize) -> u64 {
    // SAFETY: the host wrote `len` bytes there, in a buffer that `alloc` made.
    let input = unsafe {
        std::slice::from_raw_parts(std::ptr::with_exposed_provenance::<u8>(address), len)
    };
    let input = String::from_utf8_lossy(input);
    let mode = string_after(&input, r#""mode":""#).unwrap_or_default();
    let url = string_after(&input, r#""url":""#).unwrap_or_default();
    match mode {
        "log-storm" => log_storm(),
        "http-trap" => http_trap(url),
        "http-storm" => http_storm(url),
        "http-garbage" => http_garbage(),
        "kv-flood" => kv_flood(),
        "metric-flood" => metric_flood(),
        _ => wild(mode),
    }
    constant(UNCHANGED)
}

fn string_after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(key)?;
    rest.split('"').next()
}

/// An address and a length for the kind of wildness that a mode is named after.
fn places() -> [(&'static str, usize, usize); 6] {
    let end = core::arch::wasm32::memory_size(0) * 65536;
    [
        ("past-end", end, 10),
        ("near-end", end - 5, 10),
        ("wraps", 0xffff_fff0, 0x20),
        ("huge", 1024, 0x7fff_ffff),
        ("negative", 1024, 0xffff_fff0),
        ("empty", end, 0),
    ]
}

/// `wild-<function>-<place>`: one call with that place as each of its arguments.
fn wild(mode: &str) {
    for (place, at, len) in places() {
        let Some(function) =
            mode.strip_prefix("wild-").and_then(|rest| rest.strip_suffix(place)?.strip_suffix('-'))
        else {
            continue;
        };
        match function {
            "log" => env::log(i32::MIN, at, len),
            "get_config" => drop(env::get_config(at, len)),
            "read_file" => drop(env::read_file(at, len)),
            "http_call" => drop(env::http_call(at, len)),
            "metric_increment" => env::metric_increment(at, len, i64::MIN),
            "metric_record" => env::metric_record(at, len, i64::MIN),
            "kv_get" => drop(env::kv_get(at, len)),
            "kv_set" => drop(env::kv_set(at, len, at, len, i64::MIN)),
            "kv_incr" => drop(env::kv_incr(at, len, i64::MAX, i64::MAX)),
            "kv_delete" => drop(env::kv_delete(at, len)),
            "kv_cas" => drop(env::kv_cas(at, len, at, len, at, len, i64::MAX)),
            _ => std::process::abort(),
        }
    }
}

fn on(text: &str) -> (usize, usize) {
    (text.as_ptr() as usize, text.len())
}

/// Ten thousand lines in one call.
fn log_storm() {
    for line in 0..10_000 {
        let text = format!("line {line} of the storm");
        let (at, len) = on(&text);
        env::log(2, at, len);
    }
}

fn request(url: &str) -> String {
    format!(r#"{{"method":"GET","url":"{url}"}}"#)
}

/// The host gets room for the answer from a guest that traps.
fn http_trap(url: &str) {
    TRAP_IN_ALLOC.set(true);
    let request = request(url);
    let (at, len) = on(&request);
    env::http_call(at, len);
}

/// Many calls one after another.
fn http_storm(url: &str) {
    let request = request(url);
    let (at, len) = on(&request);
    for _ in 0..1000 {
        env::http_call(at, len);
    }
}

/// Requests that are none, or that would break the wire.
fn http_garbage() {
    for text in [
        "",
        "{",
        "[]",
        r#"{"method":"GET"}"#,
        r#"{"method":"G ET","url":"http://127.0.0.1/"}"#,
        r#"{"method":"GET","url":"http://127.0.0.1/ HTTP/1.1\r\nX-Smuggled: 1\r\n\r\n"}"#,
        r#"{"method":"GET","url":"file:///etc/passwd"}"#,
        r#"{"method":"GET","url":"http://127.0.0.1/","headers":{"A":["b\r\nX-Smuggled: 1"]}}"#,
        r#"{"method":"GET","url":"http://127.0.0.1/","headers":{"Content-Length":["5"]}}"#,
        r#"{"method":"GET","url":"http://127.0.0.1/","timeoutMs":-1}"#,
    ] {
        let (at, len) = on(text);
        env::http_call(at, len);
    }
}

/// More shared state than there is room for.
fn kv_flood() {
    let value = "x".repeat(64 * 1024);
    let (v, v_len) = on(&value);
    for n in 0..4096 {
        let key = format!("flood-{n}");
        let (at, len) = on(&key);
        env::kv_set(at, len, v, v_len, 0);
    }
}

/// A new metric with each call of the function, under names of all kinds.
fn metric_flood() {
    for n in 0..10_000 {
        let name = format!("flood \"{n}\"\n{{a=\"b\"}}");
        let (at, len) = on(&name);
        env::metric_increment(at, len, 1);
    }
}
