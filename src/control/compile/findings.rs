//! What is found wrong while a configuration is compiled: warnings, and what does not work.

use super::super::config::Variables;
use crate::plugin::FailureMode;

/// What is wrong with parts of a configuration.
#[derive(Debug, Default)]
pub struct Findings {
    /// Worth a line in the log.
    pub warnings: Vec<String>,
    /// What keeps a plugin or a target from working. At start its requests are answered by the
    /// failure mode or with 502; a reload that brings a new one is refused.
    pub failures: Vec<Failure>,
    /// Why it must not be run at all: neither at start nor by a reload.
    pub refusals: Vec<String>,
}

/// A plugin or a target that does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// `plugin NAME` or `service NAME`.
    pub what: String,
    /// Which part of it, where there are several: a target.
    pub part: Option<String>,
    /// Why, in words.
    pub reason: String,
    /// What that means for requests.
    pub effect: String,
    /// Whether requests are refused because of it.
    pub refuses: bool,
}

impl Failure {
    /// Whether this is `earlier`, seen again. Name servers find many words for one failure, and
    /// what it means for requests depends on others.
    pub fn is_again(&self, earlier: &Self) -> bool {
        let is_same_reason = self.part.is_some() || self.reason == earlier.reason;
        self.what == earlier.what && self.part == earlier.part && is_same_reason
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}; {}", self.what, self.reason, self.effect)
    }
}

impl Findings {
    pub(super) fn failed(&mut self, plugin: &str, reason: String, mode: FailureMode) {
        let (effect, refuses) = match mode {
            FailureMode::Open => ("its requests go on without it", false),
            FailureMode::Closed => ("its requests are refused", true),
        };
        let (what, effect) = (format!("plugin {plugin}"), effect.to_owned());
        self.failures.push(Failure { what, part: None, reason, effect, refuses });
    }

    /// Shows nothing of what variables hold.
    pub(super) fn hide(&mut self, variables: &Variables) {
        let reasons = self.failures.iter_mut().map(|failure| &mut failure.reason);
        for text in self.warnings.iter_mut().chain(&mut self.refusals).chain(reasons) {
            *text = variables.hide(text);
        }
    }

    pub(in crate::control) fn no_access_log(&mut self, reason: String) {
        let (what, effect) =
            ("logging.accessLog".to_owned(), "no access log is written".to_owned());
        self.failures.push(Failure { what, part: None, reason, effect, refuses: false });
    }

    /// Of a service with these targets that have no address (what they are, why) and others that
    /// have some, or none.
    pub(super) fn unreachable(
        &mut self,
        service: &str,
        targets: Vec<(String, String)>,
        has_others: bool,
    ) {
        let effect = match has_others {
            true => "requests go to its other targets",
            false => "requests to it get 502",
        };
        self.failures.extend(targets.into_iter().map(|(target, reason)| Failure {
            what: format!("service {service}"),
            part: Some(target),
            reason,
            effect: effect.to_owned(),
            refuses: !has_others,
        }));
    }
}
