//! One instance of one plugin without a gateway, and as many calls of it as its author likes: what
//! `odin-cli` tests and measures with.
//!
//! The module is loaded, started and called by the same code that a worker runs, its input is made
//! and its output checked by the same code as in an exchange (`trial/given.rs`); only the messages
//! come from a document, and nothing becomes of them. Takes its own thread's time: not for a
//! worker.

mod given;
mod pieces;
mod told;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

pub use self::pieces::{Ended, Passed};
use super::chain::MessageBounds;
use super::host::Host;
use super::instance::Instance;
use super::json_abi::{self, Entry};
use super::log::{Ids, LogSink, PluginLine, PluginLog};
use super::module::Plugin;
use super::pool::Pools;
use super::reach::Reach;
use super::runtime::{Runtime, RuntimeOptions};
pub use super::scene::{Annotate, Answers, Scene};
use super::spec::{LogLevel, Phase, PluginSpec};
use crate::io::runtime;
use crate::kv::Stores;
use given::Given;

/// What a plugin has logged, in order.
pub type Lines = Receiver<(LogLevel, String)>;

/// A sink, and the lines that go into it.
pub fn collect_lines() -> (Arc<dyn LogSink>, Lines) {
    let (sender, lines) = channel();
    (Arc::new(CollectingSink(sender)), lines)
}

#[derive(Debug)]
struct CollectingSink(Sender<(LogLevel, String)>);

impl LogSink for CollectingSink {
    fn plugin_line(&self, line: &PluginLine<'_>) {
        // Nobody to tell is nothing to say.
        let _received = self.0.send((line.level, line.text.to_owned()));
    }
}

/// One instance, ready to be called.
pub struct Trial {
    worker: runtime::Local,
    plugin: Arc<Plugin>,
    host: Rc<Host>,
    runs: Runs,
    _stores: Stores,
    took: Duration,
}

/// Who runs the calls.
enum Runs {
    /// One instance of a plugin of the JSON ABI, called as it is.
    Json(Box<Instance>),
    /// A foreign filter, as a worker has it: its calls go through its contexts.
    Foreign(Pools),
}

impl Trial {
    /// Loads the module and makes its instance. `equip` gives the loaded plugin what it may reach,
    /// as a gateway's control thread would.
    ///
    /// # Errors
    /// Why a gateway would not serve it.
    pub fn with_sink(
        wasm: &[u8],
        spec: PluginSpec,
        scene: Scene,
        equip: impl FnOnce(&Plugin) -> Result<Reach, String>,
        sink: Arc<dyn LogSink>,
    ) -> Result<Self, String> {
        Self::of(Self::load(wasm, spec, equip, sink)?, scene)
    }

    /// Loads the module, for any number of instances.
    ///
    /// # Errors
    /// Why it is not given what it may reach.
    pub fn load(
        wasm: &[u8],
        spec: PluginSpec,
        equip: impl FnOnce(&Plugin) -> Result<Reach, String>,
        sink: Arc<dyn LogSink>,
    ) -> Result<Arc<Plugin>, String> {
        let options =
            RuntimeOptions { instances_max: 2, log_sink: Some(sink), ..RuntimeOptions::default() };
        let runtime = Runtime::new(&options).map_err(|error| error.to_string())?;
        let mut plugin = runtime.load(spec, wasm);
        plugin.spec.reach = equip(&plugin)?;
        Ok(Arc::new(plugin))
    }

    /// An instance of a plugin that is loaded.
    ///
    /// # Errors
    /// Why it does not start.
    pub fn of(plugin: Arc<Plugin>, scene: Scene) -> Result<Self, String> {
        let mut worker = runtime::local().map_err(|error| format!("no event loop: {error}"))?;
        let stores = Stores::new();
        if plugin.is_resident() || plugin.is_handler() {
            return Self::of_foreign(worker, plugin, scene);
        }
        let (host, instance) = worker.block_on(async {
            let loaded = plugin.loaded()?;
            let sink = Arc::clone(&loaded.log_sink);
            let log = PluginLog::new(&plugin.spec.name, plugin.spec.log_level, sink);
            let store = plugin.spec.reach.state.as_ref().map(|state| stores.open(state));
            let mut host = Host::new(log, Rc::default(), store);
            host.scene = scene;
            let host = Rc::new(host);
            let instance = Instance::new(&plugin, loaded, &host).await;
            instance.map(|instance| (host, instance)).map_err(|error| error.text)
        })?;
        let runs = Runs::Json(Box::new(instance));
        Ok(Self { worker, plugin, host, runs, _stores: stores, took: Duration::ZERO })
    }

    fn of_foreign(
        mut worker: runtime::Local,
        plugin: Arc<Plugin>,
        scene: Scene,
    ) -> Result<Self, String> {
        let pools = Pools::in_scene(scene);
        let pool = pools.pool(&plugin).ok_or("it is not loaded")?;
        let host = Rc::clone(pool.host());
        let failures = worker.block_on(pools.prepare(&[Arc::clone(&plugin)]));
        if let Some(failure) = failures.into_iter().next() {
            return Err(failure.reason);
        }
        let (runs, stores) = (Runs::Foreign(pools), Stores::new());
        Ok(Self { worker, plugin, host, runs, _stores: stores, took: Duration::ZERO })
    }

