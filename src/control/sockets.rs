//! The sockets that the process listens on: bound, taken over from whoever held them before, dealt
//! out to the workers, and kept at hand for the next process.
//!
//! What was inherited is found again by its address, or by the words in the configuration that it
//! was made for (port 0 has no address of its own). Every inherited socket of an address that is
//! still wanted is accepted on, whatever the number of workers: a listening SO_REUSEPORT socket
//! that nobody accepts on swallows its share of the connections.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;

use socket2::{Domain, SockRef};

use super::config::{Config, Listen, listener_ids};
use crate::downstream::listener::{self, Bound, Socket, Turn};
use crate::limits::{BIND_INTERVAL, BIND_TIMEOUT};

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// `server.listen`.
    Server,
    /// `admin.listen`.
    Admin,
}

/// A listening socket from an earlier process, or from systemd.
#[derive(Debug)]
pub struct Inherited {
    /// What it was for; `None`: whatever its address is wanted for.
    pub purpose: Option<Purpose>,
    /// The id of the listener that it was made for, if there was one.
    pub listen: Option<String>,
    /// The socket. It listens and does not block.
    pub socket: OwnedFd,
}

impl Inherited {
    fn is_for(
        &self,
        purpose: Purpose,
        (listen, id): (&Listen, &str),
        addresses: &[SocketAddr],
    ) -> bool {
        if self.purpose.is_some_and(|own| own != purpose) {
            return false;
        }
        if self.listen.as_ref().is_some_and(|own| own == id) {
            return true;
        }
        let Ok(address) = SockRef::from(&self.socket).local_addr() else { return false };
        match listen {
            Listen::Unix(path) => address.as_pathname() == Some(path),
            Listen::Tcp { .. } => {
                address.as_socket().is_some_and(|address| addresses.contains(&address))
            }
        }
    }
}

/// A socket that the process holds for as long as it accepts, so that the next one can have it.
#[derive(Debug)]
pub struct Held {
    /// What it is for.
    pub purpose: Purpose,
    /// The id of the listener that it was made for: the words of the configuration.
    pub listen: String,
    /// Another handle of the worker's.
    pub socket: OwnedFd,
}

/// Those of a process: changed by reloads, handed on by upgrades. The control thread's.
pub type SharedHeld = Rc<RefCell<Vec<Held>>>;

/// All sockets of a configuration; those that are new do not listen yet.
#[derive(Debug, Default)]
pub struct Sockets {
    /// One list for each worker.
    pub workers: Vec<Vec<Bound>>,
    /// The admin API's.
    pub admin: Option<std::net::TcpListener>,
    /// The addresses as bound, with the ports that the kernel chose.
    pub bound: Vec<String>,
    /// All of them once more.
    pub held: Vec<Held>,
    /// The first socket of each TCP address that is not inherited, until it listens.
    firsts: Vec<(Listen, SocketAddr, Socket)>,
}

impl Sockets {
    /// Takes over what is wanted of `inherited` and binds the rest. An inherited socket that nobody
    /// wants any more is closed: whoever handed it on empties its queue.
    pub fn open(config: &Config, workers: usize, inherited: Vec<Inherited>) -> io::Result<Self> {
        let mut inherited = inherited;
        let mut sockets = Self::open_but(&[], config, workers, &mut inherited)?;
        if let Some(listen) = &config.admin.listen {
            let named = |error: io::Error| named(listen, " (admin.listen)", &error);
            let admin = open_admin(listen, &mut inherited).map_err(named)?;
            // The words were checked; a name may lead elsewhere, and so may what was inherited.
            if config.admin.is_exposed_at(admin.local_addr()?) {
                return Err(exposed(listen, admin.local_addr()?));
            }
            sockets.hold(Purpose::Admin, &listen.to_string(), admin.as_fd().try_clone_to_owned()?);
            sockets.admin = Some(admin);
        }
        for unwanted in inherited {
            let address = SockRef::from(&unwanted.socket).local_addr();
            let address = address.ok().and_then(|address| address.as_socket());
            tracing::warn!(
                listen = unwanted.listen,
                ?address,
                "an inherited socket is none that the configuration wants"
            );
        }
        Ok(sockets)
    }

