//! Which files are read, and how they are written.

#![expect(clippy::disallowed_methods, reason = "there is no worker in these tests")]

use std::os::unix::fs::{MetadataExt, symlink};
use std::time::Instant;

use super::*;

/// A folder of the test's own, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("odin-files-{name}-{}", std::process::id()));
        let _not_there = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn regular_files_are_read_by_links_too_up_to_their_bound() {
    let folder = Folder::new("read");
    let file = folder.0.join("file");
    fs::write(&file, "12345").unwrap();
    let link = folder.0.join("link");
    symlink(&file, &link).unwrap();
    assert_eq!(read(&file, 5).unwrap(), b"12345");
    assert_eq!(read(&link, 5).unwrap(), b"12345");
    assert_eq!(read(&file, 4).unwrap_err(), "is larger than 4 bytes, the limit");
    let error = read(&folder.0.join("none"), 5).unwrap_err();
    assert!(error.starts_with("cannot be read: No such file"), "{error}");
    assert_eq!(read(&folder.0, 5).unwrap_err(), "is not a regular file");
}

#[test]
fn a_file_that_is_too_large_is_refused_before_it_is_read() {
    let folder = Folder::new("large");
    let file = folder.0.join("file");
    // A terabyte that takes no room: reading it would take minutes.
    File::create(&file).unwrap().set_len(1 << 40).unwrap();
    let started = Instant::now();
    assert!(read(&file, 1 << 30).unwrap_err().starts_with("is larger than"));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_shows_the_process_or_the_kernel_is_never_read() {
    let folder = Folder::new("views");
    let link = folder.0.join("link");
    symlink("/proc/self/environ", &link).unwrap();
    let link = link.to_string_lossy();
    // By a link of the process's own to a file that lies on a disk, too.
    let open = File::create(folder.0.join("open")).unwrap();
    let descriptor = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&open));
    for path in [
        "/proc/self/environ",
        "/proc/self/maps",
        "/proc/kmsg",
        "/proc/sys/kernel/hostname",
        "/sys/kernel/uevent_seqnum",
        "/proc/self/exe",
        "/proc/self/cwd/Cargo.toml",
        &descriptor,
        &link,
    ] {
        let refused = read(Path::new(path), 1 << 30);
        assert!(refused.is_err(), "{path}");
    }
    assert!(read(Path::new("/proc/self/environ"), 1 << 20).unwrap_err().contains("procfs"));
}

#[test]
fn pipes_and_devices_are_not_waited_for() {
    let folder = Folder::new("pipe");
    let pipe = folder.0.join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
    let socket = folder.0.join("socket");
    let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let started = Instant::now();
    for path in [&*pipe, &socket, Path::new("/dev/zero"), Path::new("/dev/random")] {
        assert!(read(path, 1 << 20).is_err(), "{}", path.display());
    }
    assert!(append(&pipe, 0o600).is_err());
    assert!(started.elapsed() < FILE_READ_TIMEOUT);
}

#[test]
fn a_file_system_that_does_not_answer_is_waited_for_only_so_long() {
    let started = Instant::now();
    let (_ends, lost) = sync_channel::<()>(0);
    let error = within(Duration::from_millis(20), move || {
        let _ = lost.recv_timeout(Duration::from_secs(60));
        Ok(())
    });
    assert!(error.unwrap_err().contains("did not answer"));
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_replacement_has_its_mode_from_the_first_moment_and_follows_no_link() {
    let folder = Folder::new("replace");
    let (place, victim) = (folder.0.join("place"), folder.0.join("victim"));
    fs::write(&victim, "kept").unwrap();
    symlink(&victim, &place).unwrap();
    let mut replacement = Replacement::of(&place, 0o600).unwrap();
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&replacement.made_at), 0o600);
    replacement.write(b"new").unwrap();
    assert_eq!(fs::read(&place).unwrap(), b"kept");
    replacement.commit().unwrap();
    assert_eq!((fs::read(&place).unwrap(), mode(&place)), (b"new".to_vec(), 0o600));
    assert_eq!(fs::read(&victim).unwrap(), b"kept");
    drop(Replacement::of(&place, 0o600).unwrap());
    assert_eq!(folder.names(), ["place", "victim"], "nothing is left of what was given up");
}

#[test]
fn what_is_appended_to_is_no_link_and_is_made_with_its_mode() {
    let folder = Folder::new("append");
    let (log, link) = (folder.0.join("log"), folder.0.join("link"));
    append(&log, 0o640).unwrap().write_all(b"one\n").unwrap();
    append(&log, 0o640).unwrap().write_all(b"two\n").unwrap();
    assert_eq!(fs::read(&log).unwrap(), b"one\ntwo\n");
    assert_eq!(fs::metadata(&log).unwrap().mode() & 0o137, 0, "0640, less the umask");
    symlink(&log, &link).unwrap();
    assert_eq!(append(&link, 0o640).unwrap_err().to_string(), "it is a link; name a regular file");
    let none = folder.0.join("none");
    fs::remove_file(&link).unwrap();
    symlink(&none, &link).unwrap();
    append(&link, 0o640).unwrap_err();
    assert!(!none.exists());
}

#[test]
fn what_takes_a_files_place_has_its_owner_mode_and_attributes() {
    let folder = Folder::new("after");
    let file = folder.0.join("file");
    fs::write(&file, "old").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o2654)).unwrap();
    let original = File::open(&file).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    // Not every file system has attributes for users.
    let has_attributes = rustix::fs::fsetxattr(&original, "user.note", b"mine", flags).is_ok();
    // Only root can give a file away; anybody else sees that the owner stays.
    let is_given = std::os::unix::fs::fchown(&original, Some(65534), Some(65534)).is_ok();
    let before = original.metadata().unwrap();

    let mut next = Replacement::of(&file, 0o600).unwrap();
    next.write(b"new").unwrap();
    next.take_after(&original).unwrap();
    next.commit().unwrap();

    let after = fs::metadata(&file).unwrap();
    assert_ne!(before.ino(), after.ino());
    assert_eq!(
        (before.uid(), before.gid(), before.mode()),
        (after.uid(), after.gid(), after.mode())
    );
    assert_eq!(is_given, after.uid() == 65534);
    let mut value = [0; 8];
    let length = rustix::fs::getxattr(&file, "user.note", &mut value[..]);
    assert_eq!(length.is_ok(), has_attributes);
    assert!(length.is_err() || &value[..4] == b"mine");
}
