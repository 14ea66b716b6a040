//! gRPC calls and streams: asked for here, opened when the guest has returned.

use std::time::Duration;

use send_wrapper::SendWrapper;
use wasmtime::{Caller, Linker};

use super::super::super::hostcalls::{LinkResult, Request, Served, memory_of};
use super::super::super::reach::Url;
use super::super::super::spec::LogLevel;
use super::super::super::state::HostState;
use super::super::grpc::{Asked, Cancelled, Line};
use super::super::pairs;
use super::{Done, Place, Status, bytes, does, give, put_u32, status_of};
use crate::http::message::{BodyLength, is_token};
use crate::limits;

/// Defines a function that opens a line: the parameters of the import, and what they say.
macro_rules! opens {
    ($linker:ident, $name:ident, ($($argument:ident),*), $to:ident, $wanted:expr) => {{
        let _linker = $linker.func_wrap(
            "env",
            $name,
            |mut caller: Caller<'_, HostState>, $($argument: i32),*, $to: i32| {
                let memory = memory_of(&mut caller)?;
                let (data, state) = memory.data_and_store_mut(&mut caller);
                wasmtime::Result::Ok(status_of(open(data, state, &$wanted, $to)))
            },
        )?;
    }};
}

pub(super) fn serve(linker: &mut Linker<HostState>, name: &str, types: &str) -> LinkResult {
    match (name, types) {
        ("proxy_grpc_call", "i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 -> i32") => {
            opens!(linker, name, (u, ul, s, sl, m, ml, d, dl, at, length, timeout), to, {
                let wanted = Wanted::new((u, ul), (s, sl), (m, ml), (d, dl));
                wanted.with((at, length), timeout)
            });
        }
        // Of 0.1.0: without initial metadata.
        ("proxy_grpc_call", "i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 -> i32") => {
            opens!(linker, name, (u, ul, s, sl, m, ml, at, length, timeout), to, {
                let wanted = Wanted::new((u, ul), (s, sl), (m, ml), (0, 0));
                wanted.with((at, length), timeout)
            });
        }
        ("proxy_grpc_stream", "i32 i32 i32 i32 i32 i32 i32 i32 i32 -> i32") => {
            opens!(linker, name, (u, ul, s, sl, m, ml, d, dl), to, {
                Wanted::new((u, ul), (s, sl), (m, ml), (d, dl))
            });
        }
        ("proxy_grpc_stream", "i32 i32 i32 i32 i32 i32 i32 -> i32") => {
            opens!(linker, name, (u, ul, s, sl, m, ml), to, {
                Wanted::new((u, ul), (s, sl), (m, ml), (0, 0))
            });
        }
        ("proxy_grpc_send", "i32 i32 i32 i32 -> i32") => {
            does!(linker, name, send, (token: i32, at: i32, length: i32, ends: i32));
        }
        ("proxy_grpc_cancel", "i32 -> i32") => does!(linker, name, cancel, (token: i32)),
        ("proxy_grpc_close", "i32 -> i32") => does!(linker, name, close, (token: i32)),
        ("proxy_get_status", "i32 i32 i32 -> i32") => {
            linker.func_wrap_async("env", name, |caller, to: (i32, i32, i32)| {
                Box::new(get_status(caller, to))
            })?;
        }
        _ => return Ok(Served::No),
    }
    Ok(Served::Yes)
}

/// How the gRPC call has ended that a callback is about; 0 without one.
async fn get_status(
    mut caller: Caller<'_, HostState>,
    (code_to, to, size): (i32, i32, i32),
) -> wasmtime::Result<i32> {
    let memory = memory_of(&mut caller)?;
    let (data, state) = memory.data_and_store_mut(&mut caller);
    let (code, message) = state.filter.status.clone();
    if let Err(status) = put_u32(data, code_to, code) {
        return Ok(status as i32);
    }
    give(&mut caller, memory, message, (to, size)).await
}

/// What a guest says of a line: where to, which method, with which metadata; of a call its message,
/// too, and the time that it has in milliseconds.
struct Wanted {
    upstream: Place,
    service: Place,
    method: Place,
    metadata: Place,
    message: Option<Place>,
    timeout: u32,
}

impl Wanted {
    fn new(upstream: Place, service: Place, method: Place, metadata: Place) -> Self {
        Self { upstream, service, method, metadata, message: None, timeout: 0 }
    }

    fn with(self, message: Place, timeout: i32) -> Self {
        Self { message: Some(message), timeout: timeout.cast_unsigned(), ..self }
    }

    /// The time for the whole of a call.
    fn patience(&self, state: &HostState) -> Option<Duration> {
        self.message?;
        let timeout = match self.timeout {
            0 => state.plugin.spec.timeout,
            millis => Duration::from_millis(u64::from(millis)),
        };
        Some(timeout.min(limits::FILTER_CALL_TIMEOUT_MAX))
    }
}

