//! New upstream connections, and the stream type they have.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use crate::io::runtime::{CancelHandle, TcpStream, UnixStream};

use super::cluster::Address;
use super::tls::{Spoken, is_http2};
use crate::error::Error;
use crate::io::sleep;
use crate::io::stream::{Reader, SocketReader, SocketWriter, Stream, Writer};
use crate::io::tls::{TlsReader, TlsStream, TlsWriter};
use crate::limits::CONNECT_ATTEMPT_DELAY;

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

impl UpstreamStream {
    /// Whether HTTP/2 is spoken over it, which was made to this address.
    pub fn is_http2(&self, to: &Address) -> bool {
        match self {
            Self::Tls(tls) => is_http2(tls),
            Self::Tcp(_) | Self::Unix(_) => to.spoken() == Spoken::Http2,
        }
    }

    /// Whether it is by TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

/// Connects to one of the addresses; `timeout` bounds them all together.
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
        Address::Tcp(addresses) | Address::Http2(addresses) => {
            connect_tcp(addresses).await.map(UpstreamStream::Tcp)
        }
        Address::Tls(addresses, tls) => {
            let stream = connect_tcp(addresses).await?;
            Ok(UpstreamStream::Tls(Box::new(tls.connect(stream).await?)))
        }
    }
}

/// Connects to the first of the addresses that answers (RFC 8305): the next one is tried beside
/// those that are silent after a while, and at once where one refuses. Those that lose are closed.
async fn connect_tcp(addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
    if let [address] = addresses {
        return connect_address(*address).await.ok_or(Error::ConnectFailed);
    }
    let mut left = interleaved(addresses).into_iter();
    let mut running: Vec<Pin<Box<dyn Future<Output = Option<TcpStream>>>>> = Vec::new();
    let mut wait = pin!(sleep(Duration::ZERO));
    poll_fn(|cx| {
        loop {
            let mut at = 0;
            let mut has_failed = false;
            while let Some(attempt) = running.get_mut(at) {
                match attempt.as_mut().poll(cx) {
                    Poll::Pending => at += 1,
                    Poll::Ready(Some(stream)) => return Poll::Ready(Ok(stream)),
                    Poll::Ready(None) => {
                        drop(running.swap_remove(at));
                        has_failed = true;
                    }
                }
            }
            if !has_failed && wait.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            match left.next() {
                Some(address) => running.push(Box::pin(connect_address(address))),
                None if running.is_empty() => return Poll::Ready(Err(Error::ConnectFailed)),
                None => return Poll::Pending,
            }
            wait.set(sleep(CONNECT_ATTEMPT_DELAY));
        }
    })
    .await
}

async fn connect_address(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_addr(address).await.ok()?;
    // A request is written whole: waiting for more to send only delays it.
    stream.set_nodelay(true).ok()?;
    Some(stream)
}

/// The families in turns, that of the first address first: where one leads nowhere, the second
/// address tried is of the other one.
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (ours, theirs): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv6() == first);
    let (mut ours, mut theirs) = (ours.into_iter(), theirs.into_iter());
    let mut order = Vec::with_capacity(addresses.len());
    while order.len() < addresses.len() {
        order.extend(ours.next());
        order.extend(theirs.next());
    }
    order
}

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
    type Reader = UpstreamReader;
    type Writer = UpstreamWriter;

    fn into_halves(self) -> (UpstreamReader, UpstreamWriter) {
        match self {
            Self::Tcp(stream) => {
                let (reader, writer) = stream.into_halves();
                (UpstreamReader::Tcp(reader), UpstreamWriter::Tcp(writer))
            }
            Self::Unix(stream) => {
                let (reader, writer) = stream.into_halves();
                (UpstreamReader::Unix(reader), UpstreamWriter::Unix(writer))
            }
            Self::Tls(tls) => {
                let (reader, writer) = tls.into_halves();
                (UpstreamReader::Tls(reader), UpstreamWriter::Tls(writer))
            }
        }
    }
}

/// What reads from an endpoint.
#[derive(Debug)]
pub enum UpstreamReader {
    /// TCP.
    Tcp(SocketReader<TcpStream>),
    /// A Unix socket.
    Unix(SocketReader<UnixStream>),
    /// TLS over TCP.
    Tls(TlsReader<TcpStream>),
}

impl Reader for UpstreamReader {
    fn share(&self) -> Self {
        match self {
            Self::Tcp(reader) => Self::Tcp(reader.share()),
            Self::Unix(reader) => Self::Unix(reader.share()),
            Self::Tls(reader) => Self::Tls(reader.share()),
        }
    }

    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(reader) => reader.readable().await,
            Self::Unix(reader) => reader.readable().await,
            Self::Tls(reader) => reader.readable().await,
        }
    }

    fn has_unread(&self) -> bool {
        match self {
            Self::Tcp(reader) => reader.has_unread(),
            Self::Unix(reader) => reader.has_unread(),
            Self::Tls(reader) => reader.has_unread(),
        }
    }

    async fn read(
        &mut self,
        buffer: Vec<u8>,
        places: Range<usize>,
    ) -> (io::Result<usize>, Vec<u8>) {
        match self {
            Self::Tcp(reader) => reader.read(buffer, places).await,
            Self::Unix(reader) => reader.read(buffer, places).await,
            Self::Tls(reader) => reader.read(buffer, places).await,
        }
    }

    async fn read_until_cancelled(
        &mut self,
        buffer: Vec<u8>,
        places: Range<usize>,
        cancel: CancelHandle,
    ) -> (io::Result<usize>, Vec<u8>) {
        match self {
            Self::Tcp(reader) => reader.read_until_cancelled(buffer, places, cancel).await,
            Self::Unix(reader) => reader.read_until_cancelled(buffer, places, cancel).await,
            Self::Tls(reader) => reader.read_until_cancelled(buffer, places, cancel).await,
        }
    }
}

