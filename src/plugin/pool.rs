//! The instances of one worker.
//!
//! Never leaves its thread, so nothing here is locked. A call takes an instance out and gives it
//! back by dropping its [`Lease`]; one that failed, or whose future was dropped in the middle, is
//! thrown away and replaced by a task in the background. A caller that finds none waits in order of
//! arrival until its own deadline.

mod lease;
mod report;
mod resident;
mod health;
mod ticking;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::failure::CallError;
use super::host::Host;
use super::instance::Instance;
use super::log::{Ids, PluginLog};
use super::module::{Loaded, Plugin};
use super::proxy_wasm::Filter;
use super::scene::Scene;
use super::spec::LogLevel;
use super::stats::{ErrorKind, LastFailure, PluginReport, PluginStats};
use super::waiting::{Grant, Queue};
use crate::durations::Durations;
use crate::kv::Stores;
use crate::limits;
use crate::upstream::call::Client;
use health::{BackedOff, CallHealth};
pub(super) use lease::Lease;
use lease::Place;

/// One worker's instances of all plugins. Cheap to clone, never leaves its thread.
#[derive(Clone, Default)]
pub struct Pools {
    inner: Rc<Inner>,
}

#[derive(Default)]
struct Inner {
    /// By the address of the plugin, which a pool keeps alive.
    pools: RefCell<HashMap<*const Plugin, Rc<Pool>, ahash::RandomState>>,
    scratch: RefCell<Vec<Vec<u8>>>,
    json_buffers: RefCell<simd_json::Buffers>,
    /// What the plugins have counted whose pools are gone.
    gone: RefCell<Vec<PluginReport>>,
    /// Reports that are being made.
    reporting: Cell<u32>,
    closed: Rc<Cell<bool>>,
    client: Rc<Client>,
    stores: Stores,
    /// What stands for the world, for the first pool: an author's tests have one plugin.
    scene: Cell<Option<Scene>>,
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pools = self.inner.pools.borrow();
        f.debug_list().entries(pools.values().map(|pool| &pool.plugin.spec.name)).finish()
    }
}

/// A plugin whose instances could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrepareFailure {
    /// The plugin's name.
    pub plugin: String,
    /// Why.
    pub reason: String,
}

impl Pools {
    /// No instances, and a client of its own for their calls.
    pub fn new() -> Self {
        Self::default()
    }

    /// No instances; their calls are made by `client`.
    pub fn with_client(client: Client) -> Self {
        let inner = Inner { client: Rc::new(client), ..Inner::default() };
        Self { inner: Rc::new(inner) }
    }

    /// No instances; what stands for the world of the one plugin that there will be.
    pub(super) fn in_scene(scene: Scene) -> Self {
        let inner = Inner { scene: Cell::new(Some(scene)), ..Inner::default() };
        Self { inner: Rc::new(inner) }
    }

    /// Makes the instances of these plugins that are to be there before the first request. Those
    /// that exist are kept. A plugin that failed to load is passed over.
    pub async fn prepare(&self, plugins: &[Arc<Plugin>]) -> Vec<PrepareFailure> {
        let mut failures = Vec::new();
        for plugin in plugins {
            let Some(pool) = self.pool(plugin) else {
                continue;
            };
            pool.retired.set(false);
            pool.begin_to_tick();
            while pool.live.get() < pool.premade() {
                let made = match plugin.is_resident() {
                    true => pool.filter(Instant::now() + plugin.spec.timeout).await.map(drop),
                    false => pool.make_one(Place::take(&pool)).await,
                };
                if let Err(error) = made {
                    failures.push(PrepareFailure {
                        plugin: plugin.spec.name.clone(),
                        reason: error.text,
                    });
                    break;
                }
            }
            if plugin.shares_instance() && !plugin.is_resident() {
                // Beside those of its calls, the one that bodies pass.
                let made = pool.filter(Instant::now() + plugin.spec.timeout).await;
                if let Err(error) = made {
                    let plugin = plugin.spec.name.clone();
                    failures.push(PrepareFailure { plugin, reason: error.text });
                }
            }
        }
        failures
    }

