//! How much of the machine's time the process may have: the quotas of its cgroup and those above.
//!
//! Affinity says which cores may be used (`workers::usable_cores`); a quota says how much of them,
//! and a container with half a core sees all of them. Both versions of cgroups are read, as far as
//! they are mounted at `/sys/fs/cgroup` (cgroups(7)).

use std::path::{Component, Path};

/// One worker for each of `cores`, and not more than the quota pays for.
pub(super) fn automatic_workers(cores: usize) -> usize {
    match self::cores() {
        Some(quota) if quota.ceil() < cores as f64 => {
            // At least one: a quota is more than nothing.
            let workers = (quota.ceil() as usize).max(1);
            tracing::info!(workers, "of {cores} cores the cgroup may use {quota} (cpu.max)");
            workers
        }
        _ => cores,
    }
}

/// The least quota on the way to the process's cgroup, in cores; `None` if there is none.
pub(super) fn cores() -> Option<f64> {
    of_process(Path::new("/proc/self/cgroup"), Path::new("/sys/fs/cgroup"))
}

#[expect(clippy::disallowed_methods, reason = "at the start, before there are workers")]
fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn of_process(membership: &Path, mounted: &Path) -> Option<f64> {
    let membership = read(membership)?;
    let quotas = membership.lines().filter_map(|line| {
        // `0::/path` of version 2, `4:cpu,cpuacct:/path` of version 1.
        let mut parts = line.splitn(3, ':');
        let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        match (number, controllers) {
            ("0", "") => least(mounted, path, &|folder| unified(&read(&folder.join("cpu.max"))?)),
            _ if controllers.split(',').any(|one| one == "cpu") => {
                let value = |folder: &Path, name: &str| read(&folder.join(name));
                least(&mounted.join(controllers), path, &|folder| {
                    legacy(
                        &value(folder, "cpu.cfs_quota_us")?,
                        &value(folder, "cpu.cfs_period_us")?,
                    )
                })
            }
            _ => None,
        }
    });
    quotas.min_by(f64::total_cmp)
}

/// The least quota of a group and of those above. In a container the path may be one that only the
/// host knows: what is mounted is its own group then.
fn least(mounted: &Path, path: &str, quota: &dyn Fn(&Path) -> Option<f64>) -> Option<f64> {
    let mut folder = mounted.to_owned();
    let mut least = quota(&folder);
    for part in Path::new(path).components() {
        let Component::Normal(part) = part else { continue };
        folder.push(part);
        least = match (least, quota(&folder)) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
    least
}

/// `50000 100000`: microseconds in each period; `max 100000`: no quota.
fn unified(text: &str) -> Option<f64> {
    let mut numbers = text.split_ascii_whitespace();
    share(numbers.next()?, numbers.next()?)
}

/// The same in two files; -1: no quota.
fn legacy(quota: &str, period: &str) -> Option<f64> {
    share(quota.trim(), period.trim())
}

fn share(quota: &str, period: &str) -> Option<f64> {
    let quota: u64 = quota.parse().ok()?;
    let period: u64 = period.parse().ok().filter(|period| *period > 0)?;
    Some(quota as f64 / period as f64)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests are no workers")]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A mounted hierarchy with these files.
    fn tree(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let root = std::env::temp_dir().join(format!("odin-quota-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    fn quota(name: &str, files: &[(&str, &str)]) -> Option<f64> {
        let root = tree(name, files);
        let quota = of_process(&root.join("self"), &root);
        std::fs::remove_dir_all(root).unwrap();
        quota
    }

    #[test]
    fn the_least_quota_on_the_way_counts() {
        let files = [
            ("self", "0::/a/b\n"),
            ("a/cpu.max", "50000 100000\n"),
            ("a/b/cpu.max", "300000 100000\n"),
        ];
        assert_eq!(quota("above", &files), Some(0.5));
        let files = [("self", "0::/a/b\n"), ("a/cpu.max", "max 100000\n")];
        assert_eq!(quota("none", &files), None);
        assert_eq!(quota("unmounted", &[("self", "0::/a\n")]), None);
    }

    #[test]
    fn a_container_that_sees_its_own_group_alone_has_its_quota() {
        let files = [("self", "0::/\n"), ("cpu.max", "150000 100000\n")];
        assert_eq!(quota("own", &files), Some(1.5));
        let files = [("self", "0::/../../host\n"), ("cpu.max", "150000 100000\n")];
        assert_eq!(quota("host", &files), Some(1.5));
    }

    #[test]
    fn version_1_has_two_files() {
        let files = [
            ("self", "5:memory:/m\n4:cpu,cpuacct:/a\n"),
            ("cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("cpu,cpuacct/a/cpu.cfs_quota_us", "25000\n"),
            ("cpu,cpuacct/a/cpu.cfs_period_us", "50000\n"),
        ];
        assert_eq!(quota("v1", &files), Some(0.5));
    }

    #[test]
    fn what_is_no_quota_is_none() {
        for text in ["", "x y", "1", "100000 0", "-1 100000", "max"] {
            assert_eq!(unified(text), None, "{text:?}");
        }
    }
}
