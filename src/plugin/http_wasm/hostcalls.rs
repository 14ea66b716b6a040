//! The host functions of http-wasm (`http-wasm/http-wasm`, the handler ABI of 2023-10-30).
//!
//! A misuse ends the guest, as in the ABI's own host: what it asks for cannot be given, and there
//! is no status to say so.

use std::rc::Rc;
use std::time::Instant;

use send_wrapper::SendWrapper;
use wasmtime::{Caller, Linker};

use super::super::chain::Edit;
use super::super::checks;
use super::super::failure::CallError;
use super::super::hostcalls::{LinkResult, Served, memory_of};
use super::super::memory::{out_of_bounds, slice, slice_mut};
use super::super::spec::LogLevel;
use super::super::state::HostState;
use super::state::{BUFFER_REQUEST, BUFFER_RESPONSE, Body, FEATURES, State, TRAILERS};
use crate::http::field_class::is_of_connection;
use crate::http::message::{Fields, is_authority, is_field_value, is_token};
use crate::limits;

const MODULE: &str = super::MODULE;

/// Defines a function over the guest's memory and the state.
macro_rules! does {
    ($linker:ident, $name:ident, $body:path, ($($argument:ident: $type:ty),*) -> $result:ty) => {{
        $linker.func_wrap(
            MODULE,
            $name,
            |mut caller: Caller<'_, HostState>,
             $($argument: $type),*|
             -> wasmtime::Result<$result> {
                let memory = memory_of(&mut caller)?;
                let (data, state) = memory.data_and_store_mut(&mut caller);
                Ok($body(data, state, $($argument),*)?)
            },
        )?;
    }};
}

/// Defines the import `name`, if it is one of a handler's.
pub(in crate::plugin) fn serve(
    linker: &mut Linker<HostState>,
    name: &str,
    types: &str,
) -> LinkResult {
    match (name, types) {
        ("enable_features", "i32 -> i32") => {
            does!(linker, name, enable_features, (features: i32) -> i32);
        }
        ("get_config", "i32 i32 -> i32") => {
            does!(linker, name, get_config, (to: i32, most: i32) -> i32);
        }
        ("log", "i32 i32 i32 ->") => {
            does!(linker, name, log, (level: i32, at: i32, length: i32) -> ());
        }
        ("log_enabled", "i32 -> i32") => does!(linker, name, log_enabled, (level: i32) -> i32),
        ("get_method", "i32 i32 -> i32") => {
            does!(linker, name, get_method, (to: i32, most: i32) -> i32);
        }
        ("set_method", "i32 i32 ->") => {
            does!(linker, name, set_method, (at: i32, length: i32) -> ());
        }
        ("get_uri", "i32 i32 -> i32") => does!(linker, name, get_uri, (to: i32, most: i32) -> i32),
        ("set_uri", "i32 i32 ->") => does!(linker, name, set_uri, (at: i32, length: i32) -> ()),
        ("get_protocol_version", "i32 i32 -> i32") => {
            does!(linker, name, get_protocol, (to: i32, most: i32) -> i32);
        }
        ("get_source_addr", "i32 i32 -> i32") => {
            does!(linker, name, get_source, (to: i32, most: i32) -> i32);
        }
        ("get_header_names", "i32 i32 i32 -> i64") => {
            does!(linker, name, get_names, (kind: i32, to: i32, most: i32) -> i64);
        }
        ("get_header_values", "i32 i32 i32 i32 i32 -> i64") => {
            does!(linker, name, get_values,
                (kind: i32, at: i32, length: i32, to: i32, most: i32) -> i64);
        }
        ("set_header_value", "i32 i32 i32 i32 i32 ->") => {
            does!(linker, name, set_value,
                (kind: i32, at: i32, length: i32, value: i32, size: i32) -> ());
        }
        ("add_header_value", "i32 i32 i32 i32 i32 ->") => {
            does!(linker, name, add_value,
                (kind: i32, at: i32, length: i32, value: i32, size: i32) -> ());
        }
        ("remove_header", "i32 i32 i32 ->") => {
            does!(linker, name, remove, (kind: i32, at: i32, length: i32) -> ());
        }
        ("read_body", "i32 i32 i32 -> i64") => {
            linker.func_wrap_async(MODULE, name, |caller, (kind, to, most): (i32, i32, i32)| {
                Box::new(SendWrapper::new(read_body(caller, kind, to, most)))
            })?;
        }
        ("write_body", "i32 i32 i32 ->") => {
            does!(linker, name, write_body, (kind: i32, at: i32, length: i32) -> ());
        }
        ("get_status_code", "-> i32") => does!(linker, name, get_status, () -> i32),
        ("set_status_code", "i32 ->") => does!(linker, name, set_status, (status: i32) -> ()),
        _ => return Ok(Served::No),
    }
    Ok(Served::Yes)
}

