//! What the control thread does for targets: it checks them where their service says so
//! (`targets/check.rs`), finds out when one that takes no connections takes them again, and says in
//! the log how they stand when that changes. What it finds is published as atomics of each target.

mod ask;
mod check;
mod told;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::reload::Control;
use crate::io::deadline::now_ms;
use crate::limits::{CHECK_TIMEOUT, CONNECT_EJECTION, TARGETS_CARRIED_MAX, TARGETS_WATCH_INTERVAL};
use crate::snapshot::Snapshot;
use crate::upstream::cluster::{Cluster, Endpoint, Endpoints};
use crate::upstream::condition::{Carried, Standing};
use ask::connect;
use check::Checks;
pub use told::{Target, panicking, targets};

/// Watches over the targets of whatever runs, for as long as it is polled.
pub async fn run(control: &Control) {
    let (mut checks, mut probes, mut told) =
        (Checks::default(), Probes::default(), Told::default());
    let mut looked: Option<Instant> = None;
    loop {
        let running = control.running();
        checks.follow(&running.config, &running.snapshot);
        if looked.is_none_or(|at| at.elapsed() >= TARGETS_WATCH_INTERVAL) {
            looked = Some(Instant::now());
            probes.start(&running.snapshot);
            told.look(&running.snapshot);
        }
        let due = checks.start().min(TARGETS_WATCH_INTERVAL);
        tokio::select! {
            () = tokio::time::sleep(due) => {}
            Some(done) = checks.next() => {
                let words = checks.note(done);
                words.into_iter().for_each(|(target, words)| control.note_check(target, words));
            }
            Some(done) = probes.next() => probes.note(done),
        }
    }
}

/// The services of a snapshot that have endpoints.
pub(super) fn clusters(snapshot: &Snapshot) -> impl Iterator<Item = (&str, &Endpoints)> {
    snapshot.services.iter().filter_map(|service| match &*service.cluster {
        Cluster::Endpoints(endpoints) => Some((service.name.as_str(), endpoints)),
        Cluster::Echo => None,
    })
}

/// Connections to targets that took none: the first that is taken ends the ejection, and no request
/// has to find out in vain.
#[derive(Default)]
struct Probes {
    under_way: HashMap<usize, Endpoint>,
    last: HashMap<usize, Instant>,
    tasks: JoinSet<(usize, bool)>,
}

impl Probes {
    fn start(&mut self, snapshot: &Snapshot) {
        self.last.retain(|_, at| at.elapsed() < CONNECT_EJECTION);
        for endpoint in clusters(snapshot).flat_map(|(_, endpoints)| endpoints.iter()) {
            if endpoint.condition.is_plain() {
                continue;
            }
            let told = endpoint.condition.told(now_ms());
            let is_due = told.standing == Standing::Ejected
                && told.reason.is_unsent()
                && !self.under_way.contains_key(&endpoint.target)
                && !self.last.contains_key(&endpoint.target);
            if is_due {
                self.last.insert(endpoint.target, Instant::now());
                self.under_way.insert(endpoint.target, endpoint.clone());
                let (target, address) = (endpoint.target, endpoint.address.clone());
                self.tasks.spawn(async move {
                    let taken = tokio::time::timeout(CHECK_TIMEOUT, connect(&address)).await;
                    (target, matches!(taken, Ok(Ok(_))))
                });
            }
        }
    }

    async fn next(&mut self) -> Option<(usize, bool)> {
        loop {
            match self.tasks.join_next().await? {
                Ok(done) => return Some(done),
                // It did not panic; whatever ended it, another one is made.
                Err(_) => self.under_way.clear(),
            }
        }
    }

    fn note(&mut self, (target, is_taken): (usize, bool)) {
        let Some(endpoint) = self.under_way.remove(&target) else { return };
        match is_taken {
            true => endpoint.condition.end_ejection(now_ms()),
            // Until after the next probe.
            false => endpoint.condition.hold(now_ms(), CONNECT_EJECTION * 2),
        }
    }
}

