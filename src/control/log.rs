//! Where log lines go: standard error, as text or JSON.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::config::{Format, Level, Logging};

/// Sends the log lines of the process to standard error. Called once, before anything logs.
pub fn init(logging: &Logging) {
    let level = match logging.level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    // Each plugin's lines are filtered where they are written, by its own level.
    let plugins = if level == LevelFilter::OFF { level } else { LevelFilter::TRACE };
    let filter = Targets::new().with_default(level).with_target("plugin", plugins);
    let lines = layer().with_writer(std::io::stderr).with_target(false);
    let log = tracing_subscriber::registry().with(filter);
    let is_set = match logging.format {
        Format::Text => {
            let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            log.with(lines.with_ansi(is_terminal)).try_init()
        }
        Format::Json => log.with(lines.json().flatten_event(true)).try_init(),
    };
    // Only a second call fails, which changes nothing.
    let _ = is_set;
}
