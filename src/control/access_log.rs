//! The thread that writes the access log.
//!
//! Each snapshot has a log of its own. The thread of an old one ends with the last snapshot that it
//! belongs to. All append, so lines stay whole. A file that was moved away is opened again at its
//! place by every thread when [`reopen`] asks for it (SIGUSR1), whatever has become of the
//! configuration; a reload opens it as well.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use super::config::{self, Format, Logging};
use crate::files;
use crate::limits::{
    ACCESS_LOG_COMPLAINTS_INTERVAL, ACCESS_LOG_QUEUE_BATCHES, ACCESS_LOG_REOPEN_INTERVAL,
};
use crate::trace::access_log::{AccessLog, Batch, Form};

/// Of a new log: it names clients, so only its owner and whoever reads logs for the group may read
/// it. One that is there keeps its own.
const FILE_MODE: u32 = 0o640;

/// Lines that could not be written, over all logs of the process.
static LOST: AtomicU64 = AtomicU64::new(0);

/// How often the files were to be opened again.
static REOPENED: AtomicU64 = AtomicU64::new(0);

/// Has every access log of the process open its file again: it was moved away.
pub fn reopen() {
    // Relaxed: a count that is compared, it orders nothing.
    REOPENED.fetch_add(1, Relaxed);
}

/// Lines that were handed over and could not be written.
pub fn lost() -> u64 {
    LOST.load(Relaxed)
}

/// Opens the log that the configuration asks for. An error is words for the operator.
pub fn open(logging: &Logging) -> Result<Option<Arc<AccessLog>>, String> {
    let target = match &logging.access_log {
        config::AccessLog::Off => return Ok(None),
        config::AccessLog::Stdout => Target::stdout(),
        config::AccessLog::File(path) => Target::file(path.clone())?,
    };
    let (queue, batches) = sync_channel(ACCESS_LOG_QUEUE_BATCHES);
    std::thread::Builder::new()
        .name("access-log".to_owned())
        .spawn(move || write(target, &batches))
        .map_err(|error| format!("cannot start the thread that writes it: {error}"))?;
    let form = match logging.format {
        Format::Text => Form::Text,
        Format::Json => Form::Json,
    };
    Ok(Some(Arc::new(AccessLog { fields: logging.access_log_fields.clone(), form, queue })))
}

/// Waits until all that was handed to a log is written, at most for `within`. Blocks.
pub fn flush(log: &AccessLog, within: Duration) {
    let (done, written) = sync_channel(1);
    let started = Instant::now();
    // A full queue is one that is not being written: waiting for it would not help.
    if log.queue.try_send(Batch::Written(done)).is_ok() {
        let _ = written.recv_timeout(within.saturating_sub(started.elapsed()));
    }
}

/// Where lines go.
struct Target {
    output: Box<dyn Write + Send>,
    /// Of a file, so that it can be opened again.
    path: Option<PathBuf>,
    /// How often files were to be opened again when this one was opened.
    reopened: u64,
}

impl Target {
    fn stdout() -> Self {
        Self { output: Box::new(io::stdout()), path: None, reopened: 0 }
    }

    /// An error is words for the operator.
    fn file(path: PathBuf) -> Result<Self, String> {
        // Before it is opened: what is asked for meanwhile is done again.
        let reopened = REOPENED.load(Relaxed);
        let file = files::append(&path, FILE_MODE).map_err(|error| {
            format!("cannot append to {}: {error}; create its folder or allow it", path.display())
        })?;
        Ok(Self { output: Box::new(file), path: Some(path), reopened })
    }

    /// Opens the file again if that was asked for. One that cannot be opened leaves the old one in
    /// use: no line is lost.
    fn renew(&mut self) {
        let asked = REOPENED.load(Relaxed);
        let Some(path) = self.path.clone().filter(|_| asked != self.reopened) else {
            return;
        };
        self.reopened = asked;
        match Self::file(path) {
            Ok(renewed) => {
                *self = renewed;
                tracing::info!("access log: {} is opened again", self.name());
            }
            Err(reason) => tracing::error!(
                "access log: not opened again, the old file is written on: {reason}; then send \
                 SIGUSR1 again"
            ),
        }
    }

    fn name(&self) -> String {
        let path = self.path.as_ref();
        path.map_or_else(|| "standard output".to_owned(), |path| path.display().to_string())
    }
}

fn write(mut target: Target, batches: &Receiver<Batch>) {
    let mut complained: Option<Instant> = None;
    loop {
        let batch = batches.recv_timeout(ACCESS_LOG_REOPEN_INTERVAL);
        target.renew();
        let lines = match batch {
            Ok(Batch::Lines(lines)) => lines,
            Ok(Batch::Written(done)) => {
                let _ = done.try_send(());
                continue;
            }
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let output = &mut target.output;
        let Err(error) = output.write_all(&lines).and_then(|()| output.flush()) else {
            continue;
        };
        let count = memchr::memchr_iter(b'\n', &lines).count();
        // Relaxed: a count for a metric, it orders nothing.
        LOST.fetch_add(count as u64, Relaxed);
        if complained.is_none_or(|at| at.elapsed() > ACCESS_LOG_COMPLAINTS_INTERVAL) {
            complained = Some(Instant::now());
            tracing::error!(
                "access log: {count} lines lost: cannot write to {}: {error}",
                target.name()
            );
        }
    }
}
