//! Decodes what a service says of what it does for its clients beside passing responses on.

use super::decode::{Item, Section, boolean, duration_from, list, size, string, word};
use super::errors::Errors;
use super::keys;
use super::model_clients::{Clients, Cors, CorsOrigin};
use super::routes::ascii_host;
use super::tree::Value;
use crate::http::coding::Coding;
use crate::http::compression::{Compression, MediaType};
use crate::http::message::{Method, is_authority, is_token};
use crate::limits;

/// What is compressed where nothing is said of it: what is text. Not `text/event-stream`: few
/// events are worth it.
const TYPES: [&str; 15] = [
    "text/html",
    "text/plain",
    "text/css",
    "text/csv",
    "text/xml",
    "text/javascript",
    "text/markdown",
    "application/json",
    "application/*+json",
    "application/xml",
    "application/*+xml",
    "application/javascript",
    "application/x-ndjson",
    "application/wasm",
    "image/svg+xml",
];

/// The keys of a service that are about its clients.
pub(super) fn clients(map: &Section<'_>, errors: &mut Errors) -> Clients {
    Clients {
        cors: map.filled("cors").and_then(|item| cors(&item, errors)),
        compression: map.filled("compression").and_then(|item| compression(&item, errors)),
    }
}

/// A list of codings, or a map that has one.
fn compression(item: &Item<'_>, errors: &mut Errors) -> Option<Compression> {
    let by_default = || TYPES.iter().filter_map(|text| MediaType::parse(text)).collect();
    let mut compression = Compression {
        codings: Vec::new(),
        types: by_default(),
        bytes_min: limits::COMPRESSION_BYTES_MIN,
    };
    if !matches!(item.node.value, Value::Map(_)) {
        compression.codings = codings(item, errors)?;
        return Some(compression);
    }
    let map = Section::open(item, &keys::COMPRESSION, errors)?;
    if let Some(types) = map.read("types", errors, types) {
        compression.types = types;
    }
    let sizes = 0..=limits::COMPRESSION_BYTES_CEILING;
    if let Some(least) = map.read("minBytes", errors, |item, errors| size(item, sizes, errors)) {
        compression.bytes_min = least;
    }
    let why = "give what responses are compressed with, such as [zstd, br, gzip]";
    compression.codings = map.require("codings", why, errors, codings)?;
    Some(compression)
}

fn codings(item: &Item<'_>, errors: &mut Errors) -> Option<Vec<Coding>> {
    let words = [Coding::Zstd, Coding::Brotli, Coding::Gzip].map(|one| (one.as_str(), one));
    if !matches!(item.node.value, Value::List(_)) {
        item.expected(errors, "a list of codings such as [zstd, br, gzip]");
        return None;
    }
    let mut codings: Vec<Coding> = Vec::new();
    let listed = list(item, words.len(), errors, |item, errors| {
        let coding = word(item, &words, errors)?;
        if codings.contains(&coding) {
            item.refuse(errors, format!("{} stands here twice; take one out", coding.as_str()));
        }
        codings.push(coding);
        Some(coding)
    })?;
    if listed.is_empty() && matches!(&item.node.value, Value::List(nodes) if nodes.is_empty()) {
        item.expected(errors, "at least one of zstd, br, gzip; without any, take the key out");
    }
    (!listed.is_empty()).then_some(listed)
}

fn types(item: &Item<'_>, errors: &mut Errors) -> Option<Vec<MediaType>> {
    let types = list(item, limits::COMPRESSION_TYPES_MAX, errors, |item, errors| {
        let text = string(item, errors)?;
        let parsed = MediaType::parse(&text);
        if parsed.is_none() {
            item.expected(errors, "a media type such as text/html, text/* or application/*+json");
        }
        parsed
    })?;
    if matches!(&item.node.value, Value::List(nodes) if nodes.is_empty()) {
        item.expected(errors, "at least one media type such as text/html");
    }
    Some(types)
}

fn cors(item: &Item<'_>, errors: &mut Errors) -> Option<Cors> {
    let map = Section::open(item, &keys::CORS, errors)?;
    let why = "give whose pages may read, such as [\"https://app.example.com\"]";
    let origins = map.require("origins", why, errors, origins);
    let header = |item: &Item<'_>, text: &str, errors: &mut Errors| {
        let is_name = is_token(text.as_bytes());
        if !is_name {
            item.expected(errors, "the name of a header, or \"*\" alone");
        }
        is_name
    };
    let method = |item: &Item<'_>, text: &str, errors: &mut Errors| {
        let is_method = Method::from_bytes(text.as_bytes()).is_some()
            && !text.bytes().any(|byte| byte.is_ascii_lowercase());
        if !is_method {
            item.expected(errors, "a method such as PUT, in capitals, or \"*\" alone");
        }
        is_method
    };
    let read = |key: &str, is: Check, errors: &mut Errors| {
        map.read(key, errors, |item, errors| names(item, is, errors))
    };
    let simple = || Some(["GET", "HEAD", "POST"].map(str::to_owned).to_vec());
    let cors = Cors {
        methods: read("methods", &method, errors).unwrap_or_else(simple),
        headers: read("headers", &header, errors).unwrap_or_else(|| Some(Vec::new())),
        expose: read("exposeHeaders", &header, errors).unwrap_or_else(|| Some(Vec::new())),
        credentials: map.read("credentials", errors, boolean).unwrap_or(false),
        max_age: map.read("maxAge", errors, |item, errors| {
            duration_from(item, std::time::Duration::from_secs(1), errors)
        }),
        origins: origins?,
    };
    check_credentials(&map, &cors, errors);
    Some(cors)
}

