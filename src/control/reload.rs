//! Changes while traffic goes on: prepare, publish, retire.
//!
//! One change at a time, in the order in which they were asked for, on the control thread (what
//! blocks, on threads of its own). A change becomes a whole new configuration; it is compiled,
//! every worker makes the instances that are new in it, and only then it is published. Whatever
//! fails before that publishes nothing: the last good snapshot goes on, the reason is in the log,
//! in the answer and in the history.
//!
//! Left out: what cannot change while the process runs (workers, the I/O driver). A configuration
//! that changes it is published all the same, with a warning.

mod change;
mod fixed;
mod listening;
mod lookups;
mod outcome;
mod persist;
mod state;
mod steps;
mod surviving;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::compile::{Compiled, Compiler, Failure, Looked, Scope, look};
use super::config::{Config, Located};
use super::fleet::Place;
use super::log;
use super::modules::Fetcher;
use super::sockets::SharedHeld;
use super::watch::{Files, Seen};
use super::workers::Outboxes;
use crate::limits::{RELOAD_TURN_TIMEOUT, RELOADS_WAITING_MAX};
use crate::snapshot::Snapshot;
use crate::worker::report::Report;

pub use change::{Cause, Change};
use listening::Moves;
use lookups::Lookups;
pub use outcome::{Applied, Refusal, RefusalKind};
use state::State;
pub use state::{Outcome, Refused, Reload, ReloadTimes, Running, Upgrades};

/// Asks for changes and sees what runs. Clones are the same.
#[derive(Clone)]
pub struct Control {
    orders: mpsc::Sender<Order>,
    state: Arc<State>,
    outboxes: Outboxes,
    fetcher: Arc<Fetcher>,
    /// Held while a change is made, and during a binary upgrade.
    changing: Arc<Semaphore>,
}

struct Order {
    change: Change,
    cause: Cause,
    /// Told when its turn has come.
    begun: oneshot::Sender<()>,
    /// Whether nobody wants it any more.
    is_withdrawn: Arc<AtomicBool>,
    reply: oneshot::Sender<Result<Applied, Refusal>>,
}

impl Control {
    /// Makes a change and says how it went. Dropped while it waits, the change is made all the
    /// same. One of the admin API whose turn does not come is withdrawn, and told what it waits
    /// for.
    ///
    /// # Errors
    /// Nothing was published.
    pub async fn make(&self, change: Change, cause: Cause) -> Result<Applied, Refusal> {
        // What the files say is read by the new process as well; these would be lost.
        if self.state.upgrades().is_under_way && matches!(cause, Cause::Admin | Cause::Signal) {
            return Err(Refusal::new(
                RefusalKind::Busy,
                "a binary upgrade is under way; ask again when it has ended",
            ));
        }
        let (reply, answer) = oneshot::channel();
        let (begun, mut has_begun) = oneshot::channel();
        let is_withdrawn = Arc::<AtomicBool>::default();
        let busy = || {
            let most = RELOADS_WAITING_MAX;
            Refusal::new(
                RefusalKind::Busy,
                format!("{most} changes wait already, or the gateway is ending; try again"),
            )
        };
        let withdraw = Arc::clone(&is_withdrawn);
        let order = Order { change, cause, begun, is_withdrawn, reply };
        self.orders.try_send(order).map_err(|_| busy())?;
        let waited = tokio::time::timeout(RELOAD_TURN_TIMEOUT, &mut has_begun).await;
        if cause == Cause::Admin && waited.is_err() && has_begun.try_recv().is_err() {
            // Relaxed: who reads it is on this thread.
            withdraw.store(true, Relaxed);
            let before = self.state.under_way();
            let before = before.map_or_else(
                || "a binary upgrade is under way".to_owned(),
                |(words, since)| format!("\"{words}\" has been under way for {since:.0?}"),
            );
            return Err(Refusal::new(
                RefusalKind::Busy,
                format!(
                    "nothing was changed: {before}, and changes are made one by one; try again"
                ),
            ));
        }
        answer.await.map_err(|_| busy())?
    }

