//! Modules that a start lacked: asked for again until they come. The gateway serves meanwhile, and
//! the failure modes of their plugins decide about requests.

use std::collections::HashSet;

use super::Lacking;
use crate::control::reload::{self, Change, Control, RefusalKind};
use crate::limits::MODULE_RETRY;

/// Frees the disk of what a start does not name, and runs until nothing is lacking; pending from
/// then on.
pub async fn run(control: &Control, lacking: Lacking) {
    control.fetcher().trim(control.running().config);
    let mut names: HashSet<String> = lacking.names().map(str::to_owned).collect();
    let mut told = lacking;
    let mut failures = 1;
    while !names.is_empty() {
        let random = getrandom::u64().unwrap_or_default();
        tokio::time::sleep(MODULE_RETRY.spread_pause(failures, random)).await;
        failures += 1;
        let running = control.running();
        // A later configuration may have brought another module, or none.
        let loaded = running.snapshot.plugins.iter();
        let failing = loaded.filter(|plugin| plugin.load_error().is_some());
        let failing: HashSet<&str> = failing.map(|plugin| plugin.spec.name.as_str()).collect();
        names.retain(|name| failing.contains(name.as_str()));
        let config = &running.config;
        let concerns = |plugin: &crate::control::config::Plugin| names.contains(&plugin.name);
        let lacking = control.fetcher().obtain(config, concerns, Some(&running.snapshot)).await;
        for name in names.clone() {
            match lacking.reason(&name) {
                Some(reason) if told.reason(&name) != Some(reason) => {
                    tracing::warn!(plugin = %name, "its module is still lacking: {reason}");
                }
                Some(_) => {}
                None if has_come(control, &name).await => drop(names.remove(&name)),
                None => {}
            }
        }
        told = lacking;
    }
    std::future::pending().await
}

/// Has a plugin run whose module has come; `false`: later. How it went is in the log.
async fn has_come(control: &Control, name: &str) -> bool {
    let change = Change::Module { name: name.to_owned() };
    let made = control.make(change, reload::Cause::Modules).await;
    !made.is_err_and(|refusal| refusal.kind == RefusalKind::Busy)
}
