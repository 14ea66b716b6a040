//! The worker threads: started, messaged, awaited.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::sync::oneshot;

use crate::downstream::handover::Handover;
use crate::downstream::listener::{Accepted, Bound};
use crate::exchange::core::Published;
use crate::io::driver::{self, Driver};
use crate::limits::REPORTS_AT_ONCE;
use crate::plugin::PrepareFailure;
use crate::snapshot::Snapshot;
use crate::worker::mailbox::{Mail, Outbox, Reply, UnopenedInbox, mailbox};
use crate::worker::report::Report;
use crate::worker::{self, Worker};

/// The workers of the process.
pub struct Threads {
    outboxes: Outboxes,
    ended: Vec<oneshot::Receiver<()>>,
}

/// Where the workers are written to. Clones write to the same workers.
#[derive(Clone)]
pub struct Outboxes {
    workers: Arc<[Outbox]>,
    /// Whose turn it is to get a connection.
    turn: Arc<AtomicUsize>,
}

/// How to start the workers.
pub struct Order {
    /// Whether each gets a core of its own.
    pub pin_cores: bool,
    /// How they wait for sockets.
    pub driver: Driver,
    /// Whether a worker for which io_uring fails may use epoll instead.
    pub may_fall_back: bool,
    /// How many.
    pub workers: usize,
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

impl Threads {
    /// Starts the workers and waits until all of them could serve. What they could not make comes
    /// with them, the same once.
    pub async fn start(order: Order) -> io::Result<(Self, Vec<PrepareFailure>)> {
        let cores = usable_cores();
        let (mut outboxes, mut ended, mut ready) = (Vec::new(), Vec::new(), Vec::new());
        for id in 0..order.workers {
            let (outbox, letterbox) = mailbox()?;
            let (say_ready, is_ready) = oneshot::channel();
            let (say_ended, has_ended) = oneshot::channel();
            let core = order.pin_cores.then(|| cores[id % cores.len()]);
            let start = Start { id, core, letterbox, published: order.published.clone() };
            let (driver, may_fall_back) = (order.driver, order.may_fall_back);
            std::thread::Builder::new().name(format!("worker-{id}")).spawn(move || {
                start.run(driver, may_fall_back, say_ready);
                drop(say_ended);
            })?;
            outboxes.push(outbox);
            ended.push(has_ended);
            ready.push(is_ready);
        }
        let mut failures: Vec<PrepareFailure> = Vec::new();
        for is_ready in ready {
            let failed = is_ready.await;
            let failed =
                failed.map_err(|_| io::Error::other("a worker could not start; see above"))?;
            for failure in failed {
                if !failures.contains(&failure) {
                    failures.push(failure);
                }
            }
        }
        let outboxes = Outboxes { workers: outboxes.into(), turn: Arc::default() };
        Ok((Self { outboxes, ended }, failures))
    }

    /// Has each worker accept on its sockets, and waits until all do.
    pub async fn listen(&self, sockets: Vec<Vec<Bound>>) {
        self.outboxes.listen(sockets).await;
    }

    /// Where the workers are written to.
    pub fn outboxes(&self) -> Outboxes {
        self.outboxes.clone()
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

    /// Tells all workers to drain, to the next process if there is one, and waits until they have.
    /// After `timeout` the process is cut.
    pub async fn drain(
        self,
        handover: Option<Arc<Handover>>,
        holds_alone: bool,
        timeout: Duration,
    ) {
        for outbox in &*self.outboxes.workers {
            outbox.send(Mail::Drain { handover: handover.clone(), holds_alone, timeout });
        }
        for ended in self.ended {
            // The sender is dropped, never used: an error is how the end shows.
            let _ = ended.await;
        }
    }
}

impl Outboxes {
    /// Has each worker accept on its sockets, and waits until all do.
    pub async fn listen(&self, sockets: Vec<Vec<Bound>>) {
        let mut answers = Vec::new();
        for (outbox, sockets) in self.workers.iter().zip(sockets) {
            let (done, answer) = reply();
            outbox.send(Mail::Listen { sockets, done });
            answers.push(answer);
        }
        for answer in answers {
            // A worker that has ended shows in `any_ended`.
            let _ = answer.await;
        }
    }

    /// Has all workers accept no more for these listeners.
    pub fn unlisten(&self, ids: &[String], holds_alone: bool) {
        for outbox in &*self.workers {
            outbox.send(Mail::Unlisten { ids: ids.to_vec(), holds_alone });
        }
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Has every worker make the instances of a snapshot that is not published yet.
    pub async fn prepare(&self, snapshot: &Arc<Snapshot>) -> Vec<PrepareFailure> {
        let mut failures = Vec::new();
        let mut replies = Vec::new();
        for outbox in &*self.workers {
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
        for outbox in &*self.workers {
            outbox.send(Mail::Retire { keep: keep.clone() });
        }
    }

    /// What every worker has counted. A worker that has ended is left out. What is counted by
    /// service and by plugin stands in the first report, for all workers together: some workers are
    /// asked at a time, so that no more than their histograms are in memory at once.
    pub async fn report(&self) -> Vec<Report> {
        let mut reports: Vec<Report> = Vec::new();
        for some in self.workers.chunks(REPORTS_AT_ONCE) {
            let asked = some.iter().map(|outbox| {
                let (reply, answer) = reply();
                outbox.send(Mail::Report { reply });
                answer
            });
            for answer in asked.collect::<Vec<_>>() {
                let Ok(mut report) = answer.await else {
                    continue;
                };
                if let Some(first) = reports.first_mut() {
                    first.take_over(&mut report);
                }
                reports.push(report);
            }
        }
        reports
    }

    /// Has a worker serve a connection that is there already; each has its turn.
    pub fn serve(&self, accepted: Accepted) {
        // Relaxed: it orders nothing.
        let turn = self.turn.fetch_add(1, Relaxed);
        self.workers[turn % self.workers.len()].send(Mail::Serve(accepted));
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

/// How a worker says that it could serve, and what it could not make.
type SayReady = oneshot::Sender<Vec<PrepareFailure>>;

/// What a worker thread starts with.
struct Start {
    id: usize,
    core: Option<usize>,
    letterbox: UnopenedInbox,
    published: Published,
}

impl Start {
    fn run(self, driver: Driver, may_fall_back: bool, say_ready: SayReady) {
        self.pin();
        let id = self.id;
        let driver = match driver {
            Driver::IoUring if may_fall_back => match driver::try_io_uring() {
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
            let ready = |failures| {
                let _ = say_ready.send(failures);
            };
            worker::run(worker, inbox, ready).await;
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
