//! Pauses in long work of a worker: requests come first.

use std::cell::Cell;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::sleep;
use crate::limits::{COMPUTE_STRETCH, PLUGIN_YIELD, REPORT_STRETCH};

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

/// Long computing in stretches: between two of them, those who wait have their turn. Shared by what
/// runs side by side for one exchange.
#[derive(Debug, Default)]
pub struct Stretches {
    /// How long has been computed in this one.
    spent: Cell<Duration>,
    /// Counts them.
    number: Cell<usize>,
    is_endless: bool,
}

impl Stretches {
    /// Does a piece of work, which should be short: nothing interrupts it.
    pub async fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        while self.spent.get() >= COMPUTE_STRETCH && !self.is_endless {
            let number = self.number.get();
            sleep(PLUGIN_YIELD).await;
            // Of several that have waited, the first begins the next stretch.
            if self.number.get() == number {
                self.number.set(number.wrapping_add(1));
                self.spent.set(Duration::ZERO);
            }
        }
        let begun = Instant::now();
        let outcome = work();
        self.spent.set(self.spent.get() + begun.elapsed());
        outcome
    }

    /// What `compute` makes, at one stretch: for who has no runtime to wait with.
    pub fn at_once<T>(compute: impl AsyncFnOnce(&Self) -> T) -> T {
        let stretches = Self { is_endless: true, ..Self::default() };
        let computing = pin!(compute(&stretches));
        match computing.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => unreachable!("nothing but the end of a stretch is waited for"),
        }
    }
}
