//! Which requests are a service's, and what becomes of them, as JSON: see [`super::view`].

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::model_routes::{Branch, Condition, HeaderEdit, Mirror, Rewrite, Routes, Split, Test};
use super::value;
use super::view::MASK;
use crate::route::edit::Redirect;
use crate::route::split::Sticky;

pub(super) fn conditions(routes: &Routes) -> Value {
    json!({
        "headers": tests(&routes.headers),
        "cookies": tests(&routes.cookies),
        "query": tests(&routes.query),
    })
}

fn tests(conditions: &[Condition]) -> Value {
    let shown = conditions.iter().map(|condition| {
        let test = match &condition.test {
            // What tells requests apart may be a secret.
            Test::Is(_) => MASK.into(),
            Test::Has(expression) => json!({ "regex": expression }),
            Test::IsThere => json!({ "present": true }),
        };
        (condition.name.clone(), test)
    });
    Value::Object(shown.collect())
}

pub(super) fn redirect(redirect: &Redirect) -> Value {
    json!({
        "scheme": redirect.scheme,
        "host": redirect.host,
        "path": redirect.path,
        "status": redirect.status,
    })
}

pub(super) fn rewrite(rewrite: &Rewrite) -> Value {
    let (prefix, regex, to) = match rewrite {
        Rewrite::Prefix(prefix) => (Some(prefix), None, None),
        Rewrite::Pattern(regex, to) => (None, Some(regex), Some(to)),
    };
    json!({ "prefix": prefix, "regex": regex, "to": to })
}

/// The names, and nothing of the values.
pub(super) fn headers(edit: &HeaderEdit) -> Value {
    let masked = |list: &[(String, String)]| {
        list.iter().map(|(name, _)| (name.clone(), MASK.into())).collect::<Map<String, Value>>()
    };
    json!({ "set": masked(&edit.set), "add": masked(&edit.add), "remove": edit.remove })
}

pub(super) fn split(split: &Split) -> Value {
    let branch = |branch: &Branch| {
        json!({
            "service": branch.service,
            "weight": branch.weight,
            "match": branch.when.as_ref().map(conditions),
        })
    };
    split.branches.iter().map(branch).collect()
}

pub(super) fn mirror(mirror: &Mirror) -> Value {
    json!({ "service": mirror.service, "percent": f64::from(mirror.share) / 100.0 })
}

pub(super) fn sticky(split: &Split) -> Value {
    let (mut header, mut cookie, mut ip, mut set, mut age) = (None, None, false, None, None);
    match &split.sticky {
        None => return Value::Null,
        Some(Sticky::Header(name)) => header = Some(name),
        Some(Sticky::Cookie(name)) => cookie = Some(name),
        Some(Sticky::Address) => ip = true,
        Some(Sticky::Set(name, seconds)) => (set, age) = (Some(name), *seconds),
    }
    let age = age.map(|seconds| value::show_duration(Duration::from_secs(seconds)));
    json!({ "header": header, "cookie": cookie, "ip": ip, "setCookie": set, "maxAge": age })
}
