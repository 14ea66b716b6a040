//! The token bucket: `limit` tokens drip in per window, up to `burst`; a request takes one.
//!
//! The level is exact, in whole numbers: a token is as many units as the window has milliseconds,
//! so that `limit` units drip in per millisecond. It is changed by compare-and-set, which is tried
//! again when another worker or gateway was faster.

use odin_plugin::{Error, Period, kv};

use crate::Decision;

/// How often a lost race is run again. Each loss means that another request was decided, so this is
/// reached only when that many are decided at once; the failure mode then decides.
const TRIES_MAX: usize = 100;

/// The shape of a bucket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    /// Tokens per window.
    pub(crate) limit: i64,
    /// The window.
    pub(crate) window: Period,
    /// The most tokens that there are at once.
    pub(crate) burst: i64,
}

/// What is stored: the level when it was last changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    units: i64,
    at_ms: i64,
}

/// Takes a token, if there is one.
pub(crate) fn take(key: &str, bucket: &Bucket, now: i64) -> Result<Decision, Error> {
    for _ in 0..TRIES_MAX {
        let stored = kv::get(key.as_bytes())?;
        let units = bucket.level(stored.as_deref(), now);
        let left = units - bucket.token();
        if left < 0 {
            return Ok(bucket.decision(false, units));
        }
        let text = format!("{left},{now}");
        let expected = stored.as_deref();
        if kv::compare_and_set(key.as_bytes(), expected, text.as_bytes(), bucket.full_after_ms())? {
            return Ok(bucket.decision(true, left));
        }
    }
    Err(Error::new(format!("the bucket {key} was changed {TRIES_MAX} times while it was read")))
}

impl Bucket {
    /// Units per token.
    fn token(&self) -> i64 {
        self.window.millis()
    }

    /// Units when it is full.
    fn full(&self) -> i64 {
        self.burst.saturating_mul(self.token())
    }

    /// The level now. A bucket that is not stored (or expired, when it had long been full) is full;
    /// a clock that is behind another gateway's drips nothing.
    fn level(&self, stored: Option<&[u8]>, now: i64) -> i64 {
        let Some(state) = stored.and_then(parse) else {
            return self.full();
        };
        let elapsed = now.saturating_sub(state.at_ms).max(0);
        let dripped = elapsed.saturating_mul(self.limit);
        state.units.saturating_add(dripped).min(self.full())
    }

    /// A bucket left alone for so long is full, and need not be stored.
    fn full_after_ms(&self) -> i64 {
        self.full() / self.limit.max(1) + 1000
    }

    fn decision(&self, is_allowed: bool, units: i64) -> Decision {
        let missing = (self.token() - units).max(0);
        Decision {
            is_allowed,
            limit: self.limit,
            remaining: units / self.token(),
            reset_ms: missing.div_euclid(self.limit.max(1)) + 1,
        }
    }
}

fn parse(stored: &[u8]) -> Option<State> {
    let (units, at_ms) = std::str::from_utf8(stored).ok()?.split_once(',')?;
    Some(State { units: units.parse().ok()?, at_ms: at_ms.parse().ok()? })
}
