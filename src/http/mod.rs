//! The protocol: messages that know no version, bodies on their way, and HTTP/1.

pub mod cdn_loop;
pub mod coding;
pub mod compression;
pub mod connection;
pub mod cookie;
pub mod field_class;
pub mod grpc;
pub mod h1;
pub mod h2;
pub mod kept;
pub mod message;
pub mod relay;
pub mod respond;
pub mod trusted;
pub mod upgrade;
pub mod websocket;
