//! The least that a plugin can do: what a call costs without any work in it.

#![cfg(target_arch = "wasm32")]

canary::export_unchanged!();
