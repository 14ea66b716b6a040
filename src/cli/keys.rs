//! The flags that say of a plugin what its entry in a configuration says: with the same names,
//! meanings and bounds in each command that has them.

use std::path::Path;
use std::time::Duration;

use odin::control::config;
use odin::limits;
use odin::plugin::{BodyMode, PluginSpec, PluginType};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(clap::Args)]
pub(crate) struct Keys {
    /// The plugin's own config: a JSON object, or a file that holds one as JSON or YAML
    #[arg(long, value_name = "JSON|FILE", value_parser = object)]
    pub config: Option<Map<String, Value>>,
    /// The config of a foreign filter, where it is a text
    #[arg(long, value_name = "TEXT", conflicts_with = "config")]
    pub config_text: Option<String>,
    /// Which root of its module a filter of Envoy is
    #[arg(long, value_name = "ID")]
    pub root_id: Option<String>,
    /// The type under which the plugin runs
    #[arg(long = "type", value_name = "TYPE", default_value = "middleware", value_parser = kind)]
    pub kind: PluginType,
    /// Kill the plugin after this time: 250ms, 5s
    #[arg(long, default_value = "5s", value_parser = config::duration)]
    pub timeout: Duration,
    /// Most memory of the plugin, in pages of 64 KiB
    #[arg(long, value_name = "PAGES", default_value_t = limits::PLUGIN_MEMORY_PAGES_MAX,
          value_parser = clap::value_parser!(u32)
              .range(1..=i64::from(limits::PLUGIN_MEMORY_PAGES_CEILING)))]
    pub max_memory_pages: u32,
    /// How it is given bodies; if not said, auth and ratelimit plugins are given none
    #[arg(long, value_name = "false|whole|stream|events", value_parser = body)]
    pub body: Option<BodyMode>,
}

impl Keys {
    /// What a gateway would know of the plugin.
    pub(crate) fn spec(&self, module: &Path) -> PluginSpec {
        let mut spec = PluginSpec::new(name_of(module), self.kind);
        spec.timeout = self.timeout;
        spec.max_memory_pages = self.max_memory_pages;
        spec.body = self.body.unwrap_or(spec.body);
        if let Some(config) = &self.config {
            spec.set_config(Value::Object(config.clone()));
        }
        if let Some(text) = &self.config_text {
            spec.set_config(Value::String(text.clone()));
        }
        if let Some(root_id) = &self.root_id {
            spec.filter.root_id.clone_from(root_id);
        }
        spec
    }

    /// The entry of `wasm.plugins` that says the same.
    pub(crate) fn entry(&self, module: &Path) -> Value {
        let mut entry = json!({
            "name": name_of(module),
            "path": module,
            "type": self.kind.as_str(),
            "timeout": format!("{}ms", self.timeout.as_millis()),
            "maxMemoryPages": self.max_memory_pages,
            "config": self.config.clone().unwrap_or_default(),
        });
        if let Some(text) = &self.config_text {
            entry["config"] = text.as_str().into();
        }
        if let Some(root_id) = &self.root_id {
            entry["rootId"] = root_id.as_str().into();
        }
        if let Some(body) = self.body {
            entry["body"] = body.as_str().into();
        }
        entry
    }
}

/// A plugin's name by its file: as a configuration takes it.
fn name_of(module: &Path) -> String {
    let stem = module.file_stem().unwrap_or_default().to_string_lossy();
    let allowed = |character: char| {
        let is_allowed = character.is_ascii_alphanumeric() || "._-".contains(character);
        if is_allowed { character } else { '-' }
    };
    let name: String = stem.chars().take(limits::NAME_BYTES_MAX).map(allowed).collect();
    if name.is_empty() { "plugin".to_owned() } else { name }
}

/// The value of `--body`.
pub(crate) fn body(name: &str) -> Result<BodyMode, String> {
    BodyMode::from_name(name)
        .ok_or_else(|| "a plugin's body is false, whole (or true), stream or events".to_owned())
}

/// The value of `body` in a file of cases: a word, or as ever true or false.
pub(crate) fn body_of<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BodyMode>, D::Error> {
    let name = match Value::deserialize(deserializer)? {
        Value::Bool(is_given) => is_given.to_string(),
        Value::String(name) => name,
        other => other.to_string(),
    };
    body(&name).map(Some).map_err(serde::de::Error::custom)
}

/// The value of `--type`.
pub(crate) fn kind(name: &str) -> Result<PluginType, String> {
    PluginType::from_name(name).ok_or_else(|| {
        "a type is auth, ratelimit, request, response, middleware or aggregation".to_owned()
    })
}

/// The value of `--config`: what begins with a brace is the object itself, anything else a file.
pub(crate) fn object(value: &str) -> Result<Map<String, Value>, String> {
    let allowed = "an object such as '{\"limit\": 5}', or a file that holds one";
    if value.trim_start().starts_with(['{', '[', '"']) {
        return serde_json::from_str(value).map_err(|error| format!("it takes {allowed}: {error}"));
    }
    let text = super::read_text(Path::new(value))
        .map_err(|reason| format!("it takes {allowed}: {reason}"))?;
    yaml_serde::from_str(&text).map_err(|error| format!("{value} holds no such object: {error}"))
}
