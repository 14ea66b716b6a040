//! What an origin does, with as little CPU per request as sockets allow, so that it and the load
//! generator, which share a core, are faster than most proxies on the other one.
//!
//! An answer is made once for each length. What is looked at of a request is the end of its head,
//! its target and, with a body, its `Content-Length`.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};

/// Room for a head, or a piece of a body.
const BUFFER_BYTES: usize = 64 * 1024;
/// The longest answer.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Fields that origins commonly send, so that no proxy has to add its own.
const FIELDS: &str = "Server: origin\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
    Content-Type: text/plain\r\nContent-Length: ";
const PLAY: &[u8] = b"/play/";
/// The first listener's number; connections have those from 0.
const LISTENER: usize = 1 << 31;

pub struct Origin {
    listeners: Vec<Listener>,
    /// Connections whose answers are due later, in the order of their times: each listener has one
    /// delay, and one at most has any.
    late: VecDeque<(Instant, usize)>,
    connections: Vec<Option<Connection>>,
    answers: Answers,
    buffer: Vec<u8>,
}

/// What became of an event.
pub enum Turn {
    Served,
    Ended,
    /// A load is to be played; this is the target behind `/play/`.
    Asked(String),
}

impl Origin {
    /// Listens at `ADDRESS` or `ADDRESS+MILLISECONDS`, by which answers are late there.
    pub fn bind(addresses: &[String], epoll: &OwnedFd) -> io::Result<Self> {
        let mut listeners = Vec::new();
        for address in addresses {
            let (address, delay) = address.split_once('+').unwrap_or((address, "0"));
            let delay = Duration::from_millis(delay.parse().map_err(io::Error::other)?);
            let listener = TcpListener::bind(address)?;
            // std's backlog is 128 here, which is less than the connections that open at once.
            rustix::net::listen(&listener, 4096)?;
            listener.set_nonblocking(true)?;
            let number = EventData::new_u64((LISTENER + listeners.len()) as u64);
            epoll::add(epoll, &listener, number, EventFlags::IN)?;
            listeners.push(Listener { listener, delay });
        }
        let (connections, answers) = (Vec::new(), Answers::default());
        Ok(Self { listeners, late: VecDeque::new(), connections, answers, buffer: vec![0; BUFFER_BYTES] })
    }

    /// Goes on with the connection (or the listener) of this number.
    pub fn turn(&mut self, index: usize, epoll: &OwnedFd) -> io::Result<Turn> {
        if let Some(number) = index.checked_sub(LISTENER) {
            accept(&self.listeners[number], epoll, &mut self.connections)?;
            return Ok(Turn::Served);
        }
        let place = &mut self.connections[index];
        let Some(connection) = place else { return Ok(Turn::Served) };
        // A connection that fails, or has ended, is closed by being dropped.
        if !connection.serve(&mut self.buffer, &mut self.answers).unwrap_or(false) {
            *place = None;
            return Ok(Turn::Ended);
        }
        if connection.held.is_some() && !connection.is_late {
            connection.is_late = true;
            self.late.push_back((Instant::now() + connection.delay, index));
        }
        if connection.is_writing_asked != connection.is_blocked() {
            connection.is_writing_asked = connection.is_blocked();
            let interest = match connection.is_blocked() {
                true => EventFlags::OUT,
                false => EventFlags::IN,
            };
            epoll::modify(epoll, &connection.stream, EventData::new_u64(index as u64), interest)?;
        }
        Ok(connection.asked.take().map_or(Turn::Served, Turn::Asked))
    }

    /// How long until the next late answer is due.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        self.late.front().map(|(due, _)| due.saturating_duration_since(now))
    }

    /// Sends the late answers that are due. A connection that fails is closed.
    pub fn send_late(&mut self) {
        while let Some(&(due, index)) = self.late.front()
            && due <= Instant::now()
        {
            self.late.pop_front();
            self.connections[index].take_if(|connection| connection.send_held().is_err());
        }
    }

    /// Answers what was [`Turn::Asked`]: a few hundred bytes, which the socket takes at once. A
    /// connection that fails is closed.
    pub fn answer(&mut self, index: usize, response: &[u8]) {
        self.connections[index].take_if(|asker| asker.stream.write_all(response).is_err());
    }
}

struct Listener {
    listener: TcpListener,
    delay: Duration,
}

fn accept(
    Listener { listener, delay }: &Listener,
    epoll: impl AsFd,
    connections: &mut Vec<Option<Connection>>,
) -> io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            // One that was gone before it was accepted.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error),
        };
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let free = connections.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            connections.push(None);
            connections.len() - 1
        });
        epoll::add(&epoll, &stream, EventData::new_u64(index as u64), EventFlags::IN)?;
        connections[index] = Some(Connection::new(stream, *delay));
    }
}

/// Whole responses, one per length that was asked for.
#[derive(Default)]
struct Answers(Vec<(usize, Rc<[u8]>)>);

