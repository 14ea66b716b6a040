//! Accepts connections: one socket per worker (SO_REUSEPORT), a cap, a pause when the process runs
//! out of descriptors.
//!
//! A worker waits until its socket is readable, then takes what stands in the queue. Sockets never
//! block, whatever the I/O driver: when the binary is upgraded two processes accept on the same
//! ones for a moment, and who comes second finds nothing. Rejected: an accept operation of the
//! runtime; one that is cancelled may have taken a connection already.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use crate::io::runtime::{TcpListener, TcpStream, UnixListener, UnixStream};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, SockRef, Type};

use super::frontend::Frontend;
use super::serve::start;
use crate::http::connection::Connection;
use crate::io::turn_away;
use crate::limits::{
    ACCEPT_BACKOFF, ACCEPTS_AT_ONCE, BACKLOG, HANDSHAKES_TIMEOUT, LISTENER_RELEASE,
};
use crate::snapshot::Listener;

/// A bound socket that waits for its worker.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// Unix: the workers share one socket, as these have no SO_REUSEPORT.
    Unix(std::os::unix::net::UnixListener),
}

/// Which of the sockets of an address one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The first: whoever listens there already is in its way.
    First,
    /// One that shares the address with those before.
    Later,
}

/// Binds one TCP socket; it does not listen yet. All workers bind the same address; for port 0 the
/// first one's choice must be passed to the others. Control thread.
pub fn bind_tcp(address: SocketAddr, turn: Turn) -> io::Result<(Socket, SocketAddr)> {
    let socket = socket2::Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    // With it the kernel would let this process share the port of any other one of its user.
    socket.set_reuse_port(turn == Turn::Later)?;
    if address.is_ipv6() {
        // `[::]` beside `0.0.0.0` on one port must work, as it does in nginx.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.set_reuse_port(true)?;
    let socket: std::net::TcpListener = OwnedFd::from(socket).into();
    let bound = socket.local_addr()?;
    Ok((Socket::Tcp(socket), bound))
}

/// Binds a Unix socket, in the place of one that an earlier process has left behind. It listens at
/// once: one that does not would look left behind to others.
pub fn bind_unix(path: &Path) -> io::Result<Socket> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    let address = SockAddr::unix(path)?;
    if let Err(error) = socket.bind(&address) {
        if error.kind() != io::ErrorKind::AddrInUse {
            return Err(error);
        }
        check_left_behind(path, &address)
            .map_err(|why| io::Error::new(error.kind(), format!("{}: {why}", path.display())))?;
        std::fs::remove_file(path)?;
        socket.bind(&address)?;
    }
    socket.listen(BACKLOG)?;
    Ok(Socket::Unix(OwnedFd::from(socket).into()))
}

/// Whether what stands at `path` is a socket that no process holds any more: only that is removed.
/// One that refuses us for another reason (its mode, a full queue, another type) is somebody's.
fn check_left_behind(path: &Path, address: &SockAddr) -> Result<(), &'static str> {
    const IN_USE: &str = "Address already in use";
    let is_socket = path.symlink_metadata().is_ok_and(|data| data.file_type().is_socket());
    if !is_socket {
        return Err(
            "Address already in use by a file that is not a socket; name another path, or \
                    remove it",
        );
    }
    // It must not wait where a queue is full.
    let probe = socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None);
    match probe.and_then(|probe| probe.connect(address)) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        _ => return Err(IN_USE),
    }
    // One that is bound and does not listen yet refuses connections as well.
    if is_bound(path) { Err(IN_USE) } else { Ok(()) }
}

/// Whether a process holds a socket that was bound to this path, as the kernel lists them:
/// `address: references protocol flags type state inode path`. Connections that were accepted
/// from one (state 03) bear its path too.
fn is_bound(path: &Path) -> bool {
    #[expect(clippy::disallowed_methods, reason = "the control thread, when it binds")]
    let Ok(sockets) = std::fs::read("/proc/net/unix") else {
        return false;
    };
    let wanted = path.as_os_str().as_bytes();
    sockets.split(|&byte| byte == b'\n').any(|line| {
        let mut columns = line.splitn(8, |&byte| byte == b' ').skip(5);
        let is_unconnected = columns.next() == Some(b"01");
        is_unconnected && line.strip_suffix(wanted).is_some_and(|rest| rest.ends_with(b" "))
    })
}

