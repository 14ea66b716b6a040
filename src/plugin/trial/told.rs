//! What a foreign filter has made of a message, told as an output of the JSON ABI: so that cases
//! expect the same of either.

use serde_json::{Map, Value, json};

use super::super::chain::BodySlot;
use crate::http::message::{Fields, LocalResponse, RequestHead, ResponseHead};

/// It lets a request go on.
pub(super) fn request(before: &RequestHead, after: &RequestHead, body: &BodySlot) -> String {
    let mut message = Map::new();
    if before.method != after.method {
        message.insert("method".to_owned(), after.method.as_str().into());
    }
    let target = |head: &RequestHead| format!("{}{}", head.path, head.query);
    if target(before) != target(after) {
        message.insert("url".to_owned(), target(after).into());
    }
    let mut fields = changed(&before.fields, &after.fields);
    if before.authority != after.authority {
        fields.insert("Host".to_owned(), json!([after.authority]));
    }
    passed("request", message, fields, body)
}

/// It lets a response go on.
pub(super) fn response(before: &ResponseHead, after: &ResponseHead, body: &BodySlot) -> String {
    let mut message = Map::new();
    if before.status != after.status {
        message.insert("statusCode".to_owned(), after.status.into());
    }
    passed("response", message, changed(&before.fields, &after.fields), body)
}

fn passed(
    name: &str,
    mut message: Map<String, Value>,
    fields: Map<String, Value>,
    body: &BodySlot,
) -> String {
    if !fields.is_empty() {
        message.insert("headers".to_owned(), fields.into());
    }
    if let (true, Some(bytes)) = (body.replaced, &body.given) {
        message.insert("body".to_owned(), String::from_utf8_lossy(bytes).into());
    }
    match message.is_empty() {
        true => json!({"modified": false, "continue": true}).to_string(),
        false => json!({"modified": true, "continue": true, name: message}).to_string(),
    }
}

/// It answers in the place of the service.
pub(super) fn answer(local: &LocalResponse) -> String {
    let message = json!({
        "statusCode": local.status,
        "headers": changed(&Fields::new(), &local.fields),
        "body": String::from_utf8_lossy(&local.body),
    });
    json!({"modified": true, "continue": false, "response": message}).to_string()
}

/// It cuts the exchange off.
pub(super) fn closed() -> String {
    json!({"modified": false, "continue": false, "error": "the filter closes the connection"})
        .to_string()
}

/// All values of the names whose values differ; none for one that is gone.
fn changed(before: &Fields, after: &Fields) -> Map<String, Value> {
    let values = |fields: &Fields, name: &[u8]| -> Vec<String> {
        let of_name = fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        of_name.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    };
    let mut out = Map::new();
    for (name, _) in after.iter().chain(before.iter()) {
        let (old, new) = (values(before, name), values(after, name));
        let shown = String::from_utf8_lossy(name).into_owned();
        if old != new && !out.keys().any(|known| known.eq_ignore_ascii_case(&shown)) {
            out.insert(shown, new.into());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_is_told_and_nothing_else() {
        let fields = |list: &[(&str, &str)]| {
            let mut fields = Fields::new();
            list.iter().for_each(|(name, value)| fields.push(name.as_bytes(), value.as_bytes()));
            fields
        };
        let before = fields(&[("A", "1"), ("B", "2"), ("C", "3")]);
        let after = fields(&[("a", "1"), ("c", "4"), ("D", "5"), ("D", "6")]);
        let told = Value::from(changed(&before, &after));
        assert_eq!(told, json!({"c": ["4"], "D": ["5", "6"], "B": []}));
        let same = RequestHead::default();
        let told = request(&same, &same, &BodySlot::default());
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told, json!({"continue": true, "modified": false}));
    }
}
