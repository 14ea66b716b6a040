//! What becomes of an exchange: it goes on, ends, or is answered here; which one is acted on; when
//! the root is called again.

use std::time::Duration;

use wasmtime::{Caller, Linker};

use super::super::super::hostcalls::{LinkResult, Served, memory_of};
use super::super::super::state::HostState;
use super::super::pairs;
use super::super::state::ROOT;
use super::{Done, Status, bytes, does, status_of, tell};
use crate::http::field_class::is_of_connection;
use crate::http::h2::head::is_grpc;
use crate::http::message::{LocalResponse, is_field_value, is_token};
use crate::limits;

pub(super) fn serve(linker: &mut Linker<HostState>, name: &str, types: &str) -> LinkResult {
    match (name, types) {
        ("proxy_continue_stream", "i32 -> i32") => does!(linker, name, go_on, (stream: i32)),
        ("proxy_close_stream", "i32 -> i32") => does!(linker, name, close, (stream: i32)),
        ("proxy_set_effective_context", "i32 -> i32") => {
            does!(linker, name, set_effective, (id: i32));
        }
        ("proxy_done", "-> i32") => does!(linker, name, done, ()),
        ("proxy_set_tick_period_milliseconds", "i32 -> i32") => {
            does!(linker, name, set_tick, (period: i32));
        }
        ("proxy_send_local_response", "i32 i32 i32 i32 i32 i32 i32 i32 -> i32") => {
            does!(linker, name, respond, (
                status: i32, details: i32, details_length: i32, body: i32, body_length: i32,
                headers: i32, headers_length: i32, grpc: i32
            ));
        }
        // Of 0.1.0; its text says that they return nothing, hosts say that they do.
        ("proxy_continue_request", "-> i32") => does!(linker, name, go_on_request, ()),
        ("proxy_continue_response", "-> i32") => does!(linker, name, go_on_response, ()),
        ("proxy_clear_route_cache", "-> i32") => does!(linker, name, nothing, ()),
        (
            "proxy_continue_request" | "proxy_continue_response" | "proxy_clear_route_cache",
            "->",
        ) => {
            let stream = match name {
                "proxy_continue_request" => Some(0),
                "proxy_continue_response" => Some(1),
                _ => None,
            };
            linker.func_wrap("env", name, move |mut caller: Caller<'_, HostState>| {
                if let Some(stream) = stream {
                    let _never_refused = go_on(&mut [], caller.data_mut(), stream);
                }
            })?;
        }
        _ => return Ok(Served::No),
    }
    Ok(Served::Yes)
}

fn go_on(_: &mut [u8], state: &mut HostState, stream: i32) -> Done {
    let index = match stream {
        0 => 0,
        1 => 1,
        2 | 3 => return Ok(()), // TCP: there is none
        _ => return Err(Status::BadArgument),
    };
    if let Some(context) = state.filter.touch() {
        context.is_resumed[index] = true;
    }
    Ok(())
}

fn go_on_request(data: &mut [u8], state: &mut HostState) -> Done {
    go_on(data, state, 0)
}

fn go_on_response(data: &mut [u8], state: &mut HostState) -> Done {
    go_on(data, state, 1)
}

fn nothing(_: &mut [u8], _: &mut HostState) -> Done {
    Ok(())
}

/// The root is done. The context of an exchange is gone when its last callbacks have returned,
/// whatever they say: as in Envoy.
fn done(_: &mut [u8], state: &mut HostState) -> Done {
    state.filter.is_done |= state.filter.current == ROOT;
    Ok(())
}

fn close(_: &mut [u8], state: &mut HostState, stream: i32) -> Done {
    match stream {
        0 | 1 => {}
        2 | 3 => return Ok(()), // TCP: there is none
        _ => return Err(Status::BadArgument),
    }
    if let Some(context) = state.filter.touch() {
        context.is_closed = true;
    }
    Ok(())
}

