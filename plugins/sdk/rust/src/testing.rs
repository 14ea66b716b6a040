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
use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::Plugin;
use crate::abi::Instance;
use crate::host::Level;
use crate::stream::{Bodies, Body, Chunk};

/// One plugin instance with a configuration, called as a gateway would call it.
pub struct Gateway<P> {
    instance: Instance<P>,
    config: Value,
    metadata: Map<String, Value>,
}

impl<P: Plugin> Gateway<P> {
    /// A gateway with this plugin and its `config` block.
    pub fn new(config: Value) -> Self {
        STATE.with_borrow_mut(|state| state.config = config.clone());
        Self { instance: Instance::new(), config, metadata: Map::new() }
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
            "method": method, "url": url, "path": crate::input::path_of(url),
            "headers": fields(headers.iter().copied()), "query": fields(query(url)), "body": body,
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
        let path = crate::input::path_of(url);
        let input = json!({
            "method": "GET", "url": url, "path": path, "statusCode": status,
            "headers": fields(headers.iter().copied()), "body": body, "query": fields(query(url)),
            "request": {
                "method": "GET", "url": url, "path": path, "headers": {},
                "query": fields(query(url)),
            },
        });
        self.call("response", input)
    }

    /// A call with an `input` object of your own.
    pub fn call(&mut self, phase: &str, input: Value) -> Value {
        let context = json!({
            "requestId": "test-1", "serviceId": "test-service", "routePath": "/api",
            "timestamp": "2024-01-01T00:00:00Z", "phase": phase, "plugin": "under-test",
            "clientIp": "192.0.2.1",
        });
        self.call_with(context, input)
    }

    /// A call with `context` and `input` objects of your own; configuration and metadata are put
    /// in.
    ///
    /// # Panics
    /// If the output is not JSON, which would be a mistake of this crate.
    pub fn call_with(&mut self, mut context: Value, input: Value) -> Value {
        context["config"] = self.config.clone();
        context["metadata"] = Value::Object(self.metadata.clone());
        let input = json!({"context": context, "input": input, "config": self.config});
        let output = self.instance.call(input.to_string().as_bytes());
        let output: Value = serde_json::from_slice(output).expect("an outcome is written as JSON");
        if let Some(Value::Object(left)) = output.get("metadata") {
            self.metadata.extend(left.clone());
        }
        output
    }
}

/// A response's body on its way through a plugin, from [`Gateway::body`].
pub struct Passing<'g, P: Plugin, B: Body<Plugin = P>> {
    gateway: &'g mut Gateway<P>,
    bodies: Bodies<B>,
    held: Vec<u8>,
    has_ended: bool,
}

impl<P: Plugin> Gateway<P> {
    /// The body of a response of this type to a `GET` of `url` begins to come.
    pub fn body<B: Body<Plugin = P>>(&mut self, url: &str, media: &str) -> Passing<'_, P, B> {
        let path = crate::input::path_of(url);
        let request = json!({
            "method": "GET", "url": url, "path": path, "headers": {}, "query": fields(query(url)),
        });
        let input = json!({
            "method": "GET", "url": url, "path": path, "statusCode": 200, "request": request,
            "headers": {"Content-Type": [media]}, "query": fields(query(url)),
        });
        let context = json!({
            "requestId": "test-1", "serviceId": "test-service", "routePath": "/api",
            "timestamp": "2024-01-01T00:00:00Z", "phase": "response", "plugin": "under-test",
            "clientIp": "192.0.2.1", "metadata": self.metadata,
        });
        let input = json!({"context": context, "input": input, "config": self.config}).to_string();
        let mut bodies = Bodies::default();
        self.instance.open(&mut bodies, 1, input.as_bytes());
        Passing { gateway: self, bodies, held: Vec::new(), has_ended: false }
    }
}

