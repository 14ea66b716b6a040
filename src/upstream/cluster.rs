//! The endpoints of one service and their turns.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::balance::{Weights, hash};
use super::condition::{Condition, Standing};
use super::policy::Policy;
use super::tls::{Spoken, Tls};

/// Where an endpoint is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP, in the order to try: what the name resolved to when the snapshot was made.
    Tcp(Vec<SocketAddr>),
    /// The same, spoken to by HTTP/2 from its first byte.
    Http2(Vec<SocketAddr>),
    /// TLS over TCP.
    Tls(Vec<SocketAddr>, Tls),
    /// A Unix stream socket.
    Unix(PathBuf),
}

impl Address {
    /// What is spoken there.
    #[inline]
    pub fn spoken(&self) -> Spoken {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Spoken::Http1,
            Self::Http2(_) => Spoken::Http2,
            Self::Tls(_, tls) => tls.spoken(),
        }
    }

    /// Whether there is somewhere to connect to.
    pub fn is_known(&self) -> bool {
        match self {
            Self::Tcp(addresses) | Self::Http2(addresses) | Self::Tls(addresses, _) => {
                !addresses.is_empty()
            }
            Self::Unix(_) => true,
        }
    }
}

/// What SRV records say of a target beside where it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Who has a higher one is asked only where none of a lower one is well.
    pub tier: u8,
    /// Its weight among those of its service; 0: none was said.
    pub weight: u32,
}

/// One target of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Names the address over all snapshots of the process: idle connections are kept under it, so
    /// that they outlive a reload. Small and dense; given by the control plane.
    pub id: usize,
    /// Names the target (scheme, host, port) over all snapshots, wherever its name leads: what is
    /// known of it is kept under it. Small and dense.
    pub target: usize,
    /// Where it is.
    pub address: Address,
    /// `host:port` as configured: the `Host` of services that do not preserve the client's.
    pub authority: String,
    /// What people call it, and what keys are led to it by: its URL, and its address where the name
    /// has several.
    pub url: String,
    /// What the process knows of the target.
    pub condition: Arc<Condition>,
    /// What comes before others.
    pub rank: Rank,
}

/// What serves a service's requests.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one for a service, and it never moves")]
pub enum Cluster {
    /// `builtin:echo`: the gateway answers with the request as an origin would have seen it.
    Echo,
    /// Endpoints that share them.
    Endpoints(Endpoints),
}

/// Endpoints, and how requests are shared out among them.
#[derive(Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Names the cluster over all snapshots: its turns go on after a reload. Small and dense.
    id: usize,
    endpoints: Vec<Endpoint>,
    weights: Weights,
    policy: Policy,
    /// The highest of its endpoints' tiers.
    last_tier: u8,
}

impl Endpoints {
    /// Endpoints with their weights (at least 1 each, see `limits::TARGET_WEIGHT_MAX`).
    pub fn new(id: usize, weighted: Vec<(Endpoint, u32)>) -> Self {
        let named =
            weighted.iter().map(|(endpoint, weight)| (*weight, hash(endpoint.url.as_bytes())));
        let weights = Weights::new(&named.collect::<Vec<_>>());
        let endpoints: Vec<_> = weighted.into_iter().map(|(endpoint, _)| endpoint).collect();
        let last_tier = endpoints.iter().map(|one| one.rank.tier).max().unwrap_or_default();
        Self { id, endpoints, weights, policy: Policy::default(), last_tier }
    }

    /// The same, shared out like this.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// How requests are shared out among them.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(super) fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The name of the cluster among those of all snapshots.
    pub(super) fn id(&self) -> usize {
        self.id
    }

    /// The endpoint at this place of the list.
    pub(super) fn get(&self, at: usize) -> Option<&Endpoint> {
        self.endpoints.get(at)
    }

    /// The highest of their tiers; 0: all come first.
    pub(super) fn last_tier(&self) -> u8 {
        self.last_tier
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// The endpoints, in the order of the configuration.
    pub fn iter(&self) -> std::slice::Iter<'_, Endpoint> {
        self.endpoints.iter()
    }

    /// Whether none of them is to be sent requests, so that all are (but those that an operator has
    /// drained).
    pub fn is_in_panic(&self, now_ms: u64) -> bool {
        let mut standings = self.iter().map(|endpoint| endpoint.condition.told(now_ms).standing);
        !self.is_empty()
            && standings.clone().any(|standing| standing != Standing::Drained)
            && standings.all(|standing| !standing.is_well())
    }

    /// Has one come later.
    #[cfg(test)]
    pub(super) fn put_into_tier(&mut self, at: usize, tier: u8) {
        self.endpoints[at].rank.tier = tier;
        self.last_tier = self.last_tier.max(tier);
    }

    /// Has one endpoint stand in the list twice.
    #[cfg(test)]
    pub(super) fn make_same_target(&mut self, one: usize, other: usize) {
        self.endpoints[other].target = self.endpoints[one].target;
    }
}
