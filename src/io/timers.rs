//! Sleeping: the timers of a runtime, and the one of the kernel's that wakes them all (timerfd).
//!
//! Hardly a request sets a timer, so one must cost nothing while it is not set. The runtime's own
//! timer wheel does not serve: each time that it waits for sockets it looks through all levels of
//! the wheel, reads the clock twice and gives the kernel a time limit, which came to 4,100 of the
//! 24,850 instructions of a plain request (four waits), beside the kernel's own part.
//!
//! Timers go by steps of a millisecond, rounded up: those of one step wake the thread once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use monoio::net::UnixStream;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::JoinHandle;

/// What was waited for did not come in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

/// Waits, in steps of a millisecond. Nothing is lost when it is dropped.
pub fn sleep(time: Duration) -> Sleep {
    let now = Instant::now();
    // Longer than any process lives.
    sleep_until(now.checked_add(time).unwrap_or_else(|| now + Duration::from_hours(24 * 365 * 100)))
}

fn sleep_until(due: Instant) -> Sleep {
    Sleep { due, place: None }
}

/// Awaits `future` for at most `time`; then drops it, which must lose nothing.
pub async fn timeout<F: Future>(time: Duration, future: F) -> Result<F::Output, Elapsed> {
    unless_elapsed(sleep(time), future).await
}

/// Awaits `future` until `deadline`; then drops it, which must lose nothing.
pub async fn timeout_at<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
    unless_elapsed(sleep_until(deadline), future).await
}

async fn unless_elapsed<F: Future>(mut sleep: Sleep, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(Ok(outcome)),
        Poll::Pending => Pin::new(&mut sleep).poll(cx).map(|()| Err(Elapsed)),
    })
    .await
}

thread_local! {
    static CURRENT: RefCell<Option<Timers>> = const { RefCell::new(None) };
}

/// Those who sleep in one runtime.
#[derive(Clone)]
pub(super) struct Timers(Rc<RefCell<State>>);

impl Timers {
    /// Makes them, with the kernel's timer that wakes them.
    ///
    /// # Errors
    /// Descriptors are short.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Rc::new(RefCell::new(State::new(Instant::now())?))))
    }

    /// Makes them those of this thread, until what this returns is dropped.
    pub(super) fn enter(&self) -> Entered {
        CURRENT.set(Some(self.clone()));
        Entered
    }

    /// Awaits `task`, the main one of their runtime; meanwhile they fire.
    pub(super) async fn beside<T>(&self, task: impl Future<Output = T>) -> T {
        if !self.0.borrow().waiting.is_empty() {
            self.begin_to_ring();
        }
        let outcome = task.await;
        // A runtime that ends with a task that waits is never freed.
        let ringing = self.0.borrow_mut().end();
        if let Some(ringing) = ringing {
            ringing.await;
        }
        outcome
    }

    /// By a task of its own: the main one would have its turn before those that are woken.
    fn begin_to_ring(&self) {
        let mut state = self.0.borrow_mut();
        if state.ringing.is_none() {
            (state.is_over, state.ringing) = (false, Some(super::spawn(self.clone().ring())));
        }
    }

    /// Wakes those who are due, again and again.
    async fn ring(self) {
        let alarm = self.0.borrow().alarm.try_clone().expect("a runtime has a descriptor to spare");
        // A stream by type alone: what the runtime waits for is of one of its own types.
        let stream = std::os::unix::net::UnixStream::from(alarm);
        let bell = UnixStream::from_std(stream).expect("a timer can be waited for");
        while self.has_rung(&bell).await {
            let now = Instant::now();
            self.0.borrow_mut().armed = None;
            // One at a time, so that nothing is allocated and nothing borrowed while it wakes.
            while let Some(waker) = self.next_due(now) {
                waker.wake();
            }
            self.0.borrow_mut().set_alarm(now);
        }
    }

    /// Waits until the kernel's timer fires; `false`: nobody waits for it any more.
    async fn has_rung(&self, bell: &UnixStream) -> bool {
        let mut rings = pin!(bell.readable(false));
        std::future::poll_fn(|cx| {
            let mut state = self.0.borrow_mut();
            if state.is_over {
                return Poll::Ready(false);
            }
            state.ringer = Some(cx.waker().clone());
            rings.as_mut().poll(cx).map(|waited| {
                waited.expect("a timer can be waited for");
                // How often it has fired is of no interest.
                let _count = rustix::io::read(&state.alarm, &mut [0; 8]);
                true
            })
        })
        .await
    }

    fn next_due(&self, now: Instant) -> Option<Waker> {
        self.0.borrow_mut().pop_due(now)
    }
}

impl fmt::Debug for Timers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Timers").field("waiting", &self.0.borrow().waiting).finish()
    }
}

