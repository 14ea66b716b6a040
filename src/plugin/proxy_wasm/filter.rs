//! The one instance that a worker has of a filter, and whose turn it is.
//!
//! Many exchanges use it interleaved, each by a context of its own; the guest is never entered
//! while it runs. Who wants to enter waits for the turn in order. A turn that has begun is run to
//! its end whoever leaves meanwhile: a guest that is cut off has to be thrown away, and all its
//! contexts with it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, Instant};

use super::super::failure::CallError;
use super::super::hostcalls::end_of_call;
use super::super::instance::Instance;
use super::super::log::Ids;
use super::super::pool::Pool;
use super::super::spec::LogLevel;
use super::super::stats::ErrorKind;
use super::super::waiting::{Grant, Queue};
use super::context::Direction;
use super::state::State;
use super::{calls, grpc, ticks};

/// See the module's text. Belongs to one worker.
pub(in crate::plugin) struct Filter {
    pub(super) pool: Rc<Pool>,
    /// `None` while it is somebody's turn, and when the filter has failed.
    idle: RefCell<Option<Box<Instance>>>,
    turns: Queue<Turn>,
    /// Why the instance is no more.
    failure: RefCell<Option<CallError>>,
    is_retired: Cell<bool>,
    is_ending: Cell<bool>,
    /// Its root has said that it is done.
    is_done: Cell<bool>,
    /// The exchanges that have a context.
    streams: RefCell<HashMap<u32, Weak<Stream>, ahash::RandomState>>,
    /// What keeps the instance after it is retired: contexts and calls.
    pub(super) busy: Cell<usize>,
    /// Of the timer that ticks now: one that has another number ends.
    pub(super) tick: Cell<u64>,
    pub(super) watches_queues: Cell<bool>,
    memory_bytes: Cell<usize>,
}

impl Filter {
    /// A filter of a fresh instance: what its start has asked for begins.
    pub(in crate::plugin) fn new(pool: &Rc<Pool>, instance: Instance) -> Rc<Self> {
        let filter = Rc::new(Self {
            pool: Rc::clone(pool),
            idle: RefCell::new(None),
            turns: Queue::new(),
            failure: RefCell::new(None),
            is_retired: Cell::new(false),
            is_ending: Cell::new(false),
            is_done: Cell::new(false),
            streams: RefCell::default(),
            busy: Cell::new(0),
            tick: Cell::new(0),
            watches_queues: Cell::new(false),
            memory_bytes: Cell::new(0),
        });
        let turn = Turn { filter: Rc::clone(&filter), instance: Some(Box::new(instance)) };
        // There is no failure yet.
        let _started = turn.finish(Ok(()));
        filter
    }

    /// Waits for its turn; an error if the instance has failed or none comes until `deadline`.
    pub(in crate::plugin) async fn turn(
        self: &Rc<Self>,
        deadline: Instant,
    ) -> Result<Turn, CallError> {
        loop {
            if let Some(error) = &*self.failure.borrow() {
                return Err(neighbours(error));
            }
            if let Some(instance) = self.idle.borrow_mut().take() {
                return Ok(Turn { filter: Rc::clone(self), instance: Some(instance) });
            }
            match self.turns.wait(deadline).await {
                Some(Grant::Instance(turn)) => return Ok(turn),
                // It has failed.
                Some(Grant::Place) => {}
                None => {
                    let timeout = self.pool.plugin().spec.timeout;
                    let text = format!(
                        "plugin execution timeout: its instance was busy with other requests for \
                         {timeout:?} (timeout)"
                    );
                    return Err(CallError::new(ErrorKind::Timeout, text));
                }
            }
        }
    }

    /// Whether its instance is no more.
    pub(in crate::plugin) fn has_failed(&self) -> bool {
        self.failure.borrow().is_some()
    }

    /// Whether it is nobody's turn.
    pub(in crate::plugin) fn is_idle(&self) -> bool {
        self.idle.borrow().is_some()
    }