type Done<T> = Result<T, CallError>;

fn bytes<'d>(data: &'d [u8], what: &str, at: i32, length: i32) -> Done<&'d [u8]> {
    let (at, length) = (at.cast_unsigned(), length.cast_unsigned());
    slice(data, at, length).ok_or_else(|| out_of_bounds(what, at, length, data.len()))
}

/// Writes a value where the guest has room for it, if it has; its length.
fn give(data: &mut [u8], to: i32, most: i32, value: &[u8]) -> Done<i32> {
    let length = value.len() as u32; // heads and configurations are far smaller
    if length > 0 && length <= most.cast_unsigned() {
        let size = data.len();
        let at = to.cast_unsigned();
        let room = slice_mut(data, at, length);
        room.ok_or_else(|| out_of_bounds("a value", at, length, size))?.copy_from_slice(value);
    }
    Ok(length.cast_signed())
}

/// Writes texts with a NUL behind each, if there is room: their count and length.
fn give_all<'v>(
    data: &mut [u8],
    to: i32,
    most: i32,
    values: impl Iterator<Item = &'v [u8]>,
) -> Done<i64> {
    let mut all = Vec::new();
    let mut count = 0_i64;
    for value in values {
        all.extend_from_slice(value);
        all.push(0);
        count += 1;
    }
    let length = give(data, to, most, &all)?;
    Ok(count << 32 | i64::from(length))
}

fn enable_features(_: &mut [u8], state: &mut HostState, features: i32) -> Done<i32> {
    let handler = &mut state.handler;
    handler.features_now |= features.cast_unsigned() & FEATURES;
    handler.request_body.is_kept |= handler.features_now & BUFFER_REQUEST != 0;
    Ok(handler.features_now.cast_signed())
}

fn get_config(data: &mut [u8], state: &mut HostState, to: i32, most: i32) -> Done<i32> {
    give(data, to, most, state.plugin.spec.filter_config().as_bytes())
}

fn level_of(level: i32) -> Option<LogLevel> {
    Some(match level {
        -1 => LogLevel::Debug,
        0 => LogLevel::Info,
        1 => LogLevel::Warn,
        2 => LogLevel::Error,
        _ => return None,
    })
}

fn log(data: &mut [u8], state: &mut HostState, level: i32, at: i32, length: i32) -> Done<()> {
    let text = bytes(data, "log", at, length)?;
    if let Some(level) = level_of(level) {
        state.log(level, text);
    }
    Ok(())
}

fn log_enabled(_: &mut [u8], state: &mut HostState, level: i32) -> Done<i32> {
    let level = level_of(level);
    Ok(i32::from(level.is_some_and(|level| level >= state.plugin.spec.log_level)))
}

fn get_method(data: &mut [u8], state: &mut HostState, to: i32, most: i32) -> Done<i32> {
    give(data, to, most, state.handler.request.method.as_str().as_bytes())
}

fn set_method(data: &mut [u8], state: &mut HostState, at: i32, length: i32) -> Done<()> {
    let handler = before(&mut state.handler, "set the method")?;
    let text = text(bytes(data, "set_method", at, length)?)?;
    handler.request.method = checks::method(text)?;
    handler.request_is_changed = true;
    Ok(())
}

fn get_uri(data: &mut [u8], state: &mut HostState, to: i32, most: i32) -> Done<i32> {
    let head = &state.handler.request;
    give(data, to, most, format!("{}{}", head.path, head.query).as_bytes())
}

fn set_uri(data: &mut [u8], state: &mut HostState, at: i32, length: i32) -> Done<()> {
    let handler = before(&mut state.handler, "set the URI")?;
    let uri = match text(bytes(data, "set_uri", at, length)?)? {
        "" => "/",
        uri => uri,
    };
    let head = &mut handler.request;
    let target = checks::target(uri, handler.scheme, &handler.bounds, head)?;
    if let Some((path, query)) = target {
        (head.path, head.query) = (path, query);
        handler.request_is_changed = true;
    }
    Ok(())
}

fn get_protocol(data: &mut [u8], state: &mut HostState, to: i32, most: i32) -> Done<i32> {
    give(data, to, most, state.handler.protocol.as_bytes())
}

fn get_source(data: &mut [u8], state: &mut HostState, to: i32, most: i32) -> Done<i32> {
    give(data, to, most, state.handler.source.as_bytes())
}

