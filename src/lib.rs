//! Odin, an API gateway that runs WebAssembly plugins on every request.
//!
//! A folder is a room. The rooms stand in the order in which they know one another: each knows
//! those above it in this file, none below it (`tests/tidy.rs` holds that). ARCHITECTURE.md tells
//! the story.

// -- what everything stands on
// every bound, with its reason
pub mod limits;
// what can go wrong, as values
pub mod error;
// numbers and dates as text
pub mod text;
// how long things took, counted in little memory
pub mod durations;
// how often something is done: pauses that double, so many in a second
mod throttle;
// files: which are read, how one takes another's place
pub mod files;
// -- data plane: on a worker; never blocks, locks or reads a file
// bytes: sockets, TLS, buffers, deadlines, the runtime
pub mod io;
// the protocol: messages, bodies, HTTP/1
pub mod http;
// the origin side: endpoints, connections, their pool
pub mod upstream;
// the plugins' shared state, in memory or in Redis
pub mod kv;
// which service: the normal form of a path, hosts, base paths, conditions
pub mod route;
// one response of several: what to ask, and where the answers go
pub mod aggregate;
// what is told of an exchange: its line in the access log, its place in a trace
pub mod trace;
// the plugin chain
pub mod plugin;
// the border: what the control plane publishes and workers read
pub mod snapshot;
// one request, one response: calls what stands above, in order
pub mod exchange;
// the client side: listeners, one connection
pub mod downstream;
// one pinned thread: its life, and what the control plane asks of it
pub mod worker;
// -- control plane: its own thread; may block, allocate, log
pub mod control;