/// What writes to an endpoint.
#[derive(Debug)]
pub enum UpstreamWriter {
    /// TCP.
    Tcp(SocketWriter<TcpStream>),
    /// A Unix socket.
    Unix(SocketWriter<UnixStream>),
    /// TLS over TCP.
    Tls(TlsWriter<TcpStream>),
}

impl Writer for UpstreamWriter {
    async fn write_all(
        &mut self,
        buffer: Vec<u8>,
        part: Range<usize>,
        before: impl FnMut(),
    ) -> (io::Result<()>, Vec<u8>) {
        match self {
            Self::Tcp(writer) => writer.write_all(buffer, part, before).await,
            Self::Unix(writer) => writer.write_all(buffer, part, before).await,
            Self::Tls(writer) => writer.write_all(buffer, part, before).await,
        }
    }

    async fn say_end(&mut self, before: impl FnMut()) -> io::Result<()> {
        match self {
            Self::Tcp(writer) => writer.say_end(before).await,
            Self::Unix(writer) => writer.say_end(before).await,
            Self::Tls(writer) => writer.say_end(before).await,
        }
    }

    fn leave(self) {
        match self {
            Self::Tcp(writer) => writer.leave(),
            Self::Unix(writer) => writer.leave(),
            Self::Tls(writer) => writer.leave(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Instant;

    use super::*;
    use crate::limits::CONNECT_TIMEOUT;

    fn run<F: Future>(future: F) -> F::Output {
        crate::io::runtime::local().unwrap().block_on(future)
    }

    /// A listener whose queue is full, and what fills it: the kernel drops who else comes.
    fn silent() -> (socket2::Socket, Vec<std::net::TcpStream>) {
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let listener = listener.unwrap();
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let address = address_of(&listener);
        let patience = Duration::from_millis(200);
        let fill = || std::net::TcpStream::connect_timeout(&address, patience).ok();
        let held = std::iter::from_fn(fill).collect();
        (listener, held)
    }

    fn address_of(socket: &socket2::Socket) -> SocketAddr {
        socket.local_addr().unwrap().as_socket().unwrap()
    }

    fn peer_of(stream: &UpstreamStream) -> SocketAddr {
        let UpstreamStream::Tcp(stream) = stream else { panic!("not TCP") };
        stream.peer_addr().unwrap()
    }

    #[test]
    fn an_address_that_swallows_connections_delays_the_next_one_a_little() {
        let (listener, _held) = silent();
        let origin = TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = vec![address_of(&listener), origin.local_addr().unwrap()];
        let started = Instant::now();
        let stream = run(connect(&Address::Tcp(addresses), CONNECT_TIMEOUT)).unwrap();
        assert_eq!(peer_of(&stream), origin.local_addr().unwrap());
        assert!(started.elapsed() >= CONNECT_ATTEMPT_DELAY, "the first one had its time");
        assert!(started.elapsed() < CONNECT_TIMEOUT / 2, "{:?}", started.elapsed());
    }

    #[test]
    fn an_address_that_refuses_delays_nothing_and_none_that_answers_is_a_failure() {
        let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let origin = TcpListener::bind("127.0.0.1:0").unwrap();
        let started = Instant::now();
        let addresses = vec![refused, refused, refused, origin.local_addr().unwrap()];
        let stream = run(connect(&Address::Tcp(addresses), CONNECT_TIMEOUT)).unwrap();
        assert_eq!(peer_of(&stream), origin.local_addr().unwrap());
        assert!(started.elapsed() < CONNECT_ATTEMPT_DELAY, "{:?}", started.elapsed());
        for none in [vec![], vec![refused], vec![refused, refused]] {
            let ended = run(connect(&Address::Tcp(none), CONNECT_TIMEOUT));
            assert_eq!(ended.err(), Some(Error::ConnectFailed));
        }
    }

    #[test]
    fn one_connect_timeout_is_for_all_addresses() {
        let (listener, _held) = silent();
        let addresses = vec![address_of(&listener); 3];
        let timeout = CONNECT_ATTEMPT_DELAY * 4;
        let started = Instant::now();
        let ended = run(connect(&Address::Tcp(addresses), timeout));
        assert_eq!(ended.err(), Some(Error::ConnectTimeout));
        assert!(started.elapsed() < timeout * 2, "{:?}", started.elapsed());
    }

    #[test]
    fn families_take_turns_and_the_first_address_stays_the_first() {
        let list = |text: &str| -> Vec<SocketAddr> {
            text.split(' ').map(|one| one.parse().unwrap()).collect()
        };
        let order = interleaved(&list("[::1]:1 [::2]:1 [::3]:1 1.1.1.1:1 2.2.2.2:1"));
        assert_eq!(order, list("[::1]:1 1.1.1.1:1 [::2]:1 2.2.2.2:1 [::3]:1"));
        let order = interleaved(&list("1.1.1.1:1 2.2.2.2:1 [::1]:1"));
        assert_eq!(order, list("1.1.1.1:1 [::1]:1 2.2.2.2:1"));
    }
}