impl<P: Plugin, B: Body<Plugin = P>> Passing<'_, P, B> {
    /// A whole event: what goes on.
    ///
    /// # Errors
    /// Why the exchange is cut or the plugin has failed, or the output that it answers with.
    pub fn event(&mut self, text: &str) -> Result<String, String> {
        self.pass(text.as_bytes(), 2)
    }

    /// A piece, whatever is in it: what goes on.
    ///
    /// # Errors
    /// As [`Self::event`].
    pub fn piece(&mut self, bytes: &[u8]) -> Result<String, String> {
        self.pass(bytes, 0)
    }

    /// The end: what goes on.
    ///
    /// # Errors
    /// As [`Self::event`].
    pub fn end(&mut self) -> Result<String, String> {
        self.pass(b"", 1)
    }

    /// Whether the plugin has ended the body.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn pass(&mut self, bytes: &[u8], flags: u32) -> Result<String, String> {
        let mut given = std::mem::take(&mut self.held);
        given.extend_from_slice(bytes);
        let chunk = Chunk::new(&given, flags);
        let (action, output) = self.gateway.instance.pass(&mut self.bodies, (1, true), chunk);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match action {
            0 => Ok(text(&given)),
            1 => Ok(text(output)),
            2 => {
                self.held = given;
                Ok(String::new())
            }
            3 => {
                self.has_ended = true;
                Ok(text(output))
            }
            _ => Err(text(output)),
        }
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
        values.as_array_mut().expect("only arrays are put in").push(json!(value));
    }
    Value::Object(fields)
}

/// Sets what the clock shows to the plugins of this thread.
pub fn set_time(unix_seconds: i64) {
    set_time_ms(unix_seconds * 1000);
}

/// Sets what the clock shows, in milliseconds. Keys of the shared state expire by this clock.
pub fn set_time_ms(unix_milliseconds: i64) {
    STATE.with_borrow_mut(|state| state.time_ms = unix_milliseconds);
}

/// Takes the log lines that plugins of this thread have written since the last time.
pub fn take_log() -> Vec<(Level, String)> {
    STATE.with_borrow_mut(|state| std::mem::take(&mut state.log))
}

/// Puts a file where `read_file` finds it.
pub fn set_file(path: &str, content: impl Into<Vec<u8>>) {
    STATE.with_borrow_mut(|state| state.files.insert(path.to_owned(), content.into()));
}

/// Answers `http_call`: from the request's JSON to the answer's. Without this, no host is reached.
pub fn set_http(answer: impl FnMut(&Value) -> Value + 'static) {
    STATE.with_borrow_mut(|state| state.http = Some(Box::new(answer)));
}

/// Makes the shared state fail, as a Redis that is down does, or work again.
pub fn set_kv_down(is_down: bool) {
    STATE.with_borrow_mut(|state| state.kv_is_down = is_down);
}

/// What a metric of the plugin's own stands at: the sum of what was counted or recorded.
pub fn metric(name: &str) -> i64 {
    STATE.with_borrow(|state| state.metrics.get(name).copied().unwrap_or_default())
}

type HttpAnswer = Box<dyn FnMut(&Value) -> Value>;

/// The host as a thread sees it: tests run in parallel, each with a host of its own.
#[derive(Default)]
struct State {
    time_ms: i64,
    log: Vec<(Level, String)>,
    config: Value,
    files: HashMap<String, Vec<u8>>,
    http: Option<HttpAnswer>,
    metrics: HashMap<String, i64>,
    kv: HashMap<Vec<u8>, Entry>,
    kv_is_down: bool,
}

struct Entry {
    value: Vec<u8>,
    /// 0: never.
    expires_ms: i64,
}

impl State {
    /// The entry of a key that has not expired.
    fn live(&mut self, key: &[u8]) -> Option<&mut Entry> {
        let now = self.time_ms;
        self.kv.retain(|_, entry| entry.expires_ms == 0 || entry.expires_ms > now);
        self.kv.get_mut(key)
    }

