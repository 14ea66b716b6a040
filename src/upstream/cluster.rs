//! The endpoints of one service and their turns.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::admission::Caps;
use super::tls::Tls;

/// Where an endpoint is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP, in the order to try: what the name resolved to when the snapshot was made.
    Tcp(Vec<SocketAddr>),
    /// TLS over TCP.
    Tls(Vec<SocketAddr>, Tls),
    /// A Unix stream socket.
    Unix(PathBuf),
}

impl Address {
    /// Whether there is somewhere to connect to.
    pub fn is_known(&self) -> bool {
        match self {
            Self::Tcp(addresses) | Self::Tls(addresses, _) => !addresses.is_empty(),
            Self::Unix(_) => true,
        }
    }
}

/// One target of a service.
#[derive(Debug, PartialEq, Eq)]
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
}

/// What serves a service's requests.
#[derive(Debug, PartialEq, Eq)]
pub enum Cluster {
    /// `builtin:echo`: the gateway answers with the request as an origin would have seen it.
    Echo,
    /// Endpoints in weighted turns.
    Endpoints(Endpoints),
}

/// Endpoints and the order of their turns.
#[derive(Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Names the cluster over all snapshots: its turns go on after a reload. Small and dense.
    id: usize,
    endpoints: Vec<Endpoint>,
    /// How many requests each of them takes at once.
    caps: Caps,
    /// One round: an endpoint of weight 3 stands in it three times, spread out.
    turns: Vec<u16>,
}

impl Endpoints {
    /// Endpoints with their weights (at least 1 each, see `limits::TARGET_WEIGHT_MAX`).
    pub fn new(id: usize, weighted: Vec<(Endpoint, u32)>) -> Self {
        let weights: Vec<u32> = weighted.iter().map(|(_, weight)| *weight).collect();
        let endpoints = weighted.into_iter().map(|(endpoint, _)| endpoint).collect();
        Self { id, endpoints, caps: Caps::default(), turns: turns(&weights) }
    }

    /// The same with these caps for each target.
    #[must_use]
    pub fn with_caps(self, caps: Caps) -> Self {
        Self { caps, ..self }
    }

    /// How many requests each target takes at once.
    pub(super) fn caps(&self) -> &Caps {
        &self.caps
    }

    /// The name of the cluster among those of all snapshots.
    pub(super) fn id(&self) -> usize {
        self.id
    }

    /// The endpoint of a turn; the turns go round and round.
    pub(super) fn at(&self, turn: usize) -> Option<&Endpoint> {
        let turn = *self.turns.get(turn % self.round().max(1))?;
        self.endpoints.get(usize::from(turn))
    }

    /// How many turns a round has.
    pub(super) fn round(&self) -> usize {
        self.turns.len()
    }

    /// The endpoints, in the order of the configuration.
    pub fn iter(&self) -> std::slice::Iter<'_, Endpoint> {
        self.endpoints.iter()
    }

    /// Has one endpoint stand in the list twice.
    #[cfg(test)]
    pub(super) fn make_same_target(&mut self, one: usize, other: usize) {
        self.endpoints[other].target = self.endpoints[one].target;
    }
}

/// One round of smooth weighted round-robin (nginx's order: in each step every endpoint gains its
/// weight, the richest is taken and pays the sum).
fn turns(weights: &[u32]) -> Vec<u16> {
    let common = weights.iter().fold(0, |sum, &weight| greatest_common_divisor(sum, weight)).max(1);
    let weights: Vec<i64> = weights.iter().map(|&weight| i64::from(weight / common)).collect();
    let sum: i64 = weights.iter().sum();
    let mut credit = vec![0; weights.len()];
    (0..sum)
        .map(|_| {
            for (credit, weight) in credit.iter_mut().zip(&weights) {
                *credit += weight;
            }
            // The first of the richest: max_by_key returns the last, so the order is turned round.
            let richest = (0..credit.len()).rev().max_by_key(|&at| credit[at]).unwrap_or(0);
            credit[richest] -= sum;
            richest as u16
        })
        .collect()
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_follow_weights_and_are_spread_out() {
        assert_eq!(turns(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(turns(&[3, 1]), [0, 0, 1, 0]);
        assert_eq!(turns(&[10, 10]), [0, 1]);
        assert_eq!(turns(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert!(turns(&[]).is_empty());
    }
}
