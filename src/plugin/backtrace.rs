//! Where in a guest a call came to its end: the functions that were running, by the names that the
//! module carries, or by their numbers if it was stripped.

use std::fmt::Write as _;

use wasmtime::{FrameInfo, WasmBacktrace};

use crate::limits;

/// How functions are called that only report what another one did: panics' own machinery, of Rust,
/// of Go and of AssemblyScript. The place is where they were called.
const REPORTERS: [&str; 17] = [
    "std::panicking::",
    "std::panic::",
    "std::rt::",
    "std::sys::",
    "std::alloc::",
    "std::process::",
    "alloc::alloc::",
    "core::panicking::",
    "core::option::",
    "core::result::",
    "core::slice::index::",
    "__rust",
    "__rustc::",
    "rust_",
    "abort",
    "runtime.",
    "~lib/builtins/abort",
];

/// The place of an error of a guest's run; `None` if no function of the guest was running.
pub(super) fn place_of(error: &wasmtime::Error) -> Option<String> {
    let frames = error.downcast_ref::<WasmBacktrace>()?.frames();
    let is_reporter = |frame: &FrameInfo| {
        let name = frame.func_name().map(demangled).unwrap_or_default();
        REPORTERS.iter().any(|reporter| name.starts_with(reporter))
    };
    let first = frames.iter().position(|frame| !is_reporter(frame)).unwrap_or_default();
    let mut frames = frames.get(first..).unwrap_or_default().iter();
    let inner = frames.next()?;
    let mut text = format!("in {}", name_of(inner));
    if inner.func_name().is_none()
        && let Some(offset) = inner.module_offset()
    {
        let _infallible = write!(text, " (at byte {offset:#x}; the module was stripped of names)");
    }
    let callers: Vec<_> = frames.take(limits::PLUGIN_TRACE_CALLERS_MAX).map(name_of).collect();
    if !callers.is_empty() {
        let _infallible = write!(text, ", called by {}", callers.join(", "));
    }
    Some(text)
}

fn name_of(frame: &FrameInfo) -> String {
    match frame.func_name() {
        Some(name) => printable(&demangled(name)),
        None => format!("function {}", frame.func_index()),
    }
}

/// Rust's names as they stand in the source; others as they are.
fn demangled(name: &str) -> String {
    rustc_demangle::try_demangle(name).map_or_else(|_| name.to_owned(), |name| format!("{name:#}"))
}

/// A name comes from a module: it is cut, and holds nothing that a terminal would act on.
fn printable(name: &str) -> String {
    let shown = |character: char| if character.is_control() { '?' } else { character };
    let mut cut: String =
        name.chars().take(limits::PLUGIN_TRACE_NAME_CHARS_MAX).map(shown).collect();
    if cut.len() < name.len() {
        cut.push_str("...");
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_in_the_source_and_short() {
        assert_eq!(demangled("_ZN5hello5Hello5check17h0123456789abcdefE"), "hello::Hello::check");
        assert_eq!(demangled("main.init.0.func1"), "main.init.0.func1");
        assert_eq!(printable("a\u{1b}[2J"), "a?[2J");
        assert_eq!(printable(&"x".repeat(1000)).len(), limits::PLUGIN_TRACE_NAME_CHARS_MAX + 3);
    }
}
