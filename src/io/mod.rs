//! Bytes: sockets, TLS, buffers, deadlines, and the runtime that moves them.

pub(crate) mod ahead;
pub mod budget;
pub mod buffer;
pub mod deadline;
pub mod driver;
pub mod pace;
pub mod futures;
pub mod proxy;
pub mod runtime;
pub mod stream;
pub mod tls;
pub mod turn_away;
pub mod turns;

use std::time::{Duration, Instant};

pub use monoio::task::JoinHandle;

/// What was waited for did not come in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

/// Runs a future on this worker, beside what runs already.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    monoio::spawn(future)
}

/// Waits, in steps of a millisecond. Nothing is lost when it is dropped.
pub fn sleep(time: Duration) -> impl Future<Output = ()> {
    monoio::time::sleep(time)
}

/// Awaits `future` for at most `time`; then drops it, which must lose nothing.
pub async fn timeout<F: Future>(time: Duration, future: F) -> Result<F::Output, Elapsed> {
    monoio::time::timeout(time, future).await.map_err(|_| Elapsed)
}

/// Awaits `future` until `deadline`; then drops it, which must lose nothing.
pub async fn timeout_at<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
    let deadline = monoio::time::Instant::from_std(deadline);
    monoio::time::timeout_at(deadline, future).await.map_err(|_| Elapsed)
}
