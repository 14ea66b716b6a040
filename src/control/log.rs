//! Where log lines go: standard error, as text or JSON. Both the level and the form follow the
//! configuration while the process runs.

use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;

use super::config::{Format, Level, Logging};

/// What the lines pass through first.
type Filtered = Layered<reload::Layer<Targets, Registry>, Registry>;
/// What makes lines.
type Lines = Box<dyn Layer<Filtered> + Send + Sync>;

/// Changes what is logged, and how, while the process runs.
static HANDLES: OnceLock<(Handle<Targets, Registry>, Handle<Lines, Filtered>)> = OnceLock::new();

/// Sends the log lines of the process to standard error. Called once, before anything logs.
pub fn init(logging: &Logging) {
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

fn lines(format: Format) -> Lines {
    let lines = layer().with_writer(std::io::stderr).with_target(false);
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
    Targets::new().with_default(level).with_target("plugin", plugins)
}