/// While timers are those of a thread.
pub(super) struct Entered;

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}

/// When a timer is due, in steps since the runtime began, and which of that step it is.
type Key = (u64, u64);

struct State {
    started: Instant,
    waiting: BTreeMap<Key, Waker>,
    next_id: u64,
    /// The kernel's timer, and the step at which it fires.
    alarm: OwnedFd,
    armed: Option<u64>,
    /// The task that waits for it, what wakes that, and whether it is to end.
    ringing: Option<JoinHandle<()>>,
    ringer: Option<Waker>,
    is_over: bool,
}

impl State {
    fn new(started: Instant) -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self {
            started,
            waiting: BTreeMap::new(),
            next_id: 0,
            alarm: timerfd_create(TimerfdClockId::Monotonic, flags)?,
            armed: None,
            ringing: None,
            ringer: None,
            is_over: false,
        })
    }

    /// Has the task end that waits for the kernel's timer.
    fn end(&mut self) -> Option<JoinHandle<()>> {
        self.is_over = true;
        if let Some(ringer) = self.ringer.take() {
            ringer.wake();
        }
        self.ringing.take()
    }

    /// The step that `at` is in, or the one after it.
    fn step_after(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.started) + Duration::from_nanos(999_999);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// The step that has been reached.
    fn step_at(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }

    fn add(&mut self, due: Instant, waker: &Waker) -> Key {
        let key = (self.step_after(due), self.next_id);
        self.next_id += 1;
        self.waiting.insert(key, waker.clone());
        key
    }

    /// Takes one who is due.
    fn pop_due(&mut self, now: Instant) -> Option<Waker> {
        let (&(step, _), _) = self.waiting.first_key_value()?;
        if step > self.step_at(now) {
            return None;
        }
        self.waiting.pop_first().map(|(_, waker)| waker)
    }

    /// How long from `now` the kernel's timer is to run, if it has to be set: it is not while it
    /// fires early enough (it may fire for nobody, where who slept has gone).
    fn arm(&mut self, now: Instant) -> Option<Duration> {
        let (&(first, _), _) = self.waiting.first_key_value()?;
        if self.armed.is_some_and(|armed| armed <= first) {
            return None;
        }
        self.armed = Some(first);
        let due = self.started + Duration::from_millis(first);
        // Zero would stop it.
        Some(due.saturating_duration_since(now).max(Duration::from_nanos(1)))
    }

    fn set_alarm(&mut self, now: Instant) {
        if let Some(after) = self.arm(now) {
            set(&self.alarm, after);
        }
    }
}

/// Lets the kernel's timer fire once.
fn set(alarm: &OwnedFd, after: Duration) {
    let it_value = Timespec {
        // Not more than a hundred years.
        tv_sec: after.as_secs().cast_signed(),
        tv_nsec: after.subsec_nanos().into(),
    };
    let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
    let times = Itimerspec { it_interval, it_value };
    let set = timerfd_settime(alarm, TimerfdTimerFlags::empty(), &times);
    debug_assert!(set.is_ok(), "{set:?}");
}

