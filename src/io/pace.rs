//! Pauses in long work of a worker: requests come first.

use super::sleep;
use crate::limits::{PLUGIN_YIELD, REPORT_STRETCH};

/// Paces the copying of what was counted: some histograms, then the requests that wait meanwhile.
/// Through the driver's timer, because a task that wakes itself keeps all others from running.
#[derive(Debug, Default)]
pub struct Pace {
    copied: usize,
}

impl Pace {
    /// A histogram is about to be copied.
    pub async fn step(&mut self) {
        self.copied += 1;
        if self.copied.is_multiple_of(REPORT_STRETCH) {
            sleep(PLUGIN_YIELD).await;
        }
    }
}
