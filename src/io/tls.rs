//! TLS over TCP as a [`Stream`]: rustls has the session, this moves its bytes.
//!
//! The two halves of a split stream are used at the same time, so each direction has a buffer of
//! its own that is taken out while an operation has it, and the session is touched only between
//! operations. Reading never writes: what the session wants to say in between (an alert, the
//! answer to a key update) goes out with the next write, or not at all if the connection is given
//! up. A future that is dropped loses its buffer's bytes: only for a connection that is given up.

#![expect(unsafe_code, reason = "buffers are filled by address, and Split is an unsafe trait")]

use std::io::{self, BufRead, Write};
use std::os::fd::{AsRawFd, RawFd};

use monoio::BufResult;
use monoio::buf::{IoBuf, IoBufMut, IoVecBuf, IoVecBufMut, RawBuf};
use monoio::io::{
    AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, CancelHandle, CancelableAsyncReadRent, Split,
};
use monoio::net::TcpStream;
use rustls::Connection;

use crate::io::stream::{self, Direction, Stream};
use crate::limits;

/// A TLS session and the connection it runs over.
#[derive(Debug)]
pub struct TlsStream {
    tcp: TcpStream,
    session: Connection,
    /// What has come and the session has not taken yet begins at `taken`.
    incoming: Vec<u8>,
    taken: usize,
    /// Something has come that no read has given out yet.
    has_unread: bool,
    /// Room for what goes out; empty between writes.
    outgoing: Vec<u8>,
}

// SAFETY: what the halves share is the session and the socket. Reading uses `incoming` and `taken`,
// writing `outgoing`, and neither keeps a reference into the session across a wait.
unsafe impl Split for TlsStream {}

impl Stream for TlsStream {
    async fn readable(&self) -> io::Result<()> {
        match self.has_unread {
            true => Ok(()),
            false => Stream::readable(&self.tcp).await,
        }
    }

    fn has_unread(&self) -> bool {
        self.has_unread
    }

    async fn read_until_cancelled<B: IoBufMut>(
        &mut self,
        buffer: B,
        cancel: CancelHandle,
    ) -> BufResult<usize, B> {
        self.read_into(buffer, Some(&cancel)).await
    }
}

impl AsRawFd for TlsStream {
    fn as_raw_fd(&self) -> RawFd {
        self.tcp.as_raw_fd()
    }
}

impl TlsStream {
    /// Shakes hands. An error that is the session's has a `rustls::Error` within.
    pub async fn handshake(tcp: TcpStream, session: Connection) -> io::Result<Self> {
        let (incoming, outgoing) = (Vec::with_capacity(limits::BUFFER_BYTES), Vec::new());
        let mut stream = Self { tcp, session, incoming, taken: 0, has_unread: false, outgoing };
        loop {
            stream.send().await?;
            if !stream.session.is_handshaking() {
                return Ok(stream);
            }
            match stream.receive(None).await {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) => {
                    // The alert tells the other side why; if it cannot be sent, so be it.
                    let _ = stream.send().await;
                    return Err(error);
                }
            }
        }
    }

    /// Gives the session what has come, reading first if there is nothing; 0 = the peer sends no
    /// more.
    async fn receive(&mut self, cancel: Option<&CancelHandle>) -> io::Result<usize> {
        if self.taken == self.incoming.len() {
            let mut buffer = std::mem::take(&mut self.incoming);
            buffer.clear();
            let (outcome, buffer) = match cancel {
                None => self.tcp.read(buffer).await,
                Some(cancel) => self.tcp.cancelable_read(buffer, cancel.clone()).await,
            };
            (self.incoming, self.taken) = (buffer, 0);
            outcome?;
        }
        let mut rest = &self.incoming[self.taken..];
        let count = self.session.read_tls(&mut rest)?;
        self.taken += count;
        let processed = self.session.process_new_packets();
        processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(count)
    }

    /// Whether something that has come was not given out: of the session's, or before it.
    fn has_rest(&mut self) -> bool {
        let rest = self.session.reader().fill_buf().is_ok_and(|bytes| !bytes.is_empty());
        rest || self.taken < self.incoming.len()
    }

    /// Writes what the session has to say.
    async fn send(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            let mut buffer = std::mem::take(&mut self.outgoing);
            while self.session.wants_write() {
                self.session.write_tls(&mut buffer)?;
            }
            let (outcome, mut buffer) = self.tcp.write_all(buffer).await;
            outcome?;
            buffer.clear();
            buffer.shrink_to(limits::BUFFER_BYTES);
            self.outgoing = buffer;
        }
        Ok(())
    }

    /// Fills `buffer`; what `cancel` has ended has lost nothing.
    async fn read_into<B: IoBufMut>(
        &mut self,
        mut buffer: B,
        cancel: Option<&CancelHandle>,
    ) -> BufResult<usize, B> {
        loop {
            match self.session.reader().fill_buf() {
                Ok(bytes) => {
                    let count = bytes.len().min(buffer.bytes_total());
                    // SAFETY: the buffer has room for `bytes_total` bytes from `write_ptr` on, and
                    // is not the session's.
                    unsafe {
                        std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.write_ptr(), count);
                        buffer.set_init(count);
                    }
                    self.session.reader().consume(count);
                    self.has_unread = self.has_rest();
                    return (Ok(count), buffer);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return (Err(error), buffer),
            }
            if let Err(error) = self.receive(cancel).await {
                return (Err(error), buffer);
            }
        }
    }
}

impl AsyncReadRent for TlsStream {
    async fn read<T: IoBufMut>(&mut self, buffer: T) -> BufResult<usize, T> {
        self.read_into(buffer, None).await
    }

    async fn readv<T: IoVecBufMut>(&mut self, mut buffers: T) -> BufResult<usize, T> {
        // SAFETY: the raw buffer is used while `buffers` lives and nobody else has it.
        let Some(first) = (unsafe { RawBuf::new_from_iovec_mut(&mut buffers) }) else {
            return (Ok(0), buffers);
        };
        let (outcome, _) = self.read(first).await;
        if let Ok(count) = outcome {
            // SAFETY: so many bytes of the first buffer were written.
            unsafe { buffers.set_init(count) };
        }
        (outcome, buffers)
    }
}

impl AsyncWriteRent for TlsStream {
    async fn write<T: IoBuf>(&mut self, buffer: T) -> BufResult<usize, T> {
        // SAFETY: the buffer has `bytes_init` bytes from `read_ptr` on, and lives through this.
        let bytes = unsafe { std::slice::from_raw_parts(buffer.read_ptr(), buffer.bytes_init()) };
        // The session takes up to 64 KiB at a time.
        let outcome = match self.session.writer().write(bytes) {
            Ok(count) => self.send().await.map(|()| count),
            Err(error) => Err(error),
        };
        (outcome, buffer)
    }

    async fn writev<T: IoVecBuf>(&mut self, buffers: T) -> BufResult<usize, T> {
        // SAFETY: the raw buffer is used while `buffers` lives.
        let outcome = match unsafe { RawBuf::new_from_iovec(&buffers) } {
            Some(first) => self.write(first).await.0,
            None => Ok(0),
        };
        (outcome, buffers)
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.send().await
    }

    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> {
        // Not an async fn: OwnedWriteHalf calls this on drop without awaiting it, and relies on the
        // shutdown having happened.
        stream::shutdown(self.as_raw_fd(), Direction::Write);
        std::future::ready(Ok(()))
    }
}
