//! Decodes `wasm` and its plugins.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;

use super::decode::{
    Item, Section, boolean, duration, integer, json, list, name, path, string, word,
};
use super::errors::Errors;
use super::near::nearest;
use super::tree::Value;
use super::{
    Encoding, FailureMode, Isolation, NonUtf8, OnBodyTooLarge, Pattern, Place, Plugin, PluginType,
    Service, TickOn, Wasm, keys, modules, pattern_set,
};
use crate::limits;
use crate::plugin::BodyMode;

const TYPES: [(&str, PluginType); 6] = [
    ("auth", PluginType::Auth),
    ("ratelimit", PluginType::RateLimit),
    ("request", PluginType::Request),
    ("response", PluginType::Response),
    ("middleware", PluginType::Middleware),
    ("aggregation", PluginType::Aggregation),
];

/// `wasm`. `services` are those that plugins may name; `None` for a file without `services:`,
/// which describes plugins alone (the fragments of documentation do).
pub(super) fn wasm(
    item: &Item<'_>,
    services: Option<&[Service]>,
    errors: &mut Errors,
) -> Option<Wasm> {
    let map = Section::open(item, &keys::WASM, errors)?;
    let default = Wasm::default();
    let max_instances = map.read("maxInstances", errors, instances);
    let max_instances = max_instances.unwrap_or(default.max_instances);
    Some(Wasm {
        enabled: map.read("enabled", errors, boolean).unwrap_or(default.enabled),
        plugin_dir: map.read("pluginDir", errors, path).unwrap_or(default.plugin_dir),
        max_memory_pages: map
            .read("maxMemoryPages", errors, memory_pages)
            .unwrap_or(default.max_memory_pages),
        max_instances,
        cache_enabled: map.read("cacheEnabled", errors, boolean).unwrap_or(default.cache_enabled),
        cache_dir: map.read("cacheDir", errors, path),
        timeout: map.read("timeout", errors, duration).unwrap_or(default.timeout),
        plugins: map
            .read("plugins", errors, |item, errors| {
                let around = Around { services, max_instances };
                plugins(item, &around, errors)
            })
            .unwrap_or_default(),
    })
}

/// One plugin that stands alone, to be added to `wasm`.
pub(super) fn lone_plugin(
    item: &Item<'_>,
    services: &[Service],
    max_instances: u32,
    errors: &mut Errors,
) -> Option<Plugin> {
    let around = Around { services: Some(services), max_instances };
    plugin(item, &around, &mut Names::default(), errors)
}

fn memory_pages(item: &Item<'_>, errors: &mut Errors) -> Option<u32> {
    integer(item, 1..=limits::PLUGIN_MEMORY_PAGES_CEILING, errors)
}

fn instances(item: &Item<'_>, errors: &mut Errors) -> Option<u32> {
    integer(item, 1..=limits::PLUGIN_INSTANCES_PROCESS_MAX, errors)
}

/// What a plugin's keys are checked against.
struct Around<'a> {
    services: Option<&'a [Service]>,
    max_instances: u32,
}

fn plugins(item: &Item<'_>, around: &Around<'_>, errors: &mut Errors) -> Option<Vec<Plugin>> {
    let mut names = Names::default();
    list(item, limits::PLUGINS_MAX, errors, |item, errors| plugin(item, around, &mut names, errors))
}

/// The names that one list has given already, and where. A list may have ten thousand.
#[derive(Default)]
pub(super) struct Names(HashMap<String, Place>);

impl Names {
    /// Decodes a name and reports one that is taken.
    pub(super) fn take(&mut self, item: &Item<'_>, errors: &mut Errors) -> Option<String> {
        let name = name(item, errors)?;
        match self.0.entry(name.clone()) {
            Entry::Vacant(free) => drop(free.insert(item.place())),
            Entry::Occupied(taken) => {
                let (line, column) = (taken.get().line, taken.get().column);
                let text = format!(
                    "got {name:?}, which is taken at {line}:{column}; give each its own name"
                );
                item.refuse(errors, text);
            }
        }
        Some(name)
    }
}

