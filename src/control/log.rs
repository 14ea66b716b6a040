//! Where log lines go: standard error, as text or JSON. Both the level and the form follow the
//! configuration while the process runs.
//!
//! Whoever logs never waits for the reader of standard error: lines go through a bounded queue to a
//! thread that writes them; those over the bound are dropped and counted.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;

use super::config::{Format, Level, Logging};
use crate::limits::{LOG_QUEUE_BYTES_MAX, LOG_QUEUE_LINES_MAX};

/// What the lines pass through first.
type Filtered = Layered<reload::Layer<Targets, Registry>, Registry>;
/// What makes lines.
type Lines = Box<dyn Layer<Filtered> + Send + Sync>;

/// Changes what is logged, and how, while the process runs.
static HANDLES: OnceLock<(Handle<Targets, Registry>, Handle<Lines, Filtered>)> = OnceLock::new();

/// What waits for the thread that writes.
enum Entry {
    Line(Vec<u8>),
    /// Says through the channel that all before it is written.
    Written(SyncSender<()>),
}

/// To the thread that writes; not there before [`init`].
static QUEUE: OnceLock<SyncSender<Entry>> = OnceLock::new();
/// Bytes of the lines that wait.
static WAITING: AtomicUsize = AtomicUsize::new(0);
/// Lines that found no room, or could not be written.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines of the process's log that were dropped: its reader is slower, or has gone.
pub fn dropped() -> u64 {
    DROPPED.load(Relaxed)
}

/// Sends the log lines of the process to standard error. Called once, before anything logs.
pub fn init(logging: &Logging) {
    // Without the thread lines are written by whoever logs.
    if start_writing().is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let thread = std::thread::current();
            let trace = std::backtrace::Backtrace::capture();
            say(&format!("thread {:?} {panic}\n{trace}", thread.name().unwrap_or_default()));
        }));
    }
    let (filter, filter_handle) = reload::Layer::new(filter(logging.level));
    let (lines, lines_handle) = reload::Layer::new(lines(logging.format));
    // Only a second call fails, which changes nothing.
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        let _ = HANDLES.set((filter_handle, lines_handle));
    }
}

/// Logs as `logging` asks for from now on.
pub fn set(logging: &Logging) {
    if let Some((filter_handle, lines_handle)) = HANDLES.get() {
        // They fail when nothing logs any more.
        let _ = filter_handle.reload(filter(logging.level));
        let _ = lines_handle.reload(lines(logging.format));
    }
}

/// Writes words that are no line of the log, whatever its level: after all lines before them, and
/// without waiting.
pub fn say(words: &str) {
    let _counted = Queued.write_all(format!("{words}\n").as_bytes());
}

/// Waits until all lines so far are written, at most for `within`. Blocks.
pub fn flush(within: Duration) {
    let Some(queue) = QUEUE.get() else { return };
    let started = Instant::now();
    let (done, written) = sync_channel(1);
    // A full queue is one whose reader has stopped.
    if queue.try_send(Entry::Written(done)).is_ok() {
        let _ = written.recv_timeout(within.saturating_sub(started.elapsed()));
    }
}

fn start_writing() -> io::Result<()> {
    // A handle of its own: that of the standard library is locked while somebody writes.
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let (queue, entries) = sync_channel(LOG_QUEUE_LINES_MAX);
    std::thread::Builder::new().name("log".to_owned()).spawn(move || write(stderr, &entries))?;
    let _ = QUEUE.set(queue);
    Ok(())
}

fn write(mut stderr: File, entries: &Receiver<Entry>) {
    let mut told = 0;
    while let Ok(entry) = entries.recv() {
        let line = match entry {
            Entry::Line(line) => line,
            Entry::Written(done) => {
                let _ = done.try_send(());
                continue;
            }
        };
        let written = stderr.write_all(&line);
        // Relaxed, here and below: counts, they order nothing.
        WAITING.fetch_sub(line.len(), Relaxed);
        if written.is_err() {
            DROPPED.fetch_add(1, Relaxed);
            continue;
        }
        let lost = dropped() - told;
        if lost > 0 {
            told += lost;
            tracing::warn!("{lost} lines of the log dropped: its reader is slower");
        }
    }
}

/// Writes a line into the queue. Each call of `write` is one: so the layer hands them over.
struct Queued;

impl Write for Queued {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let Some(queue) = QUEUE.get() else { return io::stderr().write(line) };
        let waiting = WAITING.fetch_add(line.len(), Relaxed);
        let has_room = waiting + line.len() <= LOG_QUEUE_BYTES_MAX;
        if !has_room || queue.try_send(Entry::Line(line.to_vec())).is_err() {
            WAITING.fetch_sub(line.len(), Relaxed);
            DROPPED.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lines(format: Format) -> Lines {
    let lines = layer().with_writer(|| Queued).with_target(false);
    match format {
        Format::Text => {
            let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            lines.with_ansi(is_terminal).boxed()
        }
        Format::Json => {
            // There are no spans. What one had noted in the other form could not be shown.
            let lines = lines.json().flatten_event(true);
            lines.with_current_span(false).with_span_list(false).boxed()
        }
    }
}

fn filter(level: Level) -> Targets {
    let level = match level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    // Each plugin's lines are filtered where they are written, by its own level.
    let plugins = if level == LevelFilter::OFF { level } else { LevelFilter::TRACE };
    // What libraries say of each frame and each connection is of no use to an operator.
    let others = level.min(LevelFilter::WARN);
    Targets::new().with_default(others).with_target("odin", level).with_target("plugin", plugins)
}
