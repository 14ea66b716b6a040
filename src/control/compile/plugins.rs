//! The plugins of a configuration: files read, modules compiled, reach given.
//!
//! A plugin of the published snapshot whose file, keys and reach are as they were is taken over
//! with all its instances: a reload costs only what it changes. One with the same file and other
//! keys shares the machine code.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::super::config::{self, Config};
use super::super::courtesy::yield_core;
use super::super::modules::Lacking;
use super::super::reach::{Common, Reaching, Upkeep};
use super::modules::{self, Modules};
use super::{Findings, Ids, Scope};
use crate::plugin::{
    Encoding, FailureMode, FilterSpec, Isolation, LogLevel, NonUtf8, Plugin, PluginSpec,
    PluginType, Runtime, TickOn,
};
use crate::snapshot::Snapshot;

/// Loads plugins, over all snapshots of the process.
pub(super) struct Loader {
    runtime: Arc<Runtime>,
    workers: usize,
    modules: Modules,
    /// Modules of other machines that could not be had.
    pub(super) lacking: Lacking,
    /// Those of this configuration so far: one of the same file shares their machine code.
    loaded: Vec<Arc<Plugin>>,
    reaching: Reaching,
}

impl Loader {
    pub(super) fn new(
        runtime: Arc<Runtime>,
        workers: usize,
        kv: &crate::kv::config::Config,
    ) -> Self {
        let (modules, loaded, lacking) = (Modules::default(), Vec::new(), Lacking::default());
        let reaching = Reaching::new(kv);
        Self { runtime, workers, modules, lacking, loaded, reaching }
    }

    pub(super) fn upkeep(&self) -> Upkeep {
        self.reaching.upkeep()
    }

    /// The plugins in the order of the file; `None` for those that do not run.
    pub(super) fn load_all(
        &mut self,
        config: &Config,
        common: &Common<'_>,
        ids: &mut Ids,
        published: Option<&Snapshot>,
        scope: &Scope,
        findings: &mut Findings,
    ) -> Vec<Option<Arc<Plugin>>> {
        match scope {
            Scope::All => self.modules.begin(),
            Scope::Addresses => {}
            Scope::Plugin(_) => {
                let named = config.wasm.plugins.iter().map(|plugin| config.file_of(plugin));
                self.modules.forget_all_but(&named.collect());
            }
        }
        let is_enabled = |plugin: &config::Plugin| config.wasm.enabled && plugin.enabled;
        let mut load = |plugin: &config::Plugin| {
            let plugins = published.map_or(&[][..], |snapshot| &snapshot.plugins);
            let earlier = plugins.iter().find(|earlier| earlier.spec.name == plugin.name);
            if let Some(earlier) = earlier.filter(|_| scope.keeps_plugin(&plugin.name)) {
                return kept(earlier, common);
            }
            let loaded = self.load(plugin, config, common, ids, earlier, findings);
            self.loaded.push(Arc::clone(&loaded));
            if let Some(reason) = loaded.load_error() {
                let reason = format!("{}: {reason}", place_of(plugin, config));
                findings.failed(&plugin.name, reason, loaded.spec.failure_mode);
            }
            loaded
        };
        let plugins = config.wasm.plugins.iter();
        let plugins = plugins.map(|plugin| is_enabled(plugin).then(|| load(plugin))).collect();
        self.loaded.clear();
        if *scope != Scope::Addresses {
            self.reaching.settle(&mut findings.warnings);
        }
        plugins
    }

