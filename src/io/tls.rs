//! TLS over TCP as a [`Stream`]: rustls has the session, this moves its bytes.
//!
//! The two halves are used at the same time: each moves its direction's bytes by itself, and the
//! session that they share is touched only between operations. What the session wants to say while
//! it reads (a refusal to negotiate again, the answer to a key update) goes out at once, unless a
//! write is under way: then behind that. A future that is dropped loses its buffer's
//! bytes: only for a connection that is given up.

pub mod certificate;
mod hello;
pub mod server;

use std::cell::{Cell, RefCell};
use std::io::{self, BufRead, Write};
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

use monoio::io::CancelHandle;
use monoio::net::TcpStream;
use rustls::Connection;

use crate::io::stream::{self, Reader, Stream, Writer};
use crate::limits;

/// A TLS session and the connection it runs over, hands shaken.
#[derive(Debug)]
pub struct TlsStream<S: Stream = TcpStream> {
    fd: RawFd,
    reader: TlsReader<S>,
    writer: TlsWriter<S>,
}

impl<S: Stream> Stream for TlsStream<S> {
    type Reader = TlsReader<S>;
    type Writer = TlsWriter<S>;

    fn into_halves(self) -> (TlsReader<S>, TlsWriter<S>) {
        (self.reader, self.writer)
    }
}

impl<S: Stream> AsRawFd for TlsStream<S> {
    fn as_raw_fd(&self) -> RawFd {
        self.fd
    }
}

impl<S: Stream> TlsStream<S> {
    fn over(stream: S, session: Connection) -> Self {
        let fd = stream.as_raw_fd();
        let (reader, writer) = stream.into_halves();
        let shared = Rc::new(Shared {
            fd,
            is_writing: Cell::new(false),
            session: RefCell::new(session),
            incoming: RefCell::default(),
            outgoing: RefCell::default(),
            has_unread: Cell::new(false),
        });
        let reader = TlsReader { inner: reader, shared: Rc::clone(&shared) };
        Self { fd, reader, writer: TlsWriter { inner: writer, shared } }
    }

    /// Shakes hands as a client. An error that is the session's has a `rustls::Error` within.
    pub async fn handshake(stream: S, session: Connection) -> io::Result<Self> {
        let mut this = Self::over(stream, session);
        loop {
            this.writer.send(|| ()).await?;
            if !this.reader.shared.session.borrow().is_handshaking() {
                return Ok(this);
            }
            match this.reader.receive(None).await {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) => {
                    // The alert tells the other side why; if it cannot be sent, so be it.
                    let _ = this.writer.send(|| ()).await;
                    return Err(error);
                }
            }
        }
    }
}

/// What the halves share. Nothing of it stays borrowed across a wait.
#[derive(Debug)]
struct Shared {
    fd: RawFd,
    /// A write is under way, which takes with it what the session wants to say.
    is_writing: Cell<bool>,
    session: RefCell<Connection>,
    /// The reading half's.
    incoming: RefCell<Incoming>,
    /// The writing half's, for what goes out; empty between writes.
    outgoing: RefCell<Vec<u8>>,
    /// Something has come that no read has given out yet.
    has_unread: Cell<bool>,
}

impl Shared {
    /// Gives back the memory that nothing is in: the connection waits.
    fn shrink(&self) {
        let mut incoming = self.incoming.borrow_mut();
        if incoming.is_taken() {
            *incoming = Incoming::default();
        }
        let mut outgoing = self.outgoing.borrow_mut();
        if outgoing.is_empty() {
            *outgoing = Vec::new();
        }
    }
}

/// What has come; what the session has not taken yet begins at `taken`.
#[derive(Debug, Default)]
struct Incoming {
    bytes: Vec<u8>,
    taken: usize,
}

impl Incoming {
    fn is_taken(&self) -> bool {
        self.taken == self.bytes.len()
    }
}

/// The half that reads.
pub struct TlsReader<S: Stream> {
    inner: S::Reader,
    shared: Rc<Shared>,
}

impl<S: Stream> std::fmt::Debug for TlsReader<S> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("TlsReader").finish_non_exhaustive()
    }
}

impl<S: Stream> TlsReader<S> {
    /// Gives the session what has come, reading first if there is nothing; 0 = the peer sends no
    /// more.
    async fn receive(&mut self, cancel: Option<&CancelHandle>) -> io::Result<usize> {
        self.fill(cancel).await?;
        self.digest()
    }

    /// Reads, unless something is there that the session has not taken.
    async fn fill(&mut self, cancel: Option<&CancelHandle>) -> io::Result<()> {
        let shared = &self.shared;
        if !shared.incoming.borrow().is_taken() {
            return Ok(());
        }
        let mut bytes = std::mem::take(&mut shared.incoming.borrow_mut().bytes);
        bytes.clear();
        bytes.reserve_exact(limits::BUFFER_BYTES);
        let places = 0..bytes.capacity();
        let (outcome, bytes) = match cancel {
            None => self.inner.read(bytes, places).await,
            Some(cancel) => self.inner.read_until_cancelled(bytes, places, cancel.clone()).await,
        };
        *shared.incoming.borrow_mut() = Incoming { bytes, taken: 0 };
        outcome.map(drop)
    }

