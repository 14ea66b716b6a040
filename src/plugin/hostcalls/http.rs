//! `env.http_call`: one request to a service of the gateway or to a host that the plugin's `config`
//! names. The guest waits for the whole answer, the worker goes on with everything else.
//!
//! Two forms, told apart by their types: JSON in and out, and that of C. What a guest asks is
//! checked like a client's input. A call that cannot be made, or that fails, is answered: status 0
//! and the reason. Only a bad address and the end of the plugin's own time end the guest.

mod request;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use send_wrapper::SendWrapper;
use wasmtime::{Caller, Linker};

use super::super::failure::{CallError, TimedOut};
use super::super::host::Host;
use super::super::json_abi::{write_body, write_headers, write_string};
use super::super::memory;
use super::super::module::Plugin;
use super::super::reach::{Found, Origin};
use super::super::spec::LogLevel;
use super::super::state::HostState;
use super::{LinkResult, Served, bytes, c_string, memory_of, packed};
use crate::error::Error;
use crate::http::cdn_loop;
use crate::http::connection::Scheme;
use crate::http::message::{BodyLength, ResponseHead};
use crate::limits;
use crate::upstream::call::{Answer, Bounds, Message, RequestSink, ResponseSource};
use crate::upstream::cluster::{Address, Cluster, Endpoint, Endpoints, Rank};
use crate::upstream::echo;
pub(in crate::plugin) use request::Request;

pub(super) fn serve(linker: &mut Linker<HostState>, types: &str) -> LinkResult {
    match types {
        "i32 i32 -> i64" => {
            linker.func_wrap_async("env", "http_call", |caller, (input, length): (i32, i32)| {
                Box::new(json_form(caller, input, length))
            })?;
        }
        "i32 i32 i32 i32 -> i32" => {
            linker.func_wrap_async(
                "env",
                "http_call",
                |caller, (method, url, headers, body): (i32, i32, i32, i32)| {
                    Box::new(c_form(caller, [method, url, headers, body]))
                },
            )?;
        }
        _ => return Ok(Served::No),
    }
    Ok(Served::Yes)
}

/// What a call came to: an answer, or the reason for status 0.
pub(in crate::plugin) type Outcome = Result<Answer, String>;

/// `http_call(ptr, len) -> i64`: `{method,url,headers,body,timeoutMs}` to
/// `{statusCode,headers,body,error}`.
async fn json_form(
    mut caller: Caller<'_, HostState>,
    input: i32,
    length: i32,
) -> wasmtime::Result<i64> {
    let (input, _) = bytes(&mut caller, "http_call", input, length)?;
    let outcome = match Request::from_json(input) {
        Ok(request) => perform(&caller, request).await?,
        Err(reason) => refused(&caller, reason),
    };
    let reply = to_json(&outcome);
    let memory = memory_of(&mut caller)?;
    let address = memory::reply(&mut caller, memory, &reply).await?;
    Ok(packed(address, reply.len()))
}

/// `response *http_call(char *method, char *url, headers *, char *body)`.
async fn c_form(mut caller: Caller<'_, HostState>, texts: [i32; 4]) -> wasmtime::Result<i32> {
    let [method, url, headers, body] = texts;
    let mut text = |what: &str, address: i32, most: usize| {
        let what = format!("http_call: the {what}");
        c_string(&mut caller, &what, address, most)
    };
    let method = text("method", method, limits::NAME_BYTES_MAX)?;
    let url = text("url", url, limits::URI_BYTES_MAX)?;
    let headers = text("headers", headers, limits::HEAD_BYTES_MAX)?;
    let body = text("body", body, limits::PLUGIN_CALL_BODY_BYTES_MAX)?;
    let outcome = match Request::from_texts(&method, &url, &headers, body) {
        Ok(request) => perform(&caller, request).await?,
        Err(reason) => refused(&caller, reason),
    };
    let memory = memory_of(&mut caller)?;
    let (status, headers, body) = in_parts(outcome);
    // One piece: the structure, the headers and a NUL, the body and a NUL.
    let length = STRUCTURE_BYTES + headers.len() + 1 + body.len() + 1;
    let address = memory::reserve_reply(&mut caller, memory, length as u32).await?;
    let headers_at = address + STRUCTURE_BYTES as u32;
    let body_at = headers_at + headers.len() as u32 + 1;
    let mut reply = Vec::with_capacity(length);
    for field in [u32::from(status), headers_at, headers.len() as u32, body_at, body.len() as u32] {
        reply.extend_from_slice(&field.to_le_bytes());
    }
    for part in [headers, body] {
        reply.extend_from_slice(&part);
        reply.push(0);
    }
    memory::write(&mut caller, memory, "http_call", address, &reply)?;
    Ok(address.cast_signed())
}

