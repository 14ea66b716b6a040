//! Reads the configuration again when it, or the file of a plugin, changes on disk.
//!
//! What an event means is not asked: after some quiet the files are compared with what was last
//! read, by identity, size and time. The files are those of the configuration that runs and of the
//! last one that was tried: what a refused change lacks may come later.

mod places;
mod prints;

use std::time::Duration;

use tokio::time::timeout;

use super::config::Located;
use super::reload::{Cause, Change, Control, RefusalKind};
use crate::limits::{WATCH_AGAIN, WATCH_BURST_MAX, WATCH_QUIET};
use places::Places;
pub use prints::{Files, Seen};

/// Watches for as long as it is polled; `seen` is what the files looked like before they were read.
pub async fn run(located: &Located, control: &Control, mut seen: Seen) {
    let mut places = match Places::new() {
        Ok(places) => places,
        Err(error) => {
            return tracing::error!("files cannot be watched: {error}; reload by SIGHUP");
        }
    };
    loop {
        // Watched before they are looked at: what changes behind the look sends an event.
        // Asked before what was tried: a change whose turn another one took may still be read, and
        // name files that nobody watches yet.
        let is_changing = control.is_changing();
        let mut files = Files::of(located, &control.running().config);
        let tried = control.tried();
        tried.iter().for_each(|tried| files.add(tried));
        places.renew(files.paths());
        let now = tokio::task::spawn_blocking(move || files.look()).await.unwrap_or_default();
        if let (Located::File(path), Some(written)) = (located, control.written()) {
            // The admin API did that.
            seen.forgive(path, written, &now);
        }
        seen.begin(&now, tried.as_deref());
        let mut is_later = false;
        if seen.differs_from(&now) {
            // How it went is in the log. A refused file is not tried again until it changes, or one
            // that it names does.
            // A later change is seen while this one waits for modules, and takes its place.
            let made = tokio::select! {
                // First: it is asked for in any case.
                biased;
                made = control.make(Change::File, Cause::Watch) => Some(made),
                () = places.stirred() => None,
            };
            if made.is_none() {
                rest(&mut places).await;
            }
            is_later = made
                .is_some_and(|made| made.is_err_and(|refusal| refusal.kind == RefusalKind::Busy));
            if !is_later {
                // What has changed meanwhile counts as well: the prints are those of before.
                seen.replace(now);
                continue;
            }
        }
        // Who writes a file closes it, which is an event; a queue that was full sends none.
        let again = match (is_changing, is_later) {
            (true, _) => WATCH_BURST_MAX,
            (false, true) => WATCH_AGAIN,
            (false, false) => Duration::MAX,
        };
        let _stirred_or_not = timeout(again, places.stirred()).await;
        rest(&mut places).await;
    }
}

/// Events come in bursts; the last one counts. Where they never end the files are looked at all the
/// same.
async fn rest(places: &mut Places) {
    let quiet = async { while timeout(WATCH_QUIET, places.stirred()).await.is_ok() {} };
    let _quiet_or_not = timeout(WATCH_BURST_MAX, quiet).await;
}
