//! A module whose `init` never returns.

#![cfg(target_arch = "wasm32")]
#![expect(unsafe_code, reason = "exported functions are unsafe attributes")]

canary::export_unchanged!();

#[unsafe(no_mangle)]
extern "C" fn init() {
    loop {
        std::hint::spin_loop();
    }
}
