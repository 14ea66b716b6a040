//! The control plane: one thread (the process's first) that may block, allocate and log.
//!
//! It reads the configuration, compiles it into snapshots, starts the workers and publishes to
//! them, serves the admin API and handles signals. Workers depend on nothing in here.

// YAML to a `Config`, or all errors at once
pub mod config;
// `Config` to a `Snapshot`: addresses resolved, plugins compiled
pub mod compile;
// modules of other machines: fetched, checked, kept
pub mod modules;
// a configuration tried without a start
pub mod check;
// how the gateway that runs is
pub mod healthcheck;
mod courtesy;
// what each plugin may reach: hosts, files, shared state
pub mod reach;
// listeners' certificates and sessions
pub mod edge;
// the sockets that the process listens on
pub mod sockets;
// how many descriptors there are, and how many of them clients may have
pub mod descriptors;
// how much of the machine's time the process may have
mod quota;
// many gateways, one configuration
pub mod fleet;
// worker threads: started, messaged, awaited
pub mod workers;
// changes while traffic goes on
pub mod reload;
// targets: checked, watched over, drained
pub mod targets;
// files that change on disk
pub mod watch;
// whom to trust when an origin is called by TLS
pub mod trust;
// what the workers have counted, as Prometheus reads it
pub mod metrics;
// the same at a glance
pub mod status;
// spans on their way to a collector
pub mod otlp;
// the admin API
pub mod admin;
// the thread that writes the access log
pub mod access_log;
// where log lines go
pub mod log;
// another binary in the place of this one
pub mod upgrade;
// what systemd, or whoever else watches the process, is told
pub mod supervisor;
// what a command says on its standard streams
pub mod terminal;
// completions for shells, manual pages
pub mod manual;
// what ends, upgrades, reloads it
mod signals;
// from a configuration to a running gateway to its end
pub mod process;
