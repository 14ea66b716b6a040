//! Every bound of the gateway: the unit in the name, the reason beside it.
//!
//! Constants that an operator may want to move are defaults here and keys under `server.limits` or
//! `wasm` in the configuration; the others are fixed. Relations between them are asserted at
//! compile time at the end of the file. Those of the admin API, of content codings, of listeners
//! and TLS, of HTTP/2, of the plugins' shared state, of what plugins hand over, of times, of
//! traces, of tunnels and of what is under way at origins stand in `limits/`.

mod admin;
mod coding;
mod edge;
mod filters;
mod fleet;
mod http2;
mod kv;
mod modules;
mod output;
mod route;
mod times;
mod trace;
mod tunnel;
mod upstream;

use std::time::Duration;

use crate::throttle::Backoff;

pub use admin::*;
pub use coding::*;
pub use edge::*;
pub use filters::*;
pub use fleet::*;
pub use http2::*;
pub use kv::*;
pub use modules::*;
pub use output::*;
pub use route::*;
pub use times::*;
pub use trace::*;
pub use tunnel::*;
pub use upstream::*;

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

/// Empty lines that are passed over before one request. Clients that send any send one; the bound
/// keeps who sends nothing else from keeping a worker busy.
pub const BLANK_LINES_MAX: u8 = 16;

// --- bodies ---

/// Largest request body that is streamed through. `server.limits.bodyBytesMax`.
pub const BODY_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Largest body that is collected for plugins. `server.limits.pluginBodyBytesMax`.
pub const PLUGIN_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of bodies that one worker holds in memory at once, whoever collects them: a hundred of the
/// largest size, and little beside what a machine has for each core.
/// `server.limits.bufferedBytesMax`.
pub const BUFFERED_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Largest value of `server.limits.bufferedBytesMax`: beyond it the machine's memory is the bound.
pub const BUFFERED_BYTES_CEILING: usize = 64 * 1024 * 1024 * 1024;
/// `Retry-After` of a refusal for want of memory, in seconds: exchanges end within one, mostly.
pub const OVERLOAD_RETRY_AFTER: &str = "1";

/// An unread request body of at most so many bytes is read and dropped after an early response, so
/// that the connection can be kept; a longer one costs more than a new connection.
pub const DISCARD_BYTES_MAX: u64 = 64 * 1024;
/// How long a client must be silent that has taken its last response and had not sent all of its
/// request, before its connection is closed: a byte that comes later resets it.
pub const LINGER_QUIET: Duration = Duration::from_secs(2);
/// The longest that closing waits for a client: half a minute, as in nginx.
pub const LINGER_TIME_MAX: Duration = Duration::from_secs(30);
/// Most bytes of a request that are read and dropped behind its last response. Many clients read
/// their 413 only when they have sent everything; reading 64 MiB takes some 20 ms.
pub const LINGER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Of them, so many at a stretch: 60 us, which other requests of the worker wait.
pub const LINGER_STRETCH_BYTES: usize = 256 * 1024;
/// Between two such stretches.
pub const LINGER_PAUSE: Duration = Duration::from_millis(1);
/// Between two looks at how much of the response a client has taken that closes.
pub const LINGER_STEP: Duration = Duration::from_millis(20);

/// How often a request may come back to the gateway that has sent it on, before it is taken to go
/// in circles: a target, a call of an aggregation or of a plugin may lead to another service by the
/// gateway's own address, and each of them may be many requests in place of one.
pub const PASSES_MAX: usize = 2;

// --- buffers ---

/// Size of a pooled buffer: one read of a head or of a piece of a body. A body of 16 KiB with its
/// head in one read measured 20 % cheaper than in two.
pub const BUFFER_BYTES: usize = 18 * 1024;
/// Buffers that a worker keeps for reuse; more are freed. 1024 x 18 KiB = 18 MiB per worker.
pub const BUFFERS_KEPT_MAX: usize = 1024;