fn set_effective(_: &mut [u8], state: &mut HostState, id: i32) -> Done {
    let id = id.cast_unsigned();
    if !state.filter.is_alive(id) {
        return Err(Status::BadArgument);
    }
    state.filter.current = id;
    Ok(())
}

fn set_tick(_: &mut [u8], state: &mut HostState, period: i32) -> Done {
    let period = Duration::from_millis(u64::from(period.cast_unsigned()));
    state.filter.new_tick = Some(period);
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the ABI's")]
fn respond(
    data: &mut [u8],
    state: &mut HostState,
    status: i32,
    details: i32,
    details_length: i32,
    body: i32,
    body_length: i32,
    headers: i32,
    headers_length: i32,
    grpc: i32,
) -> Done {
    let details = bytes(data, (details, details_length))?;
    let body = bytes(data, (body, body_length))?;
    let listed = pairs::read(bytes(data, (headers, headers_length))?, limits::FILTER_PAIRS_MAX);
    // A list that cannot be read is none, as in Envoy: what was to be refused shall not go on.
    let listed = listed.unwrap_or_default();
    let Some(context) = state.filter.touch() else {
        tell(state, "proxy_send_local_response: there is no exchange to answer");
        return Ok(());
    };
    if context.is_ending || std::mem::replace(&mut context.has_answered, true) {
        tell(state, "proxy_send_local_response: the exchange has been answered already");
        return Ok(());
    }
    let mut local = LocalResponse::default();
    match u16::try_from(status).ok().filter(|status| (200..=599).contains(status)) {
        Some(status) => local.status = status,
        None => context.blame(format!("a response of status {status}; expected 200 to 599")),
    }
    for (name, value) in listed {
        let value = value.trim_ascii();
        if name.first() == Some(&b':') || is_of_connection(name) {
            continue;
        }
        if !is_token(name) || !is_field_value(value) {
            let name = String::from_utf8_lossy(&name[..name.len().min(128)]).into_owned();
            context.blame(format!("header {name:?} of a response cannot be sent"));
            break;
        }
        local.fields.push(&name.to_ascii_lowercase(), value);
    }
    let most = context.known.bounds.body_bytes_max;
    if body.len() > most {
        context.blame(format!("a response of {} bytes, limit is {most}", body.len()));
    }
    let is_grpc = is_grpc(&context.request.fields);
    match is_grpc {
        true => speak_grpc(&mut local, grpc, body),
        false if !body.is_empty() => {
            if !local.fields.contains("content-type") {
                local.fields.push(b"content-type", b"text/plain");
            }
            local.body.extend_from_slice(body);
        }
        false => {}
    }
    context.local = Some(local);
    let details = String::from_utf8_lossy(&details[..details.len().min(256)]).into_owned();
    context.details = Some(details.clone());
    if !details.is_empty() {
        tell(state, &format!("answered by the filter: {details}"));
    }
    Ok(())
}

/// What a client of gRPC reads: a head that says how its call has ended, and no body. The status is
/// the filter's, or what the HTTP status stands for; the body becomes the message.
fn speak_grpc(local: &mut LocalResponse, grpc: i32, body: &[u8]) {
    let status = match u8::try_from(grpc) {
        Ok(status @ 0..=16) => status,
        _ => grpc_status(local.status),
    };
    local.status = 200;
    local.fields.set(b"content-type", b"application/grpc");
    local.fields.set(b"grpc-status", status.to_string().as_bytes());
    if !body.is_empty() {
        local.fields.set(b"grpc-message", &grpc_message(body));
    }
}

/// The gRPC status of an HTTP status (grpc/grpc, `doc/http-grpc-status-mapping.md`).
fn grpc_status(http: u16) -> u8 {
    match http {
        200 => 0,
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// A message as `grpc-message` carries it: what is not printable, and `%`, as escapes.
fn grpc_message(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    for &byte in &body[..body.len().min(limits::GRPC_MESSAGE_BYTES_MAX)] {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(byte),
            _ => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    out
}
