//! `odin-cli test`: the cases beside a plugin (plugins/sdk/CASES.md has their form), each on
//! an instance of its own, run by the gateway's code with stubs in the place of the world.

mod values;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use odin::limits;
use odin::plugin::trial::{Lines, Scene, Trial, collect_lines};
use odin::plugin::{BodyMode, LogLevel, Plugin, PluginSpec, PluginType};
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(crate) use self::values::lists;
use self::values::{body_of, part, seconds, text_of};
use super::expect::Expect;
use super::splits::Split;

/// The time that a case begins with unless it says another: what the examples' tokens are made for.
const TIME: f64 = 1_700_000_000.0;

/// A file of cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Suite {
    plugin: OneOrMore<PathBuf>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "super::keys::body_of")]
    body: Option<BodyMode>,
    #[serde(default, rename = "maxMemoryPages")]
    max_memory_pages: Option<u32>,
    timeout: Option<Value>,
    #[serde(default)]
    config: Map<String, Value>,
    #[serde(default, rename = "configText")]
    config_text: Option<String>,
    #[serde(default, rename = "rootId")]
    root_id: String,
    #[serde(default)]
    host: Host,
    cases: Vec<Case>,
}

/// Keys that a gateway's configuration has for a plugin, as it has them.
struct Keys {
    body: Option<BodyMode>,
    max_memory_pages: Option<u32>,
    timeout: Option<Duration>,
    config_text: Option<String>,
    root_id: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

impl<T> OneOrMore<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::More(more) => more,
        }
    }
}

#[derive(Deserialize, Default, Clone)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Host {
    time: Option<f64>,
    kv: Option<BTreeMap<String, Value>>,
    kv_is_down: Option<bool>,
    files: Option<BTreeMap<String, Content>>,
    http: Option<Vec<Stub>>,
    services: Option<Vec<String>>,
}

impl Host {
    /// A case's own keys go over those of its file.
    fn over(&self, own: &Self) -> Self {
        Self {
            time: own.time.or(self.time),
            kv: own.kv.clone().or_else(|| self.kv.clone()),
            kv_is_down: own.kv_is_down.or(self.kv_is_down),
            files: own.files.clone().or_else(|| self.files.clone()),
            http: own.http.clone().or_else(|| self.http.clone()),
            services: own.services.clone().or_else(|| self.services.clone()),
        }
    }
}

#[derive(Deserialize, Clone)]
#[serde(untagged, deny_unknown_fields)]
enum Content {
    Text(String),
    File { from: PathBuf },
}

/// An answer to `http_call`.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Stub {
    method: Option<String>,
    url: String,
    status: Option<u16>,
    #[serde(default)]
    headers: Map<String, Value>,
    body: Option<String>,
    json: Option<Value>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    config: Map<String, Value>,
    #[serde(default)]
    host: Host,
    steps: Option<Vec<Step>>,
    // One step alone may stand in the case itself.
    time: Option<f64>,
    repeat: Option<usize>,
    context: Option<Map<String, Value>>,
    metadata: Option<Map<String, Value>>,
    request: Option<Message>,
    response: Option<Message>,
    answers: Option<Vec<Part>>,
    expect: Option<Expect>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Step {
    time: Option<f64>,
    repeat: Option<usize>,
    #[serde(default)]
    context: Map<String, Value>,
    #[serde(default)]
    metadata: Map<String, Value>,
    request: Option<Message>,
    response: Option<Message>,
    answers: Option<Vec<Part>>,
    #[serde(default)]
    expect: Expect,
}

#[derive(Deserialize, Default, Clone)]
#[serde(deny_unknown_fields)]
struct Message {
    method: Option<String>,
    url: Option<String>,
    status: Option<u16>,
    #[serde(default)]
    headers: Map<String, Value>,
    body: Option<String>,
    json: Option<Value>,
}

