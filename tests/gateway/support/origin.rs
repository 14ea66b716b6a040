//! An origin that does exactly what its script says, and remembers what it was sent.
//!
//! A script is a closure that is called once for every connection, on a thread of its own, with
//! the number of the connection. It ends the connection by returning.

use super::wire::{Framing, Head, Wire};
use super::{PATIENCE, wait_until};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A request as the origin received it.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    pub target: String,
    pub head: Head,
    pub framing: Framing,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, Vec<u8>)>,
}

impl Received {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<Received>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    stopped: AtomicBool,
}

enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A listening origin; closes with its value.
pub struct Origin {
    place: Place,
    shared: Arc<Shared>,
}

type Script = dyn Fn(&mut OriginConnection, usize) + Send + Sync;

impl Origin {
    /// Runs `script` for every connection.
    pub fn scripted(script: impl Fn(&mut OriginConnection, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = Place::Tcp(listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let script: Arc<Script> = Arc::new(script);
        let state = shared.clone();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if state.stopped.load(Ordering::SeqCst) {
                    break;
                }
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_write_timeout(Some(PATIENCE)).unwrap();
                run(Box::new(stream), &script, &state);
            }
        });
        Self { place, shared }
    }

    /// As [`Origin::scripted`], on a unix socket at `path`.
    pub fn unix(
        path: &Path,
        script: impl Fn(&mut OriginConnection, usize) + Send + Sync + 'static,
    ) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let shared = Arc::new(Shared::default());
        let script: Arc<Script> = Arc::new(script);
        let state = shared.clone();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if state.stopped.load(Ordering::SeqCst) {
                    break;
                }
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                run(Box::new(stream), &script, &state);
            }
        });
        Self { place: Place::Unix(path.to_owned()), shared }
    }

    /// Answers every request with these bytes and keeps the connection.
    pub fn raw(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::scripted(move |connection, _| {
            while connection.request().is_some() {
                connection.send(&answer);
            }
        })
    }

    /// Answers the first request of every connection with these bytes, then closes.
    pub fn raw_then_close(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::scripted(move |connection, _| {
            if connection.request().is_some() {
                connection.send(&answer);
            }
        })
    }

    /// Answers every request with 200 and the body `ok`.
    pub fn ok() -> Self {
        Self::raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    }

    /// Answers every request with 200 and its target as the body.
    pub fn naming_targets() -> Self {
        Self::scripted(|connection, _| {
            while let Some(request) = connection.request() {
                let body = request.target;
                connection.send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                ));
            }
        })
    }

    /// The target of a service that points here.
    pub fn url(&self) -> String {
        match &self.place {
            Place::Tcp(addr) => format!("http://{addr}"),
            Place::Unix(path) => format!("http://unix:{}", path.display()),
        }
    }

    pub fn addr(&self) -> SocketAddr {
        match self.place {
            Place::Tcp(addr) => addr,
            Place::Unix(_) => panic!("a unix origin has no address"),
        }
    }

    /// What was received so far.
    pub fn requests(&self) -> Vec<Received> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The only request that was received.
    pub fn only_request(&self) -> Received {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests.remove(0)
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Waits until there was a connection and none is open any more.
    pub fn wait_all_closed(&self) {
        wait_until("the origin's connections are closed", || {
            self.connections() > 0 && self.shared.open.load(Ordering::SeqCst) == 0
        });
    }

    pub fn wait_requests(&self, count: usize) {
        wait_until("the origin has its requests", || {
            self.shared.requests.lock().unwrap().len() >= count
        });
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the accept.
        match &self.place {
            Place::Tcp(addr) => drop(TcpStream::connect(addr)),
            Place::Unix(path) => drop(UnixStream::connect(path)),
        }
    }
}

fn run(stream: Box<dyn Stream>, script: &Arc<Script>, shared: &Arc<Shared>) {
    let number = shared.connections.fetch_add(1, Ordering::SeqCst);
    shared.open.fetch_add(1, Ordering::SeqCst);
    let (script, shared) = (script.clone(), shared.clone());
    std::thread::spawn(move || {
        let mut connection = OriginConnection { wire: Wire::new(stream), shared: shared.clone() };
        script(&mut connection, number);
        drop(connection);
        shared.open.fetch_sub(1, Ordering::SeqCst);
    });
}

