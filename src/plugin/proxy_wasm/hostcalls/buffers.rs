//! Bodies and configurations, from a place on and so many bytes; properties; shared data and
//! queues.

use wasmtime::{Caller, Linker};

use super::super::super::hostcalls::{LinkResult, Served, memory_of};
use super::super::super::state::HostState;
use super::super::context::Direction;
use super::super::grpc::Received;
use super::super::properties::{self, Absent};
use super::super::shared::Refusal;
use super::super::state::Held;
use super::{Done, Status, Value, bytes, does, give, gives, put_u32, scratch, status_of, tell};
use crate::limits;

pub(super) fn serve(linker: &mut Linker<HostState>, name: &str, types: &str) -> LinkResult {
    match (name, types) {
        ("proxy_get_buffer_bytes", "i32 i32 i32 i32 i32 -> i32") => {
            gives!(linker, name, get_buffer, (buffer: i32, start: i32, length: i32));
        }
        ("proxy_set_buffer_bytes", "i32 i32 i32 i32 i32 -> i32") => {
            does!(linker, name, set_buffer,
                (buffer: i32, start: i32, length: i32, at: i32, size: i32));
        }
        ("proxy_get_buffer_status", "i32 i32 i32 -> i32") => {
            does!(linker, name, buffer_status, (buffer: i32, size: i32, flags: i32));
        }
        ("proxy_get_configuration", "i32 i32 -> i32") => {
            gives!(linker, name, configuration, ());
        }
        ("proxy_get_property", "i32 i32 i32 i32 -> i32") => {
            gives!(linker, name, get_property, (at: i32, length: i32));
        }
        ("proxy_set_property", "i32 i32 i32 i32 -> i32") => {
            does!(linker, name, set_property, (path: i32, length: i32, value: i32, size: i32));
        }
        ("proxy_get_shared_data", "i32 i32 i32 i32 i32 -> i32") => {
            linker.func_wrap_async(
                "env",
                name,
                |caller, (key, length, to, size, cas): (i32, i32, i32, i32, i32)| {
                    Box::new(get_shared(caller, (key, length), (to, size), cas))
                },
            )?;
        }
        ("proxy_set_shared_data", "i32 i32 i32 i32 i32 -> i32") => {
            does!(linker, name, set_shared,
                (key: i32, length: i32, value: i32, size: i32, cas: i32));
        }
        ("proxy_register_shared_queue", "i32 i32 i32 -> i32") => {
            does!(linker, name, register_queue, (at: i32, length: i32, to: i32));
        }
        ("proxy_resolve_shared_queue", "i32 i32 i32 i32 i32 -> i32") => {
            does!(linker, name, resolve_queue,
                (vm: i32, vm_length: i32, at: i32, length: i32, to: i32));
        }
        ("proxy_enqueue_shared_queue", "i32 i32 i32 -> i32") => {
            does!(linker, name, enqueue, (queue: i32, at: i32, length: i32));
        }
        ("proxy_dequeue_shared_queue", "i32 i32 i32 -> i32") => {
            gives!(linker, name, dequeue, (queue: i32));
        }
        _ => return Ok(Served::No),
    }
    Ok(Served::Yes)
}

/// The bytes of a buffer, by the number that the ABI gives it; `None` if it has none now.
fn buffer(state: &mut HostState, number: i32) -> Result<Option<&[u8]>, Status> {
    let filter = &mut state.filter;
    let direction = match number {
        0 => Direction::Request,
        1 => Direction::Response,
        // Of TCP streams and foreign functions: nothing ever comes into them.
        2 | 3 | 8 => return Ok(Some(&[])),
        4 => return Ok(filter.answer.as_ref().map(|answer| &answer.body[..])),
        5 => {
            return Ok(match &filter.received {
                Some(Received::Message(message)) => Some(message),
                _ => Some(&[]),
            });
        }
        6 => return Ok(Some(state.plugin.spec.filter.vm_config.as_bytes())),
        7 => return Ok(Some(state.plugin.spec.filter_config().as_bytes())),
        _ => return Err(Status::BadArgument),
    };
    let body = filter.context().and_then(|context| context.body(direction));
    // As in Envoy, one that has not come yet is empty.
    Ok(Some(body.map_or(&[], |body| &body.bytes[..])))
}

