//! One call of one plugin without a gateway: what the author's tool runs.
//!
//! The module is loaded, started and called by the same code that a worker runs, and its output is
//! checked as an exchange would check it; only the messages come from a document, and nothing
//! becomes of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::log::LogSink;
use super::module::Plugin;
use super::reach::Reach;
use super::scene::Scene;
use super::spec::{LogLevel, PluginSpec};
use super::trial::{Trial, collect_lines};

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
/// the input's. `scene` stands for the world. `equip` gives the loaded plugin what it may reach, as
/// a gateway's control thread would. Takes its own thread's time: not for a worker.
pub fn run(
    wasm: &[u8],
    mut spec: PluginSpec,
    scene: Scene,
    input: &str,
    equip: impl FnOnce(&Plugin) -> Result<Reach, String>,
) -> Report {
    let (sink, lines) = collect_lines();
    let mut report = Report {
        output: Err(String::new()),
        lines: Vec::new(),
        load_time: Duration::ZERO,
        call_time: Duration::ZERO,
    };
    report.output = prepare(&mut spec, input)
        .and_then(|input| call(wasm, spec, scene, &input, equip, sink, &mut report));
    report.lines = lines.try_iter().collect();
    report
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
    } else if spec.verbatim_config().is_some() {
        // A foreign filter's text stands in no document.
    } else if let Some(config) = document.get("config") {
        spec.set_config(config.clone());
    }
    Ok(input)
}

fn call(
    wasm: &[u8],
    spec: PluginSpec,
    scene: Scene,
    input: &Value,
    equip: impl FnOnce(&Plugin) -> Result<Reach, String>,
    sink: Arc<dyn LogSink>,
    report: &mut Report,
) -> Result<String, String> {
    let started = Instant::now();
    let mut trial = Trial::with_sink(wasm, spec, scene, equip, sink)?;
    report.load_time = started.elapsed();
    let answered = trial.call(input);
    report.call_time = trial.took();
    let output = answered?;
    trial.end()?;
    Ok(output)
}

#[cfg(test)]
mod tests;
