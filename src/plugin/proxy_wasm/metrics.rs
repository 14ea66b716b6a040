//! A filter's metrics: numbers over all workers, which it can read, and this worker's part of them,
//! which is reported.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use super::super::state::HostState;
use super::hostcalls::Status;

/// What a metric counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One metric that an instance has defined.
#[derive(Debug)]
pub(super) struct Metric {
    name: String,
    kind: Kind,
    /// Over all workers; `None`: there were too many, and nothing is counted.
    number: Option<Arc<AtomicI64>>,
}

/// `proxy_define_metric`: its number.
pub(super) fn define(state: &mut HostState, kind: i32, name: &[u8]) -> Result<u32, Status> {
    let kind = match kind {
        0 => Kind::Counter,
        1 => Kind::Gauge,
        2 => Kind::Histogram,
        _ => return Err(Status::BadArgument),
    };
    let name = String::from_utf8_lossy(name).into_owned();
    let known = |it: &Metric| it.name == name && it.kind == kind;
    if let Some(at) = state.filter.metrics.iter().position(known) {
        return Ok(at as u32 + 1);
    }
    if state.filter.metrics.len() >= crate::limits::FILTER_NUMBERS_MAX {
        return Err(Status::InternalFailure);
    }
    // Known to the report from now on.
    let defined = match kind {
        Kind::Counter => state.host.metrics.borrow_mut().increment(name.as_bytes(), 0),
        Kind::Gauge | Kind::Histogram => Ok(()),
    };
    if let Err(why) = defined {
        state.host.log.gateway(super::super::spec::LogLevel::Warn, state.ids(), &why);
    }
    let of_plugin = format!("{}\0{name}", state.plugin.spec.name);
    let number = state.plugin.share().and_then(|share| share.number(&of_plugin));
    state.filter.metrics.push(Metric { name, kind, number });
    Ok(state.filter.metrics.len() as u32)
}

/// `proxy_increment_metric`.
pub(super) fn increment(state: &mut HostState, id: i32, offset: i64) -> Result<(), Status> {
    let metric = metric(state, id)?;
    match metric.kind {
        Kind::Counter if offset < 0 => return Err(Status::BadArgument),
        Kind::Counter | Kind::Gauge => {}
        Kind::Histogram => return Err(Status::BadArgument),
    }
    let number = metric.number.as_ref();
    let sum = number.map_or(0, |number| number.fetch_add(offset, Relaxed).wrapping_add(offset));
    report(state, id, offset, sum);
    Ok(())
}

/// `proxy_record_metric`.
pub(super) fn record(state: &mut HostState, id: i32, value: i64) -> Result<(), Status> {
    let metric = metric(state, id)?;
    if let (Kind::Gauge, Some(number)) = (metric.kind, &metric.number) {
        number.store(value, Relaxed);
    }
    if let (Kind::Counter, Some(number)) = (metric.kind, &metric.number) {
        number.fetch_add(value, Relaxed);
    }
    report(state, id, value, value);
    Ok(())
}

/// `proxy_get_metric`.
pub(super) fn get(state: &mut HostState, id: i32) -> Result<i64, Status> {
    let metric = metric(state, id)?;
    match (metric.kind, &metric.number) {
        (Kind::Histogram, _) => Err(Status::BadArgument),
        (_, Some(number)) => Ok(number.load(Relaxed)),
        (_, None) => Ok(0),
    }
}

fn metric(state: &HostState, id: i32) -> Result<&Metric, Status> {
    let index = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
    index.and_then(|index| state.filter.metrics.get(index)).ok_or(Status::NotFound)
}

/// Counts for the report of this worker: a counter's `change`, a gauge's new `value`.
fn report(state: &mut HostState, id: i32, change: i64, value: i64) {
    let Ok(Metric { name, kind, .. }) = metric(state, id) else {
        return;
    };
    let mut metrics = state.host.metrics.borrow_mut();
    let counted = match kind {
        Kind::Counter => metrics.increment(name.as_bytes(), change),
        Kind::Gauge => metrics.set(name.as_bytes(), value),
        Kind::Histogram => metrics.record(name.as_bytes(), change),
    };
    drop(metrics);
    if let Err(why) = counted {
        state.host.log.gateway(super::super::spec::LogLevel::Warn, state.ids(), &why);
    }
}
