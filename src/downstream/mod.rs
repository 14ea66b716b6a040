//! The client side: who accepts, and one connection after that.

pub mod h1;
pub mod handover;
pub mod listener;