/// Most bytes of a body in one read, of bodies that keep filling those buffers: fewer and longer
/// reads and writes.
pub const READ_BYTES_MAX: usize = 64 * 1024;
/// Size of the buffers for such reads, with room for what frames a chunk of as much. What a peer
/// that stalls leaves untouched in a new one takes no memory.
pub const LARGE_BUFFER_BYTES: usize = READ_BYTES_MAX + 64;
/// As [`BUFFERS_KEPT_MAX`]: 64 x 64 KiB = 4 MiB per worker.
pub const LARGE_BUFFERS_KEPT_MAX: usize = 64;

/// How long a connection that waits for its next request keeps a read pending, and with it a
/// buffer. Waiting for readiness first costs an operation more for every request; who has asked
/// nothing for so long will not notice.
pub const WARM_TIME: Duration = Duration::from_secs(1);
/// Connections of a worker that do so at once: 64 x 18 KiB = 1.2 MiB per worker at most. Those
/// beyond wait for readiness at once.
pub const WARM_READS_MAX: usize = 64;

/// Idle upstream connections of a worker that read ahead, each with a buffer, so that what happens
/// to them is seen without asking the kernel at each reuse: 256 x 18 KiB = 4.6 MiB per worker at
/// most. Those beyond are asked about.
pub const READS_AHEAD_MAX: usize = 256;

// --- connections ---

/// Downstream connections of one worker; beyond it a new one is closed at once. Each costs a file
/// descriptor here and up to one upstream. `server.limits.connectionsMax` divides over workers.
pub const CONNECTIONS_MAX: usize = 16 * 1024;
/// Idle upstream connections that a worker keeps for one endpoint.
pub const UPSTREAM_IDLE_MAX: usize = 128;
/// Length of the accept queue that a worker asks the kernel for (cut to net.core.somaxconn).
pub const BACKLOG: i32 = 4096;

/// How long one address of a name is silent before the next one is tried beside it: what RFC 8305
/// section 5 recommends.
pub const CONNECT_ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Endpoints that one request tries: enough to find one that is there among several that are not,
/// few enough that one request cannot probe a whole cluster that is down. A connect costs little,
/// and `timeouts.connect` and the service's `timeout` bound the time.
pub const TRIES_MAX: usize = 8;
/// Interim (1xx) responses of one exchange; an origin that sends more never means to answer.
pub const INTERIM_MAX: usize = 16;
/// Longest `X-Request-Id` of a client that is kept.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
/// Random numbers that a worker takes from the kernel at once: some 2 us, once in 64 requests.
pub const RANDOM_NUMBERS_FETCHED: usize = 128;
/// Scratch memory of finished exchanges that a worker keeps: as many as run at once in a busy one.
pub const SCRATCH_KEPT_MAX: usize = 256;
/// Memory of finished futures that a worker keeps: that of as many exchanges, each with a phase or
/// a connection that is made.
pub const POOLED_FUTURES_KEPT_MAX: usize = 2 * SCRATCH_KEPT_MAX;
/// Pause of a listener that cannot accept (no descriptor, no memory): connections wait in the
/// kernel's queue meanwhile, and the log is not flooded.
pub const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// Connections that a worker accepts at a stretch before its other tasks have their turn.
pub const ACCEPTS_AT_ONCE: usize = 64;
/// For the runtime to let go of a listener that nobody waits for any more: one round of its driver.
pub const LISTENER_RELEASE: Duration = Duration::from_millis(2);
/// How long a worker that drains waits for handshakes that were under way: a round trip to most
/// clients. New ones are turned away meanwhile, and a stop takes so much longer.
pub const HANDSHAKES_TIMEOUT: Duration = Duration::from_millis(100);
/// How long a connection that has just come, or has just been answered, may send a request to a
/// worker that drains. A client that is busy on it has its answer by then, which tells it to go.
pub const DRAIN_IDLE_TIME: Duration = Duration::from_secs(1);
/// Idle connections that a worker hands to the next process at a stretch, about 0.5 ms.
pub const HANDOVERS_AT_ONCE: usize = 256;
/// How often idle upstream connections are looked at, and buffers that were not needed are freed.
pub const POOL_SWEEP_INTERVAL: Duration = Duration::from_secs(1);

// --- plugins ---