    /// Gives the session what has come; 0 = the peer sends no more.
    fn digest(&mut self) -> io::Result<usize> {
        let shared = &self.shared;
        let (mut session, mut incoming) =
            (shared.session.borrow_mut(), shared.incoming.borrow_mut());
        let count = session.read_tls(&mut &incoming.bytes[incoming.taken..])?;
        incoming.taken += count;
        let processed = session.process_new_packets();
        processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(count)
    }

    /// Writes what the session wants to say to what it has read, where nobody else writes it.
    fn reply(&self) -> io::Result<()> {
        let shared = &self.shared;
        let mut session = shared.session.borrow_mut();
        if !session.wants_write() || shared.is_writing.get() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut bytes)?;
        }
        match stream::write_at_once(shared.fd, &bytes) {
            true => Ok(()),
            // A peer that takes nothing of what it makes us say.
            false => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Appends up to `count_max` bytes that the session has deciphered; `None`: there are none.
    fn take_plain(&self, buffer: &mut Vec<u8>, count_max: usize) -> Option<io::Result<usize>> {
        let mut session = self.shared.session.borrow_mut();
        let mut plain = session.reader();
        let count = match plain.fill_buf() {
            Ok(bytes) => {
                let count = bytes.len().min(count_max);
                buffer.extend_from_slice(&bytes[..count]);
                count
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(error) => return Some(Err(error)),
        };
        plain.consume(count);
        let has_rest = plain.fill_buf().is_ok_and(|bytes| !bytes.is_empty());
        self.shared.has_unread.set(has_rest || !self.shared.incoming.borrow().is_taken());
        Some(Ok(count))
    }
}

impl<S: Stream> TlsReader<S> {
    async fn read_into(
        &mut self,
        mut buffer: Vec<u8>,
        count_max: usize,
        cancel: Option<&CancelHandle>,
    ) -> (io::Result<usize>, Vec<u8>) {
        loop {
            if let Some(outcome) = self.take_plain(&mut buffer, count_max) {
                return (outcome, buffer);
            }
            if let Err(error) = self.receive(cancel).await {
                return (Err(error), buffer);
            }
            if let Err(error) = self.reply() {
                return (Err(error), buffer);
            }
        }
    }
}

impl<S: Stream> Reader for TlsReader<S> {
    fn share(&self) -> Self {
        Self { inner: self.inner.share(), shared: Rc::clone(&self.shared) }
    }

    async fn readable(&self) -> io::Result<()> {
        match self.has_unread() {
            true => Ok(()),
            false => {
                self.shared.shrink();
                self.inner.readable().await
            }
        }
    }

    fn has_unread(&self) -> bool {
        self.shared.has_unread.get()
    }

    fn read(
        &mut self,
        buffer: Vec<u8>,
        places: Range<usize>,
    ) -> impl Future<Output = (io::Result<usize>, Vec<u8>)> {
        self.read_into(buffer, places.len(), None)
    }

    async fn read_until_cancelled(
        &mut self,
        buffer: Vec<u8>,
        places: Range<usize>,
        cancel: CancelHandle,
    ) -> (io::Result<usize>, Vec<u8>) {
        self.read_into(buffer, places.len(), Some(&cancel)).await
    }
}

/// The half that writes.
pub struct TlsWriter<S: Stream> {
    inner: S::Writer,
    shared: Rc<Shared>,
}

impl<S: Stream> std::fmt::Debug for TlsWriter<S> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("TlsWriter").finish_non_exhaustive()
    }
}

impl<S: Stream> TlsWriter<S> {
    /// Writes what the session has to say. Calls `before` each step.
    async fn send(&mut self, mut before: impl FnMut()) -> io::Result<()> {
        loop {
            let mut bytes = self.shared.outgoing.take();
            {
                let mut session = self.shared.session.borrow_mut();
                while session.wants_write() {
                    session.write_tls(&mut bytes)?;
                }
            }
            if bytes.is_empty() {
                *self.shared.outgoing.borrow_mut() = bytes;
                return Ok(());
            }
            let all = 0..bytes.len();
            self.shared.is_writing.set(true);
            let (outcome, mut bytes) = self.inner.write_all(bytes, all, &mut before).await;
            outcome?;
            self.shared.is_writing.set(false);
            bytes.clear();
            bytes.shrink_to(limits::BUFFER_BYTES);
            *self.shared.outgoing.borrow_mut() = bytes;
        }
    }
}

impl<S: Stream> Writer for TlsWriter<S> {
    async fn write_all(
        &mut self,
        buffer: Vec<u8>,
        mut part: Range<usize>,
        mut before: impl FnMut(),
    ) -> (io::Result<()>, Vec<u8>) {
        while part.start < part.end {
            // The session takes up to 64 KiB at a time.
            let taken = self.shared.session.borrow_mut().writer().write(&buffer[part.clone()]);
            let sent = match taken {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.send(&mut before).await.map(|()| count),
                Err(error) => Err(error),
            };
            match sent {
                Ok(count) => part.start += count,
                Err(error) => return (Err(error), buffer),
            }
        }
        (Ok(()), buffer)
    }

    async fn say_end(&mut self, before: impl FnMut()) -> io::Result<()> {
        self.shared.session.borrow_mut().send_close_notify();
        self.send(before).await
    }

    fn leave(self) {
        self.inner.leave();
    }
}
