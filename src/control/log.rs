//! Where log lines go: standard error, as text or JSON.

use tracing::level_filters::LevelFilter;

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
    let lines = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false);
    let is_set = match logging.format {
        Format::Text => {
            let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            lines.with_ansi(is_terminal).try_init()
        }
        Format::Json => lines.json().flatten_event(true).try_init(),
    };
    // Only a second call fails, which changes nothing.
    let _ = is_set;
}
