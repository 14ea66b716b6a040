//! One loaded plugin: its module, compiled and inspected, or why there is none.

use super::spec::{Phase, PluginSpec, PluginType};

/// A plugin of a snapshot. One whose module could not be loaded is a plugin all the same: its
/// failure mode decides every request that it applies to.
#[derive(Debug)]
pub struct Plugin {
    /// What the configuration says of it.
    pub spec: PluginSpec,
    reason: Option<String>,
}

impl Plugin {
    /// A plugin whose module is not there: the file is missing, its checksum is wrong.
    pub fn failed(spec: PluginSpec, reason: impl Into<String>) -> Self {
        Self {
            spec,
            reason: Some(reason.into()),
        }
    }

    /// Why the module could not be loaded; `None` if it was.
    pub fn load_error(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Whether it is called in `phase`.
    pub fn runs_in(&self, phase: Phase) -> bool {
        self.spec.kind.runs_in(phase)
    }

    /// Whether the body of `phase` has to be collected for it.
    pub fn takes_body_in(&self, phase: Phase) -> bool {
        self.reason.is_none()
            && self.spec.wants_body
            && self.spec.kind.runs_in(phase)
            && self.spec.kind != PluginType::Aggregation
    }
}
