//! HTTP/2 (RFC 9113), without I/O: bytes and the time go in, events and bytes come out.
//!
//! `frame.rs` knows what a frame looks like, `hpack.rs` how fields are compressed, `head.rs` what
//! makes a head well-formed, `connection.rs` what a connection does with all of them. The same
//! connection serves both roles. Who owns sockets and tasks stands elsewhere (`downstream/h2.rs`,
//! `upstream/h2.rs`).

pub mod connection;
pub mod frame;
pub mod head;
pub mod hpack;
pub mod incoming;
