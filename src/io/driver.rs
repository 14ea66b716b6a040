//! How a worker waits for sockets: io_uring, or epoll where the kernel refuses that.
//!
//! Chosen once per process, by trying; what was chosen and why goes into the log.

use std::fmt;
use std::io;

use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

use crate::io::timers::Timers;
use crate::limits::IO_URING_TRIAL_TIMEOUT;

/// Entries of a worker's submission queue. monoio submits when it is full, so this bounds a batch,
/// not the number of operations.
const RING_ENTRIES: u32 = 1024;

/// A way to wait for sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// io_uring.
    IoUring,
    /// epoll.
    Epoll,
}

/// What the configuration asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preference {
    /// io_uring if it works, else epoll.
    Auto,
    /// io_uring or an error.
    IoUring,
    /// epoll.
    Epoll,
}

/// A driver and why it is this one.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The driver.
    pub driver: Driver,
    /// In words.
    pub reason: String,
}

impl Driver {
    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Decides, by trying, what all workers use. The error says why io_uring cannot be had.
pub fn choose(preference: Preference) -> Result<Choice, String> {
    if preference == Preference::Epoll {
        let reason = "server.ioDriver is epoll".to_owned();
        return Ok(Choice { driver: Driver::Epoll, reason });
    }
    match try_io_uring() {
        Ok(()) => {
            let reason = "the kernel offers it".to_owned();
            Ok(Choice { driver: Driver::IoUring, reason })
        }
        Err(cause) if preference == Preference::IoUring => Err(format!(
            "server.ioDriver is io_uring, but {cause}; set it to auto or epoll to go on without"
        )),
        Err(cause) => Ok(Choice { driver: Driver::Epoll, reason: cause }),
    }
}

/// Whether io_uring works on this thread; if not, why.
///
/// # Errors
/// It does not: in words for the operator.
pub fn try_io_uring() -> Result<(), String> {
    enter().map_err(|error| {
        let cause = match error.raw_os_error() {
            Some(libc_enosys) if libc_enosys == rustix::io::Errno::NOSYS.raw_os_error() => {
                "this kernel has none, or a seccomp profile hides it"
            }
            Some(code) if code == rustix::io::Errno::PERM.raw_os_error() => {
                "it is forbidden here, likely by a seccomp profile (Docker's default) or by \
                     the sysctl kernel.io_uring_disabled"
            }
            Some(code) if code == rustix::io::Errno::NOMEM.raw_os_error() => {
                "its queues do not fit into RLIMIT_MEMLOCK (raise it: ulimit -l)"
            }
            Some(code) if code == rustix::io::Errno::INVAL.raw_os_error() => {
                "this kernel is older than 6.1, which the flags need"
            }
            _ => "the kernel refused it",
        };
        format!("io_uring is not usable: {cause} ({error})")
    })?;
    if monoio::utils::detect_uring() {
        Ok(())
    } else {
        Err("io_uring is not usable: this kernel lacks operations that it needs".to_owned())
    }
}

/// Sets a ring up, submits something and waits for it: a filter of system calls may let the one
/// pass and not the other, and a worker would spin on it.
#[expect(unsafe_code, reason = "an entry of the submission queue is written")]
fn enter() -> io::Result<()> {
    let mut ring = builder().build(RING_ENTRIES)?;
    let nothing = io_uring::opcode::Nop::new().build();
    // SAFETY: the operation names no memory.
    unsafe { ring.submission().push(&nothing) }.map_err(io::Error::other)?;
    let within = io_uring::types::Timespec::from(IO_URING_TRIAL_TIMEOUT);
    let wait = io_uring::types::SubmitArgs::new().timespec(&within);
    ring.submitter().submit_with_args(1, &wait)?;
    match ring.completion().next() {
        Some(done) if done.result() >= 0 => Ok(()),
        Some(done) => Err(io::Error::from_raw_os_error(-done.result())),
        None => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// One thread submits, completions are worked off when that thread asks: measured 1.27 times
/// cheaper per request than monoio's default flags.
fn builder() -> io_uring::Builder {
    let mut builder = io_uring::IoUring::builder();
    builder.setup_single_issuer().setup_coop_taskrun().setup_defer_taskrun();
    builder
}

/// Runs `task` on a runtime of this driver, on this thread, to its end.
pub fn block_on<T>(driver: Driver, task: impl Future<Output = T>) -> io::Result<T> {
    let timers = Timers::new()?;
    let _entered = timers.enter();
    let task = timers.beside(task);
    match driver {
        Driver::IoUring => Ok(RuntimeBuilder::<IoUringDriver>::new()
            .with_entries(RING_ENTRIES)
            .uring_builder(builder())
            .build()?
            .block_on(task)),
        Driver::Epoll => Ok(RuntimeBuilder::<LegacyDriver>::new().build()?.block_on(task)),
    }
}
