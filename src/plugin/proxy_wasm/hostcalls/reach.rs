//! Calls that leave the gateway, and the functions that there is nothing behind.

use std::io::Read as _;
use std::time::Duration;

use flate2::Compression;
use flate2::read::{ZlibDecoder, ZlibEncoder};
use wasmtime::{Caller, Linker};

use super::super::super::hostcalls::{LinkResult, Request, Served, memory_of};
use super::super::super::reach::{Found, Url};
use super::super::super::spec::LogLevel;
use super::super::super::state::HostState;
use super::super::pairs;
use super::super::state::Asked;
use super::{Done, Status, Value, bytes, does, give, gives, put_u32, status_of, tell};
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
        ("proxy_call_foreign_function", "i32 i32 i32 i32 i32 i32 -> i32") => {
            gives!(linker, name, foreign,
                (at: i32, length: i32, arguments: i32, arguments_length: i32));
        }
        _ => return Ok(Served::No),
    }
    Ok(Served::Yes)
}

/// The functions of Envoy that filters call by name and that mean something here.
fn foreign(
    data: &mut [u8],
    state: &mut HostState,
    at: i32,
    length: i32,
    arguments: i32,
    arguments_length: i32,
) -> Value {
    let name = bytes(data, (at, length))?;
    let arguments = bytes(data, (arguments, arguments_length))?;
    let most = limits::PLUGIN_CALL_BODY_BYTES_MAX;
    match name {
        // Routes are chosen before plugins run: there is nothing to forget.
        b"clear_route_cache" => Ok(Vec::new()),
        b"compress" if arguments.len() <= most => {
            let mut encoder = ZlibEncoder::new(arguments, Compression::default());
            let mut out = Vec::new();
            encoder.read_to_end(&mut out).map_err(|_| Status::InternalFailure)?;
            Ok(out)
        }
        b"uncompress" => {
            let mut out = Vec::new();
            // One byte more tells what is too large.
            let decoder = ZlibDecoder::new(arguments).take(most as u64 + 1).read_to_end(&mut out);
            match decoder {
                Ok(length) if length <= most => Ok(out),
                Ok(_) | Err(_) => {
                    tell(state, "uncompress: no zlib data, or too much of it");
                    Err(Status::SerializationFailure)
                }
            }
        }
        b"compress" => Err(Status::BadArgument),
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
