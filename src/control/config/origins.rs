//! Decodes what a service says of how its requests are shared out, and of targets that fail.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::decode::{
    Item, Section, boolean, duration, duration_from, integer, list, path, string, word,
};
use super::errors::Errors;
use super::keys;
use super::listen::is_empty_list;
use super::model_origins::{Asks, Check, OriginTls, Origins, Refresh};
use super::tree::Value;
use super::value::{self, Plain};
use crate::http::connection::Protocol;
use crate::http::message::{Method, is_field_value, is_token};
use crate::limits;
use crate::upstream::balance::Algorithm;
use crate::upstream::ejection::Outlier;
use crate::upstream::policy::{HashOn, Retry};

/// The keys of a service that are about its targets.
pub(super) fn origins(map: &Section<'_>, errors: &mut Errors) -> Origins {
    let default = Origins::default();
    let algorithm = map.read("loadBalancing", errors, algorithm).unwrap_or_default();
    let (hash, bound_percent) = map.read("hash", errors, hash).unwrap_or_default();
    let algorithm = match algorithm {
        Algorithm::ConsistentHash { .. } => Algorithm::ConsistentHash { bound_percent },
        other => {
            if let Some(item) = map.filled("hash") {
                item.refuse(
                    errors,
                    "is of no use without loadBalancing: consistent-hash; add that, \
                                     or take it out",
                );
            }
            other
        }
    };
    Origins {
        algorithm,
        hash,
        outlier: map.read("outlier", errors, outlier).unwrap_or(default.outlier),
        slow_start: map.read("slowStart", errors, any_duration).unwrap_or_default(),
        retry: retry_of(map, errors),
        check: map.filled("healthCheck").and_then(|item| check(&item, errors)),
        tls: map.filled("tls").and_then(|item| tls(&item, errors)).unwrap_or_default(),
        resolve: map.read("resolve", errors, refresh).unwrap_or(default.resolve),
        splits_names: map
            .read("addresses", errors, |item, errors| {
                word(item, &[("each", true), ("together", false)], errors)
            })
            .unwrap_or(default.splits_names),
    }
}

fn refresh(item: &Item<'_>, errors: &mut Errors) -> Option<Refresh> {
    match &item.node.value {
        Value::Scalar(scalar) if scalar.text == "ttl" => Some(Refresh::ByTtl),
        _ => duration_from(item, limits::RESOLVE_INTERVAL_MIN, errors).map(Refresh::Every),
    }
}

fn algorithm(item: &Item<'_>, errors: &mut Errors) -> Option<Algorithm> {
    let words = [
        ("round-robin", Algorithm::RoundRobin),
        ("least-connections", Algorithm::LeastConnections),
        ("p2c", Algorithm::PowerOfTwo),
        ("random", Algorithm::Random),
        ("consistent-hash", Algorithm::ConsistentHash { bound_percent: 0 }),
    ];
    word(item, &words, errors)
}

/// A duration that may be nothing.
fn any_duration(item: &Item<'_>, errors: &mut Errors) -> Option<Duration> {
    duration_from(item, Duration::ZERO, errors)
}

/// What requests are told apart by, and how much more than its part one target may have.
fn hash(item: &Item<'_>, errors: &mut Errors) -> Option<(HashOn, u32)> {
    let map = Section::open(item, &keys::HASH, errors)?;
    let header = map.read("header", errors, name).map(HashOn::Header);
    let cookie = map.read("cookie", errors, name).map(HashOn::Cookie);
    let ip = map.read("ip", errors, boolean).unwrap_or(false);
    let ip = ip.then_some(HashOn::ClientAddress);
    let plugin = map.read("plugin", errors, boolean).unwrap_or(false);
    let plugin = plugin.then_some(HashOn::Plugin);
    let bound = map.read("boundedLoad", errors, bounded_load).unwrap_or_default();
    let mut given = [header, cookie, ip, plugin].into_iter().flatten();
    let first = given.next().unwrap_or_default();
    if given.next().is_some() {
        item.refuse(errors, "has more than one of header, cookie, ip and plugin; keep one of them");
    }
    Some((first, bound))
}

/// The name of a field or a cookie.
fn name(item: &Item<'_>, errors: &mut Errors) -> Option<String> {
    let name = string(item, errors)?;
    if is_token(name.as_bytes()) {
        return Some(name);
    }
    item.expected(errors, "a name such as X-User or session");
    None
}

