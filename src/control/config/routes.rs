//! Decodes what a service says of which requests are its own, and what becomes of their paths and
//! header fields.

use std::borrow::Cow;

use super::decode::{Item, Section, boolean, list, map, string, word};
use super::errors::Errors;
use super::keys;
use super::mirror::{Mirrors, mirror};
use super::model_routes::{Condition, HeaderEdit, Rewrite, Routes, Test};
use super::service::{base_path, headers};
use super::split;
use super::tree::Value;
use super::value;
use crate::http::field_class;
use crate::http::message::{Method, is_authority, is_token};
use crate::limits;
use crate::route::edit::Redirect;

/// The keys of a service that are about its requests.
pub(super) fn routes<'n>(
    map: &Section<'n>,
    (splits, mirrors): (&mut split::Names<'n>, &mut Mirrors<'n>),
    errors: &mut Errors,
) -> Routes {
    let (headers, cookies, query) = map.read("match", errors, conditions).unwrap_or_default();
    Routes {
        hosts: map
            .read("hosts", errors, |item, errors| {
                list(item, limits::SERVICE_HOSTS_MAX, errors, host)
            })
            .unwrap_or_default(),
        methods: map
            .read("methods", errors, |item, errors| {
                list(item, limits::SERVICE_METHODS_MAX, errors, method)
            })
            .unwrap_or_default(),
        headers,
        cookies,
        query,
        split: split::split(map, splits, errors),
        mirror: mirror(map, mirrors, errors),
        is_internal: split::internal(map, errors),
        redirect: map.filled("redirect").and_then(|item| redirect(&item, errors)),
        rewrite: map.filled("rewrite").and_then(|item| rewrite(&item, errors)),
        request_headers: map.read("requestHeaders", errors, header_edit).unwrap_or_default(),
        response_headers: map.read("responseHeaders", errors, header_edit).unwrap_or_default(),
    }
}

/// A host, or all below one: in the one way of spelling it.
fn host(item: &Item<'_>, errors: &mut Errors) -> Option<String> {
    let text = string(item, errors)?;
    let ascii = ascii_host(&text);
    let lower = ascii.strip_suffix('.').unwrap_or(&ascii).to_ascii_lowercase();
    let name = lower.strip_prefix("*.").unwrap_or(&lower);
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let is_v6 = |text: &str| text.parse::<std::net::Ipv6Addr>().is_ok();
    let in_brackets = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_host = lower.len() < limits::HOST_BYTES_MAX
        && (name.split('.').all(is_label) || name == lower && in_brackets.is_some_and(is_v6));
    if is_host {
        return Some(lower);
    }
    let why = match text.is_ascii() {
        false => "its letters are none of a host's name (IDNA, RFC 5891)",
        true if text.contains(':') => "take the port out: hosts are told apart without it",
        true => "one * may stand for all that is in front of a name",
    };
    item.expected(errors, &format!("a host such as api.example.com or *.example.com; {why}"));
    None
}

/// A host as requests have it: other letters than ASCII's in their form for the network (`xn--…`,
/// RFC 5890 section 2.3.2.1). What has none, or none that is right, stays.
pub(super) fn ascii_host(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let (star, name) = match text.strip_prefix("*.") {
        Some(name) => ("*.", name),
        None => ("", text),
    };
    match idna::domain_to_ascii_strict(name) {
        Ok(ascii) => Cow::Owned(format!("{star}{ascii}")),
        Err(_) => Cow::Borrowed(text),
    }
}

fn method(item: &Item<'_>, errors: &mut Errors) -> Option<Method> {
    let text = string(item, errors)?;
    match Method::from_bytes(text.as_bytes()) {
        Some(Method::Connect | Method::Trace) | None => {}
        Some(_) if text.bytes().any(|byte| byte.is_ascii_lowercase()) => {}
        Some(method) => return Some(method),
    }
    item.expected(errors, "a method such as GET, in capitals; CONNECT and TRACE are not served");
    None
}

/// On header fields, cookies and the query.
type Conditions = (Vec<Condition>, Vec<Condition>, Vec<Condition>);

pub(super) fn conditions(item: &Item<'_>, errors: &mut Errors) -> Option<Conditions> {
    let section = Section::open(item, &keys::MATCH, errors)?;
    let headers = section.read("headers", errors, |item, errors| {
        let mut conditions = conditions_of(item, errors)?;
        for condition in &mut conditions {
            if !is_token(condition.name.as_bytes()) {
                let name = value::quote(&condition.name);
                item.refuse(errors, format!("{name} is not a header name"));
            }
            condition.name.make_ascii_lowercase();
        }
        Some(conditions)
    });
    let cookies = section.read("cookies", errors, |item, errors| {
        let conditions = conditions_of(item, errors)?;
        for condition in conditions.iter().filter(|one| !is_token(one.name.as_bytes())) {
            let name = value::quote(&condition.name);
            item.refuse(errors, format!("{name} is not the name of a cookie"));
        }
        Some(conditions)
    });
    let query = section.read("query", errors, conditions_of);
    Some((headers.unwrap_or_default(), cookies.unwrap_or_default(), query.unwrap_or_default()))
}

