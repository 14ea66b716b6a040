//! Filters that do what a script says (`plugins/filters/script`): what they log is what a host
//! does.

use super::built;
use crate::support::{Gateway, Origin, Setup};

/// One worker, an origin and a filter with this script.
pub fn scripted(origin: &Origin, script: &str) -> Setup {
    let script = script.trim().replace('\n', ";").replace('\'', "''");
    let keys = format!("config: '{script}', timeout: 2s, rootId: root, vmId: vm");
    Setup::to(origin).plugin("it", built("filter-script"), &keys)
}

/// What the filter has logged: a line each callback and call.
pub fn lines(gateway: &Gateway, plugin: &str) -> Vec<String> {
    let of_plugin = format!(" plugin=\"{plugin}\"");
    let log = gateway.log();
    let lines = log.lines().filter_map(|line| {
        let (before, _) = line.split_once(&of_plugin)?;
        Some(before.split_once(" INFO ")?.1.to_owned())
    });
    lines.collect()
}

/// Waits for a line that begins so; the text behind it.
pub fn wait_line(gateway: &Gateway, begin: &str) -> String {
    let mut found = None;
    crate::support::wait_until(begin, || {
        found = lines(gateway, "it")
            .into_iter()
            .find_map(|line| line.strip_prefix(begin).map(str::to_owned));
        found.is_some()
    });
    found.unwrap()
}
