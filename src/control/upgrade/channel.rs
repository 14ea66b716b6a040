//! The socket pair between a process and its successor: whole messages, one way and the other.
//!
//! The keys of TLS tickets are there when the successor begins. It says `prepared`, or `failed` and
//! why; is told `serve`; says `serving`. From then on it is sent connections
//! (`downstream/handover.rs`). The end of the other process is the end of the channel.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketFlags,
    SocketType,
};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

use crate::control::edge::ToldTickets;
use crate::downstream::handover;
use crate::downstream::listener::Accepted;
use crate::limits::UPGRADE_MESSAGE_BYTES_MAX;
use crate::upstream::condition::Carried;

/// A message between the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Message {
    /// The successor has compiled everything and could serve.
    Prepared,
    /// The successor cannot serve, for this reason.
    Failed(String),
    /// How a target stands in the process that it takes the place of.
    Target(Box<Carried>),
    /// It is to serve.
    Serve,
    /// It serves.
    Serving,
    /// Keys of TLS tickets, for the successor: by this way alone, and first.
    Tickets(ToldTickets),
}

/// What came.
#[derive(Debug)]
pub enum Received {
    /// A message.
    Message(Message),
    /// A connection.
    Connection(Accepted),
    /// Something that this version does not know, or that is broken.
    Unknown,
}

/// One end.
#[derive(Debug)]
pub struct Channel {
    /// A socket of whole messages like any datagram socket; unlike these it says when the other end
    /// has closed.
    socket: UnixDatagram,
}

/// A pair of ends; the second is for another process.
pub(super) fn pair() -> io::Result<(Channel, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    Ok((Channel::open(ours)?, theirs))
}

impl Channel {
    /// Of a descriptor that does not block.
    pub fn open(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self { socket: UnixDatagram::from_std(socket.into())? })
    }

    /// Another handle of this end.
    pub fn share(&self) -> io::Result<OwnedFd> {
        self.as_fd().try_clone_to_owned()
    }

    /// Sends a message. The buffer of the socket holds more than the few that there are.
    pub fn send(&self, message: &Message) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        rustix::net::send(self.as_fd(), &text, flags)?;
        Ok(())
    }

    /// The keys of tickets that have come before anything else.
    pub fn tickets(&self) -> Vec<ToldTickets> {
        let next = || match read(self.as_fd()) {
            Ok(Some(Received::Message(Message::Tickets(told)))) => Some(told),
            _ => None,
        };
        std::iter::from_fn(next).collect()
    }

    /// What comes next; `None` when the other process has ended.
    pub async fn receive(&self) -> Option<Received> {
        loop {
            self.socket.readable().await.ok()?;
            let read = || read(self.as_fd()).map_err(io::Error::from);
            match self.socket.try_io(Interest::READABLE, read) {
                Ok(received) => return received,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {}
                    // A reset: it ended with messages unread.
                    _ => return None,
                },
            }
        }
    }

    /// Takes no more from now on, and gives what has come already.
    pub fn close(&self) -> Vec<Accepted> {
        // The other process learns of it when it sends.
        let _ = rustix::net::shutdown(self.as_fd(), rustix::net::Shutdown::Read);
        let mut rest = Vec::new();
        while let Ok(Some(received)) = read(self.as_fd()) {
            if let Received::Connection(accepted) = received {
                rest.push(accepted);
            }
        }
        rest
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn read(socket: BorrowedFd<'_>) -> Result<Option<Received>, Errno> {
    let mut bytes = vec![0; UPGRADE_MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut into = [io::IoSliceMut::new(&mut bytes)];
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let count = rustix::net::recvmsg(socket, &mut into, &mut ancillary, flags)?.bytes;
    let mut descriptor = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
            descriptor = descriptors.next();
        }
    }
    if count == 0 {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&bytes[..count]);
    let received = match (handover::facts(&text), descriptor) {
        (Some(facts), Some(descriptor)) => {
            Accepted::of(descriptor, facts).map_or(Received::Unknown, Received::Connection)
        }
        // No descriptor was free for it here: RLIMIT_NOFILE.
        (Some(_), None) => Received::Unknown,
        (None, _) => serde_json::from_str(&text).map_or(Received::Unknown, Received::Message),
    };
    Ok(Some(received))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::downstream::handover::{Handover, Sent};
    use crate::http::connection::Connection;

    #[tokio::test(flavor = "current_thread")]
    async fn messages_and_connections_arrive_and_the_end_shows() {
        let (ours, theirs) = pair().unwrap();
        let theirs = Channel::open(theirs).unwrap();
        let failed = Message::Failed("line 3: \"wokers\"".to_owned());
        theirs.send(&failed).unwrap();
        assert!(matches!(ours.receive().await, Some(Received::Message(got)) if got == failed));

        let (mut socket, served) = std::os::unix::net::UnixStream::pair().unwrap();
        let handover = Handover::new(ours.share().unwrap());
        let client = "2001:db8::7".parse().unwrap();
        let proxied = Connection { client, ..Connection::plain("192.0.2.7".parse().unwrap()) };
        assert_eq!(handover.send(served.as_raw_fd(), &proxied), Sent::Moved);
        drop(served);
        socket.write_all(b"?").unwrap();
        let Some(Received::Connection(Accepted::Unix(mut moved, from))) = theirs.receive().await
        else {
            panic!("no connection")
        };
        assert_eq!((from.client, from.peer), (proxied.client, proxied.peer));
        moved.read_exact(&mut [0]).unwrap();

        drop(theirs);
        assert!(ours.receive().await.is_none());
        assert_eq!(handover.send(socket.as_raw_fd(), &proxied), Sent::Gone);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_full_channel_says_later_and_one_that_closes_gives_the_rest() {
        let (ours, theirs) = pair().unwrap();
        let theirs = Channel::open(theirs).unwrap();
        let (_client, served) = std::os::unix::net::UnixStream::pair().unwrap();
        let handover = Handover::new(ours.share().unwrap());
        let plain = Connection::plain("127.0.0.1".parse().unwrap());
        let mut moved = 0;
        while handover.send(served.as_raw_fd(), &plain) == Sent::Moved {
            moved += 1;
        }
        assert!(moved > 0);
        assert_eq!(handover.send(served.as_raw_fd(), &plain), Sent::Later);
        assert_eq!(theirs.close().len(), moved);
        assert_eq!(handover.send(served.as_raw_fd(), &plain), Sent::Gone);
    }
}