fn plugin(
    item: &Item<'_>,
    around: &Around<'_>,
    names: &mut Names,
    errors: &mut Errors,
) -> Option<Plugin> {
    let map = Section::open(item, &keys::PLUGIN, errors)?;
    let named = "each plugin has a name of its own";
    let filed = "give its .wasm file, absolute or under wasm.pluginDir, or its URL";
    let own_max = map.read("maxInstances", errors, instances);
    let digest = map.read("sha256", errors, sha256);
    let has_digest = map.get("sha256").is_some();
    Some(Plugin {
        place: map.place,
        name: map
            .require("name", named, errors, |item, errors| names.take(item, errors))
            .unwrap_or_default(),
        path: map.require("path", filed, errors, path).unwrap_or_else(PathBuf::new),
        remote: modules::remote(map.get("path").as_ref(), has_digest, errors),
        kind: map
            .read("type", errors, |item, errors| word(item, &TYPES, errors))
            .unwrap_or(PluginType::Middleware),
        enabled: map.read("enabled", errors, boolean).unwrap_or(true),
        priority: map
            .read("priority", errors, |item, errors| integer(item, PRIORITIES, errors))
            .unwrap_or(PRIORITY),
        timeout: map.read("timeout", errors, duration),
        allowed_urls: map.read("allowedUrls", errors, patterns).unwrap_or_default(),
        services: map
            .read("services", errors, |item, errors| service_names(item, around, errors))
            .unwrap_or_default(),
        config: map
            .read("config", errors, plugin_config)
            .unwrap_or_else(|| serde_json::Map::new().into()),
        failure_mode: map.read("failureMode", errors, failure_mode),
        body: map.read("body", errors, body),
        on_body_too_large: map
            .read("onBodyTooLarge", errors, on_body_too_large)
            .unwrap_or_default(),
        encoding: map.read("encoding", errors, encoding).unwrap_or_default(),
        isolation: map.read("isolation", errors, isolation).unwrap_or_default(),
        instances: map.read("instances", errors, |item, errors| {
            integer(item, 1..=own_max.unwrap_or(around.max_instances), errors)
        }),
        max_instances: own_max,
        max_memory_pages: map.read("maxMemoryPages", errors, memory_pages),
        sha256: digest,
        non_utf8: map.read("nonUtf8", errors, non_utf8),
        tick: map.read("tick", errors, duration),
        tick_on: map.read("tickOn", errors, tick_on).unwrap_or_default(),
        root_id: map.read("rootId", errors, string).unwrap_or_default(),
        vm_id: map.read("vmId", errors, string).unwrap_or_default(),
        vm_config: map.read("vmConfig", errors, vm_config).unwrap_or_default(),
    })
}

/// The rank of a plugin that names none; lower runs first.
const PRIORITY: i64 = 100;
/// Any 32-bit number: a rank is compared, nothing else.
const PRIORITIES: std::ops::RangeInclusive<i64> = i32::MIN as i64..=i32::MAX as i64;

fn failure_mode(item: &Item<'_>, errors: &mut Errors) -> Option<FailureMode> {
    let modes = [("open", FailureMode::Open), ("closed", FailureMode::Closed)];
    word(item, &modes, errors)
}

fn body(item: &Item<'_>, errors: &mut Errors) -> Option<BodyMode> {
    match item.as_boolean() {
        Some(true) => Some(BodyMode::Whole),
        Some(false) => Some(BodyMode::None),
        None => word(item, &BodyMode::NAMED, errors),
    }
}

fn on_body_too_large(item: &Item<'_>, errors: &mut Errors) -> Option<OnBodyTooLarge> {
    let ways = [("reject", OnBodyTooLarge::Reject), ("pass", OnBodyTooLarge::Pass)];
    word(item, &ways, errors)
}

fn encoding(item: &Item<'_>, errors: &mut Errors) -> Option<Encoding> {
    let ways =
        [("decode", Encoding::Decode), ("identity", Encoding::Identity), ("raw", Encoding::Raw)];
    word(item, &ways, errors)
}

fn isolation(item: &Item<'_>, errors: &mut Errors) -> Option<Isolation> {
    let kinds = [("shared", Isolation::Shared), ("request", Isolation::Request)];
    word(item, &kinds, errors)
}

