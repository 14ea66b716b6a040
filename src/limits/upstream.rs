//! Bounds of what is under way at origins, and of who waits for that.

use std::time::Duration;

/// Turns of a cluster that are looked at for a target with room, where the next one has none.
pub const TURNS_LOOKED_AHEAD_MAX: usize = 64;
/// The part of the process's connections to origins that one target may have unless its service
/// says otherwise, in quarters: a slow one must leave some to the others.
pub const UPSTREAM_TARGET_QUARTERS: usize = 3;
/// Requests that wait for one target, over all workers. Envoy's default is 1024; what waits for
/// longer than [`UPSTREAM_PENDING_TIMEOUT`] is refused, so a longer queue serves nobody.
/// `services[].limits.pending`.
pub const UPSTREAM_PENDING_MAX: usize = 256;
/// Largest value of `services[].limits.pending`.
pub const UPSTREAM_PENDING_CEILING: usize = 64 * 1024;
/// How long a request waits for its target to have room: a burst is over by then, and who is
/// refused at last can still be told to try again. `services[].limits.pendingTimeout`.
pub const UPSTREAM_PENDING_TIMEOUT: Duration = Duration::from_millis(500);
/// Calls of one aggregation that are under way at once: as many as a service may have `calls`, so
/// that those wait for the slowest of them alone. The items of a page take turns.
pub const AGGREGATION_CALLS_AT_ONCE: usize = super::AGGREGATION_CALLS_CONFIGURED_MAX;

// --- targets that fail ---

