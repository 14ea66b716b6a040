//! What a guest asks for, read and checked: it becomes the bytes of a request, so nothing in it may
//! be read as something else by the origin.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::super::chain::MessageBounds;
use super::super::super::json_abi::{Members, take_body};
use super::super::super::reach::Url;
use super::timeout_of;
use crate::http::field_class::is_of_connection;
use crate::http::message::{BodyLength, Fields, Method, RequestHead, is_field_value, is_token};
use crate::limits;

/// A request that can be sent.
#[derive(Debug)]
pub(in crate::plugin) struct Request {
    /// `path` and `query` are those of the URL.
    pub(in crate::plugin) head: RequestHead,
    pub(super) body: Vec<u8>,
    pub(super) timeout: Option<Duration>,
    url: String,
}

/// The JSON form's input. Unknown keys are ignored: a newer SDK may send more.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Input<'a> {
    method: Option<String>,
    url: String,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    body: Option<String>,
    body_encoding: Option<String>,
    timeout_ms: Option<u64>,
}

impl Request {
    /// Reads the JSON form.
    pub(super) fn from_json(input: &[u8]) -> Result<Self, String> {
        let (got, most) = (input.len(), limits::PLUGIN_CALL_BYTES_MAX);
        if got > most {
            return Err(format!("the request is {got} bytes of JSON, limit is {most}"));
        }
        let text = simdutf8::basic::from_utf8(input)
            .map_err(|_| "the request is not JSON: it is not UTF-8".to_owned())?;
        let is_large =
            got > limits::PLUGIN_OUTPUT_WHOLE_BYTES && text.trim_start().starts_with('{');
        let (text, large_body) = if is_large {
            let parts = take_body(text, &BOUNDS).map_err(|why| format!("the request {why}"))?;
            (Cow::Owned(parts.rest), parts.request)
        } else {
            (Cow::Borrowed(text), None)
        };
        let input: Input<'_> = serde_json::from_str(&text).map_err(|error| {
            format!("the request is not {{method,url,headers,body,timeoutMs}} as JSON: {error}")
        })?;
        let body = large_body.or(input.body).unwrap_or_default();
        let body = match input.body_encoding.as_deref() {
            None | Some("") => body.into_bytes(),
            Some("base64") => {
                BASE64.decode(body).map_err(|error| format!("body is not base64: {error}"))?
            }
            Some(other) => return Err(format!("bodyEncoding is {other:?}, it may be base64")),
        };
        let mut fields = Fields::new();
        if let Some(headers) = input.headers {
            add_object(&mut fields, headers.get())?;
        }
        let method = input.method.unwrap_or_default();
        let timeout = input.timeout_ms.and_then(timeout_of);
        Self::new(method.as_bytes(), input.url, fields, body, timeout)
    }

    /// Reads the C form: headers as a JSON object or as lines `Name: value`.
    pub(super) fn from_texts(
        method: &[u8],
        url: &[u8],
        headers: &[u8],
        body: Vec<u8>,
    ) -> Result<Self, String> {
        let url = String::from_utf8(url.to_vec()).map_err(|_| "url is not UTF-8".to_owned())?;
        let mut fields = Fields::new();
        if headers.trim_ascii_start().starts_with(b"{") {
            let headers = std::str::from_utf8(headers)
                .map_err(|_| "headers are not JSON: they are not UTF-8".to_owned())?;
            add_object(&mut fields, headers)?;
        } else {
            for line in headers.split(|&byte| byte == b'\n') {
                let line = line.trim_ascii();
                if !line.is_empty() {
                    let colon = line.iter().position(|&byte| byte == b':');
                    let colon = colon.ok_or_else(|| {
                        let line = String::from_utf8_lossy(line);
                        format!("headers hold the line {line:?}, which is not \"Name: value\"")
                    })?;
                    add(&mut fields, &line[..colon], line[colon + 1..].trim_ascii())?;
                }
            }
        }
        Self::new(method, url, fields, body, None)
    }

    /// Reads the lists of proxy-wasm: `url` is of the service or the host that is called. What the
    /// gateway frames by itself is passed over.
    pub(in crate::plugin) fn from_pairs(
        method: &[u8],
        url: String,
        pairs: &[(&[u8], &[u8])],
        body: Vec<u8>,
    ) -> Result<Self, String> {
        let mut fields = Fields::new();
        for (name, value) in pairs {
            let is_ours = name.first() == Some(&b':')
                || is_of_connection(name)
                || name.eq_ignore_ascii_case(b"expect")
                || name.eq_ignore_ascii_case(b"host");
            if !is_ours {
                add(&mut fields, name, value.trim_ascii())?;
            }
        }
        Self::new(method, url, fields, body, None)
    }

    fn new(
        method: &[u8],
        url: String,
        fields: Fields,
        body: Vec<u8>,
        timeout: Option<Duration>,
    ) -> Result<Self, String> {
        let (got, most) = (body.len(), limits::PLUGIN_CALL_BODY_BYTES_MAX);
        if got > most {
            return Err(format!("body is {got} bytes, limit is {most}"));
        }
        let method = match method {
            b"" => Method::Get,
            token => Method::from_bytes(token)
                .filter(|method| *method != Method::Connect && token.len() <= METHOD_BYTES_MAX)
                .ok_or_else(|| {
                    let token = String::from_utf8_lossy(token);
                    format!("method {token:?} is not one that can be sent")
                })?,
        };
        let parsed = Url::parse(&url)?;
        // Origins expect a length with these methods, be it 0.
        let says_length = matches!(method, Method::Post | Method::Put | Method::Patch);
        let length = match body.len() as u64 {
            0 if !says_length => BodyLength::Empty,
            length => BodyLength::Known(length),
        };
        let mut head = RequestHead {
            method,
            authority: String::new(),
            path: parsed.path.to_owned(),
            query: parsed.query.to_owned(),
            fields,
            body: length,
            upgrade: None,
        };
        if !head.fields.contains("user-agent") {
            head.fields.push(b"User-Agent", b"odin");
        }
        Ok(Self { head, body, timeout, url })
    }

    /// The URL.
    pub(in crate::plugin) fn url(&self) -> Result<Url<'_>, String> {
        Url::parse(&self.url)
    }

    /// The URL as the guest wrote it.
    pub(super) fn whole_url(&self) -> &str {
        &self.url
    }

    /// The URL for the log: without its query, where tokens stand.
    pub(in crate::plugin) fn shown(&self) -> &str {
        self.url.split(['?', '#']).next().unwrap_or_default()
    }
}

