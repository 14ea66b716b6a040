//! Accepts connections: one socket per worker (SO_REUSEPORT), a cap, a pause when the process runs
//! out of descriptors.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use monoio::io::{CancelHandle, Canceller};
use monoio::net::{TcpListener, TcpStream, UnixListener};
use socket2::{Domain, Protocol, SockAddr, Type};

use crate::connection;
use crate::limits::{ACCEPT_BACKOFF, BACKLOG};
use crate::stream::{Peer, Stream};
use crate::worker::{Admission, Worker};

/// A bound, listening socket that waits for its worker.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// Unix: the workers share one socket, as these have no SO_REUSEPORT.
    Unix(std::os::unix::net::UnixListener),
}

/// Binds one TCP socket. All workers bind the same address; for port 0 the first one's choice must
/// be passed to the others. Control thread.
pub fn bind_tcp(address: SocketAddr) -> io::Result<(Socket, SocketAddr)> {
    let socket = socket2::Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        // `[::]` beside `0.0.0.0` on one port must work, as it does in nginx.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener: std::net::TcpListener = OwnedFd::from(socket).into();
    let bound = listener.local_addr()?;
    Ok((Socket::Tcp(listener), bound))
}

/// Binds a Unix socket, over a stale file of an earlier process if nobody listens there.
pub fn bind_unix(path: &Path) -> io::Result<Socket> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    let address = SockAddr::unix(path)?;
    if let Err(error) = socket.bind(&address) {
        let is_stale = error.kind() == io::ErrorKind::AddrInUse
            && std::os::unix::net::UnixStream::connect(path).is_err();
        if !is_stale {
            return Err(error);
        }
        std::fs::remove_file(path)?;
        socket.bind(&address)?;
    }
    socket.listen(BACKLOG)?;
    Ok(Socket::Unix(OwnedFd::from(socket).into()))
}

impl Socket {
    /// Another handle of the same socket, for another worker.
    pub fn share(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener) => Self::Tcp(listener.try_clone()?),
            Self::Unix(listener) => Self::Unix(listener.try_clone()?),
        })
    }
}

/// The running accept loops of a worker.
pub struct Listeners {
    canceller: Canceller,
    loops: Vec<monoio::task::JoinHandle<()>>,
}

impl Listeners {
    /// Stops accepting. A connection that the kernel has handed over already is still served: the
    /// accept is cancelled, never dropped, so none is lost.
    pub async fn close(self) {
        let _ = self.canceller.cancel();
        for accepting in self.loops {
            accepting.await;
        }
    }
}

/// Starts accepting on all sockets. One that the runtime does not take is logged and left out.
pub fn spawn_all(worker: &Rc<Worker>, sockets: Vec<Socket>) -> Listeners {
    let canceller = Canceller::new();
    let mut loops = Vec::new();
    for socket in sockets {
        let (worker, cancel) = (worker.clone(), canceller.handle());
        match socket {
            Socket::Tcp(listener) => match TcpListener::from_std(listener) {
                Ok(listener) => loops.push(monoio::spawn(accept_tcp(listener, worker, cancel))),
                Err(error) => tracing::error!(worker = worker.id, %error, "cannot listen"),
            },
            Socket::Unix(listener) => match UnixListener::from_std(listener) {
                Ok(listener) => loops.push(monoio::spawn(accept_unix(listener, worker, cancel))),
                Err(error) => tracing::error!(worker = worker.id, %error, "cannot listen"),
            },
        }
    }
    Listeners { canceller, loops }
}

async fn accept_tcp(listener: TcpListener, worker: Rc<Worker>, cancel: CancelHandle) {
    loop {
        match listener.cancelable_accept(cancel.clone()).await {
            Ok((stream, address)) => start(stream, Peer { ip: address.ip() }, &worker),
            Err(error) if is_cancelled(&error) => break,
            Err(error) => pause(&worker, &error).await,
        }
    }
    take_the_rest(&listener, &worker);
}

async fn accept_unix(listener: UnixListener, worker: Rc<Worker>, cancel: CancelHandle) {
    let peer = Peer { ip: IpAddr::V4(Ipv4Addr::LOCALHOST) };
    loop {
        match listener.cancelable_accept(cancel.clone()).await {
            Ok((stream, _)) => start(stream, peer, &worker),
            Err(error) if is_cancelled(&error) => return,
            Err(error) => pause(&worker, &error).await,
        }
    }
}

/// Serves what stands in the kernel's queue: closing the socket would reset those connections.
fn take_the_rest(listener: &TcpListener, worker: &Rc<Worker>) {
    use std::os::fd::AsRawFd;
    while let Some(stream) = crate::stream::accept_now(listener.as_raw_fd()) {
        let Ok(address) = stream.peer_addr() else {
            continue;
        };
        if let Ok(stream) = TcpStream::from_std(stream) {
            start(stream, Peer { ip: address.ip() }, worker);
        }
    }
}

fn is_cancelled(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::CANCELED.raw_os_error())
}

/// Waits out what keeps us from accepting. A connection that its client has given up already
/// (ECONNABORTED) is no such thing.
async fn pause(worker: &Worker, error: &io::Error) {
    if error.kind() == io::ErrorKind::ConnectionAborted {
        return;
    }
    tracing::warn!(
        worker = worker.id,
        %error,
        "cannot accept a connection; trying again (is RLIMIT_NOFILE too low? ulimit -n)"
    );
    monoio::time::sleep(ACCEPT_BACKOFF).await;
}

fn start(stream: impl ServedStream, peer: Peer, worker: &Rc<Worker>) {
    let connections_max = worker.snapshot().limits.connections_max;
    let Some(admission) = worker.admit(connections_max) else {
        return;
    };
    stream.prepare();
    monoio::spawn(guarded(connection::serve(stream, peer, worker.clone()), admission));
}

/// A stream that a listener hands out.
trait ServedStream: Stream {
    fn prepare(&self) {}
}

impl ServedStream for TcpStream {
    fn prepare(&self) {
        // A response is written whole: waiting for more to send only delays it. A socket that is
        // broken already shows it at the first read.
        let _ = self.set_nodelay(true);
    }
}

impl ServedStream for monoio::net::UnixStream {}

/// A panic ends its connection, not the worker. There is no known way to cause one; this is the
/// line that holds if there is.
async fn guarded(serve: impl Future<Output = ()>, admission: Admission) {
    let mut serve = std::pin::pin!(serve);
    std::future::poll_fn(|cx| {
        let poll = AssertUnwindSafe(|| Pin::as_mut(&mut serve).poll(cx));
        std::panic::catch_unwind(poll).unwrap_or_else(|_| {
            tracing::error!("a connection was closed by a defect in the gateway (panic above)");
            Poll::Ready(())
        })
    })
    .await;
    drop(admission);
}
