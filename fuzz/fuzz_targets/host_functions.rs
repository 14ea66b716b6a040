//! See `src/host_functions.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| odin_fuzz::host_functions::run(input));