    /// Puts an entry into the plugin's shared state.
    ///
    /// # Errors
    /// Why the store did not take it.
    pub fn remember(&mut self, key: &str, value: &str) -> Result<(), String> {
        let host = Rc::clone(&self.host);
        let Some(store) = &host.store else {
            return Ok(()); // a plugin that imports no function of the state
        };
        let set = store.set(key.as_bytes(), value.as_bytes(), None, host.scene.instant());
        self.worker.block_on(set).map_err(|error| error.to_string())
    }

    /// Sets the clock that the plugin sees.
    pub fn set_time(&self, time: Duration) {
        self.host.scene.set_time(time);
    }

    /// Calls the plugin with an input as a gateway would give it, made of a document as
    /// docs/plugin-abi.md describes it; its output as it wrote it.
    ///
    /// # Errors
    /// Why there is none that a gateway would take.
    pub fn call(&mut self, input: &Value) -> Result<String, String> {
        let mut given = self.given(input)?;
        if matches!(self.runs, Runs::Foreign(_)) {
            return self.run_foreign(&given);
        }
        let bytes = given.input(&self.plugin, input)?;
        let mut output = Vec::new();
        self.enter(given.phase, given.request_id, &bytes, &mut output)?;
        let text = String::from_utf8_lossy(&output).into_owned();
        given.check(&self.plugin, output).map_err(|error| format!("{error}; it is {text}"))?;
        Ok(text)
    }

    /// Calls the plugin with the same input again and again; how long each call took. What the
    /// gateway does before and after is not in it.
    ///
    /// # Errors
    /// Why one of the calls failed.
    pub fn repeat(&mut self, input: &Value, times: usize) -> Result<Vec<Duration>, String> {
        let mut given = self.given(input)?;
        let mut took = Vec::with_capacity(times);
        if matches!(self.runs, Runs::Foreign(_)) {
            for _ in 0..times {
                self.run_foreign(&given)?;
                took.push(self.took);
            }
            return Ok(took);
        }
        let bytes = given.input(&self.plugin, input)?;
        let mut output = Vec::new();
        for _ in 0..times {
            self.enter(given.phase, given.request_id, &bytes, &mut output)?;
            took.push(self.took);
        }
        Ok(took)
    }

    /// The instance of a plugin of the JSON ABI.
    fn json(&mut self) -> Result<&mut Instance, String> {
        match &mut self.runs {
            Runs::Json(instance) => Ok(instance),
            Runs::Foreign(_) => Err("it is a foreign filter".to_owned()),
        }
    }

    /// One phase of a foreign filter, in a context of its own.
    fn run_foreign(&mut self, given: &Given<'_>) -> Result<String, String> {
        let Self { worker, plugin, runs, took, .. } = self;
        let Runs::Foreign(pools) = runs else {
            return Err("it is no foreign filter".to_owned());
        };
        let called = Instant::now();
        let ran = worker.block_on(given.run_foreign(pools, plugin));
        *took = called.elapsed();
        ran.map_err(|error| error.text)
    }

    fn given<'i>(&self, document: &'i Value) -> Result<Given<'i>, String> {
        Given::read(&self.plugin, document, self.host.scene.annotate())
    }

    fn enter(
        &mut self,
        phase: Phase,
        request_id: &str,
        input: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<(), String> {
        let Self { worker, plugin, runs: Runs::Json(instance), took, .. } = self else {
            return Err("it is a foreign filter".to_owned());
        };
        let is_early = plugin.runs_in(phase) && !plugin.spec.kind.runs_in(phase);
        let entry = if is_early { Entry::OnRequest } else { Entry::Execute };
        worker.block_on(async {
            let called = Instant::now();
            let deadline = called + plugin.spec.timeout;
            let ids = Ids { request: request_id, trace: "" };
            let most = MessageBounds::DEFAULT.output_bytes_max();
            let running =
                json_abi::call_instance(instance, entry, input, ids, deadline, most, output);
            let result = running.await;
            *took = called.elapsed();
            result.map_err(|error| error.text)
        })
    }

    /// How long it takes to make another instance, which is dropped again.
    ///
    /// # Errors
    /// Why it does not start.
    pub fn instantiate(&mut self) -> Result<Duration, String> {
        let Self { worker, plugin, host, .. } = self;
        let loaded = plugin.loaded()?;
        worker.block_on(async {
            let started = Instant::now();
            let made = Instance::new(plugin, loaded, host).await;
            made.map(|_instance| started.elapsed()).map_err(|error| error.text)
        })
    }

    /// How long the last call took.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Bytes of the plugin's memory now.
    pub fn memory_bytes(&self) -> usize {
        match &self.runs {
            Runs::Json(instance) => instance.memory_bytes(),
            Runs::Foreign(pools) => {
                let mut bytes = 0;
                pools.stats(|_, stats| bytes += stats.memory_bytes as usize);
                bytes
            }
        }
    }

    /// Lets the plugin clean up.
    ///
    /// # Errors
    /// Why its `cleanup` failed.
    pub fn end(mut self) -> Result<(), String> {
        let Self { worker, runs, .. } = &mut self;
        match runs {
            Runs::Json(instance) => worker.block_on(instance.cleanup()),
            Runs::Foreign(pools) => {
                worker.block_on(pools.end());
                Ok(())
            }
        }
        .map_err(|error| error.text)
    }
}
