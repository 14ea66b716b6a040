//! One call of one plugin without a gateway: what the author's tool runs.
//!
//! The module is loaded, started and called by the same code that a worker runs, and its output is
//! checked as an exchange would check it; only the messages come from a document, and nothing
//! becomes of them.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::chain::{BodySlot, Carried, Facts};
use super::host::Host;
use super::instance::{Entry, Instance};
use super::json_abi;
use super::log::{LogSink, PluginLine, PluginLog};
use super::module::Plugin;
use super::reach::Reach;
use super::runtime::{Runtime, RuntimeOptions};
use super::spec::{LogLevel, Phase, PluginSpec, PluginType};
use crate::kv::Stores;
use crate::message::{Fields, Method, RequestHead, ResponseHead, is_field_value, is_token};

/// What came of one call.
#[derive(Debug)]
pub struct Report {
    /// The output as the plugin wrote it, or why there is none that a gateway would take.
    pub output: Result<String, String>,
    /// What the plugin logged, in order.
    pub lines: Vec<(LogLevel, String)>,
    /// How long the module took to compile, its instance to start.
    pub load_time: Duration,
    /// How long the call took.
    pub call_time: Duration,
}

/// Loads `wasm` and calls it once with `input`, a document as docs/plugin-abi.md describes it.
///
/// The plugin's `config` is that of `spec` if it has any (it then stands in the input too), else
/// the input's. `equip` gives the loaded plugin what it may reach, as a gateway's control thread
/// would. Takes its own thread's time: not for a worker.
pub fn run(
    wasm: &[u8],
    mut spec: PluginSpec,
    input: &str,
    equip: impl FnOnce(&Plugin) -> Result<Reach, String>,
) -> Report {
    let (sender, lines) = channel();
    let mut report = Report {
        output: Err(String::new()),
        lines: Vec::new(),
        load_time: Duration::ZERO,
        call_time: Duration::ZERO,
    };
    report.output = prepare(&mut spec, input)
        .and_then(|input| call(wasm, spec, &input, equip, CollectingSink(sender), &mut report));
    report.lines = lines.try_iter().collect();
    report
}

#[derive(Debug)]
struct CollectingSink(Sender<(LogLevel, String)>);

impl LogSink for CollectingSink {
    fn plugin_line(&self, line: &PluginLine<'_>) {
        // The receiver outlives the runtime that holds this sender's only use.
        let _received = self.0.send((line.level, line.text.to_owned()));
    }
}

/// Reads the input and makes its `config` and the plugin's the same.
fn prepare(spec: &mut PluginSpec, input: &str) -> Result<Value, String> {
    let mut input: Value = serde_json::from_str(input)
        .map_err(|error| format!("the input is not a JSON object: {error}"))?;
    let Value::Object(document) = &mut input else {
        return Err("the input is not a JSON object".to_owned());
    };
    let given = spec.config().as_object().is_some_and(|config| !config.is_empty());
    if given {
        document.insert("config".to_owned(), spec.config().clone());
        if let Some(Value::Object(facts)) = document.get_mut("context") {
            facts.insert("config".to_owned(), spec.config().clone());
        }
    } else if let Some(config) = document.get("config") {
        spec.set_config(config.clone());
    }
    Ok(input)
}

fn call(
    wasm: &[u8],
    spec: PluginSpec,
    input: &Value,
    equip: impl FnOnce(&Plugin) -> Result<Reach, String>,
    sink: CollectingSink,
    report: &mut Report,
) -> Result<String, String> {
    let started = Instant::now();
    let runtime = Runtime::new(&RuntimeOptions {
        instances_max: 1,
        cache_dir: None,
        log_sink: Some(Arc::new(sink)),
    })
    .map_err(|error| error.to_string())?;
    let mut plugin = runtime.load(spec, wasm);
    plugin.spec.reach = equip(&plugin)?;
    let plugin = Arc::new(plugin);
    let mut worker = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new()
        .enable_timer()
        .build()
        .map_err(|error| format!("no event loop: {error}"))?;
    worker.block_on(async {
        let loaded = plugin.loaded()?;
        let sink = Arc::clone(&loaded.log_sink);
        let log = PluginLog::new(&plugin.spec.name, plugin.spec.log_level, sink);
        let stores = Stores::new();
        let store = plugin.spec.reach.state.as_ref().map(|state| stores.open(state));
        let host = Rc::new(Host::new(log, Rc::default(), store));
        let mut instance =
            Instance::new(&plugin, loaded, &host).await.map_err(|error| error.text)?;
        report.load_time = started.elapsed();
        let output = call_instance(&plugin, &mut instance, input, &mut report.call_time).await?;
        instance.cleanup().await.map_err(|error| error.text)?;
        Ok(output)
    })
}

