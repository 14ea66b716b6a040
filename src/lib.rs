//! Odin, an API gateway that runs WebAssembly plugins on every request.
//!
//! The modules stand in the order in which a request meets them; ARCHITECTURE.md tells the story.

// every bound, with its reason
pub mod limits;
// what can go wrong, as values
pub mod error;
// -- data plane: on a worker; never blocks, locks or reads a file
// the version-neutral heads, fields and bodies
pub mod message;
// buffers that a worker reuses
pub mod buffer;
// TCP and Unix sockets, split in halves
pub mod stream;
// deadlines that cost nothing until they fire
pub mod deadline;
// bytes to messages and back
pub mod http1;
pub mod plugin;
// -- control plane: its own thread; may block, allocate, log
pub mod control;