/// Opens a line: a call if there is a message, which is then all that is sent.
fn open(data: &mut [u8], state: &mut HostState, wanted: &Wanted, to: i32) -> Done {
    let upstream = bytes(data, wanted.upstream)?;
    let (service, method) = (bytes(data, wanted.service)?, bytes(data, wanted.method)?);
    let metadata = pairs::read(bytes(data, wanted.metadata)?, limits::FILTER_PAIRS_MAX);
    let first = wanted.message.map(|place| bytes(data, place)).transpose()?;
    let timeout = wanted.patience(state);
    let request = match request_of(state, upstream, (service, method), metadata, timeout) {
        Ok(request) => request,
        Err(Refusal { status, why }) => {
            warn(state, &why);
            return Err(status);
        }
    };
    if state.filter.calls >= limits::FILTER_CALLS_MAX {
        let most = limits::FILTER_CALLS_MAX;
        warn(state, &format!("{most} calls wait for their answers, the limit"));
        return Err(Status::InternalFailure);
    }
    let token = state.filter.new_token();
    let line = Line::new(first.is_some(), state.filter.current);
    if let Some(first) = first {
        if !line.send(first) {
            warn(state, &format!("a message of {} bytes is too large", first.len()));
            return Err(Status::InternalFailure);
        }
        line.close();
    }
    put_u32(data, to, token)?;
    state.filter.calls += 1;
    state.filter.lines.insert(token, SendWrapper::new(line.clone()));
    state.filter.asked_lines.push(SendWrapper::new(Asked { token, request, line, timeout }));
    Ok(())
}

fn warn(state: &HostState, why: &str) {
    state.host.log.gateway(LogLevel::Warn, state.ids(), &format!("proxy_grpc: {why}"));
}

struct Refusal {
    status: Status,
    why: String,
}

/// The head of the request, if the upstream is a service's name or an allowed host.
fn request_of(
    state: &HostState,
    upstream: &[u8],
    (service, method): (&[u8], &[u8]),
    metadata: Option<Vec<(&[u8], &[u8])>>,
    timeout: Option<Duration>,
) -> Result<Request, Refusal> {
    let unknown = |why: String| Refusal { status: Status::ParseFailure, why };
    let cannot = |why: String| Refusal { status: Status::InternalFailure, why };
    let name = upstream_name(upstream);
    let name =
        std::str::from_utf8(name).map_err(|_| unknown("the upstream is not UTF-8".into()))?;
    let url = origin_of(state, name).map_err(unknown)?;
    let is_name = |name: &&[u8]| !name.is_empty() && name.split(|&it| it == b'.').all(is_token);
    let (service, method) = match [service, method].iter().all(is_name) {
        true => (String::from_utf8_lossy(service), String::from_utf8_lossy(method)),
        false => return Err(cannot("the service or the method is not a name".into())),
    };
    let metadata = metadata.ok_or_else(|| cannot("the metadata are no list".into()))?;
    // What is of the connection and of the framing is passed over by `from_pairs`.
    let ours = ["content-type", "grpc-timeout"];
    let metadata: Vec<_> = metadata
        .into_iter()
        .filter(|(name, _)| !ours.iter().any(|our| name.eq_ignore_ascii_case(our.as_bytes())))
        .collect();
    let url = format!("{url}/{service}/{method}");
    let request = Request::from_pairs(b"POST", url, &metadata, Vec::new());
    let mut request = request.map_err(cannot)?;
    let head = &mut request.head;
    head.body = BodyLength::Unknown;
    head.fields.push(b"content-type", b"application/grpc");
    if let Some(timeout) = timeout {
        // At most 300000m: eight digits are allowed.
        head.fields.push(b"grpc-timeout", format!("{}m", timeout.as_millis()).as_bytes());
    }
    Ok(request)
}

/// Scheme and authority of a service, or of an allowed host: in the clear or by TLS, as the
/// `config` names it.
fn origin_of(state: &HostState, name: &str) -> Result<String, String> {
    let outbound = &state.plugin.spec.reach.outbound;
    let mut refusal = String::new();
    for scheme in ["http", "https"] {
        let origin = format!("{scheme}://{name}");
        let url = format!("{origin}/");
        let parsed = Url::parse(&url).map_err(|why| format!("the upstream {name:?}: {why}"))?;
        match outbound.find(&parsed) {
            Err(why) if state.host.scene.answers().is_none() => refusal = why,
            _ => return Ok(origin),
        }
    }
    Err(refusal)
}

/// The name of a cluster, which may also come as Envoy's message `GrpcService`: its field 1
/// (`envoy_grpc`) has it as field 1.
fn upstream_name(upstream: &[u8]) -> &[u8] {
    let first = |bytes| first_field(bytes);
    first(upstream).and_then(first).unwrap_or(upstream)
}

/// The bytes of field 1 at the beginning of a message of Protocol Buffers.
fn first_field(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(&[0x0a])?;
    // Lengths under 128 are one byte: names are that short.
    let (&length, rest) = rest.split_first().filter(|(length, _)| **length < 0x80)?;
    rest.get(..usize::from(length))
}

fn send(
    data: &mut [u8],
    state: &mut HostState,
    token: i32,
    at: i32,
    length: i32,
    ends: i32,
) -> Done {
    let message = bytes(data, (at, length))?;
    let line = state.filter.line(token.cast_unsigned()).ok_or(Status::NotFound)?;
    if line.is_call {
        return Err(Status::BadArgument);
    }
    if !line.send(message) {
        warn(state, "a message on a stream that is closed, or on which too much waits");
        return Err(Status::BadArgument);
    }
    if ends != 0 {
        line.close();
    }
    Ok(())
}

fn cancel(_: &mut [u8], state: &mut HostState, token: i32) -> Done {
    let line = state.filter.line(token.cast_unsigned()).ok_or(Status::NotFound)?;
    line.cancel(Cancelled::ByGuest);
    state.filter.lines.remove(&token.cast_unsigned());
    Ok(())
}

/// Nothing more is sent over a stream; a call, which has sent everything, is given up.
fn close(data: &mut [u8], state: &mut HostState, token: i32) -> Done {
    let line = state.filter.line(token.cast_unsigned()).ok_or(Status::NotFound)?;
    if line.is_call {
        return cancel(data, state, token);
    }
    line.close();
    Ok(())
}
