//! New upstream connections, and the stream type they have.

#![expect(unsafe_code, reason = "Split is an unsafe trait to implement")]

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use monoio::buf::{IoBuf, IoBufMut, IoVecBuf, IoVecBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent, Split};
use monoio::net::{TcpStream, UnixStream};
use monoio::{BufResult, time};

use super::cluster::Address;
use crate::error::Error;
use crate::stream::Stream;

/// A stream to an endpoint. TLS becomes a third variant.
#[derive(Debug)]
pub enum UpstreamStream {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
}

/// Connects, trying the addresses in turn; `timeout` bounds them all together.
pub async fn connect(address: &Address, timeout: Duration) -> Result<UpstreamStream, Error> {
    // Dropping a connect at its timeout loses nothing: the runtime closes the socket.
    match time::timeout(timeout, connect_any(address)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(_)) => Err(Error::ConnectFailed),
        Err(_) => Err(Error::ConnectTimeout),
    }
}

async fn connect_any(address: &Address) -> io::Result<UpstreamStream> {
    match address {
        Address::Unix(path) => UnixStream::connect(path).await.map(UpstreamStream::Unix),
        Address::Tcp(addresses) => {
            let mut failure = io::ErrorKind::AddrNotAvailable.into();
            for address in addresses {
                match TcpStream::connect_addr(*address).await {
                    Ok(stream) => {
                        // A request is written whole: waiting for more to send only delays it.
                        stream.set_nodelay(true)?;
                        return Ok(UpstreamStream::Tcp(stream));
                    }
                    Err(error) => failure = error,
                }
            }
            Err(failure)
        }
    }
}

// SAFETY: both variants are `Split` themselves; the enum adds no state that reads and writes share.
unsafe impl Split for UpstreamStream {}

impl AsRawFd for UpstreamStream {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

impl Stream for UpstreamStream {
    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => Stream::readable(stream).await,
            Self::Unix(stream) => Stream::readable(stream).await,
        }
    }
}

impl AsyncReadRent for UpstreamStream {
    async fn read<T: IoBufMut>(&mut self, buffer: T) -> BufResult<usize, T> {
        match self {
            Self::Tcp(stream) => stream.read(buffer).await,
            Self::Unix(stream) => stream.read(buffer).await,
        }
    }

    async fn readv<T: IoVecBufMut>(&mut self, buffers: T) -> BufResult<usize, T> {
        match self {
            Self::Tcp(stream) => stream.readv(buffers).await,
            Self::Unix(stream) => stream.readv(buffers).await,
        }
    }
}

impl AsyncWriteRent for UpstreamStream {
    async fn write<T: IoBuf>(&mut self, buffer: T) -> BufResult<usize, T> {
        match self {
            Self::Tcp(stream) => stream.write(buffer).await,
            Self::Unix(stream) => stream.write(buffer).await,
        }
    }

    async fn writev<T: IoVecBuf>(&mut self, buffers: T) -> BufResult<usize, T> {
        match self {
            Self::Tcp(stream) => stream.writev(buffers).await,
            Self::Unix(stream) => stream.writev(buffers).await,
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush().await,
            Self::Unix(stream) => stream.flush().await,
        }
    }

    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> {
        // Not an async fn: OwnedWriteHalf calls this on drop without awaiting it, and relies on the
        // shutdown having happened.
        crate::stream::shutdown(self.as_raw_fd(), crate::stream::Direction::Write);
        std::future::ready(Ok(()))
    }
}
