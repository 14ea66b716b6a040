//! See `src/http1_body.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| odin_fuzz::http1_body::run(input));
