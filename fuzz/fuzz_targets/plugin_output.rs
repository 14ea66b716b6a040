//! See `src/plugin_output.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| odin_fuzz::plugin_output::run(input));
