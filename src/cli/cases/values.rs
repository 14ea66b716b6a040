//! Values of a file of cases as the input of a call has them.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Part;

pub(super) fn part(part: &Part) -> Value {
    json!({
        "name": part.name,
        "service": part.service.as_deref().unwrap_or(&part.name),
        "statusCode": part.status.unwrap_or(200),
        "headers": lists(&part.headers),
        "body": body_of(part.body.as_deref(), part.json.as_ref()),
    })
}

pub(super) fn seconds(time: f64) -> Duration {
    Duration::try_from_secs_f64(time).unwrap_or_default()
}

pub(super) fn body_of(body: Option<&str>, json: Option<&Value>) -> String {
    json.map_or_else(|| body.unwrap_or_default().to_owned(), Value::to_string)
}

/// Each value as a list: one alone may stand for itself.
pub(crate) fn lists(headers: &Map<String, Value>) -> Map<String, Value> {
    let list = |value: &Value| match value {
        Value::Array(_) => value.clone(),
        one => json!([one]),
    };
    headers.iter().map(|(name, value)| (name.clone(), list(value))).collect()
}

pub(super) fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
