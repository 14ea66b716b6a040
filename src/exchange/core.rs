//! What the exchanges of one worker share, and nothing that another core touches.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, Cache};
use httpdate::HttpDate;

use super::counts::{self, ServiceCounts, Services, SharedCounts};
use super::mirror::Mirrors;
use super::random::Random;
use super::tunnels::Tunnels;
use super::{Outcome, Scratch};
use crate::error::{Counter, Error, Rejection};
use crate::http::grpc::GrpcStatus;
use crate::io::budget::Budget;
use crate::io::buffer::BufferPool;
use crate::io::deadline::Deadlines;
use crate::io::futures::FuturePool;
use crate::io::pace::Pace;
use crate::io::{sleep, spawn};
use crate::limits::{
    ACCESS_LOG_FLUSH_INTERVAL, AGGREGATION_LOG_LINES_PER_SECOND, SCRATCH_KEPT_MAX,
};
use crate::plugin::Pools;
use crate::snapshot::{Service, Snapshot};
use crate::throttle::PerSecond;
use crate::trace::access_log::{AccessLog, Answered, Asked, Lines};
use crate::upstream::call::Client;
use crate::upstream::pool::Pool;
use crate::upstream::targets::Targets;

/// What the control plane publishes and workers read.
pub type Published = Arc<ArcSwap<Snapshot>>;

/// A snapshot as the exchanges of one worker share it. The Rc is what makes a clone per exchange
/// cost nothing to the other cores.
pub type Current = Rc<Arc<Snapshot>>;

/// What the exchanges of one worker share. `!Send`: its tasks have it by `Rc`.
pub struct Core {
    /// Counts the workers from 0.
    pub id: usize,
    published: RefCell<Cache<Published, Arc<Snapshot>>>,
    current: RefCell<Current>,
    buffers: Rc<BufferPool>,
    deadlines: Deadlines,
    pool: Rc<Pool>,
    plugins: Pools,
    targets: Rc<Targets>,
    budget: Rc<Budget>,
    #[expect(
        clippy::vec_box,
        reason = "exchanges hold the box: moving a Scratch copies 500 bytes"
    )]
    scratch: RefCell<Vec<Box<Scratch>>>,
    futures: FuturePool,
    random: Random,
    date: RefCell<(u64, String)>,
    ended: Cell<Ended>,
    /// By reason. Apart from `ended`, which every exchange copies.
    rejected: [Cell<u64>; Rejection::ALL.len()],
    services: RefCell<Services>,
    access_lines: Rc<RefCell<Lines>>,
    /// Lines about failed calls.
    call_lines: PerSecond,
    spans_lost: Cell<u64>,
    tunnels: Rc<Tunnels>,
    /// What copies of requests are sent with.
    client: Client,
    mirrors: Rc<Mirrors>,
}

/// How many exchanges have ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ended {
    /// All of them.
    pub exchanges: u64,
    /// Of them, those that failed (see `Outcome::error`).
    pub failures: u64,
}

