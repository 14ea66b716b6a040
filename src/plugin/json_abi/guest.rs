//! A started instance as the JSON ABI calls it: an input goes in, an output comes out.

use std::time::Instant;

use wasmtime::{Func, Store, TypedFunc};

use super::super::failure::CallError;
use super::super::hostcalls;
use super::super::instance::{Instance, call_plain, start};
use super::super::log::Ids;
use super::super::memory::{self, Allocator, Free, Region};
use super::super::state::HostState;
use super::super::stats::ErrorKind;
use super::shape::{AllocatorShape, CLOSE, OPEN, REQUEST_CHUNK, RESPONSE_CHUNK, ResultForm, Shape};

/// Which function of the guest is called with an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plugin) enum Entry {
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

/// What is called of an instance.
pub(in crate::plugin) struct Guest {
    execute: EntryFunction,
    on_request: Option<EntryFunction>,
    pub(in crate::plugin) cleanup: Option<Func>,
    pub(in crate::plugin) on_tick: Option<Func>,
    pub(super) input: Region,
    pub(super) pieces: Box<Pieces>,
}

/// What is called of an instance that bodies pass.
pub(in crate::plugin) struct Pieces {
    pub(super) open: Option<TypedFunc<(i32, i32, i32), ()>>,
    pub(super) on_request: Option<TypedFunc<(i32, i32, i32, i32), i64>>,
    pub(super) on_response: Option<TypedFunc<(i32, i32, i32, i32), i64>>,
    pub(super) close: Option<TypedFunc<i32, ()>>,
}

impl Guest {
    /// Runs what starts the module, then `init()`.
    pub(in crate::plugin) async fn start(
        shape: &Shape,
        instance: &wasmtime::Instance,
        store: &mut Store<HostState>,
    ) -> Result<Self, CallError> {
        store.data_mut().allocator = allocator(instance, store, shape)?;
        start(shape.start, instance, store).await?;
        if shape.has_init
            && let Some(init) = instance.get_func(&mut *store, "init")
        {
            call_plain(init, store).await.map_err(|error| error.during("init"))?;
        }
        hostcalls::end_of_call(store.data_mut());
        store.data_mut().arena.keep();
        let on_request = match shape.on_request {
            Some(form) => Some(entry(instance, store, "on_request", form)?),
            None => None,
        };
        let pieces = Box::new(Pieces {
            open: instance.get_typed_func(&mut *store, OPEN).ok(),
            on_request: instance.get_typed_func(&mut *store, REQUEST_CHUNK).ok(),
            on_response: instance.get_typed_func(&mut *store, RESPONSE_CHUNK).ok(),
            close: instance.get_typed_func(&mut *store, CLOSE).ok(),
        });
        Ok(Self {
            pieces,
            execute: entry(instance, store, "execute", shape.execute)?,
            on_request,
            on_tick: instance.get_func(&mut *store, "on_tick").filter(|_| shape.has_tick),
            cleanup: instance.get_func(&mut *store, "cleanup").filter(|_| shape.has_cleanup),
            input: Region::default(),
        })
    }

    /// Runs the guest; where it says its output is.
    async fn enter(
        &self,
        store: &mut Store<HostState>,
        entry: Entry,
        place: (i32, i32),
    ) -> Result<(u32, u32), CallError> {
        let function = match entry {
            Entry::Execute => Some(&self.execute),
            Entry::OnRequest => self.on_request.as_ref(),
        };
        match function {
            Some(EntryFunction::Packed(function)) => {
                let packed = function.call_async(&mut *store, place).await?.cast_unsigned();
                // The halves of a u64.
                Ok((packed as u32, (packed >> 32) as u32))
            }
            Some(EntryFunction::Pair(function)) => {
                let (address, length) = function.call_async(&mut *store, place).await?;
                Ok((address.cast_unsigned(), length.cast_unsigned()))
            }
            None => Err(CallError::trap("the module exports no on_request")),
        }
    }
}

/// Calls `entry` with `input` and puts what it answers, at most `most` bytes, into `output`.
pub(in crate::plugin) async fn call(
    instance: &mut Instance,
    entry: Entry,
    input: &[u8],
    ids: Ids<'_>,
    deadline: Instant,
    most: usize,
    output: &mut Vec<u8>,
) -> Result<(), CallError> {
    instance.begin(deadline, ids);
    let Instance { store, memory, guest, .. } = instance;
    let (memory, guest) = (*memory, guest.json()?);
    store.data_mut().arena.rewind();
    if input.len() > guest.input.bytes as usize {
        guest.input = memory::reserve(&mut *store, memory, guest.input, input.len()).await?;
    }
    let (address, length) = (guest.input.address, input.len() as u32); // reserved: < 2^31
    let data = memory.data_mut(&mut *store);
    let size = data.len();
    memory::slice_mut(data, address, length)
        .ok_or_else(|| memory::out_of_bounds("the input", address, length, size))?
        .copy_from_slice(input);

    let place = (address.cast_signed(), length.cast_signed());
    let answered = guest.enter(store, entry, place).await;
    hostcalls::end_of_call(store.data_mut());
    let (address, length) = answered.map_err(|error| error.after(&store.data().words))?;
    copy_output(memory.data(&*store), address, length, most, output)
}

fn copy_output(
    data: &[u8],
    address: u32,
    length: u32,
    most: usize,
    output: &mut Vec<u8>,
) -> Result<(), CallError> {
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
        return Err(CallError::bad_output(format!("output is {length} bytes, limit is {most}")));
    }
    if length == 0 {
        return Err(CallError::bad_output("output is empty, it must be a JSON object"));
    }
    let bytes = bytes.ok_or_else(|| {
        let size = data.len();
        let mut error = memory::out_of_bounds("the output", address, length, size);
        error.kind = ErrorKind::BadOutput;
        error
    })?;
    output.clear();
    output.extend_from_slice(bytes);
    Ok(())
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
    shape: &Shape,
) -> Result<Allocator, CallError> {
    Ok(match shape.allocator {
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
