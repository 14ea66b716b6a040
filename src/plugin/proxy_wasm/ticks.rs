//! What calls the root by itself: its timer, and what comes into the queues that it has registered.

use std::rc::{Rc, Weak};
use std::time::Duration;

use super::super::failure::CallError;
use super::super::log::Ids;
use super::super::spec::LogLevel;
use super::filter::{Filter, Turn, at_least_a_tick};
use super::guest::int;
use super::state::ROOT;
use crate::limits;

/// Begins to tick with this period (0: ends); a timer that ticked before ends.
pub(super) fn set(filter: &Rc<Filter>, period: Duration) {
    let number = filter.tick.get() + 1;
    filter.tick.set(number);
    if period.is_zero() || filter.pool.is_closed() {
        return;
    }
    let filter = Rc::downgrade(filter);
    crate::io::spawn(async move {
        let is_current = |filter: &Rc<Filter>| filter.tick.get() == number && !filter.has_failed();
        loop {
            crate::io::sleep(at_least_a_tick(period)).await;
            let Some(filter) = Weak::upgrade(&filter).filter(is_current) else {
                return;
            };
            if filter.pool.plugin().claim_tick(period) {
                run(&filter, async |turn| turn.tick().await, "proxy_on_tick").await;
            }
        }
    });
}

/// Looks for what other instances put into the queues that this one has registered.
pub(super) fn watch_queues(filter: &Rc<Filter>) {
    if filter.pool.is_closed() {
        return;
    }
    let filter = Rc::downgrade(filter);
    crate::io::spawn(async move {
        loop {
            crate::io::sleep(limits::FILTER_QUEUE_INTERVAL).await;
            let alive = Weak::upgrade(&filter).filter(|filter| !filter.has_failed());
            let Some(filter) = alive else {
                return;
            };
            if filter.has_news() {
                run(&filter, async |turn| turn.tell_queues().await, "proxy_on_queue_ready").await;
            }
        }
    });
}

async fn run(
    filter: &Rc<Filter>,
    what: impl AsyncFnOnce(Turn) -> Result<(), CallError>,
    step: &str,
) {
    let ran = match filter.turn(filter.deadline()).await {
        Ok(turn) => what(turn).await,
        // Busy: the next one comes.
        Err(_) => return,
    };
    if let Err(error) = ran {
        filter.pool.tell(LogLevel::Error, &error.during(step));
    }
}

impl Turn {
    async fn tick(mut self) -> Result<(), CallError> {
        self.begin(self.filter.deadline(), Ids::default())?;
        let instance = self.instance()?;
        let guest = instance.guest.filter()?;
        instance.store.data_mut().filter.current = ROOT;
        let ran = match &guest.on_tick {
            Some(function) => function.call_async(&mut instance.store, int(ROOT)).await,
            None => Ok(()),
        };
        self.finish(ran.map_err(CallError::from))
    }

    async fn tell_queues(mut self) -> Result<(), CallError> {
        self.begin(self.filter.deadline(), Ids::default())?;
        let ran = self.run_queues().await;
        self.finish(ran)
    }

    async fn run_queues(&mut self) -> Result<(), CallError> {
        let instance = self.instance()?;
        let guest = instance.guest.filter()?;
        let queues = &instance.store.data_mut().filter.queues;
        let mut news = Vec::new();
        for (index, held) in queues.iter().enumerate() {
            if let Some(owner) = held.owner {
                news.push((index as u32 + 1, held.queue.news(owner)));
            }
        }
        let Some(function) = &guest.on_queue_ready else {
            return Ok(());
        };
        for (id, count) in news {
            for _ in 0..count.min(limits::FILTER_QUEUE_ITEMS_MAX as u64) {
                instance.store.data_mut().filter.current = ROOT;
                function.call_async(&mut instance.store, (int(ROOT), int(id))).await?;
            }
        }
        Ok(())
    }
}
