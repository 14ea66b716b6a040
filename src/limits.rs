//! Every bound of the gateway: the unit in the name, the reason beside it.
//!
//! Constants that an operator may want to move are defaults here and keys under `server.limits` or
//! `wasm` in the configuration; the others are fixed. Relations between them are asserted at
//! compile time at the end of the file.

use std::time::Duration;

// --- HTTP heads ---

/// Longest request or response head, start line and fields together. nginx gives 8 KiB lines and
/// 32 KiB in all, Envoy 60 KiB; 32 KiB holds the cookies that real browsers send.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Most fields of one head. Envoy's default.
pub const HEAD_FIELDS_MAX: usize = 100;
/// Longest request target. RFC 9110 section 4.1 asks for at least 8000.
pub const URI_BYTES_MAX: usize = 8 * 1024;
/// Most bytes of all the trailers of one message; they are read into memory.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// Longest line that gives a chunk's size, extensions included. Extensions are dropped; the bound
/// keeps a sender from hiding a body in them.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;

// --- bodies ---

/// Largest request body that is streamed through. `server.limits.bodyBytesMax`.
pub const BODY_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Largest body that is collected for plugins. `server.limits.pluginBodyBytesMax`.
pub const PLUGIN_BODY_BYTES_MAX: usize = 1024 * 1024;

/// An unread request body of at most so many bytes is read and dropped after an early response, so
/// that the connection can be kept; a longer one costs more than a new connection.
pub const DISCARD_BYTES_MAX: u64 = 64 * 1024;
/// How long, and how much, a connection that is to close goes on reading after its last response:
/// closing with unread bytes would reset it and could take the response away from the client.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// See [`LINGER_TIMEOUT`].
pub const LINGER_BYTES_MAX: usize = 1024 * 1024;

// --- buffers ---

/// Size of a pooled buffer: one read of a head or of a piece of a body. 16 KiB bodies in one read
/// measured 13 % cheaper than in two; more gains nothing on loopback.
pub const BUFFER_BYTES: usize = 16 * 1024;
/// Buffers that a worker keeps for reuse; more are freed. 1024 x 16 KiB = 16 MiB per worker.
pub const BUFFERS_KEPT_MAX: usize = 1024;

// --- connections ---

/// Downstream connections of one worker; beyond it a new one is closed at once. Each costs a file
/// descriptor here and up to one upstream. `server.limits.connectionsMax` divides over workers.
pub const CONNECTIONS_MAX: usize = 16 * 1024;
/// Idle upstream connections that a worker keeps for one endpoint.
pub const UPSTREAM_IDLE_MAX: usize = 128;
/// Length of the accept queue that a worker asks the kernel for (cut to net.core.somaxconn).
pub const BACKLOG: i32 = 4096;

/// Tries of one request: a cluster whose first endpoints refuse is given up after so many, so that
/// one request cannot probe a whole cluster that is down.
pub const TRIES_MAX: usize = 3;
/// Longest `X-Request-Id` of a client that is kept.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
/// Scratch memory of finished exchanges that a worker keeps: as many as run at once in a busy one.
pub const SCRATCH_KEPT_MAX: usize = 256;
/// Pause of a listener that cannot accept (no descriptor, no memory): connections wait in the
/// kernel's queue meanwhile, and the log is not flooded.
pub const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// How often idle upstream connections are looked at.
pub const POOL_SWEEP_INTERVAL: Duration = Duration::from_secs(1);

// --- times (defaults of the configuration) ---

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
/// How long an idle upstream connection is kept. Shorter than the 60 s to 75 s after which common
/// servers close theirs, so that we are the first to close.
pub const UPSTREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(55);
/// For exchanges in flight to end after SIGTERM. `server.drainTimeout`.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

const _: () = assert!(URI_BYTES_MAX < HEAD_BYTES_MAX);
const _: () = assert!(CHUNK_LINE_BYTES_MAX < BUFFER_BYTES);