/// `{u32 status, u32 headers_ptr, u32 headers_len, u32 body_ptr, u32 body_len}`.
const STRUCTURE_BYTES: usize = 20;

/// Makes the call within the guest's own bound and the time that the plugin has left.
async fn perform(
    caller: &Caller<'_, HostState>,
    mut request: Request,
) -> Result<Outcome, CallError> {
    let state = caller.data();
    if !state.passed.is_empty() {
        // A call that leads back here is a circle, like a target that does.
        request.head.fields.push(cdn_loop::NAME.as_bytes(), &state.passed);
    }
    let left = state.check_deadline().map_err(timed_out)?;
    let wait = request.timeout.map_or(left, |own| own.min(left));
    // Taken out, because the future below must not borrow the store.
    let (host, plugin) = (state.host.clone(), state.plugin.clone());
    let call = async {
        let call = make(&host, &plugin, &request);
        match crate::io::timeout(wait, call).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("no whole answer within {wait:?}")),
        }
    };
    let outcome = SendWrapper::new(call).await;
    if outcome.is_err() {
        state.check_deadline().map_err(timed_out)?;
    }
    Ok(match outcome {
        Ok(answer) => Ok(answer),
        Err(reason) => {
            let (method, url) = (request.head.method.as_str(), request.shown());
            refused(caller, format!("{method} {url}: {reason}"))
        }
    })
}

fn timed_out(error: TimedOut) -> CallError {
    wasmtime::Error::from(error).into()
}

/// Tells the log, and with the result the guest, why there is no answer.
fn refused(caller: &Caller<'_, HostState>, reason: String) -> Outcome {
    let state = caller.data();
    let text = format!("http_call: {reason}");
    state.host.log.gateway(LogLevel::Warn, state.ids(), &text);
    Err(reason)
}

/// Makes the call, whoever bounds its time.
pub(in crate::plugin) async fn make(
    host: &Rc<Host>,
    plugin: &Plugin,
    request: &Request,
) -> Outcome {
    let outbound = &plugin.spec.reach.outbound;
    let url = request.url()?;
    if let Some(answers) = host.scene.answers() {
        return answers(request.head.method.as_str(), request.whole_url());
    }
    match outbound.find(&url)? {
        Found::Service(callee) => match &*callee.cluster {
            Cluster::Echo => Ok(echoed(request, &callee.name)),
            Cluster::Endpoints(endpoints) => send(host, &outbound.bounds, endpoints, request).await,
        },
        // Never under another name: that would be another site on an allowed address.
        Found::Origin(origin) => to_origin(host, &outbound.bounds, origin, request).await,
    }
}

/// Why a stream could not be used to its end.
pub(in crate::plugin) enum Unspoken {
    /// There is nowhere to open it to.
    Nowhere(String),
    /// It could not be opened, or has broken.
    Broken(Error),
}

