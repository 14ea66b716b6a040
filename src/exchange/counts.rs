//! What a worker counts of each service.
//!
//! In plain numbers by the worker alone, copied when the control plane asks. Services go on
//! counting under their names over reloads, so that no counter ever goes backwards.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use crate::durations::Durations;
use crate::http::grpc::GrpcStatus;
use crate::io::pace::Pace;
use crate::limits::{REPORTED_SERVICES_MAX, SPLIT_PARTS_KEPT_MAX};
use crate::snapshot::{Service, Snapshot};
use crate::upstream::cluster::Cluster;
use crate::upstream::counts::UpstreamCounts;
use crate::upstream::pool::Pool;

/// What was counted of one service.
#[derive(Debug, Clone, Default)]
pub struct ServiceCounts {
    /// Responses by the class of their status, 5 for all over 499; 0: the client had gone.
    pub responses: [u64; 6],
    /// Of all exchanges together.
    pub time_total: Duration,
    /// From the request's head to the end of the response.
    pub durations: Durations,
    /// Of the requests to its endpoints.
    pub upstream: UpstreamCounts,
    /// Calls of gRPC by their status, at its place; those without one last. `None`: there were
    /// none.
    pub grpc: Option<Box<GrpcCounts>>,
    /// Of connections and streams that go on with another protocol.
    pub tunnels: TunnelCounts,
    /// Where its requests went, if it splits them.
    pub parts: Parts,
    /// What became of the copies of its requests, at the places of [`MirrorResult::ALL`]. `None`:
    /// there were none.
    pub mirrored: Option<Box<[u64; MirrorResult::ALL.len()]>>,
}

/// Requests of a split by the name of the service that they went to.
pub type Parts = Vec<(Box<str>, u64)>;

fn add_part(parts: &mut Parts, name: &str, count: u64) {
    if let Some((_, sum)) = parts.iter_mut().find(|(part, _)| **part == *name) {
        *sum += count;
    } else if parts.len() < SPLIT_PARTS_KEPT_MAX || name == OTHERS {
        parts.push((name.into(), count));
    } else {
        add_part(parts, OTHERS, count);
    }
}

/// Names over a bound count together.
const OTHERS: &str = "(others)";

/// What became of a copy of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MirrorResult {
    /// It was answered with a status below 500.
    Answered,
    /// It was answered with another, or not at all.
    Failed,
    /// There were too many on their way, or too many bytes of them.
    Dropped,
    /// Its body was too large to be copied.
    TooLarge,
    /// Its body did not come whole.
    Incomplete,
}

impl MirrorResult {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Answered, Self::Failed, Self::Dropped, Self::TooLarge, Self::Incomplete];

    /// As metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
            Self::TooLarge => "too_large",
            Self::Incomplete => "incomplete",
        }
    }
}

/// What was counted of tunnels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TunnelCounts {
    /// Open now.
    pub open: u64,
    /// That have ended.
    pub ended: u64,
    /// How long those were open, all together.
    pub time_total: Duration,
    /// Bytes that came from clients, and those that came from origins.
    pub bytes: [u64; 2],
}

impl TunnelCounts {
    pub(super) fn begin(&mut self) {
        self.open += 1;
    }

    pub(super) fn end(&mut self, took: Duration) {
        self.open -= 1;
        self.ended += 1;
        self.time_total += took;
    }

    fn add(&mut self, other: Self) {
        self.open += other.open;
        self.ended += other.ended;
        self.time_total += other.time_total;
        self.bytes.iter_mut().zip(other.bytes).for_each(|(ours, theirs)| *ours += theirs);
    }
}

/// See [`ServiceCounts::grpc`].
pub type GrpcCounts = [u64; GrpcStatus::COUNT + 1];

impl ServiceCounts {
    fn count(&mut self, status: u16, took: Duration) {
        let class = usize::from(status / 100).min(5);
        self.responses[class] += 1;
        self.time_total += took;
        self.durations.record(took);
    }

    pub(super) fn count_grpc(&mut self, status: Option<GrpcStatus>) {
        let place = status.map_or(GrpcStatus::COUNT, GrpcStatus::place);
        let counts = self.grpc.get_or_insert_default();
        if let Some(count) = counts.get_mut(place) {
            *count += 1;
        }
    }

