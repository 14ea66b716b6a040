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

// --- plugins ---

/// Wall time of one call of a plugin. `wasm.timeout`.
pub const PLUGIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Most memory of one instance, in pages of 64 KiB: 6.4 MB. `wasm.maxMemoryPages`.
pub const PLUGIN_MEMORY_PAGES_MAX: u32 = 100;
/// Instances of one plugin over all workers. `wasm.maxInstances`.
pub const PLUGIN_INSTANCES_MAX: u32 = 10;
/// Instances of one plugin that each worker makes before the first request: two, so that a trap in
/// one leaves another while the replacement is made.
pub const PLUGIN_INSTANCES_PREMADE: u32 = 2;
/// Instances of all plugins in the process. Each costs 3-4 memory maps and each stack 2 more, of
/// the 65530 that vm.max_map_count allows by default; past it even malloc fails.
pub const PLUGIN_INSTANCES_PROCESS_MAX: u32 = 4096;
/// How often the epoch advances: the longest time that a computing plugin keeps a worker.
pub const PLUGIN_EPOCH_TICK: Duration = Duration::from_millis(1);
/// How long a computing plugin sleeps when a tick has passed: the timer's granularity.
pub const PLUGIN_YIELD: Duration = Duration::from_millis(1);
/// Stack of a guest. Deeper recursion traps. wasmtime's default.
pub const PLUGIN_STACK_BYTES: usize = 512 * 1024;
/// Stack on which a guest and the host functions it calls run; host functions have the difference.
pub const PLUGIN_FIBER_STACK_BYTES: usize = 1024 * 1024;
/// Largest module. Go's standard toolchain makes 2-10 MB.
pub const PLUGIN_MODULE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// First size of an instance's input buffer; it doubles from there. A request without a body fits.
pub const PLUGIN_INPUT_BYTES_MIN: u32 = 4 * 1024;
/// Largest output of one call. A body of [`PLUGIN_BODY_BYTES_MAX`] in base64 or with most of its
/// bytes escaped fits.
pub const PLUGIN_OUTPUT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Deepest nesting of an output. The parser recurses; serde_json's limit.
pub const PLUGIN_JSON_DEPTH_MAX: usize = 128;
/// Most metadata of one exchange, as JSON. It is written into the input of every later plugin.
pub const PLUGIN_METADATA_BYTES_MAX: usize = 16 * 1024;
/// Longest log line; the rest is cut.
pub const PLUGIN_LOG_LINE_BYTES_MAX: usize = 4 * 1024;
/// Log lines of one plugin on one worker per second; more are counted and dropped.
pub const PLUGIN_LOG_LINES_PER_SECOND: u32 = 200;
/// Log lines on their way from the workers to the log; more are dropped.
pub const PLUGIN_LOG_QUEUE_LINES: usize = 4096;
/// Longest key of `get_config`.
pub const PLUGIN_CONFIG_KEY_BYTES_MAX: usize = 1024;
/// Most random bytes of one `random_get`: about 0.1 ms of work. Go asks for up to 64 KiB.
pub const PLUGIN_RANDOM_BYTES_MAX: usize = 64 * 1024;
/// First wait before a plugin whose instantiation failed is tried again; doubles each time.
pub const PLUGIN_BACKOFF_MIN: Duration = Duration::from_millis(100);
/// Longest such wait.
pub const PLUGIN_BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Capacity of a kept scratch buffer; a larger one (a body went through) is freed after its call.
pub const PLUGIN_SCRATCH_BYTES_KEPT: usize = 256 * 1024;
/// Scratch buffers that a worker keeps.
pub const PLUGIN_SCRATCH_KEPT_MAX: usize = 64;

const _: () = assert!(URI_BYTES_MAX < HEAD_BYTES_MAX);
const _: () = assert!(CHUNK_LINE_BYTES_MAX < BUFFER_BYTES);
const _: () = assert!(PLUGIN_STACK_BYTES + 256 * 1024 <= PLUGIN_FIBER_STACK_BYTES);
const _: () = assert!(PLUGIN_OUTPUT_BYTES_MAX >= 6 * PLUGIN_BODY_BYTES_MAX);
