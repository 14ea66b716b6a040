//! See `src/http2_frames.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| odin_fuzz::http2_frames::run(input));
