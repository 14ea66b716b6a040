//! What the host offers a plugin: log, clock, configuration, files, metrics. Calls over HTTP are in
//! [`crate::http`], shared state is in [`crate::kv`].
//!
//! On wasm32 these are imports of the module `env`, and a module imports only what it uses.
//! Natively the thread's stand-in of [`crate::testing`] answers, so that a plugin's own tests see
//! what it logged and decide what time it is.
//!
//! What a plugin may reach is what its own `config` names: a file whose path stands there can be
//! read, another can't, and the gateway's log says so.

use serde::de::DeserializeOwned;

use crate::{Error, sys};

/// How important a log line is; the gateway's `logging.level` decides what is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum Level {
    /// Every step.
    Trace = 0,
    /// What helps to find a mistake.
    Debug = 1,
    /// What an operator may want to know.
    Info = 2,
    /// What should not be, but goes on.
    Warn = 3,
    /// What failed.
    Error = 4,
}

/// Writes one line to the gateway's log, under the plugin's name.
pub fn log(level: Level, text: &str) {
    sys::log(level, text);
}

/// A log line of level debug.
pub fn debug(text: &str) {
    log(Level::Debug, text);
}

/// A log line of level info.
pub fn info(text: &str) {
    log(Level::Info, text);
}

/// A log line of level warn.
pub fn warn(text: &str) {
    log(Level::Warn, text);
}

/// A log line of level error.
pub fn error(text: &str) {
    log(Level::Error, text);
}

/// Unix time in seconds.
pub fn now_seconds() -> i64 {
    sys::get_time()
}

/// A key of the plugin's `config` as text; dots reach into nested objects (`redis.host`). A value
/// that is no string comes as JSON. `None` where there is no such key.
///
/// Most plugins want [`crate::Plugin::Config`] instead, which is typed and parsed once.
pub fn config_text(key: &str) -> Option<String> {
    String::from_utf8(sys::get_config(key)?).ok()
}

/// A key of the plugin's `config` as the type it should have; `None` where there is no such key or
/// it is of another type.
pub fn config<T: DeserializeOwned>(key: &str) -> Option<T> {
    let text = config_text(key)?;
    // A string arrives without quotes, and so does not parse as one.
    serde_json::from_str(&text)
        .or_else(|_| serde_json::from_value(serde_json::Value::String(text)))
        .ok()
}

/// Unix time in milliseconds.
pub fn now_millis() -> i64 {
    sys::get_time_ms()
}

/// The content of a file whose path stands in the plugin's `config`.
///
/// # Errors
/// A file that is not there, is too large, or stands not in `config`; the gateway's log says which.
pub fn read_file(path: &str) -> Result<Vec<u8>, Error> {
    sys::read_file(path)
        .ok_or_else(|| Error::new(format!("{path} can't be read (the gateway's log says why)")))
}

/// Adds to a counter of the plugin's own, in the gateway's metrics under the plugin's name.
pub fn count(metric: &str, by: i64) {
    sys::metric_increment(metric, by);
}

/// Records a value in a histogram of the plugin's own.
pub fn record(metric: &str, value: i64) {
    sys::metric_record(metric, value);
}
