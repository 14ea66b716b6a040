//! What one worker offers to the instances of one plugin: its log, its way out, its shared state,
//! its own metrics. One per plugin and worker, shared by all instances, never leaves its thread.

use std::cell::RefCell;
use std::rc::Rc;

use super::log::PluginLog;
use super::metrics::Metrics;
use super::scene::Scene;
use crate::kv::Store;
use crate::upstream::call::Client;

/// See the module's text.
pub(super) struct Host {
    pub(super) log: PluginLog,
    pub(super) client: Rc<Client>,
    /// `None`: the plugin imports no function of the state, or was given none.
    pub(super) store: Option<Store>,
    pub(super) metrics: RefCell<Metrics>,
    /// The world, but in an author's tests.
    pub(super) scene: Scene,
}

impl Host {
    pub(super) fn new(log: PluginLog, client: Rc<Client>, store: Option<Store>) -> Self {
        Self { log, client, store, metrics: RefCell::default(), scene: Scene::default() }
    }
}
