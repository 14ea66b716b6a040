//! `odin-cli explain`: which service gets a request, which plugins run for it, and why the others
//! don't. Compiles the configuration and asks the same tables as a gateway; nothing is called.

use std::path::Path;
use std::sync::Arc;

use odin::control::compile::{Compiled, Compiler, matcher};
use odin::control::config::{self, Config};
use odin::http::message::{Fields, Method, RequestHead};
use odin::plugin::{
    Chain, FailureMode, Phase, Plugin, PluginSpec, PluginType, Runtime, RuntimeOptions, Url,
};
use odin::route::cors;
use odin::route::mirror::WHOLE;
use odin::route::path::normalise;
use odin::route::split::Sticky;
use odin::route::table::{Rule, Table};
use odin::snapshot::{Service, Snapshot};

/// The answer, in lines.
///
/// # Errors
/// Why there is none: the configuration or the URL cannot be read.
pub(crate) fn explain(file: &Path, asked: &Asked) -> Result<Vec<String>, String> {
    let config = config::load(file).map_err(|errors| errors.to_string())?;
    let runtime = Runtime::new(&RuntimeOptions::default()).map_err(|error| error.to_string())?;
    let mut compiler = Compiler::new(runtime, 1, &config.kv);
    let Compiled { snapshot, .. } = compiler.compile(&config, None);
    let mut request = asked.request()?;
    let path = &*std::mem::take(&mut request.path);
    let mut normal = String::new();
    if let Err(error) = normalise(path, snapshot.paths, &mut normal) {
        let status = error.status();
        return Ok(vec![format!("{path} is answered with {status}, no plugin runs: {error}")]);
    }
    request.path.clone_from(&normal);
    let Some(service) = snapshot.service_of(&mut request) else {
        let mut lines = vec![format!(
            "{normal} is answered with 404, no plugin runs: no service fits the request"
        )];
        lines.extend(services_that_rest(&config, None, &request));
        return Ok(lines);
    };
    let mut lines = Vec::new();
    if normal != path {
        lines.push(format!("{path} is served, and matched, as {normal}"));
    }
    lines.push(format!(
        "{normal} goes to the service {} (basePath {})",
        service.name, service.base_path
    ));
    lines.extend(services_that_rest(&config, Some(service.index), &request));
    if let Some(redirect) = &service.redirect {
        let to = redirect.location(asked.scheme(), &request);
        lines.push(format!("the client is sent to {to} ({})", redirect.status));
    }
    lines.extend(for_clients(service, &request));
    let (target, chain) = match split_of(&snapshot, service, &request, &mut lines) {
        Some(chosen) => chosen,
        None => (service, &service.chain),
    };
    lines.extend(copies(&snapshot, service, target));
    lines.extend(runs(&config, target, chain, &normal));
    lines.extend(rests(&config, (service, target), &snapshot.plugins, &normal));
    Ok(lines)
}

/// A request to explain.
#[derive(clap::Args)]
pub(crate) struct Asked {
    /// The URL, or its path alone: http://host/path or /path
    #[arg(long)]
    url: String,
    /// The method
    #[arg(long, default_value = "GET")]
    method: String,
    /// A header that the request has, as in 'X-Canary: yes'; may be given several times
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
}

impl Asked {
    fn request(&self) -> Result<RequestHead, String> {
        let method = Method::from_bytes(self.method.as_bytes());
        let method = method.ok_or_else(|| format!("{:?} is not a method", self.method))?;
        let behind = |text: &str| {
            let query = text.split('#').next().and_then(|text| text.split_once('?'));
            query.map_or_else(String::new, |(_, query)| format!("?{query}"))
        };
        let (authority, path) = match self.url.starts_with('/') {
            true => {
                let path = self.url.split(['?', '#']).next().unwrap_or_default();
                (String::new(), path.to_owned())
            }
            false => {
                let parsed = Url::parse(&self.url)
                    .map_err(|why| format!("{why}; --url takes http://host/path or /path"))?;
                (parsed.host.clone(), parsed.path.to_owned())
            }
        };
        let mut fields = Fields::new();
        for header in &self.headers {
            let (name, value) = header
                .split_once(':')
                .ok_or_else(|| format!("--header takes 'Name: value', got {header:?}"))?;
            fields.push(name.trim().as_bytes(), value.trim().as_bytes());
        }
        let query = behind(&self.url);
        Ok(RequestHead { method, authority, path, query, fields, ..RequestHead::default() })
    }

    fn scheme(&self) -> &'static str {
        if self.url.starts_with("https:") { "https" } else { "http" }
    }
}

