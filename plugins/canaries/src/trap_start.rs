//! A module that traps while it starts, before any of its own functions is called.

#![cfg(target_arch = "wasm32")]
#![expect(unsafe_code, reason = "exported functions are unsafe attributes")]

canary::export_unchanged!();

#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    std::process::abort();
}