    /// Lets go of the instances of all other plugins, after their `cleanup()`: idle ones now, busy
    /// ones when their call ends. An exchange that still holds an old snapshot is served on.
    pub async fn retire(&self, keep: &[Arc<Plugin>]) {
        self.forget_dead();
        let leaving: Vec<Rc<Pool>> = {
            let pools = self.inner.pools.borrow();
            let kept = |pool: &Pool| keep.iter().any(|kept| Arc::ptr_eq(kept, &pool.plugin));
            pools.values().filter(|pool| !kept(pool)).cloned().collect()
        };
        leaving.iter().for_each(|pool| pool.retired.set(true));
        // All of them leave before the first is waited for, and side by side: one whose cleanup
        // takes its whole timeout keeps nobody.
        let mut disposals = Vec::new();
        for pool in leaving {
            if let Some(filter) = pool.resident.take() {
                disposals.push(crate::io::spawn(filter.retire()));
            }
            for instance in pool.idle.take() {
                let pool = Rc::clone(&pool);
                disposals.push(crate::io::spawn(async move { pool.dispose(instance).await }));
            }
        }
        for disposal in disposals {
            disposal.await;
        }
        self.forget_dead();
    }

    /// Ends all instances after their `cleanup()`, and makes no more: the worker has served its
    /// last exchange. The plugins' timeouts bound how long that takes.
    pub async fn end(&self) {
        self.retire(&[]).await;
        // Those that came back or were being made a moment ago go by tasks of their own.
        while self.inner.pools.borrow().values().any(|pool| pool.live.get() > 0) {
            crate::io::sleep(limits::PLUGIN_YIELD).await;
        }
        self.close();
    }

    /// Stops making instances. To be called inside the worker's runtime; what is dropped after it,
    /// with the runtime, may no longer start tasks.
    pub fn close(&self) {
        self.inner.closed.set(true);
    }

    /// Calls `see` with each plugin and its counts; a retired plugin is among them as long as an
    /// exchange may still call it.
    pub fn stats(&self, mut see: impl FnMut(&Arc<Plugin>, PluginStats)) {
        self.forget_dead();
        for pool in self.inner.pools.borrow().values() {
            see(&pool.plugin, pool.stats_now());
        }
    }

    /// This worker's connections to Redis.
    pub fn stores(&self) -> &Stores {
        &self.inner.stores
    }

    /// The pool of a plugin; `None` if the plugin failed to load.
    pub(super) fn pool(&self, plugin: &Arc<Plugin>) -> Option<Rc<Pool>> {
        let key = Arc::as_ptr(plugin);
        if let Some(pool) = self.inner.pools.borrow().get(&key) {
            return Some(Rc::clone(pool));
        }
        let pool = Rc::new(Pool::new(plugin, &self.inner)?);
        self.inner.pools.borrow_mut().insert(key, Rc::clone(&pool));
        Some(pool)
    }

    /// The pool of a plugin that is to be called; the error says why it cannot be.
    #[inline]
    pub(super) fn to_call(&self, plugin: &Arc<Plugin>) -> Result<Rc<Pool>, CallError> {
        let refused = || CallError::refused(plugin.load_error().unwrap_or("not loaded"));
        self.pool(plugin).ok_or_else(refused)
    }

    /// Lends the parser's buffers. Nothing waits while they are lent.
    pub(super) fn with_json_buffers<R>(
        &self,
        use_them: impl FnOnce(&mut simd_json::Buffers) -> R,
    ) -> R {
        use_them(&mut self.inner.json_buffers.borrow_mut())
    }

    /// An empty buffer for an input or an output.
    pub(super) fn take_scratch(&self) -> Vec<u8> {
        self.inner.scratch.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives a buffer back, for the next call; one without memory is of no use to it.
    pub(super) fn give_scratch(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() == 0 {
            return;
        }
        let mut kept = self.inner.scratch.borrow_mut();
        if buffer.capacity() <= limits::PLUGIN_SCRATCH_BYTES_KEPT
            && kept.len() < limits::PLUGIN_SCRATCH_KEPT_MAX
        {
            buffer.clear();
            kept.push(buffer);
        }
    }
}

/// One worker's instances of one plugin.
pub(super) struct Pool {
    plugin: Arc<Plugin>,
    host: Rc<Host>,
    /// The one given back last is taken first: its memory is warm.
    idle: RefCell<Vec<Instance>>,
    waiting: Queue<Lease>,
    /// Instances that exist or are being made.
    live: Cell<u32>,
    stats: RefCell<PluginStats>,
    durations: RefCell<Durations>,
    last_failure: RefCell<Option<LastFailure>>,
    /// Of instances that could not be made.
    backoff: Cell<BackedOff>,
    /// Of calls that ended their instance.
    health: Cell<CallHealth>,
    /// The one instance that all exchanges share, of a plugin that has one.
    resident: RefCell<Option<Rc<Filter>>>,
    is_making: Cell<bool>,
    /// Those who wait until it is made.
    awaiting: Queue<()>,
    /// Whether its timer runs, and how often it has ticked.
    is_ticking: Cell<bool>,
    ticks: Cell<u64>,
    retired: Cell<bool>,
    closed: Rc<Cell<bool>>,
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.plugin.leave_pool();
    }
}

