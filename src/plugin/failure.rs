//! Why a call of a plugin failed: the reasons that our side gives the guest's run an end with, and
//! the translation of whatever wasmtime reports to one of the five kinds.

use std::fmt;
use std::time::Duration;

use super::backtrace;
use super::last_words::LastWords;
use super::stats::ErrorKind;

/// A failed call: its kind for the counters and the client, its text for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CallError {
    pub(super) kind: ErrorKind,
    pub(super) text: String,
    /// Whether it only says that the plugin is left alone because of earlier failures.
    pub(super) is_echo: bool,
}

impl CallError {
    pub(super) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), is_echo: false }
    }

    /// The plugin was not called, because earlier calls failed: the last of them so.
    pub(super) fn echo(text: impl Into<String>, earlier: Option<&str>) -> Self {
        let earlier =
            earlier.map_or_else(String::new, |text| format!("; the last failure: {text}"));
        Self { is_echo: true, ..Self::refused(format!("{}{earlier}", text.into())) }
    }

    pub(super) fn bad_output(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadOutput, text)
    }

    pub(super) fn refused(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Refused, text)
    }

    pub(super) fn trap(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Trap, text)
    }

    /// Says what the guest wrote last. Before a trap that is the reason, so it comes first.
    pub(super) fn after(mut self, words: &LastWords) -> Self {
        if let Some(words) = words.text() {
            self.text = match self.kind {
                ErrorKind::Trap => format!("{words} ({})", self.text),
                _ => format!("{}; it wrote: {words}", self.text),
            };
        }
        self
    }

    /// Says in which step of an instance's life it happened.
    pub(super) fn during(mut self, step: &str) -> Self {
        self.text = format!("{step}: {}", self.text);
        self
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for CallError {}

impl From<wasmtime::Error> for CallError {
    fn from(error: wasmtime::Error) -> Self {
        let mut call = without_place(&error);
        if let Some(place) = backtrace::place_of(&error) {
            call.text = format!("{}, {place}", call.text);
        }
        call
    }
}

fn without_place(error: &wasmtime::Error) -> CallError {
    if let Some(timed_out) = error.downcast_ref::<TimedOut>() {
        return CallError::new(ErrorKind::Timeout, timed_out.to_string());
    }
    if let Some(exceeded) = error.downcast_ref::<MemoryExceeded>() {
        return CallError::new(ErrorKind::Memory, exceeded.to_string());
    }
    if let Some(call) = error.downcast_ref::<CallError>() {
        return call.clone();
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return CallError::refused(format!(
            "no room for another instance in this process: {}",
            error.root_cause()
        ));
    }
    if let Some(trap) = error.downcast_ref::<wasmtime::Trap>() {
        let text = trap.to_string();
        let text = text.trim_start_matches("wasm trap: ");
        return CallError::trap(format!("the plugin trapped: {text}"));
    }
    CallError::trap(error.root_cause().to_string())
}

/// The call ran past its deadline.
#[derive(Debug)]
pub(super) struct TimedOut {
    pub(super) timeout: Duration,
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timeout = self.timeout;
        write!(f, "plugin execution timeout: not done within {timeout:?} (timeout)")
    }
}

impl std::error::Error for TimedOut {}

/// A memory was to grow beyond what the plugin may have.
#[derive(Debug)]
pub(super) struct MemoryExceeded {
    pub(super) wanted_pages: u64,
    pub(super) limit_pages: u64,
    /// Which limit: a key of the configuration, or the module's own.
    pub(super) limit: &'static str,
}

impl fmt::Display for MemoryExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wanted_pages, limit_pages, limit } = self;
        write!(
            f,
            "failed to allocate memory: asked for {wanted_pages} pages of 64 KiB, \
             limit is {limit_pages} ({limit})"
        )
    }
}

impl std::error::Error for MemoryExceeded {}

/// The guest ended itself by WASI's `proc_exit`.
#[derive(Debug)]
pub(super) struct Exited {
    pub(super) code: i32,
}

impl fmt::Display for Exited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the plugin exited with code {}", self.code)
    }
}

impl std::error::Error for Exited {}
