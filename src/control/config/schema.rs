//! The table of keys as a JSON Schema (draft 2020-12): for editors, and checks without a gateway.
//!
//! It says of a file what can be said of each value by itself. What only the gateway knows (names
//! that point to each other, bounds of what is written with a unit, regular expressions, what two
//! keys may say together) it lets through; `docs/configuration.md` lists that by kind.

use serde_json::{Map, Value, json};

use super::decode::{self, Item};
use super::errors::Errors;
use super::keys::{Key, Keys, Kind, ROOT, Required};
use super::tree;
use crate::limits;
use crate::trace::access_log::Field;

/// The value of a header field: no control characters, no white space at its ends.
const FIELD_VALUE: &str = r"^([!-~\u0080-\uffff]([\t -~\u0080-\uffff]*[!-~\u0080-\uffff])?)?$";

/// The schema of a whole file.
pub(super) fn document() -> Value {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Odin's configuration",
    });
    extend(&mut schema, section(&ROOT));
    // An empty file is refused.
    schema["type"] = "object".into();
    schema["$defs"] = json!({
        "variable": {
            "description": "A value with a variable in it: its form is known when it is filled in.",
            "type": "string",
            "pattern": r"\$\{",
        },
    });
    schema
}

/// A map of these keys. A section that is left empty is one without keys.
fn section(keys: &'static Keys) -> Value {
    let properties = keys.allowed.iter().map(|key| (key.name.to_owned(), property(key)));
    let named = |is: fn(&Key) -> bool| {
        let names = keys.allowed.iter().filter(|key| is(key)).map(|key| key.name);
        names.collect::<Vec<_>>()
    };
    let required = named(|key| key.required == Required::Always);
    let mut schema = json!({
        "type": if required.is_empty() { json!(["object", "null"]) } else { json!("object") },
        "properties": properties.collect::<Map<_, _>>(),
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    let either: Vec<_> = keys
        .allowed
        .iter()
        .filter_map(|key| match key.required {
            Required::Unless(others) => {
                let names = std::iter::once(&key.name).chain(others);
                let any: Vec<_> = names.map(|name| json!({ "required": [name] })).collect();
                Some(json!({ "anyOf": any }))
            }
            Required::Always | Required::Never => None,
        })
        .collect();
    if !either.is_empty() {
        schema["allOf"] = either.into();
    }
    schema
}

fn property(key: &'static Key) -> Value {
    let mut schema = json!({ "description": key.about, "markdownDescription": told(key) });
    if let Some(default) = key.default {
        schema["default"] = value(default);
    }
    if let Some(example) = key.example {
        schema["examples"] = json!([value(example)]);
    }
    extend(&mut schema, takes(&key.kind));
    schema
}

/// All that is said of a key, for editors that show Markdown.
fn told(key: &Key) -> String {
    let parts = [
        ("Takes", key.takes()),
        ("Default", key.without()),
        ("Change it when", key.when.to_owned()),
    ];
    let parts = parts.iter().filter(|(_, text)| !text.is_empty());
    let parts: Vec<_> = parts.map(|(name, text)| format!("\n- {name}: {text}")).collect();
    format!("{}\n{}", key.about, parts.concat())
}

/// A value of the table, written as YAML.
pub(super) fn value(yaml: &str) -> Value {
    let mut errors = Errors::default();
    // Variables stay as they are written.
    let same = |name: &str| Some(format!("${{{name}}}"));
    let node = tree::read(yaml, Some(&same), &mut errors);
    let item = node.as_deref().map(|node| Item { node, key: String::new() });
    item.and_then(|item| decode::json(&item, &mut errors)).unwrap_or_default()
}

/// What a key of this kind takes.
fn takes(kind: &'static Kind) -> Value {
    const TEXT: [&str; 3] = ["string", "number", "boolean"];
    match kind {
        Kind::Text | Kind::Path => json!({ "type": TEXT, "minLength": 1 }),
        Kind::Anything => json!({ "type": ["object", "null"] }),
        Kind::Headers(max) => json!({
            "type": ["object", "null"],
            "maxProperties": max,
            "propertyNames": { "pattern": r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$" },
            "additionalProperties": { "type": TEXT, "pattern": FIELD_VALUE },
        }),
        Kind::List(of, min, max) => {
            let mut schema = json!({
                "type": if *min == 0 { json!(["array", "null"]) } else { json!("array") },
                "items": takes(of),
                "maxItems": max,
            });
            if *min > 0 {
                schema["minItems"] = (*min).into();
            }
            schema
        }
        Kind::Section(keys) => section(keys),
        Kind::Either(kinds) => json!({ "anyOf": kinds.iter().map(takes).collect::<Vec<_>>() }),
        _ => json!({ "anyOf": [plain(kind), { "$ref": "#/$defs/variable" }] }),
    }
}

/// What a key of this kind takes when no variable is in it.
fn plain(kind: &'static Kind) -> Value {
    match kind {
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Integer(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Number(min, max) => json!({ "type": "number", "minimum": min, "maximum": max }),
        Kind::Part => json!({ "type": "string", "pattern": r"^(100|[1-9]?[0-9])\s*%$" }),
        Kind::Size(min, max) => json!({ "anyOf": [
            { "type": "integer", "minimum": min, "maximum": max },
            { "type": "string", "pattern": "^[0-9]+(KiB|MiB|GiB|TiB)?$" },
        ] }),
        Kind::Duration(0) => json!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$" }),
        Kind::Duration(_) => {
            json!({ "type": "string", "pattern": "^(?=.*[1-9])([0-9]+(ms|s|m|h))+$" })
        }
        Kind::Word(words) => json!({ "enum": words }),
        Kind::Field => json!({ "enum": Field::ALL.map(|(name, _)| name) }),
        Kind::Name => {
            let max = limits::NAME_BYTES_MAX;
            let pattern = format!("^[A-Za-z0-9._-]{{1,{max}}}$");
            json!({ "type": ["string", "number", "boolean"], "pattern": pattern })
        }
        Kind::Shaped(pattern) => {
            // A number is a text where texts of digits are.
            let takes_numbers = regex::Regex::new(pattern).is_ok_and(|regex| regex.is_match("5"));
            let kinds = if takes_numbers { json!(["string", "number"]) } else { json!("string") };
            json!({ "type": kinds, "pattern": pattern })
        }
        other => takes(other),
    }
}

fn extend(schema: &mut Value, more: Value) {
    if let (Value::Object(schema), Value::Object(more)) = (schema, more) {
        schema.extend(more);
    }
}
