//! `odin-cli`, the tool of plugin authors and of operators: makes a project, tests, inspects,
//! measures and serves a plugin, explains a configuration, and writes that of a fleet.
//!
//! Exit status: 0 if the plugin did what was expected, 1 if not, 64 for a command line or a file
//! that cannot be used.

mod bench;
mod build;
mod cases;
mod cert;
mod certificates;
mod expect;
mod explain;
mod fleet;
mod junit;
mod keys;
mod plugin;
mod project;
mod serve;
mod splits;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser, Subcommand};
use odin::control::manual;
use odin::control::reach::{Common, Reaching};
use odin::control::terminal::{err, out};
use odin::control::trust::Trust;
use odin::plugin::trial::Scene;
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
    /// Make a project that builds with `make` and passes its test at once
    New {
        /// The name of the project and of its folder: a-z, 0-9 and -
        name: String,
        /// What it is written in
        #[arg(long, value_name = "rust|go|assemblyscript|c")]
        lang: project::Language,
    },
    /// Run the cases of a plugin: DIR/tests/*.yaml
    Test {
        /// The plugin's folder, or one file of cases
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// Also write the outcomes as JUnit's XML
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
    },
    /// Call a plugin once and print what it answers
    TestPlugin(TestPlugin),
    /// Tell what a module is and could reach, without running it, and warn of odd imports
    Inspect {
        /// The module (of a registry: odin-cli plugin inspect)
        plugin: PathBuf,
    },
    /// Put modules into registries, fetch them, sign them
    #[command(subcommand)]
    Plugin(plugin::Action),
    /// Measure a plugin's calls, its memory and its start
    Bench(bench::Arguments),
    /// Serve one plugin in front of an echo or a service, and again whenever its file changes
    Run(serve::Arguments),
    /// Say what certificates cover and when they end; fails if one does not hold now
    Cert {
        /// PEM files: certificates, chains, authorities
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Print the JSON Schema of the gateway's configuration, for editors and for other checks
    Schema,
    /// Say which service gets a request, which plugins run for it, and why the others don't
    Explain {
        /// The gateway's configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        #[command(flatten)]
        asked: explain::Asked,
    },
    /// Write a fleet's configuration, tell how its nodes stand, take a revision back
    Fleet(fleet::Arguments),
    /// Print the script that completes this command line in a shell
    Completions {
        /// Which shell
        shell: manual::Shell,
    },
    /// Write the manual pages
    #[command(hide = true)]
    Man {
        /// The folder that they go to
        folder: PathBuf,
    },
}