/// A part of an aggregation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    name: String,
    service: Option<String>,
    status: Option<u16>,
    #[serde(default)]
    headers: Map<String, Value>,
    body: Option<String>,
    json: Option<Value>,
}

/// What became of one case.
pub(crate) struct Outcome {
    /// The module's name and the file of the cases.
    pub suite: String,
    /// The case's name.
    pub name: String,
    /// What was not as expected, in lines; empty if all was.
    pub failures: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

/// Runs the cases of all files of `dir`.
///
/// # Errors
/// What keeps them from being run at all.
pub(crate) fn run_all(dir: &Path) -> Result<Vec<Outcome>, String> {
    let files = files_of(dir)?;
    let mut outcomes = Vec::new();
    for file in files {
        let text = super::read_text(&file)?;
        let suite: Suite =
            yaml_serde::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        let folder = file.parent().unwrap_or(Path::new("."));
        run_suite(suite, folder, &file, &mut outcomes)?;
    }
    Ok(outcomes)
}

/// The YAML files of `dir/tests`, or of `dir` if it has no such folder, or `dir` if it is one.
fn files_of(dir: &Path) -> Result<Vec<PathBuf>, String> {
    if dir.is_file() {
        return Ok(vec![dir.to_owned()]);
    }
    let tests = dir.join("tests");
    let folder = if tests.is_dir() { tests } else { dir.to_owned() };
    let entries = folder
        .read_dir()
        .map_err(|error| format!("cannot read the folder {}: {error}", folder.display()))?;
    let is_yaml = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
    };
    let mut files: Vec<_> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_yaml).collect();
    files.sort();
    if files.is_empty() {
        return Err(format!(
            "{} has no cases: write tests/cases.yaml; the tests/CASES.md that `odin-cli new` \
             makes has their form",
            dir.display()
        ));
    }
    Ok(files)
}

fn run_suite(
    suite: Suite,
    folder: &Path,
    file: &Path,
    outcomes: &mut Vec<Outcome>,
) -> Result<(), String> {
    let Suite {
        plugin,
        kind,
        body,
        max_memory_pages,
        timeout,
        config,
        config_text,
        root_id,
        host,
        cases,
    } = suite;
    let refused = |key: &str, why: String| format!("{}: {key}: {why}", file.display());
    let timeout = timeout.map(|text| odin::control::config::duration(&text_of(&text)));
    let timeout = timeout.transpose().map_err(|why| refused("timeout", why))?;
    let most = limits::PLUGIN_MEMORY_PAGES_CEILING;
    if let Some(pages) = max_memory_pages.filter(|pages| !(1..=most).contains(pages)) {
        let why = format!("got {pages}, expected 1 to {most} pages of 64 KiB");
        return Err(refused("maxMemoryPages", why));
    }
    let keys = Keys { body, max_memory_pages, timeout, config_text, root_id };
    let kind = kind.map(|name| super::keys::kind(&name)).transpose();
    let kind = kind.map_err(|why| refused("type", why))?;
    let cases: Vec<_> = cases.into_iter().map(Case::into_steps).collect::<Result<_, _>>()?;
    for module in plugin.into_vec() {
        let path = folder.join(module);
        let wasm = super::read(&path)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        for (case, steps) in &cases {
            let started = Instant::now();
            let mut config = config.clone();
            config.extend(case.config.clone());
            let host = host.over(&case.host);
            let ground = Ground { wasm: &wasm, keys: &keys, folder, host, config };
            let failures = ground.play(kind, steps).unwrap_or_else(|error| vec![error]);
            outcomes.push(Outcome {
                suite: format!("{stem} ({})", file.display()),
                name: case.name.clone(),
                failures,
                took: started.elapsed(),
            });
        }
    }
    Ok(())
}

