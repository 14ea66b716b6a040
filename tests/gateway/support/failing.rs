//! Origins that fail in every way that origins do, and come back at the same address.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What an origin does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Answers 200 with its name.
    Well,
    /// Answers with this status.
    Status(u16),
    /// Reads it and never answers.
    Hangs,
    /// Reads it and resets the connection.
    Resets,
    /// Sends half of an answer and ends the connection.
    Cuts,
    /// Answers well, after so many milliseconds.
    Slow(u64),
}

/// An origin that may be told how to fail; ends with its value.
pub struct Failing {
    name: &'static str,
    addr: SocketAddr,
    shared: Arc<Shared>,
    running: Mutex<Option<Arc<AtomicBool>>>,
}

struct Shared {
    mode: Mutex<Mode>,
    /// The request lines that came.
    requests: Mutex<Vec<String>>,
    open: Mutex<Vec<TcpStream>>,
}

impl Failing {
    /// One that is well, on a port of its own.
    pub fn new(name: &'static str) -> Self {
        Self::on(name, TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// One that is well, on this port.
    pub fn on(name: &'static str, listener: TcpListener) -> Self {
        let shared = Shared {
            mode: Mutex::new(Mode::Well),
            requests: Mutex::default(),
            open: Mutex::default(),
        };
        let origin = Self {
            name,
            addr: listener.local_addr().unwrap(),
            shared: Arc::new(shared),
            running: Mutex::new(None),
        };
        origin.serve(listener);
        origin
    }

    fn serve(&self, listener: TcpListener) {
        let stops = Arc::new(AtomicBool::new(false));
        *self.running.lock().unwrap() = Some(stops.clone());
        let (shared, name) = (self.shared.clone(), self.name);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if stops.load(SeqCst) {
                    return;
                }
                stream.set_nodelay(true).unwrap();
                shared.open.lock().unwrap().push(stream.try_clone().unwrap());
                let shared = shared.clone();
                std::thread::spawn(move || shared.answer(stream, name));
            }
        });
    }

    /// From now on it does this.
    pub fn becomes(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    /// As if its process had been killed: its connections end, new ones are refused.
    pub fn dies(&self) {
        if let Some(stops) = self.running.lock().unwrap().take() {
            stops.store(true, SeqCst);
            // Wakes the accept, and waits until the listener is closed.
            drop(TcpStream::connect(self.addr));
            while TcpStream::connect(self.addr).is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// It listens again, and is well.
    pub fn comes_back(&self) {
        self.becomes(Mode::Well);
        self.serve(TcpListener::bind(self.addr).unwrap());
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// How many requests came so far.
    pub fn count(&self) -> usize {
        self.shared.requests.lock().unwrap().len()
    }

    /// The request lines that came so far.
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        self.dies();
    }
}

impl Shared {
    fn answer(&self, stream: TcpStream, name: &str) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        while let Some(line) = read_request(&mut reader) {
            self.requests.lock().unwrap().push(line);
            let mode = *self.mode.lock().unwrap();
            let status = match mode {
                Mode::Well => 200,
                Mode::Status(status) => status,
                Mode::Cuts => {
                    let _ = stream.write_all(b"HTTP/1.1 200 X\r\nContent-Length: 4\r\n\r\nhi");
                    let _ = stream.shutdown(Shutdown::Both);
                    return;
                }
                Mode::Slow(millis) => {
                    std::thread::sleep(Duration::from_millis(millis));
                    200
                }
                Mode::Hangs => {
                    // Until the gateway gives it up.
                    let _ = reader.read(&mut [0]);
                    return;
                }
                Mode::Resets => {
                    let socket = socket2::SockRef::from(&stream);
                    let _ = socket.set_linger(Some(Duration::ZERO));
                    // The other handles of the socket would keep it open.
                    let ours = stream.peer_addr();
                    let is_ours =
                        |one: &TcpStream| one.peer_addr().ok() == ours.as_ref().ok().copied();
                    self.open.lock().unwrap().retain(|one| !is_ours(one));
                    return;
                }
            };
            let length = name.len();
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{name}");
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// Reads a request whole; its first line. `None` at the end.
fn read_request(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let (mut first, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() && !first.is_empty() {
            break;
        }
        if first.is_empty() {
            first = line.to_owned();
        }
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(first)
}

/// A listener whose queue is full: the kernel drops who else comes. With what fills it.
pub fn swallowing() -> (socket2::Socket, Vec<TcpStream>, SocketAddr) {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let listener = listener.unwrap();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap().as_socket().unwrap();
    let patience = Duration::from_millis(200);
    let held = std::iter::from_fn(|| TcpStream::connect_timeout(&addr, patience).ok()).collect();
    (listener, held, addr)
}
