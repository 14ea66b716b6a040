//! Messages from the control plane to a worker.
//!
//! A standard channel carries them; a byte on a socket pair wakes the worker's runtime, which so
//! needs no cross-thread wakers. A reply is a closure that the control plane sends along.

use std::io::{self, Write};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use monoio::io::AsyncReadRent;
use monoio::net::UnixStream;

use super::Counters;
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
    /// Copy the counters.
    Count {
        /// Gets the copy.
        reply: Reply<Counters>,
    },
    /// Stop accepting, finish, end.
    Drain,
}

/// The control plane's end.
#[derive(Debug)]
pub struct Outbox {
    mail: Sender<Mail>,
    bell: StdUnixStream,
}

/// The worker's end before its runtime runs.
#[derive(Debug)]
pub struct Letterbox {
    mail: Receiver<Mail>,
    bell: StdUnixStream,
}

/// The worker's end.
#[derive(Debug)]
pub struct Inbox {
    mail: Receiver<Mail>,
    bell: UnixStream,
    heard: Option<Vec<u8>>,
}

/// A mailbox: the two ends.
pub fn mailbox() -> io::Result<(Outbox, Letterbox)> {
    let (sender, receiver) = mpsc::channel();
    let (ours, theirs) = StdUnixStream::pair()?;
    // A full socket buffer means that the worker has not heard the earlier rings; one is enough.
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    Ok((Outbox { mail: sender, bell: ours }, Letterbox { mail: receiver, bell: theirs }))
}

impl Outbox {
    /// Sends a message. `false`: the worker has ended.
    pub fn send(&self, mail: Mail) -> bool {
        if self.mail.send(mail).is_err() {
            return false;
        }
        match (&self.bell).write_all(&[1]) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

impl Letterbox {
    /// Opens it on the worker's runtime.
    pub fn open(self) -> io::Result<Inbox> {
        let bell = UnixStream::from_std(self.bell)?;
        Ok(Inbox { mail: self.mail, bell, heard: Some(Vec::with_capacity(64)) })
    }
}

impl Inbox {
    /// The next message; [`Mail::Drain`] once the control plane is gone.
    pub async fn next(&mut self) -> Mail {
        loop {
            match self.mail.try_recv() {
                Ok(mail) => return mail,
                Err(mpsc::TryRecvError::Disconnected) => return Mail::Drain,
                Err(mpsc::TryRecvError::Empty) => {}
            }
            let heard = self.heard.take().unwrap_or_else(|| Vec::with_capacity(64));
            let (outcome, mut heard) = self.bell.read(heard).await;
            heard.clear();
            self.heard = Some(heard);
            if matches!(outcome, Ok(0) | Err(_)) {
                return self.mail.try_recv().unwrap_or(Mail::Drain);
            }
        }
    }
}