impl Socket {
    /// Another handle of the same socket, for another worker.
    pub fn share(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener) => Self::Tcp(listener.try_clone()?),
            Self::Unix(listener) => Self::Unix(listener.try_clone()?),
        })
    }

    /// As [`Self::listen`], and fails if anybody else listens at the address: two processes may
    /// have bound it at once. To be called before others of this process listen there.
    pub fn listen_alone(&self) -> io::Result<()> {
        let fd = self.as_fd();
        let socket = SockRef::from(&fd);
        socket.set_reuse_port(false)?;
        let listened = socket.listen(BACKLOG);
        socket.set_reuse_port(true)?;
        listened
    }

    /// Has the kernel queue connections from now on. One that listens already goes on.
    pub fn listen(&self) -> io::Result<()> {
        SockRef::from(&self.as_fd()).listen(BACKLOG)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// A connection that another process has accepted and handed over.
#[derive(Debug)]
pub enum Accepted {
    /// TCP.
    Tcp(std::net::TcpStream, Connection),
    /// Unix.
    Unix(std::os::unix::net::UnixStream, Connection),
}

impl Accepted {
    /// The number of its descriptor: that many are in use at least.
    fn descriptor(&self) -> usize {
        let number = match self {
            Self::Tcp(stream, _) => stream.as_raw_fd(),
            Self::Unix(stream, _) => stream.as_raw_fd(),
        };
        usize::try_from(number).unwrap_or_default()
    }

    /// A connection of this descriptor, whatever its kind. Never blocks from now on.
    pub fn of(fd: OwnedFd, facts: Connection) -> io::Result<Self> {
        let domain = SockRef::from(&fd).domain()?;
        Ok(if domain == Domain::UNIX {
            let stream = std::os::unix::net::UnixStream::from(fd);
            stream.set_nonblocking(true)?;
            Self::Unix(stream, facts)
        } else {
            let stream = std::net::TcpStream::from(fd);
            stream.set_nonblocking(true)?;
            Self::Tcp(stream, facts)
        })
    }
}

/// Serves a connection that is there already: HTTP/1 in the clear, between two requests.
pub fn serve(accepted: Accepted, frontend: &Rc<Frontend>) {
    serve_at(accepted, None, frontend);
}

/// Serves a connection, by what its listener says unless it was served before.
fn serve_at(accepted: Accepted, listener: Option<&Arc<Listener>>, frontend: &Rc<Frontend>) {
    let listener = listener.map(Arc::clone);
    let outcome = match accepted {
        Accepted::Tcp(stream, facts) => {
            TcpStream::from_std(stream).map(|stream| start(stream, facts, listener, frontend))
        }
        Accepted::Unix(stream, facts) => {
            UnixStream::from_std(stream).map(|stream| start(stream, facts, listener, frontend))
        }
    };
    if let Err(error) = outcome {
        tracing::warn!(worker = frontend.core.id, %error, "cannot serve a connection");
    }
}

/// A socket, and the id of its listener ([`Listener::id`]).
#[derive(Debug)]
pub struct Bound {
    /// Whose it is.
    pub id: String,
    /// The socket.
    pub socket: Socket,
}

/// The running accept loops of a worker.
#[derive(Default)]
pub struct Listeners {
    loops: RefCell<Vec<Loop>>,
}

struct Loop {
    id: String,
    stop: Rc<Stop>,
    accepting: crate::io::JoinHandle<()>,
}

impl Listeners {
    /// Starts accepting on all sockets, which the worker's snapshot has listeners for. One that the
    /// runtime does not take is logged and left out.
    pub fn open(&self, frontend: &Rc<Frontend>, sockets: Vec<Bound>) {
        for Bound { id, socket } in sockets {
            let taken = match socket {
                Socket::Tcp(socket) => TcpListener::from_std(socket).map(Place::Tcp),
                Socket::Unix(socket) => UnixListener::from_std(socket).map(Place::Unix),
            };
            let snapshot = frontend.core.snapshot();
            let taken = taken.and_then(|place| {
                let listener = snapshot.listener(&id).ok_or(io::ErrorKind::NotFound)?;
                Ok((place, Arc::clone(listener)))
            });
            match taken {
                Ok((place, listener)) => {
                    let stop = Rc::<Stop>::default();
                    let accepting = accept(place, listener, frontend.clone(), stop.clone());
                    let accepting = crate::io::spawn(accepting);
                    self.loops.borrow_mut().push(Loop { id, stop, accepting });
                }
                Err(error) => tracing::error!(worker = frontend.core.id, %error, "cannot listen"),
            }
        }
    }

    /// Stops accepting. What stands in the kernel's queues is still served. `holds_alone`: no other
    /// process holds the sockets; then the kernel takes nothing new while the queues are emptied.
    pub async fn close(&self, holds_alone: bool) {
        self.close_those(|_| true, holds_alone).await;
    }

    /// The same for listeners that are no more, by their ids.
    pub async fn close_some(&self, ids: &[String], holds_alone: bool) {
        self.close_those(|id| ids.iter().any(|gone| gone == id), holds_alone).await;
    }

    async fn close_those(&self, which: impl Fn(&str) -> bool, holds_alone: bool) {
        let loops: Vec<Loop> =
            self.loops.borrow_mut().extract_if(.., |one| which(&one.id)).collect();
        loops.iter().for_each(|one| one.stop.set(holds_alone));
        for one in loops {
            one.accepting.await;
        }
    }
}

/// A socket of the worker's runtime.
enum Place {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Place {
    async fn readable(&self) -> io::Result<()> {
        // `relaxed = false`: see `stream`.
        match self {
            Self::Tcp(listener) => listener.readable(false).await,
            Self::Unix(listener) => listener.readable(false).await,
        }
    }

    fn turn_away(&self) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => turn_away::tcp(listener),
            Self::Unix(listener) => turn_away::unix(listener),
        }
    }

    /// Takes one connection from the queue, if there is one.
    fn take(&self) -> Result<Accepted, Errno> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = crate::io::stream::accept_now(listener)?;
                let ip = address.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |at| at.ip());
                let client_port = address.map_or(0, |at| at.port());
                Ok(Accepted::Tcp(
                    stream.into(),
                    Connection { client_port, ..Connection::plain(ip) },
                ))
            }
            Self::Unix(listener) => {
                let (stream, _) = crate::io::stream::accept_now(listener)?;
                let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
                Ok(Accepted::Unix(stream.into(), Connection::plain(ip)))
            }
        }
    }
}

