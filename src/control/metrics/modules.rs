//! Modules of other machines: what was fetched, and what was not to be had.

use super::Text;
use crate::control::modules::Cause;
use crate::control::reload::Control;

pub(super) fn families(text: &mut Text, control: &Control) {
    let fetcher = control.fetcher();
    let (fetched, bytes) = fetcher.fetched();
    let family = "odin_module_fetches_total";
    text.family(family, "counter", "Plugin modules fetched from other machines.");
    text.line(family, &[], fetched);
    let family = "odin_module_fetched_bytes_total";
    text.family(family, "counter", "Their bytes.");
    text.line(family, &[], bytes);
    let family = "odin_module_fetch_failures_total";
    text.family(family, "counter", "Plugin modules that could not be had, by the cause.");
    for cause in Cause::ALL {
        text.line(family, &[("cause", cause.as_str())], fetcher.failed(cause));
    }
    let family = "odin_module_cache_bytes";
    text.family(family, "gauge", "Fetched modules on disk, as of the last change.");
    text.line(family, &[], fetcher.kept_bytes());
}
