//! The two counting algorithms.
//!
//! A fixed window begins with a client's first request and is one counter that expires: the
//! cheapest, one operation per request; a client may use one window's limit at its end and the
//! next's at its beginning. A sliding window weighs the window before by how much of it still
//! counts: two operations, and no such seam; an approximation that assumes that requests come
//! evenly.

use odin_plugin::{Error, Period, kv};

use crate::Decision;

/// Counts one request in a window that begins with the first one.
pub(crate) fn fixed(key: &str, limit: i64, window: Period, now: i64) -> Result<Decision, Error> {
    let begin_key = format!("{key}:begin");
    let count = kv::increment(key.as_bytes(), 1, window.millis())?;
    if count == 1 {
        kv::set(begin_key.as_bytes(), now.to_string().as_bytes(), window.millis())?;
    }
    let is_allowed = count <= limit;
    // When the window ends is asked for only by those who are told to wait for it.
    let reset_ms = if is_allowed { 0 } else { until_end(&begin_key, window, now)? };
    Ok(Decision { is_allowed, limit, remaining: (limit - count).max(0), reset_ms })
}

fn until_end(begin_key: &str, window: Period, now: i64) -> Result<i64, Error> {
    let begin = kv::get(begin_key.as_bytes())?;
    let begin = begin.and_then(|text| String::from_utf8(text).ok()?.parse::<i64>().ok());
    let elapsed = begin.map_or(0, |begin| now.saturating_sub(begin));
    Ok(window.millis().saturating_sub(elapsed).clamp(0, window.millis()))
}

/// Counts one request in the window that contains `now`, if it and what still counts of the window
/// before leave room. Only requests that are let pass count.
pub(crate) fn sliding(key: &str, limit: i64, window: Period, now: i64) -> Result<Decision, Error> {
    let window_ms = window.millis();
    let (index, elapsed) = (now.div_euclid(window_ms), now.rem_euclid(window_ms));
    let before = kv::get(format!("{key}:{}", index - 1).as_bytes())?;
    let before = before.and_then(|text| String::from_utf8(text).ok()?.parse().ok()).unwrap_or(0i64);
    let weight_ms = window_ms - elapsed;
    let carried = (i128::from(before) * i128::from(weight_ms) / i128::from(window_ms)) as i64;

    let current_key = format!("{key}:{index}");
    // It must outlive its window by one: it is then the window before.
    let count = kv::increment(current_key.as_bytes(), 1, window_ms.saturating_mul(2))?;
    let is_allowed = carried.saturating_add(count) <= limit;
    if !is_allowed {
        kv::increment(current_key.as_bytes(), -1, window_ms.saturating_mul(2))?;
    }
    let reset_ms = if is_allowed { 0 } else { wait(before, count - 1, limit, elapsed, window_ms) };
    let remaining = (limit - carried - count).max(0);
    Ok(Decision { is_allowed, limit, remaining, reset_ms })
}

/// Milliseconds until the window before has lost so much weight that one more fits; else until this
/// window is the one before.
fn wait(before: i64, count: i64, limit: i64, elapsed: i64, window_ms: i64) -> i64 {
    let room = limit - 1 - count;
    if room < 0 || before == 0 {
        return window_ms - elapsed;
    }
    // before * (window - t) / window <= room, solved for t
    let spent = i128::from(room + 1) * i128::from(window_ms) / i128::from(before);
    let at = i128::from(window_ms) - spent;
    i64::try_from(at - i128::from(elapsed)).unwrap_or(window_ms).clamp(1, window_ms)
}