fn bounded_load(item: &Item<'_>, errors: &mut Errors) -> Option<u32> {
    let number = match &item.node.value {
        Value::Scalar(scalar) => match Plain::of(&scalar.text) {
            Plain::Integer(number) => Some(number as f64),
            Plain::Float(number) => Some(number),
            _ => None,
        },
        _ => None,
    };
    match number.filter(|number| (1.01..=10.0).contains(number)) {
        Some(number) => Some((number * 100.0).round() as u32),
        None => {
            item.expected(errors, "a number from 1.01 to 10, such as 1.25: a quarter more");
            None
        }
    }
}

/// A part of a whole, as in `20%`.
fn percent(item: &Item<'_>, range: RangeInclusive<u32>, errors: &mut Errors) -> Option<u32> {
    let text = match &item.node.value {
        Value::Scalar(scalar) => scalar.text.strip_suffix('%').map(str::trim_end),
        _ => None,
    };
    let number = text.and_then(|text| text.parse().ok()).filter(|number| range.contains(number));
    if number.is_none() {
        let (least, most) = range.into_inner();
        item.expected(errors, &format!("a part such as 20%, from {least}% to {most}%"));
    }
    number
}

fn outlier(item: &Item<'_>, errors: &mut Errors) -> Option<Option<Outlier>> {
    if let Value::Scalar(scalar) = &item.node.value
        && !scalar.is_null()
    {
        return word(item, &[("off", None)], errors);
    }
    let map = Section::open(item, &keys::OUTLIER, errors)?;
    let default = Outlier::default();
    let part = |key: &str, range, errors: &mut Errors| {
        map.read(key, errors, |item, errors| percent(item, range, errors))
    };
    let time = |key: &str, errors: &mut Errors| map.read(key, errors, duration);
    Some(Some(Outlier {
        consecutive_errors: map
            .read("consecutiveErrors", errors, |item, errors| {
                integer(item, 0..=limits::OUTLIER_ERRORS_CEILING, errors)
            })
            .unwrap_or(default.consecutive_errors),
        error_rate_percent: part("errorRate", 0..=100, errors)
            .unwrap_or(default.error_rate_percent),
        interval: time("interval", errors).unwrap_or(default.interval),
        ejection: time("ejection", errors).unwrap_or(default.ejection),
        ejected_max_percent: part("ejectedMax", 0..=100, errors)
            .unwrap_or(default.ejected_max_percent),
    }))
}

/// `retry`, or what the original calls `retryCount` and `retryDelay`.
fn retry_of(map: &Section<'_>, errors: &mut Errors) -> Option<Retry> {
    let count = map.read("retryCount", errors, |item, errors| {
        integer(item, 0..=limits::TRIES_MAX - 1, errors)
    });
    let delay = map.read("retryDelay", errors, any_duration);
    if let Some(item) = map.filled("retry") {
        if let Some(old) = map.filled("retryCount").or_else(|| map.filled("retryDelay")) {
            old.refuse(errors, "says what retry says too (tries, delay); keep one of them");
        }
        return retry(&item, errors);
    }
    let retries = count.unwrap_or(if delay.is_some() { 1 } else { 0 });
    (retries > 0).then(|| Retry {
        tries: retries + 1,
        delay: delay.unwrap_or_default(),
        ..default_retry()
    })
}

fn default_retry() -> Retry {
    Retry {
        tries: limits::RETRY_TRIES,
        on_reset: true,
        on_timeout: false,
        on_statuses: vec![502, 503, 504],
        per_try: None,
        budget_percent: limits::RETRY_BUDGET_PERCENT,
        delay: Duration::ZERO,
        methods: IDEMPOTENT.to_vec(),
    }
}

const IDEMPOTENT: [Method; 5] =
    [Method::Get, Method::Head, Method::Put, Method::Delete, Method::Options];
const SAFE: [Method; 3] = [Method::Get, Method::Head, Method::Options];

