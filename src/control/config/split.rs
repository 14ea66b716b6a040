//! Decodes `services[].split` and `services[].sticky`.

use super::decode::{Item, Section, boolean, duration_from, integer, list, name, string};
use super::errors::Errors;
use super::keys;
use super::model_routes::{Branch, Routes, Split};
use super::routes::conditions;
use super::tree::Value;
use super::wasm::check_service;
use super::{Service, value};
use crate::http::message::is_token;
use crate::limits;
use crate::route::split::Sticky;

/// Keys that say what becomes of requests to a service's own targets, of which one that splits has
/// none.
const OF_TARGETS: [&str; 21] = [
    "targets",
    "redirect",
    "loadBalancing",
    "hash",
    "outlier",
    "slowStart",
    "retry",
    "retryCount",
    "retryDelay",
    "healthCheck",
    "tls",
    "resolve",
    "addresses",
    "timeout",
    "timeouts",
    "headers",
    "requestHeaders",
    "requestTrailers",
    "responseTrailers",
    "preserveHost",
    "limits",
];

/// Keys that say which requests come to a service by themselves.
const OF_ROUTES: [&str; 4] = ["hosts", "basePath", "methods", "match"];

/// The services that splits name: they may stand behind them, so they are looked for at the end.
#[derive(Default)]
pub(super) struct Names<'n>(Vec<(Item<'n>, String)>);

impl Names<'_> {
    /// Reports those that are not there or split themselves, of which circles are made.
    pub(super) fn check(&self, services: &[Service], errors: &mut Errors) {
        for (item, name) in &self.0 {
            check_service(item, name, services, errors);
            let named = services.iter().find(|service| service.name == *name);
            if named.is_some_and(|service| service.routes.split.is_some()) {
                item.refuse(
                    errors,
                    format!(
                        "the service {name:?} splits its requests itself; name the services that \
                         it splits them to"
                    ),
                );
            }
        }
    }
}

/// `split` and `sticky` of a service.
pub(super) fn split<'n>(
    map: &Section<'n>,
    names: &mut Names<'n>,
    errors: &mut Errors,
) -> Option<Split> {
    let sticky = map.filled("sticky").map(|item| (sticky(&item, errors), item));
    let Some(item) = map.filled("split") else {
        if let Some((_, item)) = sticky {
            item.refuse(errors, "is of no use without split; take it out");
        }
        return None;
    };
    for key in OF_TARGETS.iter().chain(&["aggregation"]) {
        if let Some(item) = map.filled(key) {
            item.refuse(
                errors,
                "is about a service's own targets, and this one splits its requests to others; \
                 give it to those",
            );
        }
    }
    let branches =
        list(&item, limits::SPLIT_MAX, errors, |item, errors| branch(item, names, errors))?;
    if matches!(&item.node.value, Value::List(nodes) if nodes.is_empty()) {
        item.expected(errors, "at least one service such as {service: other, weight: 1}");
    } else if branches.iter().all(|branch| branch.weight == 0) && !branches.is_empty() {
        item.refuse(errors, "all weights are 0, and other requests go nowhere; give one a weight");
    }
    for (at, branch) in branches.iter().enumerate() {
        let is_same = |one: &Branch| one.service == branch.service && one.weight > 0;
        if branch.weight > 0 && branches.iter().take(at).any(is_same) {
            let name = value::quote(&branch.service);
            item.refuse(errors, format!("{name} has two weights; make them one"));
        }
    }
    Some(Split { branches, sticky: sticky.and_then(|(sticky, _)| sticky) })
}

fn branch<'n>(item: &Item<'n>, names: &mut Names<'n>, errors: &mut Errors) -> Option<Branch> {
    let map = Section::open(item, &keys::SPLIT, errors)?;
    let service = map.require("service", "name the service", errors, |item, errors| {
        let name = name(item, errors)?;
        let (node, key) = (item.node, item.key.clone());
        names.0.push((Item { node, key }, name.clone()));
        Some(name)
    });
    let when = map.filled("match").and_then(|item| {
        let (headers, cookies, query) = conditions(&item, errors)?;
        if headers.is_empty() && cookies.is_empty() && query.is_empty() {
            item.refuse(errors, "names no condition; give one, or take it out");
        }
        Some(Routes { headers, cookies, query, ..Routes::default() })
    });
    let weight = map
        .read("weight", errors, |item, errors| integer(item, 0..=limits::SPLIT_WEIGHT_MAX, errors));
    let by_default = u32::from(when.is_none());
    Some(Branch { service: service?, weight: weight.unwrap_or(by_default), when })
}

fn sticky(item: &Item<'_>, errors: &mut Errors) -> Option<Sticky> {
    let map = Section::open(item, &keys::STICKY, errors)?;
    let token = |item: &Item<'_>, errors: &mut Errors| {
        let text = string(item, errors)?;
        if !is_token(text.as_bytes()) {
            item.expected(errors, "a name of A-Z a-z 0-9 and - . _");
            return None;
        }
        Some(text)
    };
    let header = map.read("header", errors, token).map(Sticky::Header);
    let cookie = map.read("cookie", errors, token).map(Sticky::Cookie);
    let ip = map.read("ip", errors, boolean).unwrap_or(false).then_some(Sticky::Address);
    let age = map.read("maxAge", errors, |item, errors| {
        duration_from(item, std::time::Duration::from_secs(1), errors)
    });
    let seconds = age.map(|age| age.as_secs());
    let set = map.read("setCookie", errors, token).map(|name| Sticky::Set(name, seconds));
    if let Some(item) = map.filled("maxAge")
        && set.is_none()
    {
        item.refuse(errors, "is of no use without setCookie; take it out");
    }
    let mut given = [header, cookie, ip, set].into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(one), None) => Some(one),
        _ => {
            item.expected(errors, "one of header, cookie, ip: true and setCookie");
            None
        }
    }
}

/// `internal`: nothing may say which requests come by themselves then.
pub(super) fn internal(map: &Section<'_>, errors: &mut Errors) -> bool {
    let is_internal = map.read("internal", errors, boolean).unwrap_or(false);
    for key in OF_ROUTES {
        if let Some(item) = map.filled(key).filter(|_| is_internal) {
            item.refuse(
                errors,
                "says which requests come, and none does with internal: true; take one out",
            );
        }
    }
    is_internal
}