async fn accept(place: Place, mut listener: Arc<Listener>, frontend: Rc<Frontend>, stop: Rc<Stop>) {
    while let Some(outcome) = stop.unless_set(place.readable()).await {
        if let Some(now) = frontend.core.snapshot().listener(&listener.id)
            && !Arc::ptr_eq(now, &listener)
        {
            listener = Arc::clone(now);
        }
        let outcome = outcome.and_then(|()| {
            take_queued(&place, &listener, &frontend, ACCEPTS_AT_ONCE).map_err(io::Error::from)
        });
        match outcome {
            // Another worker was faster, or has turned everybody away from a socket that they
            // share: it would be readable for ever then, and nothing else would have a turn.
            Ok(0) => crate::io::sleep(LISTENER_RELEASE).await,
            Ok(_) => {}
            Err(error) => pause(&frontend, &error).await,
        }
    }
    // Closing a socket resets those that stand in its queue, or come into it until then.
    let mut left = LISTENER_RELEASE;
    if stop.holds_alone.get() {
        match place.turn_away() {
            Ok(()) => left = HANDSHAKES_TIMEOUT,
            Err(error) => {
                tracing::debug!(worker = frontend.core.id, %error, "cannot keep connections away");
            }
        }
    }
    // The runtime holds the socket until it knows that nobody waits for it any more: one round.
    // Then there are those whose handshake is under way.
    loop {
        let pause = left.min(LISTENER_RELEASE);
        crate::io::sleep(pause).await;
        left -= pause;
        if let Err(error) = take_queued(&place, &listener, &frontend, usize::MAX) {
            tracing::warn!(worker = frontend.core.id, %error, "connections that wait may be lost");
        }
        if left.is_zero() {
            return;
        }
    }
}