fn retry(item: &Item<'_>, errors: &mut Errors) -> Option<Retry> {
    let map = Section::open(item, &keys::RETRY, errors)?;
    let default = default_retry();
    let on =
        map.read("on", errors, |item, errors| list(item, limits::RETRY_ON_MAX, errors, retry_on));
    let has = |what| on.as_ref().map(|on| on.contains(&what));
    let statuses = on.as_ref().map(|on| {
        let of = |one: &On| if let On::Status(status) = one { Some(*status) } else { None };
        on.iter().filter_map(of).collect()
    });
    Some(Retry {
        tries: map
            .read("tries", errors, |item, errors| integer(item, 1..=limits::TRIES_MAX, errors))
            .unwrap_or(default.tries),
        on_reset: has(On::Reset).unwrap_or(default.on_reset),
        on_timeout: has(On::Timeout).unwrap_or(default.on_timeout),
        on_statuses: statuses.unwrap_or(default.on_statuses),
        per_try: map.read("perTry", errors, duration),
        budget_percent: map
            .read("budget", errors, |item, errors| percent(item, 0..=100, errors))
            .unwrap_or(default.budget_percent),
        delay: map.read("delay", errors, any_duration).unwrap_or_default(),
        methods: map.read("methods", errors, methods).unwrap_or(default.methods),
    })
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum On {
    Connect,
    Reset,
    Timeout,
    Status(u16),
}

fn retry_on(item: &Item<'_>, errors: &mut Errors) -> Option<On> {
    let text = string(item, errors)?;
    match text.as_str() {
        "connect" => Some(On::Connect),
        "reset" => Some(On::Reset),
        "timeout" => Some(On::Timeout),
        status => match status.parse() {
            Ok(status @ 500..=599) => Some(On::Status(status)),
            _ => {
                item.expected(errors, "connect, reset, timeout or a status from 500 to 599");
                None
            }
        },
    }
}

/// Those of which a request may be sent twice; `idempotent`, `safe`, or a list.
fn methods(item: &Item<'_>, errors: &mut Errors) -> Option<Vec<Method>> {
    if matches!(item.node.value, Value::List(_)) {
        return list(item, IDEMPOTENT.len(), errors, |item, errors| {
            let text = string(item, errors)?;
            let method = IDEMPOTENT.into_iter().find(|method| method.as_str() == text);
            if method.is_none() {
                item.expected(
                    errors,
                    "GET, HEAD, PUT, DELETE or OPTIONS; what others do may not be done twice (RFC \
                     9110 section 9.2.2)",
                );
            }
            method
        });
    }
    let words = [("idempotent", &IDEMPOTENT[..]), ("safe", &SAFE[..])];
    word(item, &words, errors).map(<[Method]>::to_vec)
}

fn check(item: &Item<'_>, errors: &mut Errors) -> Option<Check> {
    let map = Section::open(item, &keys::HEALTH_CHECK, errors)?;
    let default = Check::default();
    let count = |key: &str, errors: &mut Errors| {
        map.read(key, errors, |item, errors| integer(item, 1..=limits::CHECKS_CEILING, errors))
    };
    let healthy_after = count("healthyAfter", errors).unwrap_or(default.healthy_after);
    let unhealthy_after = count("unhealthyAfter", errors).unwrap_or(default.unhealthy_after);
    let interval = map.read("interval", errors, |item, errors| {
        duration_from(item, limits::CHECK_INTERVAL_MIN, errors)
    });
    Some(Check {
        asks: asks(&map, errors).unwrap_or(default.asks),
        host: map.read("host", errors, check_host),
        interval: interval.unwrap_or(default.interval),
        timeout: map.read("timeout", errors, duration).unwrap_or(default.timeout),
        healthy_after,
        unhealthy_after,
        statuses: map
            .read("status", errors, |item, errors| {
                list(item, limits::CHECK_STATUSES_MAX, errors, statuses)
            })
            .filter(|statuses| !statuses.is_empty())
            .unwrap_or(default.statuses),
        jitter_percent: map
            .read("jitter", errors, |item, errors| percent(item, 0..=100, errors))
            .unwrap_or(default.jitter_percent),
    })
}

/// What a check asks: one thing.
fn asks(map: &Section<'_>, errors: &mut Errors) -> Option<Asks> {
    let is_tcp = map.read("tcp", errors, boolean).unwrap_or(false);
    let path = map.read("path", errors, check_path);
    let grpc = map.read("grpc", errors, grpc).flatten();
    let without = [(is_tcp, "tcp: true"), (grpc.is_some(), "grpc")];
    for (key, other) in [("path", 0..2), ("grpc", 0..1), ("status", 0..2)] {
        if key == "grpc" && grpc.is_none() {
            continue;
        }
        let other = without[other].iter().find(|(is_given, _)| *is_given);
        if let (Some(item), Some((_, other))) = (map.filled(key), other) {
            item.refuse(errors, format!("is never asked for with {other}; take one of them out"));
        }
    }
    match (is_tcp, grpc, path) {
        (true, _, _) => Some(Asks::Connection),
        (false, Some(service), _) => Some(Asks::Grpc(service)),
        (false, None, path) => path.map(Asks::Path),
    }
}

/// `true`, or the name of a service.
fn grpc(item: &Item<'_>, errors: &mut Errors) -> Option<Option<String>> {
    if let Value::Scalar(scalar) = &item.node.value
        && let Plain::Bool(is_on) = Plain::of(&scalar.text)
    {
        return Some(is_on.then(String::new));
    }
    let name = string(item, errors)?;
    let is_name = !name.is_empty()
        && name.len() <= limits::CHECK_GRPC_SERVICE_MAX
        && name.bytes().all(|byte| byte.is_ascii_graphic());
    if is_name {
        return Some(Some(name));
    }
    item.expected(errors, "true, or the name of a service such as shop.v1.Orders");
    None
}

fn tls(item: &Item<'_>, errors: &mut Errors) -> Option<OriginTls> {
    let map = Section::open(item, &keys::SERVICE_TLS, errors)?;
    let tls = OriginTls {
        ca: map.read("ca", errors, path),
        server_name: map.read("serverName", errors, server_name),
        is_insecure: map.read("insecure", errors, boolean).unwrap_or(false),
        cert: map.read("cert", errors, path),
        key: map.read("key", errors, path),
        alpn: map.read("alpn", errors, alpn).unwrap_or_default(),
    };
    if map.filled("cert").is_some() != map.filled("key").is_some() {
        item.refuse(errors, "has one of cert and key; give both, or take it out");
    }
    if tls.is_insecure && tls.ca.is_some() {
        item.refuse(errors, "has a ca that insecure: true asks nobody for; take one of them out");
    }
    Some(tls)
}

/// What targets are offered; one default is the same as none.
fn alpn(item: &Item<'_>, errors: &mut Errors) -> Option<Vec<Protocol>> {
    let words = [Protocol::Http2, Protocol::Http1].map(|one| (one.alpn(), one));
    let protocols = list(item, words.len(), errors, |item, errors| word(item, &words, errors))?;
    if is_empty_list(item.node) {
        item.expected(errors, "at least one of h2 and http/1.1");
    }
    if protocols.len() == 2 && protocols[0] == protocols[1] {
        item.refuse(errors, "has one of them twice; take one out");
    }
    Some(if protocols == [Protocol::Http1] { Vec::new() } else { protocols })
}

fn server_name(item: &Item<'_>, errors: &mut Errors) -> Option<String> {
    let text = string(item, errors)?;
    if rustls::pki_types::ServerName::try_from(text.as_str()).is_ok() {
        return Some(text);
    }
    item.expected(errors, "a name or an address as certificates have it, such as api.internal");
    None
}

/// A request target in origin form (RFC 9112 section 3.2.1).
fn check_path(item: &Item<'_>, errors: &mut Errors) -> Option<String> {
    let text = string(item, errors)?;
    let is_target = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_target && !text.contains('#') {
        return Some(text);
    }
    item.expected(errors, "a path such as /healthz");
    None
}

fn check_host(item: &Item<'_>, errors: &mut Errors) -> Option<String> {
    let text = string(item, errors)?;
    if is_field_value(text.as_bytes()) && !text.contains([' ', '/', '@']) {
        return Some(text);
    }
    item.expected(errors, "a host such as app.internal or app.internal:8080");
    None
}

/// A status, or a range of them: `200-399`.
fn statuses(item: &Item<'_>, errors: &mut Errors) -> Option<(u16, u16)> {
    let text = string(item, errors)?;
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    let status = |text: &str| text.trim().parse().ok().filter(|one| (100..=599).contains(one));
    match (status(first), status(last)) {
        (Some(first), Some(last)) if first <= last => Some((first, last)),
        _ => {
            item.expected(errors, "a status or a range of them, such as 204 or 200-399");
            None
        }
    }
}

/// Statuses as the file writes them.
pub(super) fn show_statuses((first, last): (u16, u16)) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

/// A part as the file writes it.
pub(super) fn show_percent(percent: u32) -> String {
    format!("{percent}%")
}

/// A time as the file writes it, `off` for none.
pub(super) fn show_optional(time: Option<Duration>) -> Option<String> {
    time.map(value::show_duration)
}
