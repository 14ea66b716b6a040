//! Reads the configuration again when it, or the file of a plugin, changes on disk.
//!
//! The folders are watched, not the files: editors and deployments put a new file in the place of
//! the old one, Kubernetes turns a link of a folder above. What an event means is not asked: after
//! some quiet the files are compared with what was last read, by identity, size and time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::config::{Config, Located};
use super::reload::{Cause, Change, Control};
use crate::limits::{CONFIG_BYTES_MAX, WATCH_BURST_MAX, WATCH_QUIET};

/// What tells a file from the one that stood there before.
#[derive(Clone, PartialEq, Eq)]
enum Print {
    /// It is not there.
    None,
    /// Of the configuration: its digest, so that what the gateway wrote itself is known.
    Digest([u8; 32]),
    /// Of a module: device, inode, size and time of change.
    Stat([u64; 3], [i64; 2]),
}

/// What the files looked like before they were read: a change since then is one.
pub struct Seen(BTreeMap<PathBuf, Print>);

impl Seen {
    /// Looks at the files of a configuration that is about to be compiled.
    #[must_use]
    pub fn before(located: &Located, config: &Config) -> Self {
        Self(prints(located, config))
    }
}

/// Watches for as long as it is polled.
pub async fn run(located: &Located, control: &Control, Seen(mut seen): Seen) {
    let stirred = Arc::new(Notify::new());
    let stir = Arc::clone(&stirred);
    let watcher = notify::recommended_watcher(move |_: notify::Result<notify::Event>| {
        stir.notify_one();
    });
    let mut watcher = match watcher {
        Ok(watcher) => watcher,
        Err(error) => {
            return tracing::error!("files cannot be watched: {error}; reload by SIGHUP");
        }
    };
    let mut folders = BTreeSet::new();
    watch_folders(&mut watcher, &mut folders, seen.keys());
    // What changed before anything was watched has sent no event.
    stirred.notify_one();
    loop {
        stirred.notified().await;
        // Events come in bursts; the last one counts. Where they never end (a log is written in the
        // same folder), the files are looked at all the same.
        let quiet = async { while timeout(WATCH_QUIET, stirred.notified()).await.is_ok() {} };
        let _quiet_or_not = timeout(WATCH_BURST_MAX, quiet).await;
        let now = prints(located, &control.running().config);
        if let (Located::File(path), Some(written)) = (located, control.written())
            && now.get(path) == Some(&Print::Digest(written))
        {
            // The admin API did that.
            seen.insert(path.clone(), Print::Digest(written));
        }
        if now == seen {
            continue;
        }
        // How it went is in the log. A refused file is not tried again until it changes.
        let _ = control.make(Change::File, Cause::Watch).await;
        // What has changed meanwhile counts as well, so the prints are those of before; files that
        // are new in the configuration are added.
        seen = prints(located, &control.running().config);
        seen.extend(now);
        watch_folders(&mut watcher, &mut folders, seen.keys());
        sleep(WATCH_QUIET).await;
        stirred.notify_one();
    }
}

/// The files that matter, and what they look like now.
fn prints(located: &Located, config: &Config) -> BTreeMap<PathBuf, Print> {
    let mut prints = BTreeMap::new();
    let enabled = config.wasm.plugins.iter().filter(|plugin| plugin.enabled);
    for plugin in enabled {
        let path = config.wasm.file_of(plugin);
        let print = stat(&path);
        prints.insert(path, print);
    }
    if let Located::File(path) = located {
        prints.insert(path.clone(), digest(path));
    }
    prints
}

fn stat(path: &Path) -> Print {
    path.metadata().map_or(Print::None, |data| {
        Print::Stat([data.dev(), data.ino(), data.size()], [data.mtime(), data.mtime_nsec()])
    })
}

fn digest(path: &Path) -> Print {
    let most = CONFIG_BYTES_MAX as u64 + 1;
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most).read_to_end(&mut text));
    read.map_or(Print::None, |_| Print::Digest(Sha256::digest(&text).into()))
}

/// Watches the folder of each file, unless it is watched.
fn watch_folders<'p>(
    watcher: &mut RecommendedWatcher,
    watched: &mut BTreeSet<PathBuf>,
    files: impl Iterator<Item = &'p PathBuf>,
) {
    for file in files {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).to_owned();
        if watched.contains(&folder) {
            continue;
        }
        match watcher.watch(&folder, RecursiveMode::NonRecursive) {
            Ok(()) => {
                watched.insert(folder);
            }
            Err(error) => tracing::warn!("{} cannot be watched: {error}", folder.display()),
        }
    }
}
