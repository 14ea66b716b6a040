//! HTTP/1 (RFC 9112): bytes to the values of [`crate::http::message`] and back.
//!
//! `lines`, `scan`, `head`, `body` and `encode` are sans-I/O: they see byte slices, hold no socket
//! and know no time, so that they can be tested by splitting their input at every byte. `receive`
//! and `send` put them on a stream. What RFC 9112 calls ambiguous is refused, never repaired: a
//! request that two readers could frame differently does not reach an origin.

pub mod lines;
pub mod scan;
pub mod head;
pub mod body;
pub mod encode;
pub mod receive;
pub mod send;