fn get_buffer(_: &mut [u8], state: &mut HostState, number: i32, start: i32, length: i32) -> Value {
    let mut value = scratch(state);
    let Some(bytes) = buffer(state, number)? else {
        return Err(Status::NotFound);
    };
    let start = (start.cast_unsigned() as usize).min(bytes.len());
    let end = start.saturating_add(length.cast_unsigned() as usize).min(bytes.len());
    value.extend_from_slice(&bytes[start..end]);
    Ok(value)
}

fn set_buffer(
    data: &mut [u8],
    state: &mut HostState,
    number: i32,
    start: i32,
    length: i32,
    at: i32,
    size: i32,
) -> Done {
    let new = bytes(data, (at, size))?;
    let direction = match number {
        0 => Some(Direction::Request),
        1 => Some(Direction::Response),
        2..=8 => None,
        _ => return Err(Status::BadArgument),
    };
    let start = start.cast_unsigned() as usize;
    let length = length.cast_unsigned() as usize;
    let context = state.filter.context();
    match (direction, context) {
        (Some(direction), Some(context)) if context.can_change_body(direction) => {
            context.set_body(direction, start, length, new);
            return Ok(());
        }
        _ => {}
    }
    tell(state, &format!("proxy_set_buffer_bytes: buffer {number} cannot be changed now"));
    Ok(())
}

fn buffer_status(
    data: &mut [u8],
    state: &mut HostState,
    number: i32,
    size: i32,
    flags: i32,
) -> Done {
    let length = buffer(state, number)?.ok_or(Status::NotFound)?.len();
    put_u32(data, size, length as u32)?;
    put_u32(data, flags, 0)
}

/// Of 0.1.0: what `proxy_on_vm_start` and `proxy_on_configure` are about.
fn configuration(_: &mut [u8], state: &mut HostState) -> Value {
    let mut value = scratch(state);
    value.extend_from_slice(state.plugin.spec.filter_config().as_bytes());
    Ok(value)
}

fn get_property(data: &mut [u8], state: &mut HostState, at: i32, length: i32) -> Value {
    let path = bytes(data, (at, length))?;
    let context = state.filter.contexts.get(&state.filter.current);
    let context = context.map(|context| &**context);
    let policy = state.plugin.non_utf8();
    properties::get(context, &state.plugin.spec, policy, path).map_err(|absent| match absent {
        Absent::Unknown => Status::NotFound,
        Absent::Several => Status::SerializationFailure,
    })
}

fn set_property(
    data: &mut [u8],
    state: &mut HostState,
    path: i32,
    length: i32,
    value: i32,
    size: i32,
) -> Done {
    let (path, value) = (bytes(data, (path, length))?, bytes(data, (value, size))?);
    let Some(context) = state.filter.context() else {
        tell(state, "proxy_set_property: only exchanges have properties that can be set");
        return Ok(());
    };
    let properties = &mut context.properties;
    let have: usize = properties.iter().map(|(path, value)| path.len() + value.len()).sum();
    if have + path.len() + value.len() > limits::FILTER_PROPERTIES_BYTES_MAX {
        let most = limits::FILTER_PROPERTIES_BYTES_MAX;
        context.blame(format!("its properties are over {most} bytes"));
        return Ok(());
    }
    properties.insert(path.strip_suffix(b"\0").unwrap_or(path).to_vec(), value.to_vec());
    Ok(())
}

