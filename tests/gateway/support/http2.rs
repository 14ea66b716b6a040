//! A client of HTTP/2 that writes frames as a test wants them and says what has come.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use odin::http::h2::frame::{self, HEAD_BYTES, Head, PREFACE, flag, kind};
use odin::http::h2::hpack::{Decoder, TakeField};

/// How long a test waits for what should come at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// A field of a head.
pub type Field<'a> = (&'a str, &'a str);

/// What has come on a stream.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    /// Heads, interim ones and trailers as well.
    pub heads: Vec<Vec<(String, String)>>,
    pub body: Vec<u8>,
    pub has_ended: bool,
    /// The code of its reset.
    pub reset: Option<u32>,
}

impl Stream {
    pub fn status(&self) -> u16 {
        self.field("status").parse().unwrap()
    }

    /// A field of the last head that has it; `status` is `:status`.
    pub fn field(&self, name: &str) -> String {
        let name = if name == "status" { ":status" } else { name };
        let mut fields = self.heads.iter().rev().flatten();
        fields.find(|(one, _)| one == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One connection.
pub struct Http2 {
    socket: TcpStream,
    bytes: Vec<u8>,
    decoder: Decoder,
    pub streams: BTreeMap<u32, Stream>,
    /// Other frames than DATA and HEADERS.
    pub control: Vec<(Head, Vec<u8>)>,
    /// The last stream and the code of each GOAWAY.
    pub goaways: Vec<(u32, u32)>,
    pub is_closed: bool,
    /// Opens windows as data comes.
    pub takes_data: bool,
    /// The flags of each HEADERS.
    pub head_flags: Vec<u8>,
}

struct Taken(Vec<(String, String)>);

impl TakeField for Taken {
    fn take(&mut self, name: &[u8], value: &[u8]) {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        self.0.push((text(name), text(value)));
    }
}

/// A frame.
pub fn frame_of(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write_head(payload.len(), kind, flags, stream, &mut out);
    out.extend_from_slice(payload);
    out
}

/// A field block of literals, as they are given.
pub fn block_of(fields: &[Field<'_>]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // A length of seven bits, or what follows it (RFC 7541 section 5.1).
            if text.len() < 127 {
                block.push(text.len() as u8);
            } else {
                let more = text.len() - 127;
                assert!(more < 1 << 21);
                block.extend_from_slice(&[
                    127,
                    (more & 127) as u8 | 128,
                    (more >> 7 & 127) as u8 | 128,
                    (more >> 14) as u8,
                ]);
            }
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// The fields of an ordinary request.
pub fn get<'a>(path: &'a str) -> Vec<Field<'a>> {
    vec![(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", path)]
}

impl Http2 {
    /// Connects and says the preface.
    pub fn connect(addr: SocketAddr) -> Self {
        let mut client = Self::bare(addr);
        client.send(&[PREFACE.as_slice(), &frame_of(kind::SETTINGS, 0, 0, b"")].concat());
        client
    }

    /// Connects, and says nothing.
    pub fn bare(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect(addr).unwrap())
    }

    fn over(socket: TcpStream) -> Self {
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            bytes: Vec::new(),
            decoder: Decoder::new(4096),
            streams: BTreeMap::new(),
            control: Vec::new(),
            goaways: Vec::new(),
            is_closed: false,
            takes_data: true,
            head_flags: Vec::new(),
        }
    }

    pub fn set_patience(&mut self, bound: Duration) {
        self.socket.set_read_timeout(Some(bound)).unwrap();
    }

    /// Sends; what the peer has closed is no error.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes);
    }

    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.send(&frame_of(kind, flags, stream, payload));
    }

    pub fn request(&mut self, stream: u32, fields: &[Field<'_>], ends: bool) {
        let end = if ends { flag::END_STREAM } else { 0 };
        self.frame(kind::HEADERS, flag::END_HEADERS | end, stream, &block_of(fields));
    }

    pub fn data(&mut self, stream: u32, bytes: &[u8], ends: bool) {
        self.frame(kind::DATA, u8::from(ends), stream, bytes);
    }

    /// Asks for a path and reads to the end.
    pub fn ask(&mut self, stream: u32, fields: &[Field<'_>]) -> Stream {
        self.request(stream, fields, true);
        self.until_over(stream)
    }

    /// Reads until the stream, or the connection, is over.
    pub fn until_over(&mut self, stream: u32) -> Stream {
        let is_over = |one: &Stream| one.has_ended || one.reset.is_some();
        self.until(|client| client.streams.get(&stream).is_some_and(is_over));
        self.streams.get(&stream).cloned().unwrap_or_default()
    }

    /// Reads until this holds, or the connection is over; whether it holds.
    pub fn until(&mut self, holds: impl Fn(&Self) -> bool) -> bool {
        while !holds(self) {
            if self.is_closed || !self.read() {
                return holds(self);
            }
        }
        true
    }

    /// Reads to the end of the connection.
    pub fn until_closed(&mut self) -> &Self {
        assert!(self.until(|client| client.is_closed), "it stays open: {:?}", self.control);
        self
    }

    fn read(&mut self) -> bool {
        let mut piece = [0; 65536];
        match self.socket.read(&mut piece) {
            Ok(0) => self.is_closed = true,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return false,
            Err(_) => self.is_closed = true,
            Ok(count) => self.bytes.extend_from_slice(&piece[..count]),
        }
        while let Some(head) = Head::read(&self.bytes)
            && self.bytes.len() >= HEAD_BYTES + head.length
        {
            let rest = self.bytes.split_off(HEAD_BYTES + head.length);
            let frame = std::mem::replace(&mut self.bytes, rest);
            self.take(head, frame[HEAD_BYTES..].to_vec());
        }
        true
    }

    fn take(&mut self, head: Head, payload: Vec<u8>) {
        let number = |at: usize| {
            let bytes = payload.get(at..at + 4).map(|bytes| bytes.try_into().unwrap());
            u32::from_be_bytes(bytes.unwrap_or_default())
        };
        let stream = self.streams.entry(head.stream).or_default();
        match head.kind {
            kind::DATA => {
                stream.body.extend_from_slice(&payload);
                stream.has_ended |= head.has(flag::END_STREAM);
                if self.takes_data && !payload.is_empty() {
                    let more = (payload.len() as u32).to_be_bytes();
                    let one = frame_of(kind::WINDOW_UPDATE, 0, 0, &more);
                    let other = frame_of(kind::WINDOW_UPDATE, 0, head.stream, &more);
                    self.send(&[one, other].concat());
                }
            }
            kind::HEADERS => {
                assert!(head.has(flag::END_HEADERS));
                self.head_flags.push(head.flags);
                let mut taken = Taken(Vec::new());
                self.decoder.decode(&payload, &mut taken).unwrap();
                stream.heads.push(taken.0);
                stream.has_ended |= head.has(flag::END_STREAM);
            }
            kind::RST_STREAM => stream.reset = Some(number(0)),
            kind::GOAWAY => self.goaways.push((number(0), number(4))),
            _ => self.control.push((head, payload)),
        }
    }
}

/// An origin of HTTP/2 that writes frames as a test wants them.
pub struct Http2Origin {
    addr: SocketAddr,
    connections: Arc<Mutex<Vec<TcpStream>>>,
}

impl Http2Origin {
    /// Calls `script` for each request whose head has come, with its stream and how many there were
    /// before. A script reads on by itself where it wants more.
    pub fn scripted(script: impl Fn(&mut Http2, u32, usize) + Send + Sync + 'static) -> Self {
        Self::announcing(&[], script)
    }

    /// The same; its SETTINGS are these.
    pub fn announcing(
        settings: &[(u16, u32)],
        script: impl Fn(&mut Http2, u32, usize) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend_from_slice(&name.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        let shared = Arc::new((script, AtomicUsize::new(0), payload));
        let connections = Arc::new(Mutex::new(Vec::new()));
        let accepted = connections.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                accepted.lock().unwrap().push(socket.try_clone().unwrap());
                let shared = shared.clone();
                std::thread::spawn(move || Self::serve(socket, &shared));
            }
        });
        Self { addr, connections }
    }

    fn serve<S: Fn(&mut Http2, u32, usize)>(socket: TcpStream, shared: &(S, AtomicUsize, Vec<u8>)) {
        let mut connection = Http2::over(socket);
        let mut preface = [0; PREFACE.len()];
        if connection.socket.read_exact(&mut preface).is_err() || preface != *PREFACE {
            return;
        }
        connection.frame(kind::SETTINGS, 0, 0, &shared.2);
        let mut last = 0;
        while !connection.is_closed {
            let next = connection.streams.range(last + 1..).find(|(_, one)| !one.heads.is_empty());
            let next = next.map(|(id, _)| *id);
            match next {
                Some(id) => {
                    last = id;
                    let number = shared.1.fetch_add(1, Ordering::Relaxed);
                    (shared.0)(&mut connection, id, number);
                }
                None => {
                    connection.read();
                }
            }
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many connections have come.
    pub fn connections(&self) -> usize {
        self.connections.lock().unwrap().len()
    }

    /// Ends all connections.
    pub fn hangs_up(&self) {
        for socket in self.connections.lock().unwrap().drain(..) {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Http2 {
    /// Answers with a status and a body.
    pub fn answer(&mut self, stream: u32, status: &str, body: &[u8]) {
        self.request(stream, &[(":status", status)], false);
        self.data(stream, body, true);
    }

    /// Says that it ends, and which stream was the last.
    pub fn go_away(&mut self, last: u32) {
        self.frame(kind::GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat());
    }

    /// Ends the connection.
    pub fn hang_up(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        self.is_closed = true;
    }
}
