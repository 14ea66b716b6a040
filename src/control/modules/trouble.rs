//! Why a module cannot be had: in words for people, by cause for counters.

use std::time::Duration;

/// The causes, as the label of a metric has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No connection, or one that broke.
    Unreachable,
    /// It took too long.
    Timeout,
    /// The server says no, or something else than a module.
    Answer,
    /// It has more bytes than a module may have.
    Size,
    /// It is not the module of the digest.
    Digest,
    /// Nobody has signed it whose key is named.
    Signature,
    /// It cannot be kept on this machine, or what fetching needs cannot be read.
    Local,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Unreachable,
        Self::Timeout,
        Self::Answer,
        Self::Size,
        Self::Digest,
        Self::Signature,
        Self::Local,
    ];

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Answer => "answer",
            Self::Size => "size",
            Self::Digest => "digest",
            Self::Signature => "signature",
            Self::Local => "local",
        }
    }
}

/// A module cannot be had.
#[derive(Debug)]
pub(super) struct Trouble {
    /// For counters.
    pub(super) cause: Cause,
    /// In words, which follow the path of the module.
    pub(super) words: String,
}

impl Trouble {
    pub(super) fn new(cause: Cause, words: impl Into<String>) -> Self {
        Self { cause, words: words.into() }
    }

    pub(super) fn store(words: String) -> Self {
        Self::new(Cause::Local, words)
    }

    pub(super) fn answer(words: impl Into<String>) -> Self {
        Self::new(Cause::Answer, words)
    }

    pub(super) fn late(timeout: Duration) -> Self {
        let words = format!("it did not come within {timeout:?} (modules.timeout)");
        Self::new(Cause::Timeout, words)
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words)
    }
}
