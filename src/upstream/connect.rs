//! New upstream connections, and the stream type they have.

#![expect(unsafe_code, reason = "Split is an unsafe trait to implement")]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use crate::io::runtime::{
    AsyncReadRent, AsyncWriteRent, BufResult, CancelHandle, IoBuf, IoBufMut, IoVecBuf, IoVecBufMut,
    Split, TcpStream, UnixStream,
};

use super::cluster::Address;
use crate::error::Error;
use crate::io::stream::Stream;
use crate::io::tls::TlsStream;

/// A stream to an endpoint.
#[derive(Debug)]
pub enum UpstreamStream {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS over TCP.
    Tls(Box<TlsStream>),
}

/// Connects, trying the addresses in turn; `timeout` bounds them all together.
pub async fn connect(address: &Address, timeout: Duration) -> Result<UpstreamStream, Error> {
    // Dropping a connect at its timeout loses nothing: the runtime closes the socket.
    match crate::io::timeout(timeout, connect_any(address)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(Error::ConnectTimeout),
    }
}

async fn connect_any(address: &Address) -> Result<UpstreamStream, Error> {
    match address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(|_| Error::ConnectFailed)?;
            Ok(UpstreamStream::Unix(stream))
        }
        Address::Tcp(addresses) => connect_tcp(addresses).await.map(UpstreamStream::Tcp),
        Address::Tls(addresses, tls) => {
            let stream = connect_tcp(addresses).await?;
            Ok(UpstreamStream::Tls(Box::new(tls.connect(stream).await?)))
        }
    }
}

async fn connect_tcp(addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
    for address in addresses {
        if let Ok(stream) = TcpStream::connect_addr(*address).await
            // A request is written whole: waiting for more to send only delays it.
            && stream.set_nodelay(true).is_ok()
        {
            return Ok(stream);
        }
    }
    Err(Error::ConnectFailed)
}

// SAFETY: every variant is `Split` itself.
unsafe impl Split for UpstreamStream {}

impl AsRawFd for UpstreamStream {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
            Self::Tls(tls) => tls.as_raw_fd(),
        }
    }
}

impl Stream for UpstreamStream {
    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => Stream::readable(stream).await,
            Self::Unix(stream) => Stream::readable(stream).await,
            Self::Tls(tls) => tls.readable().await,
        }
    }

    fn has_unread(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            Self::Tls(tls) => tls.has_unread(),
        }
    }

    async fn read_until_cancelled<B: IoBufMut>(
        &mut self,
        buffer: B,
        cancel: CancelHandle,
    ) -> BufResult<usize, B> {
        match self {
            Self::Tcp(stream) => stream.read_until_cancelled(buffer, cancel).await,
            Self::Unix(stream) => stream.read_until_cancelled(buffer, cancel).await,
            Self::Tls(tls) => tls.read_until_cancelled(buffer, cancel).await,
        }
    }
}

impl AsyncReadRent for UpstreamStream {
    async fn read<T: IoBufMut>(&mut self, buffer: T) -> BufResult<usize, T> {
        match self {
            Self::Tcp(stream) => stream.read(buffer).await,
            Self::Unix(stream) => stream.read(buffer).await,
            Self::Tls(tls) => tls.read(buffer).await,
        }
    }

    async fn readv<T: IoVecBufMut>(&mut self, buffers: T) -> BufResult<usize, T> {
        match self {
            Self::Tcp(stream) => stream.readv(buffers).await,
            Self::Unix(stream) => stream.readv(buffers).await,
            Self::Tls(tls) => tls.readv(buffers).await,
        }
    }
}

impl AsyncWriteRent for UpstreamStream {
    async fn write<T: IoBuf>(&mut self, buffer: T) -> BufResult<usize, T> {
        match self {
            Self::Tcp(stream) => stream.write(buffer).await,
            Self::Unix(stream) => stream.write(buffer).await,
            Self::Tls(tls) => tls.write(buffer).await,
        }
    }

    async fn writev<T: IoVecBuf>(&mut self, buffers: T) -> BufResult<usize, T> {
        match self {
            Self::Tcp(stream) => stream.writev(buffers).await,
            Self::Unix(stream) => stream.writev(buffers).await,
            Self::Tls(tls) => tls.writev(buffers).await,
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush().await,
            Self::Unix(stream) => stream.flush().await,
            Self::Tls(tls) => tls.flush().await,
        }
    }

    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> {
        // Not an async fn: OwnedWriteHalf calls this on drop without awaiting it, and relies on the
        // shutdown having happened.
        crate::io::stream::shutdown(self.as_raw_fd(), crate::io::stream::Direction::Write);
        std::future::ready(Ok(()))
    }
}
