//! How a push goes, by what nodes report: whether those that go first do well, and whether all have
//! followed. Pure: reports and the clock are arguments.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::store::Report;

/// What of a canary is a failure.
#[derive(Debug, Clone, Copy)]
pub struct Bar {
    /// How long nodes may take to apply the revision.
    pub wait: Duration,
    /// How long all of them must do well with it.
    pub hold: Duration,
    /// The share of 5xx, in percent, that is too much.
    pub errors_percent: u64,
}

/// Fewer requests say nothing of the share that fails.
const TELLING_REQUESTS: u64 = 20;

/// Nodes that go first.
#[derive(Debug)]
pub struct Canary {
    revision: u64,
    /// How each was before.
    before: BTreeMap<String, String>,
    began: Instant,
    /// Since when all have applied it.
    all_since: Option<Instant>,
    bar: Bar,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Go on watching.
    Wait,
    /// The others may follow.
    Promote,
    /// The others stay, and those that went first go back: for this reason.
    Stop(String),
}

impl Canary {
    /// Picks `count` nodes that run the current revision and are well, by name.
    ///
    /// # Errors
    /// There are not so many.
    pub fn pick(
        reports: &[Report],
        count: usize,
        current: u64,
        revision: u64,
        bar: Bar,
        now: Instant,
    ) -> Result<Self, String> {
        let is_well = |report: &&Report| {
            report.applied == current
                && report.refused.is_none()
                && ["ready", "degraded"].contains(&report.health.as_str())
        };
        let well: Vec<&Report> = reports.iter().filter(is_well).collect();
        if well.len() < count {
            return Err(format!(
                "{count} nodes shall go first, but of {} nodes only {} run revision {current} and \
                 are ready; odin-cli fleet status shows them",
                reports.len(),
                well.len()
            ));
        }
        let picked = well.into_iter().take(count);
        let before = picked.map(|report| (report.node.clone(), report.health.clone())).collect();
        Ok(Self { revision, before, began: now, all_since: None, bar })
    }

    /// Who goes first.
    pub fn nodes(&self) -> Vec<String> {
        self.before.keys().cloned().collect()
    }

    /// Judges what all nodes report at `now`.
    pub fn judge(&mut self, reports: &[Report], now: Instant) -> Verdict {
        let mut waiting = Vec::new();
        for (node, health) in &self.before {
            let Some(report) = reports.iter().find(|report| report.node == *node) else {
                return Verdict::Stop(format!("{node} is gone"));
            };
            if report.refused == Some(self.revision) {
                let reason = report.reason.as_deref().unwrap_or("it does not say why");
                return Verdict::Stop(format!("{node} refused it: {reason}"));
            }
            if report.applied != self.revision {
                waiting.push(node.as_str());
                continue;
            }
            if let Some(why) = self.is_worse(report, health) {
                return Verdict::Stop(format!("{node} {why}"));
            }
        }
        if !waiting.is_empty() {
            self.all_since = None;
            if now.saturating_duration_since(self.began) > self.bar.wait {
                let (who, wait) = (waiting.join(", "), self.bar.wait);
                return Verdict::Stop(format!("{who}: not applied within {wait:?}"));
            }
            return Verdict::Wait;
        }
        let since = *self.all_since.get_or_insert(now);
        match now.saturating_duration_since(since) >= self.bar.hold {
            true => Verdict::Promote,
            false => Verdict::Wait,
        }
    }

    fn is_worse(&self, report: &Report, before: &str) -> Option<String> {
        if report.health != before && report.health != "ready" {
            let problems = report.problems.join("; ");
            return Some(format!("is {} with it (it was {before}): {problems}", report.health));
        }
        let (requests, errors) = (report.requests, report.errors);
        let is_telling = requests >= TELLING_REQUESTS;
        if is_telling && errors * 100 > requests * self.bar.errors_percent {
            return Some(format!("answered {errors} of {requests} requests by 5xx with it"));
        }
        None
    }
}

/// How far a revision has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Who serves it.
    pub applied: Vec<String>,
    /// Who refused it, and why.
    pub refused: Vec<(String, String)>,
    /// Of whom neither is known yet, and what they serve.
    pub pending: Vec<(String, u64)>,
}

