//! Bytes: sockets, TLS, buffers, deadlines, and the runtime that moves them.

pub(crate) mod ahead;
pub mod buffer;
pub mod deadline;
pub mod driver;
pub mod rooms;
pub mod stream;
pub mod tls;
