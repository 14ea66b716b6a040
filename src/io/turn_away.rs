//! Keeps new connections away from a listening socket whose queue is still to be emptied.
//!
//! Closing a listener resets the connections in its queue, and shutting a TCP one down does too. So
//! whoever stops to listen has the kernel take nothing new first, and empties the queue then.

#![expect(unsafe_code, reason = "the runtime lends its sockets as numbers only")]

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd};

use socket2::{SockFilter, SockRef};

// Instructions of the kernel's socket filters (linux/bpf_common.h), which have one register.
const LOAD_BYTE: u16 = 0x30;
const AND: u16 = 0x54;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Where the flags stand in a TCP header, and two of them.
const FLAGS_AT: u32 = 13;
const SYN: u32 = 0x02;
const ACK: u32 = 0x10;

/// Drops what begins a connection (SYN without ACK), for good: whoever sent it tries again a second
/// later. Handshakes under way come to their end. Connections inherit the filter, and never get
/// such a segment.
pub fn tcp(listener: &impl AsRawFd) -> io::Result<()> {
    with(listener, |socket| {
        socket.attach_filter(&[
            SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_AT),
            SockFilter::new(AND, 0, 0, SYN | ACK),
            SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
            SockFilter::new(RETURN, 0, 0, 0),
            SockFilter::new(RETURN, 0, 0, u32::MAX),
        ])
    })
}

/// Refuses whoever comes. The queue stays, and the socket is readable from now on.
pub fn unix(listener: &impl AsRawFd) -> io::Result<()> {
    with(listener, |socket| socket.shutdown(Shutdown::Read))
}

fn with<T>(listener: &impl AsRawFd, then: impl FnOnce(SockRef<'_>) -> T) -> T {
    // SAFETY: the caller holds the listener, so the descriptor is open during this call.
    let listener = unsafe { BorrowedFd::borrow_raw(listener.as_raw_fd()) };
    then(SockRef::from(&listener))
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::time::Duration;

    use super::*;

    fn connect(address: &SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect_timeout(address, Duration::from_millis(200))
    }

    #[test]
    fn a_tcp_queue_stays_and_nobody_new_comes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = connect(&address).unwrap();
        tcp(&listener).unwrap();
        assert_eq!(connect(&address).unwrap_err().kind(), ErrorKind::TimedOut);
        let (mut accepted, _) = listener.accept().unwrap();
        drop(listener);
        // What it inherits lets everything through.
        queued.write_all(b"there").unwrap();
        let mut bytes = [0; 5];
        accepted.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"there");
        assert_eq!(connect(&address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_unix_queue_stays_and_who_comes_is_refused() {
        let path = std::env::temp_dir().join(format!("odin-turn-away-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let queued = UnixStream::connect(&path).unwrap();
        unix(&listener).unwrap();
        let refused = UnixStream::connect(&path).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        listener.set_nonblocking(true).unwrap();
        listener.accept().unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(queued);
        std::fs::remove_file(&path).unwrap();
    }
}
