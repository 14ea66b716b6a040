//! What a peer may ask for that costs us more than it costs the peer.

use crate::limits::{
    EMPTY_FRAMES_BURST, EMPTY_FRAMES_PER_SECOND, REPLIES_BURST, REPLIES_PER_SECOND, RESETS_BURST,
    RESETS_PER_SECOND,
};

/// Empty frames that one frame that carries something makes up for: windows are opened by two
/// frames for each that we send, and some peers say a priority with each.
const EMPTY_PER_FRAME: u32 = 4;

/// A kind of such frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Streams that end by a reset.
    Reset,
    /// Frames that must be answered.
    Reply,
    /// Frames that carry nothing.
    Empty,
}

/// How many of each kind are left.
#[derive(Debug)]
pub(super) struct Abuse {
    resets: Bucket,
    replies: Bucket,
    empty: Bucket,
}

impl Abuse {
    pub(super) fn new() -> Self {
        Self {
            resets: Bucket::new(RESETS_BURST, RESETS_PER_SECOND),
            replies: Bucket::new(REPLIES_BURST, REPLIES_PER_SECOND),
            empty: Bucket::new(EMPTY_FRAMES_BURST, EMPTY_FRAMES_PER_SECOND),
        }
    }

    /// Takes one; whether there was one.
    pub(super) fn take(&mut self, kind: Kind, now_ms: u64) -> bool {
        match kind {
            Kind::Reset => self.resets.take(now_ms),
            Kind::Reply => self.replies.take(now_ms),
            Kind::Empty => self.empty.take(now_ms),
        }
    }

    /// A stream has ended well.
    pub(super) fn stream_ended(&mut self) {
        self.resets.give(1);
    }

    /// A frame has carried something, either way.
    #[inline]
    pub(super) fn carried(&mut self) {
        self.replies.give(1);
        self.empty.give(EMPTY_PER_FRAME);
    }
}

/// So many at once, and so many more each second.
#[derive(Debug)]
struct Bucket {
    left: u32,
    burst: u32,
    per_second: u32,
    /// Up to when the time has been counted; 0: not yet.
    counted_ms: u64,
}

impl Bucket {
    fn new(burst: u32, per_second: u32) -> Self {
        Self { left: burst, burst, per_second, counted_ms: 0 }
    }

    #[inline]
    fn give(&mut self, more: u32) {
        self.left = self.left.saturating_add(more).min(self.burst);
    }

    fn take(&mut self, now_ms: u64) -> bool {
        if self.counted_ms == 0 {
            self.counted_ms = now_ms;
        }
        let seconds = now_ms.saturating_sub(self.counted_ms) / 1000;
        if seconds > 0 {
            self.counted_ms += seconds * 1000;
            let more = seconds.saturating_mul(u64::from(self.per_second));
            self.give(u32::try_from(more).unwrap_or(u32::MAX));
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_more_than_time_gives_is_found_out() {
        let mut bucket = Bucket::new(10, 2);
        assert!((0..10).all(|_| bucket.take(5)));
        assert!(!bucket.take(1004));
        assert!(bucket.take(1005) && bucket.take(1005) && !bucket.take(1900));
        bucket.give(100);
        assert!((0..10).all(|_| bucket.take(1900)) && !bucket.take(1900));
        assert!(bucket.take(u64::MAX));
    }
}
