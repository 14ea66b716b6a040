//! See `src/fleet_document.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| odin_fuzz::fleet_document::run(input));
