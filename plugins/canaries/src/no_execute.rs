//! A module without `execute`: refused when it is loaded.

#![cfg(target_arch = "wasm32")]

canary::export_alloc!();