/// Of a revision that all nodes shall serve.
pub fn progress(reports: &[Report], revision: u64) -> Progress {
    let mut progress = Progress::default();
    for report in reports {
        let node = report.node.clone();
        if report.applied == revision {
            progress.applied.push(node);
        } else if report.refused == Some(revision) {
            progress.refused.push((node, report.reason.clone().unwrap_or_default()));
        } else {
            progress.pending.push((node, report.applied));
        }
    }
    progress
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAR: Bar =
        Bar { wait: Duration::from_secs(60), hold: Duration::from_secs(10), errors_percent: 10 };

    fn node(name: &str, applied: u64) -> Report {
        let health = "ready".to_owned();
        Report { node: name.to_owned(), applied, health, ..Report::default() }
    }

    fn nodes() -> Vec<Report> {
        vec![node("a", 41), node("b", 41), node("c", 41)]
    }

    fn begun() -> (Canary, Vec<Report>, Instant) {
        let now = Instant::now();
        let nodes = nodes();
        (Canary::pick(&nodes, 2, 41, 42, BAR, now).unwrap(), nodes, now)
    }

    #[test]
    fn those_that_are_well_go_first() {
        let mut nodes = nodes();
        nodes[0].health = "not ready".to_owned();
        let pick = |nodes: &[Report], count| {
            Canary::pick(nodes, count, 41, 42, BAR, Instant::now()).map(|canary| canary.nodes())
        };
        assert_eq!(pick(&nodes, 2).unwrap(), ["b", "c"]);
        assert!(pick(&nodes, 3).unwrap_err().contains("of 3 nodes only 2 run revision 41"));
        nodes[1].applied = 40;
        assert_eq!(pick(&nodes, 1).unwrap(), ["c"]);
    }

    #[test]
    fn the_others_follow_when_all_have_done_well_for_some_time() {
        let (mut canary, mut nodes, now) = begun();
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(canary.judge(&nodes, now), Verdict::Wait);
        nodes[0].applied = 42;
        assert_eq!(canary.judge(&nodes, after(5)), Verdict::Wait);
        nodes[1].applied = 42;
        assert_eq!(canary.judge(&nodes, after(20)), Verdict::Wait);
        assert_eq!(canary.judge(&nodes, after(29)), Verdict::Wait);
        assert_eq!(canary.judge(&nodes, after(30)), Verdict::Promote);
    }

    #[test]
    fn whatever_goes_wrong_stops_it_with_its_reason() {
        let stopped = |change: fn(&mut Vec<Report>), seconds, want: &str| {
            let (mut canary, mut nodes, now) = begun();
            nodes[0].applied = 42;
            nodes[1].applied = 42;
            change(&mut nodes);
            let verdict = canary.judge(&nodes, now + Duration::from_secs(seconds));
            assert!(matches!(&verdict, Verdict::Stop(why) if why.contains(want)), "{verdict:?}");
        };
        stopped(|nodes| drop(nodes.remove(0)), 1, "a is gone");
        stopped(
            |nodes| {
                nodes[1] = Report {
                    refused: Some(42),
                    reason: Some("NAME is not set".to_owned()),
                    ..node("b", 41)
                };
            },
            1,
            "b refused it: NAME is not set",
        );
        stopped(|nodes| nodes[0].health = "not ready".to_owned(), 1, "a is not ready with it");
        stopped(|nodes| nodes[1].applied = 41, 61, "b: not applied within 60s");
        stopped(|nodes| (nodes[0].requests, nodes[0].errors) = (20, 3), 1, "3 of 20 requests");
    }

    #[test]
    fn what_was_so_before_is_no_fault_of_the_revision() {
        let now = Instant::now();
        let mut nodes = nodes();
        nodes[0].health = "degraded".to_owned();
        let mut canary = Canary::pick(&nodes, 1, 41, 42, BAR, now).unwrap();
        nodes[0].applied = 42;
        (nodes[0].requests, nodes[0].errors) = (19, 19);
        assert_eq!(canary.judge(&nodes, now), Verdict::Wait);
        nodes[0].health = "ready".to_owned();
        (nodes[0].requests, nodes[0].errors) = (100, 10);
        assert_eq!(canary.judge(&nodes, now + BAR.hold), Verdict::Promote);
    }

    #[test]
    fn each_node_is_counted_once() {
        let mut nodes = nodes();
        nodes[0].applied = 42;
        (nodes[1].refused, nodes[1].reason) = (Some(42), Some("why".to_owned()));
        let progress = progress(&nodes, 42);
        assert_eq!(progress.applied, ["a"]);
        assert_eq!(progress.refused, [("b".to_owned(), "why".to_owned())]);
        assert_eq!(progress.pending, [("c".to_owned(), 41)]);
    }
}
