//! Bounds of a fleet: its documents, its etcd, how long what is waited for.

use std::time::Duration;

use crate::throttle::Backoff;

/// Members of an etcd that a node may name: etcd itself advises against more than seven.
pub const FLEET_ENDPOINTS_MAX: usize = 16;
/// Longest prefix of a fleet's keys: it stands in each of them.
pub const FLEET_PREFIX_BYTES_MAX: usize = 256;
/// A document in etcd, packed: a request to etcd has 1.5 MiB at most (`--max-request-bytes`), and
/// the transaction says a little more. 10,000 services take some 120 KiB.
pub const FLEET_STORED_BYTES_MAX: usize = 1_400 * 1024;
/// A document of at most so many bytes is stored as it is, so that `etcdctl get` shows it.
pub const FLEET_PLAIN_BYTES_MAX: usize = 64 * 1024;
/// Revisions that are kept in etcd for `history`, `diff` and `rollback`. At the worst some 70 MiB
/// of its 2 GiB.
pub const FLEET_HISTORY_MAX: u64 = 50;
/// Longest note of a push, and longest reason of a refusal in a node's report: a screen of text.
pub const FLEET_WORDS_BYTES_MAX: usize = 4 * 1024;
/// Nodes whose reports are read at once: with the reasons of refusals in them, 4 MiB at the worst.
pub const FLEET_NODES_MAX: usize = 1000;
/// Largest answer of etcd: a document, or the reports of all nodes.
pub const FLEET_ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// For a connection to a member: its TLS handshake and its first answer included, as one that hangs
/// still takes connections.
pub const FLEET_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For one call: a cluster that elects a leader answers after a second or two.
pub const FLEET_CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two looks of a node whether the member that it watches still answers.
pub const FLEET_LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// For the answer to such a look, which the member gives by itself; then the next one is asked.
pub const FLEET_LOOK_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two connections to an etcd that is away. Spread, so that a fleet does not come back at
/// once.
pub(crate) const FLEET_RECONNECT: Backoff =
    Backoff { min: Duration::from_millis(200), max: Duration::from_secs(5) };
/// Between two attempts to apply a revision that was refused: what it needs (a module, a name, a
/// file) may come.
pub(crate) const FLEET_RETRY: Backoff =
    Backoff { min: Duration::from_secs(2), max: Duration::from_secs(300) };
/// How long a node's report outlives the node, and a canary the command that watches it.
pub const FLEET_LEASE: Duration = Duration::from_secs(15);
/// Between two renewals of a lease: two may get lost.
pub const FLEET_LEASE_RENEWAL: Duration = Duration::from_secs(4);
/// How long a node that has never had a revision looks for one before it gives up: an election, and
/// members that start at the same time.
pub const FLEET_FIRST_TIMEOUT: Duration = Duration::from_secs(15);
/// A list of nodes that is older is read anew for who asks for it.
pub const FLEET_NODES_AGE_MAX: Duration = Duration::from_secs(1);
/// How long `push --canary` watches nodes that run the new revision, unless told otherwise.
pub const FLEET_CANARY_HOLD: Duration = Duration::from_secs(10);
/// How long nodes may take to apply a revision before `push` says that they have not, unless told
/// otherwise: one that compiles a large module takes half a minute.
pub const FLEET_PUSH_WAIT: Duration = Duration::from_secs(60);
/// Between two looks of `push` at the nodes.
pub const FLEET_PUSH_LOOK: Duration = Duration::from_millis(200);
/// Lines of a document that `diff` compares step by step: a comparison of two that have nothing in
/// common takes some 64 MiB. Beyond it all lines count as replaced.
pub const FLEET_DIFF_EDITS_MAX: usize = 4_000;
