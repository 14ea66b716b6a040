//! The signals that end or upgrade the process. Caught from the start on: what they do when nobody
//! catches them is to end it.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Where signals arrive.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    upgrade: Signal,
}

impl Signals {
    /// Catches them.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next signal: whether it is one that ends the process (SIGTERM, SIGINT) and not SIGUSR2.
    pub(super) async fn any(&mut self) -> bool {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => true,
            _ = self.interrupt.recv() => true,
            _ = self.upgrade.recv() => false,
        }
    }

    /// Forgets upgrades that were asked for while nobody could make one: who signals all processes
    /// of a name means the one that serves.
    pub(super) fn forget_upgrades(&mut self) -> io::Result<()> {
        self.upgrade = signal(SignalKind::user_defined2())?;
        Ok(())
    }
}
