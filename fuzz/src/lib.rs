//! The bodies of the fuzz targets: one function from bytes to nothing each, which panics where
//! something does not hold.
//!
//! `fuzz_targets/` hands them to libFuzzer; tests/fuzz.rs replays the seeds through them on every
//! run of the tests, so that none of them rots.

pub mod aggregation;
pub mod config;
pub mod fleet_document;
mod guest;
pub mod host_functions;
pub mod http1_body;
pub mod http1_head;
pub mod http2_frames;
pub mod http2_to_http1;
pub mod kv_ops;
pub mod plugin_output;
pub mod proxy_header;
pub mod resp_reply;

/// A target: its name and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target. Its seeds are in `seeds/NAME`.
pub const TARGETS: [Target; 12] = [
    ("aggregation", aggregation::run),
    ("config", config::run),
    ("fleet_document", fleet_document::run),
    ("host_functions", host_functions::run),
    ("http1_body", http1_body::run),
    ("http1_head", http1_head::run),
    ("http2_frames", http2_frames::run),
    ("http2_to_http1", http2_to_http1::run),
    ("kv_ops", kv_ops::run),
    ("plugin_output", plugin_output::run),
    ("proxy_header", proxy_header::run),
    ("resp_reply", resp_reply::run),
];
