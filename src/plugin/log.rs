//! Log lines of plugins, and of the gateway about plugins, on their way out of a worker.
//!
//! A worker must not wait for a log: lines are bounded in length and rate here, then handed to a
//! [`LogSink`], which must return at once. The default sink puts them into a bounded channel, from
//! which a thread of its own gives them to `tracing`.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use super::spec::LogLevel;
use crate::limits;
use crate::throttle::{PerSecond, Taken};

/// One line.
#[derive(Debug, Clone, Copy)]
pub struct PluginLine<'a> {
    /// The plugin's name.
    pub plugin: &'a str,
    /// The request during which it was written; empty outside of requests (`init`, `cleanup`).
    pub request_id: &'a str,
    /// The trace that the request belongs to, in hexadecimal; empty without tracing.
    pub trace_id: &'a str,
    /// How grave it is.
    pub level: LogLevel,
    /// The line: at most [`limits::PLUGIN_LOG_LINE_BYTES_MAX`], without control characters.
    pub text: &'a str,
}

/// What a line tells of the request during which it was written; both are empty outside of one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ids<'a> {
    pub(super) request: &'a str,
    pub(super) trace: &'a str,
}

/// Takes the lines. Called on workers: it must not wait for anything.
pub trait LogSink: Send + Sync + fmt::Debug {
    /// Takes one line.
    fn plugin_line(&self, line: &PluginLine<'_>);
}

/// Lines that default sinks of this process have taken and not dropped.
static TAKEN: AtomicU64 = AtomicU64::new(0);
/// Those of them that are in the process's log.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// Whether lines that were taken are not in the process's log yet. At the end of the process its
/// threads end with it.
pub fn has_unwritten_lines() -> bool {
    WRITTEN.load(Ordering::Acquire) < TAKEN.load(Ordering::Acquire)
}

/// The default sink: a bounded channel to a thread that logs by `tracing`.
#[derive(Debug)]
pub(super) struct QueuedSink {
    lines: SyncSender<OwnedLine>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
struct OwnedLine {
    plugin: String,
    request_id: String,
    trace_id: String,
    level: LogLevel,
    text: String,
}

impl QueuedSink {
    /// Starts the thread. It ends when the last sender is gone.
    pub(super) fn start() -> std::io::Result<Self> {
        let (lines, received) = sync_channel(limits::PLUGIN_LOG_QUEUE_LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        std::thread::Builder::new()
            .name("plugin-log".to_owned())
            .spawn(move || forward(&received, &counted))?;
        Ok(Self { lines, dropped })
    }
}

impl LogSink for QueuedSink {
    fn plugin_line(&self, line: &PluginLine<'_>) {
        let owned = OwnedLine {
            plugin: line.plugin.to_owned(),
            request_id: line.request_id.to_owned(),
            trace_id: line.trace_id.to_owned(),
            level: line.level,
            text: line.text.to_owned(),
        };
        // Before it is sent: it may be written at once.
        TAKEN.fetch_add(1, Ordering::AcqRel);
        if self.lines.try_send(owned).is_err() {
            TAKEN.fetch_sub(1, Ordering::AcqRel);
            // Relaxed: a count for a log line, it orders nothing.
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn forward(lines: &Receiver<OwnedLine>, dropped: &AtomicU64) {
    while let Ok(line) = lines.recv() {
        let OwnedLine { plugin, request_id, trace_id, level, text } = &line;
        // Left out of the line if there is none.
        let trace_id = Some(trace_id.as_str()).filter(|id| !id.is_empty());
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(target: "plugin", plugin, request_id, trace_id, "{text}")
            };
        }
        match level {
            LogLevel::Trace => log!(trace),
            LogLevel::Debug => log!(debug),
            LogLevel::Info => log!(info),
            LogLevel::Warn => log!(warn),
            LogLevel::Error => log!(error),
        }
        WRITTEN.fetch_add(1, Ordering::AcqRel);
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(target: "plugin", "{lost} lines of plugins dropped: the log is slower");
        }
    }
}

/// The log of one plugin on one worker: filters, cuts, bounds the rate.
#[derive(Debug)]
pub(super) struct PluginLog {
    plugin: String,
    level_min: LogLevel,
    sink: Arc<dyn LogSink>,
    /// Two rates, so that a plugin that floods the log does not hide what the gateway says of it.
    guest: PerSecond,
    gateway: PerSecond,
}

impl PluginLog {
    pub(super) fn new(plugin: &str, level_min: LogLevel, sink: Arc<dyn LogSink>) -> Self {
        Self {
            plugin: plugin.to_owned(),
            level_min,
            sink,
            guest: PerSecond::default(),
            gateway: PerSecond::default(),
        }
    }

    /// A line that the guest wrote. Says whether more of them would be written in this second.
    pub(super) fn guest(&self, level: LogLevel, ids: Ids<'_>, text: &[u8]) -> bool {
        level < self.level_min || self.emit(&self.guest, level, ids, text)
    }

    /// Lines of the guest that nobody looked at because the rate was reached.
    pub(super) fn count_dropped(&self, lines: u64) {
        self.guest.count_refused(lines);
    }

    /// What the gateway has to say of the plugin.
    pub(super) fn gateway(&self, level: LogLevel, ids: Ids<'_>, text: &str) {
        self.emit(&self.gateway, level, ids, text.as_bytes());
    }

    fn emit(&self, rate: &PerSecond, level: LogLevel, ids: Ids<'_>, text: &[u8]) -> bool {
        let limit = limits::PLUGIN_LOG_LINES_PER_SECOND;
        let Taken { is_allowed, refused_before: dropped } = rate.take(limit, Instant::now());
        if dropped > 0 {
            let text = format!("{dropped} log lines dropped, limit is {limit} a second");
            self.send(LogLevel::Warn, Ids::default(), &text);
        }
        if is_allowed {
            self.send(level, ids, &printable(text));
        }
        is_allowed
    }

    fn send(&self, level: LogLevel, ids: Ids<'_>, text: &str) {
        let (request_id, trace_id) = (ids.request, ids.trace);
        let line = PluginLine { plugin: &self.plugin, request_id, trace_id, level, text };
        self.sink.plugin_line(&line);
    }
}

/// The text as it may stand in one line of a log: with control characters escaped, so that no
/// plugin (and no client, through a plugin) can write a line of somebody else, and cut.
pub(super) fn printable(text: &[u8]) -> Cow<'_, str> {
    let most = limits::PLUGIN_LOG_LINE_BYTES_MAX;
    let text = String::from_utf8_lossy(&text[..text.len().min(most)]);
    // What is not UTF-8 may have become longer.
    if text.len() <= most && !text.chars().any(char::is_control) {
        return text;
    }
    let mut line = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        let end = line.len();
        if character.is_control() && character != '\t' {
            let _infallible = write!(line, "{}", character.escape_default());
        } else {
            line.push(character);
        }
        if line.len() > most {
            line.truncate(end);
            break;
        }
    }
    Cow::Owned(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_log_cannot_be_forged() {
        assert_eq!(printable(b"a\nINFO b\x1b[2J"), "a\\nINFO b\\u{1b}[2J");
        assert_eq!(printable(b"caf\xe9"), "caf\u{fffd}");
    }

    #[test]
    fn a_line_is_cut_however_much_longer_escapes_make_it() {
        for byte in [b'x', 0, 0xff] {
            let line = printable(&[byte; 100_000]).into_owned();
            let most = limits::PLUGIN_LOG_LINE_BYTES_MAX;
            assert!((most - 8..=most).contains(&line.len()), "{byte}: {}", line.len());
        }
    }
}
