//! The origin side: which endpoint gets a request, and over which connection.

pub mod admission;
pub mod balance;
pub mod budget;
pub mod call;
pub mod check;
pub mod cluster;
pub mod condition;
pub mod connect;
pub mod connection;
pub mod counts;
pub mod echo;
pub mod ejection;
pub mod h1;
pub mod h2;
pub mod latency;
pub mod policy;
pub mod pool;
#[cfg(test)]
pub(crate) mod simulation;
pub mod slow_start;
pub mod targets;
pub mod tls;
pub mod tries;
