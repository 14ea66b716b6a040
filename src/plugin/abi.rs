//! The plugin ABIs: which one a module speaks, and what each does at the points where the chain,
//! the pool and an instance meet a guest.
//!
//! Everything else in this room knows phases, verdicts and instances.

use std::sync::Arc;

use wasmtime::{Func, Module, Store};

use super::chain::{BodySlot, Carried, Facts, Subject, Verdict};
use super::failure::CallError;
use super::json_abi;
use super::module::Plugin;
use super::pool::Pools;
use super::spec::PluginSpec;
use super::state::HostState;

/// How a module is spoken to, and what its exports say within that.
#[derive(Debug, Clone)]
pub(super) enum Abi {
    /// docs/plugin-abi.md: `execute`, JSON in and out.
    Json(json_abi::Shape),
}

impl Abi {
    /// Which ABI a module speaks, by what it exports; or why it cannot be called.
    pub(super) fn inspect(module: &Module, wasm: &[u8], spec: &PluginSpec) -> Result<Self, String> {
        let mut exports = module.exports();
        if let Some(export) = exports.find(|it| it.name().starts_with("proxy_abi_version_")) {
            let name = export.name();
            return Err(format!(
                "the module is a proxy-wasm filter (it exports {name}); proxy-wasm is not \
                 supported yet, only the JSON ABI (docs/plugin-abi.md)"
            ));
        }
        json_abi::inspect(module, wasm, spec).map(Self::Json)
    }

    /// In words, for the plugin's author.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Json(shape) => shape.describe(),
        }
    }

    /// Whether a plugin of type `response` is asked before the service is, too.
    pub(super) fn answers_requests(&self) -> bool {
        match self {
            Self::Json(shape) => shape.on_request.is_some(),
        }
    }

    /// Brings a fresh instance to life.
    pub(super) async fn start(
        &self,
        instance: &wasmtime::Instance,
        store: &mut Store<HostState>,
    ) -> Result<Guest, CallError> {
        match self {
            Self::Json(shape) => {
                json_abi::Guest::start(shape, instance, store).await.map(Guest::Json)
            }
        }
    }
}

/// What is called of a started instance.
pub(super) enum Guest {
    Json(json_abi::Guest),
}

impl Guest {
    /// What is called before the instance is freed.
    pub(super) fn cleanup(&self) -> Option<Func> {
        match self {
            Self::Json(guest) => guest.cleanup,
        }
    }

    /// As a guest of the JSON ABI.
    pub(super) fn json(&mut self) -> Result<&mut json_abi::Guest, CallError> {
        match self {
            Self::Json(guest) => Ok(guest),
        }
    }
}

/// What the ABIs keep for one run of a chain.
pub(super) type Draft = json_abi::Draft;

/// Runs one phase of one plugin, and does what it says. An error has changed nothing.
pub(super) async fn run_phase(
    pools: &Pools,
    plugin: &Arc<Plugin>,
    facts: &Facts<'_>,
    subject: &mut Subject<'_>,
    body: &mut BodySlot,
    carried: &mut Carried,
    draft: &mut Draft,
) -> Result<Verdict, CallError> {
    json_abi::call(pools, plugin, facts, subject, body, carried, draft).await
}
