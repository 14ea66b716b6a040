//! Calls that leave the gateway, and the functions that there is nothing behind.

use std::time::Duration;

use wasmtime::{Caller, Linker};

use super::super::super::hostcalls::{LinkResult, Request, Served, memory_of};
use super::super::super::reach::{Found, Url};
use super::super::super::spec::LogLevel;
use super::super::super::state::HostState;
use super::super::pairs;
use super::super::state::Asked;
use super::{Done, Status, Value, bytes, does, give, gives, put_u32, status_of};
use crate::http::message::is_authority;
use crate::limits;

pub(super) fn serve(linker: &mut Linker<HostState>, name: &str, types: &str) -> LinkResult {
    match (name, types) {
        ("proxy_http_call", "i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 -> i32") => {
            does!(linker, name, http_call, (
                upstream: i32, upstream_length: i32, headers: i32, headers_length: i32, body: i32,
                body_length: i32, _trailers: i32, _trailers_length: i32, timeout: i32, to: i32
            ));
        }
        (
            "proxy_grpc_call",
            "i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 -> i32"
            // Of 0.1.0: without initial metadata.
            | "i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 -> i32",
        ) => answers(linker, name, types, Status::InternalFailure)?,
        (
            "proxy_grpc_stream",
            "i32 i32 i32 i32 i32 i32 i32 i32 i32 -> i32" | "i32 i32 i32 i32 i32 i32 i32 -> i32",
        ) => answers(linker, name, types, Status::InternalFailure)?,
        ("proxy_grpc_send", "i32 i32 i32 i32 -> i32")
        | ("proxy_grpc_cancel" | "proxy_grpc_close", "i32 -> i32") => {
            answers(linker, name, types, Status::NotFound)?;
        }
        ("proxy_get_status", "i32 i32 i32 -> i32") => {
            linker.func_wrap_async("env", name, |caller, to: (i32, i32, i32)| {
                Box::new(get_status(caller, to))
            })?;
        }
        ("proxy_call_foreign_function", "i32 i32 i32 i32 i32 i32 -> i32") => {
            gives!(linker, name, foreign,
                (at: i32, length: i32, _arguments: i32, _arguments_length: i32));
        }
        _ => return Ok(Served::No),
    }
    Ok(Served::Yes)
}

/// Defines a function of any type that does nothing but answer `status`.
fn answers(
    linker: &mut Linker<HostState>,
    name: &str,
    types: &str,
    status: Status,
) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    let count = types.split(" -> ").next().map_or(0, |params| params.split(' ').count());
    let params = std::iter::repeat_n(wasmtime::ValType::I32, count);
    let ty = wasmtime::FuncType::new(&engine, params, [wasmtime::ValType::I32]);
    linker.func_new("env", name, ty, move |_, _, results| {
        if let Some(result) = results.first_mut() {
            *result = wasmtime::Val::I32(status as i32);
        }
        Ok(())
    })?;
    Ok(())
}

/// The last status of a gRPC call: there was none.
async fn get_status(
    mut caller: Caller<'_, HostState>,
    (code, to, size): (i32, i32, i32),
) -> wasmtime::Result<i32> {
    let memory = memory_of(&mut caller)?;
    if let Err(status) = put_u32(memory.data_mut(&mut caller), code, 0) {
        return Ok(status as i32);
    }
    give(&mut caller, memory, Vec::new(), (to, size)).await
}

fn foreign(
    data: &mut [u8],
    _: &mut HostState,
    at: i32,
    length: i32,
    _arguments: i32,
    _arguments_length: i32,
) -> Value {
    match bytes(data, (at, length))? {
        // Routes are chosen before plugins run: there is nothing to forget.
        b"clear_route_cache" => Ok(Vec::new()),
        _ => Err(Status::NotFound),
    }
}

#[expect(clippy::too_many_arguments, reason = "the ABI's")]
fn http_call(
    data: &mut [u8],
    state: &mut HostState,
    upstream: i32,
    upstream_length: i32,
    headers: i32,
    headers_length: i32,
    body: i32,
    body_length: i32,
    _trailers: i32,
    _trailers_length: i32,
    timeout: i32,
    to: i32,
) -> Done {
    let upstream = bytes(data, (upstream, upstream_length))?;
    let listed = pairs::read(bytes(data, (headers, headers_length))?, limits::FILTER_PAIRS_MAX);
    let listed = listed.ok_or(Status::BadArgument)?;
    let body = bytes(data, (body, body_length))?;
    let mut request = match request_of(state, upstream, &listed, body) {
        Ok(request) => request,
        Err(why) => {
            let text = format!("proxy_http_call: {why}");
            state.host.log.gateway(LogLevel::Warn, state.ids(), &text);
            return Err(Status::BadArgument);
        }
    };
    if state.filter.calls >= limits::FILTER_CALLS_MAX {
        let most = limits::FILTER_CALLS_MAX;
        let text = format!("proxy_http_call: {most} calls wait for their answers, the limit");
        state.host.log.gateway(LogLevel::Warn, state.ids(), &text);
        return Err(Status::InternalFailure);
    }
    if let Some(context) = state.filter.context()
        && !context.known.passed.is_empty()
    {
        // A call that leads back here is a circle, like a target that does.
        let name = crate::http::cdn_loop::NAME.as_bytes();
        request.head.fields.push(name, &context.known.passed);
    }
    let token = state.filter.new_token();
    put_u32(data, to, token)?;
    let timeout = match timeout.cast_unsigned() {
        0 => state.plugin.spec.timeout,
        millis => Duration::from_millis(u64::from(millis)),
    };
    let timeout = timeout.min(limits::FILTER_CALL_TIMEOUT_MAX);
    state.filter.calls += 1;
    state.filter.asked.push(Asked { token, request, timeout });
    Ok(())
}

/// The request, if it leads to somewhere: to a service by its name, or to an allowed host.
fn request_of(
    state: &HostState,
    upstream: &[u8],
    listed: &[(&[u8], &[u8])],
    body: &[u8],
) -> Result<Request, String> {
    let upstream = std::str::from_utf8(upstream).map_err(|_| "the upstream is not UTF-8")?;
    let control = |wanted: &str| {
        let found = listed.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()));
        let text = found.and_then(|(_, value)| std::str::from_utf8(value).ok());
        text.ok_or_else(|| format!("the header {wanted} is missing or is not UTF-8"))
    };
    let (method, path) = (control(":method")?, control(":path")?);
    let authority = control(":authority")?;
    if !path.starts_with('/') {
        return Err(format!("the path {path:?} does not begin with /"));
    }
    let outbound = &state.plugin.spec.reach.outbound;
    let mut refusal = String::new();
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://{upstream}{path}");
        let found = Url::parse(&url).and_then(|parsed| {
            outbound.find(&parsed).map(|found| matches!(found, Found::Service(_)))
        });
        if let (Err(why), None) = (&found, state.host.scene.answers()) {
            refusal.clone_from(why);
            continue;
        }
        let mut request = Request::from_pairs(method.as_bytes(), url, listed, body.to_vec())?;
        // An origin outside is called by its own name alone.
        if found == Ok(true) && is_authority(authority.as_bytes()) {
            authority.clone_into(&mut request.head.authority);
        }
        return Ok(request);
    }
    Err(refusal)
}
