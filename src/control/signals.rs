//! The signals of the process. Caught from the start on: what they do when nobody catches them is
//! to
//! end it.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::access_log;
use super::reload::{Cause, Change, Control};
use super::supervisor::Supervisor;

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

/// Reads the configuration again at each SIGHUP.
pub(super) async fn reload_on_signal(
    mut hangups: Signal,
    control: &Control,
    supervisor: &Supervisor,
) {
    while hangups.recv().await.is_some() {
        supervisor.reloading();
        // Another one takes its place while it waits for modules.
        let made = loop {
            tokio::select! {
                biased;
                made = control.make(Change::File, Cause::Signal) => break made,
                Some(()) = hangups.recv() => {}
            }
        };
        match made {
            Ok(done) => supervisor.reloaded(&format!("serving generation {}", done.generation)),
            Err(refusal) => supervisor.reloaded(&format!("reload refused: {}", refusal.reason)),
        }
    }
}

/// Has the access log open its file again at each SIGUSR1, whatever the configuration is by now.
pub(super) async fn reopen_on_signal(mut rotations: Signal) {
    while rotations.recv().await.is_some() {
        access_log::reopen();
    }
}
