//! One response of several: which calls a request needs, and what becomes of their answers.
//!
//! No I/O: the exchange makes the calls. A service with `calls` answers with what those answer, put
//! together; one with `dependencies` has its own response completed with what further calls know of
//! the things in it. Built by the control thread as part of the snapshot, read by every worker.
//!
//! A response is never parsed into a tree: only what a path leads to is looked into, all the rest
//! is copied as it stands, numbers with all their digits.

pub mod condition;
pub mod json;
pub mod merge;
pub mod path;
pub mod plan;
pub mod rule;
pub mod template;

pub use plan::Plan;
pub use rule::Rule;

/// `services[].aggregation` of one service.
#[derive(Debug, Clone, Default)]
pub struct Aggregation {
    /// Whether a failed call fails the request; else it is logged and left out.
    pub fail_on_error: bool,
    /// What is asked instead of the service's own targets; may be empty.
    pub calls: Vec<Call>,
    /// What completes the service's response; may be empty.
    pub dependencies: Vec<Dependency>,
}

/// One of `calls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The key of its answer in the merged response.
    pub name: String,
    /// The place of the called service in the snapshot.
    pub service: usize,
    /// The path that is asked for, with its query if it has one.
    pub path: String,
}

/// One of `dependencies`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The place of the called service in the snapshot.
    pub service: usize,
    /// When it is called, with what, and where its answers go.
    pub rule: Rule,
}
