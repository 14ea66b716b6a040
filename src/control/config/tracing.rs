//! `tracing`: whether traces are continued, which are sampled, where spans go.

use std::time::Duration;

use super::decode::{Item, Section, boolean, duration, map, string, word};
use super::errors::Errors;
use super::tree::Value;
use super::value::{self, Plain};
use super::{Secret, address, keys};
use crate::http::field_class;
use crate::http::message::{is_field_value, is_token};
use crate::limits;

/// `tracing`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracing {
    /// Whether traces are continued and begun; off: their fields pass as they come.
    pub enabled: bool,
    /// Whether a request's own `traceparent` is believed.
    pub continues: bool,
    /// The share of traces that begin here which are sampled, 0 to 1.
    pub sample_rate: f64,
    /// Where spans go, if anywhere.
    pub otlp: Option<Otlp>,
}

impl Default for Tracing {
    fn default() -> Self {
        Self { enabled: false, continues: true, sample_rate: 1.0, otlp: None }
    }
}

/// `tracing.otlp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Otlp {
    /// The collector.
    pub endpoint: Endpoint,
    /// For one message.
    pub timeout: Duration,
    /// Fields of each message.
    pub headers: Vec<(String, Secret)>,
    /// `service.name` of the spans.
    pub service_name: String,
}

/// `http://host:port/path` or `https://host:port/path`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Whether the collector is called by TLS.
    pub is_secure: bool,
    /// A name or an address, an IPv6 one without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What stands before `/v1/traces`; empty or with a `/` in front and none at its end.
    pub path: String,
}

