//! `odin-cli bench`: what a plugin costs by itself. Its calls run one after another on one
//! instance, with the gateway's own code around them; what the gateway does with the result is not
//! in the figures.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use odin::control::terminal::{err, out};
use odin::plugin::PluginSpec;
use odin::plugin::trial::{Scene, Trial, collect_lines};
use serde_json::{Value, json};

use super::keys::Keys;

/// Calls before the first that counts: caches are warm and lazy parts made.
const WARM_UP_CALLS: usize = 200;
/// Instances whose start is measured.
const STARTS: usize = 20;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The module
    plugin: PathBuf,
    /// The input: a file with the JSON document of docs/plugin-abi.md; a small GET without it
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// How many calls
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = calls)]
    calls: usize,
    #[command(flatten)]
    keys: Keys,
}

fn calls(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=10_000_000).contains(number));
    number.ok_or_else(|| "a number of calls is 1 to 10000000".to_owned())
}

/// Measures and prints; the error is one of usage.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let wasm = super::read(&arguments.plugin)?;
    let mut spec = arguments.keys.spec(&arguments.plugin);
    let mut input = match &arguments.input {
        Some(path) => serde_json::from_str(&super::read_text(path)?)
            .map_err(|error| format!("{} is not JSON: {error}", path.display()))?,
        None => small_get(),
    };
    let config = arguments.keys.config.clone().map(Value::Object);
    let config = config.or_else(|| input.get("config").cloned());
    if let Some(config) = config.filter(|_| spec.verbatim_config().is_none()) {
        input["config"] = config.clone();
        input["context"]["config"] = config.clone();
        spec.set_config(config);
    }
    match measure(&wasm, spec, &input, arguments.calls) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            err(format_args!("error: {error}"));
            Ok(ExitCode::FAILURE)
        }
    }
}

fn measure(wasm: &[u8], spec: PluginSpec, input: &Value, calls: usize) -> Result<(), String> {
    let (sink, _lines) = collect_lines();
    let scene = Scene::default().annotated(odin::exchange::annotate_by_default);
    let started = Instant::now();
    let mut trial = Trial::with_sink(wasm, spec, scene, super::equip, sink)?;
    let compiled = started.elapsed();
    trial.call(input)?;
    trial.repeat(input, WARM_UP_CALLS)?;
    let mut took = trial.repeat(input, calls)?;
    let mut starts = (0..STARTS).map(|_| trial.instantiate()).collect::<Result<Vec<_>, _>>()?;
    took.sort_unstable();
    starts.sort_unstable();
    let at = |share: f64| took[((calls - 1) as f64 * share) as usize];
    out(format_args!("calls     {calls}"));
    out(format_args!("p50       {:.1?}", at(0.5)));
    out(format_args!("p99       {:.1?}", at(0.99)));
    out(format_args!("max       {:.1?}", at(1.0)));
    out(format_args!("memory    {} KiB", trial.memory_bytes() / 1024));
    out(format_args!("start     {:.1?} (median of {STARTS} new instances)", starts[STARTS / 2]));
    out(format_args!("compile   {compiled:.1?} (once; a gateway caches it)"));
    trial.end()
}

/// What a browser asks for, roughly.
fn small_get() -> Value {
    json!({
        "context": {
            "requestId": "00000000000000000000000000000001", "serviceId": "users-service",
            "routePath": "/api/users", "timestamp": "2024-01-01T00:00:00.000Z",
            "phase": "request", "plugin": "measured", "clientIp": "192.0.2.1", "config": {},
            "metadata": {},
        },
        "config": {},
        "input": {
            "method": "GET",
            "url": "http://example.com/api/users?page=2",
            "path": "/api/users",
            "headers": {
                "Host": ["example.com"], "User-Agent": ["Mozilla/5.0 (X11; Linux x86_64)"],
                "Accept": ["text/html,application/json"], "Accept-Encoding": ["gzip, br"],
                "Accept-Language": ["en"], "X-Forwarded-For": ["192.0.2.1"],
            },
            "query": { "page": ["2"] },
            "body": "",
        },
    })
}
