//! Bounds of foreign filters: what they share, and what they have in flight.

use std::time::Duration;

/// Bytes of shared data of one `vmId`, keys and bookkeeping included. What is written least lately
/// makes room.
pub const FILTER_SHARED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What an entry takes beside its key and value, about.
pub const FILTER_SHARED_ENTRY_BYTES: usize = 128;
/// Queues of one `vmId`: each has a name that a filter chooses.
pub const FILTER_QUEUES_MAX: usize = 256;
/// Items of one queue; the eldest goes.
pub const FILTER_QUEUE_ITEMS_MAX: usize = 16 * 1024;
/// Bytes of the items of one queue; the eldest goes.
pub const FILTER_QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Metrics of the filters of one `vmId`.
pub const FILTER_NUMBERS_MAX: usize = 1024;
/// Queues that one instance has looked up.
pub const FILTER_QUEUES_HELD_MAX: usize = 1024;
/// How often an instance that has registered a queue looks for what other workers put into it.
pub const FILTER_QUEUE_INTERVAL: Duration = Duration::from_millis(5);
/// Shortest time between two ticks: a shorter one would keep a worker busy with nothing else.
pub const FILTER_TICK_MIN: Duration = Duration::from_millis(1);
/// Shortest time between two ticks of a plugin of the JSON ABI.
pub const PLUGIN_TICK_MIN: Duration = Duration::from_millis(1);
/// How often a tick looks for instances that were in calls.
pub const PLUGIN_TICK_PAUSE: Duration = Duration::from_millis(10);
/// Calls of one instance that wait for their answers.
pub const FILTER_CALLS_MAX: usize = 1024;
/// Longest time that a call may be given for its answer.
pub const FILTER_CALL_TIMEOUT_MAX: Duration = Duration::from_secs(300);
/// Bytes that wait to be sent over one gRPC stream.
pub const FILTER_GRPC_QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of a text that becomes a `grpc-message`: with all of them escaped it is still a field.
pub const GRPC_MESSAGE_BYTES_MAX: usize = 1024;
/// Pairs of one list that a guest hands over.
pub const FILTER_PAIRS_MAX: usize = 1024;
/// Bytes of the paths and values that the filters of one exchange have set.
pub const FILTER_PROPERTIES_BYTES_MAX: usize = 64 * 1024;
