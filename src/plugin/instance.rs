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
use wasmtime::{Func, Memory, Store, StoreContextMut, TypedFunc, UpdateDeadline, Val};

use super::failure::{CallError, Exited};
use super::host::Host;
use super::hostcalls;
use super::log::Ids;
use super::memory::{self, Allocator, Free, Region};
use super::module::{AllocatorShape, Loaded, Plugin, ResultForm, Start};
use super::state::HostState;
use crate::limits;

/// Ticks until a call first yields: two, so that a short call is not put to sleep by a tick that
/// happens to fall into it.
const TICKS_BEFORE_YIELD: u64 = 2;

/// Which function of the guest is called with an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// `execute`.
    Execute,
    /// `on_request` of a `response` plugin.
    OnRequest,
}

/// A function that takes the place of an input and gives that of an output.
enum EntryFunction {
    Packed(TypedFunc<(i32, i32), i64>),
    Pair(TypedFunc<(i32, i32), (i32, i32)>),
}

/// One instance and all that belongs to it.
pub(super) struct Instance {
    store: Store<HostState>,
    memory: Memory,
    execute: EntryFunction,
    on_request: Option<EntryFunction>,
    cleanup: Option<Func>,
    input: Region,
}

impl Instance {
    /// Instantiates the module and runs `_initialize` or `_start`, then `init()`, all within the
    /// plugin's timeout.
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
        store.data_mut().allocator = allocator(&instance, &mut store, loaded)?;
        start(&instance, &mut store, loaded).await?;
        let shape = &loaded.shape;
        let on_request = match shape.on_request {
            Some(form) => Some(entry(&instance, &mut store, "on_request", form)?),
            None => None,
        };
        Ok(Self {
            execute: entry(&instance, &mut store, "execute", shape.execute)?,
            on_request,
            cleanup: instance.get_func(&mut store, "cleanup").filter(|_| shape.has_cleanup),
            memory,
            store,
            input: Region::default(),
        })
    }

    /// The next call is for a request that has passed these (`CDN-Loop`).
    pub(super) fn set_passed(&mut self, passed: &[u8]) {
        let known = &mut self.store.data_mut().passed;
        known.clear();
        known.extend_from_slice(passed);
    }

    /// Calls `entry` with `input` and puts what it answers, at most `most` bytes, into `output`.
    pub(super) async fn call(
        &mut self,
        entry: Entry,
        input: &[u8],
        ids: Ids<'_>,
        deadline: Instant,
        most: usize,
        output: &mut Vec<u8>,
    ) -> Result<(), CallError> {
        let state = self.store.data_mut();
        state.deadline = deadline;
        state.set_ids(ids);
        state.arena.rewind();
        self.store.set_epoch_deadline(TICKS_BEFORE_YIELD);

        if input.len() > self.input.bytes as usize {
            let (memory, have) = (self.memory, self.input);
            self.input = memory::reserve(&mut self.store, memory, have, input.len()).await?;
        }
        let (address, length) = (self.input.address, input.len() as u32); // reserved: < 2^31
        let data = self.memory.data_mut(&mut self.store);
        let size = data.len();
        memory::slice_mut(data, address, length)
            .ok_or_else(|| memory::out_of_bounds("the input", address, length, size))?
            .copy_from_slice(input);

        let place = (address.cast_signed(), length.cast_signed());
        let answered = self.enter(entry, place).await;
        hostcalls::end_of_call(self.store.data_mut());
        let (address, length) = answered?;
        self.copy_output(address, length, most, output)
    }

    /// Runs the guest; where it says its output is.
    async fn enter(&mut self, entry: Entry, place: (i32, i32)) -> Result<(u32, u32), CallError> {
        let function = match entry {
            Entry::Execute => Some(&self.execute),
            Entry::OnRequest => self.on_request.as_ref(),
        };
        match function {
            Some(EntryFunction::Packed(function)) => {
                let packed = function.call_async(&mut self.store, place).await?.cast_unsigned();
                // The halves of a u64.
                Ok((packed as u32, (packed >> 32) as u32))
            }
            Some(EntryFunction::Pair(function)) => {
                let (address, length) = function.call_async(&mut self.store, place).await?;
                Ok((address.cast_unsigned(), length.cast_unsigned()))
            }
            None => Err(CallError::trap("the module exports no on_request")),
        }
    }

    fn copy_output(
        &self,
        address: u32,
        length: u32,
        most: usize,
        output: &mut Vec<u8>,
    ) -> Result<(), CallError> {
        let data = self.memory.data(&self.store);
        let bytes = memory::slice(data, address, length);
        if !bytes.is_some_and(begins_object) && is_the_other_way_round(data, address, length) {
            return Err(CallError::bad_output(format!(
                "the address and the length of the output are the other way round: the result \
                 says {length} bytes at address {address}, a JSON object of {address} bytes \
                 stands at {length}; the address belongs into the low 32 bits (of two results: it \
                 is the first)"
            )));
        }
        if length as usize > most {
            return Err(CallError::bad_output(format!(
                "output is {length} bytes, limit is {most}"
            )));
        }
        if length == 0 {
            return Err(CallError::bad_output("output is empty, it must be a JSON object"));
        }
        let bytes = bytes.ok_or_else(|| {
            let size = data.len();
            let mut error = memory::out_of_bounds("the output", address, length, size);
            error.kind = super::stats::ErrorKind::BadOutput;
            error
        })?;
        output.clear();
        output.extend_from_slice(bytes);
        Ok(())
    }

    /// Whether there is a `cleanup()` to call.
    pub(super) fn has_cleanup(&self) -> bool {
        self.cleanup.is_some()
    }

    /// Calls `cleanup()`: the instance is to be freed.
    pub(super) async fn cleanup(&mut self) -> Result<(), CallError> {
        let Some(cleanup) = self.cleanup else {
            return Ok(());
        };
        let state = self.store.data_mut();
        state.deadline = Instant::now() + state.plugin.spec.timeout;
        state.set_ids(Ids::default());
        self.store.set_epoch_deadline(TICKS_BEFORE_YIELD);
        let result = call_plain(cleanup, &mut self.store).await;
        hostcalls::end_of_call(self.store.data_mut());
        result.map_err(|error| error.during("cleanup"))
    }

    /// How many bytes the guest's memory has now.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory.data_size(&self.store)
    }
}

