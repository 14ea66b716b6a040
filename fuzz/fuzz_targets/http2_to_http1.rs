//! See `src/http2_to_http1.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| odin_fuzz::http2_to_http1::run(input));