    /// How large the guest's memory was when it was last left.
    pub(in crate::plugin) fn memory_bytes(&self) -> usize {
        self.memory_bytes.get()
    }

    /// The timeout of its plugin, from now on.
    pub(in crate::plugin) fn deadline(&self) -> Instant {
        Instant::now() + self.pool.plugin().spec.timeout
    }

    /// No new exchange comes: it ends with the last that it has.
    pub(in crate::plugin) async fn retire(self: Rc<Self>) {
        self.is_retired.set(true);
        if let Some(end) = self.end_if_done() {
            end.await;
        }
    }

    /// It is for one exchange alone.
    pub(in crate::plugin) fn retire_when_unused(&self) {
        self.is_retired.set(true);
    }

    /// Whether something has come into a queue that it has registered. (While it is somebody's turn
    /// there may be.)
    pub(super) fn has_news(&self) -> bool {
        let idle = self.idle.borrow();
        idle.as_ref().is_none_or(|instance| {
            let queues = &instance.store.data().filter.queues;
            queues.iter().any(|held| held.owner.is_some_and(|owner| held.queue.has_news(owner)))
        })
    }

    /// A context or a call is no more.
    pub(in crate::plugin) fn leave(self: &Rc<Self>) {
        self.busy.set(self.busy.get() - 1);
        if let Some(end) = self.end_if_done()
            && !self.pool.is_closed()
        {
            crate::io::spawn(end);
        }
    }

    /// The end of a retired filter that nobody needs any more: the root is told.
    fn end_if_done(self: &Rc<Self>) -> Option<impl Future<Output = ()> + use<>> {
        let is_due = self.is_retired.get() && self.busy.get() == 0 && !self.has_failed();
        if !is_due || self.is_ending.replace(true) {
            return None;
        }
        let filter = Rc::clone(self);
        Some(async move {
            let deadline = filter.deadline();
            if let Err(error) = filter.end(deadline).await {
                filter.pool.tell(LogLevel::Warn, &error.during("the filter's end"));
            }
            filter.tick.set(filter.tick.get() + 1);
            drop(filter.idle.take());
            let gone = CallError::refused("the filter has been replaced");
            filter.failure.borrow_mut().get_or_insert(gone);
        })
    }

    /// Tells the root that all is over. One that is not done yet has the timeout for it, and ticks
    /// and is answered meanwhile.
    async fn end(self: &Rc<Self>, deadline: Instant) -> Result<(), CallError> {
        let is_done = self.turn(deadline).await?.end_root(deadline).await?;
        let deadline = if is_done { deadline } else { self.deadline() };
        while !is_done && !self.is_done.get() && !self.has_failed() && !self.pool.is_closed() {
            if Instant::now() >= deadline {
                let timeout = self.pool.plugin().spec.timeout;
                let text = format!("proxy_done was not called within {timeout:?} (timeout)");
                self.pool.tell(LogLevel::Warn, &CallError::new(ErrorKind::Timeout, text));
                break;
            }
            crate::io::sleep(crate::limits::FILTER_TICK_MIN).await;
        }
        let deadline = self.deadline();
        self.turn(deadline).await?.delete_root(deadline).await
    }

    /// Calls `on_tick()` of a plugin of the JSON ABI that bodies pass; not if others are in it
    /// until `deadline`.
    pub(in crate::plugin) async fn tick_guest(
        self: &Rc<Self>,
        deadline: Instant,
    ) -> Result<(), CallError> {
        let Ok(mut turn) = self.turn(deadline).await else {
            return Ok(());
        };
        let ticked = turn.instance()?.tick().await;
        turn.finish(ticked)
    }

    /// The guest has failed: nobody enters it again, and whoever waits learns of it.
    fn fail(self: &Rc<Self>, error: &CallError) {
        *self.failure.borrow_mut() = Some(error.clone());
        self.tick.set(self.tick.get() + 1);
        self.turns.grant_room_to_all();
        let streams = std::mem::take(&mut *self.streams.borrow_mut());
        for stream in streams.into_values().filter_map(|stream| stream.upgrade()) {
            stream.wake();
        }
        self.pool.filter_failed(self);
    }

