//! Decodes `services` and their targets.

use std::collections::HashMap;
use std::time::Duration;

use super::aggregation::{References, aggregation};
use super::clients::clients;
use super::decode::{Item, Section, boolean, duration, integer, list, map, size, string};
use super::errors::Errors;
use super::mirror::Mirrors;
use super::origins::origins;
use super::routes::routes;
use super::split;
use super::tree::Value;
use super::wasm::Names;
use super::{
    Over, Place, Routes, Service, ServiceLimits, ServiceTimeouts, Target, TargetKind, address,
    keys, value,
};
use crate::http::field_class;
use crate::http::message::{is_field_value, is_token};
use crate::http::websocket;
use crate::limits;
use crate::route::path::{Rules, normalise};

/// `services`.
pub(super) fn services<'n>(item: &Item<'n>, errors: &mut Errors) -> Option<Vec<Service>> {
    let mut references = References::default();
    let (mut splits, mut mirrors) = (split::Names::default(), Mirrors::default());
    let services = services_of(item, &mut references, (&mut splits, &mut mirrors), errors)?;
    references.check(&services, errors);
    splits.check(&services, errors);
    mirrors.check(&services, errors);
    Some(services)
}

fn services_of<'n>(
    item: &Item<'n>,
    references: &mut References<'n>,
    (splits, mirrors): (&mut split::Names<'n>, &mut Mirrors<'n>),
    errors: &mut Errors,
) -> Option<Vec<Service>> {
    let mut names = Names::default();
    let mut taken: HashMap<(String, String), Vec<(Routes, Place)>> = HashMap::new();
    list(item, limits::SERVICES_MAX, errors, |item, errors| {
        let service = service(item, &mut names, references, (splits, mirrors), errors)?;
        if service.routes.is_internal {
            return Some(service);
        }
        let any = [String::new()];
        let hosts = if service.routes.hosts.is_empty() { &any[..] } else { &service.routes.hosts };
        let mut hidden = None;
        for host in hosts {
            let same = taken.entry((host.clone(), service.base_path.clone())).or_default();
            let hides = |(routes, _): &&(Routes, Place)| routes.hides(&service.routes);
            hidden = hidden.or_else(|| same.iter().find(hides).map(|(_, first)| *first));
            same.push((service.routes.clone(), service.place));
        }
        if let Some(first) = hidden {
            item.refuse(errors, taken_by(&service, first));
        }
        Some(service)
    })
}

/// That no request would ever come to a service, because of the one at `first`.
fn taken_by(service: &Service, first: Place) -> String {
    let path = &service.base_path;
    format!(
        "basePath {path:?} is taken by the service at {}:{}; give each its own, or tell them apart \
         by hosts, methods or match",
        first.line, first.column
    )
}

fn service<'n>(
    item: &Item<'n>,
    names: &mut Names,
    references: &mut References<'n>,
    named: (&mut split::Names<'n>, &mut Mirrors<'n>),
    errors: &mut Errors,
) -> Option<Service> {
    let map = Section::open(item, &keys::SERVICE, errors)?;
    let aggregation =
        map.filled("aggregation").and_then(|item| aggregation(&item, references, errors));
    let headers = map.read("headers", errors, headers).unwrap_or_default();
    let (routes, origins) = (routes(&map, named, errors), origins(&map, errors));
    let named = "each service has a name of its own";
    let aimed = "give where its requests go, such as [http://127.0.0.1:9001] or [builtin:echo]";
    let service = Service {
        place: map.place,
        name: map
            .require("name", named, errors, |item, errors| names.take(item, errors))
            .unwrap_or_default(),
        base_path: map.read("basePath", errors, base_path).unwrap_or_else(|| "/".to_owned()),
        strip_base_path: map.read("stripBasePath", errors, boolean).unwrap_or(false),
        targets: match &aggregation {
            Some(aggregation) if !aggregation.calls.is_empty() => {
                map.read("targets", errors, targets)
            }
            _ if routes.redirect.is_some() || routes.split.is_some() => {
                map.read("targets", errors, targets)
            }
            _ => map.require("targets", aimed, errors, targets),
        }
        .unwrap_or_default(),
        routes,
        clients: clients(&map, errors),
        origins,
        timeout: map.read("timeout", errors, timeout).unwrap_or(limits::SERVICE_TIMEOUT),
        timeouts: map.read("timeouts", errors, timeouts).unwrap_or_default(),
        request_trailers: map
            .read("requestTrailers", errors, |item, errors| trailers(item, &headers, errors))
            .unwrap_or_default(),
        response_trailers: map
            .read("responseTrailers", errors, |item, errors| trailers(item, &[], errors))
            .unwrap_or_default(),
        headers,
        preserve_host: map.read("preserveHost", errors, boolean).unwrap_or(true),
        upgrades: map
            .read("upgrades", errors, upgrades)
            .unwrap_or_else(|| vec![websocket::NAME.to_owned()]),
        limits: map.read("limits", errors, service_limits).unwrap_or_default(),
        aggregation,
    };
    check_tls(&map, &service, errors);
    check_rewrite(&map, &service, errors);
    Some(service)
}