/// Whether this can be an output.
fn begins_object(bytes: &[u8]) -> bool {
    bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

/// Whether an object stands where the halves of a result say if they are taken the other way.
fn is_the_other_way_round(memory: &[u8], address: u32, length: u32) -> bool {
    memory::slice(memory, length, address)
        .is_some_and(|bytes| begins_object(bytes) && bytes.trim_ascii_end().ends_with(b"}"))
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

async fn start(
    instance: &wasmtime::Instance,
    store: &mut Store<HostState>,
    loaded: &Loaded,
) -> Result<(), CallError> {
    let name = match loaded.shape.start {
        Start::Library => Some("_initialize"),
        Start::Command => Some("_start"),
        Start::None => None,
    };
    if let Some(function) = name.and_then(|name| instance.get_func(&mut *store, name)) {
        let name = name.unwrap_or_default();
        match function.call_async(&mut *store, &[], &mut []).await {
            Ok(()) => {}
            // A command says so when it is done; it stays loaded for `execute`.
            Err(error) if error.downcast_ref::<Exited>().is_some_and(|exit| exit.code == 0) => {}
            Err(error) => return Err(CallError::from(error).during(name)),
        }
    }
    if loaded.shape.has_init
        && let Some(init) = instance.get_func(&mut *store, "init")
    {
        call_plain(init, store).await.map_err(|error| error.during("init"))?;
    }
    hostcalls::end_of_call(store.data_mut());
    store.data_mut().arena.keep();
    Ok(())
}

/// Calls a function without parameters, whatever it returns.
async fn call_plain(function: Func, store: &mut Store<HostState>) -> Result<(), CallError> {
    let count = function.ty(&*store).results().len();
    let mut results = vec![Val::I32(0); count];
    Ok(function.call_async(store, &[], &mut results).await?)
}

fn entry(
    instance: &wasmtime::Instance,
    store: &mut Store<HostState>,
    name: &str,
    form: ResultForm,
) -> Result<EntryFunction, CallError> {
    Ok(match form {
        ResultForm::Packed => EntryFunction::Packed(instance.get_typed_func(store, name)?),
        ResultForm::Pair => EntryFunction::Pair(instance.get_typed_func(store, name)?),
    })
}

fn allocator(
    instance: &wasmtime::Instance,
    store: &mut Store<HostState>,
    loaded: &Loaded,
) -> Result<Allocator, CallError> {
    Ok(match loaded.shape.allocator {
        AllocatorShape::Sized(name) => Allocator::Sized {
            allocate: instance.get_typed_func(&mut *store, name)?,
            free: free(instance, store, name),
        },
        AllocatorShape::Realloc => {
            Allocator::Realloc(instance.get_typed_func(store, "cabi_realloc")?)
        }
        AllocatorShape::Collected => Allocator::Collected {
            new: instance.get_typed_func(&mut *store, "__new")?,
            pin: instance.get_typed_func(&mut *store, "__pin").ok(),
            unpin: instance.get_typed_func(store, "__unpin").ok(),
        },
        AllocatorShape::HostRegion => Allocator::HostRegion,
    })
}

/// The function that belongs to the allocator called `name`.
fn free(instance: &wasmtime::Instance, store: &mut Store<HostState>, name: &str) -> Free {
    if name == "malloc" {
        return instance.get_typed_func(store, "free").map_or(Free::Never, Free::Address);
    }
    ["dealloc", "deallocate"]
        .into_iter()
        .find_map(|free| instance.get_typed_func(&mut *store, free).ok())
        .map_or(Free::Never, Free::Sized)
}