impl Pool {
    fn new(plugin: &Arc<Plugin>, inner: &Inner) -> Option<Self> {
        let spec = &plugin.spec;
        let sink = Arc::clone(&plugin.loaded().ok()?.log_sink);
        let log = PluginLog::new(&spec.name, spec.log_level, sink);
        let state = spec.reach.state.as_ref();
        let store = state.map(|state| inner.stores.open(state));
        let mut host = Host::new(log, Rc::clone(&inner.client), store);
        if let Some(scene) = inner.scene.take() {
            host.scene = scene;
        }
        let plugin = Arc::clone(plugin);
        plugin.enter_pool();
        Some(Self {
            plugin,
            host: Rc::new(host),
            idle: RefCell::default(),
            waiting: Queue::new(),
            live: Cell::new(0),
            stats: RefCell::default(),
            durations: RefCell::default(),
            last_failure: RefCell::default(),
            backoff: Cell::default(),
            health: Cell::default(),
            resident: RefCell::default(),
            is_making: Cell::new(false),
            awaiting: Queue::new(),
            is_ticking: Cell::new(false),
            ticks: Cell::new(0),
            retired: Cell::new(false),
            closed: Rc::clone(&inner.closed),
        })
    }

    /// Takes an instance out: an idle one, else a new one if there may be more, else the first
    /// that comes back before `deadline`.
    pub(super) async fn lease(self: &Rc<Self>, deadline: Instant) -> Result<Lease, CallError> {
        let probe = self.admit()?;
        let lease = self.lease_admitted(deadline).await?;
        probe.pass();
        Ok(lease)
    }

    async fn lease_admitted(self: &Rc<Self>, deadline: Instant) -> Result<Lease, CallError> {
        if let Some(instance) = self.idle.borrow_mut().pop() {
            return Ok(Lease::new(self, instance));
        }
        if self.live.get() < self.limit() {
            match self.instantiate(Place::take(self)).await {
                Ok(instance) => return Ok(Lease::new(self, instance)),
                Err(error) if self.live.get() == 0 => return Err(error),
                // The others of this plugin are alive (it is the process that has no more room, or
                // one start that failed): wait for one of them.
                Err(_) => {}
            }
        }
        loop {
            match self.waiting.wait(deadline).await {
                Some(Grant::Instance(mut lease)) => {
                    lease.is_reusable = false;
                    return Ok(lease);
                }
                Some(Grant::Place) => match self.instantiate(Place::take(self)).await {
                    Ok(instance) => return Ok(Lease::new(self, instance)),
                    Err(error) if self.live.get() == 0 => return Err(error),
                    Err(_) => {}
                },
                None => {
                    let (timeout, limit) = (self.plugin.spec.timeout, self.limit());
                    let text = format!(
                        "plugin execution timeout: none of {limit} instances on this worker came \
                         free within {timeout:?} (maxInstances, timeout)"
                    );
                    return Err(CallError::new(ErrorKind::Timeout, text));
                }
            }
        }
    }

    /// Counts a call, and tells the log of a failed one.
    pub(super) fn count(&self, started: Instant, ids: Ids<'_>, error: Option<&CallError>) {
        let kind = error.map(|error| error.kind);
        let took = started.elapsed();
        self.stats.borrow_mut().count(took, kind);
        self.durations.borrow_mut().record(took);
        if let Some(error) = error {
            self.remember(error);
            let (kind, mode) = (error.kind.as_str(), self.plugin.spec.failure_mode.as_str());
            let text = format!("{error} (kind {kind}, failure mode {mode})");
            self.host.log.gateway(LogLevel::Error, ids, &text);
        }
    }