/// Wall time of one call of a plugin. `wasm.timeout`.
pub const PLUGIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Most memory of one instance, in pages of 64 KiB: 6.25 MiB. `wasm.maxMemoryPages`.
pub const PLUGIN_MEMORY_PAGES_MAX: u32 = 100;
/// Instances of one plugin over all workers. `wasm.maxInstances`.
pub const PLUGIN_INSTANCES_MAX: u32 = 10;
/// Instances of one plugin that each worker makes before the first request: two, so that a trap in
/// one leaves another while the replacement is made.
pub const PLUGIN_INSTANCES_PREMADE: u32 = 2;
/// Instances of all plugins in the process. Each costs 3-4 memory maps and each stack 2 more, of
/// the 65530 that vm.max_map_count allows by default; past it even malloc fails.
pub const PLUGIN_INSTANCES_PROCESS_MAX: u32 = 4096;
/// Fewest instances that the process starts with, where address space is short: some plugins on a
/// few workers.
pub const PLUGIN_INSTANCES_PROCESS_MIN: u32 = 4;
/// How often the epoch advances: the longest time that a computing plugin keeps a worker.
pub const PLUGIN_EPOCH_TICK: Duration = Duration::from_millis(1);
/// How long a computing plugin sleeps when a tick has passed: the timer's granularity.
pub const PLUGIN_YIELD: Duration = Duration::from_millis(1);
/// Most elements of a table: function pointers. Large Go programs have some ten thousand.
pub const PLUGIN_TABLE_ELEMENTS_MAX: usize = 64 * 1024;
/// Stack of a guest. Deeper recursion traps. wasmtime's default.
pub const PLUGIN_STACK_BYTES: usize = 512 * 1024;
/// Stack on which a guest and the host functions it calls run; host functions have the difference.
pub const PLUGIN_FIBER_STACK_BYTES: usize = 1024 * 1024;
/// Largest module. Go's standard toolchain makes 2-10 MB.
pub const PLUGIN_MODULE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Largest function of a module: toolchains make 30 KiB, an interpreter's loop some 300.
pub const PLUGIN_FUNCTION_BYTES_MAX: usize = 512 * 1024;
/// Most code of a module: Go's toolchain makes 2-6 MiB of it, a JavaScript engine 8.
pub const PLUGIN_CODE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// For the compilation of one module. A Go module of 10 MB takes some 5 s of one core.
pub const PLUGIN_COMPILE_TIMEOUT: Duration = Duration::from_secs(60);
/// Compilations that were given up and cannot be ended; beyond it no module is compiled.
pub const PLUGIN_COMPILES_LOST_MAX: usize = 2;
/// Uploaded modules that `wasm.pluginDir` may hold, all names together: 64 of 64 MiB are 4 GiB. Who
/// uploads must not fill the disk; which of them are still wanted only the operator knows.
pub const UPLOADS_KEPT_MAX: usize = 64;
/// First size of an instance's input buffer; it doubles from there. A request without a body fits.
pub const PLUGIN_INPUT_BYTES_MIN: u32 = 4 * 1024;
/// Longest log line; the rest is cut.
pub const PLUGIN_LOG_LINE_BYTES_MAX: usize = 4 * 1024;
/// Log lines of one plugin on one worker per second; more are counted and dropped.
pub const PLUGIN_LOG_LINES_PER_SECOND: u32 = 200;
/// Files and folders of sources that `odin-cli run --build` watches: far more than a plugin has,
/// far fewer than a home has.
pub const BUILD_SOURCES_MAX: usize = 4096;
/// How long no source must change before a build begins: an editor saves in some milliseconds.
pub const BUILD_QUIET: Duration = Duration::from_millis(20);
/// How long changes may go on before a build begins all the same.
pub const BUILD_BURST_MAX: Duration = Duration::from_millis(500);
/// Builds one after another, each because a source changed during the one before; then a pause
/// comes before each, so that a build that writes its own sources does not keep the machine busy.
pub const BUILDS_IN_A_ROW: u32 = 3;
/// That pause.
pub const BUILD_PAUSE: Duration = Duration::from_secs(2);
/// Lines that a guest wrote last and that stand in the text of its failure: a panic's are two.
pub const PLUGIN_LAST_WORDS_LINES: usize = 3;
/// Longest of them; the rest is cut, so that a failure stays one line of a log.
pub const PLUGIN_LAST_WORDS_LINE_BYTES: usize = 512;
/// Functions that the text of a failure names beside the one that failed: enough to find the way
/// from `execute` to it in a plugin, without the runtime's below it.
pub const PLUGIN_TRACE_CALLERS_MAX: usize = 5;
/// Longest of their names in characters (generic Rust has some of kilobytes); the rest is cut.
pub const PLUGIN_TRACE_NAME_CHARS_MAX: usize = 120;
/// Log lines on their way from the workers to the log; more are dropped.
pub const PLUGIN_LOG_QUEUE_LINES: usize = 4096;
/// Longest key of `get_config`.
pub const PLUGIN_CONFIG_KEY_BYTES_MAX: usize = 1024;
/// Values of `get_config` that an instance keeps track of: with the longest keys 1 MiB that does
/// not count as the guest's memory.
pub const PLUGIN_CONFIG_VALUES_KEPT_MAX: usize = 1024;
/// Most random bytes of one `random_get`: about 0.1 ms of work. Go asks for up to 64 KiB.
pub const PLUGIN_RANDOM_BYTES_MAX: usize = 64 * 1024;
/// Bytes that one `fd_write` takes; programs write the rest with further calls. Lines of one byte
/// each are about 0.2 ms of work.
pub const PLUGIN_WRITE_BYTES_MAX: usize = 64 * 1024;
/// Most pieces of one `fd_write`: Linux's IOV_MAX.
pub const PLUGIN_WRITE_VECTORS_MAX: usize = 1024;
/// Largest body of an `http_call`, either way: what a plugin may hold of an exchange too.
pub const PLUGIN_CALL_BODY_BYTES_MAX: usize = PLUGIN_BODY_BYTES_MAX;
/// Largest piece of guest memory that is taken for several small replies of host functions.
pub const PLUGIN_REPLY_CHUNK_BYTES: u32 = 64 * 1024;
/// Most hosts that one plugin's `config` may name. Each is looked up when the plugin is loaded.
pub const PLUGIN_ORIGINS_MAX: usize = 256;
/// How often the names of hosts that plugins and Redis use are looked up again.
pub const NAME_REFRESH_INTERVAL: Duration = Duration::from_secs(10);
/// Largest file of `read_file`: a key, a schema, a list. It is in memory once per plugin.
pub const PLUGIN_FILE_BYTES_MAX: usize = 1024 * 1024;
/// Most files of one plugin.
pub const PLUGIN_FILES_MAX: usize = 64;
/// For a file that a plugin's `config` or the admin API names: a network's disk may never answer.
pub const FILE_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Most files that never answered; a thread waits for each. Beyond it no more are asked for.
pub const FILE_READS_LOST_MAX: usize = 16;
/// Most names of metrics of one plugin: each is a time series per gateway.
pub const PLUGIN_METRICS_MAX: usize = 64;
/// Longest name of a plugin's metric.
pub const PLUGIN_METRIC_NAME_BYTES_MAX: usize = 64;
/// So many calls of one worker in a row trap, time out or run out of memory before the plugin is
/// backed off. High enough that a client cannot bring that about while others are served well.
pub const PLUGIN_FAILURES_BEFORE_BACKOFF: u32 = 50;
/// Waits before a plugin whose instantiation failed, or whose calls keep failing, is tried again.
pub(crate) const PLUGIN_BACKOFF: Backoff =
    Backoff { min: Duration::from_millis(100), max: Duration::from_secs(30) };