/// Waits until a point in time (see [`sleep`]).
#[derive(Debug)]
pub struct Sleep {
    due: Instant,
    /// Among whom, since it was polled first.
    place: Option<(Timers, Key)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some((timers, key)) = &self.place {
            return match timers.0.borrow_mut().waiting.get_mut(key) {
                Some(waker) => {
                    waker.clone_from(cx.waker());
                    Poll::Pending
                }
                None => Poll::Ready(()),
            };
        }
        let Some(timers) = CURRENT.with_borrow(Clone::clone) else {
            debug_assert!(false, "a thread sleeps whose runtime was not begun by our `block_on`");
            return Poll::Pending;
        };
        let (mut state, now) = (timers.0.borrow_mut(), Instant::now());
        if state.step_after(self.due) <= state.step_at(now) {
            return Poll::Ready(());
        }
        let key = state.add(self.due, cx.waker());
        state.set_alarm(now);
        drop(state);
        timers.begin_to_ring();
        self.place = Some((timers, key));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some((timers, key)) = &self.place {
            let _waker = timers.0.borrow_mut().waiting.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::driver::{Driver, block_on, try_io_uring};
    use crate::io::spawn;

    fn on_both_drivers<F: Future<Output = ()>>(test: impl Fn() -> F) {
        block_on(Driver::Epoll, test()).unwrap();
        if try_io_uring().is_ok() {
            block_on(Driver::IoUring, test()).unwrap();
        }
    }

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn sleepers_wake_in_the_order_of_their_times_and_none_before_its_own() {
        on_both_drivers(|| async {
            let woken = Rc::new(RefCell::new(Vec::new()));
            let sleepers: Vec<_> = [30, 10, 20, 10]
                .map(|time| {
                    let woken = woken.clone();
                    let since = Instant::now();
                    spawn(async move {
                        sleep(ms(time)).await;
                        assert!(since.elapsed() >= ms(time));
                        woken.borrow_mut().push(time);
                    })
                })
                .into();
            for sleeper in sleepers {
                sleeper.await;
            }
            assert_eq!(*woken.borrow(), [10, 10, 20, 30]);
        });
    }

    #[test]
    fn what_comes_in_time_is_had_and_what_does_not_is_dropped() {
        on_both_drivers(|| async {
            assert_eq!(timeout(ms(60_000), async { 7 }).await, Ok(7));
            assert_eq!(timeout(ms(5), std::future::pending::<()>()).await, Err(Elapsed));
            let past = Instant::now() - ms(5);
            assert_eq!(timeout_at(past, std::future::pending::<()>()).await, Err(Elapsed));
            assert_eq!(timeout_at(past, async { 7 }).await, Ok(7), "it was there");
            assert_eq!(timeout(ms(60_000), sleep(ms(5))).await, Ok(()), "the first of two");
            assert_eq!(timeout(Duration::MAX, sleep(ms(5))).await, Ok(()));
            let timers = CURRENT.with_borrow(Clone::clone).unwrap();
            assert!(timers.0.borrow().waiting.is_empty(), "{timers:?}");
        });
    }

    #[test]
    fn a_task_sleeps_on_in_the_next_call_of_its_runtime() {
        let mut runtime = crate::io::runtime::local().unwrap();
        let slept = runtime.block_on(std::future::poll_fn(|_| Poll::Ready(spawn(sleep(ms(20))))));
        let since = Instant::now();
        runtime.block_on(slept);
        assert!(since.elapsed() < ms(10_000));
    }

    #[test]
    fn who_sleeps_in_a_runtime_that_has_ended_is_not_woken_by_the_next_one() {
        on_both_drivers(|| async {
            spawn(sleep(ms(1)));
            // Long enough for it to begin, too short to wake.
            spawn(async {}).await;
        });
        on_both_drivers(|| sleep(ms(20)));
    }

    #[test]
    fn who_is_woken_at_the_same_time_goes_before_the_main_task() {
        on_both_drivers(|| async {
            let told = Rc::new(RefCell::new(None));
            let (teller, due) = (told.clone(), Instant::now() + ms(20));
            spawn(async move {
                sleep_until(due).await;
                *teller.borrow_mut() = Some(7);
            });
            sleep_until(due).await;
            assert_eq!(*told.borrow(), Some(7));
        });
    }

    #[test]
    fn a_runtime_that_ends_gives_its_descriptors_back() {
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let sleep_a_little = || {
            crate::io::runtime::local().unwrap().block_on(sleep(ms(1)));
            block_on(Driver::Epoll, sleep(ms(1))).unwrap();
        };
        sleep_a_little();
        let before = open();
        (0..200).for_each(|_| sleep_a_little());
        // Other tests open some meanwhile.
        assert!(open() < before + 150, "{before} before, {} now", open());
    }

    #[test]
    fn the_kernels_timer_is_set_for_the_first_who_is_due_and_not_for_later_ones() {
        let now = Instant::now();
        let mut timers = State::new(now).unwrap();
        assert_eq!(timers.arm(now), None);
        timers.add(now + ms(20), Waker::noop());
        assert_eq!(timers.arm(now), Some(ms(20)));
        let later = timers.add(now + ms(30), Waker::noop());
        assert_eq!(timers.arm(now), None);
        timers.add(now + ms(10), Waker::noop());
        assert_eq!(timers.arm(now + ms(1)), Some(ms(9)));
        assert!(timers.pop_due(now + Duration::from_micros(9_999)).is_none());
        assert!(timers.pop_due(now + ms(20)).is_some() && timers.pop_due(now + ms(20)).is_some());
        assert!(timers.pop_due(now + ms(20)).is_none());
        timers.armed = None;
        assert_eq!(timers.arm(now + ms(40)), Some(Duration::from_nanos(1)), "it is due already");
        timers.waiting.remove(&later);
        timers.armed = None;
        assert_eq!(timers.arm(now), None);
    }

    #[test]
    fn a_part_of_a_step_counts_whole() {
        let now = Instant::now();
        let timers = State::new(now).unwrap();
        assert_eq!(timers.step_after(now + Duration::from_nanos(1)), 1);
        assert_eq!(timers.step_after(now + ms(1)), 1);
        assert_eq!(timers.step_at(now + Duration::from_micros(1_999)), 1);
    }
}
