//! The byte streams a connection can run over: TCP, Unix sockets, TLS over TCP.
//!
//! A connection is split once into a read half and a write half, because the two directions of an
//! exchange overlap. The halves of a socket share the runtime's stream; this module adds what they
//! lack: waiting for readiness without a buffer, and shutting down by descriptor (how deadlines end
//! an operation: see [`crate::io::deadline`]). Other streams are made of those halves.

#![expect(
    unsafe_code,
    reason = "descriptors are borrowed by number, and a half reaches the stream both share"
)]

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;

use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{
    AsyncReadRent, AsyncWriteRent, CancelHandle, CancelableAsyncReadRent, OwnedReadHalf,
    OwnedWriteHalf, Split, Splitable,
};
use monoio::net::{TcpStream, UnixStream};

mod beside;

pub use self::beside::{local_address, peek, take_peeked};
use crate::io::ahead::Ahead;
use crate::limits::READ_BYTES_MAX;

/// A duplex byte stream with a descriptor.
pub trait Stream: AsRawFd + 'static {
    /// Whether all its state is in the kernel, so that another process can go on with it.
    const IS_PORTABLE: bool = false;

    /// What reads.
    type Reader: Reader;
    /// What writes. Dropping it ends the sending direction.
    type Writer: Writer;

    /// The two, which share what they need.
    fn into_halves(self) -> (Self::Reader, Self::Writer);
}

/// What reads from a [`Stream`].
pub trait Reader: 'static {
    /// A second handle, which must not read while this one does.
    fn share(&self) -> Self;

    /// Completes when a read would not wait. Holds no buffer; dropping it loses nothing.
    fn readable(&self) -> impl Future<Output = io::Result<()>>;

    /// Whether bytes have left the socket that no read has given out yet.
    fn has_unread(&self) -> bool {
        false
    }

    /// Writes what comes next to the buffer's spare `places`, the first of which is its length. 0 =
    /// the peer sends no more.
    fn read(
        &mut self,
        buffer: Vec<u8>,
        places: Range<usize>,
    ) -> impl Future<Output = (io::Result<usize>, Vec<u8>)>;

    /// The same; `cancel` can end it: with what has come, or with [`is_cancelled`] and nothing
    /// lost.
    fn read_until_cancelled(
        &mut self,
        buffer: Vec<u8>,
        places: Range<usize>,
        cancel: CancelHandle,
    ) -> impl Future<Output = (io::Result<usize>, Vec<u8>)>;
}

/// What writes to a [`Stream`].
pub trait Writer: 'static {
    /// Writes all of `part` of the buffer, and returns it. Calls `before` each step.
    fn write_all(
        &mut self,
        buffer: Vec<u8>,
        part: Range<usize>,
        before: impl FnMut(),
    ) -> impl Future<Output = (io::Result<()>, Vec<u8>)>;

    /// Says that nothing more comes, where the stream has words for it: then its end is told from
    /// one that somebody has cut. Calls `before` each step.
    fn say_end(&mut self, before: impl FnMut()) -> impl Future<Output = io::Result<()>>;

    /// Lets go of the half of a stream that goes on elsewhere: dropping it would end the sending
    /// direction, for all who have the socket.
    fn leave(self);
}

/// Whether an operation ended because it was cancelled.
pub fn is_cancelled(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::CANCELED.raw_os_error())
}

/// A socket of the runtime's.
pub trait Socket:
    AsyncReadRent + AsyncWriteRent + CancelableAsyncReadRent + Split + AsRawFd + 'static
{
    /// Completes when a read would not wait.
    fn wait_readable(&self) -> impl Future<Output = io::Result<()>>;
}

// `relaxed = false`: with `true` the epoll driver never clears the readiness, and spins.
impl Socket for TcpStream {
    fn wait_readable(&self) -> impl Future<Output = io::Result<()>> {
        self.readable(false)
    }
}

impl Socket for UnixStream {
    fn wait_readable(&self) -> impl Future<Output = io::Result<()>> {
        self.readable(false)
    }
}

impl<S: Socket> Stream for S {
    const IS_PORTABLE: bool = true;

    type Reader = SocketReader<S>;
    type Writer = SocketWriter<S>;

