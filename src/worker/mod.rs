//! One pinned thread, one monoio runtime, one [`Worker`]: everything that the requests of a core
//! share, and nothing that another core touches.
//!
//! Life: make the plugins' instances, accept, serve, drain. The thread never blocks, locks or
//! reads a file once it serves.

pub mod mailbox;
pub mod report;

use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, Cache};
use tokio::sync::oneshot;

use self::mailbox::{Inbox, Mail};
use self::report::{Pace, Report, Services, Shared, TimerDelay};
use crate::downstream::handover::{Handover, Sent};
use crate::downstream::listener::{self, Listeners};
use crate::exchange::{Outcome, Scratch};
use crate::io::buffer::BufferPool;
use crate::io::deadline::{Deadlines, now_ms};
use crate::io::rooms::Rooms;
use crate::io::stream::Peer;
use crate::limits::{
    ACCESS_LOG_FLUSH_INTERVAL, AGGREGATION_LOG_LINES_PER_SECOND, HANDOVERS_AT_ONCE,
    POOL_SWEEP_INTERVAL, SCRATCH_KEPT_MAX,
};
use crate::plugin::{Pools, PrepareFailure};
use crate::snapshot::{Service, Snapshot};
use crate::trace::access_log::{AccessLog, Answered, Asked, Lines};
use crate::upstream::call::Client;
use crate::upstream::pool::Pool;

/// What the control plane publishes and workers read.
pub type Published = Arc<ArcSwap<Snapshot>>;

/// A snapshot as the exchanges of one worker share it. The Rc is what makes a clone per exchange
/// cost nothing to the other cores.
pub type Current = Rc<Arc<Snapshot>>;

/// The state of one worker. `!Send`: tasks of this worker share it by `Rc`.
pub struct Worker {
    /// Counts the workers from 0.
    pub id: usize,
    published: RefCell<Cache<Published, Arc<Snapshot>>>,
    current: RefCell<Current>,
    buffers: Rc<BufferPool>,
    deadlines: Deadlines,
    pool: Rc<Pool>,
    plugins: Pools,
    /// Whose turn it is, by service; counted anew with each generation.
    turns: RefCell<(u64, Vec<usize>)>,
    #[expect(
        clippy::vec_box,
        reason = "exchanges hold the box: moving a Scratch copies 500 bytes"
    )]
    scratch: RefCell<Vec<Box<Scratch>>>,
    rooms: Rooms,
    random: Cell<u64>,
    date: RefCell<(u64, String)>,
    is_draining: Cell<bool>,
    /// Where connections between two requests go on, while the binary is upgraded.
    handover: RefCell<Option<Arc<Handover>>>,
    handed_over: Cell<u64>,
    connections: Cell<usize>,
    counters: Cell<Counters>,
    services: RefCell<Services>,
    access_lines: Rc<RefCell<Lines>>,
    /// The second of the last lines about failed calls, and how many there were in it.
    call_lines: Cell<(u64, u32)>,
    spans_lost: Cell<u64>,
    timer_delay: Cell<TimerDelay>,
}

/// What a worker counts. Plain numbers: only this thread writes them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    /// Exchanges that ended.
    pub exchanges: u64,
    /// Of them, those that failed (see `Outcome::error`).
    pub failures: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Connections closed at once because there were too many.
    pub shed: u64,
}

impl Worker {
    /// The state of worker `id`, with its first snapshot. On the worker's own thread.
    pub fn new(id: usize, published: Published) -> Rc<Self> {
        let current = Rc::new(published.load_full());
        let (buffers, deadlines) = (Rc::<BufferPool>::default(), Deadlines::default());
        let pool = Rc::<Pool>::default();
        let client = Client::new(pool.clone(), deadlines.clone(), buffers.clone());
        Rc::new(Self {
            id,
            published: RefCell::new(Cache::new(published)),
            current: RefCell::new(current),
            buffers,
            deadlines,
            pool,
            plugins: Pools::with_client(client),
            turns: RefCell::default(),
            scratch: RefCell::default(),
            rooms: Rooms::default(),
            random: Cell::new(getrandom::u64().unwrap_or(id as u64)),
            date: RefCell::default(),
            is_draining: Cell::new(false),
            handover: RefCell::default(),
            handed_over: Cell::new(0),
            connections: Cell::new(0),
            counters: Cell::default(),
            services: RefCell::default(),
            access_lines: Rc::default(),
            call_lines: Cell::default(),
            spans_lost: Cell::default(),
            timer_delay: Cell::default(),
        })
    }

    /// The snapshot of now. An exchange calls this once and keeps what it got; cloning it touches
    /// no other core.
    pub fn snapshot(&self) -> Current {
        let mut cache = self.published.borrow_mut();
        let published = cache.load();
        let mut current = self.current.borrow_mut();
        if !Arc::ptr_eq(published, &current) {
            *current = Rc::new(published.clone());
        }
        current.clone()
    }

    /// The buffers.
    pub fn buffers(&self) -> &BufferPool {
        &self.buffers
    }

    /// The buffers, for a connection to keep.
    pub fn shared_buffers(&self) -> &Rc<BufferPool> {
        &self.buffers
    }

