//! A worker's connection to one Redis: made, used by many tasks at once, made again.
//!
//! Calls are written in the order in which they are made and answered in that order, so a queue of
//! promises is all the matching there is. Two tasks move the bytes: the reader, which is also the
//! one that connects and reconnects, and a writer per connection. No task but these waits on I/O:
//! callers wait for their promise, with a timer. Dropping a call therefore drops no I/O; its
//! promise stays in the queue and its reply is thrown away when it comes. The reader and the writer
//! are ended by shutting the socket down, which completes their operations.
//!
//! A connection ends when the server closes it, when bytes are no replies, or when a call has timed
//! out and nothing at all was received for as long (a stopped server, a dead path). All calls that
//! wait then fail. From there until the next connection has shaken hands, calls fail at once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::io::runtime::TcpStream;
use crate::io::timeout;

use super::Error;
use super::handshake::shake_hands;
use super::redis::{Loaded, Status, Target};
use super::resp::{Replies, Reply};
use super::wait::{Promise, Signal, Wait, promise};
use crate::io::stream::{self, Direction, ReadHalf, WriteHalf};
use crate::limits;
use crate::upstream::connect::UpstreamStream;

/// Why there is no connection, where nobody says so.
const NO_ANSWER: &str = "no answer to connect, AUTH or PING";

/// What a call waits for.
type Answer = Result<Reply, Error>;

#[derive(Debug)]
enum Phase {
    /// The first attempt to connect is under way; who waits for its end.
    Starting(Vec<Promise<()>>),
    Up(Connection),
    /// Between two connections, and why.
    Down(Arc<str>),
}

/// A connection that has shaken hands.
#[derive(Debug)]
struct Connection {
    /// Commands that the writer has not taken yet.
    unsent: Vec<u8>,
    /// Calls whose reply has not come, the oldest first.
    waiting: VecDeque<Promise<Answer>>,
    /// Raised when there is something in `unsent`, or the connection has ended.
    writer: Rc<Signal>,
    /// The socket. It is open as long as the phase is `Up`: the writer's half ends after it.
    fd: RawFd,
    loaded: Loaded,
    /// When bytes last came, or the queue last became non-empty.
    progress: Instant,
}

/// A fresh connection, before it serves calls.
struct Shaken {
    reader: ReadHalf<UpstreamStream>,
    writer: WriteHalf<UpstreamStream>,
    fd: RawFd,
    loaded: Loaded,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Link {
    target: Arc<Target>,
    phase: RefCell<Phase>,
    closed: Cell<bool>,
    connects: Cell<u64>,
}

impl Link {
    pub(super) fn new(target: Arc<Target>) -> Link {
        Link {
            target,
            phase: RefCell::new(Phase::Starting(Vec::new())),
            closed: Cell::new(false),
            connects: Cell::new(0),
        }
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn status(&self) -> Status {
        let config = self.target.config();
        let (connected, reason, waiting) = match &*self.phase.borrow() {
            Phase::Starting(_) => (false, Some("the first attempt is under way".to_owned()), 0),
            Phase::Up(connection) => (true, None, connection.waiting.len()),
            Phase::Down(reason) => (false, Some(reason.to_string()), 0),
        };
        Status {
            redis: config.name(),
            db: config.db,
            connected,
            reason,
            waiting,
            connects: self.connects.get(),
        }
    }

    /// Ends the connection and the task for good.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.end("the gateway closed it".into());
    }

    // -- calls

    /// Sends what `encode` writes, which must be one command, and waits for its reply.
    pub(super) async fn call(&self, encode: impl FnOnce(&mut Vec<u8>, &Loaded)) -> Answer {
        let limit = self.target.config().timeout;
        match timeout(limit, self.exchange(encode)).await {
            Ok(answer) => answer,
            Err(_) if matches!(*self.phase.borrow(), Phase::Starting(_)) => {
                // Nothing was sent: the connection has as long as this, and began a moment later.
                let name = self.target.config().name();
                Err(Error::Unavailable(format!("{name}: {NO_ANSWER}").into()))
            }
            Err(_) => {
                self.end_if_stalled(limit);
                Err(Error::Timeout(limit.as_millis() as u64))
            }
        }
    }

    async fn exchange(&self, encode: impl FnOnce(&mut Vec<u8>, &Loaded)) -> Answer {
        let starting = self.wait_for_first_attempt()?;
        if let Some(wait) = starting {
            wait.await;
        }
        self.enqueue(encode)?.await
    }

