//! What a change touches. A change is judged by that, and nothing else comes with it: a name that
//! moves must not be held up by the file of a plugin, nor make somebody's unfinished edit live.

use std::sync::Arc;

use super::super::config;
use super::Failure;
use crate::snapshot::Snapshot;
use crate::upstream::cluster::Cluster;

/// What is compiled anew. The rest is taken over from the published snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// What the names of targets lead to.
    Addresses,
    /// The plugin of this name, which may be gone.
    Plugin(String),
}

impl Scope {
    /// Whether a plugin stays as it is.
    pub fn keeps_plugin(&self, name: &str) -> bool {
        match self {
            Self::All => false,
            Self::Addresses => true,
            Self::Plugin(changed) => changed != name,
        }
    }

    /// The endpoints of a service, if they stay as they are.
    pub(super) fn kept_cluster(
        &self,
        service: &config::Service,
        published: Option<&Snapshot>,
    ) -> Option<Arc<Cluster>> {
        let Self::Plugin(_) = self else { return None };
        let kept = published?.service_named(&service.name)?;
        Some(Arc::clone(&kept.cluster))
    }

    /// What does not work after a change: of what it does not touch, what did not work before.
    pub fn failures(&self, before: &[Failure], found: Vec<Failure>) -> Vec<Failure> {
        let is_touched = |what: &str| match self {
            Self::All => true,
            Self::Addresses => what.starts_with("service "),
            Self::Plugin(name) => what.strip_prefix("plugin ") == Some(name),
        };
        let kept = before.iter().filter(|failure| !is_touched(&failure.what));
        kept.cloned().chain(found).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_change_does_not_touch_fails_as_before() {
        let failure = |what: &str, reason: &str| Failure {
            what: what.to_owned(),
            part: None,
            reason: reason.to_owned(),
            effect: String::new(),
            refuses: true,
        };
        let before =
            [failure("service a", "1"), failure("plugin p", "1"), failure("plugin q", "1")];
        let told = |scope: &Scope, found: Vec<Failure>| {
            let failures = scope.failures(&before, found);
            failures.iter().map(|one| format!("{} {}", one.what, one.reason)).collect::<Vec<_>>()
        };
        assert_eq!(told(&Scope::All, vec![failure("plugin p", "2")]), ["plugin p 2"]);
        assert_eq!(told(&Scope::Addresses, Vec::new()), ["plugin p 1", "plugin q 1"]);
        let scope = Scope::Plugin("p".to_owned());
        let found = vec![failure("plugin p", "2")];
        assert_eq!(told(&scope, found), ["service a 1", "plugin q 1", "plugin p 2"]);
        assert!(scope.keeps_plugin("q") && !scope.keeps_plugin("p"));
    }
}
