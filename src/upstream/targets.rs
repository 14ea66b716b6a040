//! What one worker knows of targets and of the services that send to them. It belongs to the
//! target, not to the snapshot: a reload changes nothing of what is still there.

use std::cell::RefCell;

use super::admission::Admission;

/// See the module's text. Never leaves its worker.
#[derive(Debug, Default)]
pub struct Targets {
    /// How many turns each cluster has had, by `Endpoints::id`.
    turns: RefCell<Vec<usize>>,
    /// Where a cluster begins that had none.
    start: usize,
    admission: Admission,
}

impl Targets {
    /// Of a worker that begins at this place. Workers begin at different ones: few requests must
    /// not all meet the first endpoint.
    pub fn starting_at(start: usize) -> Self {
        Self { start, ..Self::default() }
    }

    /// The requests under way.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// The turn of a cluster, which this takes.
    pub fn turn(&self, cluster: usize) -> usize {
        let mut turns = self.turns.borrow_mut();
        if turns.len() <= cluster {
            turns.resize(cluster + 1, self.start);
        }
        let turn = turns[cluster];
        turns[cluster] = turn.wrapping_add(1);
        turn
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
