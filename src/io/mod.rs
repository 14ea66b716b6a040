//! Bytes: sockets, TLS, buffers, deadlines, and the runtime that moves them.

pub(crate) mod ahead;
pub mod budget;
pub mod buffer;
pub mod clients;
pub mod deadline;
pub mod driver;
pub mod pace;
pub mod futures;
pub mod proxy;
pub mod runtime;
pub mod stream;
pub mod timers;
pub mod tls;
pub mod turn_away;
pub mod turns;

pub use monoio::task::JoinHandle;

pub use self::timers::{Elapsed, sleep, timeout, timeout_at};

/// Runs a future on this worker, beside what runs already.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    monoio::spawn(future)
}

/// Awaits `future`; `None` if it panics. A panic that got to the runtime would end the worker.
/// There is no known way to cause one; this is the line that holds if there is.
pub async fn unless_panics<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        let poll = std::panic::AssertUnwindSafe(|| future.as_mut().poll(cx));
        match std::panic::catch_unwind(poll) {
            Ok(poll) => poll.map(Some),
            Err(_) => std::task::Poll::Ready(None),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::unless_panics;

    #[test]
    fn a_panic_is_an_outcome_and_what_waits_goes_on_waiting() {
        let mut cx = Context::from_waker(Waker::noop());
        let fails = async { panic!("wanted by a test") };
        assert_eq!(pin!(unless_panics::<_>(fails)).poll(&mut cx), Poll::<Option<()>>::Ready(None));
        assert_eq!(pin!(unless_panics(async { 7 })).poll(&mut cx), Poll::Ready(Some(7)));
        let waits = std::future::pending::<()>();
        assert!(pin!(unless_panics(waits)).poll(&mut cx).is_pending());
    }
}
