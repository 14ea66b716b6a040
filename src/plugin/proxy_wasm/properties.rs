//! What a filter is told by paths (`proxy_get_property`): the attributes of Envoy that mean
//! something here (the table in docs/foreign-plugins.md), and what filters of the same exchange
//! have set.
//!
//! Numbers, times (nanoseconds since 1970) and durations are eight bytes, little-endian; truth is
//! one byte; lists of fields are pairs, each name once with its values joined by commas.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use super::super::spec::{NonUtf8, PluginSpec};
use super::context::{Context, Direction, Stage};
use super::map::{Map, View};
use super::pairs;
use crate::http::message::BodyLength;

/// Why there is no value at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// There is nothing.
    Unknown,
    /// There are attributes below it, which have no form together.
    Several,
}

type Value = Result<Vec<u8>, Absent>;

/// What filters set stands among Envoy's filter state under this prefix.
const SET: &[u8] = b"filter_state\0wasm.";

/// The value at a path, whose segments a NUL parts. What the gateway knows cannot be replaced.
pub(super) fn get(
    context: Option<&Context>,
    spec: &PluginSpec,
    policy: NonUtf8,
    path: &[u8],
) -> Value {
    if path.is_empty() {
        return Err(Absent::Several);
    }
    let path = path.strip_suffix(b"\0").unwrap_or(path);
    let known = known(context, spec, policy, path);
    if known != Err(Absent::Unknown) {
        return known;
    }
    let set = path.strip_prefix(SET).unwrap_or(path);
    let value = context.and_then(|context| context.properties.get(set));
    value.cloned().ok_or(Absent::Unknown)
}

fn known(context: Option<&Context>, spec: &PluginSpec, policy: NonUtf8, path: &[u8]) -> Value {
    let segments: Vec<&[u8]> = path.split(|&byte| byte == 0).collect();
    match segments.as_slice() {
        [b"plugin_name"] => text(&spec.name),
        [b"plugin_root_id"] => text(&spec.filter.root_id),
        [b"plugin_vm_id"] => text(&spec.filter.vm_id),
        [b"xds", rest @ ..] => xds(context, rest),
        [b"node", rest @ ..] => node(rest),
        // Of a listener that clients come to.
        [b"listener_direction"] => number(1),
        // Envoy's maps of what its configuration adds: there is none here.
        [b"metadata" | b"listener_metadata" | b"cluster_metadata" | b"route_metadata"] => {
            Ok(Vec::new())
        }
        [b"filter_state"]
        | [b"request" | b"response" | b"source" | b"destination"]
        | [b"connection" | b"upstream"] => Err(Absent::Several),
        _ => of_exchange(context.ok_or(Absent::Unknown)?, policy, &segments),
    }
}

fn node(rest: &[&[u8]]) -> Value {
    match rest {
        [] => Err(Absent::Several),
        [b"id" | b"cluster"] => text("odin"),
        _ => Err(Absent::Unknown),
    }
}

/// What Envoy knows by its configuration: a service is cluster, route and virtual host in one.
fn xds(context: Option<&Context>, rest: &[&[u8]]) -> Value {
    match rest {
        [] => Err(Absent::Several),
        [b"node", rest @ ..] => node(rest),
        [b"listener_direction"] => number(1),
        [b"listener_metadata" | b"cluster_metadata" | b"route_metadata" | b"filter_chain_name"] => {
            Ok(Vec::new())
        }
        [b"cluster_name" | b"route_name" | b"virtual_host_name"] => {
            text(&context.ok_or(Absent::Unknown)?.known.service)
        }
        _ => Err(Absent::Unknown),
    }
}

fn of_exchange(context: &Context, policy: NonUtf8, segments: &[&[u8]]) -> Value {
    let known = &context.known;
    match segments {
        [b"cluster_name" | b"route_name" | b"service"] => text(&known.service),
        [b"connection_id"] => number(known.connection_id.cast_signed()),
        [b"request", b"headers", key @ ..] => list(View::of(context, Map::Request), key, policy),
        [b"response", b"headers", key @ ..] => list(View::of(context, Map::Response), key, policy),
        [b"response", b"trailers", key @ ..] => {
            list(View::of(context, Map::ResponseTrailers), key, policy)
        }
        [b"request", name] => request(context, policy, name),
        [b"response", name] => response(context, name),
        [b"connection", name] => connection(context, name),
        [b"source", b"address"] => match known.client_port {
            0 => text(&known.client_ip.to_string()),
            port => text(&SocketAddr::new(known.client_ip, port).to_string()),
        },
        [b"source", b"port"] if known.client_port > 0 => number(known.client_port.into()),
        [b"destination", name] => {
            let local = known.local.ok_or(Absent::Unknown)?;
            match *name {
                b"address" => text(&local.to_string()),
                b"port" => number(local.port().into()),
                _ => Err(Absent::Unknown),
            }
        }
        [b"upstream", name] => upstream(context, name),
        _ => Err(Absent::Unknown),
    }
}

fn connection(context: &Context, name: &[u8]) -> Value {
    let tls = context.known.tls.as_deref();
    match name {
        b"id" => return number(context.known.connection_id.cast_signed()),
        b"mtls" => return Ok(vec![u8::from(tls.is_some_and(|tls| tls.client.is_some()))]),
        b"requested_server_name" => {
            return text(tls.and_then(|tls| tls.server_name.as_deref()).unwrap_or_default());
        }
        _ => {}
    }
    let tls = tls.ok_or(Absent::Unknown)?;
    let client = tls.client.as_ref().ok_or(Absent::Unknown);
    match name {
        b"tls_version" => text(tls.version),
        b"subject_peer_certificate" => text(&client?.subject),
        b"sha256_peer_certificate_digest" => text(&client?.fingerprint),
        _ => Err(Absent::Unknown),
    }
}