    /// What fetches modules.
    pub fn fetcher(&self) -> &Arc<Fetcher> {
        &self.fetcher
    }

    /// What every worker has counted.
    pub async fn report(&self) -> Vec<Report> {
        self.outboxes.report().await
    }

    /// What runs now.
    pub fn running(&self) -> Running {
        self.state.running()
    }

    /// The last changes, the latest first.
    pub fn history(&self) -> Vec<Reload> {
        self.state.history()
    }

    /// How many changes were published and how many were refused.
    pub fn counts(&self) -> (u64, u64) {
        self.state.counts()
    }

    /// The changes so far, taken together.
    pub fn times(&self) -> ReloadTimes {
        self.state.times()
    }

    /// The last check of a target has failed for this reason, or has passed.
    pub fn note_check(&self, target: usize, failed: Option<String>) {
        self.state.note_check(target, failed);
    }

    /// Why the last checks of targets failed, by their numbers.
    pub fn checks(&self) -> std::collections::HashMap<usize, String> {
        self.state.checks()
    }

    /// Whether the gateway is ending.
    pub fn is_draining(&self) -> bool {
        self.state.is_draining()
    }

    /// The gateway is ending: it should be sent no more requests.
    pub fn drain(&self) {
        self.state.drain();
    }

    /// Waits until the gateway is ending.
    pub async fn drained(&self) {
        self.state.drained().await;
    }

    /// How this gateway stands in its fleet, if it is in one.
    pub fn fleet(&self) -> Option<&Place> {
        self.state.fleet()
    }

    /// The digest of the configuration file as a change that was to last has left it.
    pub fn written(&self) -> Option<[u8; 32]> {
        self.state.written()
    }

    /// The configuration file that was refused, as long as what runs is not what a file says.
    pub fn refused_file(&self) -> Option<Refused> {
        self.state.refused_file()
    }

    /// What the files looked like that the last configuration names that was read, published or
    /// not, before it was compiled.
    pub fn tried(&self) -> Option<Arc<Seen>> {
        self.state.tried()
    }

    /// Whether a change is being made.
    pub fn is_changing(&self) -> bool {
        self.state.under_way().is_some()
    }

    /// Keeps the configuration as it is from now on, once the change that is being made has ended:
    /// for as long as the permit lives.
    pub async fn begin_upgrade(&self) -> Option<OwnedSemaphorePermit> {
        self.state.upgrade(|upgrades| upgrades.is_under_way = true);
        // Nobody closes it.
        Arc::clone(&self.changing).acquire_owned().await.ok()
    }

    /// The binary upgrade has failed.
    pub fn end_upgrade(&self, started: Instant, reason: String) {
        self.state.upgrade(|upgrades| {
            upgrades.is_under_way = false;
            upgrades.failed += 1;
            upgrades.error = Some(reason.clone());
        });
        let refused = Outcome::Refused(reason);
        self.state.remember("binary upgraded (SIGUSR2)".to_owned(), started, refused);
    }

    /// This process has taken the place of another, as the last of `done` upgrades.
    pub fn note_takeover(&self, pid: u32, done: u64) {
        self.state.upgrade(|upgrades| upgrades.done = done);
        let generation = self.running().snapshot.generation;
        let words = format!("binary upgraded, in place of process {pid}");
        self.state.remember(words, Instant::now(), Outcome::Published(generation));
    }

    /// How binary upgrades went.
    pub fn upgrades(&self) -> Upgrades {
        self.state.upgrades()
    }

    /// Whether something was changed that is not in the configuration file.
    pub fn has_unsaved_changes(&self) -> bool {
        self.state.is_unsaved()
    }

    /// How many snapshots are still in use: 1, and those that exchanges in flight hold.
    pub fn generations_alive(&self) -> usize {
        self.state.generations_alive()
    }
}

