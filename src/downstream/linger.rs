//! Closing a connection so that its last response arrives (RFC 9112 section 9.6).
//!
//! A socket that is closed with unread bytes, or that gets some afterwards, is reset, and a reset
//! throws away what the client has not taken yet. So what comes is read and dropped until the
//! client has taken everything and nothing more is to be expected of it.

use std::os::fd::RawFd;
use std::time::Duration;

use crate::http::h1::receive::Receiver;
use crate::io::deadline::now_ms;
use crate::io::stream::{self, Direction, Dropped, Stream};
use crate::io::{sleep, timeout};
use crate::limits::{
    LINGER_BYTES_MAX, LINGER_PAUSE, LINGER_QUIET, LINGER_STEP, LINGER_STRETCH_BYTES,
    LINGER_TIME_MAX,
};

/// Whether closing now could take nothing from the client: it has received all that was sent, and
/// nothing of its own lies unread.
pub(super) fn is_settled(fd: RawFd) -> bool {
    stream::unsent(fd) == 0 && !stream::has_received(fd)
}

/// Ends the sending direction and waits until the connection may be closed. The client may take
/// `stall` from one step of taking the response to the next. `sends_on`: it has not sent all of its
/// request yet.
pub(super) async fn linger<S: Stream>(
    receiver: &mut Receiver<S>,
    fd: RawFd,
    stall: Duration,
    mut sends_on: bool,
) {
    receiver.drop_buffered();
    // A deadline has ended the reading direction: that it has ended is not the client's word, and
    // waiting for bytes would not wait. With both ended the kernel resets at the next byte, so the
    // other one ends only with the socket, once the response has arrived.
    let is_deaf = receiver.deadline.has_fired();
    if !is_deaf {
        stream::shutdown(fd, Direction::Write);
    }
    receiver.deadline.disarm();
    let begun = now_ms();
    let (mut moved, mut unsent, mut left) = (begun, stream::unsent(fd), LINGER_BYTES_MAX);
    let mut has_more = false;
    loop {
        match (has_more, is_deaf) {
            // Whoever sends fast shares the worker with the others.
            (true, _) => sleep(LINGER_PAUSE).await,
            (false, true) => sleep(LINGER_STEP).await,
            (false, false) => {
                if let Ok(Err(_)) = timeout(LINGER_STEP, receiver.readable()).await {
                    return;
                }
            }
        }
        let most = left.min(LINGER_STRETCH_BYTES);
        let Dropped { bytes, has_ended } = stream::drop_received(fd, most);
        left = left.saturating_sub(bytes);
        if (has_ended && !is_deaf) || left == 0 {
            return;
        }
        has_more = bytes >= most;
        let (now, unsent_before) = (now_ms(), unsent);
        unsent = stream::unsent(fd);
        if bytes > 0 || unsent < unsent_before {
            moved = now;
        }
        sends_on |= bytes > 0;
        let patience = match unsent {
            0 if is_deaf || !sends_on => Duration::ZERO,
            0 => LINGER_QUIET,
            _ => stall,
        };
        let is_over =
            |since: u64, most: Duration| u128::from(now.saturating_sub(since)) >= most.as_millis();
        if is_over(moved, patience) || is_over(begun, LINGER_TIME_MAX) {
            return;
        }
    }
}
