//! The steps of a change before it is published: fetch, compile, prepare.

use std::sync::Arc;

use super::super::compile::{Compiled, Scope};
use super::super::config::{Config, Plugin};
use super::surviving::surviving;
use super::{Refusal, Reloader, broken, refuse};
use crate::snapshot::Snapshot;

impl Reloader {
    /// Has what the configuration lacks of modules fetched.
    pub(super) async fn fetch(
        &mut self,
        config: &Config,
        published: &Snapshot,
        scope: &Scope,
    ) -> Result<(), Refusal> {
        let concerns = |plugin: &Plugin| !scope.keeps_plugin(&plugin.name);
        let lacking = self.fetcher.obtain(config, concerns, Some(published)).await;
        let compiler = self.compiler.as_mut().ok_or_else(|| broken("the compiler is lost"))?;
        compiler.lack(lacking);
        Ok(())
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
