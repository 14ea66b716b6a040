//! Zero-downtime upgrade of the binary: SIGUSR2 starts the program that now stands where this one
//! was started from, hands it the listening sockets, and once it serves, the connections too.
//!
//! The new process does everything that can fail before it says that it could serve; until it
//! serves, nothing has changed here, and whatever fails changes nothing. From then on both hold the
//! same sockets: this one stops accepting and leaves the queues to the other, connections between
//! two requests are sent over (`downstream/handover.rs`), exchanges in flight are finished here.
//!
//! The parts: `channel` is what the two say to each other, `takeover` the side of the new process.

mod channel;
mod takeover;

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::edge::SharedTickets;
use super::sockets::{Held, SharedHeld};
use super::workers::Outboxes;
use crate::downstream::handover::Handover;
use crate::limits::{UPGRADE_FAILING_MAX, UPGRADE_SERVE_TIMEOUT};
use crate::upstream::condition::Carried;
use channel::{Message, Received};
use takeover::{Described, Description};

pub use channel::Channel;
pub use takeover::{Conversation, Inheritance, Predecessor};

/// What the next process is made of.
pub struct Upgrader {
    /// The program, where it was when this process was started.
    program: PathBuf,
    /// The sockets that it gets.
    held: SharedHeld,
    /// The ways from earlier processes that still hand over connections here, and what receives
    /// these.
    earlier: Vec<(Arc<Channel>, JoinHandle<()>)>,
    /// How many upgrades there were before.
    upgrades: u64,
    /// See [`Inheritance::activated`].
    activated: bool,
    /// The keys of TLS tickets, which the next process goes on with.
    tickets: Arc<SharedTickets>,
}

/// A process that serves in the place of this one.
pub struct Successor {
    /// Its id.
    pub pid: u32,
    /// The way to it for connections.
    pub handover: Arc<Handover>,
}

/// A process that does not serve yet; ended if it is given up.
struct Starting {
    child: Option<Child>,
}

impl Upgrader {
    /// For a process that listens on these sockets.
    pub fn new(
        program: PathBuf,
        held: SharedHeld,
        upgrades: u64,
        activated: bool,
        tickets: Arc<SharedTickets>,
    ) -> Self {
        Self { program, held, earlier: Vec::new(), upgrades, activated, tickets }
    }

    /// Whether this process is the only one that holds its listening sockets, unless it has a
    /// successor.
    pub fn holds_alone(&self) -> bool {
        !self.activated
    }

    /// Has the workers serve what comes from an earlier process.
    pub fn receive(&mut self, channel: Channel, outboxes: Outboxes) {
        let channel = Arc::new(channel);
        let receiving = tokio::spawn(receive(Arc::clone(&channel), outboxes));
        self.earlier.push((channel, receiving));
    }

    /// Gives up the sockets and the ways from earlier processes: a successor has them, or these
    /// close their connections themselves from now on.
    pub fn close(self, outboxes: &Outboxes, has_successor: bool) {
        self.held.borrow_mut().clear();
        for (channel, receiving) in self.earlier {
            receiving.abort();
            if !has_successor {
                channel.close().into_iter().for_each(|accepted| outboxes.serve(accepted));
            }
        }
    }

    /// The program that the next process will run.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Starts the next process and waits until it serves. Dropped before, or failed, it has ended.
    /// `failing` does not work here either; `targets` is asked for how they stand when it could.
    ///
    /// # Errors
    /// This process is to go on: why, in words for the operator.
    pub async fn attempt(
        &self,
        failing: Vec<String>,
        within: Duration,
        targets: impl FnOnce() -> Vec<Carried>,
    ) -> Result<Successor, String> {
        let (channel, mut starting) =
            self.start(failing).map_err(|error| self.cannot_start(&error))?;
        let prepared = tokio::time::timeout(within, next(&channel)).await;
        match prepared {
            Ok(Some(Message::Prepared)) => {}
            Ok(Some(Message::Failed(reason))) => return Err(reason),
            Ok(other) => return Err(starting.unexpected(other.as_ref()).await),
            Err(_) => {
                return Err(format!(
                    "the new process was not ready within {within:?} (server.upgradeTimeout)"
                ));
            }
        }
        for carried in targets() {
            // What does not go through is found out again.
            let _ = channel.send(&Message::Target(Box::new(carried)));
        }
        channel.send(&Message::Serve).map_err(|error| format!("it cannot be reached: {error}"))?;
        match tokio::time::timeout(UPGRADE_SERVE_TIMEOUT, next(&channel)).await {
            Ok(Some(Message::Serving)) => {}
            Ok(Some(Message::Failed(reason))) => return Err(reason),
            Ok(other) => return Err(starting.unexpected(other.as_ref()).await),
            Err(_) => return Err("the new process was ready and did not serve".to_owned()),
        }
        let socket = channel.share().map_err(|error| error.to_string())?;
        let pid = starting.release();
        Ok(Successor { pid, handover: Arc::new(Handover::new(socket)) })
    }

