//! The lines of the formats: families, labels, histograms. Prometheus's text format and OpenMetrics
//! differ in the name of a counter's family, and in a last line.

use std::fmt::{Display, Write};

use crate::durations::Durations;

/// Upper bounds of the histograms' buckets in microseconds, with their labels in seconds.
const BUCKETS: [(u64, &str); 16] = [
    (10, "0.00001"),
    (25, "0.000025"),
    (50, "0.00005"),
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (10_000_000, "10"),
];

/// Which format is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Prometheus's text format 0.0.4.
    #[default]
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

/// Lines of the format.
#[derive(Default)]
pub(super) struct Text {
    pub(super) lines: String,
    pub(super) format: Format,
}

impl Text {
    /// The lines in front of a family.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        // OpenMetrics: a counter's family is called without what its samples end with.
        let name = match self.format {
            Format::OpenMetrics if kind == "counter" => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        // Writing to a String does not fail.
        let _ = write!(self.lines, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    pub(super) fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.lines.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            self.lines.push(if index == 0 { '{' } else { ',' });
            self.lines.push_str(label);
            self.lines.push_str("=\"");
            escape(&mut self.lines, value);
            self.lines.push('"');
        }
        if !labels.is_empty() {
            self.lines.push('}');
        }
        let _ = writeln!(self.lines, " {value}");
    }

    /// The sum and the count of durations that are not told apart.
    pub(super) fn summary(&mut self, family: &str, labels: &[(&str, &str)], sum: f64, count: u64) {
        self.line(&format!("{family}_sum"), labels, sum);
        self.line(&format!("{family}_count"), labels, count);
    }

    pub(super) fn histogram(
        &mut self,
        family: &str,
        label: (&str, &str),
        durations: &Durations,
        total_seconds: f64,
    ) {
        let (bucket, count) = (format!("{family}_bucket"), durations.count());
        for (micros, seconds) in BUCKETS {
            self.line(&bucket, &[label, ("le", seconds)], durations.count_until(micros));
        }
        self.line(&bucket, &[label, ("le", "+Inf")], count);
        self.line(&format!("{family}_sum"), &[label], total_seconds);
        self.line(&format!("{family}_count"), &[label], count);
    }
}

/// A label's value.
fn escape(text: &mut String, value: &str) {
    for char in value.chars() {
        match char {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            char => text.push(char),
        }
    }
}