    fn into_halves(self) -> (SocketReader<S>, SocketWriter<S>) {
        let (read, write) = self.into_split();
        (SocketReader(read), SocketWriter(write))
    }
}

/// What reads from a socket.
#[derive(Debug)]
pub struct SocketReader<S>(OwnedReadHalf<S>);

impl<S: Socket> Reader for SocketReader<S> {
    fn share(&self) -> Self {
        Self(OwnedReadHalf(self.0.0.clone()))
    }

    async fn readable(&self) -> io::Result<()> {
        // SAFETY: both halves live on this thread, and neither keeps a reference into the cell
        // across a point where the other runs: the operations they start hold the descriptor.
        let stream = unsafe { &*self.0.0.get() };
        stream.wait_readable().await
    }

    #[inline]
    async fn read(
        &mut self,
        buffer: Vec<u8>,
        places: Range<usize>,
    ) -> (io::Result<usize>, Vec<u8>) {
        let (outcome, slice) = self.0.read(IoBufMut::slice_mut(buffer, places)).await;
        (outcome, slice.into_inner())
    }

    async fn read_until_cancelled(
        &mut self,
        buffer: Vec<u8>,
        places: Range<usize>,
        cancel: CancelHandle,
    ) -> (io::Result<usize>, Vec<u8>) {
        // SAFETY: as in `readable`.
        let stream = unsafe { &mut *self.0.0.get() };
        let slice = IoBufMut::slice_mut(buffer, places);
        let (outcome, slice) = stream.cancelable_read(slice, cancel).await;
        (outcome, slice.into_inner())
    }
}

/// What writes to a socket.
#[derive(Debug)]
pub struct SocketWriter<S: Socket>(OwnedWriteHalf<S>);

impl<S: Socket> Writer for SocketWriter<S> {
    #[inline]
    async fn write_all(
        &mut self,
        mut buffer: Vec<u8>,
        mut part: Range<usize>,
        mut before: impl FnMut(),
    ) -> (io::Result<()>, Vec<u8>) {
        while part.start < part.end {
            before();
            let (outcome, slice) = self.0.write(IoBuf::slice(buffer, part.clone())).await;
            buffer = slice.into_inner();
            match outcome {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buffer),
                Ok(count) => part.start += count,
                Err(error) => return (Err(error), buffer),
            }
        }
        (Ok(()), buffer)
    }

    async fn say_end(&mut self, _: impl FnMut()) -> io::Result<()> {
        Ok(())
    }

    fn leave(self) {
        let stream = Rc::into_raw(self.0.0.clone());
        std::mem::forget(self.0);
        // SAFETY: there are the clone's count and that of the half, which was forgotten and with it
        // its count: this gives both back.
        unsafe {
            Rc::decrement_strong_count(stream);
            drop(Rc::from_raw(stream));
        }
    }
}

/// The half of a stream that reads.
pub struct ReadHalf<S: Stream> {
    reader: S::Reader,
    /// Made by the first read ahead.
    ahead: Option<Ahead>,
}

impl<S: Stream> fmt::Debug for ReadHalf<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ReadHalf").field("is_ahead", &self.is_ahead()).finish_non_exhaustive()
    }
}

impl<S: Stream> ReadHalf<S> {
    /// Whether a read ahead is pending: the next one must be [`Self::finish_ahead`].
    pub fn is_ahead(&self) -> bool {
        self.ahead.as_ref().is_some_and(Ahead::is_pending)
    }

    /// Appends what comes next to `buffer`, within its capacity. 0 = the peer sends no more.
    ///
    /// If this future is dropped, the buffer and what was read into it are gone: only for a
    /// connection that is given up.
    #[inline]
    pub fn read(&mut self, buffer: Vec<u8>) -> impl Future<Output = (io::Result<usize>, Vec<u8>)> {
        let (start, end) = (buffer.len(), buffer.capacity());
        debug_assert!(start < end, "make_room was called");
        // As much as fits the sender's buffer of the same size with the frame of a chunk.
        let end = if start < READ_BYTES_MAX { end.min(READ_BYTES_MAX) } else { end };
        self.reader.read(buffer, start..end)
    }

