//! `odin-cli`, the plugin author's tool: runs a plugin without a gateway.
//!
//! Exit status: 0 if the plugin did what a gateway would take, 1 if not, 64 for a command line or
//! a file that cannot be used.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool answers on its standard streams"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use odin::control::config;
use odin::control::reach::{Common, Reaching};
use odin::limits;
use odin::plugin::{LogLevel, Plugin, PluginSpec, PluginType, Reach, oneshot};
use odin::upstream::call::Bounds;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// sysexits.h: the command was used incorrectly.
const EXIT_USAGE: u8 = 64;

#[derive(Parser)]
#[command(name = "odin-cli", version, about = "Tools for authors of Odin plugins")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Call a plugin once and print what it answers
    TestPlugin(TestPlugin),
}

#[derive(clap::Args)]
struct TestPlugin {
    /// The module
    plugin: PathBuf,
    /// The input: the JSON document that docs/plugin-abi.md describes
    input: PathBuf,
    /// The plugin's own config, a JSON object; it replaces the input's
    #[arg(long, value_name = "JSON")]
    config: Option<String>,
    /// The type under which the plugin runs
    #[arg(long = "type", value_name = "TYPE", default_value = "middleware", value_parser = kind)]
    kind: PluginType,
    /// Kill the plugin after this time
    #[arg(long, default_value = "5s", value_parser = config::duration)]
    timeout: Duration,
    /// The least level of the plugin's log lines that is shown
    #[arg(long, value_name = "LEVEL", default_value = "trace", value_parser = level)]
    log_level: LogLevel,
    /// Most memory of the plugin, in pages of 64 KiB
    #[arg(long, value_name = "PAGES", default_value_t = limits::PLUGIN_MEMORY_PAGES_MAX)]
    max_memory_pages: u32,
}

fn kind(name: &str) -> Result<PluginType, String> {
    PluginType::from_name(name).ok_or_else(|| {
        "a type is auth, ratelimit, request, response, middleware or aggregation".to_owned()
    })
}

fn level(name: &str) -> Result<LogLevel, String> {
    LogLevel::from_name(name)
        .ok_or_else(|| "a level is trace, debug, info, warn or error".to_owned())
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let failed = error.use_stderr();
            // A closed stream leaves nobody to tell.
            let _told = error.print();
            return if failed { EXIT_USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let outcome = match arguments.command {
        Command::TestPlugin(test) => test_plugin(&test),
    };
    match outcome {
        Ok(code) => code,
        Err(usage) => {
            eprintln!("odin-cli: {usage}");
            EXIT_USAGE.into()
        }
    }
}

/// Runs one call; the error is one of usage.
fn test_plugin(test: &TestPlugin) -> Result<ExitCode, String> {
    let wasm = read(&test.plugin)?;
    let input = String::from_utf8(read(&test.input)?)
        .map_err(|_| format!("{} is not UTF-8", test.input.display()))?;
    let report = oneshot::run(&wasm, spec_of(test)?, &input, equip);
    for (level, text) in &report.lines {
        println!("log: {} {text}", level.as_str());
    }
    let code = match &report.output {
        Ok(output) => {
            println!("{}", pretty(output));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    };
    println!("time: {:.1?} (and {:.1?} to load)", report.call_time, report.load_time);
    Ok(code)
}

/// What the plugin's `config` names, looked up as the gateway does; there are no services.
fn equip(plugin: &Plugin) -> Result<Reach, String> {
    let kv = odin::kv::config::Config::default();
    let common = Common { kv: &kv, services: Arc::default(), bounds: Bounds::default() };
    let mut reaching = Reaching::new(&kv);
    let (mut warnings, mut ids) = (Vec::new(), 0..);
    let id_of = |_: &_| ids.next().unwrap_or_default();
    let reach = reaching.equip(plugin, &common, id_of, &mut warnings)?;
    reaching.settle(&mut warnings);
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    Ok(reach)
}

fn spec_of(test: &TestPlugin) -> Result<PluginSpec, String> {
    let name = test.plugin.file_stem().unwrap_or(test.plugin.as_os_str());
    let mut spec = PluginSpec::new(name.to_string_lossy(), test.kind);
    spec.timeout = test.timeout;
    spec.log_level = test.log_level;
    spec.max_memory_pages = test.max_memory_pages;
    if let Some(config) = &test.config {
        match serde_json::from_str(config) {
            Ok(config @ serde_json::Value::Object(_)) => spec.set_config(config),
            Ok(_) => return Err("--config is not a JSON object".to_owned()),
            Err(error) => return Err(format!("--config is not a JSON object: {error}")),
        }
    }
    Ok(spec)
}

#[expect(clippy::disallowed_methods, reason = "a tool of its own, there is no worker")]
fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// The output over several lines. (It has been read as JSON before; should this reader disagree, it
/// is shown as it is.)
fn pretty(output: &str) -> String {
    serde_json::from_str::<serde_json::Value>(output)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| output.to_owned())
}
