//! What a guest wrote last before its call came to a bad end: mostly the reason, which the trap
//! that follows does not tell.

use super::log::printable;
use crate::limits;

/// How a panic begins in the output of Rust's and of Go's runtime. What comes after it is where it
/// happened, which must not push it out.
const CRIES: [&[u8]; 4] = [b"panicked at ", b"panic: ", b"fatal error: ", b"AddressSanitizer"];
/// A line that tells nothing: Rust's advice.
const IDLE: &[u8] = b"note: run with `RUST_BACKTRACE";

/// The last lines of one call, or of an instance's start.
#[derive(Debug, Default)]
pub(super) struct LastWords {
    lines: Vec<String>,
    /// The first line is a panic's: later ones do not displace it.
    is_panic: bool,
}

impl LastWords {
    /// Another call begins.
    pub(super) fn clear(&mut self) {
        self.lines.clear();
        self.is_panic = false;
    }

    /// A line that the guest wrote to its standard error, or to the log as an error.
    pub(super) fn note(&mut self, line: &[u8]) {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(IDLE) {
            return;
        }
        let begins_panic = || CRIES.iter().any(|cry| memchr::memmem::find(line, cry).is_some());
        if !self.is_panic && begins_panic() {
            self.lines.clear();
            self.is_panic = true;
        }
        if self.lines.len() >= limits::PLUGIN_LAST_WORDS_LINES {
            if self.is_panic {
                return;
            }
            self.lines.remove(0);
        }
        let cut = &line[..line.len().min(limits::PLUGIN_LAST_WORDS_LINE_BYTES)];
        // A panic hook gives its text whole: as one line it is as good.
        let words = cut.split(|byte| matches!(byte, b'\n' | b'\r')).map(<[u8]>::trim_ascii);
        let words: Vec<_> = words.filter(|words| !words.is_empty()).collect();
        self.lines.push(printable(&words.join(&b' ')).into_owned());
    }

    /// All of them in one line; `None` if there are none.
    pub(super) fn text(&self) -> Option<String> {
        (!self.lines.is_empty()).then(|| self.lines.join(" / "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[&str]) -> Option<String> {
        let mut words = LastWords::default();
        lines.iter().for_each(|line| words.note(line.as_bytes()));
        words.text()
    }

    #[test]
    fn the_last_lines_are_kept() {
        assert_eq!(said(&[]), None);
        assert_eq!(said(&["a", "", "b", "c", "d"]).unwrap(), "b / c / d");
    }

    #[test]
    fn a_panic_is_not_displaced_by_what_comes_after_it() {
        let go = ["x", "panic: no", "", "goroutine 1 [running]:", "main.f()", "\t/a.go:7"];
        assert_eq!(said(&go).unwrap(), "panic: no / goroutine 1 [running]: / main.f()");
        let rust = [
            "thread 'main' panicked at src/lib.rs:5:5:",
            "boom",
            "note: run with `RUST_BACKTRACE=1`",
        ];
        assert_eq!(said(&rust).unwrap(), "thread 'main' panicked at src/lib.rs:5:5: / boom");
        assert_eq!(
            said(&["panicked at src/lib.rs:1:1:\nboom"]).unwrap(),
            "panicked at src/lib.rs:1:1: boom"
        );
    }

    #[test]
    fn they_are_short_and_forge_nothing() {
        let long = "\u{1b}x".repeat(100_000);
        let text = said(&[&long, &long, &long, &long]).unwrap();
        assert!(text.len() < 4 * limits::PLUGIN_LAST_WORDS_LINE_BYTES * 8, "{}", text.len());
        assert!(!text.contains('\u{1b}'));
    }
}
