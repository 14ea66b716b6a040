//! What runs and what has changed, for whoever asks. Locked for the time of a copy.

#![expect(
    clippy::disallowed_types,
    reason = "no worker locks it: the control thread and its tasks do"
)]

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;

use super::{Applied, Refusal};
use crate::control::compile::Failure;
use crate::control::config::Config;
use crate::control::fleet::Place;
use crate::control::watch::Seen;
use crate::limits::RELOADS_REMEMBERED;
use crate::snapshot::Snapshot;

/// What runs.
#[derive(Clone)]
pub struct Running {
    /// The configuration, with what the admin API has changed in it.
    pub config: Arc<Config>,
    /// Made of it.
    pub snapshot: Arc<Snapshot>,
    /// What does not work in it.
    pub failures: Arc<[Failure]>,
}

/// A change that was asked for.
#[derive(Debug, Clone)]
pub struct Reload {
    /// When.
    pub at: SystemTime,
    /// What was asked for and by whom, in words.
    pub words: String,
    /// How long it took.
    pub took: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

/// A configuration file that was refused, for as long as what runs is not what it says.
#[derive(Debug, Clone)]
pub struct Refused {
    /// When.
    pub at: SystemTime,
    /// Who asked for it, in words.
    pub words: String,
    /// Why, in words.
    pub reason: String,
}

/// How a change ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As this generation.
    Published(u64),
    /// For this reason; nothing has changed.
    Refused(String),
}

/// How binary upgrades went.
#[derive(Debug, Clone, Default)]
pub struct Upgrades {
    /// How many there were until this process began to serve.
    pub done: u64,
    /// How many this process has tried in vain.
    pub failed: u64,
    /// Whether one is being tried.
    pub is_under_way: bool,
    /// Why the last one failed.
    pub error: Option<String>,
}

/// The changes of a process, taken together.
#[derive(Debug, Clone, Copy)]
pub struct ReloadTimes {
    /// When the running snapshot was published.
    pub last_success: SystemTime,
    /// How long all changes took, refused ones included.
    pub time_total: Duration,
}

pub(super) struct State {
    inner: Mutex<Inner>,
    is_draining: AtomicBool,
    drains: Notify,
    fleet: Option<Place>,
}

struct Inner {
    running: Running,
    history: VecDeque<Reload>,
    /// The change that is being made, in words, and since when.
    under_way: Option<(String, Instant)>,
    published: u64,
    refused: u64,
    upgrades: Upgrades,
    /// Whether something is not as in the configuration file.
    is_unsaved: bool,
    times: ReloadTimes,
    /// Snapshots that somebody may still hold.
    earlier: Vec<Weak<Snapshot>>,
    /// The configuration file that was refused last, until one is taken.
    refused_file: Option<Refused>,
    /// What the files of the last configuration looked like that was read, before it was compiled.
    tried: Option<Arc<Seen>>,
    /// The digest of the configuration file as the gateway itself wrote it last.
    written: Option<[u8; 32]>,
    /// Why the last check of a target failed, by its number.
    checks: HashMap<usize, String>,
}

impl State {
    pub(super) fn new(
        config: Config,
        snapshot: Arc<Snapshot>,
        failures: Vec<Failure>,
        fleet: Option<Place>,
    ) -> Self {
        let running = Running { config: Arc::new(config), snapshot, failures: failures.into() };
        let inner = Inner {
            running,
            history: VecDeque::new(),
            under_way: None,
            published: 0,
            refused: 0,
            times: ReloadTimes { last_success: SystemTime::now(), time_total: Duration::ZERO },
            upgrades: Upgrades::default(),
            is_unsaved: false,
            earlier: Vec::new(),
            refused_file: None,
            tried: None,
            written: None,
            checks: HashMap::new(),
        };
        let (is_draining, drains) = (AtomicBool::new(false), Notify::new());
        Self { inner: Mutex::new(inner), is_draining, drains, fleet }
    }

