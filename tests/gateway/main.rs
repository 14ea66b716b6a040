//! The gateway from outside: one file per behaviour, each against a real process, a scripted
//! origin and a client that writes raw bytes.
//!
//! `ODIN_TEST_IO_DRIVER` (`auto`, `io_uring`, `epoll`) chooses the driver that is tested.
#![expect(unreachable_pub, reason = "nothing of this crate is public: `pub` is for its modules")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and its threads may wait for one another"
)]

mod author_cli;
mod author_cures;
mod author_page;
mod author_project;
mod author_run;
mod author_traps;
mod admin;
mod admin_bounds;
mod aggregation;
mod bodies;
mod busy;
mod canaries;
mod closing;
mod codings;
mod compression;
mod config_cli;
mod connections;
mod control_plane;
mod cors;
mod dashboard;
mod defects;
mod deploy;
mod drain;
mod echo;
mod edge;
mod errors;
mod example_matrix;
mod example_pairs;
mod explain;
mod filters;
mod fleet;
mod framing;
mod headers;
mod hops;
mod hostcalls;
mod http2;
mod http2_floods;
mod http2_frames;
mod http2_heads;
mod http2_origins;
mod http2_refusals;
mod http2_secured;
mod keepalive;
mod leaving;
mod limits;
mod logs;
mod metrics;
mod metrics_docs;
mod mirrors;
mod modules;
mod names;
mod openapi;
mod operations;
mod origins;
mod outputs;
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
mod reload;
mod reload_rules;
mod routes;
mod routing;
mod sdks;
mod splits;
mod starting;
mod streaming;
mod support;
mod ticks;
mod timeouts;
mod tls;
mod tracing;
mod upgrade;
mod watch;
mod websocket;
