//! A module that counts its instances, from `init` to `cleanup`, and says on each request which
//! code and which configuration it has: for soaks of reloads. A copy in which the last digit of
//! `code-0` is another one is another version.

#![cfg(target_arch = "wasm32")]
#![expect(unsafe_code, reason = "exported functions are unsafe attributes")]

use std::cell::Cell;

use canary::pack;

canary::export_alloc!();

mod env {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        pub(super) safe fn metric_increment(name: usize, len: usize, delta: i64);
    }
}

thread_local! {
    static HAS_ENDED: Cell<bool> = const { Cell::new(false) };
    /// The output of the last call.
    static OUTPUT: Cell<String> = const { Cell::new(String::new()) };
}

fn count(name: &str) {
    env::metric_increment(name.as_ptr() as usize, name.len(), 1);
}

#[unsafe(no_mangle)]
extern "C" fn init() {
    count("instances_started");
}

#[unsafe(no_mangle)]
extern "C" fn cleanup() {
    count(if HAS_ENDED.replace(true) { "instances_ended_twice" } else { "instances_ended" });
}

#[unsafe(no_mangle)]
extern "C" fn execute(address: usize, len: usize) -> u64 {
    // SAFETY: the host wrote `len` bytes there, in a buffer that `alloc` made.
    let input = unsafe {
        std::slice::from_raw_parts(std::ptr::with_exposed_provenance::<u8>(address), len)
    };
    let input = String::from_utf8_lossy(input);
    let version = input.split_once(r#""version":""#).map_or("", |(_, rest)| rest);
    let version = version.split('"').next().unwrap_or_default();
    let code = std::hint::black_box("code-0");
    let output = format!(
        r#"{{"modified":true,"continue":true,"response":{{"headers":{{"X-Code":["{code}"],"X-Version":["{version}"]}}}}}}"#
    );
    let packed = pack(output.as_ptr() as usize, output.len());
    // The host reads it before it calls again.
    OUTPUT.set(output);
    packed
}