    /// Makes an instance and puts it among the idle ones.
    async fn make_one(self: &Rc<Self>, place: Place) -> Result<(), CallError> {
        let instance = self.instantiate(place).await?;
        self.put(instance);
        Ok(())
    }

    async fn instantiate(self: &Rc<Self>, place: Place) -> Result<Instance, CallError> {
        let backoff = self.backoff.get();
        if let Some(left) = backoff.left(Instant::now()) {
            let failures = backoff.failures;
            return Err(self.echo(format!(
                "could not be started {failures} times, tried again in {left:.1?}"
            )));
        }
        let loaded = self.loaded()?;
        match Instance::new(&self.plugin, loaded, &self.host).await {
            Ok(instance) => {
                place.keep();
                self.backoff.set(BackedOff::default());
                self.stats.borrow_mut().instances_made += 1;
                Ok(instance)
            }
            Err(error) => {
                self.failed_to_start(&error);
                drop(place);
                Err(error)
            }
        }
    }

    fn loaded(&self) -> Result<&Loaded, CallError> {
        self.plugin.loaded().map_err(CallError::refused)
    }

    fn failed_to_start(&self, error: &CallError) {
        // A full process says nothing about the plugin.
        if error.kind != ErrorKind::Refused {
            self.backoff.set(self.backoff.get().after_failure(Instant::now()));
        }
        self.remember(error);
        let text = format!("no instance: {error}");
        self.host.log.gateway(LogLevel::Error, Ids::default(), &text);
    }

    /// Takes an instance back that is fit for another call.
    fn put(self: &Rc<Self>, instance: Instance) {
        if self.closed.get() {
            self.live.set(self.live.get() - 1);
            return;
        }
        let mut lease = Lease::new(self, instance);
        lease.is_reusable = true;
        let Err(mut lease) = self.waiting.grant(lease) else {
            return;
        };
        let Some(instance) = lease.instance.take() else {
            return;
        };
        if self.retired.get() {
            let pool = Rc::clone(self);
            crate::io::spawn(async move { pool.dispose(instance).await });
        } else {
            self.idle.borrow_mut().push(instance);
        }
    }

    /// An instance has served the one call that it was made for.
    fn spent(self: &Rc<Self>, mut instance: Instance) {
        if self.closed.get() || !instance.has_cleanup() {
            drop(instance);
            self.lost();
            return;
        }
        // The exchange doesn't wait for it.
        let pool = Rc::clone(self);
        crate::io::spawn(async move {
            pool.clean_up(&mut instance).await;
            drop(instance);
            pool.lost();
        });
    }

    /// An instance is gone: another is made in its place, in the background.
    fn lost(self: &Rc<Self>) {
        self.live.set(self.live.get() - 1);
        if self.closed.get() {
            return;
        }
        let premade = if self.retired.get() { 0 } else { self.premade() };
        if !self.waiting.is_empty() || self.live.get() < premade {
            // The place is taken now, the instance made when the worker comes to it.
            let (pool, place) = (Rc::clone(self), Place::take(self));
            crate::io::spawn(async move {
                // Its failure is in the log; whoever waits learns of it.
                let _told = pool.make_one(place).await;
            });
        }
    }

    /// Calls `cleanup()` and frees the instance.
    async fn dispose(self: &Rc<Self>, mut instance: Instance) {
        let place = Place { pool: Rc::clone(self) };
        self.clean_up(&mut instance).await;
        drop(instance);
        drop(place);
    }

    /// Calls `cleanup()`. What goes wrong in it is told and counted; no request pays for it.
    async fn clean_up(&self, instance: &mut Instance) {
        if let Err(error) = instance.cleanup().await {
            self.stats.borrow_mut().count_error(error.kind);
            self.remember(&error);
            let kind = error.kind.as_str();
            self.host.log.gateway(
                LogLevel::Warn,
                Ids::default(),
                &format!("{error} (kind {kind})"),
            );
        }
    }

    fn limit(&self) -> u32 {
        // One more, which bodies pass: no call is made of it.
        self.plugin.spec.instances_per_worker() + u32::from(self.plugin.shares_instance())
    }

    fn premade(&self) -> u32 {
        match self.plugin.is_resident() {
            true => 1,
            false => self.plugin.spec.premade.min(self.limit()),
        }
    }
}

#[cfg(test)]
mod tests;
