//! State that all instances of a plugin share, on every worker, and with a Redis (the plugin's
//! `config` has `backend: redis` or `redis.host`) all gateways. Keys are the plugin's own.
//!
//! A value lives for its time to live, in milliseconds; 0 is for ever, which in the bounded memory
//! backend means until it is evicted.

use crate::{Error, sys};

const UNREACHABLE: &str = "the shared state can't be reached (the gateway's log says why)";

/// The value of a key; `None` if it is not there.
///
/// # Errors
/// Shared state that can't be reached.
pub fn get(key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    sys::kv_get(key).map_err(|()| Error::new(UNREACHABLE))
}

/// Sets a key.
///
/// # Errors
/// Shared state that can't be reached or is full; a key or value over its limit.
pub fn set(key: &[u8], value: &[u8], ttl_ms: i64) -> Result<(), Error> {
    if sys::kv_set(key, value, ttl_ms) == 0 { Ok(()) } else { Err(Error::new(UNREACHABLE)) }
}

/// Adds to a counter, and returns what it then is: atomic over all workers and gateways. A counter
/// that is not there is made, with this time to live; one that is keeps its own.
///
/// # Errors
/// Shared state that can't be reached or is full; a value that is no number.
pub fn increment(key: &[u8], by: i64, ttl_ms: i64) -> Result<i64, Error> {
    match sys::kv_incr(key, by, ttl_ms) {
        i64::MIN => Err(Error::new(UNREACHABLE)),
        value => Ok(value),
    }
}

/// Removes a key; returns whether it was there.
///
/// # Errors
/// Shared state that can't be reached.
pub fn delete(key: &[u8]) -> Result<bool, Error> {
    match sys::kv_delete(key) {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Error::new(UNREACHABLE)),
    }
}

/// Sets a key if it still has the expected value (`None`: if it is not there); returns whether it
/// was set. With [`get`] before it, this makes any change of a value atomic: try again until it is.
///
/// # Errors
/// Shared state that can't be reached or is full; a key or value over its limit.
pub fn compare_and_set(
    key: &[u8],
    expected: Option<&[u8]>,
    value: &[u8],
    ttl_ms: i64,
) -> Result<bool, Error> {
    match sys::kv_cas(key, expected, value, ttl_ms) {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Error::new(UNREACHABLE)),
    }
}
