//! Connections that go on in the next process, when the binary is upgraded.
//!
//! A connection between two requests is a descriptor and nothing else, so the next process can have
//! it: it is sent over a socket pair (SCM_RIGHTS) and closed here. The client sees nothing of that;
//! what it sends meanwhile waits in the kernel for whoever reads next. Rejected: closing idle
//! connections, as nginx does; a request that crosses with the close is lost.
//!
//! Left out: streams whose state is not in the kernel alone (`Stream::IS_PORTABLE`). They get
//! `Connection: close` with their next response.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd, RawFd};

use rustix::io::Errno;

use crate::http::connection::Connection;
use crate::io::stream;

/// First word of the message that a connection comes with. The address of its client follows, and
/// where a proxy has named that one (PROXY protocol), the address of its peer.
const WORD: &str = "connection ";

/// The way to the next process. The workers share it: a message is sent whole or not at all.
#[derive(Debug)]
pub struct Handover {
    channel: OwnedFd,
}

/// What became of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It is the next process's.
    Moved,
    /// Too many are on their way: it may be tried again a little later.
    Later,
    /// There is no next process any more.
    Gone,
}

impl Handover {
    /// Over this end of a socket pair of whole messages, whose other end the next process has.
    pub fn new(channel: OwnedFd) -> Self {
        Self { channel }
    }

    /// Sends a connection that has nothing unread. [`Sent::Moved`]: close it, and only close it.
    ///
    /// `fd` must belong to a live stream of this worker.
    pub fn send(&self, fd: RawFd, connection: &Connection) -> Sent {
        let Connection { client, peer, .. } = connection;
        let message = match client == peer {
            true => format!("{WORD}{client}"),
            false => format!("{WORD}{client} {peer}"),
        };
        match stream::send_with(self.channel.as_fd(), message.as_bytes(), fd) {
            Ok(()) => Sent::Moved,
            // The receiver's buffer, or the number of descriptors under way, has its limit.
            Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS | Errno::NOMEM | Errno::TOOMANYREFS) => {
                Sent::Later
            }
            Err(_) => Sent::Gone,
        }
    }
}

/// The facts of the connection that came with this message; `None`: it is another message.
pub fn facts(message: &str) -> Option<Connection> {
    let addresses = message.strip_prefix(WORD)?;
    let (client, peer) = addresses.split_once(' ').unwrap_or((addresses, addresses));
    let (client, peer): (IpAddr, IpAddr) = (client.parse().ok()?, peer.parse().ok()?);
    Some(Connection { client, ..Connection::plain(peer) })
}
