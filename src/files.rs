//! Files: which are read on behalf of others, and how they are written. Control plane only.
//!
//! A path that came by the admin API or from a plugin's `config` may lead anywhere. [`read`] takes
//! regular files of real file systems alone: a pipe or a device may never end, and procfs and
//! sysfs show the process itself (its environment, its memory) and the kernel. It asks for the size
//! before it reads, and waits for a file system that does not answer only so long.
//!
//! What is written appears whole ([`Replacement`]), under a name that nobody could have put a link
//! at, and is never readable by more people than it shall be, not even for a moment.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::limits::{FILE_READ_TIMEOUT, FILE_READS_LOST_MAX};

/// What statfs(2) calls the file systems whose files are the kernel's words, or a process's.
const WINDOWS: [i64; 17] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0x6265_6570, // configfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0xcafe_4a11, // bpf
    0xde5e_81e4, // efivarfs
    0x6165_676c, // pstore
    0xf97c_ff8c, // selinux
    0x4341_5d53, // smack
    0x1980_0202, // mqueue
    0x6e73_6673, // nsfs
    0x4249_4e4d, // binfmt_misc
    0x6573_5543, // fusectl
];

/// Reads a whole file of at most so many bytes. Blocks, at most for [`FILE_READ_TIMEOUT`].
///
/// # Errors
/// Words that follow the file's name: why it is not read.
pub fn read(path: &Path, most: usize) -> Result<Vec<u8>, String> {
    let path = path.to_owned();
    within(FILE_READ_TIMEOUT, move || {
        let (file, bytes) = open(&path)?;
        contents(file, bytes, most)
    })
}

/// Runs what asks a file system, which may never answer, for at most so long.
///
/// # Errors
/// It took longer; or those of `ask`.
pub fn within<T: Send + 'static>(
    time: Duration,
    ask: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    /// Threads that nobody waits for any more: a system call on a file that is lost for good does
    /// not end.
    static LOST: AtomicUsize = AtomicUsize::new(0);
    // Relaxed: a bound on a count, it orders nothing.
    if LOST.load(Relaxed) >= FILE_READS_LOST_MAX {
        return Err(format!(
            "cannot be read: {FILE_READS_LOST_MAX} files are being waited for that never answered"
        ));
    }
    let (sender, answer) = sync_channel(0);
    let asking = move || {
        // A rendezvous: it fails exactly if nobody waits any more.
        if sender.send(ask()).is_err() {
            LOST.fetch_sub(1, Relaxed);
        }
    };
    let thread = std::thread::Builder::new().name("file".to_owned()).spawn(asking);
    thread.map_err(|error| format!("cannot be read: no thread for it: {error}"))?;
    match answer.recv_timeout(time) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => {
            LOST.fetch_add(1, Relaxed);
            Err(format!("cannot be read: its file system did not answer within {time:?}"))
        }
        Err(RecvTimeoutError::Disconnected) => Err("cannot be read: reading panicked".to_owned()),
    }
}

/// Opens a file that may be read, and tells its size. Never waits for another process.
///
/// # Errors
/// Words that follow the file's name.
pub fn open(path: &Path) -> Result<(File, u64), String> {
    let unread = |error: io::Error| format!("cannot be read: {error}");
    let file = File::from(open_plainly(path).map_err(|error| unread(error.into()))?);
    let meta = file.metadata().map_err(unread)?;
    if !meta.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let system = rustix::fs::fstatfs(&file).map_err(|error| unread(error.into()))?;
    if WINDOWS.contains(&(system.f_type & 0xffff_ffff)) {
        return Err("is not a file on disk but a view of the system (procfs, sysfs or the like), \
                    which is never read"
            .to_owned());
    }
    Ok((file, meta.len()))
}

/// Links are followed, but those of procfs: they lead to what a process has open.
fn open_plainly(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), resolve) {
        // An old kernel, or a filter of system calls that does not know it.
        Err(Errno::NOSYS | Errno::PERM) => rustix::fs::open(path, flags, Mode::empty()),
        opened => opened,
    }
}

