//! A module that works, and traps when it is asked to clean up.

#![cfg(target_arch = "wasm32")]
#![expect(unsafe_code, reason = "exported functions are unsafe attributes")]

canary::export_unchanged!();

#[unsafe(no_mangle)]
extern "C" fn cleanup() {
    std::process::abort();
}