/// Capacity of a kept scratch buffer; a larger one (a body went through) is freed: an output after
/// its call, an input when the chain's next one is written or the chain has run.
pub const PLUGIN_SCRATCH_BYTES_KEPT: usize = 256 * 1024;
/// Scratch buffers that a worker keeps.
pub const PLUGIN_SCRATCH_KEPT_MAX: usize = 64;

// --- aggregation ---

/// Calls of one request, equal ones counted once: a page of 100 items, each with a call of its own.
/// [`AGGREGATION_CALLS_AT_ONCE`] of them run at once.
pub const AGGREGATION_CALLS_MAX: usize = 100;
/// Most `calls` of one service. A request waits for the slowest of them.
pub const AGGREGATION_CALLS_CONFIGURED_MAX: usize = 32;
/// Most `dependencies` of one service. Each is looked for in every response.
pub const AGGREGATION_DEPENDENCIES_MAX: usize = 32;
/// Most entries of a `parameterMapping` or `resultMapping`.
pub const AGGREGATION_MAPPINGS_MAX: usize = 16;
/// Items of a response that one dependency looks at; those behind stay as they are. Far above
/// [`AGGREGATION_CALLS_MAX`] because many items may need the same call.
pub const AGGREGATION_ITEMS_MAX: usize = 10_000;
/// Bodies of the largest size (`server.limits.pluginBodyBytesMax`) that the answers of one
/// request's calls may come to together.
pub const AGGREGATION_BODIES_MAX: usize = 8;
/// How long an aggregation computes before others have their turn: what is parsed at a stretch, a
/// body at most, takes longer only where bodies have megabytes.
pub const COMPUTE_STRETCH: Duration = Duration::from_millis(1);
/// Most steps of a path into JSON: each is a pass over what it leads to.
pub const AGGREGATION_PATH_STEPS_MAX: usize = 16;
/// Longest path, condition or call path of a configuration.
pub const AGGREGATION_TEXT_BYTES_MAX: usize = 1024;
/// Log lines about failed calls of one worker per second; a service that is down would otherwise
/// write one for every request.
pub const AGGREGATION_LOG_LINES_PER_SECOND: u32 = 10;

