//! See `src/resp_reply.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| odin_fuzz::resp_reply::run(input));
