//! A client that writes exactly the bytes it is told to.

use super::carrier::Carried;
use super::secure::Shaker;
use super::wire::{Framing, Head, Wire, WireError};
use super::{PATIENCE, secure};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A response, read whole.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub head: Head,
    pub framing: Framing,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, Vec<u8>)>,
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{error} in the body {:?} of {}", self.text(), self.head)
        })
    }

    /// The reason that a response made by the gateway carries.
    pub fn reason(&self) -> String {
        match self.json()["error"].as_str() {
            Some(reason) if !reason.is_empty() => reason.to_owned(),
            _ => panic!("no reason in {:?}", self.text()),
        }
    }

    pub fn closes(&self) -> bool {
        self.head.all("connection").iter().any(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// One connection to the gateway.
pub struct Client {
    wire: Wire<Carried>,
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Self {
        Self::try_connect(addr).expect("the gateway listens")
    }

    pub fn try_connect(addr: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { wire: Wire::new(Carried::Clear(stream)) })
    }

    /// The same by TLS, for the host that tests' certificates are for.
    pub fn by_tls(addr: SocketAddr, shaker: &Shaker) -> std::io::Result<Self> {
        let secure::Secure { wire } = shaker.try_connect(addr, "localhost")?;
        Ok(Self { wire: Wire::new(Carried::Secure(Box::new(wire.stream))) })
    }

    /// Sends these bytes. A peer that has already closed is no error here: the answer tells.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.wire.stream.write_all(bytes.as_ref());
    }

    /// Sends these bytes; `false` if the peer does not take them all.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.wire.stream.write_all(bytes).is_ok()
    }

    /// Sends every byte in a segment of its own.
    pub fn send_bytewise(&mut self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            self.send([*byte]);
            std::thread::yield_now();
        }
    }

    /// Ends the sending direction.
    pub fn finish_sending(&mut self) {
        self.wire.stream.finish_sending();
    }

    /// Closes so that the gateway gets RST instead of FIN.
    pub fn reset(self) {
        // Linger 0: the close that follows sends RST.
        let socket = socket2::SockRef::from(self.wire.stream.socket());
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    pub fn set_patience(&mut self, bound: Duration) {
        self.wire.stream.socket().set_read_timeout(Some(bound)).unwrap();
    }

    /// Reads the response to a request with a method other than HEAD.
    pub fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    pub fn response_to(&mut self, method: &str) -> Response {
        self.try_response_to(method).unwrap_or_else(|error| panic!("no response: {error:?}"))
    }

    pub fn try_response(&mut self) -> Result<Response, WireError> {
        self.try_response_to("GET")
    }

    /// Reads a final response, passing over interim ones.
    pub fn try_response_to(&mut self, method: &str) -> Result<Response, WireError> {
        loop {
            let head = self.wire.head()?;
            let status = head.status()?;
            if status < 200 {
                continue;
            }
            let framing = head.response_framing(method)?;
            let mut body = Vec::new();
            let trailers = self.wire.body(framing, |piece| body.extend_from_slice(piece))?;
            return Ok(Response { status, head, framing, body, trailers });
        }
    }

    /// Reads one head, interim or final, and nothing of a body.
    pub fn head(&mut self) -> Head {
        self.wire.head().unwrap_or_else(|error| panic!("no head: {error:?}"))
    }

    /// Reads one head where there may be none.
    pub fn try_head(&mut self) -> Result<Head, WireError> {
        self.wire.head()
    }

    /// Reads a body that follows a head read by [`Client::head`].
    pub fn body(
        &mut self,
        framing: Framing,
        sink: impl FnMut(&[u8]),
    ) -> Result<Vec<(String, Vec<u8>)>, WireError> {
        self.wire.body(framing, sink)
    }

    /// Reads until the gateway closes.
    pub fn rest(&mut self) -> Vec<u8> {
        self.wire.rest().unwrap_or_else(|error| panic!("not closed: {error:?}"))
    }

    /// Reads until the gateway closes, and says how: an error is a reset, or TLS whose end was not
    /// said.
    pub fn ending(&mut self) -> (Vec<u8>, std::io::Result<()>) {
        self.wire.ending()
    }

    /// Reads exactly so many bytes, of whatever they are.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        self.wire.take(count).unwrap_or_else(|error| panic!("no {count} bytes: {error:?}"))
    }

    /// Fails unless the gateway closes the connection and sends nothing more.
    pub fn assert_closed(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "unexpected {:?}", String::from_utf8_lossy(&rest));
    }

    /// Asks once and keeps the connection.
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Response {
        let request = request.as_ref();
        let method = request.split(|&byte| byte == b' ').next().unwrap_or_default().to_vec();
        self.send(request);
        self.response_to(std::str::from_utf8(&method).unwrap_or("GET"))
    }

    /// `GET path` on the kept connection.
    pub fn get(&mut self, path: &str) -> Response {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n"))
    }
}

/// Asks once on a connection of its own.
pub fn ask(addr: SocketAddr, request: impl AsRef<[u8]>) -> Response {
    Client::connect(addr).ask(request)
}

/// `GET path` on a connection of its own.
pub fn get(addr: SocketAddr, path: &str) -> Response {
    Client::connect(addr).get(path)
}

/// `GET path` with these field lines (each ended by CRLF) on a connection of its own.
pub fn get_with(addr: SocketAddr, path: &str, fields: &str) -> Response {
    ask(addr, format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n"))
}

/// `POST path` with this body on a connection of its own.
pub fn post(addr: SocketAddr, path: &str, body: &str) -> Response {
    let length = body.len();
    ask(
        addr,
        format!("POST {path} HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n{body}"),
    )
}
