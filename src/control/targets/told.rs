//! How targets stand, for whoever asks: status, metrics, readiness.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use super::clusters;
use crate::control::reload::Control;
use crate::io::deadline::now_ms;
use crate::limits::TARGETS_REPORTED_MAX;
use crate::upstream::condition::Told;
use crate::worker::report::{Report, TargetCounts};

/// A target of a service.
#[derive(Debug, Clone)]
pub struct Target {
    /// The service's name.
    pub service: String,
    /// What people call it.
    pub url: String,
    /// How it stands.
    pub told: Told,
    /// Since when, if that ever changed.
    pub since: Option<SystemTime>,
    /// In how long it is tried again, if it is ejected.
    pub tried_in: Option<Duration>,
    /// Why its last check failed.
    pub check: Option<String>,
    /// What all workers have under way there; the latency is the longest that one of them knows.
    pub counts: TargetCounts,
}

/// The targets of what runs, in the order of the configuration.
pub fn targets(control: &Control, reports: &[Report]) -> Vec<Target> {
    let mut counts: HashMap<usize, TargetCounts> = HashMap::new();
    for report in reports {
        // A target stands in a report as often as services have it, each time the same.
        let of_worker: HashMap<usize, TargetCounts> =
            report.targets.iter().map(|one| (one.target, *one)).collect();
        for (target, one) in of_worker {
            let sum = counts.entry(target).or_default();
            sum.under_way += one.under_way;
            sum.waiting += one.waiting;
            sum.latency_micros = sum.latency_micros.max(one.latency_micros);
        }
    }
    let (checks, snapshot) = (control.checks(), control.running().snapshot);
    let (now_ms, now) = (now_ms(), SystemTime::now());
    let of_service = |(service, endpoints): (&str, &crate::upstream::cluster::Endpoints)| {
        let targets = endpoints.iter().map(|endpoint| {
            let told = endpoint.condition.told(now_ms);
            let age = Duration::from_millis(now_ms.saturating_sub(told.since_ms));
            Target {
                service: service.to_owned(),
                url: endpoint.url.clone(),
                told,
                since: (told.since_ms > 0).then(|| now.checked_sub(age)).flatten(),
                tried_in: told
                    .until_ms
                    .map(|until| Duration::from_millis(until.saturating_sub(now_ms))),
                check: checks.get(&endpoint.target).cloned(),
                counts: counts.get(&endpoint.target).copied().unwrap_or_default(),
            }
        });
        targets.collect::<Vec<_>>()
    };
    clusters(&snapshot).flat_map(of_service).take(TARGETS_REPORTED_MAX).collect()
}

/// The services all of whose targets are sick: requests go to all of them.
pub fn panicking(control: &Control) -> Vec<String> {
    let (snapshot, now_ms) = (control.running().snapshot, now_ms());
    let sick = clusters(&snapshot).filter(|(_, endpoints)| endpoints.is_in_panic(now_ms));
    sick.map(|(service, _)| service.to_owned()).collect()
}
