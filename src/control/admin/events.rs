//! `GET /api/events`: the gateway at a glance, once a second, as server-sent events.
//!
//! A document is made once a second for all who watch, and only while somebody does. There is room
//! for the latest alone: who reads slowly misses some, and holds nobody up. Everything in it is
//! counted since the start, so that whoever missed one still has the right differences.

use std::convert::Infallible;
use std::time::SystemTime;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, watch};

use super::super::metrics::Totals;
use super::super::reload::Control;
use super::super::status::{self, Facts};
use super::reply::Failed;
use super::{State, millis};
use crate::durations::Durations;
use crate::limits::EVENTS_WATCHERS_MAX;

/// The watchers and what they are shown.
pub(super) struct Events {
    latest: watch::Sender<Latest>,
    /// Somebody began to watch.
    arrived: Notify,
}

/// What watchers are shown.
#[derive(Clone)]
enum Latest {
    /// Nobody has watched for a while: what there was is out of date.
    Nothing,
    /// One event, as it is sent.
    Event(Bytes),
    /// The same, and none follows.
    Last(Bytes),
}

impl Events {
    pub(super) fn new() -> Self {
        Self { latest: watch::Sender::new(Latest::Nothing), arrived: Notify::new() }
    }

    /// Shows a document at each tick for as long as it is polled, while somebody watches; once
    /// `is_last` says so, one more and no other.
    pub(super) async fn run(
        &self,
        mut tick: impl AsyncFnMut(),
        is_last: impl Fn() -> bool,
        document: impl AsyncFn() -> Value,
    ) {
        loop {
            while self.latest.receiver_count() == 0 {
                self.latest.send_replace(Latest::Nothing);
                self.arrived.notified().await;
            }
            tick().await;
            // Asked before the document is made, so that the last one tells of it.
            let is_last = is_last();
            // JSON has no line breaks of its own, so it is one line of `data`.
            let event = Bytes::from(format!("data: {}\n\n", document().await));
            if is_last {
                self.latest.send_replace(Latest::Last(event));
                return std::future::pending().await;
            }
            self.latest.send_replace(Latest::Event(event));
        }
    }

    /// What one more watcher is sent; `None` when there are as many as there may be.
    fn watch(&self) -> Option<Body> {
        if self.latest.receiver_count() >= EVENTS_WATCHERS_MAX {
            return None;
        }
        let mut latest = self.latest.subscribe();
        // What is there already is at most a second old.
        latest.mark_changed();
        self.arrived.notify_one();
        let events = futures_util::stream::unfold(Some(latest), async |latest| {
            let mut latest = latest?;
            loop {
                latest.changed().await.ok()?;
                let now = latest.borrow_and_update().clone();
                match now {
                    Latest::Nothing => {}
                    Latest::Event(event) => return Some((event, Some(latest))),
                    Latest::Last(event) => return Some((event, None)),
                }
            }
        });
        Some(Body::from_stream(futures_util::StreamExt::map(events, Ok::<_, Infallible>)))
    }
}

/// Answers with events until the watcher goes or the gateway drains.
pub(super) async fn events(
    control: State,
    Extension(events): Extension<std::sync::Arc<Events>>,
) -> Response {
    let busy = |reason: String| Failed::new(StatusCode::SERVICE_UNAVAILABLE, reason);
    if control.is_draining() {
        return busy("the gateway drains; watch its successor".to_owned()).into_response();
    }
    match events.watch() {
        Some(body) => ([(CONTENT_TYPE, "text/event-stream")], body).into_response(),
        None => busy(format!(
            "{EVENTS_WATCHERS_MAX} watch already, which is the limit; close another dashboard"
        ))
        .into_response(),
    }
}

/// What is shown now.
pub(super) async fn document(control: &Control, facts: &Facts) -> Value {
    let reports = control.report().await;
    let totals = Totals::of(&reports);
    let services = totals.services.iter().map(|(name, counts)| (name, &counts.durations));
    let plugins = totals.plugins.iter().map(|(name, report)| (name, &report.durations));
    json!({
        "atMs": millis(SystemTime::now()),
        "status": status::document(control, facts, &reports, &totals),
        "durations": { "services": steps(services), "plugins": steps(plugins) },
    })
}

/// The durations of each, as `[[step, count], …]`.
fn steps<'r>(named: impl Iterator<Item = (&'r String, &'r Durations)>) -> Value {
    let steps = named.map(|(name, durations)| (name.clone(), json!(durations.steps())));
    Value::Object(steps.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::sync::Semaphore;

    use super::*;

    /// Runs `scene` with events that say how many were made before, one for each permit of the
    /// semaphore; the last after `last`.
    fn play(last: u64, scene: impl AsyncFnOnce(&Events, &Cell<u64>, &Semaphore)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (events, made, ticks) = (Events::new(), Cell::new(0), Semaphore::new(0));
            let tick = async || ticks.acquire().await.unwrap().forget();
            let document = async || Value::from(made.replace(made.get() + 1));
            tokio::select! {
                () = events.run(tick, || made.get() >= last, document) => {}
                () = scene(&events, &made, &ticks) => {}
            }
        });
    }

    /// Lets what can go on without a tick go on.
    async fn settle() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    async fn next(body: &mut axum::body::BodyDataStream) -> Option<Bytes> {
        futures_util::StreamExt::next(body).await.map(|piece| piece.unwrap())
    }

    #[test]
    fn a_document_is_made_once_for_all_and_only_while_somebody_watches() {
        play(u64::MAX, async |events, made, ticks| {
            ticks.add_permits(5);
            settle().await;
            assert_eq!(made.get(), 0, "nobody watches");
            ticks.forget_permits(5);
            let mut first = events.watch().unwrap().into_data_stream();
            let mut second = events.watch().unwrap().into_data_stream();
            for number in 0..3 {
                ticks.add_permits(1);
                let event = format!("data: {number}\n\n");
                assert_eq!(next(&mut first).await.unwrap(), event);
                assert_eq!(next(&mut second).await.unwrap(), event, "the same for both");
            }
            drop((first, second));
            // The one that was begun before they went ends.
            ticks.add_permits(5);
            settle().await;
            assert_eq!(made.get(), 4, "nobody watches any more");
            ticks.forget_permits(5);
            let mut third = events.watch().unwrap().into_data_stream();
            ticks.add_permits(1);
            assert_eq!(next(&mut third).await.unwrap(), "data: 4\n\n", "no event of long ago");
        });
    }

    #[test]
    fn who_reads_slowly_is_sent_the_latest() {
        play(u64::MAX, async |events, made, ticks| {
            let mut slow = events.watch().unwrap().into_data_stream();
            ticks.add_permits(5);
            settle().await;
            assert_eq!(made.get(), 5);
            assert_eq!(next(&mut slow).await.unwrap(), "data: 4\n\n");
        });
    }

    #[test]
    fn the_last_event_ends_every_stream() {
        play(2, async |events, _, ticks| {
            let mut body = events.watch().unwrap().into_data_stream();
            for event in ["data: 0\n\n", "data: 1\n\n", "data: 2\n\n"] {
                ticks.add_permits(1);
                assert_eq!(next(&mut body).await.unwrap(), event);
            }
            assert!(next(&mut body).await.is_none());
        });
    }

    #[test]
    fn there_are_as_many_watchers_as_there_may_be() {
        let events = Events::new();
        let mut bodies: Vec<Body> = std::iter::from_fn(|| events.watch()).collect();
        assert_eq!(bodies.len(), EVENTS_WATCHERS_MAX);
        bodies.pop();
        assert!(events.watch().is_some(), "one has gone");
    }
}
