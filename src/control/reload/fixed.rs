//! What a process keeps for as long as it runs, whatever its configuration becomes, and what that
//! forbids.

use std::net::SocketAddr;

use super::super::config::Config;
use super::{Refusal, RefusalKind};

/// Puts the running values of what cannot change back into `next`; a warning for each that would
/// have changed.
pub(super) fn keep(running: &Config, next: &mut Config) -> Vec<String> {
    let mut changed = Vec::new();
    macro_rules! keep {
        ($($key:literal: $($field:ident).+;)+) => {$(
            if next.$($field).+ != running.$($field).+ {
                next.$($field).+ = running.$($field).+.clone();
                changed.push($key);
            }
        )+};
    }
    keep! {
        "server.workers": server.workers;
        "server.pinCores": server.pin_cores;
        "server.ioDriver": server.io_driver;
        "admin.listen": admin.listen;
        "kv.memory": kv.memory;
        "wasm.cacheEnabled": wasm.cache_enabled;
        "wasm.cacheDir": wasm.cache_dir;
    }
    if let (Some(running), Some(next)) = (&running.fleet, &mut next.fleet) {
        if next.node != running.node {
            next.node.clone_from(&running.node);
            changed.push("fleet.node");
        }
        if next.cache_dir != running.cache_dir {
            next.cache_dir.clone_from(&running.cache_dir);
            changed.push("fleet.cacheDir");
        }
        if next.etcd.prefix != running.etcd.prefix {
            next.etcd.prefix.clone_from(&running.etcd.prefix);
            changed.push("fleet.etcd.prefix");
        }
    }
    let words = |key| format!("{key} has changed: that takes effect at the next start");
    changed.into_iter().map(words).collect()
}

/// The file was checked as it stands; this checks what would run: what it says together with what
/// [`keep`] has put back, in the place of what runs. `admin` is where the admin API really listens.
pub(super) fn check(
    running: &Config,
    next: &Config,
    admin: Option<SocketAddr>,
) -> Result<(), Refusal> {
    let serves = !running.services.is_empty();
    if let Some(reason) = next.lacks_services().filter(|_| serves) {
        return Err(Refusal::new(RefusalKind::Invalid, reason));
    }
    let Some(address) = admin.filter(|address| next.admin.is_exposed_at(*address)) else {
        return Ok(());
    };
    Err(Refusal::new(
        RefusalKind::Invalid,
        format!(
            "admin.token: missing, and the admin API stays on {address} until the next start, \
             where other machines reach it; give the token back, or restart"
        ),
    ))
}
