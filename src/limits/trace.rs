//! Bounds of traces: what is taken over from requests, kept, and exported.

use std::time::Duration;

use crate::throttle::Backoff;

/// Members of a `tracestate`: the most that W3C Trace Context allows (section 3.3.1.1). With the
/// next limit that bounds it to 16 KiB; the field is passed on as it came or not at all.
pub const TRACESTATE_MEMBERS_MAX: usize = 32;
/// Longest key, and longest value, of such a member: the specification's.
pub const TRACESTATE_MEMBER_PART_BYTES_MAX: usize = 256;
/// Parts of one exchange that are noted: some plugins in both phases and the calls of a page's
/// aggregation. More are counted as dropped.
pub const TRACE_SPANS_MAX: usize = 128;
/// Longest text of a span (a path, a User-Agent); the rest is cut. Together with
/// [`TRACE_SPANS_MAX`] it bounds an exchange that waits for its export to some 150 KiB at worst;
/// a usual one has 1 to 2 KiB.
pub const TRACE_TEXT_BYTES_MAX: usize = 1024;
/// Sampled exchanges that wait for the control thread: 20,000 a second at its
/// [`TRACE_EXPORT_INTERVAL`]. More are dropped and counted.
pub const TRACE_QUEUE_EXCHANGES: usize = 4096;
/// How often the control thread takes what waits.
pub const TRACE_EXPORT_INTERVAL: Duration = Duration::from_millis(200);
/// Exchanges in one message to the collector: some 500 KiB, well under the 4 MiB and more that
/// collectors take.
pub const TRACE_BATCH_EXCHANGES: usize = 512;
/// For one message, from the connection to the answer. `tracing.otlp.timeout`; OpenTelemetry's
/// default.
pub const TRACE_EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// Tries of one message before it is dropped. With the pauses between them some 15 s, in which a
/// collector restarts; meanwhile the queue fills.
pub const TRACE_EXPORT_TRIES_MAX: u32 = 5;
/// Pauses after a failed try. The longest is also the longest that a collector's `Retry-After` is
/// obeyed.
pub(crate) const TRACE_EXPORT_BACKOFF: Backoff =
    Backoff { min: Duration::from_secs(1), max: Duration::from_secs(30) };
/// Bytes of a collector's answer that are read.
pub const TRACE_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Between two log lines that say that spans cannot be exported.
pub const TRACE_COMPLAINTS_INTERVAL: Duration = Duration::from_secs(30);
/// At the end of the process, for the last spans to be sent.
pub const TRACE_END_TIMEOUT: Duration = Duration::from_secs(2);
/// Most fields of `tracing.otlp.headers`.
pub const TRACE_HEADERS_MAX: usize = 64;