fn conditions_of(item: &Item<'_>, errors: &mut Errors) -> Option<Vec<Condition>> {
    let entries = map(item, errors)?;
    let most = limits::CONDITIONS_MAX;
    if entries.len() > most {
        let got = entries.len();
        item.refuse(errors, format!("got {got} conditions, limit is {most}; take some out"));
    }
    let conditions = entries.into_iter().filter_map(|(entry, item)| {
        Some(Condition { name: entry.key.clone(), test: test(&item, errors)? })
    });
    Some(conditions.collect())
}

fn test(item: &Item<'_>, errors: &mut Errors) -> Option<Test> {
    if !matches!(item.node.value, Value::Map(_)) {
        return string(item, errors).map(Test::Is);
    }
    let section = Section::open(item, &keys::MATCH_TEST, errors)?;
    let regex = section.read("regex", errors, expression).map(Test::Has);
    let is_there = section.read("present", errors, boolean).unwrap_or(false);
    match (regex, is_there) {
        (Some(test), false) => Some(test),
        (None, true) => Some(Test::IsThere),
        _ => {
            item.expected(errors, "a text, {regex: expression} or {present: true}");
            None
        }
    }
}

/// A regular expression that is not too large.
fn expression(item: &Item<'_>, errors: &mut Errors) -> Option<String> {
    let text = string(item, errors)?;
    let built =
        regex::RegexBuilder::new(&text).size_limit(limits::PATTERN_COMPILED_BYTES_MAX).build();
    match built {
        Ok(_) => Some(text),
        Err(error) => {
            let why = super::wasm::pattern_error(&error);
            item.expected(errors, &format!("a regular expression: {why}"));
            None
        }
    }
}

fn redirect(item: &Item<'_>, errors: &mut Errors) -> Option<Redirect> {
    let section = Section::open(item, &keys::REDIRECT, errors)?;
    let schemes = [("http", "http"), ("https", "https")];
    let statuses = [("301", 301), ("302", 302), ("303", 303), ("307", 307), ("308", 308)];
    let redirect = Redirect {
        scheme: section.read("scheme", errors, |item, errors| word(item, &schemes, errors)),
        host: section.read("host", errors, |item, errors| {
            let text = string(item, errors)?;
            let text = match text.rsplit_once(':') {
                Some((host, port)) => format!("{}:{port}", ascii_host(host)),
                None => ascii_host(&text).into_owned(),
            };
            if is_authority(text.as_bytes()) {
                return Some(text);
            }
            item.expected(errors, "a host such as www.example.com or www.example.com:8443");
            None
        }),
        path: section.read("path", errors, target_path),
        status: section
            .read("status", errors, |item, errors| word(item, &statuses, errors))
            .unwrap_or(302),
    };
    if redirect.scheme.is_none() && redirect.host.is_none() && redirect.path.is_none() {
        item.refuse(errors, "leads back to where it came from; give a scheme, a host or a path");
    }
    Some(redirect)
}

/// A path in the form that origins get.
fn target_path(item: &Item<'_>, errors: &mut Errors) -> Option<String> {
    let text = string(item, errors)?;
    let is_path = text.starts_with('/')
        && !text.starts_with("//")
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\\".contains(&byte));
    if is_path {
        return Some(text);
    }
    item.expected(errors, "a path such as /new, without a query");
    None
}

fn rewrite(item: &Item<'_>, errors: &mut Errors) -> Option<Rewrite> {
    let section = Section::open(item, &keys::REWRITE, errors)?;
    let prefix = section.read("prefix", errors, base_path);
    let regex = section.read("regex", errors, expression);
    let to = section.read("to", errors, |item, errors| {
        let text = string(item, errors)?;
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
        if text.starts_with('/') && is_plain {
            return Some(text);
        }
        item.expected(errors, "a path such as /users/$1");
        None
    });
    match (prefix, regex, to) {
        (Some(prefix), None, None) => Some(Rewrite::Prefix(prefix)),
        (None, Some(regex), Some(to)) => Some(Rewrite::Pattern(regex, to)),
        _ => {
            item.expected(errors, "{prefix: /path}, or {regex: expression, to: /path}");
            None
        }
    }
}

fn header_edit(item: &Item<'_>, errors: &mut Errors) -> Option<HeaderEdit> {
    let section = Section::open(item, &keys::HEADER_EDIT, errors)?;
    Some(HeaderEdit {
        set: section.read("set", errors, headers).unwrap_or_default(),
        add: section.read("add", errors, headers).unwrap_or_default(),
        remove: section
            .read("remove", errors, |item, errors| {
                list(item, limits::SERVICE_HEADERS_MAX, errors, removed)
            })
            .unwrap_or_default(),
    })
}

fn removed(item: &Item<'_>, errors: &mut Errors) -> Option<String> {
    let name = string(item, errors)?;
    let why = if !is_token(name.as_bytes()) {
        "is not a header name"
    } else if name.eq_ignore_ascii_case("host")
        || field_class::is_written_by_gateway(name.as_bytes())
    {
        "can't be removed: the gateway writes it itself"
    } else {
        return Some(name);
    };
    item.refuse(errors, format!("{} {why}", value::quote(&name)));
    None
}