fn tick_on(item: &Item<'_>, errors: &mut Errors) -> Option<TickOn> {
    word(item, &[("each", TickOn::Each), ("one", TickOn::One)], errors)
}

fn plugin_config(item: &Item<'_>, errors: &mut Errors) -> Option<serde_json::Value> {
    match &item.node.value {
        Value::Map(_) => json(item, errors),
        _ if item.node.is_null() => None,
        Value::Scalar(scalar) => Some(scalar.text.clone().into()),
        _ => {
            let what = "a map, which the plugin is handed as JSON, or a text for a foreign filter";
            item.expected(errors, what);
            None
        }
    }
}

/// A text, or a map, which is handed over as JSON.
fn vm_config(item: &Item<'_>, errors: &mut Errors) -> Option<String> {
    match plugin_config(item, errors)? {
        serde_json::Value::String(text) => Some(text),
        json => Some(json.to_string()),
    }
}

fn non_utf8(item: &Item<'_>, errors: &mut Errors) -> Option<NonUtf8> {
    let ways = [("reject", NonUtf8::Reject), ("hide", NonUtf8::Hide), ("pass", NonUtf8::Pass)];
    word(item, &ways, errors)
}

fn patterns(item: &Item<'_>, errors: &mut Errors) -> Option<Vec<Pattern>> {
    let patterns = each_pattern(item, errors)?;
    if let Err(why) = pattern_set(&patterns) {
        item.refuse(errors, why);
    }
    Some(patterns)
}

fn each_pattern(item: &Item<'_>, errors: &mut Errors) -> Option<Vec<Pattern>> {
    list(item, limits::PLUGIN_LIST_MAX, errors, |item, errors| {
        let pattern = Pattern { source: string(item, errors)?, place: item.place() };
        match pattern.build() {
            Ok(_) => Some(pattern),
            Err(error) => {
                let why = pattern_error(&error);
                item.expected(errors, &format!("a regular expression: {why}"));
                None
            }
        }
    })
}

/// What is wrong with a pattern, in one line: regex draws the pattern and a caret above it.
pub(super) fn pattern_error(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("it compiles to more than {limit} bytes; repeat or list less")
        }
        other => {
            let text = other.to_string();
            let last = text.lines().next_back().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        }
    }
}

fn service_names(item: &Item<'_>, around: &Around<'_>, errors: &mut Errors) -> Option<Vec<String>> {
    list(item, limits::PLUGIN_LIST_MAX, errors, |item, errors| {
        let name = name(item, errors)?;
        if let Some(services) = around.services {
            check_service(item, &name, services, errors);
        }
        Some(name)
    })
}

/// Reports a name that no service has.
pub(super) fn check_service(
    item: &Item<'_>,
    name: &str,
    services: &[Service],
    errors: &mut Errors,
) {
    /// So many names fit into a line that is still read.
    const LISTED_MAX: usize = 20;
    let known = || services.iter().map(|service| service.name.as_str());
    if known().any(|service| service == name) {
        return;
    }
    let meant = nearest(name, known());
    let hint = meant.map_or_else(String::new, |meant| format!("did you mean {meant:?}? "));
    let list: Vec<_> = known().take(LISTED_MAX).map(|name| format!("{name:?}")).collect();
    let list = if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    item.refuse(errors, format!("no service named {name:?}; {hint}known: {list}"));
}

fn sha256(item: &Item<'_>, errors: &mut Errors) -> Option<[u8; 32]> {
    let text = string(item, errors)?;
    let mut hash = [0; 32];
    let nibble = |byte: u8| char::from(byte).to_digit(16);
    let is_hash = text.len() == 64
        && text.as_bytes().chunks_exact(2).zip(&mut hash).all(|(pair, byte)| {
            let (Some(high), Some(low)) = (nibble(pair[0]), nibble(pair[1])) else {
                return false;
            };
            *byte = (high << 4 | low) as u8;
            true
        });
    if !is_hash {
        item.expected(errors, "64 hexadecimal digits, as sha256sum prints them");
        return None;
    }
    Some(hash)
}
