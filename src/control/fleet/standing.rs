//! How this node stands in its fleet: what it runs, what it refused, whether etcd is there. Written
//! by the parts of `node.rs`, read by the admin API, metrics and the node's own report.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::{Notify, watch};

use super::store::{Live, Report};

/// How a node stands.
#[derive(Debug, Clone)]
pub struct Standing {
    /// What it is called.
    pub node: String,
    /// The revision that it serves, and since when.
    pub applied: Option<(u64, SystemTime)>,
    /// The revision that etcd says it shall serve.
    pub wanted: Option<u64>,
    /// Whether it goes first with it (`push --canary`).
    pub is_first: bool,
    /// The revision that it shall serve and does not.
    pub refused: Option<Refused>,
    /// Whether etcd is there.
    pub link: Link,
    /// Why etcd does not take its reports, if it does not.
    pub unreported: Option<String>,
    /// Connections to etcd so far.
    pub connections: u64,
    /// Revisions that it has applied and refused since it started.
    pub outcomes: [u64; 2],
    /// What all nodes said when somebody asked last.
    pub nodes: Option<Nodes>,
}

/// A revision that is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its number; 0 where not even that can be read.
    pub revision: u64,
    /// Why.
    pub reason: String,
    /// When it was refused first.
    pub at: SystemTime,
}

/// The connection to etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// There is one.
    Up {
        /// Since when.
        since: SystemTime,
        /// The member at its other end.
        member: String,
    },
    /// There is none.
    Down {
        /// Since when.
        since: SystemTime,
        /// Why.
        reason: String,
    },
}

/// What all nodes said.
#[derive(Debug, Clone)]
pub struct Nodes {
    /// When.
    pub at: Instant,
    /// Each of them, by name.
    pub reports: Arc<[Report]>,
    /// What they shall serve.
    pub live: Live,
}

/// A node's place in its fleet. Clones are the same.
#[derive(Debug, Clone)]
pub struct Place(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    standing: watch::Sender<Standing>,
    /// Somebody wants to know of all nodes.
    asked: Notify,
}

impl Place {
    /// Of a node that serves this revision and has no connection yet.
    pub fn new(node: String, applied: Option<u64>) -> Self {
        let now = SystemTime::now();
        let link = Link::Down { since: now, reason: "not connected yet".to_owned() };
        let standing = Standing {
            node,
            applied: applied.map(|revision| (revision, now)),
            wanted: None,
            is_first: false,
            refused: None,
            link,
            unreported: None,
            connections: 0,
            outcomes: [0; 2],
            nodes: None,
        };
        Self(Arc::new(Inner { standing: watch::Sender::new(standing), asked: Notify::new() }))
    }

    /// How the node stands now.
    pub fn standing(&self) -> Standing {
        self.0.standing.borrow().clone()
    }

    /// Is told whenever that changes.
    pub(super) fn changes(&self) -> watch::Receiver<Standing> {
        self.0.standing.subscribe()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Standing)) {
        self.0.standing.send_modify(change);
    }

    /// Waits until somebody wants to know of all nodes.
    pub(super) async fn asked(&self) {
        self.0.asked.notified().await;
    }

    /// Asks for what all nodes say now, and waits for it as long as etcd may take.
    ///
    /// # Errors
    /// etcd does not answer: why, in words. What was read last stands in [`Standing::nodes`].
    pub async fn all_nodes(&self) -> Result<Nodes, String> {
        let begun = Instant::now();
        let mut changes = self.changes();
        let answer = async {
            loop {
                let standing = changes.borrow_and_update().clone();
                let fresh = begun.checked_sub(crate::limits::FLEET_NODES_AGE_MAX);
                let is_fresh = |nodes: &Nodes| fresh.is_none_or(|fresh| nodes.at >= fresh);
                if let Some(nodes) = standing.nodes.filter(is_fresh) {
                    return Ok(nodes);
                }
                if let Link::Down { reason, .. } = standing.link {
                    return Err(reason);
                }
                self.0.asked.notify_one();
                if changes.changed().await.is_err() {
                    return Err("the gateway ends".to_owned());
                }
            }
        };
        let answer = tokio::time::timeout(crate::limits::FLEET_CALL_TIMEOUT, answer).await;
        answer.unwrap_or_else(|_| Err("etcd does not answer".to_owned()))
    }
}

impl Standing {
    /// In one sentence, for an operator: what is served, and what is in the way of the newest.
    pub fn words(&self) -> String {
        let served = match self.applied {
            Some((revision, _)) => format!("serving revision {revision}"),
            None => "serving no revision".to_owned(),
        };
        match (&self.link, &self.refused) {
            (Link::Down { since, reason }, _) => {
                let mut at = Vec::new();
                crate::text::rfc_3339(*since, &mut at);
                let at = String::from_utf8_lossy(&at).into_owned();
                format!("{served}, the last good one; etcd unreachable since {at}: {reason}")
            }
            (_, Some(refused)) => {
                format!("{served}; revision {} was refused: {}", refused.revision, refused.reason)
            }
            (Link::Up { .. }, None) => served,
        }
    }
}