    /// The deadlines.
    pub fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// The idle upstream connections.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The instances of plugins.
    pub fn plugins(&self) -> &Pools {
        &self.plugins
    }

    /// Hands `take` the place that this worker has reached in the turns of a service.
    pub fn turn<T>(
        &self,
        snapshot: &Snapshot,
        service: &Service,
        take: impl FnOnce(&mut usize) -> T,
    ) -> T {
        let (generation, turns) = &mut *self.turns.borrow_mut();
        if *generation != snapshot.generation || turns.len() != snapshot.services.len() {
            *generation = snapshot.generation;
            turns.clear();
            // Workers start at different endpoints: few requests must not all meet the first one.
            turns.resize(snapshot.services.len(), self.id);
        }
        take(&mut turns[service.index])
    }

    /// Memory for an exchange.
    pub fn take_scratch(&self) -> Box<Scratch> {
        self.scratch.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes it back.
    pub fn give_scratch(&self, scratch: Box<Scratch>) {
        let mut kept = self.scratch.borrow_mut();
        if kept.len() < SCRATCH_KEPT_MAX {
            kept.push(scratch);
        }
    }

    /// Memory for futures that not every waiting connection is to hold.
    pub fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// A random number (splitmix64): for request ids, not for secrets.
    pub fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Hands `see` the value of a `Date` field, made once a second.
    pub fn with_date(&self, see: impl FnOnce(&[u8])) {
        let now = SystemTime::now();
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut date = self.date.borrow_mut();
        if date.0 != seconds || date.1.is_empty() {
            *date = (seconds, httpdate::fmt_http_date(now));
        }
        see(date.1.as_bytes());
    }

    /// Whether one more line about a failed call may be logged in this second.
    pub fn may_log_call(&self) -> bool {
        let second = now_ms() / 1000;
        let (last, count) = self.call_lines.get();
        let count = if last == second { count } else { 0 };
        self.call_lines.set((second, count.saturating_add(1)));
        count < AGGREGATION_LOG_LINES_PER_SECOND
    }

    /// Whether no new request should begin.
    pub fn is_draining(&self) -> bool {
        self.is_draining.get()
    }

    /// Whether a connection ends after the response that is being made.
    pub fn ends(&self, is_portable: bool) -> bool {
        self.is_draining.get() || (!is_portable && self.handover.borrow().is_some())
    }

    /// Hands a connection that waits for a request to the next process, if there is one. `true`: it
    /// is to be closed here.
    pub fn hand_over(&self, fd: RawFd, peer: Peer) -> bool {
        let mut handover = self.handover.borrow_mut();
        let Some(next) = &*handover else { return false };
        match next.send(fd, peer) {
            Sent::Moved => {
                self.handed_over.set(self.handed_over.get() + 1);
                true
            }
            Sent::Later => false,
            Sent::Gone => {
                *handover = None;
                self.is_draining.set(true);
                tracing::warn!(worker = self.id, "the next process has ended: connections close");
                false
            }
        }
    }

    /// Counts a new connection, unless there are `connections_max`; dropping the token uncounts it.
    pub fn admit(self: &Rc<Self>, connections_max: usize) -> Option<Admission> {
        let open = self.connections.get();
        if open >= connections_max {
            self.count(|counters| counters.shed += 1);
            return None;
        }
        self.connections.set(open + 1);
        self.count(|counters| counters.connections += 1);
        Some(Admission { worker: self.clone() })
    }

    /// Counts an exchange that has ended.
    pub fn account(&self, outcome: &Outcome) {
        self.count(|counters| {
            counters.exchanges += 1;
            counters.failures += u64::from(outcome.error.is_some());
        });
    }

    /// Counts an exchange of a service that has ended.
    pub fn account_service(
        &self,
        snapshot: &Snapshot,
        service: &Service,
        status: u16,
        took: Duration,
    ) {
        self.services.borrow_mut().count(snapshot, service, status, took);
    }

    /// What is counted of a service.
    pub(crate) fn counts_of(&self, snapshot: &Snapshot, service: &Service) -> Shared {
        self.services.borrow_mut().of(snapshot, service)
    }

    /// Counts spans that nobody will see.
    pub fn count_lost_spans(&self, count: u64) {
        self.spans_lost.set(self.spans_lost.get() + count);
    }

    /// Adds a line to the access log.
    pub fn log_exchange(&self, log: &Arc<AccessLog>, asked: &Asked, answered: &Answered<'_>) {
        let mut lines = self.access_lines.borrow_mut();
        let was_empty = lines.is_empty();
        lines.add(log, asked, answered);
        if was_empty && !lines.is_empty() {
            let lines = self.access_lines.clone();
            monoio::spawn(async move {
                monoio::time::sleep(ACCESS_LOG_FLUSH_INTERVAL).await;
                lines.borrow_mut().flush();
            });
        }
    }

    /// All that was counted. Pauses now and then: requests come first.
    pub async fn report(&self) -> Report {
        let mut pace = Pace::default();
        let plugins = self.plugins.report(&mut pace).await;
        let snapshot = self.snapshot();
        let services =
            report::copy_services(&self.services, &snapshot, &self.pool, &mut pace).await;
        Report {
            worker: self.id,
            counters: self.counters.get(),
            connections_open: self.connections.get(),
            access_lines_dropped: self.access_lines.borrow().dropped(),
            spans_dropped: self.spans_lost.get(),
            timer_delay: self.timer_delay.get(),
            services,
            plugins,
        }
    }

    fn count(&self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }
}

/// A counted downstream connection.
pub struct Admission {
    worker: Rc<Worker>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.worker.connections.set(self.worker.connections.get() - 1);
    }
}