    pub(super) fn count_part(&mut self, name: &str) {
        add_part(&mut self.parts, name, 1);
    }

    pub(super) fn count_mirrored(&mut self, result: MirrorResult) {
        self.mirrored.get_or_insert_default()[result as usize] += 1;
    }

    /// Adds those of another worker.
    pub fn add(&mut self, other: &Self) {
        for (ours, theirs) in self.responses.iter_mut().zip(other.responses) {
            *ours += theirs;
        }
        self.time_total += other.time_total;
        self.durations.add(&other.durations);
        self.upstream.add(&other.upstream);
        if let Some(theirs) = &other.grpc {
            let ours = self.grpc.get_or_insert_default();
            ours.iter_mut().zip(theirs.iter()).for_each(|(sum, count)| *sum += count);
        }
        self.tunnels.add(other.tunnels);
        other.parts.iter().for_each(|(name, count)| add_part(&mut self.parts, name, *count));
        if let Some(theirs) = &other.mirrored {
            let ours = self.mirrored.get_or_insert_default();
            ours.iter_mut().zip(theirs.iter()).for_each(|(sum, count)| *sum += count);
        }
    }
}

/// The services of one worker: by their place in the snapshot for an exchange, by name for good.
#[derive(Debug, Default)]
pub(super) struct Services {
    generation: u64,
    by_index: Vec<Option<SharedCounts>>,
    by_name: HashMap<Rc<str>, SharedCounts>,
}

/// The counts of one service, for as long as an exchange counts in them.
pub(super) type SharedCounts = Rc<RefCell<ServiceCounts>>;

impl Services {
    /// Counts an exchange.
    pub(super) fn count(
        &mut self,
        snapshot: &Snapshot,
        service: &Service,
        status: u16,
        took: Duration,
    ) {
        self.of(snapshot, service).borrow_mut().count(status, took);
    }

    /// The counts of a service.
    pub(super) fn of(&mut self, snapshot: &Snapshot, service: &Service) -> SharedCounts {
        if self.generation != snapshot.generation {
            self.generation = snapshot.generation;
            self.by_index.clear();
            self.by_index.resize(snapshot.services.len(), None);
        }
        match self.by_index.get_mut(service.index) {
            Some(Some(counts)) => Rc::clone(counts),
            Some(place) => Rc::clone(place.insert(named(&mut self.by_name, &service.name))),
            None => named(&mut self.by_name, &service.name),
        }
    }

    /// All of them by name.
    fn all(&self) -> Vec<(Rc<str>, SharedCounts)> {
        let services = self.by_name.iter();
        services.map(|(name, counts)| (Rc::clone(name), Rc::clone(counts))).collect()
    }
}

/// A copy of each service's counts, with the connections that lie idle.
pub(super) async fn copy_services(
    services: &RefCell<Services>,
    snapshot: &Snapshot,
    pool: &Pool,
    pace: &mut Pace,
) -> Vec<(String, ServiceCounts)> {
    let all = services.borrow().all();
    let mut copies = Vec::with_capacity(all.len());
    for (name, counts) in all {
        pace.step().await;
        let mut copy = counts.borrow().clone();
        // Each is a request under way, whose connection is in use.
        copy.upstream.active += copy.tunnels.open;
        let service = snapshot.services.iter().find(|service| *service.name == *name);
        if let Some(Cluster::Endpoints(endpoints)) = service.map(|service| &*service.cluster) {
            copy.upstream.idle = endpoints.iter().map(|endpoint| pool.idle_of(endpoint.id)).sum();
        }
        copies.push((String::from(&*name), copy));
    }
    copies
}

/// The counts of a service. Names of earlier configurations are kept, up to a bound beyond which
/// new ones count together.
fn named(by_name: &mut HashMap<Rc<str>, SharedCounts>, name: &str) -> SharedCounts {
    let is_full = by_name.len() >= REPORTED_SERVICES_MAX && !by_name.contains_key(name);
    let name = if is_full { OTHERS } else { name };
    Rc::clone(by_name.entry(name.into()).or_default())
}