/// What the service does for the client of this request beside passing the response on.
fn for_clients(service: &Service, request: &RequestHead) -> Vec<String> {
    let mut lines = Vec::new();
    let Some(extras) = &service.extras else {
        return lines;
    };
    if let Some(rules) = &extras.cors {
        let mut answer = Fields::new();
        rules.answer(&request.fields, &mut answer);
        let allowed = answer.get("access-control-allow-origin").map(String::from_utf8_lossy);
        let origin = request.fields.get("origin").map(String::from_utf8_lossy);
        lines.push(match (allowed, origin, cors::is_preflight(request)) {
            (Some(allowed), _, true) => {
                format!("it is a preflight, answered here: pages of {allowed} may ask")
            }
            (None, _, true) => "it is a preflight, answered here: its page may not ask".to_owned(),
            (Some(allowed), ..) => format!("pages of {allowed} may read the response (cors)"),
            (None, Some(origin), _) => {
                format!("pages of {origin} may not read the response (cors)")
            }
            (None, None, _) => "no page's Origin was given (cors)".to_owned(),
        });
    }
    if let Some(compression) = &extras.compression {
        let coding = compression.accepted(&request.fields).coding;
        lines.push(match coding {
            Some(coding) => {
                let least = compression.bytes_min;
                format!(
                    "the response is compressed with {} if its type is listed and it has {least} \
                     bytes or more",
                    coding.as_str()
                )
            }
            None => "the response is not compressed: the request takes none of the codings \
                     (Accept-Encoding)"
                .to_owned(),
        });
    }
    lines
}

/// Where a split leads the request, as far as that can be said: the first part that gets any.
fn split_of<'s>(
    snapshot: &'s Snapshot,
    service: &'s Service,
    request: &RequestHead,
    lines: &mut Vec<String>,
) -> Option<(&'s Service, &'s Chain)> {
    let split = service.extras.as_ref()?.split.as_ref()?;
    let plan = &split.plan;
    let total = plan.total().max(1);
    let shares = plan.branches.iter().filter(|branch| branch.weight > 0).map(|branch| {
        format!("{} {:.1} %", branch.name, u64::from(branch.weight) as f64 * 100.0 / total as f64)
    });
    lines.push(format!("its requests are split: {}", shares.collect::<Vec<_>>().join(", ")));
    // Without an address and without chance: what the request itself decides.
    let nobody = std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
    let ends = [0, u64::MAX].map(|random| plan.choose(request, nobody, || random).branch);
    let is_by_address = plan.sticky == Some(Sticky::Address);
    let by_match = plan
        .branches
        .get(ends[0])
        .is_some_and(|branch| branch.when.as_ref().is_some_and(|when| when.fits(request)));
    let chosen = plan.branches.get(ends[0])?;
    lines.push(match ends[0] == ends[1] && (by_match || !is_by_address) {
        true => format!("this one goes to the service {}", chosen.name),
        false => format!(
            "nothing in this one decides it; what follows is of the service {}",
            chosen.name
        ),
    });
    Some((snapshot.services.get(chosen.service)?, split.chains.get(ends[0])?))
}

/// Who gets a copy of the request.
fn copies(snapshot: &Snapshot, service: &Service, target: &Service) -> Option<String> {
    let mirror = target.mirror().or_else(|| service.mirror())?;
    let to = &snapshot.services.get(mirror.service)?.name;
    let percent = f64::from(mirror.share) * 100.0 / f64::from(WHOLE);
    Some(format!("a copy of {percent} % of its requests goes to the service {to} (mirror)"))
}

/// So many services that rest are told of: nobody reads a thousand lines.
const SERVICES_TOLD_MAX: usize = 20;

/// The services that the request does not go to, and why.
fn services_that_rest(config: &Config, index: Option<usize>, request: &RequestHead) -> Vec<String> {
    let others = config.services.iter().enumerate().filter(|(at, _)| Some(*at) != index);
    let mut lines: Vec<String> = others
        .map(|(_, service)| {
            let why = why_not(service, request);
            let why = if why.is_empty() {
                "it fits too, and another one fits better".to_owned()
            } else {
                why.join("; and ")
            };
            format!("-  the service {} is not asked: {why}", service.name)
        })
        .collect();
    let more = lines.len().saturating_sub(SERVICES_TOLD_MAX);
    lines.truncate(SERVICES_TOLD_MAX);
    lines.extend((more > 0).then(|| format!("-  and {more} more services are not asked")));
    lines
}

