//! The host functions of proxy-wasm (proxy-wasm/spec, ABI 0.2.1), and those that 0.1.0 has beside
//! them.
//!
//! Every function can be linked. What a function answers is what the SDKs take from it (the table
//! in `tests/gateway/filters/statuses.rs`): some of them end their guest by a trap at any other
//! status, so what means nothing is done is answered with OK and told in the log.

mod buffers;
mod fields;
mod grpc;
mod reach;
mod stream;

use wasmtime::{Caller, Linker, Memory};

use super::super::failure::CallError;
use super::super::hostcalls::{LinkResult, Served, abort, memory_of};
use super::super::memory::{slice, slice_mut};
use super::super::spec::LogLevel;
use super::super::state::HostState;
use super::metrics;
use crate::limits;

/// What a host function answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok = 0,
    NotFound = 1,
    BadArgument = 2,
    SerializationFailure = 3,
    ParseFailure = 4,
    InvalidMemory = 6,
    Empty = 7,
    CasMismatch = 8,
    InternalFailure = 10,
}

type Done = Result<(), Status>;
type Value = Result<Vec<u8>, Status>;
/// An address and a length as a guest passes them.
type Place = (i32, i32);

fn status_of(done: Done) -> i32 {
    match done {
        Ok(()) => Status::Ok as i32,
        Err(status) => status as i32,
    }
}

/// Defines a function that does something with the guest's memory and the state.
macro_rules! does {
    ($linker:ident, $name:ident, $body:path, ($($argument:ident: $type:ty),*)) => {{
        let _linker = $linker.func_wrap(
            "env",
            $name,
            |mut caller: Caller<'_, HostState>, $($argument: $type),*| -> wasmtime::Result<i32> {
                let memory = memory_of(&mut caller)?;
                let (data, state) = memory.data_and_store_mut(&mut caller);
                Ok(status_of($body(data, state, $($argument),*)))
            },
        )?;
    }};
}

/// Defines a function that returns bytes, for which the guest gives memory; its last two
/// parameters say where their address and length go.
macro_rules! gives {
    ($linker:ident, $name:ident, $body:path, ($($argument:ident: $type:ty),*)) => {{
        let _linker = $linker.func_wrap_async(
            "env",
            $name,
            |mut caller: Caller<'_, HostState>,
             ($($argument,)* address, length): ($($type,)* i32, i32)| {
                Box::new(async move {
                    let memory = memory_of(&mut caller)?;
                    let (data, state) = memory.data_and_store_mut(&mut caller);
                    match $body(data, state, $($argument),*) {
                        Ok(value) => give(&mut caller, memory, value, (address, length)).await,
                        Err(status) => Ok(status as i32),
                    }
                })
            },
        )?;
    }};
}

/// Defines the import `name` of module `env`, if it is one of a filter's.
pub(in crate::plugin) fn serve(
    linker: &mut Linker<HostState>,
    name: &str,
    types: &str,
) -> LinkResult {
    match (name, types) {
        ("proxy_log", "i32 i32 i32 -> i32") => {
            does!(linker, name, log, (level: i32, at: i32, length: i32));
        }
        ("proxy_get_log_level", "i32 -> i32") => does!(linker, name, log_level, (to: i32)),
        ("proxy_get_current_time_nanoseconds", "i32 -> i32") => {
            does!(linker, name, time, (to: i32));
        }
        ("proxy_define_metric", "i32 i32 i32 i32 -> i32") => {
            does!(linker, name, define_metric, (kind: i32, at: i32, length: i32, to: i32));
        }
        ("proxy_increment_metric", "i32 i64 -> i32") => {
            does!(linker, name, increment_metric, (id: i32, offset: i64));
        }
        ("proxy_record_metric", "i32 i64 -> i32") => {
            does!(linker, name, record_metric, (id: i32, value: i64));
        }
        ("proxy_get_metric", "i32 i32 -> i32") => {
            does!(linker, name, get_metric, (id: i32, to: i32));
        }
        ("abort", "i32 i32 i32 i32 ->") => {
            linker.func_wrap("env", name, abort)?;
        }
        // What Emscripten's modules call when their memory has grown.
        ("emscripten_notify_memory_growth", "i32 ->") => {
            linker.func_wrap("env", name, |_: i32| ())?;
        }
        _ => {
            for serve in [buffers::serve, fields::serve, stream::serve, reach::serve, grpc::serve] {
                if let Served::Yes = serve(linker, name, types)? {
                    return Ok(Served::Yes);
                }
            }
            return Ok(Served::No);
        }
    }
    Ok(Served::Yes)
}

use {does, gives};

