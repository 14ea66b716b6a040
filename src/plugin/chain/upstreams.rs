//! Who is asked, where a plugin chooses: among what is configured, and nobody else.

use std::fmt;

/// Who may be asked in the place of a request's own service.
pub trait Upstreams: fmt::Debug {
    /// Finds what a plugin wishes.
    ///
    /// # Errors
    /// Why it cannot be: what was named is not there.
    fn choose(&self, wish: Wish<'_>) -> Result<Chosen, String>;
}

/// `upstream` of an output: who is to be asked.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'w> {
    /// The name of a service.
    pub service: Option<&'w str>,
    /// The URL or the `host:port` of one of its targets.
    pub endpoint: Option<&'w str>,
    /// What requests are shared out by, where that goes by a key.
    pub hash_key: Option<&'w str>,
}

/// Who was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chosen {
    /// The place of a service in the snapshot; `None`: the request's own.
    pub service: Option<usize>,
    /// The id of one of its endpoints.
    pub endpoint: Option<usize>,
    /// The hash of a key.
    pub key: Option<u64>,
}
