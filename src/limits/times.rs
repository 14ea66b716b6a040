//! Bounds of waiting: defaults of the configuration, and what goes with them.

use std::time::Duration;

/// For a request head to arrive whole, from its first byte (slowloris).
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// For the next request of a kept-alive connection to begin. nginx's keepalive_timeout.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Between two reads or writes of a body that make progress.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// For a connection to an upstream endpoint.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// From the sent request to the first byte of the response head.
pub const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(30);
/// From the routed request to the relayed response. `services[].timeout`.
pub const SERVICE_TIMEOUT: Duration = Duration::from_secs(60);
/// For a message that begins when its exchange is out of time, or is nearly: most often the
/// response that says so.
pub const LATE_MESSAGE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an idle upstream connection is kept. Shorter than the 60 s to 75 s after which common
/// servers close theirs, so that we are the first to close.
pub const UPSTREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(55);
/// For exchanges in flight to end after SIGTERM. `server.drainTimeout`.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

/// For the new process of a binary upgrade to be ready. `server.upgradeTimeout`. It compiles all
/// plugins if the cache is off or the new version makes other code: a large one in Go takes 5 s.
pub const UPGRADE_TIMEOUT: Duration = Duration::from_secs(60);
/// For a new process that is ready and was told to serve to do so: it only begins to accept.
pub const UPGRADE_SERVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest message between the two processes: a reason, cut to 4 KiB, escaped.
pub const UPGRADE_MESSAGE_BYTES_MAX: usize = 32 * 1024;
/// Names of failing plugins and services that the new process is told: they are part of one
/// environment variable, of which the kernel takes 128 KiB. Others count as new failures.
pub const UPGRADE_FAILING_MAX: usize = 256;
/// Least rate of a request's body, in bytes per second of waiting for it,
/// `server.limits.bodyRateMin`: a modem of 1990 is faster, a client that sends a byte now and then
/// to keep a connection busy is not. Apache's `MinRate` is 500, after 20 s; nginx has none.
pub const BODY_RATE_MIN: u64 = 100;
/// For a body that is slower than that, or `timeouts.body` if that is longer: links that fail for
/// some seconds are not an attack.
pub const BODY_RATE_GRACE: Duration = Duration::from_secs(10);
/// How often the sockets of exchanges that wait are asked whether the client is still there. The
/// first time after one to two of them, so that quick exchanges never are, and within a second.
pub const WATCH_INTERVAL: Duration = Duration::from_millis(400);
/// Sockets that are asked at a stretch: poll(2) takes some 0.1 us for each. With more, a round
/// takes longer: 16,384 of them 0.3 s.
pub const WATCHED_AT_ONCE: usize = 1024;
/// `services[].timeout: off`: ten years, which fit into every clock.
pub const SERVICE_TIMEOUT_OFF: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
