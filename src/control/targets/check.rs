//! Active checks: each target of a service with `healthCheck`, once per process, spread over time.
//!
//! A target that several services check is well when all of them find it so. One that is checked no
//! more is taken for well: its requests tell.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::ask::ask;
use super::{clusters, until};
use crate::control::config::{Check, Config};
use crate::io::deadline::now_ms;
use crate::limits::CHECKS_AT_ONCE;
use crate::snapshot::Snapshot;
use crate::upstream::check::{Checked, next_after};
use crate::upstream::cluster::Endpoint;

/// What a check is: of which target, where that is, and how it is made.
type Key = (usize, usize, Arc<Check>);

/// A check that has been made: why it failed, if it did.
pub(super) struct Done {
    key: Key,
    outcome: Result<(), String>,
}

/// All checks.
#[derive(Default)]
pub(super) struct Checks {
    generation: u64,
    watched: HashMap<Key, Watched>,
    tasks: JoinSet<Done>,
}

struct Watched {
    endpoint: Endpoint,
    service: String,
    slow_start: Duration,
    checked: Checked,
    is_well: bool,
    due: Instant,
    is_under_way: bool,
}

impl Checks {
    /// Checks what runs. What was checked before goes on as it was.
    pub(super) fn follow(&mut self, config: &Config, snapshot: &Snapshot) {
        if self.generation == snapshot.generation {
            return;
        }
        self.generation = snapshot.generation;
        let mut before = std::mem::take(&mut self.watched);
        let checks: HashMap<&str, &Check> = config
            .services
            .iter()
            .filter_map(|service| Some((service.name.as_str(), service.origins.check.as_ref()?)))
            .collect();
        for (name, endpoints) in clusters(snapshot) {
            let Some(&check) = checks.get(name) else { continue };
            let check = check.clone();
            let check = Arc::new(check);
            for endpoint in endpoints.iter() {
                let key = (endpoint.target, endpoint.id, Arc::clone(&check));
                let slow_start = endpoints.policy().slow_start;
                let watched = before.remove(&key).unwrap_or_else(|| Watched {
                    endpoint: endpoint.clone(),
                    service: name.to_owned(),
                    slow_start,
                    checked: Checked::default(),
                    is_well: true,
                    // Soon, and not all at once.
                    due: Instant::now() + spread(check.interval / 10),
                    is_under_way: false,
                });
                self.watched.insert(key, Watched { slow_start, ..watched });
            }
        }
        for (key, gone) in before {
            self.publish(key.0, &gone);
        }
    }

    /// Starts what is due; how long until more is.
    pub(super) fn start(&mut self) -> Duration {
        let now = Instant::now();
        let mut next = now + Duration::from_secs(1);
        for (key, watched) in &mut self.watched {
            if watched.is_under_way {
                continue;
            }
            if watched.due > now || self.tasks.len() >= CHECKS_AT_ONCE {
                next = next.min(watched.due.max(now + Duration::from_millis(1)));
                continue;
            }
            watched.is_under_way = true;
            let (key, address) = (key.clone(), watched.endpoint.address.clone());
            let authority = watched.endpoint.authority.clone();
            self.tasks.spawn(async move {
                let outcome = ask(&address, &authority, &key.2).await;
                Done { key, outcome }
            });
        }
        until(next)
    }

    /// A check that has been made.
    pub(super) async fn next(&mut self) -> Option<Done> {
        loop {
            match self.tasks.join_next().await? {
                Ok(done) => return Some(done),
                // A defect: its target is checked again all the same.
                Err(_) => self.watched.values_mut().for_each(|one| one.is_under_way = false),
            }
        }
    }

    /// Notes it; the words that are told of its target, if they are news.
    pub(super) fn note(&mut self, Done { key, outcome }: Done) -> Option<(usize, Option<String>)> {
        let watched = self.watched.get_mut(&key)?;
        let check = &key.2;
        watched.is_under_way = false;
        let jitter = check.jitter_percent;
        let random = getrandom::u64().unwrap_or_default();
        watched.due = Instant::now() + next_after(check.interval, jitter, random);
        let changed = watched.checked.note(outcome.is_ok(), check.thresholds());
        if let Some(is_well) = changed {
            watched.is_well = is_well;
            let (service, target) = (&watched.service, &watched.endpoint.url);
            match &outcome {
                Ok(()) => tracing::info!(%service, %target, "its checks pass"),
                Err(reason) => tracing::warn!(%service, %target, "its checks fail: {reason}"),
            }
            let of_target = self.watched.get(&key)?;
            self.publish(key.0, of_target);
        }
        // What is told is the latest, whatever is thought of the target.
        Some((key.0, outcome.err()))
    }

    /// Tells the workers what all checks of a target come to.
    fn publish(&self, target: usize, of_target: &Watched) {
        let is_well = self.watched.iter().all(|(key, one)| key.0 != target || one.is_well);
        let (condition, slow_start) = (&of_target.endpoint.condition, of_target.slow_start);
        condition.set_health(now_ms(), is_well, slow_start);
    }
}

/// A part of a time, drawn.
fn spread(most: Duration) -> Duration {
    let drawn = getrandom::u64().unwrap_or_default();
    Duration::from_micros(drawn % (most.as_micros() as u64).max(1))
}
