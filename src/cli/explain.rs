//! `odin-cli explain`: which plugins run for a request, and why the others don't. Compiles the
//! configuration and asks the same tables as a gateway; nothing is called.

use std::path::Path;
use std::sync::Arc;

use odin::control::compile::{Compiled, Compiler};
use odin::control::config::{self, Config};
use odin::plugin::{
    FailureMode, Phase, Plugin, PluginSpec, PluginType, Runtime, RuntimeOptions, Url,
};
use odin::route::path::normalise;
use odin::snapshot::Service;

/// The answer, in lines.
///
/// # Errors
/// Why there is none: the configuration or the URL cannot be read.
pub(crate) fn explain(file: &Path, url: &str) -> Result<Vec<String>, String> {
    let config = config::load(file).map_err(|errors| errors.to_string())?;
    let runtime = Runtime::new(&RuntimeOptions::default()).map_err(|error| error.to_string())?;
    let mut compiler = Compiler::new(runtime, 1, &config.kv);
    let Compiled { snapshot, .. } = compiler.compile(&config, None);
    let path = path_of(url)?;
    let mut normal = String::new();
    if let Err(error) = normalise(path, snapshot.paths, &mut normal) {
        let status = error.status();
        return Ok(vec![format!("{path} is answered with {status}, no plugin runs: {error}")]);
    }
    let Some(index) = snapshot.routes.find(&normal) else {
        let bases: Vec<_> = config.services.iter().map(|one| one.base_path.as_str()).collect();
        let bases = if bases.is_empty() { "(none)".to_owned() } else { bases.join(", ") };
        return Ok(vec![format!(
            "{normal} is answered with 404, no plugin runs: no service's basePath begins it; they \
             are {bases}"
        )]);
    };
    let service = &snapshot.services[index];
    let mut lines = Vec::new();
    if normal != path {
        lines.push(format!("{path} is served, and matched, as {normal}"));
    }
    lines.push(format!(
        "{normal} goes to the service {} (basePath {})",
        service.name, service.base_path
    ));
    lines.extend(runs(&config, service, &normal));
    lines.extend(rests(&config, service, &snapshot.plugins, &normal));
    Ok(lines)
}

/// The path of a URL, or of what is one already.
fn path_of(url: &str) -> Result<&str, String> {
    if url.starts_with('/') {
        return Ok(url.split(['?', '#']).next().unwrap_or_default());
    }
    let parsed =
        Url::parse(url).map_err(|why| format!("{why}; --url takes http://host/path or /path"))?;
    Ok(parsed.path)
}

/// Whether a plugin of the service's chain is called for a request at all: one that joins the
/// answers of calls needs calls.
fn has_a_phase(plugin: &Plugin, service: &Service) -> bool {
    let has_calls = service.aggregation.as_ref().is_some_and(|one| !one.calls.is_empty());
    plugin.spec.kind != PluginType::Aggregation || has_calls
}

/// The plugins that apply, in their order. One that does not load keeps its place: its failure mode
/// decides there.
fn runs(config: &Config, service: &Service, path: &str) -> Vec<String> {
    let plugins = service.chain.plugins().iter();
    let plugins: Vec<_> = plugins
        .filter(|plugin| plugin.spec.applies_to(path) && has_a_phase(plugin, service))
        .collect();
    if plugins.is_empty() {
        return vec!["no plugin runs".to_owned()];
    }
    let line = |(number, plugin): (usize, &&Arc<Plugin>)| {
        let spec = &plugin.spec;
        let phases = [Phase::Request, Phase::Response, Phase::Aggregation];
        let phases = phases.into_iter().filter(|phase| plugin.runs_in(*phase));
        let phases: Vec<_> = phases.map(Phase::as_str).collect();
        let verb = if plugin.load_error().is_some() { "cannot run" } else { "runs" };
        let broken = plugin.load_error().map_or_else(String::new, |error| {
            let file = file_of(config, &spec.name);
            format!(": {file}: {error}; {}", effect(spec))
        });
        format!(
            "{}. {} {verb} (type {}, priority {}, phase {}, failureMode {}){broken}",
            number + 1,
            spec.name,
            spec.kind.as_str(),
            spec.priority,
            phases.join(" and "),
            spec.failure_mode.as_str(),
        )
    };
    plugins.iter().enumerate().map(line).collect()
}

fn file_of(config: &Config, name: &str) -> String {
    let plugin = config.wasm.plugins.iter().find(|plugin| plugin.name == name);
    plugin.map_or_else(String::new, |one| config.wasm.file_of(one).display().to_string())
}

/// What becomes of a request whose plugin cannot run.
fn effect(spec: &PluginSpec) -> String {
    match spec.failure_mode {
        FailureMode::Open => "such a request goes on without it".to_owned(),
        FailureMode::Closed => {
            format!("such a request is answered with {}", spec.kind.failure_status())
        }
    }
}

/// The others, and why; all reasons of each, so that one run is enough to mend it.
fn rests(config: &Config, service: &Service, loaded: &[Arc<Plugin>], path: &str) -> Vec<String> {
    let line = |plugin: &config::Plugin| {
        let loaded = loaded.iter().find(|one| one.spec.name == plugin.name);
        let reasons = reasons(config, plugin, loaded.map(|one| &**one), service, path);
        let why = reasons.join("; and ");
        (!reasons.is_empty()).then(|| format!("-  {} does not run: {why}", plugin.name))
    };
    config.wasm.plugins.iter().filter_map(line).collect()
}

fn reasons(
    config: &Config,
    plugin: &config::Plugin,
    loaded: Option<&Plugin>,
    service: &Service,
    path: &str,
) -> Vec<String> {
    let mut reasons = Vec::new();
    if !config.wasm.enabled {
        reasons.push("no plugin does (wasm.enabled: false)".to_owned());
    }
    if !plugin.enabled {
        reasons.push("it is disabled (enabled: false)".to_owned());
    }
    if !plugin.services.is_empty() && !plugin.services.contains(&service.name) {
        let services = plugin.services.join(", ");
        reasons.push(format!("its services are {services}, not {}", service.name));
    }
    let is_match =
        |pattern: &config::Pattern| pattern.build().is_ok_and(|pattern| pattern.is_match(path));
    if !plugin.allowed_urls.is_empty() && !plugin.allowed_urls.iter().any(is_match) {
        let patterns: Vec<_> = plugin.allowed_urls.iter().map(|one| one.source.as_str()).collect();
        reasons.push(format!("none of its allowedUrls matches {path}: {}", patterns.join(", ")));
    }
    if loaded.is_some_and(|plugin| !has_a_phase(plugin, service)) {
        reasons.push(format!(
            "its type is aggregation, and the service {} has no aggregation.calls to join",
            service.name
        ));
    }
    reasons
}
