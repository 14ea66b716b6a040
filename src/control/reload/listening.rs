//! Listeners that come and go by a change: bound before it is published, so that an address that
//! cannot be had refuses it; accepted on, or left, after.

use super::super::config::{Config, listener_ids};
use super::super::sockets::{Purpose, SharedHeld, Sockets};
use super::super::workers::Outboxes;
use super::{Refusal, RefusalKind, broken};

/// What becomes of the listeners.
pub(super) struct Moves {
    /// Those that go on, by id.
    stay: Vec<String>,
    /// Those that end, by id.
    go: Vec<String>,
    /// Whether others begin.
    comes: bool,
}

impl Moves {
    pub(super) fn between(running: &Config, next: &Config) -> Self {
        let (before, after) =
            (listener_ids(&running.server.listen), listener_ids(&next.server.listen));
        let comes = after.iter().any(|id| !before.contains(id));
        let (stay, go) = before.into_iter().partition(|id| after.contains(id));
        Self { stay, go, comes }
    }

    /// Binds those that begin; the kernel queues their connections from now on.
    pub(super) async fn open(
        &self,
        config: &Config,
        workers: usize,
    ) -> Result<Option<Sockets>, Refusal> {
        if !self.comes {
            return Ok(None);
        }
        let (stay, config) = (self.stay.clone(), config.clone());
        let opening = tokio::task::spawn_blocking(move || {
            let mut sockets = Sockets::open_but(&stay, &config, workers, &mut Vec::new())?;
            sockets.listen()?;
            std::io::Result::Ok(sockets)
        });
        let opened = opening.await.map_err(|_| broken("binding a socket panicked"))?;
        opened.map(Some).map_err(|error| Refusal::new(RefusalKind::Broken, error.to_string()))
    }

    /// Has the workers accept for what begins, and no more for what ends.
    pub(super) async fn make(
        self,
        sockets: Option<Sockets>,
        outboxes: &Outboxes,
        held: &SharedHeld,
        holds_alone: bool,
    ) {
        if let Some(sockets) = sockets {
            outboxes.listen(sockets.workers).await;
            sockets.bound.iter().for_each(|address| tracing::info!("listening on {address}"));
            held.borrow_mut().extend(sockets.held);
        }
        if !self.go.is_empty() {
            let ends = |id: &String| self.go.contains(id);
            held.borrow_mut().retain(|one| one.purpose != Purpose::Server || !ends(&one.listen));
            outboxes.unlisten(&self.go, holds_alone);
            self.go.iter().for_each(|id| tracing::info!("no longer listening on {id}"));
        }
    }
}