async fn get_shared(
    mut caller: Caller<'_, HostState>,
    key: (i32, i32),
    to: (i32, i32),
    cas_to: i32,
) -> wasmtime::Result<i32> {
    let memory = memory_of(&mut caller)?;
    let (data, state) = memory.data_and_store_mut(&mut caller);
    let found = bytes(data, key).and_then(|key| {
        let share = state.plugin.share().ok_or(Status::NotFound)?;
        share.get(key).ok_or(Status::NotFound)
    });
    let (value, cas) = match found {
        Ok(found) => found,
        Err(status) => return Ok(status as i32),
    };
    if let Err(status) = put_u32(data, cas_to, cas) {
        return Ok(status as i32);
    }
    give(&mut caller, memory, value, to).await
}

fn set_shared(
    data: &mut [u8],
    state: &mut HostState,
    key: i32,
    length: i32,
    value: i32,
    size: i32,
    cas: i32,
) -> Done {
    let (key, value) = (bytes(data, (key, length))?, bytes(data, (value, size))?);
    let Some(share) = state.plugin.share() else {
        return Err(Status::InternalFailure);
    };
    match share.set(key, value, cas.cast_unsigned()) {
        Ok(()) => Ok(()),
        Err(Refusal::Mismatch) => Err(Status::CasMismatch),
        Err(Refusal::TooLarge) => {
            let most = limits::FILTER_SHARED_BYTES_MAX;
            tell(state, &format!("proxy_set_shared_data: the value is over {most} bytes"));
            Err(Status::InternalFailure)
        }
    }
}

fn register_queue(data: &mut [u8], state: &mut HostState, at: i32, length: i32, to: i32) -> Done {
    let name = bytes(data, (at, length))?;
    let queue = state.plugin.share().and_then(|share| share.register(name));
    let queue = queue.ok_or(Status::InternalFailure)?;
    let owner = queue.own();
    let id = hold(state, Held { queue, owner: Some(owner) })?;
    put_u32(data, to, id)
}

fn resolve_queue(
    data: &mut [u8],
    state: &mut HostState,
    vm: i32,
    vm_length: i32,
    at: i32,
    length: i32,
    to: i32,
) -> Done {
    let vm_id = std::str::from_utf8(bytes(data, (vm, vm_length))?);
    let vm_id = match vm_id.map_err(|_| Status::NotFound)? {
        "" => state.plugin.spec.filter.vm_id.as_str(),
        named => named,
    };
    let name = bytes(data, (at, length))?;
    let queue = state.plugin.shares().and_then(|shares| shares.queue(vm_id, name));
    let id = hold(state, Held { queue: queue.ok_or(Status::NotFound)?, owner: None })?;
    put_u32(data, to, id)
}

/// The number of a queue in this instance: the same for one that it knows.
fn hold(state: &mut HostState, held: Held) -> Result<u32, Status> {
    let queues = &mut state.filter.queues;
    let is_it = |known: &Held| std::sync::Arc::ptr_eq(&known.queue, &held.queue);
    if let Some(at) = queues.iter().position(is_it) {
        if held.owner.is_some() {
            queues[at].owner = held.owner;
        }
        return Ok(at as u32 + 1);
    }
    if queues.len() >= limits::FILTER_QUEUES_HELD_MAX {
        return Err(Status::InternalFailure);
    }
    queues.push(held);
    Ok(queues.len() as u32)
}

fn queue_of(state: &HostState, id: i32) -> Result<&Held, Status> {
    let index = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
    index.and_then(|index| state.filter.queues.get(index)).ok_or(Status::NotFound)
}

fn enqueue(data: &mut [u8], state: &mut HostState, id: i32, at: i32, length: i32) -> Done {
    let item = bytes(data, (at, length))?;
    let held = queue_of(state, id)?;
    if held.queue.push(item) {
        tell(state, "proxy_enqueue_shared_queue: the queue is full; its eldest items are gone");
    }
    Ok(())
}

fn dequeue(_: &mut [u8], state: &mut HostState, id: i32) -> Value {
    queue_of(state, id)?.queue.pop().ok_or(Status::Empty)
}
