//! The files of modules: read, bounded and hashed. One that is as it was is not read again, so that
//! a reload costs what it changes and not what all plugins weigh (Go's have megabytes).
//!
//! A file is as it was if it has the same inode, size and times. That says nothing about a file
//! that was changed so shortly before it was read that a later change could bear the same time:
//! such a file is read again the next time (as git does with its index).

use std::collections::{HashMap, HashSet};
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::courtesy::sha256;
use crate::files;
use crate::limits::{FILE_READ_TIMEOUT, PLUGIN_MODULE_BYTES_MAX};
use crate::text::hex;

/// So long a file must have been left alone before it is believed to be as it was: more than the
/// steps of any file system's clock (FAT has two seconds).
const SETTLED_AFTER: Duration = Duration::from_secs(3);

/// The files that configurations name, as they were read last.
#[derive(Default)]
pub(super) struct Modules {
    /// Of the configuration that is being loaded, and of the one before: what neither names is
    /// forgotten.
    known: HashMap<PathBuf, Known>,
    before: HashMap<PathBuf, Known>,
}

#[derive(Clone, Copy)]
struct Known {
    identity: Identity,
    digest: [u8; 32],
}

/// What changes with a file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    inode: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: (metadata.dev(), metadata.ino()),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn is_settled(&self, now: SystemTime) -> bool {
        let seconds = u64::try_from(self.changed.0).unwrap_or(0);
        UNIX_EPOCH + Duration::from_secs(seconds + 1) + SETTLED_AFTER <= now
    }
}

impl Modules {
    /// Another configuration is being loaded.
    pub(super) fn begin(&mut self) {
        self.before = std::mem::take(&mut self.known);
    }

    /// Part of a configuration is being loaded, which names these files.
    pub(super) fn forget_all_but(&mut self, named: &HashSet<PathBuf>) {
        self.known.retain(|path, _| named.contains(path));
        self.before.retain(|path, _| named.contains(path));
    }

    /// Whether the file is the one that was read last, with this digest.
    pub(super) fn is_as_it_was(&mut self, path: &Path, digest: &[u8; 32]) -> bool {
        let known = self.known.get(path).or_else(|| self.before.get(path)).copied();
        let Some(known) = known.filter(|known| known.digest == *digest) else {
            return false;
        };
        let is = found(path).is_ok_and(|identity| known.identity == identity);
        if is {
            self.known.insert(path.to_owned(), known);
        }
        is
    }

    /// Reads a module; gives its bytes and their digest.
    pub(super) fn read(
        &mut self,
        path: &Path,
        now: SystemTime,
    ) -> Result<(Vec<u8>, [u8; 32]), String> {
        let (before, wasm, after) = {
            let path = path.to_owned();
            files::within(FILE_READ_TIMEOUT, move || {
                let (file, bytes) = files::open(&path)?;
                let before = identity(&file)?;
                let kept = file.try_clone().map_err(|error| unread(&error))?;
                let wasm = files::contents(file, bytes, PLUGIN_MODULE_BYTES_MAX)?;
                Ok((before, wasm, identity(&kept)?))
            })?
        };
        let digest = sha256(&wasm);
        if after == before && after.is_settled(now) {
            self.known.insert(path.to_owned(), Known { identity: after, digest });
        }
        Ok((wasm, digest))
    }
}

/// What stands at `path` now. What a network's file system says of a name may be old, what it opens
/// is not.
fn found(path: &Path) -> Result<Identity, String> {
    let path = path.to_owned();
    files::within(FILE_READ_TIMEOUT, move || identity(&files::open(&path)?.0))
}

fn identity(file: &File) -> Result<Identity, String> {
    file.metadata().map(|data| Identity::of(&data)).map_err(|error| unread(&error))
}

fn unread(error: &std::io::Error) -> String {
    format!("cannot be read: {error}")
}

/// Refuses a module that has another digest than the configuration pins.
pub(super) fn check(digest: &[u8; 32], pinned: Option<&[u8; 32]>) -> Result<(), String> {
    if pinned.is_none_or(|pinned| digest == pinned) {
        return Ok(());
    }
    let got = hex(digest);
    Err(format!("has sha256 {got}, which is not the one in the configuration"))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests are no workers")]
mod tests {
    use super::*;

    /// A file of this test's own.
    struct Scene {
        folder: PathBuf,
        modules: Modules,
        now: SystemTime,
    }

    impl Scene {
        fn new(name: &str) -> Self {
            let folder =
                std::env::temp_dir().join(format!("odin-modules-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            // An hour later: what is written now has been left alone.
            let now = SystemTime::now() + Duration::from_secs(3600);
            Self { folder, modules: Modules::default(), now }
        }

        fn path(&self) -> PathBuf {
            self.folder.join("plugin.wasm")
        }

        /// Whether one who has loaded `content` must read the file; if so it is read.
        fn is_read(&mut self, content: &[u8]) -> bool {
            self.modules.begin();
            let path = self.path();
            let is_read = !self.modules.is_as_it_was(&path, &sha256(content));
            if is_read {
                self.modules.read(&path, self.now).unwrap();
            }
            is_read
        }
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }

    #[test]
    fn a_file_that_is_as_it_was_is_not_read_again() {
        let mut scene = Scene::new("same");
        std::fs::write(scene.path(), b"one").unwrap();
        assert!(scene.is_read(b"one"), "it is not known yet");
        assert!(!scene.is_read(b"one"));
        assert!(!scene.is_read(b"one"));
        assert!(scene.is_read(b"two"), "what was loaded is another module");
    }

    #[test]
    fn a_file_of_the_same_size_and_modification_time_is_read_again() {
        let mut scene = Scene::new("rewritten");
        std::fs::write(scene.path(), b"one").unwrap();
        let modified = scene.path().metadata().unwrap().modified().unwrap();
        assert!(scene.is_read(b"one"));
        // The kernel stamps changes with a clock that ticks: another stamp has to be there.
        let before = Identity::of(&scene.path().metadata().unwrap()).changed;
        while Identity::of(&scene.path().metadata().unwrap()).changed == before {
            std::fs::write(scene.path(), b"two").unwrap();
            std::fs::File::open(scene.path()).unwrap().set_modified(modified).unwrap();
        }
        assert!(scene.is_read(b"one"));
        assert!(!scene.is_read(b"two"));
    }

    #[test]
    fn a_file_that_was_just_written_is_read_again() {
        let mut scene = Scene::new("fresh");
        scene.now = SystemTime::now();
        std::fs::write(scene.path(), b"one").unwrap();
        assert!(scene.is_read(b"one"));
        assert!(scene.is_read(b"one"));
    }

    #[test]
    fn what_no_configuration_names_any_more_is_forgotten() {
        let mut scene = Scene::new("forgotten");
        std::fs::write(scene.path(), b"one").unwrap();
        assert!(scene.is_read(b"one"));
        scene.modules.begin();
        scene.modules.begin();
        assert!(scene.is_read(b"one"));
    }
}
