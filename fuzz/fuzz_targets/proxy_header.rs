//! See `src/proxy_header.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| odin_fuzz::proxy_header::run(input));