// --- configuration ---

/// Largest configuration file. 1024 services and 256 plugins take some 200 KiB; 4 MiB leaves room
/// for plugins' own data and keeps a wrong file (a log, a binary) from being parsed.
pub const CONFIG_BYTES_MAX: usize = 4 * 1024 * 1024;
/// So long a configuration must have been left alone before a running gateway takes it: programs
/// that write a file in several steps pause for less.
pub const CONFIG_REST: Duration = Duration::from_millis(200);
/// The same where the kernel does not tell whether somebody has the file open for writing.
pub const CONFIG_REST_UNSEEN: Duration = Duration::from_secs(1);
/// A change waits so long for a file that is being written; who asked for it waits as well.
pub const CONFIG_SETTLE_TIMEOUT: Duration = Duration::from_secs(3);
/// Deepest nesting of a configuration file. The schema needs 6; the rest is for plugins' `config`.
/// The tree is walked recursively: 64 small frames.
pub const CONFIG_DEPTH_MAX: usize = 64;
/// Most nodes of a configuration with every alias written out ("billion laughs"): about 100 bytes
/// each, so 50 MB at the worst, for the time of loading.
pub const CONFIG_NODES_MAX: usize = 500_000;
/// Most values of a plugin's entry in the file that one call of the admin API changes: the text is
/// read again after each, and no `config` that a person wrote has as many.
pub const CONFIG_EDITS_MAX: usize = 1_000;
/// Most bytes of all scalars of a configuration with every alias and variable written out.
pub const CONFIG_EXPANDED_BYTES_MAX: usize = 4 * CONFIG_BYTES_MAX;
/// Most errors that one run prints; a wrong file would give thousands.
pub const CONFIG_ERRORS_MAX: usize = 100;
/// Bytes of a file that gives a value (`${file:...}`): a key or a certificate, many times over.
pub const SECRET_FILE_BYTES_MAX: usize = 64 * 1024;
/// Most plugins of a configuration. Each has instances on every worker.
pub const PLUGINS_MAX: usize = 256;
/// Most services of a configuration: what a request pays for them does not grow with their number,
/// and a file of [`CONFIG_BYTES_MAX`] has no more.
pub const SERVICES_MAX: usize = 16 * 1024;
/// Most targets of one service.
pub const TARGETS_MAX: usize = 256;
/// Most addresses that a process listens on; each is a socket per worker.
pub const LISTEN_MAX: usize = 64;
/// Longest name of a plugin or service: it is a metric's label and part of file names.
pub const NAME_BYTES_MAX: usize = 128;
/// Most `allowedUrls` of one plugin, and most `services` that it names.
pub const PLUGIN_LIST_MAX: usize = 1024;
/// Largest compiled form of one of `allowedUrls`. The regex crate's own default is 10 MiB; paths
/// need a few KiB, and there may be [`PLUGINS_MAX`] times [`PLUGIN_LIST_MAX`] of them.
pub const PATTERN_COMPILED_BYTES_MAX: usize = 1024 * 1024;
/// Largest compiled form of all `allowedUrls` of a plugin together: the regex crate's default.
pub const PATTERNS_COMPILED_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Most fields that a service sets on its requests.
pub const SERVICE_HEADERS_MAX: usize = 64;
/// Most names of trailers that a service lets through, each way.
pub const SERVICE_TRAILERS_MAX: usize = 32;
/// Largest weight of a target: enough for 0.1 %.
pub const TARGET_WEIGHT_MAX: u32 = 1000;
/// Most workers. More than any machine's cores; each costs a thread, a ring and its instances.
pub const WORKERS_MAX: usize = 1024;
/// Longest duration that a configuration may give: a day. Longer is a slip of the unit.
pub const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Largest value of `server.limits.headBytesMax`: heads are read into memory.
pub const HEAD_BYTES_CEILING: usize = 1024 * 1024;
/// Smallest value of `server.limits.headBytesMax`: a browser's ordinary head.
pub const HEAD_BYTES_FLOOR: usize = 1024;
/// Most fields that the `Connection` fields of a head may name: each is held against each field of
/// the head. One or two are usual.
pub const NOMINATIONS_MAX: usize = 32;
/// Largest value of `server.limits.headFieldsMax`, and most fields of a response: some work is done
/// per field and field.
pub const HEAD_FIELDS_CEILING: usize = 1000;
/// Largest value of `server.limits.bodyBytesMax`: 1 TiB, far from any overflow.
pub const BODY_BYTES_CEILING: u64 = 1024 * 1024 * 1024 * 1024;
/// Largest value of `server.limits.bodyRateMin`: more is no guard, it shuts slow links out.
pub const BODY_RATE_CEILING: u64 = 1024 * 1024;
/// Largest value of `server.limits.pluginBodyBytesMax`: it is held in memory per exchange and
/// again, as JSON, in the guest.
pub const PLUGIN_BODY_BYTES_CEILING: usize = 256 * 1024 * 1024;
/// Largest value of `server.limits.connectionsMax`: a common ceiling of fs.nr_open.
pub const CONNECTIONS_CEILING: usize = 1024 * 1024;
/// Largest value of `server.limits.upstreamIdleMax`.
pub const UPSTREAM_IDLE_CEILING: usize = 16 * 1024;

