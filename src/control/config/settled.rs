//! A file that somebody is still writing is not read: half of a configuration may be one too.
//!
//! Two signs. A process has the file open for writing: the kernel says so by refusing a lease
//! (fcntl(2), `F_SETLEASE`), and while we have the lease nobody begins to write. And the file has
//! not rested: who writes it in several steps, each with a descriptor of its own, is seen by its
//! times alone. Of another user's file, and on a network, there are no leases for us: there it has
//! to rest for longer.

#![expect(unsafe_code, reason = "rustix has no leases")]

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::limits::{CONFIG_REST, CONFIG_REST_UNSEEN, CONFIG_SETTLE_TIMEOUT};

/// Reads at most `most` bytes of a file, once nobody writes it. Blocks, at most for
/// [`CONFIG_SETTLE_TIMEOUT`].
///
/// # Errors
/// Words that follow the file's name.
pub(super) fn read(path: &Path, most: u64) -> Result<Vec<u8>, Unread> {
    let started = Instant::now();
    // What it looked like at the last look, and since when.
    let mut last: Option<(Look, Instant)> = None;
    loop {
        let (look, sign) = match attempt(path, most, last.as_ref()).map_err(unread)? {
            Attempt::Read(bytes) => return Ok(bytes),
            Attempt::Written(look, sign) => (look, sign),
        };
        if started.elapsed() >= CONFIG_SETTLE_TIMEOUT {
            return Err(Unread::Written(format!(
                "is still being written ({sign}), so nothing is taken from it; write another file \
                 and rename it to this one, or reload when it is complete"
            )));
        }
        if last.as_ref().is_none_or(|(last, _)| *last != look) {
            last = Some((look, Instant::now()));
        }
        pause();
    }
}

/// Why a file was not read, in words that follow its name.
#[derive(Debug)]
pub(super) enum Unread {
    /// Somebody goes on writing it.
    Written(String),
    /// It can't be.
    Failed(String),
}

fn unread(error: std::io::Error) -> Unread {
    Unread::Failed(format!("can't be read: {error}; give a file with --config"))
}

#[expect(clippy::disallowed_methods, reason = "beside the control thread, where files are read")]
fn pause() {
    std::thread::sleep(CONFIG_REST / 4);
}

enum Attempt {
    Read(Vec<u8>),
    /// It looks so, and by this sign somebody writes it.
    Written(Look, &'static str),
}

fn attempt(path: &Path, most: u64, last: Option<&(Look, Instant)>) -> std::io::Result<Attempt> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        // A pipe ends when it has been written.
        return contents(&file, most).map(Attempt::Read);
    }
    let look = Look::of(&meta);
    let lease = match Lease::take(&file) {
        Taken::Leased(lease) => Some(lease),
        Taken::Unknown => None,
        Taken::Written => {
            return Ok(Attempt::Written(look, "a process has it open for writing"));
        }
    };
    let rest = if lease.is_some() { CONFIG_REST } else { CONFIG_REST_UNSEEN };
    let has_rested = last.is_some_and(|(last, since)| *last == look && since.elapsed() >= rest);
    if !has_rested && !look.is_older_than(rest, SystemTime::now()) {
        return Ok(Attempt::Written(look, "it has just changed"));
    }
    let bytes = contents(&file, most)?;
    drop(lease);
    match Look::of(&file.metadata()?) == look && path.metadata()?.ino() == meta.ino() {
        true => Ok(Attempt::Read(bytes)),
        false => Ok(Attempt::Written(look, "it changed while it was read")),
    }
}

fn contents(file: &File, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What changes with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    inode: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Look {
    fn of(meta: &Metadata) -> Self {
        Self {
            inode: (meta.dev(), meta.ino()),
            bytes: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Whether it was left alone for so long by the clock, which may be another machine's.
    fn is_older_than(&self, rest: Duration, now: SystemTime) -> bool {
        [self.modified, self.changed].iter().all(|&(seconds, nanoseconds)| {
            let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
            let nanoseconds = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0));
            let age = UNIX_EPOCH
                .checked_add(seconds + nanoseconds)
                .and_then(|at| now.duration_since(at).ok());
            age.is_some_and(|age| age >= rest)
        })
    }
}

/// The right to be told before anybody opens the file for writing; who does waits until it is given
/// back, which its end does.
struct Lease<'f>(&'f File);

enum Taken<'f> {
    Leased(Lease<'f>),
    /// Somebody has it open for writing.
    Written,
    /// Not known: another user's file, or a file system without leases.
    Unknown,
}