    fn load(
        &mut self,
        plugin: &config::Plugin,
        config: &Config,
        common: &Common<'_>,
        ids: &mut Ids,
        earlier: Option<&Arc<Plugin>>,
        findings: &mut Findings,
    ) -> Arc<Plugin> {
        yield_core();
        let spec = self.spec(plugin, config);
        let spec = match with_patterns(spec, &plugin.allowed_urls) {
            Ok(spec) => spec,
            Err(failed) => return Arc::new(*failed),
        };
        let mut loaded = self.module(plugin, &config.file_of(plugin), spec, earlier);
        let Some(digest) = loaded.digest() else {
            return Arc::new(loaded);
        };
        let earlier = earlier.filter(|earlier| earlier.digest() == Some(digest));
        yield_core();
        let id_of = |key: &_| ids.of_origin(key);
        match self.reaching.equip(&loaded, common, id_of, &mut findings.warnings) {
            Ok(reach) => loaded.spec.reach = reach,
            Err(reason) => return Arc::new(Plugin::failed(loaded.spec, reason)),
        }
        match earlier {
            Some(earlier) if earlier.spec.is_same_as(&loaded.spec) => Arc::clone(earlier),
            _ => Arc::new(loaded),
        }
    }

    /// A plugin with its module: that of `earlier`, if it is of the same bytes. Only what may have
    /// changed is read.
    fn module(
        &mut self,
        plugin: &config::Plugin,
        path: &Path,
        spec: PluginSpec,
        earlier: Option<&Arc<Plugin>>,
    ) -> Plugin {
        if plugin.remote.is_some() {
            return self.remote_module(plugin, path, spec, earlier);
        }
        let known = earlier.and_then(|earlier| earlier.digest().copied());
        let known = known.filter(|digest| self.modules.is_as_it_was(path, digest));
        let read = match known {
            Some(digest) => Ok((Vec::new(), digest)),
            None => self.modules.read(path, SystemTime::now()),
        };
        let pinned = plugin.sha256.as_ref();
        let read = read
            .and_then(|(wasm, digest)| modules::check(&digest, pinned).map(|()| (wasm, digest)));
        match read {
            Ok((wasm, digest)) => {
                let mut known = earlier.into_iter().chain(&self.loaded);
                match known.find(|it| it.digest() == Some(&digest)) {
                    Some(same) => same.again(spec),
                    None => self.runtime.load(spec, &wasm),
                }
            }
            Err(reason) => Plugin::failed(spec, reason),
        }
    }

    /// A plugin whose module is fetched. It is known by its digest: one that is loaded needs no
    /// file any more.
    fn remote_module(
        &mut self,
        plugin: &config::Plugin,
        path: &Path,
        spec: PluginSpec,
        earlier: Option<&Arc<Plugin>>,
    ) -> Plugin {
        if let Some(reason) = self.lacking.reason(&plugin.name) {
            return Plugin::failed(spec, reason.to_owned());
        }
        let pinned = plugin.sha256.as_ref();
        let mut known = earlier.into_iter().chain(&self.loaded);
        if let Some(same) = known.find(|known| pinned.is_some() && known.digest() == pinned) {
            return same.again(spec);
        }
        let read = self.modules.read(path, SystemTime::now());
        let read = read.and_then(|(wasm, digest)| modules::check(&digest, pinned).map(|()| wasm));
        match read {
            Ok(wasm) => self.runtime.load(spec, &wasm),
            Err(reason) => {
                Plugin::failed(spec, format!("{} in its place {reason}", path.display()))
            }
        }
    }

