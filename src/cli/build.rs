//! `odin-cli run --build`: builds the plugin again whenever a source of it changes. The gateway
//! sees the new module by itself.
//!
//! An event only says when to look: sources are then compared with what they were when the last
//! build began, so that what is saved during a build is built next.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use odin::control::terminal::err;
use odin::limits;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};

/// Folders that hold what tools make, in each of the four languages' projects.
const MADE: [&str; 4] = ["build", "dist", "node_modules", "target"];
const CHANGES: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::CREATE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE);

/// Each source's size and the time of its last change.
type Sources = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

/// Builds in the current folder.
pub(crate) struct Builder {
    command: String,
    /// The module that is made: no source of itself.
    module: PathBuf,
    inotify: OwnedFd,
    /// The sources when the last build began.
    seen: Sources,
}

impl Builder {
    /// # Errors
    /// Why the folder cannot be watched.
    pub(crate) fn new(command: &str, module: &Path) -> Result<Self, String> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(|error| format!("--build: files cannot be watched: {error}"))?;
        let (command, module) = (command.to_owned(), module.to_owned());
        Ok(Self { command, module, inotify, seen: Sources::new() })
    }

    /// Builds once; whether that went well.
    ///
    /// # Errors
    /// Why nothing can be built here.
    pub(crate) fn build(&mut self) -> Result<bool, String> {
        self.seen = self.look()?;
        let started = Instant::now();
        let status = Command::new("sh").args(["-c", &self.command]).status();
        let status = status.map_err(|error| format!("--build: cannot run sh: {error}"))?;
        let (command, took) = (&self.command, started.elapsed());
        if status.success() {
            err(format_args!("odin-cli: built in {took:.1?} ({command})"));
        } else {
            err(format_args!(
                "odin-cli: {command:?} failed ({status}); what was built before stays"
            ));
        }
        Ok(status.success())
    }

    /// Builds after each change, for as long as the process lives.
    #[expect(clippy::disallowed_methods, reason = "a thread of its own")]
    pub(crate) fn watch(mut self) {
        let mut in_a_row = 0;
        loop {
            let now = match self.look() {
                Ok(now) => now,
                Err(error) => {
                    return err(format_args!("odin-cli: {error}; nothing is built again"));
                }
            };
            if now == self.seen {
                in_a_row = 0;
                self.wait();
                continue;
            }
            // Saved during the last build, or written by it. One that writes each time would keep
            // the machine busy for ever.
            in_a_row += 1;
            if in_a_row > limits::BUILDS_IN_A_ROW {
                std::thread::sleep(limits::BUILD_PAUSE);
            }
            if let Err(error) = self.build() {
                return err(format_args!("odin-cli: {error}; nothing is built again"));
            }
        }
    }

    /// Watches all folders of sources, and says what they hold.
    fn look(&self) -> Result<Sources, String> {
        let mut sources = Sources::new();
        let mut folders = vec![PathBuf::from(".")];
        while let Some(folder) = folders.pop() {
            // One that has gone meanwhile is a change of the folder above.
            let _gone = inotify::add_watch(&self.inotify, &folder, CHANGES);
            for entry in folder.read_dir().into_iter().flatten().flatten() {
                let (name, path) = (entry.file_name(), entry.path());
                let name = name.to_string_lossy();
                let Ok(data) = entry.metadata() else { continue };
                if name.starts_with('.') || name.ends_with('~') {
                    continue;
                }
                if data.is_dir() && !MADE.contains(&&*name) {
                    folders.push(path);
                } else if data.is_file() && !self.is_module(&path) {
                    sources.insert(path, (data.len(), data.modified().ok()));
                }
            }
            let most = limits::BUILD_SOURCES_MAX;
            if sources.len() + folders.len() > most {
                return Err(format!(
                    "--build: this folder holds over {most} files and folders; run odin-cli in \
                     the plugin's own"
                ));
            }
        }
        Ok(sources)
    }

    fn is_module(&self, path: &Path) -> bool {
        std::path::absolute(path).is_ok_and(|path| path == self.module)
    }

    /// Until something has happened and it is quiet again: an editor saves in several steps.
    fn wait(&self) {
        self.stirs_within(None);
        let began = Instant::now();
        while began.elapsed() < limits::BUILD_BURST_MAX
            && self.stirs_within(Some(limits::BUILD_QUIET))
        {}
    }

    /// Whether there was an event in this time; all that are there are taken.
    fn stirs_within(&self, time: Option<Duration>) -> bool {
        let time = time.and_then(|time| Timespec::try_from(time).ok());
        let mut watched = [PollFd::new(&self.inotify, PollFlags::IN)];
        if !poll(&mut watched, time.as_ref()).is_ok_and(|ready| ready > 0) {
            return false;
        }
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(&self.inotify, &mut buffer);
        while events.next().is_ok() {}
        true
    }
}