fn get_names(data: &mut [u8], state: &mut HostState, kind: i32, to: i32, most: i32) -> Done<i64> {
    let policy = state.plugin.non_utf8();
    let fields = fields(&state.handler, kind)?;
    let mut names: Vec<Vec<u8>> = Vec::new();
    if kind == 0 {
        names.push(b"host".to_vec());
    }
    for (name, _) in fields.iter().filter(|(_, value)| policy.shows(value)) {
        let name = name.to_ascii_lowercase();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    give_all(data, to, most, names.iter().map(Vec::as_slice))
}

fn get_values(
    data: &mut [u8],
    state: &mut HostState,
    kind: i32,
    at: i32,
    length: i32,
    to: i32,
    most: i32,
) -> Done<i64> {
    let policy = state.plugin.non_utf8();
    let name = text(bytes(data, "get_header_values", at, length)?)?.to_owned();
    let head = &state.handler.request;
    if kind == 0 && name.eq_ignore_ascii_case("host") {
        return give_all(data, to, most, [head.authority.as_bytes()].into_iter());
    }
    let fields = fields(&state.handler, kind)?;
    let values: Vec<&[u8]> = fields.get_all(&name).filter(|value| policy.shows(value)).collect();
    give_all(data, to, most, values.into_iter())
}

fn set_value(
    data: &mut [u8],
    state: &mut HostState,
    kind: i32,
    at: i32,
    length: i32,
    value: i32,
    size: i32,
) -> Done<()> {
    let (name, value) = (bytes(data, "a name", at, length)?, bytes(data, "a value", value, size)?);
    change(&mut state.handler, kind, name, Some((value, true)))
}

fn add_value(
    data: &mut [u8],
    state: &mut HostState,
    kind: i32,
    at: i32,
    length: i32,
    value: i32,
    size: i32,
) -> Done<()> {
    let (name, value) = (bytes(data, "a name", at, length)?, bytes(data, "a value", value, size)?);
    change(&mut state.handler, kind, name, Some((value, false)))
}

fn remove(data: &mut [u8], state: &mut HostState, kind: i32, at: i32, length: i32) -> Done<()> {
    let name = bytes(data, "a name", at, length)?;
    change(&mut state.handler, kind, name, None)
}

/// Sets (the flag), adds or removes a value. What the gateway frames by itself stays as it is.
fn change(handler: &mut State, kind: i32, name: &[u8], value: Option<(&[u8], bool)>) -> Done<()> {
    fields(handler, kind)?;
    let handler = match kind {
        0 => before(handler, "change a request header")?,
        1 => before_or_buffered(handler, "change a response header")?,
        2 => before(handler, "change a request trailer")?,
        _ => before_or_buffered(handler, "change a response trailer")?,
    };
    let value = value.map(|(value, alone)| (value.trim_ascii(), alone));
    if !is_token(name) || value.is_some_and(|(value, _)| !is_field_value(value)) {
        let name = String::from_utf8_lossy(&name[..name.len().min(128)]);
        return Err(CallError::bad_output(format!("header {name:?} cannot be sent")));
    }
    if kind == 0 && name.eq_ignore_ascii_case(b"host") {
        if let Some((value, _)) = value.filter(|(value, _)| is_authority(value)) {
            handler.request.authority = text(value)?.to_owned();
            handler.request_is_changed = true;
        }
        return Ok(());
    }
    if is_of_connection(name) {
        return Ok(());
    }
    if kind > 1 {
        return change_trailer(handler, kind, name, value);
    }
    let most = handler.bounds.head_bytes_max.saturating_mul(2);
    let (fields, is_changed) = match kind {
        0 => (&mut handler.request.fields, &mut handler.request_is_changed),
        _ => (&mut handler.response.fields, &mut handler.response_is_changed),
    };
    *is_changed = true;
    match value {
        None => fields.remove(name),
        Some((value, true)) => fields.set(name, value),
        Some((value, false)) => fields.push(name, value),
    }
    let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    if fields.len() > limits::PLUGIN_HEAD_FIELDS_MAX || bytes > most {
        let (count, limit) = (fields.len(), limits::PLUGIN_HEAD_FIELDS_MAX);
        return Err(CallError::bad_output(format!(
            "the head would have {count} headers of {bytes} bytes; limits are {limit} headers and \
             {most} bytes (twice server.limits.headBytesMax)"
        )));
    }
    Ok(())
}

/// Sets, adds or removes a trailer, whether it has come or not.
fn change_trailer(
    handler: &State,
    kind: i32,
    name: &[u8],
    value: Option<(&[u8], bool)>,
) -> Done<()> {
    if handler.features_now & TRAILERS == 0 {
        let why = "cannot change a trailer unless trailers are enabled (enable_features)";
        return Err(CallError::trap(why));
    }
    let name = name.to_vec();
    let edit = match value {
        None => Edit::Remove(name),
        Some((value, true)) => Edit::Set(name, value.to_vec()),
        Some((value, false)) => Edit::Add(name, value.to_vec()),
    };
    let most = handler.bounds.head_bytes_max;
    handler.feed(kind).map_or(Ok(()), |feed| feed.edit(edit, most))
}

/// Fills the guest's buffer with what comes next of a body; less only at its end. The time that a
/// body is waited for is not the guest's.
async fn read_body(
    mut caller: Caller<'_, HostState>,
    kind: i32,
    to: i32,
    most: i32,
) -> wasmtime::Result<i64> {
    if most == 0 {
        return Err(CallError::trap("read_body: a limit of 0 reads nothing").into());
    }
    let memory = memory_of(&mut caller)?;
    let (data, state) = memory.data_and_store_mut(&mut caller);
    let (at, most) = (to.cast_unsigned(), most.cast_unsigned());
    let size = data.len();
    slice(data, at, most).ok_or_else(|| out_of_bounds("read_body", at, most, size))?;
    let handler = match kind {
        0 => before_or(&mut state.handler, BUFFER_REQUEST, "read the request's body")?,
        1 => before_or_buffered(&mut state.handler, "read the response's body")?,
        _ => return Err(unknown(kind).into()),
    };
    let body = if kind == 0 { &handler.request_body } else { &handler.response_body };
    let feed = body.feed.as_ref().filter(|_| body.is_readable).map(|feed| Rc::clone(feed));
    let is_kept = body.is_kept;
    let (mut read, mut is_end) = (0_u32, feed.is_none());
    while let Some(feed) = feed.as_ref().filter(|_| read < most && !is_end) {
        let began = Instant::now();
        let (taken, is_last) = feed.take((most - read) as usize, is_kept).await;
        let (data, state) = memory.data_and_store_mut(&mut caller);
        state.deadline += began.elapsed();
        let length = taken.len() as u32; // at most `most`
        let room = slice_mut(data, at + read, length);
        room.ok_or_else(|| out_of_bounds("read_body", at, most, size))?.copy_from_slice(&taken);
        read += length;
        is_end = is_last;
    }
    let handler = &mut caller.data_mut().handler;
    let body = if kind == 0 { &mut handler.request_body } else { &mut handler.response_body };
    body.is_used |= read > 0 && !is_kept;
    Ok(i64::from(is_end) << 32 | i64::from(read))
}

fn write_body(data: &mut [u8], state: &mut HostState, kind: i32, at: i32, length: i32) -> Done<()> {
    let new = bytes(data, "write_body", at, length)?;
    let handler = match kind {
        0 => before(&mut state.handler, "write the request's body")?,
        1 => before_or_buffered(&mut state.handler, "write the response's body")?,
        _ => return Err(unknown(kind)),
    };
    let most = handler.bounds.body_bytes_max;
    let body: &mut Body =
        if kind == 0 { &mut handler.request_body } else { &mut handler.response_body };
    let written = body.written.get_or_insert_default();
    if written.len() + new.len() > most {
        return Err(CallError::bad_output(format!(
            "the body is over {most} bytes, the limit (server.limits.pluginBodyBytesMax)"
        )));
    }
    written.extend_from_slice(new);
    Ok(())
}

fn get_status(_: &mut [u8], state: &mut HostState) -> Done<i32> {
    Ok(i32::from(state.handler.response.status))
}

fn set_status(_: &mut [u8], state: &mut HostState, status: i32) -> Done<()> {
    let handler = before_or_buffered(&mut state.handler, "set the status code")?;
    match u16::try_from(status).ok().filter(|status| (200..=599).contains(status)) {
        Some(status) => {
            handler.response.status = status;
            handler.response_is_changed = true;
            Ok(())
        }
        None => Err(CallError::bad_output(format!("status {status}; expected 200 to 599"))),
    }
}

fn fields(handler: &State, kind: i32) -> Done<std::borrow::Cow<'_, Fields>> {
    handler.fields(kind).ok_or_else(|| unknown(kind))
}

fn unknown(kind: i32) -> CallError {
    CallError::trap(format!("there is no kind {kind} of headers or bodies"))
}

fn text(bytes: &[u8]) -> Done<&str> {
    std::str::from_utf8(bytes).map_err(|_| CallError::bad_output("a text is not UTF-8"))
}

fn before<'s>(handler: &'s mut State, what: &str) -> Done<&'s mut State> {
    match handler.is_after {
        false => Ok(handler),
        true => Err(CallError::trap(format!("cannot {what} after the service was asked"))),
    }
}

fn before_or_buffered<'s>(handler: &'s mut State, what: &str) -> Done<&'s mut State> {
    before_or(handler, BUFFER_RESPONSE, what)
}

fn before_or<'s>(handler: &'s mut State, feature: u32, what: &str) -> Done<&'s mut State> {
    if !handler.is_after || handler.features_now & feature != 0 {
        return Ok(handler);
    }
    let feature = if feature == BUFFER_REQUEST { "buffer_request" } else { "buffer_response" };
    Err(CallError::trap(format!(
        "cannot {what} after the service was asked, unless {feature} is enabled"
    )))
}