impl<'f> Lease<'f> {
    fn take(file: &'f File) -> Taken<'f> {
        /// What `fcntl(2)` calls the signal that tells of a lease that is asked for (Linux's own
        /// number; not in all of libc's targets).
        const F_SETSIG: libc::c_int = 10;
        // A network's file system leases by its server's leave, whoever writes.
        let is_far = rustix::fs::fstatfs(file)
            .map_or(true, |system| FAR.contains(&(system.f_type & 0xffff_ffff)));
        if is_far {
            return Taken::Unknown;
        }
        let fd = file.as_raw_fd();
        // SAFETY: fcntl(2) of an open descriptor with numbers alone. The signal is one that is
        // ignored unless it is asked for: the usual one, SIGIO, would end the process.
        let is_quiet = unsafe { libc::fcntl(fd, F_SETSIG, libc::SIGURG) } == 0;
        if !is_quiet {
            return Taken::Unknown;
        }
        // SAFETY: as above.
        match unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) } {
            0 => Taken::Leased(Self(file)),
            _ => match std::io::Error::last_os_error().kind() {
                std::io::ErrorKind::WouldBlock => Taken::Written,
                _ => Taken::Unknown,
            },
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        // SAFETY: as above; closing the file would do as well.
        let _ = unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
    }
}

/// What statfs(2) calls file systems of other machines.
const FAR: [i64; 5] = [
    0x6969,      // nfs
    0xff53_4d42, // cifs
    0xfe53_4d42, // smb2
    0x0102_1997, // 9p
    0x00c3_6400, // ceph
];

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests are no workers")]
mod tests {
    use super::*;
    use std::io::Write;
    use std::path::PathBuf;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("odin-settled-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_file_that_somebody_has_open_for_writing_is_not_read() {
        let path = path("open");
        let mut writer = File::create(&path).unwrap();
        writer.write_all(b"half").unwrap();
        let Err(Unread::Written(error)) = read(&path, 100) else { panic!("it was read") };
        assert!(error.contains("still being written (a process has it open"), "{error}");
        writer.write_all(b" and half").unwrap();
        drop(writer);
        assert_eq!(read(&path, 100).unwrap(), b"half and half");
        assert_eq!(read(&path, 4).unwrap(), b"half");
    }

    #[test]
    fn a_file_that_has_just_changed_is_read_when_it_rests() {
        let path = path("steps");
        std::fs::write(&path, "a").unwrap();
        // Ahead of our clock: its age says nothing.
        let ahead = SystemTime::now() + Duration::from_secs(3600);
        File::options().append(true).open(&path).unwrap().set_modified(ahead).unwrap();
        let seen = |last: Option<&(Look, Instant)>| match attempt(&path, 100, last).unwrap() {
            Attempt::Read(bytes) => Ok(bytes),
            Attempt::Written(look, _) => Err(look),
        };
        let look = seen(None).unwrap_err();
        let now = Instant::now();
        assert!(seen(Some(&(look.clone(), now))).is_err());
        let long_ago = now.checked_sub(CONFIG_REST).unwrap();
        assert_eq!(seen(Some(&(look.clone(), long_ago))).unwrap(), b"a");
        // Another step.
        File::options().append(true).open(&path).unwrap().write_all(b"b").unwrap();
        assert!(seen(Some(&(look, long_ago))).is_err());
        assert_eq!(read(&path, 100).unwrap(), b"ab");
    }

    #[test]
    fn a_writer_that_comes_while_there_is_a_lease_ends_nothing() {
        let path = path("lease");
        std::fs::write(&path, "a").unwrap();
        let file = File::open(&path).unwrap();
        let Taken::Leased(lease) = Lease::take(&file) else {
            panic!("a file of our own can be leased");
        };
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| std::fs::write(&path, "b").unwrap());
            drop(lease);
            writing.join().unwrap();
        });
        assert_eq!(std::fs::read(&path).unwrap(), b"b");
    }

    #[test]
    fn what_is_no_file_is_read_as_it_comes() {
        assert_eq!(read(Path::new("/dev/null"), 100).unwrap(), b"");
        let missing = read(Path::new("/nonexistent/file"), 100);
        assert!(matches!(missing, Err(Unread::Failed(_))), "{missing:?}");
    }

    #[test]
    fn a_clock_that_is_ahead_is_not_believed() {
        let path = path("clock");
        std::fs::write(&path, "a").unwrap();
        let look = Look::of(&path.metadata().unwrap());
        let later = SystemTime::now() + Duration::from_secs(60);
        assert!(look.is_older_than(CONFIG_REST, later));
        assert!(!look.is_older_than(CONFIG_REST, UNIX_EPOCH));
    }
}
