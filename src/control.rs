//! The control plane: one thread (the process's first) that may block, allocate and log.
//!
//! It reads the configuration, compiles it into snapshots, starts the workers and publishes to
//! them, serves the admin API and handles signals. Workers depend on nothing in here.

// YAML to a `Config`, or all errors at once
pub mod config;
// `Config` to a `Snapshot`: addresses resolved, plugins compiled
pub mod compile;
// what each plugin may reach: hosts, files, shared state
pub mod reach;
// worker threads: started, messaged, awaited
pub mod fleet;
// GET /healthz
pub mod admin;
// where log lines go
pub mod log;
// from a configuration to a running gateway to its end
pub mod process;
