//! Where a change to some files shows, and the kernel's word of it (inotify(7)).
//!
//! A file is reached by a path of folders and links, and each of them can be moved: Kubernetes
//! turns a link above a mounted configuration, a deployment renames a whole folder, an editor puts
//! a new file in the place of the old one. So every folder on the way is watched, for the one name
//! in it that the way goes by, and the file itself, for those who write it by another path (a bind
//! mount). All is found anew before each look. Reading is no event: nothing wakes us that we do
//! ourselves.

#![expect(unsafe_code, reason = "what tokio asks of a descriptor that it waits for is promised")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use crate::limits::WATCH_LINKS_MAX;

/// A name appears, disappears or leads elsewhere.
const FOLDER: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);
/// A file is written, or is no longer where it was.
const FILE: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF);

/// The places that are watched.
pub(super) struct Places {
    inotify: AsyncFd<OwnedFd>,
    /// By the kernel's number: the names in a folder that matter. Of a file every event does.
    watched: BTreeMap<i32, BTreeSet<OsString>>,
    /// What could not be watched, so that it is said once.
    refused: BTreeSet<PathBuf>,
}

impl Places {
    pub(super) fn new() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        // SAFETY: the value owns its descriptor, which is the same and open as long as it lives;
        // nobody takes it out or replaces it.
        let inotify = unsafe { AsyncFd::register(inotify)? };
        Ok(Self { inotify, watched: BTreeMap::new(), refused: BTreeSet::new() })
    }

    /// Watches what is on the way to these files now, and nothing else.
    pub(super) fn renew<'p>(&mut self, files: impl Iterator<Item = &'p Path>) {
        let mut folders: BTreeMap<PathBuf, BTreeSet<OsString>> = BTreeMap::new();
        let mut ends = BTreeSet::new();
        for file in files {
            let way = way(file);
            for (folder, name) in way.steps {
                folders.entry(folder).or_default().insert(name);
            }
            ends.extend(way.end);
        }
        let mut watched: BTreeMap<i32, BTreeSet<OsString>> = BTreeMap::new();
        let folders = folders.into_iter().map(|(path, names)| (path, names, FOLDER));
        let ends = ends.into_iter().map(|path| (path, BTreeSet::new(), FILE));
        for (path, names, flags) in folders.chain(ends) {
            if let Some(number) = self.watch(&path, flags) {
                watched.entry(number).or_default().extend(names);
            }
        }
        for number in self.watched.keys().filter(|number| !watched.contains_key(number)) {
            // One that has gone with its folder is not there any more.
            let _ = inotify::remove_watch(&self.inotify, *number);
        }
        self.watched = watched;
    }

    fn watch(&mut self, path: &Path, flags: WatchFlags) -> Option<i32> {
        match inotify::add_watch(&self.inotify, path, flags | WatchFlags::MASK_ADD) {
            Ok(number) => {
                self.refused.remove(path);
                Some(number)
            }
            // It has gone meanwhile, which is an event of the folder above; or it is a folder that
            // may be passed through and not read, as those above a home are.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => None,
            Err(error) => {
                if self.refused.insert(path.to_owned()) {
                    tracing::warn!("{} cannot be watched: {error}", path.display());
                }
                None
            }
        }
    }

    /// Waits for an event that matters. Dropped, it loses none that it has not answered.
    pub(super) async fn stirred(&mut self) {
        /// Room for some events with the longest names.
        const BYTES: usize = 4096;
        loop {
            let Ok(mut ready) = self.inotify.readable().await else {
                // The runtime ends.
                return std::future::pending().await;
            };
            let mut buffer = [MaybeUninit::uninit(); BYTES];
            let mut events = Reader::new(self.inotify.get_ref(), &mut buffer);
            let mut is_stirred = false;
            // One buffer at a time: a folder that never rests keeps nobody else waiting.
            loop {
                match events.next() {
                    Ok(event) => is_stirred |= matters(&self.watched, &event),
                    Err(Errno::INTR) => continue,
                    // There is no more.
                    Err(_) => {
                        ready.clear_ready();
                        break;
                    }
                }
                if events.is_buffer_empty() {
                    break;
                }
            }
            if is_stirred {
                return;
            }
        }
    }
}

fn matters(watched: &BTreeMap<i32, BTreeSet<OsString>>, event: &inotify::Event<'_>) -> bool {
    if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
        return true;
    }
    // One that is watched no longer has nothing to say.
    let Some(names) = watched.get(&event.wd()) else {
        return false;
    };
    match event.file_name() {
        Some(name) => names.contains(OsStr::from_bytes(name.to_bytes())),
        None => true,
    }
}

/// The way to a file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Way {
    /// Each folder, and the name in it by which the way goes on.
    steps: Vec<(PathBuf, OsString)>,
    /// The file, if it is there.
    end: Option<PathBuf>,
}

/// Follows a path as the kernel does, as far as it leads.
fn way(path: &Path) -> Way {
    let mut way = Way::default();
    let Ok(path) = std::path::absolute(path) else {
        return way;
    };
    let mut left: VecDeque<OsString> = parts(&path).collect();
    let mut here = PathBuf::from("/");
    let mut links = 0;
    while let Some(name) = left.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&name);
        way.steps.push((here.clone(), name));
        let Ok(data) = next.symlink_metadata() else {
            return way;
        };
        if !data.is_symlink() {
            here = next;
            continue;
        }
        links += 1;
        let Ok(target) = next.read_link() else {
            return way;
        };
        if links > WATCH_LINKS_MAX {
            return way;
        }
        if target.is_absolute() {
            here = PathBuf::from("/");
        }
        parts(&target).rev().for_each(|part| left.push_front(part));
    }
    way.end = here.is_file().then_some(here);
    way
}

/// The names of a path, and `..`.
fn parts(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests are no workers")]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("odin-places-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        path.canonicalize().unwrap()
    }

    #[test]
    fn a_way_has_every_folder_and_link() {
        let root = folder("links");
        std::fs::create_dir_all(root.join("mount/..2024")).unwrap();
        std::fs::write(root.join("mount/..2024/odin.yaml"), "").unwrap();
        symlink("..2024", root.join("mount/..data")).unwrap();
        symlink("..data/odin.yaml", root.join("mount/odin.yaml")).unwrap();
        let way = way(&root.join("mount/odin.yaml"));
        let mount = root.join("mount");
        let tail = &way.steps[way.steps.len() - 5..];
        let step = |folder: &Path, name: &str| (folder.to_owned(), OsString::from(name));
        assert_eq!(tail[0], step(&root, "mount"));
        assert_eq!(tail[1], step(&mount, "odin.yaml"));
        assert_eq!(tail[2], step(&mount, "..data"));
        assert_eq!(tail[3], step(&mount, "..2024"));
        assert_eq!(tail[4], step(&mount.join("..2024"), "odin.yaml"));
        assert_eq!(way.end, Some(mount.join("..2024/odin.yaml")));
        assert_eq!(way.steps[0].0, Path::new("/"));
    }

    #[test]
    fn a_way_ends_where_nothing_is() {
        let root = folder("missing");
        let missing = way(&root.join("a/b/odin.yaml"));
        assert_eq!(missing.steps.last(), Some(&(root.clone(), "a".into())));
        assert_eq!(missing.end, None);
        symlink("loop", root.join("loop")).unwrap();
        assert_eq!(way(&root.join("loop")).end, None);
        std::fs::write(root.join("file"), "").unwrap();
        assert_eq!(way(&root.join("a/../file")).end, None, "the kernel finds no a either");
    }
}