/// The bytes that a guest passes.
fn bytes(data: &[u8], (address, length): Place) -> Result<&[u8], Status> {
    slice(data, address.cast_unsigned(), length.cast_unsigned()).ok_or(Status::InvalidMemory)
}

/// Writes a result where the guest wants it.
fn put(data: &mut [u8], address: i32, bytes: &[u8]) -> Done {
    let place = slice_mut(data, address.cast_unsigned(), bytes.len() as u32);
    place.ok_or(Status::InvalidMemory)?.copy_from_slice(bytes);
    Ok(())
}

fn put_u32(data: &mut [u8], address: i32, number: u32) -> Done {
    put(data, address, &number.to_le_bytes())
}

/// Hands a value to the guest: in memory of the guest's own, whose address and length go to `to`.
async fn give(
    caller: &mut Caller<'_, HostState>,
    memory: Memory,
    value: Vec<u8>,
    to: Place,
) -> wasmtime::Result<i32> {
    let address = match value.len() {
        0 => 0,
        _ => match place(caller, memory, &value).await? {
            Some(address) => address,
            None => return Ok(Status::InvalidMemory as i32),
        },
    };
    let data = memory.data_mut(&mut *caller);
    let given = put_u32(data, to.0, address).and_then(|()| put_u32(data, to.1, value.len() as u32));
    if value.capacity() <= limits::PLUGIN_SCRATCH_BYTES_KEPT {
        caller.data_mut().filter.scratch = value;
    }
    Ok(status_of(given))
}

/// Copies a value into memory that the guest allocates; `None` where it gives none.
async fn place(
    caller: &mut Caller<'_, HostState>,
    memory: Memory,
    value: &[u8],
) -> wasmtime::Result<Option<u32>> {
    let state = caller.data_mut();
    let Some(allocate) = state.filter.allocate.clone() else {
        return Ok(None);
    };
    let Ok(size) = i32::try_from(value.len()) else {
        return Ok(None);
    };
    // A host function that an allocator calls would call the allocator again, without end.
    if std::mem::replace(&mut state.is_allocating, true) {
        let text = "the plugin's allocator calls a host function that needs the allocator";
        return Err(CallError::trap(text).into());
    }
    let address = allocate.call_async(&mut *caller, size).await?.cast_unsigned();
    caller.data_mut().is_allocating = false;
    let room = slice_mut(memory.data_mut(caller), address, value.len() as u32);
    match room.filter(|_| address != 0) {
        Some(room) => {
            room.copy_from_slice(value);
            Ok(Some(address))
        }
        None => Ok(None),
    }
}

/// Room for a value; what it held is gone.
fn scratch(state: &mut HostState) -> Vec<u8> {
    let mut value = std::mem::take(&mut state.filter.scratch);
    value.clear();
    value
}

/// Says in the log that a call of the guest came to nothing.
fn tell(state: &HostState, text: &str) {
    state.host.log.gateway(LogLevel::Debug, state.ids(), text);
}

fn log(data: &mut [u8], state: &mut HostState, level: i32, at: i32, length: i32) -> Done {
    let level = match level {
        0 => LogLevel::Trace,
        1 => LogLevel::Debug,
        2 => LogLevel::Info,
        3 => LogLevel::Warn,
        4 | 5 => LogLevel::Error,
        _ => return Err(Status::BadArgument),
    };
    state.log(level, bytes(data, (at, length))?);
    Ok(())
}

fn log_level(data: &mut [u8], state: &mut HostState, to: i32) -> Done {
    let level = match state.plugin.spec.log_level {
        LogLevel::Trace => 0,
        LogLevel::Debug => 1,
        LogLevel::Info => 2,
        LogLevel::Warn => 3,
        LogLevel::Error => 4,
    };
    put_u32(data, to, level)
}

fn time(data: &mut [u8], state: &mut HostState, to: i32) -> Done {
    let nanoseconds = state.host.scene.unix_time().as_nanos() as u64; // fits until 2554
    put(data, to, &nanoseconds.to_le_bytes())
}

fn define_metric(
    data: &mut [u8],
    state: &mut HostState,
    kind: i32,
    at: i32,
    length: i32,
    to: i32,
) -> Done {
    let id = metrics::define(state, kind, bytes(data, (at, length))?)?;
    put_u32(data, to, id)
}

fn increment_metric(_: &mut [u8], state: &mut HostState, id: i32, offset: i64) -> Done {
    metrics::increment(state, id, offset)
}

fn record_metric(_: &mut [u8], state: &mut HostState, id: i32, value: i64) -> Done {
    metrics::record(state, id, value)
}

fn get_metric(data: &mut [u8], state: &mut HostState, id: i32, to: i32) -> Done {
    let value = metrics::get(state, id)?;
    put(data, to, &value.to_le_bytes())
}