/// Opens a stream of HTTP/2 to where a request leads and has `talk` use it.
pub(in crate::plugin) async fn open_stream<T>(
    host: &Rc<Host>,
    plugin: &Plugin,
    request: &Request,
    talk: impl AsyncFn(RequestSink<'_>, ResponseSource<'_>) -> Result<T, Error>,
    may_repeat: &dyn Fn() -> bool,
) -> Result<T, Unspoken> {
    if host.scene.answers().is_some() {
        return Err(Unspoken::Nowhere("there is no gRPC in tests of cases".to_owned()));
    }
    let outbound = &plugin.spec.reach.outbound;
    let url = request.url().map_err(Unspoken::Nowhere)?;
    let one;
    let endpoints = match outbound.find(&url).map_err(Unspoken::Nowhere)? {
        Found::Service(callee) => match &*callee.cluster {
            Cluster::Echo => {
                return Err(Unspoken::Nowhere("builtin:echo speaks no gRPC".to_owned()));
            }
            Cluster::Endpoints(endpoints) => endpoints,
        },
        Found::Origin(origin) => {
            let addresses = Result::clone(&origin.addresses.load()).map_err(Unspoken::Nowhere)?;
            // gRPC without TLS begins with HTTP/2, as to a target h2://.
            let address = match &origin.grpc_tls {
                None => Address::Http2(addresses),
                Some(tls) => Address::Tls(addresses, tls.clone()),
            };
            one = single(origin, address);
            &one
        }
    };
    let opened = host.client.talk(endpoints, &request.head, &outbound.bounds, talk, may_repeat);
    opened.await.map_err(Unspoken::Broken)
}

/// The services' own target that needs no origin.
fn echoed(request: &Request, name: &str) -> Answer {
    let local =
        echo::answer(&request.head, (Scheme::Http, name), &request.head.path, &request.body);
    Answer {
        head: ResponseHead {
            status: local.status,
            fields: local.fields,
            body: BodyLength::Known(local.body.len() as u64),
            upgrade: None,
        },
        body: local.body,
        held: None,
    }
}

async fn to_origin(
    host: &Rc<Host>,
    bounds: &Bounds,
    origin: &Origin,
    request: &Request,
) -> Outcome {
    let addresses = Result::clone(&origin.addresses.load())?;
    let address = match &origin.tls {
        None => Address::Tcp(addresses),
        Some(tls) => Address::Tls(addresses, tls.clone()),
    };
    send(host, bounds, &single(origin, address), request).await
}

/// An origin as the only endpoint of a cluster.
fn single(origin: &Origin, address: Address) -> Endpoints {
    let (id, authority) = (origin.id, origin.authority());
    let (url, condition) = (origin.to_string(), Arc::clone(&origin.condition));
    let target = origin.target;
    let rank = Rank::default();
    let endpoint = Endpoint { id, target, address, authority, url, condition, rank };
    Endpoints::new(id, vec![(endpoint, 1)])
}

async fn send(host: &Rc<Host>, bounds: &Bounds, to: &Endpoints, request: &Request) -> Outcome {
    let message = Message { head: &request.head, body: &request.body };
    let most = limits::PLUGIN_CALL_BODY_BYTES_MAX;
    host.client.call(to, message, bounds, most).await.map_err(describe)
}

fn describe(error: Error) -> String {
    match error {
        // The bound of an exchange has another name.
        Error::ResponseTooLarge => {
            let most = limits::PLUGIN_CALL_BODY_BYTES_MAX;
            format!("the answer's body is over {most} bytes, the limit of http_call")
        }
        error => error.to_string(),
    }
}

fn to_json(outcome: &Outcome) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    match outcome {
        Ok(answer) => {
            out.extend_from_slice(b"{\"statusCode\":");
            out.extend_from_slice(answer.head.status.to_string().as_bytes());
            write_headers(&mut out, None, &answer.head.fields);
            write_body(&mut out, Some(&answer.body));
        }
        Err(reason) => {
            out.extend_from_slice(b"{\"statusCode\":0,\"headers\":{},\"body\":\"\",\"error\":");
            write_string(&mut out, reason);
        }
    }
    out.push(b'}');
    out
}

/// Status, headers as lines that end in LF, and body; of a failure status 0 and the reason as body.
fn in_parts(outcome: Outcome) -> (u16, Vec<u8>, Vec<u8>) {
    match outcome {
        Ok(answer) => {
            let mut lines = Vec::new();
            for (name, value) in answer.head.fields.iter() {
                for part in [name, b": ", value, b"\n"] {
                    lines.extend_from_slice(part);
                }
            }
            (answer.head.status, lines, answer.body)
        }
        Err(reason) => (0, Vec::new(), reason.into_bytes()),
    }
}

/// A guest's own bound of one call.
fn timeout_of(millis: u64) -> Option<Duration> {
    (millis > 0).then(|| Duration::from_millis(millis))
}
