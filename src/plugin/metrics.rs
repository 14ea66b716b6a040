//! The metrics that a plugin keeps of its own: plain numbers of one worker, read when asked for.
//!
//! Names come from a guest, so their number and form are bounded here: what reads them can take
//! them for names of Prometheus without looking again.

use std::collections::BTreeMap;

use crate::limits;

/// One metric of a plugin on one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginMetric {
    /// Of `metric_increment`: the sum of all increments.
    Counter(u64),
    /// Of a foreign filter's gauge: its value, the same on all workers.
    Gauge(i64),
    /// Of `metric_record`: what was recorded.
    Summary {
        /// How many values.
        count: u64,
        /// Their sum.
        sum: i64,
        /// The least of them.
        min: i64,
        /// The largest of them.
        max: i64,
    },
}

impl PluginMetric {
    /// Adds what was counted elsewhere. What is a counter here and a summary there (another version
    /// of the plugin said so) stays what it is here.
    pub fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::Counter(sum), Self::Counter(more)) => *sum = sum.saturating_add(*more),
            (Self::Gauge(value), Self::Gauge(other)) => *value = *other,
            (
                Self::Summary { count, sum, min, max },
                Self::Summary { count: more, sum: theirs, min: least, max: most },
            ) => {
                *count += more;
                *sum = sum.saturating_add(*theirs);
                *min = (*least).min(*min);
                *max = (*most).max(*max);
            }
            _ => {}
        }
    }
}

/// All metrics of one plugin on one worker.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    by_name: BTreeMap<Box<str>, PluginMetric>,
}

impl Metrics {
    /// Adds to a counter.
    ///
    /// # Errors
    /// Why nothing was counted.
    pub(super) fn increment(&mut self, name: &[u8], delta: i64) -> Result<(), String> {
        let Ok(delta) = u64::try_from(delta) else {
            return Err(format!("metric_increment: {delta} is less than 0; a counter only grows"));
        };
        match self.metric(name, PluginMetric::Counter(0))? {
            PluginMetric::Counter(sum) => *sum = sum.saturating_add(delta),
            PluginMetric::Summary { .. } | PluginMetric::Gauge(_) => return Err(mixed(name)),
        }
        Ok(())
    }

    /// Sets a gauge.
    ///
    /// # Errors
    /// Why it was not set.
    pub(super) fn set(&mut self, name: &[u8], value: i64) -> Result<(), String> {
        match self.metric(name, PluginMetric::Gauge(0))? {
            PluginMetric::Gauge(have) => *have = value,
            PluginMetric::Counter(_) | PluginMetric::Summary { .. } => return Err(mixed(name)),
        }
        Ok(())
    }

    /// Records a value.
    ///
    /// # Errors
    /// Why nothing was recorded.
    pub(super) fn record(&mut self, name: &[u8], value: i64) -> Result<(), String> {
        let none = PluginMetric::Summary { count: 0, sum: 0, min: i64::MAX, max: i64::MIN };
        match self.metric(name, none)? {
            PluginMetric::Summary { count, sum, min, max } => {
                *count += 1;
                *sum = sum.saturating_add(value);
                *min = value.min(*min);
                *max = value.max(*max);
            }
            PluginMetric::Counter(_) | PluginMetric::Gauge(_) => return Err(mixed(name)),
        }
        Ok(())
    }

    /// All of them, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &PluginMetric)> {
        self.by_name.iter().map(|(name, metric)| (&**name, metric))
    }

    fn metric(&mut self, name: &[u8], new: PluginMetric) -> Result<&mut PluginMetric, String> {
        let name = sanitised(name)?;
        let most = limits::PLUGIN_METRICS_MAX;
        if !self.by_name.contains_key(name.as_str()) && self.by_name.len() >= most {
            return Err(format!(
                "metric {name} is one too many, limit is {most} names; put no ids into names"
            ));
        }
        Ok(self.by_name.entry(name.into_boxed_str()).or_insert(new))
    }
}

fn mixed(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    format!("metric {name:?} is used by both metric_increment and metric_record")
}

/// The name as Prometheus takes it: what is not a letter, a digit or `_` becomes `_`, and no digit
/// stands first.
fn sanitised(name: &[u8]) -> Result<String, String> {
    let (got, most) = (name.len(), limits::PLUGIN_METRIC_NAME_BYTES_MAX);
    if got == 0 || got > most {
        return Err(format!("the name of a metric is {got} bytes, allowed are 1 to {most}"));
    }
    let mut text = String::with_capacity(got + 1);
    if name[0].is_ascii_digit() {
        text.push('_');
    }
    text.extend(name.iter().map(|&byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte),
        _ => '_',
    }));
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_and_summaries_remember_their_range() {
        let mut metrics = Metrics::default();
        metrics.increment(b"hits", 2).unwrap();
        metrics.increment(b"hits", 3).unwrap();
        for value in [5, -1, 7] {
            metrics.record(b"wait.ms", value).unwrap();
        }
        let all: Vec<_> = metrics.iter().map(|(name, metric)| (name, *metric)).collect();
        let summary = PluginMetric::Summary { count: 3, sum: 11, min: -1, max: 7 };
        assert_eq!(all, [("hits", PluginMetric::Counter(5)), ("wait_ms", summary)]);
        metrics.increment(b"hits", i64::MAX).unwrap();
        metrics.increment(b"hits", i64::MAX).unwrap();
        metrics.increment(b"hits", i64::MAX).unwrap();
        assert_eq!(metrics.iter().next(), Some(("hits", &PluginMetric::Counter(u64::MAX))));
    }

    #[test]
    fn what_cannot_be_a_metric_is_refused_and_changes_nothing() {
        let mut metrics = Metrics::default();
        metrics.increment(b"9\xff a", 1).unwrap();
        assert_eq!(metrics.iter().next(), Some(("_9__a", &PluginMetric::Counter(1))));
        assert!(metrics.increment(b"", 1).is_err());
        assert!(metrics.increment(&[b'a'; 1000], 1).is_err());
        assert!(metrics.increment(b"_9__a", -1).is_err());
        assert!(metrics.record(b"_9__a", 1).is_err());
        for number in 0..10_000 {
            let _too_many = metrics.record(format!("m{number}").as_bytes(), 1);
        }
        assert_eq!(metrics.iter().count(), limits::PLUGIN_METRICS_MAX);
    }
}
