//! Bounds of the admin API and of the changes that it asks for.

use std::time::Duration;

use super::PLUGIN_MODULE_BYTES_MAX;

/// Changes of the configuration that wait for the one being made. People ask for them one by one; a
/// script that asks faster is told so.
pub const RELOADS_WAITING_MAX: usize = 64;
/// A change of the admin API waits so long for its turn, then its caller is told for what it waits.
pub const RELOAD_TURN_TIMEOUT: Duration = Duration::from_secs(10);
/// Changes that the admin API tells of, the latest.
pub const RELOADS_REMEMBERED: usize = 100;
/// Bytes of a body that the admin API takes, uploads apart: a plugin's `config` is the largest.
pub const ADMIN_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Connections of the admin API at once, each a descriptor less for the data plane. Where those are
/// few, one in [`ADMIN_DESCRIPTORS_SHARE`] of them, but [`ADMIN_CONNECTIONS_MIN`].
pub const ADMIN_CONNECTIONS_MAX: usize = 64;
/// See [`ADMIN_CONNECTIONS_MAX`].
pub const ADMIN_CONNECTIONS_MIN: usize = 8;
/// See [`ADMIN_CONNECTIONS_MAX`].
pub const ADMIN_DESCRIPTORS_SHARE: usize = 8;
/// From an answer of the admin API to the end of the next head: scrapers ask every 15 or 30 s.
pub const ADMIN_IDLE_TIMEOUT: Duration = Duration::from_secs(35);
/// Before the admin API accepts again after it could not.
pub const ADMIN_ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// For the whole body of one call: an upload of 64 MiB over a slow line.
pub const ADMIN_BODY_TIMEOUT: Duration = Duration::from_secs(300);
/// How long and how far the admin API reads on in a body that it has refused, so that the client
/// sees the answer instead of a reset: as far as the largest upload.
pub const ADMIN_LINGER_TIMEOUT: Duration = Duration::from_secs(5);
/// See [`ADMIN_LINGER_TIMEOUT`].
pub const ADMIN_LINGER_BYTES_MAX: u64 = PLUGIN_MODULE_BYTES_MAX as u64;
/// Who may watch `/api/events` at once: the dashboards of a team. Each is sent some 10 KiB a
/// second.
pub const EVENTS_WATCHERS_MAX: usize = 32;
/// Between two events: rates per second need no finer, and a worker copies its counts for each.
pub const EVENTS_INTERVAL: Duration = Duration::from_secs(1);
/// For what the admin API sends to be taken, as by a laptop that sleeps; for a body's next bytes.
pub const ADMIN_STALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Metrics of fewer bytes are sent as they are: a frame on the wire is no larger.
pub const METRICS_GZIP_BYTES_MIN: usize = 1400;
/// For the gateway to answer `odin healthcheck`: less than whoever runs it waits (Docker: 30 s).
pub const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(5);