    /// The pool that it is of.
    pub(in crate::plugin) fn pool(&self) -> &Rc<Pool> {
        &self.pool
    }

    /// An exchange keeps it until [`Self::leave`].
    pub(in crate::plugin) fn enter(&self) {
        self.busy.set(self.busy.get() + 1);
    }

    pub(super) fn stream(&self, id: u32) -> Option<Rc<Stream>> {
        self.streams.borrow().get(&id).and_then(Weak::upgrade)
    }

    /// An exchange has got its context.
    pub(super) fn add_stream(&self, id: u32, stream: &Rc<Stream>) {
        self.busy.set(self.busy.get() + 1);
        stream.id.set(id);
        self.streams.borrow_mut().insert(id, Rc::downgrade(stream));
    }

    pub(super) fn forget_stream(&self, id: u32) {
        self.streams.borrow_mut().remove(&id);
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        self.pool.filter_gone();
    }
}

/// What becomes of the exchanges that were in an instance which another one has ended.
fn neighbours(error: &CallError) -> CallError {
    CallError::new(error.kind, format!("the instance that it was in has ended: {error}"))
}

/// The right to enter the guest. Given back when dropped; [`Turn::finish`] also does what the guest
/// has asked for.
pub(in crate::plugin) struct Turn {
    pub(super) filter: Rc<Filter>,
    instance: Option<Box<Instance>>,
}

impl Turn {
    /// The instance.
    pub(in crate::plugin) fn instance(&mut self) -> Result<&mut Instance, CallError> {
        let instance = self.instance.as_deref_mut();
        instance.ok_or_else(|| CallError::refused("the turn is over"))
    }

    /// What the store holds.
    pub(in crate::plugin) fn state(&mut self) -> Result<&mut State, CallError> {
        Ok(&mut self.instance()?.store.data_mut().filter)
    }

    /// Entering begins: until when the guest must be left, and what the log tells of it.
    pub(in crate::plugin) fn begin(
        &mut self,
        deadline: Instant,
        ids: Ids<'_>,
    ) -> Result<(), CallError> {
        self.instance()?.begin(deadline, ids);
        Ok(())
    }

    /// The turn is over, well or not: what the guest has asked for is done; a guest that failed is
    /// thrown away.
    pub(in crate::plugin) fn finish<T>(
        mut self,
        ran: Result<T, CallError>,
    ) -> Result<T, CallError> {
        let Some(mut instance) = self.instance.take() else {
            return ran;
        };
        let filter = Rc::clone(&self.filter);
        end_of_call(instance.store.data_mut());
        if let Err(error) = &ran {
            drop(instance);
            filter.fail(error);
            return ran;
        }
        filter.memory_bytes.set(instance.memory_bytes());
        let state = &mut instance.store.data_mut().filter;
        let asked = std::mem::take(&mut state.asked);
        let asked_lines = std::mem::take(&mut state.asked_lines);
        let (touched, tick) = (std::mem::take(&mut state.touched), state.new_tick.take());
        filter.is_done.set(state.is_done);
        let has_queues = state.queues.iter().any(|held| held.owner.is_some());
        for id in touched {
            if let Some(stream) = filter.stream(id) {
                stream.wake();
            }
        }
        for asked in asked {
            calls::begin(&filter, asked);
        }
        for asked in asked_lines {
            grpc::begin(&filter, asked.take());
        }
        if let Some(period) = tick {
            ticks::set(&filter, period);
        }
        if has_queues && !filter.watches_queues.replace(true) {
            ticks::watch_queues(&filter);
        }
        self.instance = Some(instance);
        ran
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(instance) = self.instance.take() else {
            return;
        };
        let filter = Rc::clone(&self.filter);
        let next = Turn { filter: Rc::clone(&filter), instance: Some(instance) };
        if let Err(mut turn) = filter.turns.grant(next) {
            // Nobody waits.
            let instance = turn.instance.take();
            *filter.idle.borrow_mut() = instance;
        }
    }
}

