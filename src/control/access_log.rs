//! The thread that writes the access log.
//!
//! Each snapshot has a log of its own: a reload opens the file again, so moving the file away and
//! sending SIGHUP is how it is rotated. The thread of the old one ends with the last snapshot that
//! it belongs to. Both append, so lines stay whole.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use super::config::{self, Format, Logging};
use crate::files;
use crate::limits::{ACCESS_LOG_COMPLAINTS_INTERVAL, ACCESS_LOG_QUEUE_BATCHES};
use crate::trace::access_log::{AccessLog, Batch, Form};

/// Of a new log: it names clients, so only its owner and whoever reads logs for the group may read
/// it. One that is there keeps its own.
const FILE_MODE: u32 = 0o640;

/// Lines that could not be written, over all logs of the process.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Lines that were handed over and could not be written.
pub fn lost() -> u64 {
    LOST.load(Relaxed)
}

/// Opens the log that the configuration asks for. An error is words for the operator.
pub fn open(logging: &Logging) -> Result<Option<Arc<AccessLog>>, String> {
    let (target, name): (Box<dyn Write + Send>, _) = match &logging.access_log {
        config::AccessLog::Off => return Ok(None),
        config::AccessLog::Stdout => (Box::new(io::stdout()), "standard output".to_owned()),
        config::AccessLog::File(path) => {
            let file = files::append(path, FILE_MODE).map_err(|error| {
                format!(
                    "cannot append to {}: {error}; create its folder or allow it",
                    path.display()
                )
            })?;
            (Box::new(file), path.display().to_string())
        }
    };
    let (queue, batches) = sync_channel(ACCESS_LOG_QUEUE_BATCHES);
    std::thread::Builder::new()
        .name("access-log".to_owned())
        .spawn(move || write(target, &name, &batches))
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

fn write(mut target: impl Write, name: &str, batches: &Receiver<Batch>) {
    let mut complained: Option<Instant> = None;
    while let Ok(batch) = batches.recv() {
        let lines = match batch {
            Batch::Lines(lines) => lines,
            Batch::Written(done) => {
                let _ = done.try_send(());
                continue;
            }
        };
        let Err(error) = target.write_all(&lines).and_then(|()| target.flush()) else {
            continue;
        };
        let count = memchr::memchr_iter(b'\n', &lines).count();
        // Relaxed: a count for a metric, it orders nothing.
        LOST.fetch_add(count as u64, Relaxed);
        if complained.is_none_or(|at| at.elapsed() > ACCESS_LOG_COMPLAINTS_INTERVAL) {
            complained = Some(Instant::now());
            tracing::error!("access log: {count} lines lost: cannot write to {name}: {error}");
        }
    }
}