/// How targets and services stood when that was last said.
#[derive(Default)]
struct Told {
    targets: HashMap<usize, Standing>,
    panics: HashMap<String, bool>,
}

impl Told {
    fn look(&mut self, snapshot: &Snapshot) {
        let now = now_ms();
        let (mut targets, mut panics) = (HashMap::new(), HashMap::new());
        for (service, endpoints) in clusters(snapshot) {
            for endpoint in endpoints.iter() {
                let told = endpoint.condition.told(now);
                let before = targets.insert(endpoint.target, told.standing);
                let before = before.or_else(|| self.targets.get(&endpoint.target).copied());
                // Nothing is said of one that is warm at last, or has been well since the start.
                let was_well = before.is_none_or(Standing::is_well);
                let (target, reason) = (&endpoint.url, told.reason.as_str());
                let standing = told.standing.as_str();
                match (was_well, told.standing.is_well()) {
                    (true, false) => {
                        tracing::warn!(%service, %target, %reason, "target is {standing}");
                    }
                    (false, true) => tracing::info!(%service, %target, "target is back"),
                    (false, false) if before != Some(told.standing) => {
                        tracing::warn!(%service, %target, %reason, "target is {standing}");
                    }
                    _ => {}
                }
            }
            let panics_now = endpoints.is_in_panic(now);
            panics.insert(service.to_owned(), panics_now);
            match (self.panics.get(service).copied().unwrap_or(false), panics_now) {
                (false, true) => tracing::error!(
                    %service, "all of its targets are sick: requests go to all of them"
                ),
                (true, false) => tracing::info!(%service, "it has targets that are well again"),
                _ => {}
            }
        }
        *self = Self { targets, panics };
    }
}

/// Waits at most so long: what is due now is due at once.
fn until(due: Instant) -> Duration {
    due.saturating_duration_since(Instant::now())
}

/// What the next process is told of those that do not stand well: first of those that an operator
/// has drained, which nobody else would find out.
pub(super) fn carried(snapshot: &Snapshot) -> Vec<Carried> {
    let mut all: Vec<(bool, usize, Carried)> = clusters(snapshot)
        .flat_map(|(_, endpoints)| endpoints.iter())
        .filter_map(|one| {
            let carried = one.condition.carried(&one.url)?;
            Some((!one.condition.is_drained(), one.target, carried))
        })
        .collect();
    all.sort_by_key(|(later, target, _)| (*later, *target));
    all.dedup_by_key(|(_, target, _)| *target);
    all.truncate(TARGETS_CARRIED_MAX);
    all.into_iter().map(|(_, _, carried)| carried).collect()
}

/// Has the targets of a new process stand as they stood in the one before.
pub(super) fn take_over(snapshot: &Snapshot, carried: &[Carried]) {
    let before: HashMap<&str, &Carried> =
        carried.iter().map(|one| (one.target.as_str(), one)).collect();
    for endpoint in clusters(snapshot).flat_map(|(_, endpoints)| endpoints.iter()) {
        if let Some(carried) = before.get(endpoint.url.as_str()) {
            endpoint.condition.take_over(carried);
        }
    }
}

/// A target that an operator names: by the URL of the configuration, for all addresses of its name,
/// or by what the status calls it, for one of them.
pub(super) fn named<'s>(
    snapshot: &'s Snapshot,
    url: &'s str,
) -> impl Iterator<Item = (&'s Endpoint, Duration)> {
    let is_named = move |endpoint: &Endpoint| {
        let of_name = endpoint.url.strip_prefix(url);
        of_name.is_some_and(|rest| rest.is_empty() || rest.starts_with(" ("))
    };
    clusters(snapshot).flat_map(move |(_, endpoints)| {
        let slow_start = endpoints.policy().slow_start;
        endpoints.iter().filter(move |one| is_named(one)).map(move |one| (one, slow_start))
    })
}