/// An exchange's hold on its context. Dropped without [`Stream::end`] (the exchange was given up),
/// the context is told that it is over all the same.
pub(in crate::plugin) struct Stream {
    pub(super) filter: Rc<Filter>,
    /// Its context's id; 0: it has none yet.
    pub(super) id: Cell<u32>,
    /// Who waits: for the request, for the response.
    wakers: RefCell<[Option<Waker>; 2]>,
    is_awake: [Cell<bool>; 2],
    pub(super) is_over: Cell<bool>,
}

impl Stream {
    pub(super) fn new(filter: &Rc<Filter>) -> Rc<Self> {
        Rc::new(Self {
            filter: Rc::clone(filter),
            id: Cell::new(0),
            wakers: RefCell::default(),
            is_awake: Default::default(),
            is_over: Cell::new(false),
        })
    }

    /// Something has come for its context.
    fn wake(&self) {
        self.is_awake.iter().for_each(|is_awake| is_awake.set(true));
        let wakers = std::mem::take(&mut *self.wakers.borrow_mut());
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Ready when something has come for its context, once for each message's part of the exchange.
    pub(super) fn poll_awake(&self, direction: Direction, task: &mut TaskContext<'_>) -> Poll<()> {
        let index = direction as usize;
        if self.is_awake[index].replace(false) || self.filter.has_failed() {
            return Poll::Ready(());
        }
        self.wakers.borrow_mut()[index] = Some(task.waker().clone());
        Poll::Pending
    }

    /// Waits until something has come for its context; false if nothing did until `deadline`.
    pub(super) async fn awaken(&self, direction: Direction, deadline: Instant) -> bool {
        let woken = poll_fn(|task| self.poll_awake(direction, task));
        crate::io::timeout_at(deadline, woken).await.is_ok()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let id = self.id.get();
        if id == 0 || self.is_over.replace(true) {
            return;
        }
        self.filter.forget_stream(id);
        let (filter, pool) = (Rc::clone(&self.filter), Rc::clone(&self.filter.pool));
        if filter.has_failed() || pool.is_closed() {
            filter.leave();
            return;
        }
        crate::io::spawn(async move {
            filter.end_context(id, None).await;
        });
    }
}

/// Runs to its end whether somebody waits for it or not: dropped before, it goes on as a task.
pub(in crate::plugin) struct Detached<T: 'static> {
    future: Option<Pin<Box<dyn Future<Output = T>>>>,
    pool: Rc<Pool>,
}

impl<T: 'static> Detached<T> {
    pub(in crate::plugin) fn new(
        pool: &Rc<Pool>,
        future: impl Future<Output = T> + 'static,
    ) -> Self {
        Self { future: Some(Box::pin(future)), pool: Rc::clone(pool) }
    }
}

impl<T: 'static> Future for Detached<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<T> {
        let Some(future) = &mut self.future else {
            return Poll::Pending; // it has been ready: nobody asks again
        };
        let polled = future.as_mut().poll(task);
        if polled.is_ready() {
            self.future = None;
        }
        polled
    }
}

impl<T: 'static> Drop for Detached<T> {
    fn drop(&mut self) {
        if let Some(mut future) = self.future.take()
            && !self.pool.is_closed()
        {
            crate::io::spawn(async move {
                // By a timer of its own: what it waits for may know the waker of the task that has
                // left (the runtime's timers keep the first one).
                let is_done = async || {
                    poll_fn(|task| Poll::Ready(future.as_mut().poll(task).is_ready())).await
                };
                let mut is_done = is_done;
                while !is_done().await {
                    crate::io::sleep(crate::limits::PLUGIN_YIELD).await;
                }
            });
        }
    }
}

/// Shorter than a tick of the worker's timer makes no sense.
pub(super) fn at_least_a_tick(period: Duration) -> Duration {
    period.max(crate::limits::FILTER_TICK_MIN)
}