    fn put(&mut self, key: &[u8], value: Vec<u8>, ttl_ms: i64) {
        let expires_ms = if ttl_ms > 0 { self.time_ms + ttl_ms } else { 0 };
        self.kv.insert(key.to_vec(), Entry { value, expires_ms });
    }
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

/// The host functions natively, under the names and with the results of the imports.
pub(crate) mod sys {
    use super::{Level, STATE, State, Value};

    fn with<R>(work: impl FnOnce(&mut State) -> R) -> R {
        STATE.with_borrow_mut(work)
    }

    pub(crate) fn log(level: Level, text: &str) {
        with(|state| state.log.push((level, text.to_owned())));
    }

    pub(crate) fn get_time() -> i64 {
        with(|state| state.time_ms.div_euclid(1000))
    }

    pub(crate) fn get_time_ms() -> i64 {
        with(|state| state.time_ms)
    }

    pub(crate) fn get_config(key: &str) -> Option<Vec<u8>> {
        with(|state| {
            let found = key.split('.').try_fold(&state.config, |value, part| value.get(part))?;
            Some(match found {
                Value::String(text) => text.clone().into_bytes(),
                other => other.to_string().into_bytes(),
            })
        })
    }

    pub(crate) fn read_file(path: &str) -> Option<Vec<u8>> {
        with(|state| state.files.get(path).cloned())
    }

    pub(crate) fn http_call(request: &[u8]) -> Option<Vec<u8>> {
        let request: Value = serde_json::from_slice(request).ok()?;
        // Taken out meanwhile, so that the answer may use the host itself.
        let mut answer = with(|state| state.http.take())?;
        let response = answer(&request);
        with(|state| state.http = Some(answer));
        Some(response.to_string().into_bytes())
    }

    pub(crate) fn metric_increment(name: &str, delta: i64) {
        with(|state| *state.metrics.entry(name.to_owned()).or_default() += delta);
    }

    pub(crate) fn metric_record(name: &str, value: i64) {
        metric_increment(name, value);
    }

    pub(crate) fn kv_get(key: &[u8]) -> Result<Option<Vec<u8>>, ()> {
        with(|state| {
            if state.kv_is_down {
                return Err(());
            }
            Ok(state.live(key).map(|entry| entry.value.clone()))
        })
    }

    pub(crate) fn kv_set(key: &[u8], value: &[u8], ttl_ms: i64) -> i32 {
        with(|state| {
            if state.kv_is_down {
                return -1;
            }
            state.put(key, value.to_vec(), ttl_ms);
            0
        })
    }

    pub(crate) fn kv_incr(key: &[u8], delta: i64, ttl_ms: i64) -> i64 {
        with(|state| {
            if state.kv_is_down {
                return i64::MIN;
            }
            let Some(entry) = state.live(key) else {
                state.put(key, delta.to_string().into_bytes(), ttl_ms);
                return delta;
            };
            let text = String::from_utf8_lossy(&entry.value);
            let Ok(sum) = text.parse::<i64>().map(|old| old + delta) else {
                return i64::MIN;
            };
            entry.value = sum.to_string().into_bytes();
            sum
        })
    }

    pub(crate) fn kv_delete(key: &[u8]) -> i32 {
        with(|state| {
            if state.kv_is_down {
                return -1;
            }
            let was_there = state.live(key).is_some();
            state.kv.remove(key);
            i32::from(was_there)
        })
    }

    pub(crate) fn kv_cas(key: &[u8], expected: Option<&[u8]>, value: &[u8], ttl_ms: i64) -> i32 {
        with(|state| {
            if state.kv_is_down {
                return -1;
            }
            let is_expected = state.live(key).map(|entry| &*entry.value) == expected;
            if is_expected {
                state.put(key, value.to_vec(), ttl_ms);
            }
            i32::from(is_expected)
        })
    }
}