/// Largest value of `maxMemoryPages`: the 4 GiB of a 32-bit memory.
pub const PLUGIN_MEMORY_PAGES_CEILING: u32 = 65_536;

// --- metrics, starting, logs ---

/// Longest duration that a histogram tells from longer ones, in microseconds: 10 minutes. Longer
/// exchanges are streams, whose duration is the client's wish.
pub const DURATION_MICROS_MAX: u64 = 600_000_000;
/// Names of services whose counts a worker keeps over reloads, 23 KiB each. More count together.
pub const REPORTED_SERVICES_MAX: usize = 1024;
/// Names of plugins that are gone whose counts a worker keeps, 23 KiB each. Beyond it the next ones
/// are forgotten, and a plugin of such a name starts at 0.
pub const REPORTED_PLUGINS_GONE_MAX: usize = 512;
/// Histograms that a worker copies at a stretch for a report: 4 x 23 KiB are some 26 us,
/// 99 % of them under 85 us (`tests/scrape.rs`). Requests must not wait for more than 100 us.
pub const REPORT_STRETCH: usize = 4;
/// Workers that are asked for reports at once: 8 with 40 histograms each are 7 MiB in memory, 64
/// would be 60.
pub const REPORTS_AT_ONCE: usize = 8;
/// Quiet that must follow a change on disk before the configuration is read again: who copies a
/// plugin writes in several steps.
pub const WATCH_QUIET: Duration = Duration::from_millis(200);
/// The longest that events on disk put off the next look at the files: some folders never rest.
pub const WATCH_BURST_MAX: Duration = Duration::from_secs(2);
/// A change on disk that could not be made at the time (somebody was still writing the file, other
/// changes waited) is tried again after so long, or when something happens to the files.
pub const WATCH_AGAIN: Duration = Duration::from_secs(10);
/// Most links on the way to one file: the kernel's own bound.
pub const WATCH_LINKS_MAX: usize = 40;
/// How long a start waits for an address in use: a process that was killed holds its sockets until
/// the kernel has taken it apart, and its supervisor starts the next one at once.
pub const BIND_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two tries to have an address.
pub const BIND_INTERVAL: Duration = Duration::from_millis(20);
/// The part of the process's descriptors that no client gets: a quarter, for connections to
/// origins, the admin API, and files. An exchange in flight takes two, most clients are idle.
pub const DESCRIPTORS_KEPT_PART: usize = 4;
/// How long the trial of io_uring waits for what it submitted: nothing but the kernel delays it.
pub const IO_URING_TRIAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Lines of the process's log that wait for the thread that writes; more are dropped and counted.
pub const LOG_QUEUE_LINES_MAX: usize = 4096;
/// Their bytes: what a reader that has stopped costs at most.
pub const LOG_QUEUE_BYTES_MAX: usize = 1 << 20;
/// At the end of the process, for the last lines of its log to be written.
pub const LOG_END_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two looks whether they are: nothing else is left to do.
pub const LOG_END_INTERVAL: Duration = Duration::from_millis(1);
/// Bytes of access log that a worker collects before it hands them on: some 150 lines a write.
pub const ACCESS_LOG_BUFFER_BYTES: usize = 32 * 1024;
/// How long a line waits in a buffer that does not fill: who follows the log sees it at once.
pub const ACCESS_LOG_FLUSH_INTERVAL: Duration = Duration::from_millis(200);
/// Buffers that wait for the thread that writes; more are dropped and counted. 8 MiB: half a second
/// of a disk that stalls under 100,000 requests a second.
pub const ACCESS_LOG_QUEUE_BATCHES: usize = 256;
/// How soon an access log notices that its file is to be opened again (SIGUSR1) while no line
/// comes: what moved the file away waits for that before it compresses it.
pub const ACCESS_LOG_REOPEN_INTERVAL: Duration = Duration::from_millis(200);
/// Between two log lines that say that the access log cannot be written.
pub const ACCESS_LOG_COMPLAINTS_INTERVAL: Duration = Duration::from_secs(10);
/// At the end of the process, for the last lines to be written.
pub const ACCESS_LOG_END_TIMEOUT: Duration = Duration::from_secs(2);

