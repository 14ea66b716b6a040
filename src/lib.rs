//! Odin, an API gateway that runs WebAssembly plugins on every request.
//!
//! The modules stand in the order in which a request meets them; ARCHITECTURE.md tells the story.

pub mod limits;
pub mod message;
// -- data plane: on a worker; never blocks, locks or reads a file
pub mod plugin;
// -- control plane: its own thread; may block, allocate, log
pub mod control;
