//! Of the process as a whole, under the names that Prometheus's own clients use.
//!
//! All of it is what `/proc/self` says (proc(5)). A value that cannot be had is left out.
#![expect(clippy::disallowed_methods, reason = "no worker reads it: the control thread does")]

use std::sync::LazyLock;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::text::Text;

pub(super) fn families(text: &mut Text) {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let family = "process_cpu_seconds_total";
    text.family(family, "counter", "CPU time of the process, in user space and in the kernel.");
    text.line(family, &[], cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let limit = |resource| getrlimit(resource).current.map(|limit| limit as f64);
    let gauges = [
        (
            "process_resident_memory_bytes",
            "Resident memory of the process.",
            kibibytes(&status, "VmRSS:"),
        ),
        (
            "process_virtual_memory_bytes",
            "Addresses that the process has mapped.",
            kibibytes(&status, "VmSize:"),
        ),
        (
            "process_virtual_memory_max_bytes",
            "Addresses that the process may map; -1 without a limit.",
            Some(limit(Resource::As).unwrap_or(-1.0)),
        ),
        ("process_open_fds", "Open file descriptors of the process.", open_descriptors()),
        (
            "process_max_fds",
            "Open file descriptors that the process may have.",
            limit(Resource::Nofile),
        ),
        ("process_threads", "Threads of the process.", number(&status, "Threads:")),
        ("process_start_time_seconds", "When the process was started, since 1970.", *STARTED),
    ];
    for (family, help, value) in gauges {
        if let Some(value) = value {
            text.family(family, "gauge", help);
            text.line(family, &[], value);
        }
    }
}

/// The number behind `name` in `/proc/self/status`.
fn number(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn kibibytes(status: &str, name: &str) -> Option<f64> {
    number(status, name).map(|count| count * 1024.0)
}

/// Since Linux 6.2 the size of the folder says it; before, they are counted.
fn open_descriptors() -> Option<f64> {
    let size = std::fs::metadata("/proc/self/fd").ok()?.len();
    if size > 0 {
        return Some(size as f64);
    }
    // Without the one that reads the folder.
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

/// What the kernel counts a process's start in (`USER_HZ`): the same on every machine that Odin
/// runs on.
const TICKS_PER_SECOND: u64 = 100;

/// Does not change while the process runs.
static STARTED: LazyLock<Option<f64>> = LazyLock::new(|| {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let system = std::fs::read_to_string("/proc/stat").ok()?;
    started(&stat, &system, TICKS_PER_SECOND)
});

/// Seconds since 1970: the machine's start and the process's ticks after it.
fn started(stat: &str, system: &str, ticks_per_second: u64) -> Option<f64> {
    let booted = system.lines().find_map(|line| line.strip_prefix("btime "))?;
    let booted: f64 = booted.trim().parse().ok()?;
    // The name may hold anything, brackets and spaces too; what follows it begins with field 3.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: f64 = fields.split_ascii_whitespace().nth(22 - 3)?.parse().ok()?;
    Some(booted + ticks / ticks_per_second as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processs_name_does_not_move_the_fields_behind_it() {
        let fields: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        let stat = format!("17 (a) b (c)) {}\n", fields.join(" "));
        let system = "cpu  1 2 3\nbtime 1000\nprocesses 5\n";
        assert_eq!(started(&stat, system, 100), Some(1000.22));
        for (stat, system) in [("", system), ("17 (a) S", system), (&*stat, "cpu 1")] {
            assert_eq!(started(stat, system, 100), None);
        }
    }

    #[test]
    fn this_process_has_all_of_them() {
        let mut text = Text::default();
        families(&mut text);
        let value = |name: &str| -> f64 {
            let line = text.lines.lines().find(|line| line.starts_with(&format!("{name} ")));
            line.unwrap_or_else(|| panic!("{name} is missing"))
                .split(' ')
                .nth(1)
                .unwrap()
                .parse()
                .unwrap()
        };
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_max_fds") >= value("process_open_fds"));
        assert!(value("process_threads") >= 1.0);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let age = now.as_secs_f64() - value("process_start_time_seconds");
        assert!((-2.0..24.0 * 3600.0).contains(&age), "{age}");
    }
}