const _: () = assert!(URI_BYTES_MAX < HEAD_BYTES_MAX);
const _: () = assert!(HEAD_BYTES_MAX <= HEAD_BYTES_CEILING && HEAD_BYTES_MAX >= HEAD_BYTES_FLOOR);
const _: () = assert!(HEAD_FIELDS_MAX <= HEAD_FIELDS_CEILING);
const _: () = assert!(BODY_BYTES_MAX <= BODY_BYTES_CEILING);
const _: () = assert!(BODY_RATE_MIN <= BODY_RATE_CEILING);
const _: () = assert!(PLUGIN_BODY_BYTES_MAX <= PLUGIN_BODY_BYTES_CEILING);
const _: () = assert!(CHUNK_LINE_BYTES_MAX < BUFFER_BYTES);
const _: () = assert!(PLUGIN_STACK_BYTES + 256 * 1024 <= PLUGIN_FIBER_STACK_BYTES);
const _: () = assert!(PLUGIN_MEMORY_PAGES_MAX <= PLUGIN_MEMORY_PAGES_CEILING);
const _: () = assert!(AGGREGATION_CALLS_CONFIGURED_MAX <= AGGREGATION_CALLS_MAX);
const _: () = assert!(AGGREGATION_CALLS_MAX <= AGGREGATION_ITEMS_MAX);
const _: () = assert!(PLUGIN_INSTANCES_MAX <= PLUGIN_INSTANCES_PROCESS_MAX);

const _: () =
    assert!(TRACESTATE_MEMBERS_MAX * (2 * TRACESTATE_MEMBER_PART_BYTES_MAX + 2) < HEAD_BYTES_MAX);
const _: () = assert!(TRACE_BATCH_EXCHANGES <= TRACE_QUEUE_EXCHANGES);
