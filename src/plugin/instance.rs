//! One living instance of a plugin: made, called, cleaned up.
//!
//! Belongs to one worker. A call always runs asynchronously: what computes longer than a tick gives
//! the worker back and sleeps a moment; what runs past its deadline is killed. After any failure
//! the instance must be thrown away: the guest's stack pointer and locks are where the failure
//! left them.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use send_wrapper::SendWrapper;
use wasmtime::{Func, Memory, Store, StoreContextMut, UpdateDeadline, Val};

use super::abi::Guest;
use super::failure::{CallError, Exited};
use super::host::Host;
use super::hostcalls;
use super::log::Ids;
use super::module::{Loaded, Plugin, Start};
use super::state::HostState;
use crate::limits;

/// Ticks until a call first yields: two, so that a short call is not put to sleep by a tick that
/// happens to fall into it.
const TICKS_BEFORE_YIELD: u64 = 2;

/// One instance and all that belongs to it.
pub(super) struct Instance {
    pub(super) store: Store<HostState>,
    pub(super) memory: Memory,
    pub(super) guest: Guest,
    /// The last tick that it had, by its pool's count.
    pub(super) ticked: u64,
}

impl Instance {
    /// Instantiates the module and starts it as its ABI says, all within the plugin's timeout.
    pub(super) async fn new(
        plugin: &Arc<Plugin>,
        loaded: &Loaded,
        host: &Rc<Host>,
    ) -> Result<Self, CallError> {
        let deadline = Instant::now() + plugin.spec.timeout;
        let state = HostState::new(Arc::clone(plugin), Rc::clone(host), deadline);
        let mut store = Store::try_new(loaded.pre.module().engine(), state)?;
        store.limiter(|state| state);
        store.epoch_deadline_callback(yield_or_end);
        store.set_epoch_deadline(TICKS_BEFORE_YIELD);
        let instance = loaded
            .pre
            .instantiate_async(&mut store)
            .await
            .map_err(|error| CallError::from(error).during("instantiation"))?;
        let memory = instance
            .get_memory(&mut store, "memory")
            .ok_or_else(|| CallError::trap("the module exports no memory"))?;
        store.data_mut().memory = Some(memory);
        let started = loaded.abi.start(&instance, &mut store).await;
        let guest =
            started.map_err(|error| error.after(hostcalls::last_words(store.data_mut())))?;
        Ok(Self { store, memory, guest, ticked: 0 })
    }

    /// A call begins: until when it must be over, and what the log tells of it.
    pub(super) fn begin(&mut self, deadline: Instant, ids: Ids<'_>) {
        let state = self.store.data_mut();
        state.deadline = deadline;
        state.set_ids(ids);
        self.store.set_epoch_deadline(TICKS_BEFORE_YIELD);
    }

    /// The next call is for a request that has passed these (`CDN-Loop`).
    pub(super) fn set_passed(&mut self, passed: &[u8]) {
        let known = &mut self.store.data_mut().passed;
        known.clear();
        known.extend_from_slice(passed);
    }

    /// Whether there is a `cleanup()` to call.
    pub(super) fn has_cleanup(&self) -> bool {
        self.guest.cleanup().is_some()
    }

    /// Calls `cleanup()`: the instance is to be freed.
    pub(super) async fn cleanup(&mut self) -> Result<(), CallError> {
        let Some(cleanup) = self.guest.cleanup() else {
            return Ok(());
        };
        let timeout = self.store.data().plugin.spec.timeout;
        self.begin(Instant::now() + timeout, Ids::default());
        let result = call_plain(cleanup, &mut self.store).await;
        hostcalls::end_of_call(self.store.data_mut());
        result.map_err(|error| error.during("cleanup").after(&self.store.data().words))
    }

    /// Calls `on_tick()`, within the plugin's timeout.
    pub(super) async fn tick(&mut self) -> Result<(), CallError> {
        let Some(on_tick) = self.guest.on_tick() else {
            return Ok(());
        };
        let timeout = self.store.data().plugin.spec.timeout;
        self.begin(Instant::now() + timeout, Ids::default());
        let state = self.store.data_mut();
        state.passed.clear();
        state.arena.rewind();
        let result = call_plain(on_tick, &mut self.store).await;
        hostcalls::end_of_call(self.store.data_mut());
        result.map_err(|error| error.during("on_tick").after(&self.store.data().words))
    }

    /// How many bytes the guest's memory has now.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory.data_size(&self.store)
    }
}

/// What happens when a tick falls into a call: the end, if its time is over; else the worker is
/// given back for a moment.
///
/// By a timer, never by waking ourselves: in this runtime a task that wakes itself starves every
/// timer and every other task of its worker.
#[expect(clippy::needless_pass_by_value, reason = "the type that wasmtime gives to its callback")]
fn yield_or_end(store: StoreContextMut<'_, HostState>) -> wasmtime::Result<UpdateDeadline> {
    store.data().check_deadline()?;
    let pause = SendWrapper::new(crate::io::sleep(limits::PLUGIN_YIELD));
    Ok(UpdateDeadline::YieldCustom(1, Box::pin(pause)))
}

/// Brings a fresh instance to life: `_initialize` or `_start`.
pub(super) async fn start(
    how: Start,
    instance: &wasmtime::Instance,
    store: &mut Store<HostState>,
) -> Result<(), CallError> {
    let name = match how {
        Start::Library => "_initialize",
        Start::Command => "_start",
        Start::None => return Ok(()),
    };
    let Some(function) = instance.get_func(&mut *store, name) else {
        return Ok(());
    };
    match function.call_async(&mut *store, &[], &mut []).await {
        Ok(()) => Ok(()),
        // A command says so when it is done; it stays loaded.
        Err(error) if error.downcast_ref::<Exited>().is_some_and(|exit| exit.code == 0) => Ok(()),
        Err(error) => Err(CallError::from(error).during(name)),
    }
}

/// Calls a function without parameters, whatever it returns.
pub(super) async fn call_plain(
    function: Func,
    store: &mut Store<HostState>,
) -> Result<(), CallError> {
    let count = function.ty(&*store).results().len();
    let mut results = vec![Val::I32(0); count];
    Ok(function.call_async(store, &[], &mut results).await?)
}
