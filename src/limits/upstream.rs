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