/// Longest method: the registered ones have up to 17 letters.
const METHOD_BYTES_MAX: usize = 32;

/// What bounds a request while it is JSON.
const BOUNDS: MessageBounds =
    MessageBounds { body_bytes_max: limits::PLUGIN_CALL_BODY_BYTES_MAX, ..MessageBounds::DEFAULT };

/// The members of a JSON object, one after the other: the first that is too much ends it.
fn add_object(fields: &mut Fields, object: &str) -> Result<(), String> {
    let Members(members) = serde_json::from_str(object)
        .map_err(|error| format!("headers are not a JSON object: {error}"))?;
    for (name, value) in members {
        match value.get().as_bytes().first() {
            Some(b'[') => {
                let values: Vec<&RawValue> = serde_json::from_str(value.get())
                    .map_err(|error| format!("header {name}: {error}"))?;
                for value in values {
                    add_json(fields, &name, value)?;
                }
            }
            _ => add_json(fields, &name, value)?,
        }
    }
    Ok(())
}

fn add_json(fields: &mut Fields, name: &str, value: &RawValue) -> Result<(), String> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => {
            let value: Cow<'_, str> = serde_json::from_str(text)
                .map_err(|error| format!("value of header {name} is not a text: {error}"))?;
            add(fields, name.as_bytes(), value.trim_ascii().as_bytes())
        }
        Some(b'[') => Err(format!("header {name} holds a list in a list")),
        Some(b'{') => Err(format!("header {name} is an object, it must be a string")),
        Some(b'n') => Ok(()),
        // A number with all its digits, true or false.
        _ => add(fields, name.as_bytes(), text.as_bytes()),
    }
}

