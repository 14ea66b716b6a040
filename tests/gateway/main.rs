//! The gateway from outside: one file per behaviour, each against a real process, a scripted
//! origin and a client that writes raw bytes.
//!
//! `ODIN_TEST_IO_DRIVER` (`auto`, `io_uring`, `epoll`) chooses the driver that is tested.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and its threads may wait for one another"
)]

mod author_cli;
mod aggregation;
mod bodies;
mod config_cli;
mod connections;
mod defects;
mod drain;
mod echo;
mod errors;
mod framing;
mod headers;
mod hostcalls;
mod keepalive;
mod limits;
mod peers;
mod pipelining;
mod plugin_examples;
mod plugin_host;
mod plugin_limits;
mod plugin_output;
mod plugin_types;
mod plugins;
mod products;
mod pooling;
mod routing;
mod support;
mod timeouts;