/// Serves at most so many of the connections that stand in the queue; how many it took.
fn take_queued(
    place: &Place,
    listener: &Arc<Listener>,
    frontend: &Rc<Frontend>,
    most: usize,
) -> Result<usize, Errno> {
    for taken in 0..most {
        match place.take() {
            Ok(accepted)
                if accepted.descriptor() >= frontend.core.snapshot().limits.descriptors_end =>
            {
                frontend.shed()
            }
            Ok(accepted) => serve_at(accepted, Some(listener), frontend),
            Err(Errno::AGAIN) => return Ok(taken),
            // Given up by its client.
            Err(Errno::CONNABORTED | Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(most)
}

/// Ends the waiting of one accept loop.
#[derive(Default)]
struct Stop {
    is_set: Cell<bool>,
    holds_alone: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Stop {
    fn set(&self, holds_alone: bool) {
        self.holds_alone.set(holds_alone);
        self.is_set.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Awaits `readiness`; `None` once this is set. Dropping what waits for that loses nothing.
    async fn unless_set<T>(&self, readiness: impl Future<Output = T>) -> Option<T> {
        let mut readiness = std::pin::pin!(readiness);
        std::future::poll_fn(|cx| {
            if self.is_set.get() {
                return Poll::Ready(None);
            }
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            readiness.as_mut().poll(cx).map(Some)
        })
        .await
    }
}

/// Waits out what keeps us from accepting.
async fn pause(frontend: &Frontend, error: &io::Error) {
    tracing::warn!(
        worker = frontend.core.id,
        %error,
        "cannot accept a connection; trying again (is RLIMIT_NOFILE too low? ulimit -n)"
    );
    crate::io::sleep(ACCEPT_BACKOFF).await;
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let name = format!("odin-bind-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let _not_there = std::fs::remove_file(&path);
            Self(path)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _gone = std::fs::remove_file(&self.0);
        }
    }

    fn is_refused(place: &Place) -> bool {
        let error = bind_unix(&place.0).expect_err("bound over what was there");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
        error.to_string().contains(&*place.0.to_string_lossy())
    }

    fn bound(place: &Place, kind: Type) -> socket2::Socket {
        let socket = socket2::Socket::new(Domain::UNIX, kind, None).unwrap();
        socket.bind(&SockAddr::unix(&place.0).unwrap()).unwrap();
        socket
    }

    #[test]
    fn a_file_that_is_no_socket_is_never_removed() {
        let place = Place::new("file");
        #[expect(clippy::disallowed_methods, reason = "there is no worker in these tests")]
        std::fs::write(&place.0, "kept").unwrap();
        assert!(is_refused(&place));
        #[expect(clippy::disallowed_methods, reason = "there is no worker in these tests")]
        let kept = std::fs::read(&place.0).unwrap();
        assert_eq!(kept, b"kept");
        let link = Place::new("link");
        std::os::unix::fs::symlink(&place.0, &link.0).unwrap();
        assert!(is_refused(&link));
        assert!(link.0.is_symlink() && place.0.is_file());
    }

    #[test]
    fn a_socket_that_nobody_holds_is_replaced() {
        let place = Place::new("stale");
        drop(bind_unix(&place.0).unwrap());
        assert!(place.0.symlink_metadata().unwrap().file_type().is_socket());
        bind_unix(&place.0).unwrap();
        std::os::unix::net::UnixStream::connect(&place.0).unwrap_err();
    }

    #[test]
    fn a_socket_that_somebody_holds_is_in_use_even_if_it_takes_no_connection() {
        let listening = Place::new("listening");
        let _live = bind_unix(&listening.0).unwrap();
        assert!(is_refused(&listening));
        // Its queue is full: who connects would wait.
        let full = Place::new("full");
        let socket = bound(&full, Type::STREAM);
        socket.listen(0).unwrap();
        let _waiting = std::os::unix::net::UnixStream::connect(&full.0).unwrap();
        assert!(is_refused(&full));
        // It does not listen yet, or takes messages.
        for (name, kind) in [("bound", Type::STREAM), ("datagram", Type::DGRAM)] {
            let place = Place::new(name);
            let _live = bound(&place, kind);
            assert!(is_refused(&place), "{name}");
            assert!(place.0.exists(), "{name}");
        }
    }
}
