//! What a process keeps for as long as it runs, whatever its configuration becomes.

use super::super::config::Config;

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
        "server.listen": server.listen;
        "server.workers": server.workers;
        "server.pinCores": server.pin_cores;
        "server.ioDriver": server.io_driver;
        "admin.listen": admin.listen;
        "kv.memory": kv.memory;
        "wasm.cacheEnabled": wasm.cache_enabled;
        "wasm.cacheDir": wasm.cache_dir;
    }
    let words = |key| format!("{key} has changed: that takes effect at the next start");
    changed.into_iter().map(words).collect()
}
