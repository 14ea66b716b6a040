//! The one instance of a plugin that all exchanges of a worker share: made once, whoever asks
//! first; replaced when it has failed.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::super::failure::CallError;
use super::super::host::Host;
use super::super::log::Ids;
use super::super::module::Plugin;
use super::super::proxy_wasm::Filter;
use super::super::spec::LogLevel;
use super::health::CallHealth;
use super::lease::Place;
use super::{Grant, Pool};

impl Pool {
    /// The plugin's instance, made if there is none.
    pub(in crate::plugin) async fn filter(
        self: &Rc<Self>,
        deadline: Instant,
    ) -> Result<Rc<Filter>, CallError> {
        loop {
            if let Some(filter) = &*self.resident.borrow() {
                return Ok(Rc::clone(filter));
            }
            if !self.is_making.replace(true) {
                let making = Making(self);
                let instance = self.instantiate(Place::take(self)).await;
                let filter = instance.map(|instance| Filter::new(self, instance));
                if let Ok(filter) = &filter
                    && !self.retired.get()
                {
                    *self.resident.borrow_mut() = Some(Rc::clone(filter));
                }
                drop(making);
                if let (Ok(filter), true) = (&filter, self.retired.get()) {
                    // For the exchange alone that still holds an old snapshot.
                    filter.retire_when_unused();
                }
                return filter;
            }
            match self.awaiting.wait(deadline).await {
                Some(Grant::Place | Grant::Instance(())) => {}
                None => {
                    let text = "plugin execution timeout: its instance did not start in time";
                    return Err(CallError::new(super::ErrorKind::Timeout, text));
                }
            }
        }
    }

    /// An instance for one exchange alone.
    pub(in crate::plugin) async fn filter_of_its_own(
        self: &Rc<Self>,
    ) -> Result<Rc<Filter>, CallError> {
        let limit = self.limit();
        if self.live.get() >= limit {
            return Err(CallError::refused(format!(
                "all {limit} instances on this worker are in use (maxInstances)"
            )));
        }
        let filter = Filter::new(self, self.instantiate(Place::take(self)).await?);
        filter.retire_when_unused();
        Ok(filter)
    }

    /// The log learns of what a plugin says of itself.
    pub(in crate::plugin) fn say(&self, ids: Ids<'_>, text: &str) {
        self.host.log.gateway(LogLevel::Warn, ids, text);
    }

    /// The plugin.
    pub(in crate::plugin) fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    /// What the worker offers to it.
    pub(in crate::plugin) fn host(&self) -> &Rc<Host> {
        &self.host
    }

    /// Whether the worker makes no tasks any more.
    pub(in crate::plugin) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// A call has ended, well or not.
    pub(in crate::plugin) fn note_health(&self, is_good: bool) {
        let health = match is_good {
            true => CallHealth::default(),
            false => self.health.get().after_failure(Instant::now()),
        };
        self.health.set(health);
    }

    /// The log learns of a failure that no request pays for.
    pub(in crate::plugin) fn tell(&self, level: LogLevel, error: &CallError) {
        let kind = error.kind.as_str();
        self.host.log.gateway(level, Ids::default(), &format!("{error} (kind {kind})"));
    }

    /// The same, and it is counted.
    pub(in crate::plugin) fn tell_failed(&self, error: &CallError) {
        self.stats.borrow_mut().count_error(error.kind);
        self.tell(LogLevel::Error, error);
    }

    /// The instance has failed: another takes its place, made in the background.
    pub(in crate::plugin) fn filter_failed(self: &Rc<Self>, filter: &Rc<Filter>) {
        self.stats.borrow_mut().instances_discarded += 1;
        let is_it = self.resident.borrow().as_ref().is_some_and(|it| Rc::ptr_eq(it, filter));
        if is_it {
            *self.resident.borrow_mut() = None;
        }
        if self.closed.get() || self.retired.get() {
            return;
        }
        let pool = Rc::clone(self);
        crate::io::spawn(async move {
            let deadline = Instant::now() + pool.plugin.spec.timeout;
            // Its failure is in the log; the next call learns of it.
            let _told = pool.filter(deadline).await;
        });
    }

    /// An instance is no more.
    pub(in crate::plugin) fn filter_gone(&self) {
        self.live.set(self.live.get().saturating_sub(1));
    }
}

/// The instance is being made, until this is dropped; others may try then.
struct Making<'a>(&'a Rc<Pool>);

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.is_making.set(false);
        if !self.0.closed.get() {
            self.0.awaiting.grant_room_to_all();
        }
    }
}