/// One thing becomes of a path.
fn check_rewrite(map: &Section<'_>, service: &Service, errors: &mut Errors) {
    if let Some(item) = map.filled("rewrite")
        && service.strip_base_path
    {
        item.refuse(errors, "and stripBasePath both change the path; prefix: / strips it too");
    }
}

/// `tls` is for targets that are called by it.
fn check_tls(map: &Section<'_>, service: &Service, errors: &mut Errors) {
    let is_secure = |target: &Target| {
        matches!(target.kind, TargetKind::Https { .. } | TargetKind::Srv { over: Over::Https, .. })
    };
    if let Some(item) = map.filled("tls")
        && !service.targets.iter().any(is_secure)
    {
        item.refuse(errors, "is of no use: no target is https://; make one so, or take it out");
    }
}

/// A duration, or `off`.
fn timeout(item: &Item<'_>, errors: &mut Errors) -> Option<Duration> {
    match &item.node.value {
        Value::Scalar(scalar) if scalar.text == "off" => Some(limits::SERVICE_TIMEOUT_OFF),
        _ => duration(item, errors),
    }
}

fn timeouts(item: &Item<'_>, errors: &mut Errors) -> Option<ServiceTimeouts> {
    let map = Section::open(item, &keys::SERVICE_TIMEOUTS, errors)?;
    let mut read = |key: &str| map.read(key, errors, duration);
    Some(ServiceTimeouts {
        connect: read("connect"),
        first_byte: read("firstByte"),
        idle: read("idle"),
        tunnel: read("tunnel"),
    })
}

/// Names of protocols that a connection may go on with, none of them HTTP's.
fn upgrades(item: &Item<'_>, errors: &mut Errors) -> Option<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    list(item, limits::UPGRADES_MAX, errors, |item, errors| {
        let name = string(item, errors)?.to_ascii_lowercase();
        let is_name = name.len() <= limits::UPGRADE_BYTES_MAX
            && name.split('/').all(|part| is_token(part.as_bytes()));
        let why = if !is_name {
            "is not the name of a protocol, such as websocket"
        } else if name == "h2c" || name == "h2" || name == "http" || name.starts_with("http/") {
            "is HTTP itself, and what came by it would pass the gateway unseen; take it out (to \
             speak HTTP/2 with targets write h2://host:port)"
        } else if names.contains(&name) {
            "stands there twice; take one out"
        } else {
            names.push(name);
            return Some(());
        };
        item.refuse(errors, format!("{} {why}", value::quote(&name)));
        None
    })?;
    Some(names)
}

fn service_limits(item: &Item<'_>, errors: &mut Errors) -> Option<ServiceLimits> {
    let map = Section::open(item, &keys::SERVICE_LIMITS, errors)?;
    let default = ServiceLimits::default();
    let number = |key: &str, min, max, errors: &mut Errors| {
        map.read(key, errors, |item, errors| integer(item, min..=max, errors))
    };
    let bytes = |key: &str, min: usize, errors: &mut Errors| {
        let range = min as u64..=limits::HEAD_BYTES_CEILING as u64;
        map.read(key, errors, |item, errors| size(item, range, errors)).map(|bytes| bytes as usize)
    };
    Some(ServiceLimits {
        connections: number("connections", 1, limits::CONNECTIONS_CEILING, errors),
        pending: number("pending", 0, limits::UPSTREAM_PENDING_CEILING, errors)
            .unwrap_or(default.pending),
        pending_timeout: map
            .read("pendingTimeout", errors, duration)
            .unwrap_or(default.pending_timeout),
        body_bytes: map.read("bodyBytesMax", errors, |item, errors| {
            size(item, 0..=limits::BODY_BYTES_CEILING, errors)
        }),
        head_bytes: bytes("headBytesMax", limits::HEAD_BYTES_FLOOR, errors),
        head_fields: number("headFieldsMax", 1, limits::HEAD_FIELDS_CEILING, errors),
        uri_bytes: bytes("uriBytesMax", limits::URI_BYTES_FLOOR, errors),
    })
}

/// A path in the form that requests' paths are brought to, so that it can match one.
pub(super) fn base_path(item: &Item<'_>, errors: &mut Errors) -> Option<String> {
    let text = string(item, errors)?;
    match check_path(&text) {
        // "/api/" and "/api" are the same on segment borders.
        Ok(()) if text.len() > 1 => Some(text.strip_suffix('/').unwrap_or(&text).to_owned()),
        Ok(()) => Some(text),
        Err(why) => {
            item.expected(errors, &format!("a path such as /api; {why}"));
            None
        }
    }
}