    /// The same; `cancel` can end it, and nothing is lost then (see [`is_cancelled`]).
    #[inline]
    pub fn read_until_cancelled(
        &mut self,
        buffer: Vec<u8>,
        cancel: CancelHandle,
    ) -> impl Future<Output = (io::Result<usize>, Vec<u8>)> {
        let places = buffer.len()..buffer.capacity();
        debug_assert!(!places.is_empty(), "make_room was called");
        self.reader.read_until_cancelled(buffer, places, cancel)
    }

    /// Begins a read that appends to `buffer` and that nobody waits for yet. Dropping this half
    /// loses what it has read.
    pub fn read_ahead(&mut self, buffer: Vec<u8>) {
        self.ahead.get_or_insert_with(|| Ahead::new(self.reader.share())).begin(buffer);
    }

    /// Whether the pending read ahead has ended: something has come unasked, or the peer has
    /// closed. As of the worker's last look at its driver.
    pub fn has_ahead_ended(&mut self) -> bool {
        self.ahead.as_mut().is_some_and(|ahead| ahead.is_pending() && ahead.has_ended())
    }

    /// What the pending read ahead reads. Waits for ever if there is none.
    pub async fn finish_ahead(&mut self) -> (io::Result<usize>, Vec<u8>) {
        std::future::poll_fn(|cx| match &mut self.ahead {
            Some(ahead) => ahead.poll(cx),
            None => std::task::Poll::Pending,
        })
        .await
    }

    /// Completes when a read would not wait.
    pub async fn readable(&self) -> io::Result<()> {
        self.reader.readable().await
    }

    /// Whether bytes have left the socket that no read has given out yet.
    pub fn has_unread(&self) -> bool {
        self.reader.has_unread()
    }
}

/// The half of a stream that writes.
pub struct WriteHalf<S: Stream> {
    writer: S::Writer,
}

impl<S: Stream> fmt::Debug for WriteHalf<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("WriteHalf").finish_non_exhaustive()
    }
}

impl<S: Stream> WriteHalf<S> {
    /// Writes all of `bytes[start..end]` and returns the buffer. Calls `before` each step.
    #[inline]
    pub fn write_all(
        &mut self,
        bytes: Vec<u8>,
        start: usize,
        end: usize,
        before: impl FnMut(),
    ) -> impl Future<Output = (io::Result<()>, Vec<u8>)> {
        self.writer.write_all(bytes, start..end, before)
    }

    /// Says that nothing more comes (see [`Writer::say_end`]).
    pub async fn say_end(&mut self, before: impl FnMut()) -> io::Result<()> {
        self.writer.say_end(before).await
    }

    /// Lets go of the half of a stream that goes on elsewhere (see [`Writer::leave`]).
    pub fn leave(self) {
        self.writer.leave();
    }
}

/// Splits a stream; `RawFd` names its descriptor, valid as long as one of the halves lives.
pub fn split<S: Stream>(stream: S) -> (ReadHalf<S>, WriteHalf<S>, RawFd) {
    let fd = stream.as_raw_fd();
    let (reader, writer) = stream.into_halves();
    (ReadHalf { reader, ahead: None }, WriteHalf { writer }, fd)
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

/// Has closing the socket reset the connection: the peer sees an error, not an end.
///
/// `fd` must belong to a live stream of this worker: callers hold a half of it.
pub fn reset_on_close(fd: RawFd) {
    // SAFETY: the caller holds a half of the stream, so the descriptor is open during this call.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    // A Unix socket knows no resets: the peer sees an end.
    let _ = rustix::net::sockopt::set_socket_linger(fd, Some(std::time::Duration::ZERO));
}

/// Whether something has come in that no read has taken yet.
///
/// `fd` must belong to a live stream of this worker: callers hold a half of it.
pub fn has_received(fd: RawFd) -> bool {
    // SAFETY: the caller holds a half of the stream, so the descriptor is open during this call.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
    matches!(rustix::net::recv(fd, &mut [0u8; 1][..], flags), Ok((1.., _)))
}

/// How many bytes the peer has not received yet (its kernel, by TCP), its own end among them.
///
/// `fd` must belong to a live stream of this worker: callers hold a half of it.
pub fn unsent(fd: RawFd) -> usize {
    use rustix::ioctl::{Getter, Opcode, ioctl};
    // SAFETY: the caller holds a half of the stream, so the descriptor is open during this call.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    // SAFETY: TIOCOUTQ (of sockets: SIOCOUTQ) writes an int and nothing else.
    let count = unsafe { ioctl(fd, Getter::<{ libc::TIOCOUTQ as Opcode }, libc::c_int>::new()) };
    count.map_or(0, |count| usize::try_from(count).unwrap_or(0))
}

/// What [`drop_received`] dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// So many bytes.
    pub bytes: usize,
    /// No more will come: the peer has ended or broken the connection.
    pub has_ended: bool,
}

