//! What one worker knows of targets and of the services that send to them. It belongs to the
//! target, not to the snapshot: a reload changes nothing of what is still there.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::admission::Admission;
use super::balance::mix;
use super::budget::Budget;
use super::cluster::{Endpoint, Endpoints};
use super::condition::{Condition, Reason};
use super::ejection::{Outlier, Sign};
use crate::io::deadline::now_ms;

/// See the module's text. Never leaves its worker.
#[derive(Debug, Default)]
pub struct Targets {
    /// By `Endpoints::id`.
    clusters: RefCell<Vec<Cluster>>,
    /// Where a cluster begins that had none.
    start: usize,
    random: Cell<u64>,
    admission: Admission,
}

/// What is known of a service's endpoints as a whole.
#[derive(Debug, Clone, Default)]
struct Cluster {
    /// How many turns it has had.
    turns: usize,
    /// How many more tries its requests may make.
    budget: Budget,
}

/// What is under way at a target, as long as this lives.
#[derive(Debug)]
pub struct Hold {
    targets: Rc<Targets>,
    target: usize,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.targets.admission.release(self.target);
    }
}

impl Targets {
    /// Of a worker that begins at this place. Workers begin at different ones: few requests must
    /// not all meet the first endpoint.
    pub fn starting_at(start: usize) -> Self {
        // The system's generator fails only before it has its first entropy; then workers differ
        // by their numbers.
        let seed = getrandom::u64().unwrap_or_default().wrapping_add(start as u64);
        Self { start, random: Cell::new(seed), ..Self::default() }
    }

    /// The requests under way.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Counts one more request at a target as under way, whatever room there is: one that was
    /// admitted goes on as a tunnel.
    pub fn hold(self: &Rc<Self>, target: usize) -> Hold {
        self.admission.hold(target);
        Hold { targets: self.clone(), target }
    }

    /// The turn of a cluster, which this takes.
    pub fn turn(&self, cluster: usize) -> usize {
        let mut clusters = self.clusters.borrow_mut();
        if clusters.len() <= cluster {
            clusters.resize(cluster + 1, Cluster { turns: self.start, ..Cluster::default() });
        }
        let cluster = &mut clusters[cluster];
        let turn = cluster.turns;
        cluster.turns = turn.wrapping_add(1);
        turn
    }

    /// A number that nobody needs to be unable to guess: which endpoint is drawn.
    pub(super) fn random(&self) -> u64 {
        let next = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(next);
        mix(next)
    }

    /// What a cluster's requests may spend on more tries.
    pub(super) fn with_budget<T>(
        &self,
        cluster: usize,
        see: impl FnOnce(&mut Budget) -> T,
    ) -> Option<T> {
        self.clusters.borrow_mut().get_mut(cluster).map(|cluster| see(&mut cluster.budget))
    }

    /// Notes what a try said of its target, and ejects it for that if its service says so.
    #[cold]
    pub(super) fn note(&self, endpoints: &Endpoints, endpoint: &Endpoint, sign: Sign) {
        let Some(policy) = &endpoints.policy().outlier else { return };
        let now_ms = now_ms();
        if let Some(reason) = self.admission.note(endpoint.target, sign, policy, now_ms) {
            eject(endpoints, &endpoint.condition, policy, reason, now_ms);
        }
    }
}

impl Targets {
    /// The same of a try that was to find out whether an ejected target is back. It is not: it is
    /// ejected once more, for longer, also if the head of its answer had looked well.
    #[cold]
    pub(super) fn note_trial(&self, endpoints: &Endpoints, endpoint: &Endpoint, sign: Sign) {
        let reason = match sign {
            Sign::Bad => Reason::ConsecutiveErrors,
            Sign::Unsent(reason) => reason,
            Sign::Good | Sign::Nothing => return,
        };
        self.note(endpoints, endpoint, sign);
        if let Some(policy) = &endpoints.policy().outlier {
            eject(endpoints, &endpoint.condition, policy, reason, now_ms());
        }
    }
}

/// Ejects a target, unless so many of its service are ejected already that the others have to bear
/// all of its load. One that takes no connections is never asked in vain for their sake: all that
/// was sent to it would be sent to them at last.
fn eject(
    endpoints: &Endpoints,
    condition: &Condition,
    policy: &Outlier,
    reason: Reason,
    now_ms: u64,
) {
    let others = endpoints.iter().filter(|other| *other.condition != *condition);
    let ejected = others.filter(|other| other.condition.is_ejected()).count();
    let has_room = condition.is_ejected() || ejected < policy.ejected_max(endpoints.len());
    if has_room || reason.is_unsent() {
        condition.eject(now_ms, policy.ejection_for(reason), reason);
    }
}

#[cfg(test)]
mod tests {
    use super::Targets;

    #[test]
    fn every_cluster_has_turns_of_its_own_and_workers_begin_apart() {
        let targets = Targets::starting_at(3);
        assert_eq!([targets.turn(0), targets.turn(0), targets.turn(5)], [3, 4, 3]);
    }
}