/// Makes the changes.
pub struct Reloader {
    /// Away while it compiles.
    compiler: Option<Compiler>,
    located: Located,
    /// Where the admin API listens, for as long as the process runs.
    admin: Option<SocketAddr>,
    outboxes: Outboxes,
    held: SharedHeld,
    holds_alone: bool,
    published: Arc<ArcSwap<Snapshot>>,
    state: Arc<State>,
    fetcher: Arc<Fetcher>,
    orders: mpsc::Receiver<Order>,
    /// Those that came while a module was fetched, behind which the others stand.
    waiting: VecDeque<Order>,
    lookups: Lookups,
    changing: Arc<Semaphore>,
}

/// What a [`Reloader`] begins with.
pub struct Start {
    /// That has made the first snapshot.
    pub compiler: Compiler,
    /// Where the configuration is.
    pub located: Located,
    /// Where the admin API listens.
    pub admin: Option<SocketAddr>,
    /// The first configuration.
    pub config: Config,
    /// What does not work in it.
    pub failures: Vec<Failure>,
    /// What has fetched its modules.
    pub fetcher: Arc<Fetcher>,
    /// The workers.
    pub outboxes: Outboxes,
    /// The sockets, as the next process is to have them.
    pub held: SharedHeld,
    /// Whether no other process holds them.
    pub holds_alone: bool,
    /// Where they read snapshots.
    pub published: Arc<ArcSwap<Snapshot>>,
    /// Its place in a fleet.
    pub fleet: Option<Place>,
}

impl Reloader {
    /// One that has made no change yet.
    pub fn new(start: Start) -> (Self, Control) {
        let (sender, orders) = mpsc::channel(RELOADS_WAITING_MAX);
        let snapshot = start.published.load_full();
        let state = Arc::new(State::new(start.config, snapshot, start.failures, start.fleet));
        let outboxes = start.outboxes.clone();
        let changing = Arc::new(Semaphore::new(1));
        let control = Control {
            orders: sender,
            state: Arc::clone(&state),
            outboxes,
            fetcher: Arc::clone(&start.fetcher),
            changing: Arc::clone(&changing),
        };
        let reloader = Self {
            compiler: Some(start.compiler),
            located: start.located,
            admin: start.admin,
            outboxes: start.outboxes,
            held: start.held,
            holds_alone: start.holds_alone,
            published: start.published,
            state,
            fetcher: start.fetcher,
            orders,
            waiting: VecDeque::new(),
            lookups: Lookups::default(),
            changing,
        };
        (reloader, control)
    }

    /// Makes changes for as long as it is polled.
    pub async fn run(mut self) {
        loop {
            let due = self.lookups.due(&self.state.running().config, Instant::now());
            let next = async {
                match self.waiting.pop_front() {
                    Some(order) => Some(order),
                    None => self.orders.recv().await,
                }
            };
            let order = tokio::select! {
                biased;
                order = next => order,
                () = tokio::time::sleep_until(due.into()) => {
                    if self.have_names_moved().await {
                        // The answer is in the log.
                        let _ = self.make(Change::Addresses, Cause::Names).await;
                    }
                    continue;
                }
            };
            let Some(Order { change, cause, begun, is_withdrawn, reply }) = order else {
                return std::future::pending().await;
            };
            if is_withdrawn.load(Relaxed) {
                continue;
            }
            let _ = begun.send(());
            // Whoever asked may have gone.
            let _ = reply.send(self.make(change, cause).await);
        }
    }

    /// Looks those names up that are due.
    async fn have_names_moved(&mut self) -> bool {
        let running = self.state.running();
        let (config, snapshot) = (running.config, running.snapshot);
        let services = self.lookups.take_due(&config, Instant::now());
        let looked = tokio::task::spawn_blocking(move || look(&config, &services, &snapshot)).await;
        let Looked { has_moved, ttls } = looked.unwrap_or_default();
        self.lookups.note(ttls);
        has_moved
    }

    async fn make(&mut self, change: Change, cause: Cause) -> Result<Applied, Refusal> {
        let _changing = Arc::clone(&self.changing).acquire_owned().await;
        self.make_now(change, cause).await
    }

