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
    /// Whose turn it is, by service.
    turns: RefCell<Vec<usize>>,
}

impl Host {
    pub(super) fn new(log: PluginLog, client: Rc<Client>, store: Option<Store>) -> Self {
        let (metrics, turns) = (RefCell::default(), RefCell::default());
        Self { log, client, store, metrics, scene: Scene::default(), turns }
    }

    /// Hands `take` the place that this plugin has reached in the turns of a service.
    pub(super) fn turn<T>(&self, service: usize, take: impl FnOnce(&mut usize) -> T) -> T {
        let mut turns = self.turns.borrow_mut();
        if turns.len() <= service {
            // Workers start at different endpoints: few calls must not all meet the first one.
            let start = getrandom::u32().unwrap_or(0) as usize;
            turns.resize(service + 1, start);
        }
        take(&mut turns[service])
    }
}