/// Reads what has come, to about `most` bytes, and drops it; never waits. No read may be pending.
///
/// `fd` must belong to a live stream of this worker: callers hold a half of it.
pub fn drop_received(fd: RawFd, most: usize) -> Dropped {
    // SAFETY: the caller holds a half of the stream, so the descriptor is open during this call.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let mut piece = [0u8; 16 * 1024];
    let mut bytes = 0;
    let has_ended = loop {
        match rustix::net::recv(fd, &mut piece[..], rustix::net::RecvFlags::DONTWAIT) {
            Ok((0, _)) => break true,
            Ok((count, _)) => bytes += count,
            Err(rustix::io::Errno::AGAIN) => break false,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => break true,
        }
        if bytes >= most {
            break false;
        }
    };
    Dropped { bytes, has_ended }
}

/// Writes these bytes if they can be written at once, all of them; never waits. No write may be
/// under way. `false`: they, or their rest, are lost, and so is the connection.
///
/// `fd` must belong to a live stream of this worker: callers hold a half of it.
pub fn write_at_once(fd: RawFd, bytes: &[u8]) -> bool {
    // SAFETY: the caller holds a half of the stream, so the descriptor is open during this call.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let flags = rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL;
    rustix::net::send(fd, bytes, flags) == Ok(bytes.len())
}

/// The indices of those of `sockets` (an index and a descriptor each) whose peer has gone: it has
/// closed or reset the connection, or, if that counts (`by_ending`), has ended its sending, whether
/// or not what it had sent has been read.
///
/// The descriptors must belong to live streams of this worker: callers hold a half of each.
pub fn have_gone(
    sockets: &[(usize, RawFd)],
    by_ending: bool,
) -> impl Iterator<Item = usize> + use<'_> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let asked = if by_ending { PollFlags::RDHUP } else { PollFlags::empty() };
    let mut polled: Vec<PollFd<'_>> = sockets
        .iter()
        .map(|(_, fd)| {
            // SAFETY: the caller holds a half of the stream, so the descriptor is open during this
            // call.
            PollFd::from_borrowed_fd(unsafe { BorrowedFd::borrow_raw(*fd) }, asked)
        })
        .collect();
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    // One that fails (out of memory) says nothing: they are asked again.
    let _unknown = poll(&mut polled, Some(&at_once));
    let told = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
    let indices = sockets.iter().map(|(index, _)| *index);
    indices.zip(polled).filter(move |(_, fd)| fd.revents().intersects(told)).map(|(index, _)| index)
}

/// Sends a message with a copy of `fd` to another process; never waits.
///
/// `fd` must belong to a live stream of this worker: callers hold a half of it.
pub fn send_with(
    channel: BorrowedFd<'_>,
    message: &[u8],
    fd: RawFd,
) -> Result<(), rustix::io::Errno> {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
    // SAFETY: the caller holds a half of the stream, so the descriptor is open during this call.
    let fds = [unsafe { BorrowedFd::borrow_raw(fd) }];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    let message = [io::IoSlice::new(message)];
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    rustix::net::sendmsg(channel, &message, &mut ancillary, flags).map(|_| ())
}

/// Takes a connection that stands in the queue of a listener that does not block.
pub fn accept_now(
    listener: &impl AsRawFd,
) -> Result<(OwnedFd, Option<SocketAddr>), rustix::io::Errno> {
    // SAFETY: the caller holds the listener, so the descriptor is open during this call.
    let listener = unsafe { BorrowedFd::borrow_raw(listener.as_raw_fd()) };
    let flags = rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC;
    let (stream, address) = rustix::net::acceptfrom_with(listener, flags)?;
    Ok((stream, address.and_then(|address| address.try_into().ok())))
}