/// The first ejection of a target that takes no connection; each further one is twice as long. It
/// is tried again soon: a refused connect costs the one request that tries nothing but itself.
pub const CONNECT_EJECTION: Duration = Duration::from_secs(1);
/// Longest ejection, unless the first is longer: Envoy's default.
pub const EJECTION_MAX: Duration = Duration::from_secs(300);
/// How often an ejection doubles: 5 minutes are 300 times the shortest.
pub const EJECTION_DOUBLINGS_MAX: u32 = 9;
/// How long the one request that tries an ejected target may take until another one tries: as long
/// as it may take to connect, and some.
pub const TRIAL_TIME: Duration = Duration::from_secs(5);
/// How long requests that may not be repeated leave the trial of a target to others: those that may
/// lose nothing by it. Where there are no others it is back so much later.
pub const TRIAL_PATIENCE: Duration = Duration::from_secs(2);
/// Failed requests in a row that eject a target: Envoy's default. `services[].outlier`.
pub const OUTLIER_CONSECUTIVE_ERRORS: u32 = 5;
/// The part of failed requests, in percent, that ejects a target.
pub const OUTLIER_ERROR_RATE_PERCENT: u32 = 50;
/// What that part is taken of: Envoy's default.
pub const OUTLIER_INTERVAL: Duration = Duration::from_secs(10);
/// The first ejection of a target that answers badly: Envoy's default.
pub const OUTLIER_EJECTION: Duration = Duration::from_secs(30);
/// The part of a service's targets, in percent, that may be ejected for what they answer: the rest
/// must bear their load.
pub const OUTLIER_EJECTED_MAX_PERCENT: u32 = 50;
/// Requests of one worker in an interval, fewer of which tell nothing of a part of them.
pub const OUTLIER_REQUESTS_MIN: u32 = 20;
/// What a target that is new or back gets at first, in percent of its share: Envoy's default. With
/// none at all it would never be known to be well.
pub const SLOW_START_PERCENT_MIN: u64 = 10;
/// Tries beside the first ones that a worker's requests to a service may make at once, whatever
/// they have earned: few enough that a dead service is not asked much more often.
pub const RETRY_RESERVE: u64 = 5;
/// Time in which one of these comes back, in milliseconds.
pub const RETRY_RESERVE_REFILL_MS: u64 = 2000;
/// Most tries that requests may save: a restart of a target fails as many at a time as are under
/// way there.
pub const RETRY_TOKENS_MAX: u64 = 50;
/// How many times a target's latency passes, without an answer of it, until it is forgotten and the
/// target asked once more: a slow one has an eighth of one request under way, all the time.
pub const LATENCY_FORGOTTEN_AFTER: u64 = 8;
/// Bounds of that time, in milliseconds. A fast target that is seldom asked is not forgotten at
/// once; one that answered after a minute is tried again within Finagle's 10 s.
pub const LATENCY_FORGOTTEN_MIN_MS: u64 = 1000;
/// The most of it.
pub const LATENCY_FORGOTTEN_MAX_MS: u64 = 10_000;
/// One try in so many is timed where the algorithm does not go by it: for operators to see.
pub const LATENCY_SAMPLE: usize = 16;
/// Largest value of `services[].outlier.consecutiveErrors`.
pub const OUTLIER_ERRORS_CEILING: u32 = 10_000;
/// Tries of a request that was sent, the first included: one more, where another origin may have
/// what the first lacks. `services[].retry.tries`.
pub const RETRY_TRIES: usize = 2;
/// Largest body that is kept while it is sent, so that a request that may be repeated can be: what
/// nginx and HAProxy have in memory (16 KiB) and some. Larger ones are sent once.
pub const REPEATED_BODY_BYTES_MAX: usize = 64 * 1024;
/// Tries beside the first ones, in percent of the requests: Envoy's and Finagle's default.
pub const RETRY_BUDGET_PERCENT: u32 = 20;
/// Most entries of `services[].retry.on`: each status of its range, and the words.
pub const RETRY_ON_MAX: usize = 103;
/// Between two active checks of a target. `services[].healthCheck`.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Least time between two of them: the control thread makes all of them.
pub const CHECK_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// For a whole check, unless the service says otherwise.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// Passed checks one after the other that make a sick target well.
pub const CHECK_HEALTHY_AFTER: u32 = 2;
/// Failed checks one after the other that make a well target sick.
pub const CHECK_UNHEALTHY_AFTER: u32 = 3;
/// Largest value of either.
pub const CHECKS_CEILING: u32 = 1000;
/// The statuses by which a check passes: HAProxy's default.
pub const CHECK_STATUSES: (u16, u16) = (200, 399);
/// Most entries of `services[].healthCheck.status`.
pub const CHECK_STATUSES_MAX: usize = 32;
/// By how much of it an interval between checks is longer or shorter, in percent.
pub const CHECK_JITTER_PERCENT: u32 = 20;
/// Least time between two look-ups of the names of a service. `services[].resolve`.
pub const RESOLVE_INTERVAL_MIN: Duration = Duration::from_millis(500);
/// Bounds of the time for which a name server's answer is taken: a server that says 0 must not be
/// asked without end, one that says a week must not be believed for longer than a person waits.
pub const NAME_TTL_MIN: Duration = Duration::from_secs(1);
/// The most of it.
pub const NAME_TTL_MAX: Duration = Duration::from_secs(300);
/// For one question to name servers, whatever they do.
pub const NAME_LOOKUP_TIMEOUT: Duration = Duration::from_secs(4);
/// Most entries of `server.nameServers`: glibc takes three.
pub const NAME_SERVERS_MAX: usize = 8;
/// Weight of the heaviest of a service's SRV records, whose own go up to 65,535: turns are made of
/// them.
pub const SRV_WEIGHT_MAX: u32 = 100;
/// Addresses of one name that are used: more than an answer over UDP has room for.
pub const ADDRESSES_MAX: usize = 256;
/// Checks that the control thread makes at once: each is a socket.
pub const CHECKS_AT_ONCE: usize = 64;
/// Longest name of a service in `healthCheck.grpc`: protobuf bounds none, people do.
pub const CHECK_GRPC_SERVICE_MAX: usize = 256;
/// Bytes of the message that a check by gRPC reads: a known one has two.
pub const CHECK_GRPC_MESSAGE_MAX: usize = 1024;
/// The same over HTTP/2, as it counts them.
pub const HTTP2_CHECK_HEAD_BYTES_MAX: u32 = 16 * 1024;
/// Bytes of the head of a check's answer: as much as hyper needs at least.
pub const CHECK_BYTES_MAX: usize = 8192;
/// Endpoints of one service, all addresses of its targets' names together: the turns of so many of
/// different weights are made within a second, and a name server must not decide on more.
pub const ENDPOINTS_MAX: usize = 512;
/// How often the control thread looks at how targets stand: to say it in the log, and to try those
/// that take no connections.
pub const TARGETS_WATCH_INTERVAL: Duration = Duration::from_millis(250);
/// Targets that the next process is told of when the binary is upgraded: as many messages as a
/// socket's buffer holds for sure.
pub const TARGETS_CARRIED_MAX: usize = 100;
/// Targets that status and metrics tell of: more make neither readable.
pub const TARGETS_REPORTED_MAX: usize = 4096;
/// Largest file of `services[].tls`: the certificates of all public authorities are 220 KiB.
pub const TLS_FILE_BYTES_MAX: usize = 1024 * 1024;

// --- copies of requests (`services[].mirror`) ---

/// Copies that one worker has on their way at once; of more none is made. As many as 5,000 requests
/// a second have under way at a service that takes 50 ms.
pub const MIRRORS_AT_ONCE: usize = 256;
/// The part of the worker's connections to origins that they may have, as a divisor of it: requests
/// come first.
pub const MIRRORS_CONNECTIONS_PART: usize = 4;
/// Largest body that is copied: forms and calls of APIs are smaller, and uploads tell little.
pub const MIRRORED_BODY_BYTES_MAX: usize = 256 * 1024;
/// Bytes of all bodies of copies of one worker, apart from those that requests may hold.
pub const MIRRORED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of a response to a copy that are read, so that the connection can be used again: to read
/// more costs more than a new one.
pub const MIRRORED_ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// How long a worker whose last client has gone waits for copies that are on their way.
pub const MIRRORS_DRAIN_TIME: Duration = Duration::from_secs(1);
/// Lines about copies that failed, of one worker in a second.
pub const MIRROR_LOG_LINES_PER_SECOND: u32 = 1;
