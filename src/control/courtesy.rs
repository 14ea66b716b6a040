//! Manners towards workers that share the core with the control plane.
//!
//! A thread that wakes up waits until the one that runs has had its slice, some milliseconds: for a
//! request, that is for ever. So work of the control plane offers the core between its steps.
//! Rejected: `SCHED_IDLE` or a high nice value, under which a change would never be made while the
//! workers are busy, and from which a process without privileges cannot return.

use sha2::{Digest, Sha256};

/// Bytes hashed between two offers: some 20 us.
const HASHED_AT_ONCE: usize = 32 * 1024;

/// Lets whoever waits for this core go first; costs next to nothing if nobody does.
pub(super) fn yield_core() {
    std::thread::yield_now();
}

/// The digest of `bytes`, which may be many.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for piece in bytes.chunks(HASHED_AT_ONCE) {
        hasher.update(piece);
        yield_core();
    }
    hasher.finalize().into()
}