impl Answers {
    fn of_length(&mut self, length: usize) -> Rc<[u8]> {
        if let Some((_, answer)) = self.0.iter().find(|(have, _)| *have == length) {
            return answer.clone();
        }
        let answer = Rc::<[u8]>::from(response("200 OK", &vec![b'x'; length]));
        self.0.push((length, answer.clone()));
        answer
    }

    /// The response to a request for this target, with this head.
    fn to(&mut self, target: &[u8], head: &[u8]) -> Rc<[u8]> {
        if target.starts_with(b"/echo") {
            return Rc::from(response("200 OK", head));
        }
        let digits = target.strip_prefix(b"/bytes/").unwrap_or_default();
        let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        match std::str::from_utf8(&digits[..count]).unwrap_or_default().parse() {
            Ok(length) if length <= ANSWER_BYTES_MAX => self.of_length(length),
            _ => Rc::from(&b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"[..]),
        }
    }
}

/// A whole response.
pub fn response(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{FIELDS}{}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

struct Connection {
    stream: TcpStream,
    /// The part of a head that has arrived, if its end has not.
    head: Vec<u8>,
    /// Bytes of a request's body that are still to come.
    body_left: usize,
    /// What is answered once the body is here.
    due: Option<Rc<[u8]>>,
    /// What is being written, and how much of it has been.
    writing: Option<(Rc<[u8]>, usize)>,
    is_writing_asked: bool,
    /// By how much its answers are late, what is held until then, and whether the time is set.
    delay: Duration,
    held: Option<Rc<[u8]>>,
    is_late: bool,
    /// What a request asked for that is not answered at once.
    asked: Option<String>,
}

impl Connection {
    fn new(stream: TcpStream, delay: Duration) -> Self {
        Self {
            stream,
            head: Vec::new(),
            body_left: 0,
            due: None,
            writing: None,
            is_writing_asked: false,
            delay,
            held: None,
            is_late: false,
            asked: None,
        }
    }

    fn send_held(&mut self) -> io::Result<()> {
        self.is_late = false;
        self.writing = self.held.take().map(|answer| (answer, 0));
        self.write()
    }

    fn is_blocked(&self) -> bool {
        self.writing.is_some()
    }

    /// Goes on with what is at hand; whether the connection goes on.
    fn serve(&mut self, buffer: &mut [u8], answers: &mut Answers) -> io::Result<bool> {
        self.write()?;
        if self.is_blocked() {
            return Ok(true);
        }
        // One read: what is left wakes us again, and for a whole request a second only costs.
        let count = match self.stream.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        };
        self.take(&buffer[..count], answers)?;
        self.write()?;
        Ok(true)
    }

    /// Takes what has arrived. Clients here do not send a request before the last is answered.
    fn take(&mut self, bytes: &[u8], answers: &mut Answers) -> io::Result<()> {
        if self.due.is_some() {
            return self.take_body(bytes);
        }
        let joined;
        let bytes = if self.head.is_empty() {
            bytes
        } else {
            self.head.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.head);
            &joined
        };
        let Some(end) = head_end(bytes) else {
            self.head = bytes.to_vec();
            return match self.head.len() > BUFFER_BYTES {
                true => Err(io::Error::other("a head without an end")),
                false => Ok(()),
            };
        };
        let (head, rest) = bytes.split_at(end);
        let target = head.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
        if let Some(words) = target.strip_prefix(PLAY) {
            self.asked = Some(String::from_utf8_lossy(words).into_owned());
            return Ok(());
        }
        self.due = Some(answers.to(target, head));
        if !head.starts_with(b"GET ") {
            if field(head, b"transfer-encoding").is_some() {
                let refusal = &b"HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n"[..];
                self.due = Some(Rc::from(refusal));
            }
            let length = field(head, b"content-length").unwrap_or(b"0");
            let length = std::str::from_utf8(length).unwrap_or_default().trim();
            self.body_left = length.parse().map_err(io::Error::other)?;
        }
        self.take_body(rest)
    }

    fn take_body(&mut self, bytes: &[u8]) -> io::Result<()> {
        let left = self.body_left.checked_sub(bytes.len());
        self.body_left = left.ok_or(io::Error::other("more bytes than the request has"))?;
        if self.body_left > 0 {
            return Ok(());
        }
        match self.delay.is_zero() {
            true => self.writing = self.due.take().map(|answer| (answer, 0)),
            false => self.held = self.due.take(),
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        while let Some((answer, written)) = &mut self.writing {
            match self.stream.write(&answer[*written..]) {
                Ok(count) => *written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            if *written == answer.len() {
                self.writing = None;
            }
        }
        Ok(())
    }
}

/// Where a head ends. Nearly always that is the end of what has arrived.
fn head_end(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(b"GET ") && bytes.ends_with(b"\r\n\r\n") {
        return Some(bytes.len());
    }
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// The value of the first field with this name (in lower case).
fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|&byte| byte == b'\n').find_map(|line| {
        let (have, value) = line.split_at_checked(name.len())?;
        have.eq_ignore_ascii_case(name).then_some(value.strip_prefix(b":")?)
    })
}