    fn wait_for_first_attempt(&self) -> Result<Option<Wait<()>>, Error> {
        match &mut *self.phase.borrow_mut() {
            Phase::Starting(callers) if callers.len() >= limits::KV_REDIS_WAITING_MAX => {
                Err(Error::Busy)
            }
            Phase::Starting(callers) => {
                let (promise, wait) = promise();
                callers.push(promise);
                Ok(Some(wait))
            }
            Phase::Up(_) | Phase::Down(_) => Ok(None),
        }
    }

    fn enqueue(&self, encode: impl FnOnce(&mut Vec<u8>, &Loaded)) -> Result<Wait<Answer>, Error> {
        match &mut *self.phase.borrow_mut() {
            Phase::Up(connection) => connection.enqueue(encode),
            Phase::Down(reason) => Err(Error::Unavailable(Arc::clone(reason))),
            Phase::Starting(_) => unreachable!("callers are let go after the first attempt"),
        }
    }

    /// A timed-out call alone may be one slow command behind many; silence is a dead connection.
    fn end_if_stalled(&self, limit: Duration) {
        // the call's timer began a little before it was enqueued, hence nine tenths
        let silence = limit - limit / 10;
        let stalled = match &*self.phase.borrow() {
            Phase::Up(connection) => connection.progress.elapsed() >= silence,
            Phase::Starting(_) | Phase::Down(_) => false,
        };
        if stalled {
            self.end(format!("no answer for {} ms", limit.as_millis()).into());
        }
    }

    // -- the life of a connection

    /// Connects, serves, and connects again until [`Link::close`].
    pub(super) async fn run(self: Rc<Self>) {
        let random = ahash::RandomState::new();
        let mut failures = 0_u32;
        while !self.closed.get() {
            let reason = match self.connect().await {
                Ok(_) if self.closed.get() => return,
                Ok(shaken) => {
                    let begun = Instant::now();
                    let reason = self.serve(shaken).await;
                    // one that broke at once is no recovery: the pauses go on growing
                    if begun.elapsed() >= limits::KV_REDIS_BACKOFF.max {
                        failures = 0;
                    }
                    reason
                }
                Err(reason) => reason,
            };
            self.end(reason);
            if !self.closed.get() {
                failures = failures.saturating_add(1);
                let random = random.hash_one(failures);
                crate::io::sleep(limits::KV_REDIS_BACKOFF.spread_pause(failures, random)).await;
            }
        }
    }

    /// Leaves the connection: whoever comes first, the reader, a caller or `close`, gives the
    /// reason; for the later ones there is nothing left to end.
    fn end(&self, reason: Arc<str>) {
        let before = match &mut *self.phase.borrow_mut() {
            Phase::Down(old) => {
                *old = reason;
                return;
            }
            up => std::mem::replace(up, Phase::Down(Arc::clone(&reason))),
        };
        if !self.closed.get() {
            let redis = self.target.config().name();
            tracing::warn!(redis, %reason, "no connection to redis");
        }
        match before {
            Phase::Starting(callers) => callers.into_iter().for_each(|caller| caller.keep(())),
            Phase::Up(connection) => {
                stream::shutdown(connection.fd, Direction::Both);
                connection.writer.raise();
                for call in connection.waiting {
                    call.keep(Err(Error::Broken(Arc::clone(&reason))));
                }
            }
            Phase::Down(_) => {}
        }
    }

    async fn connect(&self) -> Result<Shaken, Arc<str>> {
        let name = self.target.config().name();
        let mut reason: Arc<str> = Arc::from(format!("{name} has no address"));
        for address in self.target.endpoint().addresses()? {
            let attempt = timeout(self.target.config().timeout, self.connect_to(address));
            reason = match attempt.await {
                Ok(Ok(shaken)) => return Ok(shaken),
                Ok(Err(why)) => format!("{name} ({address}): {why}").into(),
                Err(_) => format!("{name} ({address}): {NO_ANSWER}").into(),
            };
        }
        Err(reason)
    }

    async fn connect_to(&self, address: std::net::SocketAddr) -> Result<Shaken, String> {
        let tcp = TcpStream::connect_addr(address).await.map_err(|why| why.to_string())?;
        // commands are small and each batch is one write
        tcp.set_nodelay(true).map_err(|why| why.to_string())?;
        let stream = match self.target.tls() {
            None => UpstreamStream::Tcp(tcp),
            Some(tls) => {
                let stream = tls.connect(tcp).await.map_err(|why| why.to_string())?;
                UpstreamStream::Tls(Box::new(stream))
            }
        };
        let (mut reader, mut writer, fd) = stream::split(stream);
        let loaded = shake_hands(&mut reader, &mut writer, &self.target).await?;
        Ok(Shaken { reader, writer, fd, loaded })
    }

