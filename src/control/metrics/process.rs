//! Of the process as a whole, under the names that Prometheus's own clients use.

use rustix::time::{ClockId, clock_gettime};

use super::text::Text;

pub(super) fn families(text: &mut Text) {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let family = "process_cpu_seconds_total";
    text.family(family, "counter", "CPU time of the process, in user space and in the kernel.");
    text.line(family, &[], cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9);
    let family = "process_resident_memory_bytes";
    text.family(family, "gauge", "Resident memory of the process.");
    text.line(family, &[], resident_bytes().unwrap_or(0));
}

/// `VmRSS` of `/proc/self/status`.
#[expect(clippy::disallowed_methods, reason = "no worker reads it: the control thread does")]
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}
