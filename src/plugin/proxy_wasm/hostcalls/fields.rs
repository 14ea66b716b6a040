//! The lists of fields: read whole or by name, changed by name or whole.

use wasmtime::{Caller, Linker};

use super::super::super::hostcalls::{LinkResult, Served, memory_of};
use super::super::super::spec::NonUtf8;
use super::super::super::state::HostState;
use super::super::map::{self, Change, Map, View};
use super::super::pairs;
use super::super::shape::Version;
use super::{Done, Status, Value, bytes, does, give, gives, put_u32, scratch, status_of, tell};
use crate::http::message::Fields;
use crate::limits;

pub(super) fn serve(linker: &mut Linker<HostState>, name: &str, types: &str) -> LinkResult {
    match (name, types) {
        ("proxy_get_header_map_size", "i32 i32 -> i32") => {
            does!(linker, name, size, (map: i32, to: i32));
        }
        ("proxy_get_header_map_pairs", "i32 i32 i32 -> i32") => {
            gives!(linker, name, get_pairs, (map: i32));
        }
        ("proxy_set_header_map_pairs", "i32 i32 i32 -> i32") => {
            does!(linker, name, set_pairs, (map: i32, at: i32, length: i32));
        }
        ("proxy_get_header_map_value", "i32 i32 i32 i32 i32 -> i32") => {
            gives!(linker, name, get_value, (map: i32, at: i32, length: i32));
        }
        ("proxy_add_header_map_value", "i32 i32 i32 i32 i32 -> i32") => {
            does!(linker, name, add,
                (map: i32, key: i32, key_length: i32, value: i32, length: i32));
        }
        ("proxy_replace_header_map_value", "i32 i32 i32 i32 i32 -> i32") => {
            does!(linker, name, replace,
                (map: i32, key: i32, key_length: i32, value: i32, length: i32));
        }
        ("proxy_remove_header_map_value", "i32 i32 i32 -> i32") => {
            does!(linker, name, remove, (map: i32, key: i32, length: i32));
        }
        _ => return Ok(Served::No),
    }
    Ok(Served::Yes)
}

static NO_FIELDS: Fields = Fields::new();

/// A list to read, and what of it may be seen; `None` if there is none now.
fn view(state: &HostState, number: i32) -> Result<Option<(View<'_>, NonUtf8)>, Status> {
    let map = Map::from_number(number).ok_or(Status::BadArgument)?;
    let filter = &state.filter;
    let view = match map {
        Map::CallHeaders => filter.answer.as_ref().map(View::answer),
        Map::GrpcInitial | Map::GrpcTrailing => {
            let received = filter.received.as_ref();
            received.and_then(|received| received.view(map == Map::GrpcInitial))
        }
        Map::CallTrailers => filter.answer.as_ref().map(|_| View::Fields(&NO_FIELDS)),
        map => {
            let context = filter.contexts.get(&filter.current);
            context.and_then(|context| View::of(context, map))
        }
    };
    Ok(view.map(|view| (view, state.plugin.non_utf8())))
}

fn size(data: &mut [u8], state: &mut HostState, map: i32, to: i32) -> Done {
    let (view, policy) = view(state, map)?.ok_or(Status::BadArgument)?;
    let pairs = view.pairs(policy);
    let bytes: usize = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
    put_u32(data, to, bytes as u32)
}

fn get_pairs(_: &mut [u8], state: &mut HostState, map: i32) -> Value {
    let mut value = scratch(state);
    // A list that is not there is an empty one, as in Envoy: the SDKs end at another status.
    let Some((view, policy)) = view(state, map)? else {
        return Ok(value);
    };
    let all = view.pairs(policy);
    pairs::write(all.iter().map(|(name, value)| (&**name, &**value)), &mut value);
    Ok(value)
}

fn get_value(data: &mut [u8], state: &mut HostState, map: i32, at: i32, length: i32) -> Value {
    let name = bytes(data, (at, length))?;
    let mut value = scratch(state);
    let found = match view(state, map)? {
        Some((view, policy)) => view.value(name, policy),
        None => None,
    };
    match found {
        Some(found) => value.extend_from_slice(&found),
        // So says 0.1.0.
        None if state.filter.version == Version::V0_1_0 => {}
        None => return Err(Status::NotFound),
    }
    Ok(value)
}

/// Does a change to a list of the context that is acted on. One that cannot be changed (any more)
/// stays as it is, with a line in the log.
fn change(
    state: &mut HostState,
    number: i32,
    change: impl FnOnce(&mut super::super::context::Context, Map) -> bool,
) -> Done {
    let map = Map::from_number(number).ok_or(Status::BadArgument)?;
    let changed = state.filter.context().is_some_and(|context| change(context, map));
    if !changed {
        tell(state, &format!("headers: the list {map:?} cannot be changed now"));
    }
    Ok(())
}

fn set_pairs(data: &mut [u8], state: &mut HostState, map: i32, at: i32, length: i32) -> Done {
    let listed = pairs::read(bytes(data, (at, length))?, limits::FILTER_PAIRS_MAX);
    let listed = listed.ok_or(Status::BadArgument)?;
    let policy = state.plugin.non_utf8();
    change(state, map, |context, map| map::set_all(context, map, &listed, policy))
}

fn add(
    data: &mut [u8],
    state: &mut HostState,
    map: i32,
    key: i32,
    key_length: i32,
    value: i32,
    length: i32,
) -> Done {
    let (name, value) = (bytes(data, (key, key_length))?, bytes(data, (value, length))?);
    change(state, map, |context, map| map::set(context, map, Change::Add, name, value))
}

fn replace(
    data: &mut [u8],
    state: &mut HostState,
    map: i32,
    key: i32,
    key_length: i32,
    value: i32,
    length: i32,
) -> Done {
    let (name, value) = (bytes(data, (key, key_length))?, bytes(data, (value, length))?);
    change(state, map, |context, map| map::set(context, map, Change::Replace, name, value))
}

fn remove(data: &mut [u8], state: &mut HostState, map: i32, key: i32, length: i32) -> Done {
    let name = bytes(data, (key, length))?;
    change(state, map, |context, map| map::remove(context, map, name))
}