    /// Makes a change; nobody else makes one.
    async fn make_now(&mut self, change: Change, cause: Cause) -> Result<Applied, Refusal> {
        let started = Instant::now();
        let words = cause.describe(&change);
        self.state.begin(words.clone(), started);
        let is_file = matches!(change, Change::File);
        let result = self.attempt(change).await;
        if is_file {
            self.state.judge_file(&words, &result);
        }
        match &result {
            Ok(done) => {
                for warning in &done.warnings {
                    tracing::warn!("{warning}");
                }
                tracing::info!(generation = done.generation, took = ?started.elapsed(), "{words}");
            }
            Err(refusal) => {
                let reason = &refusal.reason;
                tracing::error!("{words}: refused, nothing has changed: {reason}");
            }
        }
        self.state.note(words, started, &result);
        result
    }

    async fn attempt(&mut self, change: Change) -> Result<Applied, Refusal> {
        let running = self.state.running();
        let (located, current) = (self.located.clone(), Arc::clone(&running.config));
        let subject = change.subject();
        let is_file = matches!(change, Change::File);
        let is_whole = is_file || matches!(change, Change::Document(_));
        // What the configuration says is as it was.
        let is_same = matches!(change, Change::Addresses | Change::Module { .. });
        let scope = change.scope();
        let kind = std::mem::discriminant(&change);
        let next = tokio::task::spawn_blocking(move || {
            let next = change.apply(&current, &located)?;
            // Before they are read: what changes behind this look has changed since.
            let files = is_file.then(|| Files::of(&located, &next.config).look());
            Ok::<_, Refusal>((next, files))
        });
        let (next, files) = next.await.map_err(|_| broken("the change panicked"))??;
        files.into_iter().for_each(|files| self.state.try_out(files));
        let mut config = next.config;
        let mut warnings = fixed::keep(&running.config, &mut config);
        fixed::check(&running.config, &config, self.admin)?;

        self.fetch(&config, &scope, kind).await?;
        // Names may have been followed meanwhile.
        let running = self.state.running();
        let (config, Compiled { snapshot, findings }) =
            self.compile(config, running.snapshot, scope.clone()).await?;
        refuse(findings.refusals)?;
        warnings.extend(findings.warnings);
        let news = findings.failures.iter().filter(|failure| {
            let is_known = running.failures.iter().any(|earlier| failure.is_again(earlier));
            // A name that moves is followed, whatever else is found on the way.
            let is_judged = scope != Scope::Addresses;
            is_judged && (Some(&failure.what) == subject.as_ref() || !is_known)
        });
        refuse(news.map(|failure| format!("{}: {}", failure.what, failure.reason)).collect())?;

        let snapshot = Arc::new(snapshot);
        self.prepare(&snapshot, &scope).await?;
        let moves = Moves::between(&running.config, &config);
        let sockets = moves.open(&config, self.outboxes.workers()).await;
        let sockets = sockets.inspect_err(|_| self.outboxes.retire(&self.published.load_full()))?;
        let is_saved = is_whole || next.persist.is_some();
        if let Some(persist) = next.persist {
            let written = tokio::task::spawn_blocking(persist).await;
            match written.unwrap_or_else(|_| Err("writing panicked".to_owned())) {
                Ok(digest) => digest.into_iter().for_each(|digest| self.state.write(digest)),
                Err(reason) => {
                    self.outboxes.retire(&self.published.load_full());
                    return Err(broken(reason));
                }
            }
        }
        log::set(&config.logging);
        self.published.store(Arc::clone(&snapshot));
        self.outboxes.retire(&snapshot);
        moves.make(sockets, &self.outboxes, &self.held, self.holds_alone).await;
        let generation = snapshot.generation;
        let failures = scope.failures(&running.failures, findings.failures);
        self.state.publish(config, snapshot, failures);
        if !is_same {
            self.state.save(is_saved, is_whole);
            self.fetcher.trim(self.state.running().config);
        }
        Ok(Applied { generation, warnings })
    }
}

fn broken(reason: impl Into<String>) -> Refusal {
    Refusal::new(RefusalKind::Broken, reason)
}

fn refuse(news: Vec<String>) -> Result<(), Refusal> {
    if news.is_empty() { Ok(()) } else { Err(broken(news.join("\n"))) }
}
