//! What the host offers a plugin: log, clock, configuration.
//!
//! On wasm32 these are imports of the module `env`. Natively the thread's stand-in of
//! [`crate::testing`] answers, so that a plugin's own tests see what it logged and decide what time
//! it is.

use serde::de::DeserializeOwned;

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

#[cfg(not(target_arch = "wasm32"))]
use crate::testing::host as sys;

/// The imports themselves.
#[cfg(target_arch = "wasm32")]
mod sys {
    #![expect(unsafe_code, reason = "imports of the host are foreign functions")]

    use super::Level;
    use crate::abi;

    mod env {
        #[link(wasm_import_module = "env")]
        unsafe extern "C" {
            pub(super) fn log(level: i32, text: *const u8, len: usize);
            pub(super) safe fn get_time() -> i64;
            pub(super) fn get_config(key: *const u8, len: usize) -> u64;
        }
    }

    pub(super) fn log(level: Level, text: &str) {
        // SAFETY: the host reads `len` bytes of a live string and keeps nothing of it.
        unsafe { env::log(level as i32, text.as_ptr(), text.len()) }
    }

    pub(super) fn get_time() -> i64 {
        env::get_time()
    }

    pub(super) fn get_config(key: &str) -> Option<Vec<u8>> {
        // SAFETY: as for `log`.
        abi::read(unsafe { env::get_config(key.as_ptr(), key.len()) })
    }
}
