//! See `src/kv_ops.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| odin_fuzz::kv_ops::run(input));
