//! One pinned thread, one monoio runtime, one [`Worker`]: everything that the requests of a core
//! share, and nothing that another core touches.
//!
//! Life: make the plugins' instances, accept, serve, drain. The thread never blocks, locks or
//! reads a file once it serves.

pub mod mailbox;
pub mod report;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use self::mailbox::{Inbox, Mail};
use self::report::{Report, TargetCounts, TimerDelay};
use crate::downstream::frontend::Frontend;
use crate::downstream::handover::Handover;
use crate::downstream::listener::{self, Listeners};
use crate::exchange::Core;
use crate::exchange::core::Published;
use crate::io::deadline::now_ms;
use crate::io::pace::Pace;
use crate::io::{sleep, spawn};
use crate::limits::{POOL_SWEEP_INTERVAL, TARGETS_REPORTED_MAX, TUNNEL_DRAIN_MARGIN};
use crate::plugin::PrepareFailure;
use crate::upstream::cluster::Cluster;

/// One worker. `!Send`: its tasks share it by `Rc`.
pub struct Worker {
    frontend: Rc<Frontend>,
    timer_delay: Cell<TimerDelay>,
}

impl Worker {
    /// Worker `id`, with its first snapshot. On the worker's own thread.
    pub fn new(id: usize, published: Published) -> Rc<Self> {
        let frontend = Frontend::new(Core::new(id, published));
        Rc::new(Self { frontend, timer_delay: Cell::default() })
    }

    /// What its exchanges share.
    pub fn core(&self) -> &Rc<Core> {
        &self.frontend.core
    }

    /// Its client side.
    pub fn frontend(&self) -> &Rc<Frontend> {
        &self.frontend
    }

    /// All that was counted. Pauses now and then: requests come first.
    pub async fn report(&self) -> Report {
        let mut pace = Pace::default();
        let core = self.core();
        let plugins = core.plugins().report(&mut pace).await;
        let services = core.copy_services(&mut pace).await;
        Report {
            worker: core.id,
            ended: core.ended(),
            rejected: core.rejected(),
            connections: self.frontend.counts(),
            handshakes_waiting: self.frontend.handshakes_waiting(),
            connections_open: self.frontend.open(),
            buffered_bytes: core.budget().used(),
            access_lines_dropped: core.access_lines_dropped(),
            spans_dropped: core.spans_lost(),
            timer_delay: self.timer_delay.get(),
            targets: self.targets(),
            services,
            plugins,
        }
    }

    /// What is known of the targets of the snapshot.
    fn targets(&self) -> Vec<TargetCounts> {
        let (core, now_ms) = (self.core(), now_ms());
        let (snapshot, admission) = (core.snapshot(), core.targets().admission());
        let clusters = snapshot.services.iter().map(|service| &*service.cluster);
        let endpoints = clusters.flat_map(|cluster| match cluster {
            Cluster::Endpoints(endpoints) => endpoints.iter(),
            Cluster::Echo => [].iter(),
        });
        endpoints
            .take(TARGETS_REPORTED_MAX)
            .map(|endpoint| TargetCounts {
                target: endpoint.target,
                under_way: admission.under_way(endpoint.target),
                waiting: admission.waiting(endpoint.target),
                latency_micros: admission.latency(endpoint.target, now_ms),
            })
            .collect()
    }
}

/// Runs a worker to its end: prepares, says through `ready` what could not be made, does what the
/// control plane asks of it, and returns when it has drained.
pub async fn run(worker: Rc<Worker>, inbox: Inbox, ready: impl FnOnce(Vec<PrepareFailure>)) {
    let failures = worker.core().plugins().prepare(&worker.core().snapshot().plugins).await;
    spawn(sweep_deadlines(worker.clone()));
    spawn(sweep_pool(worker.clone()));
    ready(failures);
    let (ended, has_ended) = oneshot::channel();
    spawn(read_mail(worker, inbox, ended));
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
                let plugins = worker.core().plugins().clone();
                spawn(async move { ready(plugins.prepare(&snapshot.plugins).await) });
            }
            Some(Mail::Retire { keep }) => {
                // An idle worker would hold the old snapshot until its next exchange.
                let snapshot = worker.core().snapshot();
                let is_there = |name: &str| snapshot.services.iter().any(|one| one.name == name);
                worker.core().tunnels().keep_those_of(is_there);
                let plugins = worker.core().plugins().clone();
                spawn(async move { plugins.retire(&keep.plugins).await });
            }
            Some(Mail::Report { reply }) => {
                let worker = worker.clone();
                spawn(async move { reply(worker.report().await) });
            }
            Some(Mail::Listen { sockets, done }) => {
                listeners.open(&worker.frontend, sockets);
                done(());
            }
            Some(Mail::Unlisten { ids, holds_alone }) => {
                let listeners = listeners.clone();
                spawn(async move { listeners.close_some(&ids, holds_alone).await });
            }
            Some(Mail::Serve(accepted)) => listener::serve(accepted, &worker.frontend),
            Some(Mail::Drain { handover, holds_alone, timeout }) => {
                spawn(end_tunnels(worker.clone(), timeout));
                start_drain(&worker, &listeners, handover, holds_alone, ended.take());
            }
            None => return start_drain(&worker, &listeners, None, false, ended.take()),
        }
    }
}

/// Begins to drain; a second time changes nothing.
fn start_drain(
    worker: &Rc<Worker>,
    listeners: &Rc<Listeners>,
    handover: Option<Arc<Handover>>,
    holds_alone: bool,
    ended: Option<oneshot::Sender<()>>,
) {
    let Some(ended) = ended else { return };
    let (worker, listeners) = (worker.clone(), listeners.clone());
    spawn(async move {
        worker.frontend.start_drain(handover);
        listeners.close(holds_alone).await;
        worker.frontend.drained().await;
        let core = worker.core();
        core.plugins().end().await;
        core.flush_access_lines();
        drop(ended);
    });
}

/// Ends the tunnels that are still open shortly before the process is cut.
async fn end_tunnels(worker: Rc<Worker>, timeout: Duration) {
    let margin = TUNNEL_DRAIN_MARGIN.min(timeout / 2);
    sleep(timeout.saturating_sub(margin)).await;
    worker.core().tunnels().end_all();
}

async fn sweep_deadlines(worker: Rc<Worker>) {
    worker.core().deadlines().run().await;
}

async fn sweep_pool(worker: Rc<Worker>) {
    loop {
        let due = Instant::now() + POOL_SWEEP_INTERVAL;
        sleep(POOL_SWEEP_INTERVAL).await;
        let mut delay = worker.timer_delay.get();
        delay.record(due.elapsed());
        worker.timer_delay.set(delay);
        let core = worker.core();
        let age = core.snapshot().timeouts.upstream_idle;
        core.pool().sweep(age);
        core.buffers().trim();
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
