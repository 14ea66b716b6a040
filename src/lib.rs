//! Odin, an API gateway that runs WebAssembly plugins on every request.
//!
//! The modules stand in the order in which a request meets them; ARCHITECTURE.md tells the story.

// every bound, with its reason
pub mod limits;
// what can go wrong, as values
pub mod error;
// -- data plane: on a worker; never blocks, locks or reads a file
// one pinned thread and what its requests share
pub mod worker;
// accept, cap, back off
pub mod listener;
// connections that go on in the next process
pub mod handover;
// one downstream connection: keep-alive, timeouts
pub mod connection;
// one request, one response: calls what follows, in order
pub mod exchange;
// which service: the normal form of a path, base paths
pub mod route;
// the plugin chain
pub mod plugin;
// the origin side: endpoints, connections, their pool
pub mod upstream;
// one response of several: what to ask, and where the answers go
pub mod aggregate;
// body bytes both ways
pub mod relay;
// responses that the gateway makes itself
pub mod respond;
// the target that needs no origin
pub mod echo;
// one line for each request
pub mod access_log;
// its place in a trace, what it was made of
pub mod trace;
// the border: what the control plane publishes and workers read
pub mod snapshot;
// -- what they are made of
// the version-neutral heads, fields and bodies
pub mod message;
// buffers that a worker reuses
pub mod buffer;
// TCP and Unix sockets, split in halves
pub mod stream;
// numbers and dates as text
pub mod text;
// deadlines that cost nothing until they fire
pub mod deadline;
// bytes to messages and back
pub mod http1;
// the plugins' shared state, in memory or in Redis
pub mod kv;
// -- control plane: its own thread; may block, allocate, log
pub mod control;