fn upstream(context: &Context, name: &[u8]) -> Value {
    let asked = context.known.upstream.as_deref();
    match (name, asked) {
        (b"address", Some(authority)) => text(authority),
        (b"port", Some(authority)) => {
            let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            number(port.ok_or(Absent::Unknown)?)
        }
        (b"transport_failure_reason", Some(_)) => text(""),
        _ => Err(Absent::Unknown),
    }
}

fn request(context: &Context, policy: NonUtf8, name: &[u8]) -> Value {
    let head = &context.request;
    let field = |name: &str| match head.fields.get(name) {
        Some(value) if policy.shows(value) => Ok(value.to_vec()),
        _ => Err(Absent::Unknown),
    };
    let body = size(of_phase(context, Direction::Request), head.body);
    match name {
        b"path" => Ok(format!("{}{}", head.path, head.query).into_bytes()),
        b"url_path" => text(&head.path),
        b"query" => text(head.query.strip_prefix('?').unwrap_or_default()),
        b"host" => text(&head.authority),
        b"scheme" => text(context.known.scheme),
        b"method" => text(head.method.as_str()),
        b"referer" => field("referer"),
        b"useragent" => field("user-agent"),
        b"id" => field("x-request-id"),
        b"protocol" => text(context.known.protocol),
        b"time" => number(nanoseconds(context.known.received)),
        b"duration" => {
            let took = SystemTime::now().duration_since(context.known.received);
            number(took.map_or(0, |took| i64::try_from(took.as_nanos()).unwrap_or(i64::MAX)))
        }
        b"size" => number(body),
        b"total_size" => number(body.saturating_add(head_bytes(context, Map::Request))),
        _ => Err(Absent::Unknown),
    }
}

fn response(context: &Context, name: &[u8]) -> Value {
    let head = &context.response;
    // So much of it has come.
    let have = of_phase(context, Direction::Response);
    let is_there = context.has_response && (context.stage == Stage::Over || context.is_ending);
    let body = if is_there { size(have, head.body) } else { 0 };
    match name {
        b"size" => return number(body),
        b"total_size" => return number(body.saturating_add(head_bytes(context, Map::Response))),
        b"flags" => return number(0),
        _ if !context.has_response => return Err(Absent::Unknown),
        _ => {}
    }
    match name {
        b"code" => number(head.status.into()),
        b"code_details" => match (&context.details, &context.known.upstream) {
            (Some(details), _) => text(details),
            (None, Some(_)) => text("via_upstream"),
            (None, None) => text("direct_response"),
        },
        b"grpc_status" => {
            let status = head.fields.get("grpc-status").and_then(|it| std::str::from_utf8(it).ok());
            number(status.and_then(|it| it.parse().ok()).ok_or(Absent::Unknown)?)
        }
        _ => Err(Absent::Unknown),
    }
}

/// All fields, or one: the values of a name joined.
fn list(view: Option<View<'_>>, key: &[&[u8]], policy: NonUtf8) -> Value {
    let mut joined: Vec<(Cow<'_, [u8]>, Vec<u8>)> = Vec::new();
    for (name, value) in view.map(|view| view.pairs(policy)).unwrap_or_default() {
        match joined.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => {
                values.push(b',');
                values.extend_from_slice(&value);
            }
            None => joined.push((name, value.into_owned())),
        }
    }
    match key {
        [] => {
            let mut out = Vec::new();
            pairs::write(joined.iter().map(|(name, value)| (&**name, &**value)), &mut out);
            Ok(out)
        }
        [key] => {
            let found = joined.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
            found.map(|(_, value)| value).ok_or(Absent::Unknown)
        }
        _ => Err(Absent::Unknown),
    }
}

/// Bytes of a body that are at hand. In the end those that have come piece by piece, or else what
/// its head says.
fn of_phase(context: &Context, direction: Direction) -> Option<usize> {
    let body = match direction {
        Direction::Request => context.request_body.as_ref(),
        Direction::Response => context.response_body.as_ref(),
    };
    let come = context.flows[direction as usize].bytes;
    match context.is_ending {
        true => Some(come).filter(|come| *come > 0),
        false => body.map(|body| body.bytes.len()),
    }
}

/// Bytes of the names and values of a head.
fn head_bytes(context: &Context, map: Map) -> i64 {
    let pairs = View::of(context, map).map(|view| view.pairs(NonUtf8::Pass)).unwrap_or_default();
    pairs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() as i64
}

fn size(have: Option<usize>, said: BodyLength) -> i64 {
    match (have, said) {
        (Some(bytes), _) => bytes as i64,
        (None, BodyLength::Known(bytes)) => i64::try_from(bytes).unwrap_or(i64::MAX),
        (None, BodyLength::Empty | BodyLength::Unknown) => 0,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what its callers return")]
fn number(number: i64) -> Value {
    Ok(number.to_le_bytes().to_vec())
}

#[expect(clippy::unnecessary_wraps, reason = "what its callers return")]
fn text(text: &str) -> Value {
    Ok(text.as_bytes().to_vec())
}

fn nanoseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
