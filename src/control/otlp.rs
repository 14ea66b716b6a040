//! Exports spans: takes the sampled exchanges that workers leave in the queue and sends them to a
//! collector, as OTLP over HTTP (protobuf).
//!
//! Control thread, on its runtime; no worker ever waits for it. What is in memory is bounded: the
//! queue (`limits::TRACE_QUEUE_EXCHANGES`, beyond which workers drop) and the one message under
//! way. A message that the collector does not take is sent again after a pause, some times, and
//! then dropped; everything that is lost is counted.

mod client;
mod encode;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::client::{Client, Failure};
use super::config::Otlp;
use super::reload::Control;
use crate::limits::{
    TRACE_BATCH_EXCHANGES, TRACE_COMPLAINTS_INTERVAL, TRACE_END_TIMEOUT, TRACE_EXPORT_BACKOFF,
    TRACE_EXPORT_INTERVAL, TRACE_EXPORT_TRIES_MAX,
};
use crate::trace::finished::Finished;

/// Spans that the collector took.
static EXPORTED: AtomicU64 = AtomicU64::new(0);
/// Spans that could not be sent.
static FAILED: AtomicU64 = AtomicU64::new(0);
/// Spans that the collector got and refused.
static REJECTED: AtomicU64 = AtomicU64::new(0);

/// What became of the spans that workers have left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// The collector took them.
    pub exported: u64,
    /// They could not be sent.
    pub failed: u64,
    /// The collector refused them.
    pub rejected: u64,
}

/// What became of spans so far.
pub fn counts() -> Counts {
    // Relaxed: numbers for a metric, they order nothing.
    let read = |count: &AtomicU64| count.load(Relaxed);
    Counts { exported: read(&EXPORTED), failed: read(&FAILED), rejected: read(&REJECTED) }
}

/// Sends spans for as long as it is polled.
pub struct Exporter {
    finished: Receiver<Box<Finished>>,
    client: Client,
    /// What is being sent: kept here, so that it is not lost when the sending is given up.
    pending: Option<Message>,
    complained: Option<Instant>,
}

struct Message {
    body: Bytes,
    spans: u64,
    tries: u32,
}

impl Exporter {
    /// One that takes what workers leave.
    pub fn new(finished: Receiver<Box<Finished>>) -> Self {
        Self { finished, client: Client::default(), pending: None, complained: None }
    }

    /// Sends what comes.
    pub async fn run(&mut self, control: &Control) {
        loop {
            tokio::time::sleep(TRACE_EXPORT_INTERVAL).await;
            // The collector of now: a reload may have named another.
            let otlp = || control.running().config.tracing.otlp.clone();
            while self.fill(otlp().as_ref()) {
                self.deliver(&otlp).await;
            }
        }
    }

    /// Sends what is left, once, for a short time: the process ends.
    pub async fn finish(&mut self, otlp: Option<&Otlp>) {
        let Some(otlp) = otlp else {
            return;
        };
        let send_all = async {
            while self.fill(Some(otlp)) {
                if self.attempt(otlp).await.is_some() {
                    return;
                }
            }
        };
        let is_done = tokio::time::timeout(TRACE_END_TIMEOUT, send_all).await.is_ok();
        if !is_done || self.pending.is_some() {
            tracing::warn!("the last spans could not be exported in time");
        }
    }

    /// Puts what waits into a message. Whether there is one to send.
    fn fill(&mut self, otlp: Option<&Otlp>) -> bool {
        if self.pending.is_some() {
            return true;
        }
        let batch: Vec<_> = self.finished.try_iter().take(TRACE_BATCH_EXCHANGES).collect();
        if batch.is_empty() {
            return false;
        }
        let spans = batch.iter().map(|one| 1 + one.parts.len() as u64).sum();
        let Some(otlp) = otlp else {
            // A reload has taken the collector away.
            FAILED.fetch_add(spans, Relaxed);
            return false;
        };
        let body = encode::message(&batch, &otlp.service_name);
        self.pending = Some(Message { body, spans, tries: 0 });
        true
    }

    /// Sends the message under way until it is taken or given up.
    async fn deliver(&mut self, otlp: &impl Fn() -> Option<Otlp>) {
        while self.pending.is_some() {
            let Some(otlp) = otlp() else {
                self.give_up();
                return;
            };
            if let Some(pause) = self.attempt(&otlp).await {
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Sends the message under way once; how long to wait before it is tried again.
    async fn attempt(&mut self, otlp: &Otlp) -> Option<Duration> {
        let message = self.pending.as_mut()?;
        message.tries += 1;
        let (tries, spans) = (message.tries, message.spans);
        let sent = self.client.send(otlp, message.body.clone()).await;
        let (reason, after) = match sent {
            Ok(rejected) => {
                self.pending = None;
                let rejected = rejected.min(spans);
                EXPORTED.fetch_add(spans - rejected, Relaxed);
                REJECTED.fetch_add(rejected, Relaxed);
                if rejected > 0 {
                    self.complain(otlp, &format!("the collector refused {rejected} of {spans}"));
                } else if self.complained.take().is_some() {
                    tracing::info!(collector = %otlp.endpoint, "spans are exported again");
                }
                return None;
            }
            Err(Failure::Passing { reason, after }) if tries < TRACE_EXPORT_TRIES_MAX => {
                (reason, Some(after.unwrap_or_else(|| TRACE_EXPORT_BACKOFF.pause(tries))))
            }
            Err(Failure::Passing { reason, .. } | Failure::Lasting(reason)) => (reason, None),
        };
        self.complain(otlp, &reason);
        match after {
            Some(pause) => Some(pause.min(TRACE_EXPORT_BACKOFF.max)),
            None => {
                self.give_up();
                None
            }
        }
    }

    fn give_up(&mut self) {
        if let Some(message) = self.pending.take() {
            FAILED.fetch_add(message.spans, Relaxed);
        }
    }

    /// One line now and then: a collector that is down would otherwise fill the log.
    fn complain(&mut self, otlp: &Otlp, reason: &str) {
        if self.complained.is_none_or(|at| at.elapsed() > TRACE_COMPLAINTS_INTERVAL) {
            self.complained = Some(Instant::now());
            let collector = &otlp.endpoint;
            tracing::warn!(%collector, "spans are not exported: {reason}");
        }
    }
}
