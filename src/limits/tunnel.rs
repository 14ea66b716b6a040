//! Bounds of tunnels: connections, or streams, that go on with another protocol than HTTP.

use std::time::Duration;

/// For a tunnel through which nothing passes either way. `server.timeouts.tunnel`. What HAProxy's
/// documentation has for `timeout tunnel` and Envoy for a stream that is idle is an hour and five
/// minutes; most WebSockets have a ping every minute or never.
pub const TUNNEL_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// The same once one side has said that it sends no more: the other one says what it still has to
/// say, or has not noticed.
pub const TUNNEL_HALF_CLOSED_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that pass at a stretch, after which other tasks of the worker have a turn.
pub const TUNNEL_STRETCH_BYTES: u64 = 1024 * 1024;
/// For the last frame of a tunnel that the gateway ends to be taken.
pub const TUNNEL_FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long before the process is cut tunnels that are still open end, if there is so much.
pub const TUNNEL_DRAIN_MARGIN: Duration = Duration::from_secs(2);
/// Most entries of `services[].upgrades`.
pub const UPGRADES_MAX: usize = 16;
/// Longest of them, in bytes.
pub const UPGRADE_BYTES_MAX: usize = 64;
