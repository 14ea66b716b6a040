//! The client side: who accepts, and one connection after that.

mod body_rate;
pub mod frontend;
pub mod h1;
mod h2;
pub mod handover;
mod linger;
pub mod listener;
mod serve;