    /// Nothing panics while it is locked.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn running(&self) -> Running {
        self.lock().running.clone()
    }

    pub(super) fn history(&self) -> Vec<Reload> {
        self.lock().history.iter().cloned().collect()
    }

    pub(super) fn counts(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.published, inner.refused)
    }

    pub(super) fn upgrades(&self) -> Upgrades {
        self.lock().upgrades.clone()
    }

    pub(super) fn upgrade(&self, change: impl FnOnce(&mut Upgrades)) {
        change(&mut self.lock().upgrades);
    }

    pub(super) fn is_unsaved(&self) -> bool {
        self.lock().is_unsaved
    }

    /// A change that is in the file, or not, was made; a whole file replaces all earlier ones.
    pub(super) fn save(&self, is_saved: bool, is_whole: bool) {
        let mut inner = self.lock();
        inner.is_unsaved = !is_saved || (inner.is_unsaved && !is_whole);
    }

    pub(super) fn times(&self) -> ReloadTimes {
        self.lock().times
    }

    pub(super) fn generations_alive(&self) -> usize {
        let mut inner = self.lock();
        inner.earlier.retain(|snapshot| snapshot.strong_count() > 0);
        1 + inner.earlier.len()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.load(Relaxed)
    }

    pub(super) fn drain(&self) {
        self.is_draining.store(true, Relaxed);
        self.drains.notify_waiters();
    }

    pub(super) async fn drained(&self) {
        let drains = self.drains.notified();
        if !self.is_draining() {
            drains.await;
        }
    }

    pub(super) fn fleet(&self) -> Option<&Place> {
        self.fleet.as_ref()
    }

    pub(super) fn written(&self) -> Option<[u8; 32]> {
        self.lock().written
    }

    pub(super) fn note_check(&self, target: usize, failed: Option<String>) {
        let mut inner = self.lock();
        match failed {
            Some(words) => drop(inner.checks.insert(target, words)),
            None => drop(inner.checks.remove(&target)),
        }
    }

    pub(super) fn checks(&self) -> HashMap<usize, String> {
        self.lock().checks.clone()
    }

    pub(super) fn refused_file(&self) -> Option<Refused> {
        self.lock().refused_file.clone()
    }

    /// The whole file was asked for, and how that ended.
    pub(super) fn judge_file(&self, words: &str, result: &Result<Applied, Refusal>) {
        self.lock().refused_file = result.as_ref().err().map(|refusal| Refused {
            at: SystemTime::now(),
            words: words.to_owned(),
            reason: refusal.reason.clone(),
        });
    }

    pub(super) fn tried(&self) -> Option<Arc<Seen>> {
        self.lock().tried.clone()
    }

    pub(super) fn try_out(&self, files: Seen) {
        self.lock().tried = Some(Arc::new(files));
    }

    pub(super) fn write(&self, digest: [u8; 32]) {
        self.lock().written = Some(digest);
    }

    pub(super) fn publish(&self, config: Config, snapshot: Arc<Snapshot>, failures: Vec<Failure>) {
        let mut inner = self.lock();
        let before = Arc::downgrade(&inner.running.snapshot);
        inner.earlier.retain(|snapshot| snapshot.strong_count() > 0);
        inner.earlier.push(before);
        inner.running = Running { config: Arc::new(config), snapshot, failures: failures.into() };
    }

    /// A change is being made from now on.
    pub(super) fn begin(&self, words: String, started: Instant) {
        self.lock().under_way = Some((words, started));
    }

    /// The change that is being made, and for how long.
    pub(super) fn under_way(&self) -> Option<(String, Duration)> {
        let under_way = self.lock().under_way.clone();
        under_way.map(|(words, started)| (words, started.elapsed()))
    }

    pub(super) fn note(&self, words: String, started: Instant, result: &Result<Applied, Refusal>) {
        {
            let mut inner = self.lock();
            inner.times.time_total += started.elapsed();
            inner.under_way = None;
        }
        let outcome = match result {
            Ok(done) => {
                let mut inner = self.lock();
                inner.published += 1;
                inner.times.last_success = SystemTime::now();
                Outcome::Published(done.generation)
            }
            Err(refusal) => {
                self.lock().refused += 1;
                Outcome::Refused(refusal.reason.clone())
            }
        };
        self.remember(words, started, outcome);
    }

    /// Adds to the history.
    pub(super) fn remember(&self, words: String, started: Instant, outcome: Outcome) {
        let mut inner = self.lock();
        let (at, took) = (SystemTime::now(), started.elapsed());
        inner.history.truncate(RELOADS_REMEMBERED - 1);
        inner.history.push_front(Reload { at, words, took, outcome });
    }
}
