//! Latency at a fixed rate: requests start when the plan says so, whether or not earlier ones have
//! been answered, and each is timed from the planned moment (so a stall counts for every request
//! that it delays: no coordinated omission).
//!
//! The wait is one of `epoll_pwait2`, to the microsecond. (oha paces by timers of a millisecond,
//! which is more than the latencies to be seen.) What is seen is a line of JSON; times in
//! microseconds. `lag` is by how much requests were sent later than planned: how late the generator
//! was, and the wait for a free connection. (What an answer, or the origin's request, waits until
//! this thread comes to it is in the latency, and not in `lag`.) `sent` counts the warm-up as well.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::epoll;

/// As `load.lua` writes them.
const FIELDS: &str = "Host: gateway.example\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0\
    \r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8\r\n\
    Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-US,en;q=0.9\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
    Referer: http://example.com/some/page\r\nX-Request-Start: t=1234567890\r\n\r\n";
/// The first part of a run, which is not counted: connections open, caches fill.
const WARM_UP: Duration = Duration::from_millis(500);
/// A rate was not sustained if the last request was sent later than this share of the run after its
/// time. (A backlog that a disturbance left, and that is gone by then, is in the latencies.)
const BEHIND_MAX: u32 = 20;
/// A run that is so far behind has no need to go on.
const HOPELESS: Duration = Duration::from_secs(2);
/// How long after the last request answers are waited for.
const ANSWERS_WAIT: Duration = Duration::from_secs(2);
/// How often that is looked at while nothing comes.
const LOOK: Duration = Duration::from_millis(100);
/// The origin stands still meanwhile.
const CONNECT_WAIT: Duration = Duration::from_secs(2);
/// Latencies beyond this are counted, in microseconds: medians of runs say nothing of what happens
/// in few of them.
const LONG: u64 = 5_000;
const BUFFER_BYTES: usize = 64 * 1024;
/// Where the curve of a plot is sampled, in per cent.
const CURVE: [f64; 12] = [1.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99];

/// A load that is being played.
pub struct Play {
    request: Vec<u8>,
    interval: Duration,
    /// When the next request is to start.
    next: Instant,
    counted_from: Instant,
    end: Instant,
    behind_max: Duration,
    connections: Vec<Connection>,
    /// In turns: every connection is used equally often.
    idle: VecDeque<usize>,
    seen: Seen,
}

pub enum Failure {
    /// Requests waited for longer and longer to be sent.
    NotSustained,
    /// This was wrong with what was asked for.
    Asked(String),
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

struct Connection {
    stream: TcpStream,
    /// When the request that it carries was to start.
    planned: Option<Instant>,
    filled: usize,
    /// Bytes of the answer, once its head is here.
    whole: Option<usize>,
    buffer: Vec<u8>,
}

struct Seen {
    latency: Histogram<u64>,
    lag: Histogram<u64>,
    sent: u64,
}

impl Play {
    /// `words` are ADDRESS/RATE/SECONDS/CONNECTIONS/TARGET. The data of its connections' events is
    /// `numbers` and their place.
    pub fn begin(words: &str, epoll: &OwnedFd, numbers: u64) -> Result<Self, Failure> {
        let mut words = words.splitn(5, '/');
        let mut word = || {
            words.next().ok_or(Failure::Asked(
                "a load is /play/ADDRESS/RATE/SECONDS/CONNECTIONS/TARGET".to_owned(),
            ))
        };
        let number = |text: &str| {
            let number = text.parse::<u64>().ok().filter(|number| *number > 0);
            number.ok_or_else(|| Failure::Asked(format!("{text} is not a number from 1")))
        };
        let address = word()?;
        let interval = Duration::from_nanos(1_000_000_000 / number(word()?)?);
        let span = WARM_UP + Duration::from_secs(number(word()?)?);
        let count = number(word()?)? as usize;
        let request = format!("GET /{} HTTP/1.1\r\n{FIELDS}", word()?).into_bytes();
        let mut connections = Vec::new();
        for index in 0..count {
            let connection = Connection::open(address)?;
            let data = epoll::EventData::new_u64(numbers + index as u64);
            epoll::add(epoll, &connection.stream, data, epoll::EventFlags::IN)
                .map_err(io::Error::from)?;
            connections.push(connection);
        }
        let (idle, behind_max) = ((0..count).collect(), span / BEHIND_MAX);
        let next = Instant::now();
        let (counted_from, end) = (next + WARM_UP, next + span);
        let seen = Seen::new()?;
        Ok(Self { request, interval, next, counted_from, end, behind_max, connections, idle, seen })
    }