    fn cannot_start(&self, error: &io::Error) -> String {
        format!("cannot start {}: {error}", self.program.display())
    }

    fn start(&self, failing: Vec<String>) -> io::Result<(Channel, Starting)> {
        let (ours, theirs) = channel::pair()?;
        // Before it is there: it finds them when it begins. One that does not fit the buffer costs
        // some clients a full handshake.
        for told in self.tickets.told() {
            let _ = ours.send(&Message::Tickets(told));
        }
        // The copies that the new process inherits. Nobody else starts processes here.
        let mut inherited = Vec::new();
        let mut inherit = |socket: &dyn AsFd| -> io::Result<RawFd> {
            let copy: OwnedFd = rustix::io::dup(socket.as_fd())?;
            let number = copy.as_raw_fd();
            inherited.push(copy);
            Ok(number)
        };
        let mut description = Description {
            from: std::process::id(),
            upgrades: self.upgrades,
            channel: inherit(&theirs)?,
            failing,
            activated: self.activated,
            ..Description::default()
        };
        description.failing.truncate(UPGRADE_FAILING_MAX);
        for (channel, receiving) in &self.earlier {
            if !receiving.is_finished() {
                description.earlier.push(inherit(&**channel)?);
            }
        }
        for Held { purpose, listen, socket } in &*self.held.borrow() {
            let (purpose, listen) = (*purpose, listen.clone());
            description.sockets.push(Described { fd: inherit(socket)?, purpose, listen });
        }
        let child = Command::new(&self.program)
            .args(std::env::args_os().skip(1))
            .env(takeover::VARIABLE, serde_json::to_string(&description)?)
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_FDNAMES")
            .spawn()?;
        Ok((ours, Starting { child: Some(child) }))
    }
}

/// The next message; `None` when the other process has ended.
async fn next(channel: &Channel) -> Option<Message> {
    loop {
        if let Received::Message(message) = channel.receive().await? {
            return Some(message);
        }
    }
}

impl Starting {
    /// Why a process ended or spoke before its turn.
    async fn unexpected(&mut self, message: Option<&Message>) -> String {
        if let Some(message) = message {
            return format!("the new process said {message:?} out of turn");
        }
        // It has closed its end: it is ending, or was never one of ours.
        for _ in 0..100 {
            let Some(child) = &mut self.child else { break };
            if let Ok(Some(status)) = child.try_wait() {
                self.child = None;
                return format!("the new process ended before it was ready ({status})");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        "the new process has closed the way to it".to_owned()
    }

    fn release(mut self) -> u32 {
        self.child.take().map_or(0, |child| child.id())
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It serves nobody yet.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Serves the connections that earlier processes hand over, until these have ended. Each worker
/// gets as many.
async fn receive(channel: Arc<Channel>, outboxes: Outboxes) {
    while let Some(received) = channel.receive().await {
        match received {
            Received::Connection(accepted) => outboxes.serve(accepted),
            Received::Message(message) => tracing::warn!(?message, "unexpected after an upgrade"),
            Received::Unknown => {
                tracing::warn!("a connection that was handed over is lost (RLIMIT_NOFILE?)");
            }
        }
    }
}

/// Where the program of this process is, so that what stands there later is found: the path that it
/// was started by, which may be a link that an upgrade moves; else that of its file. At the start.
pub fn program() -> io::Result<PathBuf> {
    let named = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let Ok(file) = std::env::current_exe() else {
        // /proc is not mounted, as in a bare chroot: an upgrade, if there is one, says what it
        // lacks.
        return std::path::absolute(named);
    };
    let file = without_deleted(file);
    let found = match named.components().count() {
        0 => None,
        1 => std::env::var_os("PATH").and_then(|path| {
            std::env::split_paths(&path).map(|dir| dir.join(&named)).find(|path| path.is_file())
        }),
        _ => Some(named),
    };
    let is_this = |path: &PathBuf| path.canonicalize().is_ok_and(|path| path == file);
    match found.filter(is_this) {
        Some(path) => std::path::absolute(path),
        None => Ok(file),
    }
}

/// Of a program whose file was replaced the kernel says so behind its path.
fn without_deleted(file: PathBuf) -> PathBuf {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    match file.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(path) if !file.exists() => OsString::from_vec(path.to_vec()).into(),
        _ => file,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_replaced_is_found_where_it_was() {
        let there = PathBuf::from("/usr/bin/odin (deleted)");
        assert_eq!(without_deleted(there), PathBuf::from("/usr/bin/odin"));
        assert_eq!(without_deleted("/usr/bin/odin".into()), PathBuf::from("/usr/bin/odin"));
    }

    #[test]
    fn the_program_is_this_one() {
        let program = program().unwrap();
        let this = std::env::current_exe().unwrap();
        assert_eq!(program.canonicalize().unwrap(), this.canonicalize().unwrap());
        assert!(program.is_absolute());
    }
}
