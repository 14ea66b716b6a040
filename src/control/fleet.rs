//! The worker threads: bound, started, messaged, awaited.

use std::io;
use std::net::ToSocketAddrs;
use std::sync::Arc;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::sync::oneshot;

use super::config::Listen;
use crate::listener::{self, Socket};
use crate::plugin::PrepareFailure;
use crate::snapshot::Snapshot;
use crate::worker::driver::{self, Driver};
use crate::worker::mailbox::{Letterbox, Mail, Outbox, Reply, mailbox};
use crate::worker::{self, Counters, Published, Worker};

/// The workers of the process.
pub struct Fleet {
    outboxes: Vec<Outbox>,
    ended: Vec<oneshot::Receiver<()>>,
}

/// How to start the workers.
pub struct Order {
    /// Whether each gets a core of its own.
    pub pin_cores: bool,
    /// How they wait for sockets.
    pub driver: Driver,
    /// Whether a worker for which io_uring fails may use epoll instead.
    pub may_fall_back: bool,
    /// The sockets of each worker: as many workers as there are entries.
    pub sockets: Vec<Vec<Socket>>,
    /// Where they read snapshots.
    pub published: Published,
}

/// The cores that this process may use (its affinity mask: taskset, cgroup cpusets).
pub fn usable_cores() -> Vec<usize> {
    match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect(),
        Err(_) => vec![0],
    }
}

/// Binds every address once per worker; the addresses as bound, with the ports that the kernel
/// chose, come with the sockets.
pub fn bind(listens: &[Listen], workers: usize) -> io::Result<(Vec<Vec<Socket>>, Vec<String>)> {
    let mut sockets: Vec<Vec<Socket>> = (0..workers).map(|_| Vec::new()).collect();
    let mut bound = Vec::new();
    for listen in listens {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot listen on {listen}: {error}"))
        };
        match listen {
            Listen::Unix(path) => {
                let first = listener::bind_unix(path).map_err(named)?;
                for sockets in &mut sockets {
                    sockets.push(first.share()?);
                }
                bound.push(listen.to_string());
            }
            Listen::Tcp { host, port } => {
                let mut address = (host.as_str(), *port)
                    .to_socket_addrs()
                    .map_err(named)?
                    .next()
                    .ok_or_else(|| named(io::ErrorKind::AddrNotAvailable.into()))?;
                for sockets in &mut sockets {
                    let (socket, at) = listener::bind_tcp(address).map_err(named)?;
                    address = at;
                    sockets.push(socket);
                }
                bound.push(address.to_string());
            }
        }
    }
    Ok((sockets, bound))
}

impl Fleet {
    /// Starts the workers and waits until all of them serve.
    pub async fn start(order: Order) -> io::Result<Self> {
        let cores = usable_cores();
        let mut fleet = Self { outboxes: Vec::new(), ended: Vec::new() };
        let mut ready = Vec::new();
        for (id, sockets) in order.sockets.into_iter().enumerate() {
            let (outbox, letterbox) = mailbox()?;
            let (say_ready, is_ready) = oneshot::channel();
            let (say_ended, has_ended) = oneshot::channel();
            let core = order.pin_cores.then(|| cores[id % cores.len()]);
            let start = Start { id, core, sockets, letterbox, published: order.published.clone() };
            let (driver, may_fall_back) = (order.driver, order.may_fall_back);
            std::thread::Builder::new().name(format!("worker-{id}")).spawn(move || {
                start.run(driver, may_fall_back, say_ready);
                drop(say_ended);
            })?;
            fleet.outboxes.push(outbox);
            fleet.ended.push(has_ended);
            ready.push(is_ready);
        }
        for is_ready in ready {
            is_ready.await.map_err(|_| io::Error::other("a worker could not start; see above"))?;
        }
        Ok(fleet)
    }

    /// Has every worker make the instances of a snapshot that is not published yet.
    pub async fn prepare(&self, snapshot: &Arc<Snapshot>) -> Vec<PrepareFailure> {
        let mut failures = Vec::new();
        let mut replies = Vec::new();
        for outbox in &self.outboxes {
            let (ready, reply) = reply();
            outbox.send(Mail::Prepare { snapshot: snapshot.clone(), ready });
            replies.push(reply);
        }
        for reply in replies {
            failures.extend(reply.await.unwrap_or_default());
        }
        failures
    }

    /// Has every worker end the instances that the published snapshot does not name.
    pub fn retire(&self, keep: &Arc<Snapshot>) {
        for outbox in &self.outboxes {
            outbox.send(Mail::Retire { keep: keep.clone() });
        }
    }

    /// The counters of every worker.
    pub async fn count(&self) -> Vec<Counters> {
        let mut counters = Vec::new();
        for outbox in &self.outboxes {
            let (reply, answer) = reply();
            outbox.send(Mail::Count { reply });
            counters.push(answer.await.unwrap_or_default());
        }
        counters
    }

    /// Waits until a worker ends, which none does before it is told to drain.
    pub async fn any_ended(&mut self) {
        let ended = &mut self.ended;
        std::future::poll_fn(|cx| {
            use std::task::Poll;
            for ended in ended.iter_mut() {
                if Future::poll(std::pin::Pin::new(ended), cx).is_ready() {
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        })
        .await;
    }

    /// Tells all workers to drain and waits until they have.
    pub async fn drain(self) {
        for outbox in &self.outboxes {
            outbox.send(Mail::Drain);
        }
        for ended in self.ended {
            // The sender is dropped, never used: an error is how the end shows.
            let _ = ended.await;
        }
    }
}

/// A reply for a worker to give, and where it arrives. That nobody waits any more is no error.
fn reply<T: Send + 'static>() -> (Reply<T>, oneshot::Receiver<T>) {
    let (sender, receiver) = oneshot::channel();
    let reply = move |value| {
        let _ = sender.send(value);
    };
    (Box::new(reply), receiver)
}

/// What a worker thread starts with.
struct Start {
    id: usize,
    core: Option<usize>,
    sockets: Vec<Socket>,
    letterbox: Letterbox,
    published: Published,
}

impl Start {
    fn run(self, driver: Driver, may_fall_back: bool, say_ready: oneshot::Sender<()>) {
        self.pin();
        let id = self.id;
        let driver = match driver {
            Driver::IoUring if may_fall_back => match driver::block_on(driver, async {}) {
                Ok(()) => driver,
                Err(error) => {
                    tracing::warn!(worker = id, %error, "io_uring failed here, using epoll");
                    Driver::Epoll
                }
            },
            _ => driver,
        };
        let served = driver::block_on(driver, async move {
            let inbox = self.letterbox.open()?;
            let worker = Worker::new(self.id, self.published);
            // Nobody listens if the start of another worker has failed meanwhile.
            let ready = || {
                let _ = say_ready.send(());
            };
            worker::run(worker, self.sockets, inbox, ready).await;
            io::Result::Ok(())
        });
        if let Err(error) = served.and_then(|served| served) {
            tracing::error!(worker = id, %error, "worker failed");
        }
    }

    fn pin(&self) {
        let Some(core) = self.core else { return };
        let mut set = CpuSet::new();
        set.set(core);
        if let Err(error) = sched_setaffinity(None, &set) {
            tracing::warn!(worker = self.id, core, %error, "cannot pin the worker to its core");
        }
    }
}
