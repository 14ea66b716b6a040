//! What a supervisor is told: systemd by messages (sd_notify, `Type=notify`), others by a file that
//! holds the process's id.

use std::cell::RefCell;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

use crate::files::{self, Replacement};

/// Of the file with the process's id: everybody may know it.
const PID_FILE_MODE: u32 = 0o644;
/// More than a process's id has.
const PID_FILE_BYTES_MAX: usize = 64;

/// Who watches this process.
#[derive(Debug, Default)]
pub struct Supervisor {
    socket: Option<(UnixDatagram, SocketAddr)>,
    pid_file: Option<PathBuf>,
    /// The file with this process's id, until it takes its place.
    prepared: RefCell<Option<Replacement>>,
}

impl Supervisor {
    /// The one that `NOTIFY_SOCKET` names, if there is one, and whoever reads `pid_file`.
    pub fn new(pid_file: Option<PathBuf>) -> Self {
        let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let socket = name.and_then(|name| match open(Path::new(&name)) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(?name, %error, "the supervisor cannot be told (NOTIFY_SOCKET)");
                None
            }
        });
        Self { socket, pid_file, prepared: RefCell::default() }
    }

    /// Finds out whether the file can be written, beside the one that may be there.
    ///
    /// # Errors
    /// It cannot.
    pub fn prepare(&self) -> io::Result<()> {
        let Some(path) = &self.pid_file else { return Ok(()) };
        let written = Replacement::of(path, PID_FILE_MODE).and_then(|mut file| {
            file.write(format!("{}\n", std::process::id()).as_bytes())?;
            Ok(file)
        });
        let written = written.map_err(|error| {
            let path = path.display();
            io::Error::new(error.kind(), format!("cannot write {path} (--pid-file): {error}"))
        })?;
        self.prepared.replace(Some(written));
        Ok(())
    }

    /// The process serves. One that takes the place of another is announced by that one.
    pub fn serving(&self, is_upgrade: bool) {
        // Readers see the old text or the new one, never a part.
        if let Some(file) = self.prepared.take()
            && let Err(error) = file.commit()
        {
            let path = self.pid_file.as_deref().unwrap_or(Path::new(""));
            tracing::error!(%error, "cannot write {} (--pid-file)", path.display());
        }
        if !is_upgrade {
            self.tell("READY=1\nSTATUS=serving");
        }
    }

    /// The process will not serve.
    pub fn given_up(&self) {
        drop(self.prepared.take());
    }

    /// The configuration is read again.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// It was read; `outcome` in words.
    pub fn reloaded(&self, outcome: &str) {
        let first = outcome.lines().next().unwrap_or_default();
        self.tell(&format!("READY=1\nSTATUS={first}"));
    }

    /// Another process serves in the place of this one.
    pub fn succeeded_by(&self, pid: u32) {
        self.tell(&format!("MAINPID={pid}"));
    }

    /// The process ends, and nobody takes its place.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=draining");
    }

    /// Removes the file, unless another process has written it since.
    pub fn ended(&self) {
        let Some(path) = &self.pid_file else { return };
        let text = files::read(path, PID_FILE_BYTES_MAX).unwrap_or_default();
        let is_ours = text.trim_ascii() == std::process::id().to_string().as_bytes();
        if is_ours {
            // It is stale from now on, which its reader has to know anyway.
            let _ = std::fs::remove_file(path);
        }
    }

    fn tell(&self, message: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::warn!(%error, "the supervisor cannot be told (NOTIFY_SOCKET)");
        }
    }
}

fn open(name: &Path) -> io::Result<(UnixDatagram, SocketAddr)> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    let address = match name.as_os_str().as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    Ok((socket, address))
}
