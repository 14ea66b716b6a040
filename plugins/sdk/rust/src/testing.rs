//! A gateway's stand-in for native unit tests: runs a plugin as the gateway would, from JSON to
//! JSON, and plays the host.
//!
//! ```
//! use odin_plugin::testing::Gateway;
//! # use odin_plugin::{Context, Error, NoConfig, Outcome, Plugin, Request};
//! # struct Hello;
//! # impl Plugin for Hello {
//! #     type Config = NoConfig;
//! #     fn new(_: NoConfig) -> Result<Self, Error> { Ok(Self) }
//! #     fn on_request(&mut self, _: &Context, _: &Request) -> Result<Outcome, Error> {
//! #         Ok(Outcome::next().set_header("X-Hello", "world"))
//! #     }
//! # }
//! let mut gateway = Gateway::<Hello>::new(serde_json::json!({}));
//! let output = gateway.request("GET", "http://host/api", &[("Accept", "*/*")], "");
//! assert_eq!(output["response"]["headers"]["X-Hello"][0], "world");
//! ```

use std::cell::RefCell;

use serde_json::{Map, Value, json};

use crate::Plugin;
use crate::abi::Instance;
use crate::host::Level;

/// One plugin instance with a configuration, called as a gateway would call it.
pub struct Gateway<P> {
    instance: Instance<P>,
    config: Value,
    metadata: Map<String, Value>,
}

impl<P: Plugin> Gateway<P> {
    /// A gateway with this plugin and its `config` block.
    pub fn new(config: Value) -> Self {
        host::set_config(config.clone());
        Self {
            instance: Instance::new(),
            config,
            metadata: Map::new(),
        }
    }

    /// What earlier plugins of the exchange have left. What this plugin leaves is added by itself.
    #[must_use]
    pub fn metadata(mut self, key: &str, value: Value) -> Self {
        self.metadata.insert(key.to_owned(), value);
        self
    }

    /// A call in the request phase; the output's JSON.
    pub fn request(
        &mut self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Value {
        let input = json!({
            "method": method, "url": url, "headers": fields(headers.iter().copied()),
            "query": fields(query(url)), "body": body,
        });
        self.call("request", input)
    }

    /// A call in the response phase, the answer to a `GET` of `url`; the output's JSON.
    pub fn response(
        &mut self,
        url: &str,
        status: u16,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Value {
        let input = json!({
            "method": "GET", "url": url, "statusCode": status,
            "headers": fields(headers.iter().copied()), "body": body,
            "request": {
                "method": "GET", "url": url, "headers": {}, "query": fields(query(url)),
            },
        });
        self.call("response", input)
    }

    /// A call with an `input` object of your own.
    ///
    /// # Panics
    /// If the output is not JSON, which would be a mistake of this crate.
    pub fn call(&mut self, phase: &str, input: Value) -> Value {
        let input = json!({
            "context": {
                "requestId": "test-1", "serviceId": "test-service", "routePath": "/api",
                "timestamp": "2024-01-01T00:00:00Z", "phase": phase, "plugin": "under-test",
                "clientIp": "192.0.2.1", "config": self.config, "metadata": self.metadata,
            },
            "input": input,
            "config": self.config,
        });
        let output = self.instance.call(input.to_string().as_bytes());
        let output: Value = serde_json::from_slice(output).expect("an outcome is written as JSON");
        if let Some(Value::Object(left)) = output.get("metadata") {
            self.metadata.extend(left.clone());
        }
        output
    }
}

fn query(url: &str) -> impl Iterator<Item = (&str, &str)> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn fields<'t>(entries: impl Iterator<Item = (&'t str, &'t str)>) -> Value {
    let mut fields = Map::new();
    for (name, value) in entries {
        let values = fields.entry(name).or_insert_with(|| json!([]));
        values
            .as_array_mut()
            .expect("only arrays are put in")
            .push(json!(value));
    }
    Value::Object(fields)
}

/// Sets what the clock shows to the plugins of this thread.
pub fn set_time(unix_seconds: i64) {
    STATE.with_borrow_mut(|state| state.time = unix_seconds);
}

/// Takes the log lines that plugins of this thread have written since the last time.
pub fn take_log() -> Vec<(Level, String)> {
    STATE.with_borrow_mut(|state| std::mem::take(&mut state.log))
}

/// The host as a thread sees it: tests run in parallel, each with a host of its own.
#[derive(Default)]
struct State {
    time: i64,
    log: Vec<(Level, String)>,
    config: Value,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

/// The host functions, as [`crate::host`] calls them.
pub(crate) mod host {
    use super::{Level, STATE, Value};

    pub(super) fn set_config(config: Value) {
        STATE.with_borrow_mut(|state| state.config = config);
    }

    pub(crate) fn log(level: Level, text: &str) {
        STATE.with_borrow_mut(|state| state.log.push((level, text.to_owned())));
    }

    pub(crate) fn get_time() -> i64 {
        STATE.with_borrow(|state| state.time)
    }

    pub(crate) fn get_config(key: &str) -> Option<Vec<u8>> {
        STATE.with_borrow(|state| {
            let found = key
                .split('.')
                .try_fold(&state.config, |value, part| value.get(part))?;
            Some(match found {
                Value::String(text) => text.clone().into_bytes(),
                other => other.to_string().into_bytes(),
            })
        })
    }
}