/// Runs a worker to its end: prepares, says through `ready` what could not be made, does what the
/// control plane asks of it, and returns when it has drained.
pub async fn run(worker: Rc<Worker>, inbox: Inbox, ready: impl FnOnce(Vec<PrepareFailure>)) {
    let failures = worker.plugins.prepare(&worker.snapshot().plugins).await;
    monoio::spawn(sweep_deadlines(worker.clone()));
    monoio::spawn(sweep_pool(worker.clone()));
    ready(failures);
    let (ended, has_ended) = oneshot::channel();
    monoio::spawn(read_mail(worker, inbox, ended));
    // An error is how the end shows, too.
    let _ = has_ended.await;
}

/// Handles the control plane's messages, those that come while it drains too. `ended` is dropped at
/// the end of the worker.
async fn read_mail(worker: Rc<Worker>, mut inbox: Inbox, ended: oneshot::Sender<()>) {
    let listeners = Rc::new(Listeners::default());
    let mut ended = Some(ended);
    loop {
        match inbox.next().await {
            // In tasks of their own: a guest may take its whole timeout to start or to clean up,
            // and the other mail must not wait for it.
            Some(Mail::Prepare { snapshot, ready }) => {
                let plugins = worker.plugins.clone();
                monoio::spawn(async move { ready(plugins.prepare(&snapshot.plugins).await) });
            }
            Some(Mail::Retire { keep }) => {
                // An idle worker would hold the old snapshot until its next exchange.
                worker.snapshot();
                let plugins = worker.plugins.clone();
                monoio::spawn(async move { plugins.retire(&keep.plugins).await });
            }
            Some(Mail::Report { reply }) => {
                let worker = worker.clone();
                monoio::spawn(async move { reply(worker.report().await) });
            }
            Some(Mail::Listen { sockets, done }) => {
                listeners.open(&worker, sockets);
                done(());
            }
            Some(Mail::Serve(accepted)) => listener::serve(accepted, &worker),
            Some(Mail::Drain { handover }) => {
                start_drain(&worker, &listeners, handover, ended.take());
            }
            None => return start_drain(&worker, &listeners, None, ended.take()),
        }
    }
}

/// Begins to drain; a second time changes nothing.
fn start_drain(
    worker: &Rc<Worker>,
    listeners: &Rc<Listeners>,
    handover: Option<Arc<Handover>>,
    ended: Option<oneshot::Sender<()>>,
) {
    let Some(ended) = ended else { return };
    let (worker, listeners) = (worker.clone(), listeners.clone());
    monoio::spawn(async move {
        worker.is_draining.set(handover.is_none());
        *worker.handover.borrow_mut() = handover;
        listeners.close().await;
        drain(&worker).await;
        drop(ended);
    });
}

/// Waits until the last connection has ended or moved on, then lets the plugins clean up. The
/// control plane bounds how long.
async fn drain(worker: &Worker) {
    while worker.connections.get() > 0 {
        // Connections that turned idle since the last look are waiting for requests again.
        match worker.is_draining() {
            true => worker.deadlines.expire_idle(),
            false => worker.deadlines.ask_waiting(HANDOVERS_AT_ONCE),
        }
        monoio::time::sleep(Duration::from_millis(10)).await;
    }
    if worker.handed_over.get() > 0 {
        let count = worker.handed_over.get();
        tracing::info!(worker = worker.id, count, "connections moved to the next process");
    }
    worker.plugins.end().await;
    worker.access_lines.borrow_mut().flush();
}

async fn sweep_deadlines(worker: Rc<Worker>) {
    worker.deadlines.run().await;
}

async fn sweep_pool(worker: Rc<Worker>) {
    loop {
        let due = Instant::now() + POOL_SWEEP_INTERVAL;
        monoio::time::sleep(POOL_SWEEP_INTERVAL).await;
        let mut delay = worker.timer_delay.get();
        delay.record(due.elapsed());
        worker.timer_delay.set(delay);
        let age = worker.snapshot().timeouts.upstream_idle;
        worker.pool.sweep(age);
        worker.buffers.trim();
        give_memory_back();
    }
}

/// Has the allocator give to the kernel what this thread has freed for a second or more. By itself
/// it does so when it is asked for memory: a worker that goes idle would keep what it has freed.
/// Measured with 5,000 connections coming and parking: 3 to 92 us.
#[expect(unsafe_code, reason = "the allocator has no safe call for it")]
fn give_memory_back() {
    // SAFETY: it may be called at any time, by any thread.
    unsafe { libmimalloc_sys::mi_collect(false) };
}