/// What a script needs of a socket, TCP or unix.
trait Stream: Read + Write + Send {
    fn end_sending(&self);
    fn reset(&self);
}

impl Stream for TcpStream {
    fn end_sending(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }

    fn reset(&self) {
        // Linger 0: the close that follows sends RST.
        let socket = socket2::SockRef::from(self);
        socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
}

impl Stream for UnixStream {
    fn end_sending(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }

    fn reset(&self) {
        panic!("a unix socket cannot be reset");
    }
}

/// One connection from the gateway.
pub struct OriginConnection {
    wire: Wire<Box<dyn Stream>>,
    shared: Arc<Shared>,
}

impl OriginConnection {
    /// Reads a request whole and records it; `None` when the gateway has closed. A request that
    /// the strict reader refuses is recorded with the method `MALFORMED` and the error as target.
    pub fn request(&mut self) -> Option<Received> {
        let received = self.head_only()?;
        let mut body = Vec::new();
        let end = self.wire.body(received.framing, |piece| body.extend_from_slice(piece));
        let received = match end {
            Ok(trailers) => Received { body, trailers, ..received },
            Err(error) => Received {
                method: "MALFORMED".into(),
                target: format!("body: {error:?}"),
                body,
                ..received
            },
        };
        let whole = received.method != "MALFORMED";
        self.shared.requests.lock().unwrap().push(received.clone());
        whole.then_some(received)
    }

    /// Reads and records a request's head and leaves its body unread.
    pub fn head(&mut self) -> Option<Received> {
        let received = self.head_only()?;
        self.shared.requests.lock().unwrap().push(received.clone());
        Some(received)
    }

    fn head_only(&mut self) -> Option<Received> {
        use super::wire::WireError::{Closed, Malformed, TimedOut, Truncated};
        let head = match self.wire.head() {
            Ok(head) => head,
            Err(Closed | TimedOut) => return None,
            Err(error @ (Malformed(_) | Truncated)) => {
                let head = Head { raw: Vec::new(), start: String::new(), fields: Vec::new() };
                self.record_malformed(head, &error);
                return None;
            }
        };
        let framing = match head.request_framing() {
            Ok(framing) => framing,
            Err(error) => {
                self.record_malformed(head, &error);
                return None;
            }
        };
        let parts: Vec<String> = head.start.split(' ').map(str::to_owned).collect();
        let [method, target, version] = parts.as_slice() else {
            self.record_malformed(head, &Malformed("request line".into()));
            return None;
        };
        assert_eq!(version, "HTTP/1.1");
        Some(Received {
            method: method.clone(),
            target: target.clone(),
            head,
            framing,
            body: Vec::new(),
            trailers: Vec::new(),
        })
    }

    fn record_malformed(&self, head: Head, error: &super::wire::WireError) {
        self.shared.requests.lock().unwrap().push(Received {
            method: "MALFORMED".into(),
            target: format!("{error:?}"),
            head,
            framing: Framing::None,
            body: Vec::new(),
            trailers: Vec::new(),
        });
    }

    /// Reads a body piece by piece after [`OriginConnection::head`].
    pub fn body(&mut self, framing: Framing, sink: impl FnMut(&[u8])) -> bool {
        self.wire.body(framing, sink).is_ok()
    }

    /// Reads at least a byte of whatever comes; empty at the end.
    pub fn some(&mut self) -> Vec<u8> {
        self.wire.some().unwrap_or_default()
    }

    /// Sends these bytes; `false` if the gateway no longer takes them.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.wire.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Answers 200 with this body.
    pub fn answer(&mut self, body: &str) -> bool {
        self.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }

    pub fn end_sending(&mut self) {
        self.wire.stream.end_sending();
    }

    /// Makes the end of the script send RST instead of FIN.
    pub fn reset(&mut self) {
        self.wire.stream.reset();
    }
}
