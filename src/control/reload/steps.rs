//! The steps of a change before it is published: fetch, compile, prepare.

use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::Instant;

use super::super::compile::{Compiled, Scope};
use super::super::config::{Config, Plugin};
use super::surviving::surviving;
use super::{Cause, Change, Refusal, RefusalKind, Reloader, broken, refuse};
use crate::limits::RELOADS_WAITING_MAX;
use crate::snapshot::Snapshot;

impl Reloader {
    /// Has what the configuration lacks of modules fetched. Names are followed meanwhile, and a
    /// later order for the same takes the place of this one.
    pub(super) async fn fetch(
        &mut self,
        config: &Config,
        scope: &Scope,
        kind: Discriminant<Change>,
    ) -> Result<(), Refusal> {
        let (fetcher, published) = (Arc::clone(&self.fetcher), self.state.running().snapshot);
        let concerns = |plugin: &Plugin| !scope.keeps_plugin(&plugin.name);
        let mut fetching = std::pin::pin!(fetcher.obtain(config, concerns, Some(&published)));
        let lacking = loop {
            let due = self.lookups.due(&self.state.running().config, Instant::now());
            let has_room = self.waiting.len() < RELOADS_WAITING_MAX;
            tokio::select! {
                biased;
                lacking = &mut fetching => break lacking,
                Some(order) = self.orders.recv(), if has_room => {
                    let is_same = discriminant(&order.change) == kind
                        && order.change.scope() == *scope;
                    self.waiting.push_back(order);
                    if is_same {
                        return Err(Refusal::new(
                            RefusalKind::Busy,
                            "given up while its modules were being fetched: the same was asked \
                             for again, by a later order",
                        ));
                    }
                }
                () = tokio::time::sleep_until(due.into()) => {
                    // Boxed: this is within a change itself, which an address is not fetched for.
                    Box::pin(self.follow_names()).await;
                }
            }
        };
        let compiler = self.compiler.as_mut().ok_or_else(|| broken("the compiler is lost"))?;
        compiler.lack(lacking);
        Ok(())
    }

    /// Makes the change of addresses within another one, which goes on then.
    async fn follow_names(&mut self) {
        if !self.have_names_moved().await {
            return;
        }
        let under_way = self.state.under_way();
        // The answer is in the log.
        let _ = self.make_now(Change::Addresses, Cause::Names).await;
        if let Some((words, since)) = under_way {
            let started = Instant::now();
            self.state.begin(words, started.checked_sub(since).unwrap_or(started));
        }
    }

    pub(super) async fn compile(
        &mut self,
        config: Config,
        published: Arc<Snapshot>,
        scope: Scope,
    ) -> Result<(Config, Compiled), Refusal> {
        let compiler = self.compiler.take().ok_or_else(|| broken("the compiler is lost"))?;
        let compiling = tokio::task::spawn_blocking(move || {
            let (compiler, compiled) = surviving(compiler, |compiler| {
                let compiled = compiler.compile_part(&config, &published, &scope);
                (config, compiled)
            });
            (compiler, compiled)
        });
        let (compiler, compiled) =
            compiling.await.map_err(|_| broken("the compiler's thread is gone"))?;
        self.compiler = Some(compiler);
        compiled.map_err(|what| {
            broken(format!("a defect of the gateway: compiling it panicked: {what}; please report"))
        })
    }

    /// Has every worker make the new instances. Those of plugins that run already are not judged:
    /// a plugin that cannot start since yesterday must not keep another from being mended, nor must
    /// any keep a name from being followed.
    pub(super) async fn prepare(
        &self,
        snapshot: &Arc<Snapshot>,
        scope: &Scope,
    ) -> Result<(), Refusal> {
        let published = self.published.load_full();
        let is_new = |name: &str| {
            let named = |snapshot: &Snapshot| {
                snapshot.plugins.iter().find(|plugin| plugin.spec.name == name).cloned()
            };
            match (named(&published), named(snapshot)) {
                (Some(earlier), Some(now)) => !Arc::ptr_eq(&earlier, &now),
                _ => true,
            }
        };
        let failures = self.outboxes.prepare(snapshot).await;
        let is_judged = *scope != Scope::Addresses;
        let news = failures.iter().filter(|failure| is_judged && is_new(&failure.plugin));
        let mut news: Vec<_> =
            news.map(|failure| format!("plugin {}: {}", failure.plugin, failure.reason)).collect();
        // Each worker says the same.
        news.sort_unstable();
        news.dedup();
        refuse(news).inspect_err(|_| self.outboxes.retire(&published))
    }
}