    /// Serves calls until the connection ends; gives the reason.
    async fn serve(self: &Rc<Self>, shaken: Shaken) -> Arc<str> {
        let Shaken { reader, writer, fd, loaded } = shaken;
        let signal = Rc::new(Signal::default());
        self.connects.set(self.connects.get() + 1);
        let before = self.phase.replace(Phase::Up(Connection {
            unsent: Vec::new(),
            waiting: VecDeque::new(),
            writer: Rc::clone(&signal),
            fd,
            loaded,
            progress: Instant::now(),
        }));
        match before {
            Phase::Starting(callers) => callers.into_iter().for_each(|caller| caller.keep(())),
            Phase::Up(_) | Phase::Down(_) => {
                tracing::info!(redis = self.target.config().name(), "connected to redis again");
            }
        }
        let write = Rc::clone(self).write(writer, signal);
        let writing = crate::io::spawn(write);
        let reason = self.read(reader).await;
        self.end(Arc::clone(&reason));
        // the writer's half holds the socket; the next connection waits until it is closed
        writing.await;
        reason
    }

    async fn read(&self, mut stream: ReadHalf<UpstreamStream>) -> Arc<str> {
        let mut replies = Replies::default();
        let mut buffer = Vec::with_capacity(limits::BUFFER_BYTES);
        loop {
            let (read, mut filled) = stream.read(buffer).await;
            match read {
                Ok(0) => return self.reason_or("the server closed the connection"),
                Ok(_) => replies.push(&filled),
                Err(error) => return self.reason_or(&error.to_string()),
            }
            filled.clear();
            buffer = filled;
            loop {
                match replies.next_reply() {
                    Ok(None) => break,
                    Ok(Some(reply)) => {
                        if let Err(reason) = self.deliver(reply) {
                            return reason;
                        }
                    }
                    Err(error) => return error.to_string().into(),
                }
            }
        }
    }

    /// An operation on a socket that was shut down says nothing; who did that left the reason.
    fn reason_or(&self, seen: &str) -> Arc<str> {
        match &*self.phase.borrow() {
            Phase::Down(reason) => Arc::clone(reason),
            Phase::Up(_) | Phase::Starting(_) => seen.into(),
        }
    }

    fn deliver(&self, reply: Reply) -> Result<(), Arc<str>> {
        let call = match &mut *self.phase.borrow_mut() {
            Phase::Up(connection) => {
                connection.progress = Instant::now();
                connection.waiting.pop_front()
            }
            Phase::Down(reason) => return Err(Arc::clone(reason)),
            Phase::Starting(_) => None,
        };
        let call = call.ok_or("the server sent a reply that nobody waits for")?;
        // what was the master has become a replica: its name may have moved on
        let demoted = match &reply {
            Reply::Error(words) if words.starts_with("READONLY") => Some(Arc::from(words.as_str())),
            _ => None,
        };
        call.keep(Ok(reply));
        demoted.map_or(Ok(()), Err)
    }

    /// Writes what is enqueued, everything that has gathered at once, until the connection ends.
    async fn write(self: Rc<Self>, mut stream: WriteHalf<UpstreamStream>, signal: Rc<Signal>) {
        let mut batch = Vec::new();
        loop {
            signal.raised().await;
            match &mut *self.phase.borrow_mut() {
                Phase::Up(connection) => std::mem::swap(&mut batch, &mut connection.unsent),
                Phase::Down(_) | Phase::Starting(_) => return,
            }
            let length = batch.len();
            let (written, mut buffer) = stream.write_all(batch, 0, length, || ()).await;
            if let Err(error) = written {
                self.end(self.reason_or(&error.to_string()));
                return;
            }
            buffer.clear();
            buffer.shrink_to(limits::BUFFER_BYTES);
            batch = buffer;
        }
    }
}

impl Connection {
    fn enqueue(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>, &Loaded),
    ) -> Result<Wait<Answer>, Error> {
        if self.waiting.len() >= limits::KV_REDIS_WAITING_MAX
            || self.unsent.len() >= limits::KV_REDIS_UNSENT_BYTES_MAX
        {
            return Err(Error::Busy);
        }
        if self.waiting.is_empty() {
            self.progress = Instant::now();
        }
        encode(&mut self.unsent, &self.loaded);
        let (promise, wait) = promise();
        self.waiting.push_back(promise);
        self.writer.raise();
        Ok(wait)
    }
}
