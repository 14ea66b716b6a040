//! The byte streams a connection can run over: TCP and Unix sockets now, TLS later.
//!
//! A connection is split once into a read half and a write half, because the two directions of an
//! exchange overlap. The runtime's halves share the stream; this module adds what they lack:
//! waiting for readiness without a buffer, and shutting down by descriptor (how deadlines end an
//! operation: see [`crate::deadline`]).

#![expect(
    unsafe_code,
    reason = "descriptors are borrowed by number, and a half reaches the stream both share"
)]

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use monoio::io::{AsyncReadRent, AsyncWriteRent, OwnedReadHalf, OwnedWriteHalf, Split, Splitable};
use monoio::net::{TcpStream, UnixStream};

/// A duplex byte stream with a descriptor.
pub trait Stream: AsyncReadRent + AsyncWriteRent + Split + AsRawFd + 'static {
    /// Completes when a read would not wait. Holds no buffer; dropping it loses nothing.
    fn readable(&self) -> impl Future<Output = io::Result<()>>;
}

// `relaxed = false`: with `true` the epoll driver never clears the readiness, and spins.
impl Stream for TcpStream {
    fn readable(&self) -> impl Future<Output = io::Result<()>> {
        self.readable(false)
    }
}

impl Stream for UnixStream {
    fn readable(&self) -> impl Future<Output = io::Result<()>> {
        self.readable(false)
    }
}

/// The half of a stream that reads.
#[derive(Debug)]
pub struct ReadHalf<S> {
    half: OwnedReadHalf<S>,
}

impl<S: Stream> ReadHalf<S> {
    /// Appends what comes next to `buffer`, within its capacity. 0 = the peer sends no more.
    ///
    /// If this future is dropped, the buffer and what was read into it are gone: only for a
    /// connection that is given up.
    pub async fn read(&mut self, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        use monoio::buf::IoBufMut;
        let (start, end) = (buffer.len(), buffer.capacity());
        debug_assert!(start < end, "make_room was called");
        let (outcome, slice) = self.half.read(IoBufMut::slice_mut(buffer, start..end)).await;
        (outcome, slice.into_inner())
    }

    /// Completes when a read would not wait.
    pub async fn readable(&self) -> io::Result<()> {
        // SAFETY: both halves live on this thread, and neither keeps a reference into the cell
        // across a point where the other runs: the operations they start hold the descriptor.
        let stream = unsafe { &*self.half.0.get() };
        stream.readable().await
    }
}

/// The half of a stream that writes.
#[derive(Debug)]
pub struct WriteHalf<S: AsyncWriteRent> {
    half: OwnedWriteHalf<S>,
}

impl<S: Stream> WriteHalf<S> {
    /// Writes all of `bytes[start..end]` and returns the buffer.
    pub async fn write_all(
        &mut self,
        mut bytes: Vec<u8>,
        mut start: usize,
        end: usize,
    ) -> (io::Result<()>, Vec<u8>) {
        use monoio::buf::IoBuf;
        while start < end {
            let (outcome, slice) = self.half.write(IoBuf::slice(bytes, start..end)).await;
            bytes = slice.into_inner();
            match outcome {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), bytes),
                Ok(count) => start += count,
                Err(error) => return (Err(error), bytes),
            }
        }
        (Ok(()), bytes)
    }
}

/// Splits a stream; `RawFd` names its descriptor, valid as long as one of the halves lives.
pub fn split<S: Stream>(stream: S) -> (ReadHalf<S>, WriteHalf<S>, RawFd) {
    let fd = stream.as_raw_fd();
    let (read, write) = stream.into_split();
    (ReadHalf { half: read }, WriteHalf { half: write }, fd)
}

/// The directions of a socket that [`shutdown`] ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// A pending or later read returns 0; writing goes on.
    Read,
    /// Nothing more is sent; the peer sees the end.
    Write,
    /// Reads return 0, writes fail.
    Both,
}

/// Shuts a socket down. Pending operations complete; errors (already closed by the peer) are of no
/// interest.
///
/// `fd` must belong to a live stream of this worker: callers hold a half of it.
pub fn shutdown(fd: RawFd, direction: Direction) {
    let how = match direction {
        Direction::Read => rustix::net::Shutdown::Read,
        Direction::Write => rustix::net::Shutdown::Write,
        Direction::Both => rustix::net::Shutdown::Both,
    };
    // SAFETY: the caller holds a half of the stream, so the descriptor is open during this call.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let _ = rustix::net::shutdown(fd, how);
}

/// Whether an idle connection is still usable: open, and nothing has come in unasked.
pub fn is_quiet(fd: RawFd) -> bool {
    // SAFETY: the caller holds a half of the stream, so the descriptor is open during this call.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
    let outcome = rustix::net::recv(fd, &mut [0u8; 1][..], flags);
    matches!(outcome, Err(rustix::io::Errno::AGAIN))
}

/// Takes a connection that already stands in the queue of a listener of this worker.
pub fn accept_now(listener: RawFd) -> Option<std::net::TcpStream> {
    // SAFETY: the caller holds the listener, so the descriptor is open during this call.
    let listener = unsafe { BorrowedFd::borrow_raw(listener) };
    let flags = rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC;
    // A listener that blocks would wait here for a connection that never comes.
    let waiting = rustix::event::PollFd::new(&listener, rustix::event::PollFlags::IN);
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    if rustix::event::poll(&mut [waiting], Some(&now)) != Ok(1) {
        return None;
    }
    rustix::net::accept_with(listener, flags).ok().map(Into::into)
}

/// Who is at the other end of a downstream connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The client's address; loopback for a Unix socket.
    pub ip: IpAddr,
}
