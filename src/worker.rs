//! One pinned thread, one monoio runtime, one [`Worker`]: everything that the requests of a core
//! share, and nothing that another core touches.
//!
//! Life: make the plugins' instances, accept, serve, drain. The thread never blocks, locks or
//! reads a file once it serves.

pub mod driver;
pub mod mailbox;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, Cache};

use self::mailbox::{Inbox, Mail};
use crate::buffer::BufferPool;
use crate::deadline::{Deadlines, now_ms};
use crate::exchange::{Outcome, Scratch};
use crate::limits::{AGGREGATION_LOG_LINES_PER_SECOND, POOL_SWEEP_INTERVAL, SCRATCH_KEPT_MAX};
use crate::listener::{self, Socket};
use crate::plugin::Pools;
use crate::snapshot::{Service, Snapshot};
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
    random: Cell<u64>,
    date: RefCell<(u64, String)>,
    is_draining: Cell<bool>,
    connections: Cell<usize>,
    counters: Cell<Counters>,
    /// The second of the last lines about failed calls, and how many there were in it.
    call_lines: Cell<(u64, u32)>,
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
            random: Cell::new(getrandom::u64().unwrap_or(id as u64)),
            date: RefCell::default(),
            is_draining: Cell::new(false),
            connections: Cell::new(0),
            counters: Cell::default(),
            call_lines: Cell::default(),
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

/// Runs a worker to its end: prepares, says through `ready` that it serves, accepts on `sockets`,
/// and returns when it has drained.
pub async fn run(worker: Rc<Worker>, sockets: Vec<Socket>, inbox: Inbox, ready: impl FnOnce()) {
    for failure in worker.plugins.prepare(&worker.snapshot().plugins).await {
        tracing::warn!(worker = worker.id, plugin = %failure.plugin, "{}", failure.reason);
    }
    monoio::spawn(sweep_deadlines(worker.clone()));
    monoio::spawn(sweep_pool(worker.clone()));
    let listeners = listener::spawn_all(&worker, sockets);
    ready();
    read_mail(&worker, inbox).await;
    worker.is_draining.set(true);
    listeners.close().await;
    worker.deadlines.expire_idle();
    drain(&worker).await;
}

/// Handles the control plane's messages until one says to drain.
async fn read_mail(worker: &Rc<Worker>, mut inbox: Inbox) {
    loop {
        match inbox.next().await {
            Mail::Prepare { snapshot, ready } => {
                let failures = worker.plugins.prepare(&snapshot.plugins).await;
                ready(failures);
            }
            Mail::Retire { keep } => worker.plugins.retire(&keep.plugins).await,
            Mail::Count { reply } => reply(worker.counters.get()),
            Mail::Drain => return,
        }
    }
}

/// Waits until the last connection has ended. The control plane bounds how long.
async fn drain(worker: &Worker) {
    while worker.connections.get() > 0 {
        // Connections that turned idle since the last look are waiting for requests again.
        worker.deadlines.expire_idle();
        monoio::time::sleep(Duration::from_millis(10)).await;
    }
    worker.plugins.close();
}

async fn sweep_deadlines(worker: Rc<Worker>) {
    worker.deadlines.run().await;
}

async fn sweep_pool(worker: Rc<Worker>) {
    loop {
        monoio::time::sleep(POOL_SWEEP_INTERVAL).await;
        let age = worker.snapshot().timeouts.upstream_idle;
        worker.pool.sweep(age);
    }
}