fn add(fields: &mut Fields, name: &[u8], value: &[u8]) -> Result<(), String> {
    let shown = String::from_utf8_lossy(name);
    if !is_token(name) {
        return Err(format!("header name {shown:?} is not a token"));
    }
    if is_of_connection(name) || name.eq_ignore_ascii_case(b"expect") {
        return Err(format!(
            "header {shown} belongs to the connection or the framing; the gateway writes it"
        ));
    }
    if name.eq_ignore_ascii_case(b"host") {
        // Another name on an allowed address would be another site.
        return Err("header Host is the URL's; name the host there".to_owned());
    }
    if !is_field_value(value) {
        return Err(format!("value of header {shown} holds a control character"));
    }
    let used: usize = fields.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    let most = limits::HEAD_BYTES_MAX;
    if fields.len() >= limits::HEAD_FIELDS_MAX || used + name.len() + value.len() > most {
        let fields = limits::HEAD_FIELDS_MAX;
        return Err(format!("the headers are over {most} bytes or {fields} fields, the limits"));
    }
    fields.push(name, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Result<Request, String> {
        Request::from_json(text.as_bytes())
    }

    #[test]
    fn both_forms_mean_the_same() {
        let one = json(
            r#"{"method":"PUT","url":"http://a.test/x?y=1","headers":{"X-A":["1","2"],"N":3},
                "body":"aGk=","bodyEncoding":"base64","timeoutMs":250,"later":true}"#,
        )
        .unwrap();
        let other = Request::from_texts(
            b"PUT",
            b"http://a.test/x?y=1",
            b"X-A: 1\r\nX-A:2\nN: 3\n\n",
            b"hi".to_vec(),
        )
        .unwrap();
        for request in [&one, &other] {
            assert_eq!(request.head.method, Method::Put);
            assert_eq!((&*request.head.path, &*request.head.query), ("/x", "?y=1"));
            let fields: Vec<_> = request.head.fields.iter().collect();
            let expected: [(&[u8], &[u8]); 4] =
                [(b"X-A", b"1"), (b"X-A", b"2"), (b"N", b"3"), (b"User-Agent", b"odin")];
            assert_eq!(fields, expected);
            assert_eq!(request.body, b"hi");
            assert_eq!(request.head.body, BodyLength::Known(2));
            assert_eq!(request.shown(), "http://a.test/x");
        }
        assert_eq!(one.timeout, Some(Duration::from_millis(250)));
        let object = Request::from_texts(b"", b"http://a.test", br#" {"X-A":"1"}"#, Vec::new());
        let object = object.unwrap();
        assert_eq!(object.head.method, Method::Get);
        assert_eq!(object.head.body, BodyLength::Empty);
        assert_eq!(object.head.fields.get("x-a"), Some(&b"1"[..]));
    }

    #[test]
    fn what_an_origin_could_misread_is_refused() {
        let many: Vec<_> = (0..200).map(|n| format!("\"X-{n}\":\"1\"")).collect();
        let long = format!("\"X\":\"{}\"", "a".repeat(limits::HEAD_BYTES_MAX));
        for headers in [
            r#""X":"a\r\nY: b""#,
            r#""X":"a\u0000""#,
            r#""X Y":"a""#,
            r#""X\r\nY":"a""#,
            r#""":"a""#,
            r#""Host":"evil.test""#,
            r#""Content-Length":"5""#,
            r#""transfer-encoding":"chunked""#,
            r#""Connection":"close""#,
            r#""Upgrade":"h2c""#,
            r#""Expect":"100-continue""#,
            r#""X":{}"#,
            r#""X":[["a"]]"#,
            &many.join(","),
            &long,
        ] {
            let text = format!(r#"{{"url":"http://a.test/","headers":{{{headers}}}}}"#);
            assert!(json(&text).is_err(), "{headers}");
        }
        for method in ["CONNECT", "GE T", "GET\\r\\nX: y", "\u{fc}", &"A".repeat(100)] {
            let text = format!(r#"{{"url":"http://a.test/","method":"{method}"}}"#);
            assert!(json(&text).is_err(), "{method}");
        }
        for text in [
            "",
            "[]",
            "{}",
            "null",
            "\u{0}",
            r#"{"url":1}"#,
            r#"{"url":"http://a.test/","timeoutMs":-1}"#,
            r#"{"url":"http://a.test/","body":"%","bodyEncoding":"base64"}"#,
            r#"{"url":"http://a.test/","bodyEncoding":"gzip"}"#,
        ] {
            assert!(json(text).is_err(), "{text}");
        }
        let body = vec![b'a'; limits::PLUGIN_CALL_BODY_BYTES_MAX + 1];
        assert!(Request::from_texts(b"POST", b"http://a.test/", b"", body).is_err());
        let lines = Request::from_texts(b"GET", b"http://a.test/", b"no colon", Vec::new());
        assert!(lines.is_err());
    }

    #[test]
    fn a_large_request_is_read_as_a_small_one() {
        let long = "a\\n\\u00e9\\\"".repeat(20_000);
        let text = |body: &str, later: &str| {
            format!(
                r#" {{"url":"http://a.test/","headers":{{"N":1.50,"B":true,"Z":null}},
                    "later":{later},"body":"{body}","method":"POST"}} "#
            )
        };
        let request = json(&text(&long, "[1e400]")).unwrap();
        assert_eq!(request.body, "a\né\"".repeat(20_000).into_bytes());
        assert_eq!(request.head.fields.get("n"), Some(&b"1.50"[..]));
        assert_eq!(request.head.fields.get("b"), Some(&b"true"[..]));
        assert_eq!(request.head.fields.len(), 3);
        let later = format!("[{}1]", "{\"a\":1},".repeat(100_000));
        assert_eq!(json(&text("x", &later)).unwrap().body, b"x");
        for (body, why) in [
            (long.clone() + r"\ud800", "half of a surrogate pair"),
            (long.clone() + r"\x", "invalid escape"),
            ("x".repeat(limits::PLUGIN_CALL_BODY_BYTES_MAX * 3 / 2), "body"),
            ("x".repeat(limits::PLUGIN_CALL_BYTES_MAX), "limit is"),
        ] {
            let error = json(&text(&body, "1")).unwrap_err();
            assert!(error.contains(why), "{why}: {error}");
        }
        let names = "\"X\":[],".repeat(100_000);
        let text = format!(r#"{{"url":"http://a.test/","headers":{{{names}"Y":[]}}}}"#);
        assert!(json(&text).unwrap_err().contains("without its body, the limit"));
        for text in [text.replace('}', ""), long] {
            assert!(json(&text).is_err());
        }
    }
}