/// The bytes of an opened file that said it has `bytes` of them.
///
/// # Errors
/// Words that follow the file's name.
pub fn contents(file: File, bytes: u64, most: usize) -> Result<Vec<u8>, String> {
    let too_large = || format!("is larger than {most} bytes, the limit");
    if bytes > most as u64 {
        return Err(too_large());
    }
    let mut contents = Vec::with_capacity(bytes as usize + 1);
    // It may grow meanwhile.
    let read = file.take(most as u64 + 1).read_to_end(&mut contents);
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if contents.len() > most { Err(too_large()) } else { Ok(contents) }
}

/// Opens a file to append to, which is made with `mode` if it is not there. A link at its place is
/// not followed and the reader of a pipe not waited for: the link could name any file.
///
/// # Errors
/// It cannot be opened, or is neither a regular file nor a pipe that somebody reads.
pub fn append(path: &Path, mode: u32) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(mode)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let other = |what: &str| Err(io::Error::other(format!("it is {what}; name a regular file")));
    let kind = |file: &File| file.metadata().map(|data| data.file_type());
    match file {
        Ok(file) if kind(&file)?.is_file() => Ok(file),
        Ok(file) if kind(&file)?.is_fifo() => {
            // Somebody reads it; how fast is for the writer to wait for.
            let flags = rustix::fs::fcntl_getfl(&file)?;
            rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
            Ok(file)
        }
        Ok(_) => other("not a regular file"),
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => other("a link"),
        Err(error) => Err(error),
    }
}

/// A file in the making, which takes its place at once: who reads meanwhile gets the old one or the
/// new one, whole. Dropped before that, it leaves nothing behind.
#[derive(Debug)]
pub struct Replacement {
    file: File,
    /// Where it is made: beside its place, under a name that nobody can know before.
    made_at: PathBuf,
    place: PathBuf,
    is_committed: bool,
}

impl Replacement {
    /// Begins a file that shall stand at `place` with `mode`, less what the umask takes.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn of(place: &Path, mode: u32) -> io::Result<Self> {
        let random = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
        let mut name = place.file_name().unwrap_or_default().to_owned();
        name.push(format!(".part-{random:016x}"));
        let made_at = place.with_file_name(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&made_at)?;
        Ok(Self { file, made_at, place: place.to_owned(), is_committed: false })
    }

    /// Appends to it.
    ///
    /// # Errors
    /// As of any write.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Gives it the owner, the extended attributes (access control lists among them) and the mode,
    /// whatever the umask, of the file whose place it takes.
    ///
    /// # Errors
    /// This process may not: it is neither root nor the owner. Then nothing has been changed.
    pub fn take_after(&self, original: &File) -> io::Result<()> {
        let (theirs, ours) = (original.metadata()?, self.file.metadata()?);
        if (theirs.uid(), theirs.gid()) != (ours.uid(), ours.gid()) {
            let owner = (Some(theirs.uid()), Some(theirs.gid()));
            std::os::unix::fs::fchown(&self.file, owner.0, owner.1).map_err(|error| {
                let text = "its owner and group could not be kept; only they or root may change it";
                io::Error::new(error.kind(), format!("{text}: {error}"))
            })?;
        }
        self.take_attributes(original)?;
        // Last, as a change of owner takes bits away.
        self.file.set_permissions(Permissions::from_mode(theirs.mode()))
    }

    fn take_attributes(&self, original: &File) -> io::Result<()> {
        use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};
        // What the kernel allows for all names, and for one value (linux/limits.h).
        const XATTR_MAX: usize = 64 << 10;
        let mut names = vec![0; XATTR_MAX];
        let length = match flistxattr(original, &mut names[..]) {
            // A file system without any.
            Err(Errno::NOTSUP) => return Ok(()),
            length => length?,
        };
        let mut value = vec![0; XATTR_MAX];
        for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            // A label of the system's policy, which gives new files theirs.
            if name.starts_with(b"security.") {
                continue;
            }
            let length = fgetxattr(original, name, &mut value[..])?;
            fsetxattr(&self.file, name, &value[..length], XattrFlags::empty())?;
        }
        Ok(())
    }

    /// Puts it in its place. A link there is replaced, not followed.
    ///
    /// # Errors
    /// The disk is full, or the place is a folder.
    pub fn commit(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.made_at, &self.place)?;
        self.is_committed = true;
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.is_committed {
            // What is left of it is of no use to anybody.
            let _ = fs::remove_file(&self.made_at);
        }
    }
}

#[cfg(test)]
mod tests;