#[derive(clap::Args)]
struct TestPlugin {
    /// The module
    plugin: PathBuf,
    /// The input: the JSON document that docs/plugin-abi.md describes
    input: PathBuf,
    /// Its `config` replaces the input's.
    #[command(flatten)]
    keys: keys::Keys,
    /// The least level of the plugin's log lines that is shown
    #[arg(long, value_name = "LEVEL", default_value = "trace", value_parser = level)]
    log_level: LogLevel,
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
        Command::New { name, lang } => new(&name, lang),
        Command::Test { dir, junit } => test(&dir, junit.as_deref()),
        Command::TestPlugin(test) => test_plugin(&test),
        Command::Inspect { plugin } => inspect(&plugin),
        Command::Plugin(action) => plugin::run(&action),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Run(arguments) => serve::run(&arguments),
        Command::Fleet(arguments) => fleet::run(&arguments),
        Command::Cert { files } => cert::tell(&files),
        Command::Completions { shell } => {
            out(manual::completions(shell, Arguments::command()).trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { folder } => {
            manual::write_pages(Arguments::command(), &folder).map(|()| ExitCode::SUCCESS)
        }
        Command::Schema => {
            out(odin::control::config::json_schema().trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Command::Explain { config, asked } => explain::explain(&config, &asked).map(|lines| {
            lines.iter().for_each(out);
            ExitCode::SUCCESS
        }),
    };
    match outcome {
        Ok(code) => code,
        Err(usage) => {
            err(format_args!("odin-cli: {usage}"));
            EXIT_USAGE.into()
        }
    }
}

fn new(name: &str, language: project::Language) -> Result<ExitCode, String> {
    let folder = project::create(name, language)?;
    out(format_args!("made {0}; next: cd {0} && make && odin-cli test .", folder.display()));
    Ok(ExitCode::SUCCESS)
}

/// Runs the cases and says what became of each.
fn test(dir: &Path, junit: Option<&Path>) -> Result<ExitCode, String> {
    let outcomes = cases::run_all(dir)?;
    let mut suite = "";
    for outcome in &outcomes {
        if outcome.suite != suite {
            suite = &outcome.suite;
            out(suite);
        }
        let verdict = if outcome.failures.is_empty() { "ok    " } else { "FAILED" };
        out(format_args!("  {verdict} {}", outcome.name));
        for failure in &outcome.failures {
            out(format_args!("         {}", failure.replace('\n', "\n         ")));
        }
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.failures.is_empty()).count();
    out(format_args!("{} passed, {failed} failed", outcomes.len() - failed));
    if let Some(path) = junit {
        write(path, &junit::document(&outcomes))?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Tells what a module is.
fn inspect(path: &Path) -> Result<ExitCode, String> {
    describe(&path.display().to_string(), &read(path)?)
}

/// Tells what a module is that is called so.
fn describe(name: &str, wasm: &[u8]) -> Result<ExitCode, String> {
    let spec = PluginSpec::new("inspected", PluginType::Middleware);
    let (sink, _lines) = odin::plugin::trial::collect_lines();
    out(format_args!("{name}: {} bytes", wasm.len()));
    let seen = match odin::plugin::inspect::inspect(wasm, spec, sink) {
        Ok(seen) => seen,
        Err(reason) => {
            out(format_args!("does not load: {reason}"));
            return Ok(ExitCode::FAILURE);
        }
    };
    match &seen.verdict {
        Ok(abi) => out(format_args!("loads: {abi}")),
        Err(reason) => out(format_args!("does not load: {reason}")),
    }
    if let Some((first, most)) = seen.memory {
        let most = most.map_or_else(|| "no limit of its own".to_owned(), |most| most.to_string());
        out(format_args!("memory: {first} pages of 64 KiB at first, at most: {most}"));
    }
    out(format_args!("reaches, as far as its config names it: {}", reaches(seen.uses)));
    seen.warnings.iter().for_each(|warning| out(format_args!("warning: {warning}")));
    out("imports:");
    seen.imports.iter().for_each(|import| out(format_args!("  {import}")));
    out("exports:");
    seen.exports.iter().for_each(|export| out(format_args!("  {export}")));
    Ok(if seen.verdict.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn reaches(uses: odin::plugin::Uses) -> String {
    let ways = [
        (uses.http, "hosts and services (http_call)"),
        (uses.state, "shared state (kv_*)"),
        (uses.files, "files (read_file)"),
    ];
    let ways: Vec<_> = ways.iter().filter(|(is, _)| *is).map(|(_, way)| *way).collect();
    if ways.is_empty() { "nothing".to_owned() } else { ways.join(", ") }
}

/// Runs one call; the error is one of usage.
fn test_plugin(test: &TestPlugin) -> Result<ExitCode, String> {
    let wasm = read(&test.plugin)?;
    let input = read_text(&test.input)?;
    let scene = Scene::default().annotated(odin::exchange::annotate_by_default);
    let mut spec = test.keys.spec(&test.plugin);
    spec.log_level = test.log_level;
    let report = oneshot::run(&wasm, spec, scene, &input, equip);
    for (level, text) in &report.lines {
        out(format_args!("log: {} {text}", level.as_str()));
    }
    let code = match &report.output {
        Ok(output) => {
            out(pretty(output));
            ExitCode::SUCCESS
        }
        Err(error) => {
            err(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    };
    out(format_args!("time: {:.1?} (and {:.1?} to load)", report.call_time, report.load_time));
    Ok(code)
}

/// What the plugin's `config` names, looked up as the gateway does; there are no services.
fn equip(plugin: &Plugin) -> Result<Reach, String> {
    let kv = odin::kv::config::Config::default();
    let (services, bounds, trust) = (Arc::default(), Bounds::default(), Trust::default());
    let common = Common { kv: &kv, services, bounds, trust: &trust };
    let mut reaching = Reaching::new(&kv);
    let (mut warnings, mut ids) = (Vec::new(), 0..);
    let id_of = |_: &_| {
        let id = ids.next().unwrap_or_default();
        (id, id, std::sync::Arc::default())
    };
    let reach = reaching.equip(plugin, &common, id_of, &mut warnings)?;
    reaching.settle(&mut warnings);
    for warning in warnings {
        err(format_args!("warning: {warning}"));
    }
    Ok(reach)
}

fn read_text(path: &Path) -> Result<String, String> {
    String::from_utf8(read(path)?).map_err(|_| format!("{} is not UTF-8", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    write_bytes(path, text.as_bytes())
}

#[expect(clippy::disallowed_methods, reason = "a tool of its own, there is no worker")]
fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), String> {
    std::fs::write(path, bytes).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

#[expect(clippy::disallowed_methods, reason = "a tool of its own, there is no worker")]
fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// The output over several lines, each value as it was written: a number that is read loses digits.
/// (It has been read as JSON before; should this reader disagree, it is shown as it is.)
fn pretty(output: &str) -> String {
    if serde_json::from_str::<serde::de::IgnoredAny>(output).is_err() {
        return output.to_owned();
    }
    let (mut text, mut depth, mut in_string, mut is_escaped) = (String::new(), 0, false, false);
    let mut characters = output.chars().filter(|c| !c.is_control()).peekable();
    while let Some(character) = characters.next() {
        if in_string {
            text.push(character);
            in_string = is_escaped || character != '"';
            is_escaped = character == '\\' && !is_escaped;
            continue;
        }
        match character {
            ' ' => continue,
            '"' => in_string = true,
            '}' | ']' => {
                depth -= 1;
                break_line(&mut text, depth);
            }
            _ => {}
        }
        text.push(character);
        while matches!(character, '{' | '[') && characters.next_if_eq(&' ').is_some() {}
        match character {
            '{' | '[' if matches!(characters.peek(), Some('}' | ']')) => {
                text.extend(characters.next());
            }
            '{' | '[' => {
                depth += 1;
                break_line(&mut text, depth);
            }
            ',' => break_line(&mut text, depth),
            ':' => text.push(' '),
            _ => {}
        }
    }
    text
}

fn break_line(text: &mut String, depth: usize) {
    text.push('\n');
    text.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_shown_with_all_its_digits() {
        let output =
            r#"{ "a":12345678901234567890123,"b":[ ],"c":{"d":["x\"y: {","z"],"e":1.50} }"#;
        let shown = [
            "{",
            "  \"a\": 12345678901234567890123,",
            "  \"b\": [],",
            "  \"c\": {",
            "    \"d\": [",
            "      \"x\\\"y: {\",",
            "      \"z\"",
            "    ],",
            "    \"e\": 1.50",
            "  }",
            "}",
        ];
        assert_eq!(pretty(output), shown.join("\n"));
        assert_eq!(pretty("{\n}"), "{}");
        assert_eq!(pretty("no JSON"), "no JSON");
    }
}
