//! `builtin:echo`: a target that needs no origin. It answers with the request as an origin would
//! have seen it, as JSON, so that a newcomer sees at once what the plugins did.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Map, Value, json};

use crate::http::connection::Scheme;
use crate::http::message::{Fields, LocalResponse, RequestHead};

/// The answer to a request with this head (`path` as the origin would get it) and body. `scheme` is
/// how the client came: nobody has asked an origin.
pub fn answer(
    head: &RequestHead,
    (scheme, authority): (Scheme, &str),
    path: &str,
    body: &[u8],
) -> LocalResponse {
    let scheme = scheme.as_str();
    let mut headers = Map::new();
    headers.insert("Host".into(), json!([authority]));
    for (name, value) in head.fields.iter() {
        let name = String::from_utf8_lossy(name).into_owned();
        let value = Value::String(String::from_utf8_lossy(value).into_owned());
        match headers.get_mut(&name) {
            Some(Value::Array(values)) => values.push(value),
            _ => drop(headers.insert(name, Value::Array(vec![value]))),
        }
    }
    let mut echo = json!({
        "method": head.method.as_str(),
        "url": format!("{scheme}://{authority}{path}{}", head.query),
        "headers": headers,
    });
    match std::str::from_utf8(body) {
        Ok(text) => echo["body"] = text.into(),
        // As plugins get it: docs/plugin-abi.md.
        Err(_) => {
            echo["body"] = BASE64_STANDARD.encode(body).into();
            echo["bodyEncoding"] = "base64".into();
        }
    }
    let mut fields = Fields::new();
    fields.push(b"Content-Type", b"application/json");
    let mut body = serde_json::to_vec_pretty(&echo).expect("a JSON value has a text");
    body.push(b'\n');
    LocalResponse { status: 200, fields, body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::message::Method;

    #[test]
    fn the_echo_says_what_an_origin_would_see() {
        let mut head = RequestHead { method: Method::Post, ..RequestHead::default() };
        head.query.push_str("?a=1");
        head.fields.push(b"X-Two", b"1");
        head.fields.push(b"X-Two", b"caf\xe9");
        let response = answer(&head, (Scheme::Https, "host:1"), "/users", b"hi");
        let echo: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(echo["url"], "https://host:1/users?a=1");
        assert_eq!(echo["headers"]["X-Two"], json!(["1", "caf\u{fffd}"]));
        assert_eq!(echo["body"], "hi");
    }
}
