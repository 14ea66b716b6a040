//! The calls about plugins.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::super::config::{self, view};
use super::super::reload::{Cause, Change, Running};
use super::State;
use super::name::Name;
use super::reply::{Failed, done, object};
use crate::text::hex;

/// `GET /api/plugins`: every plugin of the configuration, disabled ones too, in its order.
pub(super) async fn list(control: State) -> Json<Value> {
    let running = control.running();
    let plugins = running.config.wasm.plugins.iter();
    let plugins: Vec<_> = plugins.map(|plugin| describe(plugin, &running)).collect();
    Json(json!({ "generation": running.snapshot.generation, "plugins": plugins }))
}

/// `GET /api/plugins/{name}`.
pub(super) async fn one(control: State, Name(name): Name) -> Result<Json<Value>, Failed> {
    let running = control.running();
    let plugin = running.config.wasm.plugins.iter().find(|plugin| plugin.name == name);
    match plugin {
        Some(plugin) => Ok(Json(describe(plugin, &running))),
        None => {
            let name = name.escape_default();
            Err(Failed::new(StatusCode::NOT_FOUND, format!("no plugin named {name}")))
        }
    }
}

/// `POST /api/plugins/load` `{"name", "path"}` and any other key of a plugin.
pub(super) async fn load(
    control: State,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Failed> {
    let mut keys = object(body)?;
    let persist = take_flag(&mut keys, "persist")?.unwrap_or(false);
    check_texts(&keys)?;
    done(control.make(Change::Load { keys, persist }, Cause::Admin).await)
}

/// `DELETE /api/plugins/unload/{name}`, `?persist=true` to change the file too.
pub(super) async fn unload(
    control: State,
    Name(name): Name,
    uri: axum::http::Uri,
) -> Result<Json<Value>, Failed> {
    let persist = match uri.query() {
        None | Some("" | "persist=false") => false,
        Some("persist=true") => true,
        Some(_) => {
            let reason = "the query may be persist=true or persist=false";
            return Err(Failed::new(StatusCode::BAD_REQUEST, reason));
        }
    };
    done(control.make(Change::Unload { name, persist }, Cause::Admin).await)
}

/// `PUT /api/plugins/{name}/enabled` `{"enabled": bool}`.
pub(super) async fn enable(
    control: State,
    Name(name): Name,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Failed> {
    let mut keys = object(body)?;
    let persist = take_flag(&mut keys, "persist")?.unwrap_or(false);
    let enabled = take_flag(&mut keys, "enabled")?;
    let bad = |reason: &str| Failed::new(StatusCode::BAD_REQUEST, reason);
    let enabled = enabled.ok_or_else(|| bad("\"enabled\" is missing; send true or false"))?;
    if !keys.is_empty() {
        return Err(bad("only \"enabled\" and \"persist\" can be sent here"));
    }
    done(control.make(Change::Enable { name, enabled, persist }, Cause::Admin).await)
}

/// Takes a boolean out of a body.
fn take_flag(keys: &mut Map<String, Value>, key: &str) -> Result<Option<bool>, Failed> {
    match keys.remove(key) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(flag)),
        Some(other) => Err(mistyped(key, &other, "true or false")),
    }
}

/// Texts are texts. In a file, which has no types, `name: 5` is the name "5"; in JSON, 5 is none.
fn check_texts(keys: &Map<String, Value>) -> Result<(), Failed> {
    const TEXTS: [&str; 14] = [
        "name",
        "path",
        "type",
        "timeout",
        "failureMode",
        "onBodyTooLarge",
        "encoding",
        "isolation",
        "sha256",
        "nonUtf8",
        "tick",
        "tickOn",
        "rootId",
        "vmId",
    ];
    const LISTS: [&str; 2] = ["allowedUrls", "services"];
    for (key, value) in keys {
        let is_handed = ["config", "vmConfig"].contains(&key.as_str());
        if is_handed && (value.is_number() || value.is_boolean()) {
            return Err(mistyped(key, value, "an object or a text"));
        }
        let is_list = LISTS.contains(&key.as_str());
        let items = value.as_array().filter(|_| is_list).into_iter().flatten();
        let items = items.map(|item| (format!("an item of {key}"), item));
        let own = TEXTS.contains(&key.as_str()).then(|| (key.clone(), value));
        for (what, value) in own.into_iter().chain(items) {
            if !value.is_string() {
                return Err(mistyped(&what, value, "a text"));
            }
        }
    }
    Ok(())
}

/// Says what was got by its kind: the value may be long, or a secret at the wrong place.
fn mistyped(key: &str, got: &Value, expected: &str) -> Failed {
    let got = match got {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Failed::new(StatusCode::BAD_REQUEST, format!("{key}: got {got}, expected {expected}"))
}

/// A plugin as configured and as it runs.
fn describe(plugin: &config::Plugin, running: &Running) -> Value {
    let loaded = running.snapshot.plugins.iter().find(|loaded| loaded.spec.name == plugin.name);
    let error = loaded.and_then(|loaded| loaded.load_error());
    let status = match (loaded, error) {
        (None, _) => "disabled",
        (Some(_), Some(_)) => "failed",
        (Some(_), None) => "active",
    };
    let mut described = view::plugin(plugin, &running.config.variables);
    let file = running.config.file_of(plugin);
    let spec = loaded.map(|loaded| &loaded.spec);
    described["status"] = status.into();
    described["error"] = error.into();
    described["file"] = file.to_string_lossy().into();
    let digest = loaded.and_then(|loaded| loaded.digest());
    described["digest"] = digest.map(|digest| hex(digest)).into();
    described["effective"] = json!(spec.map(|spec| json!({
        "failureMode": spec.failure_mode.as_str(),
        "timeoutMs": spec.timeout.as_millis() as u64,
        "body": spec.body.as_str(),
        "instancesPerWorker": spec.instances_per_worker(),
        "maxMemoryPages": spec.max_memory_pages,
    })));
    described
}