    /// The sockets of all listeners that are not among those that `runs` names; nothing of the
    /// admin API.
    pub fn open_but(
        runs: &[String],
        config: &Config,
        workers: usize,
        inherited: &mut Vec<Inherited>,
    ) -> io::Result<Self> {
        let mut sockets = Self::default();
        sockets.workers.resize_with(workers, Vec::new);
        let listeners = &config.server.listen;
        for (listener, id) in listeners.iter().zip(listener_ids(listeners)) {
            if runs.contains(&id) {
                continue;
            }
            let listen = &listener.address;
            let named = |error: io::Error| named(listen, "", &error);
            let (ours, bound) = sockets.open_one((listen, &id), inherited).map_err(named)?;
            // A unix socket is one, however many handles there are.
            let count = if matches!(listen, Listen::Unix(_)) { 1 } else { ours.len() };
            for socket in &ours[..count] {
                sockets.hold(Purpose::Server, &id, socket.as_fd().try_clone_to_owned()?);
            }
            for (index, socket) in ours.into_iter().enumerate() {
                let id = id.clone();
                sockets.workers[index % workers].push(Bound { id, socket });
            }
            sockets.bound.push(bound);
        }
        Ok(sockets)
    }

    /// Where the admin API listens.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|admin| admin.local_addr().ok())
    }

    /// Has the kernel queue connections for all workers' sockets.
    pub fn listen(&mut self) -> io::Result<()> {
        let firsts = std::mem::take(&mut self.firsts);
        for (at, (listen, address, first)) in firsts.iter().enumerate() {
            // An address and all addresses, on one port: the one before is not in the way.
            let is_beside = |(_, other, _): &(Listen, SocketAddr, Socket)| {
                other.port() == address.port() && other.is_ipv4() == address.is_ipv4()
            };
            if !firsts[..at].iter().any(is_beside) {
                patiently(|| first.listen_alone()).map_err(|error| named(listen, "", &error))?;
            }
        }
        self.workers.iter().flatten().try_for_each(|bound| bound.socket.listen())
    }

    fn hold(&mut self, purpose: Purpose, id: &str, socket: OwnedFd) {
        self.held.push(Held { purpose, listen: id.to_owned(), socket });
    }

    /// At least one socket of this address for each worker, and the address as bound.
    fn open_one(
        &mut self,
        (listen, id): (&Listen, &str),
        inherited: &mut Vec<Inherited>,
    ) -> io::Result<(Vec<Socket>, String)> {
        let addresses = resolve(listen)?;
        let mut ours = Vec::new();
        for taken in take(inherited, Purpose::Server, (listen, id), &addresses) {
            ours.push(match SockRef::from(&taken).domain()? {
                Domain::UNIX => Socket::Unix(taken.into()),
                _ => Socket::Tcp(taken.into()),
            });
        }
        let workers = self.workers.len();
        let (first, bound) = match (ours.first(), listen, addresses.first()) {
            (Some(Socket::Tcp(first)), ..) => (None, first.local_addr()?.to_string()),
            (Some(Socket::Unix(_)), ..) => (None, listen.to_string()),
            (None, Listen::Unix(path), _) => {
                (Some(patiently(|| listener::bind_unix(path))?), listen.to_string())
            }
            (None, Listen::Tcp { .. }, Some(&address)) => {
                let (first, address) = patiently(|| listener::bind_tcp(address, Turn::First))?;
                self.firsts.push((listen.clone(), address, first.share()?));
                (Some(first), address.to_string())
            }
            (None, Listen::Tcp { .. }, None) => {
                return Err(io::ErrorKind::AddrNotAvailable.into());
            }
        };
        ours.extend(first);
        let own = ours.len();
        while ours.len() < workers {
            let another = match &ours[0] {
                Socket::Tcp(first) => another(first)?,
                Socket::Unix(_) => None,
            };
            let shared = &ours[ours.len() % own];
            ours.push(another.map_or_else(|| shared.share(), Ok)?);
        }
        Ok((ours, bound))
    }
}

/// A socket of its own at the address of `first`; `None` if there cannot be one, because `first`
/// was bound without SO_REUSEPORT or the right to bind its port has been given up since.
fn another(first: &std::net::TcpListener) -> io::Result<Option<Socket>> {
    if !SockRef::from(first).reuse_port()? {
        return Ok(None);
    }
    Ok(match listener::bind_tcp(first.local_addr()?, Turn::Later) {
        Ok((socket, _)) => Some(socket),
        Err(error) => {
            tracing::warn!(%error, "workers share a socket: another cannot be bound");
            None
        }
    })
}