async fn call_instance(
    plugin: &Plugin,
    instance: &mut Instance,
    input: &Value,
    took: &mut Duration,
) -> Result<String, String> {
    let given = Given::new(plugin.spec.kind, input);
    let entry = if plugin.runs_in(given.phase) && !plugin.spec.kind.runs_in(given.phase) {
        Entry::OnRequest
    } else {
        Entry::Execute
    };
    let mut output = Vec::new();
    let called = Instant::now();
    let result = instance
        .call(
            entry,
            input.to_string().as_bytes(),
            given.request_id,
            called + plugin.spec.timeout,
            &mut output,
        )
        .await;
    *took = called.elapsed();
    result.map_err(|error| error.text)?;
    let text = String::from_utf8_lossy(&output).into_owned();
    given.check(plugin, output).map_err(|error| format!("{error}; it is {text}"))?;
    Ok(text)
}

/// What the input says of the exchange, as far as the output is checked against it.
struct Given<'i> {
    phase: Phase,
    request_id: &'i str,
    scheme: &'i str,
    request: RequestHead,
    response: ResponseHead,
    carried: Carried,
}

impl<'i> Given<'i> {
    fn new(kind: PluginType, input: &'i Value) -> Self {
        let text = |path: &str| input.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let phase = match text("/context/phase") {
            "response" => Phase::Response,
            "request" => Phase::Request,
            "aggregation" => Phase::Aggregation,
            _ if kind == PluginType::Aggregation => Phase::Aggregation,
            _ if kind == PluginType::Response => Phase::Response,
            _ => Phase::Request,
        };
        let url = text("/input/url");
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        let fields = fields(input.pointer("/input/headers"));
        let mut given = Self {
            phase,
            request_id: text("/context/requestId"),
            scheme,
            request: RequestHead {
                method: Method::from_bytes(text("/input/method").as_bytes()).unwrap_or_default(),
                authority: authority.to_owned(),
                path: path.to_owned(),
                query: query.to_owned(),
                ..RequestHead::default()
            },
            response: ResponseHead { status: 200, ..ResponseHead::default() },
            carried: Carried::new(),
        };
        match phase {
            Phase::Request | Phase::Aggregation => given.request.fields = fields,
            Phase::Response => given.response.fields = fields,
        }
        given
    }

    /// Checks the output as an exchange would, with messages that nobody sends.
    fn check(mut self, plugin: &Plugin, mut output: Vec<u8>) -> Result<(), String> {
        let facts = Facts {
            request_id: self.request_id,
            service: "",
            route_path: "",
            scheme: self.scheme,
            client_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            received: SystemTime::UNIX_EPOCH,
        };
        let mut subject = match self.phase {
            Phase::Request => json_abi::Subject::Request { head: &mut self.request },
            Phase::Response => {
                json_abi::Subject::Response { request: &self.request, head: &mut self.response }
            }
            Phase::Aggregation => json_abi::Subject::Aggregation {
                request: &self.request,
                answers: &[],
                head: &mut self.response,
            },
        };
        json_abi::act_on(
            &mut output,
            &mut simd_json::Buffers::default(),
            &plugin.spec,
            &facts,
            &mut subject,
            &mut BodySlot::default(),
            &mut self.carried,
        )
        .map(drop)
        .map_err(|error| error.text)
    }
}

/// The fields of a `headers` object; what could not come from a client is left out.
fn fields(headers: Option<&Value>) -> Fields {
    let mut fields = Fields::new();
    for (name, values) in headers.and_then(Value::as_object).into_iter().flatten() {
        let list = std::slice::from_ref(values);
        for value in values.as_array().map_or(list, Vec::as_slice) {
            let value = value.as_str().unwrap_or_default().as_bytes();
            if is_token(name.as_bytes()) && is_field_value(value) {
                fields.push(name.as_bytes(), value);
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests;
