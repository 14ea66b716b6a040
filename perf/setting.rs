//! What the real control plane makes of a configuration: the way to a snapshot that a worker has.

use std::sync::Arc;

use odin::control::compile::{Compiled, Compiler};
use odin::control::config::{self, Config};
use odin::plugin::{Runtime, RuntimeOptions};
use odin::snapshot::Snapshot;

/// One runtime for all that is measured. It keeps what it has compiled, or a chain of ten would be
/// compiled ten times, which under valgrind takes a minute.
pub fn runtime() -> Arc<Runtime> {
    let cache_dir = Some(concat!(env!("CARGO_MANIFEST_DIR"), "/target/perf/compiled").into());
    let options = RuntimeOptions { instances_max: 64, cache_dir, ..RuntimeOptions::default() };
    Runtime::new(&options).expect("64 instances have room")
}

/// `count` header plugins, of the module `header-injection-<language>.wasm` that `make plugins`
/// builds.
pub fn header_plugins(language: &str, count: usize, body: bool) -> String {
    (0..count)
        .map(|at| {
            format!(
                "    - {{ name: header-{at}, path: header-injection-{language}.wasm, \
                 type: request, body: {body}, priority: {at}, instances: 1, \
                 config: {{ addHeaders: {{ X-Gateway: Odin }} }} }}\n"
            )
        })
        .collect()
}

/// A gateway with these plugins in front of one service.
pub fn parse(plugins: &str, target: &str) -> Config {
    let plugins = if plugins.is_empty() { "[]" } else { &format!("\n{plugins}") };
    let text = format!(
        "server: {{ listen: 127.0.0.1:0, workers: 1 }}\nadmin: {{ listen: off }}\n\
         wasm:\n  pluginDir: {}/plugins/dist\n  plugins: {plugins}\n\
         services:\n  - {{ name: users-service, basePath: /api/users, targets: [\"{target}\"] }}\n",
        env!("CARGO_MANIFEST_DIR")
    );
    config::parse_text(&text, "perf.yaml").expect("the configuration is written here")
}

/// Compiles it; a plugin that is missing is no measurement.
pub fn compile(runtime: &Arc<Runtime>, config: &Config) -> Snapshot {
    let compiled = Compiler::new(Arc::clone(runtime), 1, &config.kv).compile(config, None);
    let Compiled { snapshot, findings } = compiled;
    let failures: Vec<String> = findings.failures.iter().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "run `make plugins` first: {}", failures.join("; "));
    snapshot
}