    fn spec(&self, plugin: &config::Plugin, config: &Config) -> PluginSpec {
        let wasm = &config.wasm;
        let mut spec = PluginSpec::new(&plugin.name, plugin_type(plugin.kind));
        spec.priority = plugin.priority;
        spec.timeout = plugin.timeout.unwrap_or(wasm.timeout);
        if let Some(mode) = plugin.failure_mode {
            spec.failure_mode_is_given = true;
            spec.failure_mode = match mode {
                config::FailureMode::Open => FailureMode::Open,
                config::FailureMode::Closed => FailureMode::Closed,
            };
        }
        spec.body = plugin.body.unwrap_or(spec.body);
        spec.body_is_given = plugin.body.is_some();
        spec.non_utf8 = plugin.non_utf8.map(|policy| match policy {
            config::NonUtf8::Reject => NonUtf8::Reject,
            config::NonUtf8::Hide => NonUtf8::Hide,
            config::NonUtf8::Pass => NonUtf8::Pass,
        });
        spec.filter = FilterSpec {
            root_id: plugin.root_id.clone(),
            vm_id: plugin.vm_id.clone(),
            vm_config: plugin.vm_config.clone(),
        };
        spec.max_memory_pages = plugin.max_memory_pages.unwrap_or(wasm.max_memory_pages);
        spec.instances_max = plugin.max_instances.unwrap_or(wasm.max_instances);
        spec.workers = self.workers as u32;
        spec.passes_large_bodies = plugin.on_body_too_large == config::OnBodyTooLarge::Pass;
        spec.encoding = match plugin.encoding {
            config::Encoding::Decode => Encoding::Decode,
            config::Encoding::Identity => Encoding::Identity,
            config::Encoding::Raw => Encoding::Raw,
        };
        spec.premade = plugin.instances.unwrap_or(spec.premade);
        spec.isolation = match plugin.isolation {
            config::Isolation::Shared => Isolation::Shared,
            config::Isolation::Request => Isolation::Request,
        };
        spec.tick = plugin.tick;
        spec.tick_on = match plugin.tick_on {
            config::TickOn::Each => TickOn::Each,
            config::TickOn::One => TickOn::One,
        };
        spec.log_level = log_level(config.logging.level);
        // May say another level for this plugin alone.
        spec.set_config(plugin.config.clone());
        spec
    }
}

/// What a failure names: the file, or where it would have come from.
fn place_of(plugin: &config::Plugin, config: &Config) -> String {
    match &plugin.remote {
        Some(remote) => remote.to_string(),
        None => config.wasm.file_of(plugin).display().to_string(),
    }
}

/// A plugin as it was published, which calls the services where they are now. Nothing is read.
fn kept(earlier: &Arc<Plugin>, common: &Common<'_>) -> Arc<Plugin> {
    if !earlier.uses().http {
        return Arc::clone(earlier);
    }
    let mut spec = earlier.spec.clone();
    spec.reach.outbound.services = Arc::clone(&common.services);
    match earlier.spec.is_same_as(&spec) {
        true => Arc::clone(earlier),
        false => Arc::new(earlier.again(spec)),
    }
}

/// The paths that it applies to; a plugin that says why they cannot be matched.
fn with_patterns(
    mut spec: PluginSpec,
    patterns: &[config::Pattern],
) -> Result<PluginSpec, Box<Plugin>> {
    if patterns.is_empty() {
        return Ok(spec);
    }
    match config::pattern_set(patterns) {
        Ok(set) => spec.allowed_urls = Some(set),
        Err(reason) => {
            return Err(Box::new(Plugin::failed(spec, format!("allowedUrls: {reason}"))));
        }
    }
    Ok(spec)
}

fn plugin_type(kind: config::PluginType) -> PluginType {
    match kind {
        config::PluginType::Auth => PluginType::Auth,
        config::PluginType::RateLimit => PluginType::RateLimit,
        config::PluginType::Request => PluginType::Request,
        config::PluginType::Response => PluginType::Response,
        config::PluginType::Middleware => PluginType::Middleware,
        config::PluginType::Aggregation => PluginType::Aggregation,
    }
}

/// From which level on a plugin's lines are logged if its own `config` does not say. (With the log
/// off nothing is written whatever this is.)
fn log_level(level: config::Level) -> LogLevel {
    match level {
        config::Level::Off | config::Level::Error => LogLevel::Error,
        config::Level::Warn => LogLevel::Warn,
        config::Level::Info => LogLevel::Info,
        config::Level::Debug => LogLevel::Debug,
        config::Level::Trace => LogLevel::Trace,
    }
}