fn check_path(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err("it begins with \"/\"".to_owned());
    }
    if path.contains(['?', '#']) {
        return Err("it has no query and no fragment".to_owned());
    }
    let mut normal = String::new();
    match normalise(path, Rules::default(), &mut normal) {
        Ok(()) if normal == path => Ok(()),
        Ok(()) => Err(format!("write it as {}, as requests' paths are", value::quote(&normal))),
        Err(_) => Err("no request is let through with such a path".to_owned()),
    }
}

fn targets(item: &Item<'_>, errors: &mut Errors) -> Option<Vec<Target>> {
    let targets = list(item, limits::TARGETS_MAX, errors, target)?;
    let is_empty = match &item.node.value {
        Value::List(nodes) => nodes.is_empty(),
        _ => true,
    };
    if is_empty {
        item.expected(errors, "at least one target such as http://127.0.0.1:9001");
    }
    let is_echo = |target: &Target| matches!(target.kind, TargetKind::Echo);
    if targets.len() > 1 && targets.iter().any(is_echo) {
        let got = targets.len();
        item.refuse(
            errors,
            format!(
                "got builtin:echo among {got} targets, and it answers all requests; make it the \
                 only one, or take it out"
            ),
        );
    }
    Some(targets)
}

/// A URL, or a map with a `url` and a `weight`.
fn target(item: &Item<'_>, errors: &mut Errors) -> Option<Target> {
    let place = item.place();
    if !matches!(item.node.value, Value::Map(_)) {
        let (kind, weight) = (target_url(item, errors)?, 1);
        return Some(Target { place, kind, weight });
    }
    let map = Section::open(item, &keys::TARGET, errors)?;
    let weight = map.read("weight", errors, |item, errors| {
        integer(item, 1..=limits::TARGET_WEIGHT_MAX, errors)
    });
    let kind =
        map.require("url", "give the target, such as http://127.0.0.1:9001", errors, target_url)?;
    Some(Target { place, kind, weight: weight.unwrap_or(1) })
}

fn target_url(item: &Item<'_>, errors: &mut Errors) -> Option<TargetKind> {
    let text = string(item, errors)?;
    match address::target(&text) {
        Ok(kind) => Some(kind),
        Err(form) => {
            item.expected(errors, &form);
            None
        }
    }
}

pub(super) fn headers(item: &Item<'_>, errors: &mut Errors) -> Option<Vec<(String, String)>> {
    let entries = map(item, errors)?;
    let max = limits::SERVICE_HEADERS_MAX;
    if entries.len() > max {
        let got = entries.len();
        item.refuse(errors, format!("got {got} headers, limit is {max}; take some out"));
    }
    let mut headers: Vec<(String, String)> = Vec::new();
    for (entry, item) in entries {
        let name = &entry.key;
        if let Err(why) = check_header_name(name, &headers) {
            errors.push_at(entry.place, &item.key, why);
        }
        if let Some(value) = header_value(&item, errors) {
            headers.push((name.clone(), value));
        }
    }
    Some(headers)
}

fn check_header_name(name: &str, before: &[(String, String)]) -> Result<(), String> {
    if !is_token(name.as_bytes()) {
        return Err(format!("{} is not a header name", value::quote(name)));
    }
    if name.eq_ignore_ascii_case("host") {
        return Err("Host can't be set; preserveHost: false forwards the target's".to_owned());
    }
    if field_class::is_written_by_gateway(name.as_bytes()) {
        return Err(format!("{name} can't be set: the gateway writes it itself; take it out"));
    }
    if let Some((first, _)) = before.iter().find(|(first, _)| name.eq_ignore_ascii_case(first)) {
        return Err(format!("{name} is the same header as {first}; take one out"));
    }
    Ok(())
}

/// Names of fields that may come behind a body, none of those that the service sets itself.
fn trailers(item: &Item<'_>, set: &[(String, String)], errors: &mut Errors) -> Option<Vec<String>> {
    list(item, limits::SERVICE_TRAILERS_MAX, errors, |item, errors| {
        let name = string(item, errors)?;
        let is_set = set.iter().any(|(one, _)| name.eq_ignore_ascii_case(one));
        let why = if !is_token(name.as_bytes()) {
            "is not a header name"
        } else if !field_class::may_be_trailer(name.as_bytes()) {
            "can't be a trailer: it is about framing, routing, who asks or how the message is read \
             (RFC 9110 section 6.5.1); take it out"
        } else if is_set {
            "stands in headers too, and a client's would be a second one; take one out"
        } else {
            return Some(name);
        };
        item.refuse(errors, format!("{} {why}", value::quote(&name)));
        None
    })
}

/// Any text, an empty one too.
fn header_value(item: &Item<'_>, errors: &mut Errors) -> Option<String> {
    if let Value::Scalar(scalar) = &item.node.value
        && !scalar.is_null()
        && is_field_value(scalar.text.as_bytes())
    {
        return Some(scalar.text.clone());
    }
    // What was got may be a secret.
    item.refuse(
        errors,
        "expected a text without control characters and without white space at its ends",
    );
    None
}