impl Core {
    /// That of worker `id`, with its first snapshot. On the worker's own thread.
    pub fn new(id: usize, published: Published) -> Rc<Self> {
        let current = Rc::new(published.load_full());
        let (buffers, deadlines) = (Rc::<BufferPool>::default(), Deadlines::default());
        let pool = Rc::<Pool>::default();
        let targets = Rc::new(Targets::starting_at(id));
        targets.admission().bound(current.limits.upstream_connections_max);
        let budget = Rc::<Budget>::default();
        budget.bound(current.limits.buffered_bytes_max);
        deadlines.keep_half_closed(current.keeps_half_closed);
        let client = Client::new(
            pool.clone(),
            deadlines.clone(),
            buffers.clone(),
            targets.clone(),
            budget.clone(),
        );
        Rc::new(Self {
            id,
            published: RefCell::new(Cache::new(published)),
            current: RefCell::new(current),
            buffers,
            deadlines,
            pool,
            plugins: Pools::with_client(client.clone()),
            targets,
            budget,
            scratch: RefCell::default(),
            futures: FuturePool::default(),
            random: Random::default(),
            date: RefCell::default(),
            ended: Cell::default(),
            rejected: Default::default(),
            services: RefCell::default(),
            access_lines: Rc::default(),
            call_lines: PerSecond::default(),
            spans_lost: Cell::default(),
            tunnels: Rc::default(),
            client,
            mirrors: Rc::default(),
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
            self.budget.bound(current.limits.buffered_bytes_max);
            self.targets.admission().bound(current.limits.upstream_connections_max);
            self.deadlines.keep_half_closed(current.keeps_half_closed);
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

    /// What is known of targets.
    pub(crate) fn targets(&self) -> &Targets {
        &self.targets
    }

    /// The same, for what outlives an exchange.
    pub(crate) fn shared_targets(&self) -> &Rc<Targets> {
        &self.targets
    }

    /// The tunnels that are open.
    pub fn tunnels(&self) -> &Rc<Tunnels> {
        &self.tunnels
    }

    /// What asks origins beside exchanges.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The copies of requests.
    pub(super) fn mirrors(&self) -> &Rc<Mirrors> {
        &self.mirrors
    }

    /// How many copies of requests are on their way.
    pub fn copies_under_way(&self) -> usize {
        self.mirrors.under_way()
    }

    /// The bytes of bodies that may be held in memory.
    pub(crate) fn budget(&self) -> &Rc<Budget> {
        &self.budget
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
    pub fn futures(&self) -> &FuturePool {
        &self.futures
    }

    /// A number that nobody can compute from those before it.
    pub fn random(&self) -> u64 {
        self.random.next()
    }

    /// Hands `see` the value of a `Date` field, made once a second.
    pub fn with_date(&self, see: impl FnOnce(&[u8])) {
        let now = SystemTime::now();
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut date = self.date.borrow_mut();
        if date.0 != seconds || date.1.is_empty() {
            date.0 = seconds;
            // Into the memory of the one before: a plain request allocates nothing.
            date.1.clear();
            write!(date.1, "{}", HttpDate::from(now)).expect("a String takes any text");
        }
        see(date.1.as_bytes());
    }

    /// Whether one more line about a failed call may be logged in this second.
    pub fn may_log_call(&self) -> bool {
        self.call_lines.take(AGGREGATION_LOG_LINES_PER_SECOND, Instant::now()).is_allowed
    }

    /// Counts an exchange that has ended.
    pub fn account(&self, outcome: &Outcome) {
        let mut ended = self.ended.get();
        ended.exchanges += 1;
        ended.failures += u64::from(outcome.error.is_some());
        self.ended.set(ended);
        if let Some(Counter::Rejected(reason)) = outcome.error.map(Error::counter) {
            let count = &self.rejected[reason as usize];
            count.set(count.get() + 1);
        }
    }

    /// The requests that were refused here, by reason ([`Rejection::ALL`]).
    pub fn rejected(&self) -> [u64; Rejection::ALL.len()] {
        self.rejected.each_ref().map(Cell::get)
    }

    /// The exchanges that have ended.
    pub fn ended(&self) -> Ended {
        self.ended.get()
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

    /// Counts how a call of gRPC has ended; `None`: its client was told no status.
    #[cold]
    pub fn account_grpc(&self, snapshot: &Snapshot, service: &Service, status: Option<GrpcStatus>) {
        self.services.borrow_mut().of(snapshot, service).borrow_mut().count_grpc(status);
    }

    /// What is counted of a service.
    pub(super) fn counts_of(&self, snapshot: &Snapshot, service: &Service) -> SharedCounts {
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
            spawn(async move {
                sleep(ACCESS_LOG_FLUSH_INTERVAL).await;
                lines.borrow_mut().flush();
            });
        }
    }

    /// Lines of the access log that were dropped.
    pub fn access_lines_dropped(&self) -> u64 {
        self.access_lines.borrow().dropped()
    }

    /// Writes the lines of the access log that wait.
    pub fn flush_access_lines(&self) {
        self.access_lines.borrow_mut().flush();
    }

    /// Spans that nobody will see.
    pub fn spans_lost(&self) -> u64 {
        self.spans_lost.get()
    }

    /// A copy of what was counted of each service, by name.
    pub async fn copy_services(&self, pace: &mut Pace) -> Vec<(String, ServiceCounts)> {
        let snapshot = self.snapshot();
        counts::copy_services(&self.services, &snapshot, &self.pool, pace).await
    }
}
