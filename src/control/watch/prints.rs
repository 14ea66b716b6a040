//! What tells a file from the one that stood there before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::control::config::{Config, Located, Tls};
use crate::limits::CONFIG_BYTES_MAX;

/// What files looked like at some time.
#[derive(Debug, Default, Clone)]
pub struct Seen(BTreeMap<PathBuf, Print>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Print {
    /// It is not there.
    None,
    /// Of the configuration: its digest, so that what the gateway wrote itself is known.
    Digest([u8; 32]),
    /// Of any other: device, inode, size and time of change.
    Stat([u64; 3], [i64; 2]),
}

/// The files that matter.
#[derive(Debug, Default)]
pub struct Files {
    modules: BTreeSet<PathBuf>,
    config: Option<PathBuf>,
}

impl Files {
    /// A configuration, and the modules, certificates and files with values that it names.
    #[must_use]
    pub fn of(located: &Located, config: &Config) -> Self {
        // What is fetched is called by its digest: no change of that file means another module.
        let enabled = config.wasm.plugins.iter();
        let enabled = enabled.filter(|plugin| plugin.enabled && plugin.remote.is_none());
        let modules = enabled.map(|plugin| config.wasm.file_of(plugin));
        let certificates = config.services.iter().flat_map(|service| service.origins.tls.files());
        let certificates = certificates.chain(&config.secret_files);
        let certificates = certificates.chain(config.modules.files()).cloned();
        let tls = config.server.listen.iter().filter_map(|listener| listener.tls.as_ref());
        let tls = tls.chain(&config.admin.tls).flat_map(Tls::files).map(Path::to_owned);
        let modules = modules.chain(certificates).chain(tls).collect();
        let config = match located {
            Located::File(path) => Some(path.clone()),
            Located::Embedded | Located::Given { .. } => None,
        };
        Self { modules, config }
    }

    /// Those of a configuration that was tried as well.
    pub(super) fn add(&mut self, tried: &Seen) {
        let modules = tried.0.iter().filter(|(_, print)| !matches!(print, Print::Digest(_)));
        self.modules.extend(modules.map(|(path, _)| path.clone()));
    }

    /// Where they are.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.modules.iter().chain(&self.config).map(PathBuf::as_path)
    }

    /// What they look like now. Blocks.
    #[must_use]
    pub fn look(&self) -> Seen {
        let modules = self.modules.iter().map(|path| (path.clone(), stat(path)));
        let config = self.config.iter().map(|path| (path.clone(), digest(path)));
        Seen(modules.chain(config).collect())
    }
}

impl Seen {
    /// The gateway has written the file at `path`, which is there `now`: that is no change.
    pub(super) fn forgive(&mut self, path: &Path, written: [u8; 32], now: &Self) {
        let print = Print::Digest(written);
        if now.0.get(path) == Some(&print) {
            self.0.insert(path.to_owned(), print);
        }
    }

    /// Files that nobody has looked at before are new: they are as they were when the configuration
    /// that names them was `tried`, before it was compiled; else (the admin API named them) as they
    /// are `now`. Of those that nobody names any more nothing is kept.
    pub(super) fn begin(&mut self, now: &Self, tried: Option<&Self>) {
        self.0.retain(|path, _| now.0.contains_key(path));
        for (path, print) in &now.0 {
            if !self.0.contains_key(path) {
                let tried = tried.and_then(|tried| tried.0.get(path));
                self.0.insert(path.clone(), tried.unwrap_or(print).clone());
            }
        }
    }

    /// Whether a file has changed.
    pub(super) fn differs_from(&self, now: &Self) -> bool {
        now.0.iter().any(|(path, print)| self.0.get(path).is_some_and(|seen| seen != print))
    }

    /// They have been seen as they were at `now`.
    pub(super) fn replace(&mut self, now: Self) {
        self.0 = now.0;
    }
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
