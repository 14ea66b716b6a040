//! The origin side: which endpoint gets a request, and over which connection.

pub mod admission;
pub mod call;
pub mod cluster;
pub mod connect;
pub mod counts;
pub mod echo;
pub mod h1;
pub mod pool;
pub mod targets;
pub mod tls;
pub mod tries;