fn why_not(service: &config::Service, request: &RequestHead) -> Vec<String> {
    let routes = &service.routes;
    let mut why = Vec::new();
    let fits = |routes: &config::Routes, base: &str| {
        let rule = Rule { hosts: &routes.hosts, base_path: base, matcher: matcher(routes) };
        Table::new(std::iter::once((rule, 0))).find(request).is_some()
    };
    let only = |change: &dyn Fn(&mut config::Routes)| {
        let mut routes = config::Routes::default();
        change(&mut routes);
        fits(&routes, "/")
    };
    if !only(&|one| one.hosts.clone_from(&routes.hosts)) {
        let host = if request.authority.is_empty() { "(none given)" } else { &request.authority };
        why.push(format!("its hosts are {}, not {host}", routes.hosts.join(", ")));
    }
    if !fits(&config::Routes::default(), &service.base_path) {
        why.push(format!("its basePath {} does not begin {}", service.base_path, request.path));
    }
    if !only(&|one| one.methods.clone_from(&routes.methods)) {
        let methods: Vec<_> = routes.methods.iter().map(Method::as_str).collect();
        why.push(format!("its methods are {}", methods.join(", ")));
    }
    let names = |list: &[config::Condition]| {
        let failing = list.iter().filter(|condition| {
            let alone = |one: &mut config::Routes| one.headers = vec![(*condition).clone()];
            let in_query = |one: &mut config::Routes| one.query = vec![(*condition).clone()];
            let in_cookies = |one: &mut config::Routes| one.cookies = vec![(*condition).clone()];
            let is_of =
                |list: &[config::Condition]| list.iter().any(|one| std::ptr::eq(one, *condition));
            match () {
                () if is_of(&routes.headers) => !only(&alone),
                () if is_of(&routes.cookies) => !only(&in_cookies),
                () => !only(&in_query),
            }
        });
        failing.map(|condition| condition.name.clone()).collect::<Vec<_>>().join(", ")
    };
    for (what, list) in [
        ("header", &routes.headers),
        ("cookie", &routes.cookies),
        ("query parameter", &routes.query),
    ] {
        let failing = names(list);
        if !failing.is_empty() {
            why.push(format!("its match asks for another {what} {failing}"));
        }
    }
    why
}

/// Whether a plugin of the service's chain is called for a request at all: one that joins the
/// answers of calls needs calls.
fn has_a_phase(plugin: &Plugin, service: &Service) -> bool {
    let has_calls = service.aggregation.as_ref().is_some_and(|one| !one.calls.is_empty());
    plugin.spec.kind != PluginType::Aggregation || has_calls
}

/// The plugins that apply, in their order. One that does not load keeps its place: its failure mode
/// decides there.
fn runs(config: &Config, service: &Service, chain: &Chain, path: &str) -> Vec<String> {
    let plugins = chain.plugins().iter();
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
    plugin.map_or_else(String::new, |one| {
        one.remote
            .as_ref()
            .map_or_else(|| config.wasm.file_of(one).display().to_string(), ToString::to_string)
    })
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
fn rests(
    config: &Config,
    services: (&Service, &Service),
    loaded: &[Arc<Plugin>],
    path: &str,
) -> Vec<String> {
    let line = |plugin: &config::Plugin| {
        let loaded = loaded.iter().find(|one| one.spec.name == plugin.name);
        let reasons = reasons(config, plugin, loaded.map(|one| &**one), services, path);
        let why = reasons.join("; and ");
        (!reasons.is_empty()).then(|| format!("-  {} does not run: {why}", plugin.name))
    };
    config.wasm.plugins.iter().filter_map(line).collect()
}

fn reasons(
    config: &Config,
    plugin: &config::Plugin,
    loaded: Option<&Plugin>,
    (service, target): (&Service, &Service),
    path: &str,
) -> Vec<String> {
    let mut reasons = Vec::new();
    if !config.wasm.enabled {
        reasons.push("no plugin does (wasm.enabled: false)".to_owned());
    }
    if !plugin.enabled {
        reasons.push("it is disabled (enabled: false)".to_owned());
    }
    let is_of = |service: &Service| plugin.services.contains(&service.name);
    if !plugin.services.is_empty() && !is_of(service) && !is_of(target) {
        let services = plugin.services.join(", ");
        reasons.push(format!("its services are {services}, not {}", target.name));
    }
    let is_match =
        |pattern: &config::Pattern| pattern.build().is_ok_and(|pattern| pattern.is_match(path));
    if !plugin.allowed_urls.is_empty() && !plugin.allowed_urls.iter().any(is_match) {
        let patterns: Vec<_> = plugin.allowed_urls.iter().map(|one| one.source.as_str()).collect();
        reasons.push(format!("none of its allowedUrls matches {path}: {}", patterns.join(", ")));
    }
    if loaded.is_some_and(|plugin| !has_a_phase(plugin, target)) {
        reasons.push(format!(
            "its type is aggregation, and the service {} has no aggregation.calls to join",
            target.name
        ));
    }
    reasons
}