fn open_admin(
    listen: &Listen,
    inherited: &mut Vec<Inherited>,
) -> io::Result<std::net::TcpListener> {
    let addresses = resolve(listen)?;
    let listener =
        match take(inherited, Purpose::Admin, (listen, &listen.to_string()), &addresses).pop() {
            Some(taken) => taken.into(),
            None => patiently(|| std::net::TcpListener::bind(&*addresses))?,
        };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Has an address that its former owner may be about to leave: one that was killed.
#[expect(clippy::disallowed_methods, reason = "the control thread, before anybody is served")]
fn patiently<T>(mut have: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let started = Instant::now();
    loop {
        match have() {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && started.elapsed() < BIND_TIMEOUT =>
            {
                std::thread::sleep(BIND_INTERVAL);
            }
            outcome => return outcome,
        }
    }
}

fn take(
    inherited: &mut Vec<Inherited>,
    purpose: Purpose,
    listen: (&Listen, &str),
    addresses: &[SocketAddr],
) -> Vec<OwnedFd> {
    let taken = inherited.extract_if(.., |one| one.is_for(purpose, listen, addresses));
    taken.map(|one| one.socket).collect()
}

fn resolve(listen: &Listen) -> io::Result<Vec<SocketAddr>> {
    match listen {
        Listen::Unix(_) => Ok(Vec::new()),
        Listen::Tcp { host, port } => Ok((host.as_str(), *port).to_socket_addrs()?.collect()),
    }
}

fn named(listen: &Listen, key: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot listen on {listen}{key}: {error}"))
}

fn exposed(listen: &Listen, address: SocketAddr) -> io::Error {
    io::Error::other(format!(
        "admin.listen is {listen}, which is {address} and can be reached from other machines, and \
         there is no admin.token; set one, or listen on 127.0.0.1"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::config::{Listener, Server};

    fn config(listens: &[Listen]) -> Config {
        let mut config = crate::control::config::Located::Embedded.load().unwrap();
        let listen = listens.iter().cloned().map(Listener::plain).collect();
        config.server = Server { listen, ..Server::default() };
        config.admin.listen = None;
        config
    }

    fn inherit(sockets: Sockets) -> Vec<Inherited> {
        let inherited = sockets.held.into_iter().map(|held| Inherited {
            purpose: Some(held.purpose),
            listen: Some(held.listen),
            socket: held.socket,
        });
        inherited.collect()
    }

    fn counts(sockets: &Sockets) -> Vec<usize> {
        sockets.workers.iter().map(Vec::len).collect()
    }

    #[test]
    fn fewer_workers_accept_on_all_inherited_sockets_and_more_bind_new_ones() {
        let listen = [Listen::tcp("127.0.0.1", 0)];
        let mut first = Sockets::open(&config(&listen), 3, Vec::new()).unwrap();
        first.listen().unwrap();
        let bound = first.bound.clone();
        assert_eq!(counts(&first), [1, 1, 1]);
        let fewer = Sockets::open(&config(&listen), 2, inherit(first)).unwrap();
        assert_eq!((counts(&fewer), &fewer.bound), (vec![2, 1], &bound));
        let more = Sockets::open(&config(&listen), 4, inherit(fewer)).unwrap();
        assert_eq!((counts(&more), &more.bound), (vec![1, 1, 1, 1], &bound));
        assert_eq!(more.held.len(), 4);
    }

    #[test]
    fn an_address_is_found_again_under_another_name() {
        let listen = [Listen::tcp("127.0.0.1", 0)];
        let mut first = Sockets::open(&config(&listen), 1, Vec::new()).unwrap();
        first.listen().unwrap();
        let address: SocketAddr = first.bound[0].parse().unwrap();
        let named = [Listen::tcp("localhost", address.port())];
        let mut inherited = inherit(first);
        let other = Listen::tcp("127.0.0.1", address.port() ^ 1);
        let is_for = inherited[0].is_for(Purpose::Server, (&other, "-"), &resolve(&other).unwrap());
        assert!(!is_for);
        let addresses = [address];
        assert_eq!(take(&mut inherited, Purpose::Admin, (&named[0], "-"), &addresses).len(), 0);
        assert_eq!(take(&mut inherited, Purpose::Server, (&named[0], "-"), &addresses).len(), 1);
    }

    #[test]
    fn an_admin_socket_that_other_machines_reach_is_not_taken_over_without_a_token() {
        use crate::control::config::Secret;
        let public = || std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let words = "localhost:8081";
        for token in [None, Some(Secret::new("t0ken".to_owned()))] {
            let has_token = token.is_some();
            let inherited = Inherited {
                purpose: Some(Purpose::Admin),
                listen: Some(words.to_owned()),
                socket: public().into(),
            };
            let mut config = config(&[Listen::tcp("127.0.0.1", 0)]);
            config.admin.listen = Some(Listen::tcp("localhost", 8081));
            config.admin.token = token;
            let opened = Sockets::open(&config, 1, vec![inherited]);
            assert_eq!(opened.is_ok(), has_token, "{:?}", opened.err());
        }
    }

    #[test]
    fn a_socket_without_reuseport_is_shared() {
        let lone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = lone.local_addr().unwrap().port();
        let inherited = Inherited { purpose: None, listen: None, socket: lone.into() };
        let config = config(&[Listen::tcp("127.0.0.1", port)]);
        let sockets = Sockets::open(&config, 2, vec![inherited]).unwrap();
        assert_eq!(counts(&sockets), [1, 1]);
    }
}
