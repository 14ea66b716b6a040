//! What a filter is told by paths (`proxy_get_property`): the attributes of Envoy that mean
//! something here, and what filters of the same exchange have set.
//!
//! Numbers, times (nanoseconds since 1970) and durations are eight bytes, little-endian; truth is
//! one byte; lists of fields are pairs.

use std::time::{SystemTime, UNIX_EPOCH};

use super::super::spec::{NonUtf8, PluginSpec};
use super::context::Context;
use super::map::{Map, View};
use super::pairs;
use crate::http::message::BodyLength;

/// The value at a path, whose segments a NUL parts.
pub(super) fn get(context: Option<&Context>, spec: &PluginSpec, path: &[u8]) -> Option<Vec<u8>> {
    let path = path.strip_suffix(b"\0").unwrap_or(path);
    if let Some(value) = context.and_then(|context| context.properties.get(path)) {
        return Some(value.clone());
    }
    let mut segments = path.split(|&byte| byte == 0);
    let (first, second) = (segments.next()?, segments.next());
    let third = segments.next();
    match (first, second) {
        (b"plugin_name", None) => return Some(spec.name.clone().into_bytes()),
        (b"plugin_root_id", None) => return Some(spec.filter.root_id.clone().into_bytes()),
        (b"plugin_vm_id", None) => return Some(spec.filter.vm_id.clone().into_bytes()),
        (b"node", Some(b"id" | b"cluster")) => return Some(b"odin".to_vec()),
        // Of a listener that clients come to.
        (b"listener_direction", None) => return number(1),
        _ => {}
    }
    let context = context?;
    match first {
        b"request" => request(context, second?, third),
        b"response" => response(context, second?, third),
        b"source" => match second? {
            b"address" => Some(context.known.client_ip.to_string().into_bytes()),
            _ => None,
        },
        b"destination" => match second? {
            b"address" => Some(context.known.local?.to_string().into_bytes()),
            b"port" => number(i64::from(context.known.local?.port())),
            _ => None,
        },
        b"connection" => connection(context, second?),
        b"cluster_name" | b"route_name" | b"service" if second.is_none() => {
            Some(context.known.service.clone().into_bytes())
        }
        _ => None,
    }
}

fn connection(context: &Context, name: &[u8]) -> Option<Vec<u8>> {
    let tls = context.known.tls.as_deref();
    if name == b"mtls" {
        return Some(vec![u8::from(tls.is_some_and(|tls| tls.client.is_some()))]);
    }
    let tls = tls?;
    let text = match name {
        b"tls_version" => tls.version,
        b"requested_server_name" => tls.server_name.as_deref()?,
        b"subject_peer_certificate" => tls.client.as_ref()?.subject.as_str(),
        b"sha256_peer_certificate_digest" => tls.client.as_ref()?.fingerprint.as_str(),
        _ => return None,
    };
    Some(text.as_bytes().to_vec())
}

fn request(context: &Context, name: &[u8], key: Option<&[u8]>) -> Option<Vec<u8>> {
    let head = &context.request;
    let field = |name: &str| head.fields.get(name).map(<[u8]>::to_vec);
    let text = |text: &str| Some(text.as_bytes().to_vec());
    match name {
        b"path" => Some(format!("{}{}", head.path, head.query).into_bytes()),
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
            let took = SystemTime::now().duration_since(context.known.received).ok()?;
            number(i64::try_from(took.as_nanos()).ok()?)
        }
        b"size" => number(size(context.request_body.as_ref().map(|it| it.bytes.len()), head.body)),
        b"total_size" => {
            let fields: usize =
                head.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
            let body = size(context.request_body.as_ref().map(|it| it.bytes.len()), head.body);
            number(body.saturating_add(fields as i64))
        }
        b"headers" => list(View::of(context, Map::Request)?, key),
        _ => None,
    }
}

fn response(context: &Context, name: &[u8], key: Option<&[u8]>) -> Option<Vec<u8>> {
    if !context.has_response {
        return None;
    }
    let head = &context.response;
    match name {
        b"code" => number(i64::from(head.status)),
        b"code_details" => Some(b"via_upstream".to_vec()),
        b"flags" => number(0),
        b"grpc_status" => {
            let status = std::str::from_utf8(head.fields.get("grpc-status")?).ok()?;
            number(status.parse().ok()?)
        }
        b"size" => number(size(context.response_body.as_ref().map(|it| it.bytes.len()), head.body)),
        b"total_size" => {
            let fields: usize =
                head.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
            let body = size(context.response_body.as_ref().map(|it| it.bytes.len()), head.body);
            number(body.saturating_add(fields as i64))
        }
        b"headers" => list(View::of(context, Map::Response)?, key),
        b"trailers" => list(View::of(context, Map::ResponseTrailers)?, key),
        _ => None,
    }
}

/// All fields, or one.
fn list(view: View<'_>, key: Option<&[u8]>) -> Option<Vec<u8>> {
    if let Some(key) = key {
        return view.value(key, NonUtf8::Pass).map(std::borrow::Cow::into_owned);
    }
    let all = view.pairs(NonUtf8::Pass);
    let mut out = Vec::new();
    pairs::write(all.iter().map(|(name, value)| (&**name, &**value)), &mut out);
    Some(out)
}

fn size(have: Option<usize>, said: BodyLength) -> i64 {
    match (have, said) {
        (Some(bytes), _) => bytes as i64,
        (None, BodyLength::Known(bytes)) => i64::try_from(bytes).unwrap_or(i64::MAX),
        (None, BodyLength::Empty | BodyLength::Unknown) => 0,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what its callers return")]
fn number(number: i64) -> Option<Vec<u8>> {
    Some(number.to_le_bytes().to_vec())
}

fn nanoseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