    /// Sends the requests whose time has come, as far as connections are free; whether all have
    /// been sent and answered.
    pub fn send_what_is_due(&mut self) -> Result<bool, Failure> {
        let mut now = Instant::now();
        while self.next < self.end && now >= self.next {
            let Some(index) = self.idle.pop_front() else { break };
            self.connections[index].send(&self.request, self.next)?;
            self.seen.sent += 1;
            // After the system call: what it takes is the generator's.
            now = Instant::now();
            if self.next >= self.counted_from {
                self.seen.lag += nanoseconds(now - self.next);
            }
            let behind = now - self.next;
            self.next += self.interval;
            if self.next >= self.end && behind > self.behind_max {
                return Err(Failure::NotSustained);
            }
        }
        if self.next < self.end {
            return match now > self.next + HOPELESS {
                true => Err(Failure::NotSustained),
                false => Ok(false),
            };
        }
        let waiting = self.connections.len() - self.idle.len();
        if waiting > 0 && now > self.end + self.behind_max + ANSWERS_WAIT {
            let text = format!("{waiting} requests were not answered");
            return Err(io::Error::other(text).into());
        }
        Ok(waiting == 0)
    }

    /// How long there is nothing to send, if nothing comes.
    pub fn wait(&self, now: Instant) -> Duration {
        // Without a free connection only an answer helps.
        match self.idle.is_empty() || self.next >= self.end {
            true => LOOK,
            false => self.next.saturating_duration_since(now),
        }
    }

    /// Takes what has come on the connection of this number.
    pub fn receive(&mut self, index: usize) -> io::Result<()> {
        if let Some(planned) = self.connections[index].receive()? {
            if planned >= self.counted_from {
                self.seen.latency += nanoseconds(planned.elapsed());
            }
            self.idle.push_back(index);
        }
        Ok(())
    }

    pub fn seen(&self) -> String {
        self.seen.json()
    }
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl Connection {
    fn open(address: &str) -> io::Result<Self> {
        let address = address.parse().map_err(io::Error::other)?;
        let stream = TcpStream::connect_timeout(&address, CONNECT_WAIT)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let buffer = vec![0; BUFFER_BYTES];
        Ok(Self { stream, planned: None, filled: 0, whole: None, buffer })
    }

    fn send(&mut self, request: &[u8], planned: Instant) -> io::Result<()> {
        // A free connection has an empty send buffer, so that this does not block.
        self.stream.write_all(request)?;
        self.planned = Some(planned);
        Ok(())
    }

    /// Reads what is there; once the answer is whole, when its request was to start.
    fn receive(&mut self) -> io::Result<Option<Instant>> {
        match self.stream.read(&mut self.buffer[self.filled..]) {
            Ok(0) => return Err(io::Error::other("the gateway closed a connection")),
            Ok(count) => self.filled += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        if self.whole.is_none() {
            self.whole = answer_bytes(&self.buffer[..self.filled])?;
        }
        match self.whole {
            Some(whole) if whole == self.filled => {
                self.filled = 0;
                self.whole = None;
                let planned = self.planned.take();
                planned.map(Some).ok_or_else(|| io::Error::other("an answer that nobody asked for"))
            }
            Some(whole) if whole < self.filled => Err(io::Error::other("an answer is too long")),
            _ if self.filled == self.buffer.len() => {
                Err(io::Error::other("an answer is larger than 64 KiB"))
            }
            _ => Ok(None),
        }
    }
}

/// The length of an answer, once its head is whole. Anything but 200 with a length is an error.
fn answer_bytes(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some(head) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    if !bytes.starts_with(b"HTTP/1.1 200") {
        let line = bytes.split(|&byte| byte == b'\r').next().unwrap_or_default();
        return Err(io::Error::other(format!("an answer was {}", String::from_utf8_lossy(line))));
    }
    const NAME: &[u8] = b"content-length:";
    let length = bytes[..head].split(|&byte| byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(NAME.len())?;
        let value = std::str::from_utf8(value).ok().filter(|_| name.eq_ignore_ascii_case(NAME))?;
        value.trim().parse::<usize>().ok()
    });
    let length = length.ok_or_else(|| io::Error::other("an answer has no Content-Length"))?;
    Ok(Some(head + 4 + length))
}

impl Seen {
    fn new() -> io::Result<Self> {
        let latency = Histogram::new(3).map_err(io::Error::other)?;
        Ok(Self { lag: latency.clone(), latency, sent: 0 })
    }

    fn json(&self) -> String {
        let at = |histogram: &Histogram<u64>, percent| {
            histogram.value_at_quantile(percent / 100.0) as f64 / 1e3
        };
        let curve = CURVE.map(|percent| format!("[{percent},{:.1}]", at(&self.latency, percent)));
        format!(
            "{{\"requests\":{},\"sent\":{},\"p50\":{:.1},\"p90\":{:.1},\"p99\":{:.1},\
             \"p999\":{:.1},\"max\":{:.1},\"long\":{},\"lag_p50\":{:.1},\
             \"lag_p99\":{:.1},\"lag_p999\":{:.1},\"curve\":[{}]}}",
            self.latency.len(),
            self.sent,
            at(&self.latency, 50.0),
            at(&self.latency, 90.0),
            at(&self.latency, 99.0),
            at(&self.latency, 99.9),
            self.latency.max() as f64 / 1e3,
            self.latency.len() - self.latency.count_between(0, LONG * 1000),
            at(&self.lag, 50.0),
            at(&self.lag, 99.0),
            at(&self.lag, 99.9),
            curve.join(","),
        )
    }
}
