//! How a change ended: published, or refused and why.

/// A change that was published.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The snapshot with it.
    pub generation: u64,
    /// What the operator should know, in words.
    pub warnings: Vec<String>,
}

/// Why a change was not published.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// What kind of mistake it is.
    pub kind: RefusalKind,
    /// In words; several lines for several mistakes.
    pub reason: String,
}

/// What kind of mistake a refused change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// Nothing has the name.
    Unknown,
    /// What was asked for is not well formed.
    Invalid,
    /// It is well formed and does not work: a file is missing, a module does not compile.
    Broken,
    /// It is for the fleet to change, not for a node.
    Elsewhere,
    /// The gateway ends, too many changes wait, or the file is still being written: later it may be
    /// another answer.
    Busy,
}

impl Refusal {
    pub(super) fn new(kind: RefusalKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }
}