/// With cookies, a page of anybody would read what its visitor alone may.
fn check_credentials(map: &Section<'_>, cors: &Cors, errors: &mut Errors) {
    if !cors.credentials {
        return;
    }
    if let Some(item) = map.filled("origins")
        && cors.origins.contains(&CorsOrigin::Any)
    {
        item.refuse(
            errors,
            "got \"*\" with credentials: true, which no browser takes: any page could read what \
             its visitor alone may; name the origins, or take credentials out",
        );
    }
    if let Some(item) = map.filled("exposeHeaders")
        && cors.expose.is_none()
    {
        item.refuse(
            errors,
            "got \"*\" with credentials: true, which browsers take for a name; list the headers",
        );
    }
}

type Check<'a> = &'a dyn Fn(&Item<'_>, &str, &mut Errors) -> bool;

/// Names, or `*` alone: `None` in the place of a list.
fn names(item: &Item<'_>, is: Check<'_>, errors: &mut Errors) -> Option<Option<Vec<String>>> {
    let names = list(item, limits::CORS_NAMES_MAX, errors, |item, errors| {
        let text = string(item, errors)?;
        (text == "*" || is(item, &text, errors)).then_some(text)
    })?;
    match names.iter().any(|name| name == "*") {
        true if names.len() > 1 => {
            item.refuse(errors, "got \"*\" among names, and it stands for all; take the names out");
            None
        }
        true => Some(None),
        false => Some(Some(names)),
    }
}

fn origins(item: &Item<'_>, errors: &mut Errors) -> Option<Vec<CorsOrigin>> {
    let origins = list(item, limits::CORS_ORIGINS_MAX, errors, origin)?;
    if matches!(&item.node.value, Value::List(nodes) if nodes.is_empty()) {
        item.expected(errors, "at least one origin; without any, take cors out");
    }
    if origins.len() > 1 && origins.contains(&CorsOrigin::Any) {
        item.refuse(errors, "got \"*\" among origins, and it stands for all; take the others out");
    }
    (!origins.is_empty()).then_some(origins)
}

fn origin(item: &Item<'_>, errors: &mut Errors) -> Option<CorsOrigin> {
    if matches!(item.node.value, Value::Map(_)) {
        let map = Section::open(item, &keys::CORS_ORIGIN, errors)?;
        let why = "give the expression that the whole origin must fit";
        return map.require("regex", why, errors, |item, errors| {
            let text = string(item, errors)?;
            match CorsOrigin::build(&text) {
                Ok(_) => Some(CorsOrigin::Fits(text)),
                Err(error) => {
                    let why = super::wasm::pattern_error(&error);
                    item.expected(errors, &format!("a regular expression: {why}"));
                    None
                }
            }
        });
    }
    let text = string(item, errors)?;
    let origin = match text.as_str() {
        "*" => Some(CorsOrigin::Any),
        "null" => Some(CorsOrigin::Is(text)),
        _ => named_origin(&text),
    };
    if origin.is_none() {
        item.expected(
            errors,
            "an origin such as https://app.example.com or https://*.example.com, without a path \
             and without / at its end; {regex: expression}; \"*\" or \"null\"",
        );
    }
    origin
}

/// A host, with a port if it has one, whose letters are those of the network: browsers send
/// `https://xn--bcher-kva.example`.
fn ascii_authority(text: &str) -> String {
    match text.rsplit_once(':') {
        Some((host, port)) => format!("{}:{port}", ascii_host(host)),
        None => ascii_host(text).into_owned(),
    }
}

/// An origin as browsers write it: in lower case, without the port of its scheme.
fn named_origin(text: &str) -> Option<CorsOrigin> {
    let lower = text.to_ascii_lowercase();
    let (scheme, authority) = lower.split_once("://")?;
    let is_scheme =
        scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
            && scheme.starts_with(|first: char| first.is_ascii_lowercase());
    let port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let bare = authority.strip_suffix(port).filter(|_| !port.is_empty()).unwrap_or(authority);
    let bare = ascii_authority(bare);
    let bare = bare.as_str();
    let host = bare.strip_prefix("*.").unwrap_or(bare);
    if !is_scheme || host.contains('*') || !is_authority(host.as_bytes()) {
        return None;
    }
    Some(match bare.strip_prefix('*') {
        Some(rest) => CorsOrigin::Below(format!("{scheme}://"), rest.to_owned()),
        None => CorsOrigin::Is(format!("{scheme}://{bare}")),
    })
}