impl Endpoint {
    /// `host:port` as it stands in `Host`.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

/// `tracing`. Where the section stands, tracing is on unless it says otherwise.
pub(super) fn tracing(item: &Item<'_>, errors: &mut Errors) -> Option<Tracing> {
    let map = Section::open(item, &keys::TRACING, errors)?;
    let default = Tracing::default();
    let is_there =
        !item.node.is_null() && !matches!(&item.node.value, Value::Map(e) if e.is_empty());
    let incoming = [("continue", true), ("restart", false)];
    Some(Tracing {
        enabled: map.read("enabled", errors, boolean).unwrap_or(is_there),
        continues: map
            .read("incoming", errors, |item, errors| word(item, &incoming, errors))
            .unwrap_or(default.continues),
        sample_rate: map.read("sampleRate", errors, share).unwrap_or(default.sample_rate),
        otlp: map.filled("otlp").and_then(|item| otlp(&item, errors)),
    })
}

/// A number from 0 to 1.
fn share(item: &Item<'_>, errors: &mut Errors) -> Option<f64> {
    let number = match &item.node.value {
        Value::Scalar(scalar) => match Plain::of(&scalar.text) {
            Plain::Integer(number) => Some(number as f64),
            Plain::Float(number) => Some(number),
            _ => None,
        },
        _ => None,
    };
    let number = number.filter(|number| (0.0..=1.0).contains(number));
    if number.is_none() {
        item.expected(errors, "a number from 0 to 1, such as 0.01 for one trace in a hundred");
    }
    number
}

fn otlp(item: &Item<'_>, errors: &mut Errors) -> Option<Otlp> {
    let map = Section::open(item, &keys::OTLP, errors)?;
    let timeout = map.read("timeout", errors, duration);
    let headers = map.read("headers", errors, headers);
    let service_name = map.read("serviceName", errors, string);
    let endpoint =
        map.require("endpoint", "as in http://127.0.0.1:4318", errors, |item, errors| {
            let text = string(item, errors)?;
            endpoint(&text).map_err(|form| item.expected(errors, &form)).ok()
        })?;
    Some(Otlp {
        endpoint,
        timeout: timeout.unwrap_or(limits::TRACE_EXPORT_TIMEOUT),
        headers: headers.unwrap_or_default(),
        service_name: service_name.unwrap_or_else(|| "odin".to_owned()),
    })
}

/// Reads the collector's address.
///
/// # Errors
/// What it looks like.
fn endpoint(text: &str) -> Result<Endpoint, String> {
    const FORM: &str = "the base URL of an OTLP collector such as http://127.0.0.1:4318 \
         (/v1/traces is added)";
    let (is_secure, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest),
        (None, Some(rest)) => (true, rest),
        (None, None) => return Err(format!("{FORM}; write the \"http://\" too")),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let is_path_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%:@".contains(&byte);
    if !path.bytes().all(is_path_byte) {
        return Err(format!("{FORM}; it has no query, no fragment and no spaces"));
    }
    if authority.contains('@') {
        return Err(format!("{FORM}; it has no user and password, use headers"));
    }
    let (host, port) = address::host_and_port(authority).map_err(|why| format!("{FORM}; {why}"))?;
    let port = port.unwrap_or(if is_secure { 443 } else { 80 });
    if port == 0 {
        return Err(format!("{FORM}; nothing can be reached on port 0"));
    }
    let path = path.trim_end_matches('/');
    // Whoever gives the whole address means the same.
    let path = path.strip_suffix("/v1/traces").unwrap_or(path).to_owned();
    Ok(Endpoint { is_secure, host, port, path })
}

fn headers(item: &Item<'_>, errors: &mut Errors) -> Option<Vec<(String, Secret)>> {
    let entries = map(item, errors)?;
    let (got, max) = (entries.len(), limits::TRACE_HEADERS_MAX);
    if got > max {
        item.refuse(errors, format!("got {got} headers, limit is {max}; take some out"));
    }
    let mut headers = Vec::new();
    for (entry, item) in entries {
        let name = &entry.key;
        if !is_token(name.as_bytes()) {
            let why = format!("{} is not a header name", value::quote(name));
            errors.push_at(entry.place, &item.key, why);
        } else if field_class::is_written_by_gateway(name.as_bytes())
            || name.eq_ignore_ascii_case("content-type")
        {
            let why = format!("{name} can't be set: the gateway writes it itself; take it out");
            errors.push_at(entry.place, &item.key, why);
        }
        // No error shows the value: it may be a key.
        match &item.node.value {
            Value::Scalar(scalar)
                if !scalar.is_null() && is_field_value(scalar.text.as_bytes()) =>
            {
                headers.push((name.clone(), Secret::new(scalar.text.clone())));
            }
            _ => item.refuse(
                errors,
                "expected a text without control characters and without white space at its ends",
            ),
        }
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn read(text: &str) -> Result<Tracing, String> {
        let env = |name: &str| (name == "KEY").then(|| "s3cret".to_owned());
        parse(text, "t.yaml", &env).map(|config| config.tracing).map_err(|e| e.to_string())
    }

    #[test]
    fn tracing_is_off_unless_its_section_stands() {
        assert!(!read("server: {}").unwrap().enabled);
        assert!(!read("tracing:").unwrap().enabled);
        assert!(!read("tracing: {enabled: false, sampleRate: 0.5}").unwrap().enabled);
        let on = read("tracing: {sampleRate: 0}").unwrap();
        assert!(on.enabled && on.continues && on.otlp.is_none());
        assert_eq!(on.sample_rate, 0.0);
    }

    #[test]
    fn a_collector_has_an_address_and_defaults() {
        let text = "tracing: {incoming: restart, otlp: {endpoint: 'http://localhost:4318', \
                    headers: {x-api-key: '${KEY}'}}}";
        let tracing = read(text).unwrap();
        assert!(!tracing.continues);
        let otlp = tracing.otlp.unwrap();
        assert_eq!(otlp.endpoint.to_string(), "http://localhost:4318");
        assert_eq!((otlp.timeout, &*otlp.service_name), (Duration::from_secs(10), "odin"));
        assert_eq!(otlp.headers[0].1.reveal(), "s3cret");
        assert!(!format!("{otlp:?}").contains("s3cret"));
        for (text, shown) in [
            ("https://o.example", "https://o.example:443"),
            ("http://[::1]:4318/", "http://[::1]:4318"),
            ("http://o.example/otlp/v1/traces", "http://o.example:80/otlp"),
        ] {
            assert_eq!(endpoint(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, want) in [
            ("{sampleRate: 1.5}", "a number from 0 to 1"),
            ("{sampleRate: all}", "a number from 0 to 1"),
            ("{sampleRate: .nan}", "a number from 0 to 1"),
            ("{incoming: ignore}", "continue, restart"),
            ("{samplerate: 1}", "did you mean \"sampleRate\"?"),
            ("{otlp: {}}", "tracing.otlp.endpoint: missing; as in http://127.0.0.1:4318"),
            ("{otlp: {endpoint: 'localhost:4318'}}", "write the \"http://\" too"),
            ("{otlp: {endpoint: 'http://a/?x'}}", "no query"),
            ("{otlp: {endpoint: 'http://u:p@a'}}", "use headers"),
            ("{otlp: {endpoint: 'http://a:0'}}", "port 0"),
            ("{otlp: {endpoint: 'http://a', headers: {Host: b}}}", "writes it itself"),
            ("{otlp: {endpoint: 'http://a', headers: {'a b': b}}}", "not a header name"),
            ("{otlp: {endpoint: 'http://a', headers: {a: \"s3cret\\n\"}}}", "control characters"),
        ] {
            let error = read(&format!("tracing: {text}")).unwrap_err();
            assert!(error.contains(want), "{text}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