impl Case {
    fn into_steps(mut self) -> Result<(Self, Vec<Step>), String> {
        let own = Step {
            time: self.time.take(),
            repeat: self.repeat.take(),
            context: self.context.take().unwrap_or_default(),
            metadata: self.metadata.take().unwrap_or_default(),
            request: self.request.take(),
            response: self.response.take(),
            answers: self.answers.take(),
            expect: self.expect.take().unwrap_or_default(),
        };
        let steps = self.steps.take().unwrap_or_else(|| vec![own]);
        if steps.is_empty() {
            return Err(format!("the case {:?} has an empty list of steps", self.name));
        }
        Ok((self, steps))
    }
}

/// What one case is played on.
struct Ground<'a> {
    wasm: &'a [u8],
    keys: &'a Keys,
    folder: &'a Path,
    host: Host,
    config: Map<String, Value>,
}

impl Ground<'_> {
    /// What was not as expected; an error is what kept the plugin from running.
    fn play(&self, kind: Option<PluginType>, steps: &[Step]) -> Result<Vec<String>, String> {
        let is_aggregation = steps.iter().any(|step| step.answers.is_some());
        let default = if is_aggregation { PluginType::Aggregation } else { PluginType::Middleware };
        let mut spec = PluginSpec::new("under-test", kind.unwrap_or(default));
        // Cases look at what is logged, whatever a gateway would show of it.
        spec.log_level = LogLevel::Trace;
        // Everything else is as in a gateway whose configuration says what the file of cases says.
        spec.body = self.keys.body.unwrap_or(spec.body);
        spec.max_memory_pages = self.keys.max_memory_pages.unwrap_or(spec.max_memory_pages);
        spec.timeout = self.keys.timeout.unwrap_or(spec.timeout);
        spec.set_config(match &self.keys.config_text {
            Some(text) => Value::String(text.clone()),
            None => Value::Object(self.config.clone()),
        });
        spec.filter.root_id.clone_from(&self.keys.root_id);
        let files = self.files()?;
        let equip = |plugin: &Plugin| self.reach(plugin, files);
        let (sink, lines) = collect_lines();
        let plugin = Trial::load(self.wasm, spec, equip, sink);
        let mut longest = 0;
        let mut failures = Vec::new();
        for split in Split::all(0) {
            if failures.is_empty() {
                failures = self.play_split(&plugin, steps, &lines, split, &mut longest)?;
            }
        }
        // Of a plugin that bodies pass, once more for each way in which they may come.
        for split in Split::all(longest).skip(2) {
            if failures.is_empty() {
                failures = self.play_split(&plugin, steps, &lines, split, &mut longest)?;
            }
        }
        Ok(failures)
    }

    /// Plays the steps on a fresh instance, with the bodies cut so.
    fn play_split(
        &self,
        plugin: &Result<Arc<Plugin>, String>,
        steps: &[Step],
        lines: &Lines,
        split: Split,
        longest: &mut usize,
    ) -> Result<Vec<String>, String> {
        if split != Split::Whole && *longest == 0 {
            return Ok(Vec::new());
        }
        let calls = Rc::new(RefCell::new(Vec::new()));
        let time = seconds(self.host.time.unwrap_or(TIME));
        let scene = Scene::new(time, self.answers(Rc::clone(&calls)));
        let scene = scene.annotated(odin::exchange::annotate_by_default);
        let trial = plugin.clone().and_then(|plugin| {
            // What it has kept in the shared state is gone.
            let mut spec = plugin.spec.clone();
            spec.reach = self.reach(&plugin, self.files()?)?;
            Trial::of(Arc::new(plugin.again(spec)), scene)
        });
        let mut trial = match trial {
            Ok(trial) => trial,
            // A case may expect just that, of a wrong config.
            Err(reason) => {
                let output = Err(format!("it does not start: {reason}"));
                let first = steps.iter().take(1);
                return Ok(first.flat_map(|step| judge(step, &output, lines, &calls)).collect());
            }
        };
        for (key, value) in self.host.kv.iter().flatten() {
            trial.remember(key, &text_of(value))?;
        }
        let mut failures = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            if let Some(time) = step.time {
                trial.set_time(seconds(time));
            }
            let mut found = self.step(&mut trial, step, lines, &calls);
            let document = self.document(step);
            if let Some(length) = trial.streamed(&document)?.filter(|_| step.has_body()) {
                *longest = (*longest).max(length);
                let passed = trial.pass(&document, &split.places(length));
                let wrong = step.expect.check_passed(&passed);
                found.extend(wrong.into_iter().map(|it| format!("{}{it}", split.shown())));
            }
            let place =
                if steps.len() > 1 { format!("step {}: ", number + 1) } else { String::new() };
            failures.extend(found.into_iter().map(|failure| format!("{place}{failure}")));
        }
        trial.end()?;
        Ok(failures)
    }

    fn step(
        &self,
        trial: &mut Trial,
        step: &Step,
        lines: &Lines,
        calls: &RefCell<Vec<String>>,
    ) -> Vec<String> {
        let document = self.document(step);
        let mut output = Err("repeat is 0: the plugin was not called".to_owned());
        for _ in 0..step.repeat.unwrap_or(1) {
            calls.borrow_mut().clear();
            lines.try_iter().for_each(drop);
            output = trial.call(&document);
        }
        judge(step, &output, lines, calls)
    }

    /// What a step tells of its call; the trial makes of it what a gateway would.
    fn document(&self, step: &Step) -> Value {
        let request = step.request.clone().unwrap_or_default();
        let headers = lists(&request.headers);
        let host = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = host.and_then(|(_, values)| values[0].as_str()).unwrap_or("host");
        let url = request.url.clone().unwrap_or_else(|| format!("http://{host}/api/users"));
        let method = request.method.as_deref().unwrap_or("GET");
        let asked = json!({ "method": method, "url": url, "headers": headers,
            "body": body_of(request.body.as_deref(), request.json.as_ref()) });
        let (phase, input) = if let Some(parts) = &step.answers {
            let mut input = asked;
            input["responses"] = parts.iter().map(part).collect();
            ("aggregation", input)
        } else if let Some(response) = &step.response {
            let input = json!({ "statusCode": response.status.unwrap_or(200),
                "headers": lists(&response.headers), "request": asked,
                "body": body_of(response.body.as_deref(), response.json.as_ref()) });
            ("response", input)
        } else {
            ("request", asked)
        };
        let mut context = json!({
            "requestId": "test-1", "serviceId": "users-service", "routePath": "/api/users",
            "timestamp": "2024-01-01T00:00:00Z", "clientIp": "192.0.2.1",
            "metadata": step.metadata,
        });
        if let Value::Object(context) = &mut context {
            context.extend(step.context.clone());
            // Of which message the step tells is settled.
            context.insert("phase".to_owned(), phase.into());
        }
        json!({ "context": context, "input": input })
    }
}

impl Step {
    /// Whether a message with a body is told of.
    fn has_body(&self) -> bool {
        match (&self.response, &self.request) {
            (Some(response), _) => response.body.is_some() || response.json.is_some(),
            (None, Some(request)) => request.body.is_some() || request.json.is_some(),
            (None, None) => false,
        }
    }
}

/// What is not as expected, and what the log said of it.
fn judge(
    step: &Step,
    output: &Result<String, String>,
    lines: &Lines,
    calls: &RefCell<Vec<String>>,
) -> Vec<String> {
    let logged: Vec<_> = lines.try_iter().collect();
    let texts: Vec<_> = logged.iter().map(|(_, text)| text.clone()).collect();
    let mut failures = step.expect.check(output, &texts, &calls.borrow());
    if !failures.is_empty() {
        let grave = logged.iter().filter(|(level, _)| *level >= LogLevel::Warn);
        failures.extend(grave.map(|(level, text)| format!("log: {} {text}", level.as_str())));
    }
    failures
}
