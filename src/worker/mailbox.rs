//! Messages from the control plane to a worker.
//!
//! A standard channel carries them; a byte on a socket pair wakes the worker's runtime, which so
//! needs no cross-thread wakers. A reply is a closure that the control plane sends along.

use std::io::{self, Write};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use crate::io::runtime::{AsyncReadRent, UnixStream};

use super::report::Report;
use crate::downstream::handover::Handover;
use crate::downstream::listener::{Accepted, Bound};
use crate::plugin::PrepareFailure;
use crate::snapshot::Snapshot;

/// How a worker answers: called on its thread, so it must not wait. The control plane sends into a
/// channel of its own.
pub type Reply<T> = Box<dyn FnOnce(T) + Send>;

/// What the control plane asks of a worker.
pub enum Mail {
    /// Make the instances that this snapshot's plugins need, then say so.
    Prepare {
        /// Not published yet.
        snapshot: Arc<Snapshot>,
        /// Gets what could not be made.
        ready: Reply<Vec<PrepareFailure>>,
    },
    /// End the instances of plugins that are not in this snapshot.
    Retire {
        /// Published, taken by every new exchange.
        keep: Arc<Snapshot>,
    },
    /// Accept on these sockets, which listen.
    Listen {
        /// The worker's own.
        sockets: Vec<Bound>,
        /// Called when it does.
        done: Reply<()>,
    },
    /// Accept no more on the sockets of these listeners, which are no more; what has been accepted
    /// goes on.
    Unlisten {
        /// Their ids.
        ids: Vec<String>,
        /// No other process holds their sockets: see [`Listeners::close`].
        ///
        /// [`Listeners::close`]: crate::downstream::listener::Listeners::close
        holds_alone: bool,
    },
    /// Serve a connection that an earlier process has handed over.
    Serve(Accepted),
    /// Copy what was counted.
    Report {
        /// Gets the copy.
        reply: Reply<Report>,
    },
    /// Stop accepting, finish, end.
    Drain {
        /// Where connections between two requests go on.
        handover: Option<Arc<Handover>>,
        /// No other process holds the listening sockets: see [`Listeners::close`].
        ///
        /// [`Listeners::close`]: crate::downstream::listener::Listeners::close
        holds_alone: bool,
        /// After so long the process is cut.
        timeout: Duration,
    },
}

/// The control plane's end.
#[derive(Debug)]
pub struct Outbox {
    mail: Sender<Mail>,
    wake: StdUnixStream,
}

/// The worker's end before its runtime runs.
#[derive(Debug)]
pub struct UnopenedInbox {
    mail: Receiver<Mail>,
    wake: StdUnixStream,
}

/// The worker's end.
#[derive(Debug)]
pub struct Inbox {
    mail: Receiver<Mail>,
    wake: UnixStream,
    woken: Option<Vec<u8>>,
}

/// A mailbox: the two ends.
pub fn mailbox() -> io::Result<(Outbox, UnopenedInbox)> {
    let (sender, receiver) = mpsc::channel();
    let (ours, theirs) = StdUnixStream::pair()?;
    // A full socket buffer means that the worker has not seen the earlier bytes; one is enough.
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    Ok((Outbox { mail: sender, wake: ours }, UnopenedInbox { mail: receiver, wake: theirs }))
}

impl Outbox {
    /// Sends a message. `false`: the worker has ended.
    pub fn send(&self, mail: Mail) -> bool {
        if self.mail.send(mail).is_err() {
            return false;
        }
        match (&self.wake).write_all(&[1]) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

impl UnopenedInbox {
    /// Opens it on the worker's runtime.
    pub fn open(self) -> io::Result<Inbox> {
        let wake = UnixStream::from_std(self.wake)?;
        Ok(Inbox { mail: self.mail, wake, woken: Some(Vec::with_capacity(64)) })
    }
}

impl Inbox {
    /// The next message; `None` once the control plane is gone.
    pub async fn next(&mut self) -> Option<Mail> {
        loop {
            match self.mail.try_recv() {
                Ok(mail) => return Some(mail),
                Err(mpsc::TryRecvError::Disconnected) => return None,
                Err(mpsc::TryRecvError::Empty) => {}
            }
            let woken = self.woken.take().unwrap_or_else(|| Vec::with_capacity(64));
            let (outcome, mut woken) = self.wake.read(woken).await;
            woken.clear();
            self.woken = Some(woken);
            if matches!(outcome, Ok(0) | Err(_)) {
                return self.mail.try_recv().ok();
            }
        }
    }
}
