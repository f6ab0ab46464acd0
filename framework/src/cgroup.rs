//! The control group that this process lives in: what it may use, and how often the kernel killed there for
//! want of memory. Versions 1 and 2; what cannot be found or read is unknown, never an error.

use std::fs;
use std::path::{Path, PathBuf};

use procfs::process::{MountInfo, Process};
use procfs::{ProcessCGroup, ProcessCGroups};

/// Where version 1 begins to mean that there is no limit: the largest whole page below 2^63.
const NO_LIMIT: u64 = (i64::MAX as u64) & !0xffff;

/// The folders of this process's control group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cgroup {
    memory: Option<Place>,
    cpu: Option<Place>,
}

/// A folder of the group, and where its hierarchy is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    top: PathBuf,
    dir: PathBuf,
}

impl Cgroup {
    /// The group of this process.
    pub(crate) fn of_self() -> Self {
        let read = || {
            let own = Process::myself()?;
            Ok::<_, procfs::ProcError>((own.cgroups()?, own.mountinfo()?))
        };
        read().map_or_else(|_| Self::default(), |(groups, mounts)| Self::locate(&groups, &mounts.0))
    }

    fn locate(groups: &ProcessCGroups, mounts: &[MountInfo]) -> Self {
        Self { memory: place(groups, mounts, "memory"), cpu: place(groups, mounts, "cpu") }
    }

    /// How many processes of this group the kernel has killed for want of memory, the group's or an outer
    /// one's. Where groups count nothing, as at the root, the count of the whole machine.
    pub(crate) fn oom_kills(&self) -> Option<u64> {
        // `.local` leaves out the groups below, which are not ours.
        let names = ["memory.events.local", "memory.events", "memory.oom_control"];
        let own = self.memory.iter().flat_map(|place| names.map(|name| place.dir.join(name)));
        own.chain([PathBuf::from("/proc/vmstat")])
            .find_map(|path| count_of("oom_kill", &fs::read_to_string(path).ok()?))
    }

    /// The most bytes of memory that this group and those around it allow; nothing if they allow all.
    pub(crate) fn memory_limit(&self) -> Option<u64> {
        let limit = |dir: &Path| {
            ["memory.max", "memory.limit_in_bytes"]
                .iter()
                .find_map(|name| limit_in(&fs::read_to_string(dir.join(name)).ok()?))
        };
        self.memory.iter().flat_map(Place::upwards).filter_map(limit).min()
    }

    /// How many processors' time this group and those around it allow; nothing if they allow all.
    pub(crate) fn cpu_quota(&self) -> Option<f64> {
        let quota = |dir: &Path| {
            let read = |name: &str| fs::read_to_string(dir.join(name)).ok();
            let old = || Some(format!("{} {}", read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?));
            quota_in(&read("cpu.max").or_else(old)?)
        };
        self.cpu.iter().flat_map(Place::upwards).filter_map(quota).min_by(f64::total_cmp)
    }
}

impl Place {
    /// The group's own folder and those around it, up to the mount point.
    fn upwards(&self) -> impl Iterator<Item = &Path> {
        self.dir.ancestors().take_while(|dir| dir.starts_with(&self.top))
    }
}

/// Where a controller's files are: in a hierarchy of its own (version 1), else in the unified one.
fn place(groups: &ProcessCGroups, mounts: &[MountInfo], controller: &str) -> Option<Place> {
    let named = |group: &&ProcessCGroup| group.controllers.iter().any(|name| name == controller);
    let old = groups.0.iter().find(named).and_then(|group| {
        let is_its =
            |mount: &&MountInfo| mount.fs_type == "cgroup" && mount.super_options.contains_key(controller);
        Some((group, mounts.iter().find(is_its)?))
    });
    let unified = || {
        let group = groups.0.iter().find(|group| group.hierarchy == 0)?;
        Some((group, mounts.iter().find(|mount| mount.fs_type == "cgroup2")?))
    };
    let (group, mount) = old.or_else(unified)?;
    Some(Place { top: mount.mount_point.clone(), dir: folder(mount, &group.pathname) })
}

/// In a container the mount often begins at the group itself, and its path may lead out of what is mounted.
fn folder(mount: &MountInfo, path: &str) -> PathBuf {
    let inside = Path::new(path).strip_prefix(&mount.root).unwrap_or(Path::new(""));
    let sound = !inside.components().any(|part| part == std::path::Component::ParentDir);
    if sound { mount.mount_point.join(inside) } else { mount.mount_point.clone() }
}

/// The number behind a word in a file of lines such as `oom_kill 3`.
fn count_of(word: &str, text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' ')?.trim().parse().ok())
}

/// `max`, or bytes.
fn limit_in(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < NO_LIMIT)
}

/// `max 100000`, or microseconds of work and of time; version 1 says -1 for no quota.
fn quota_in(text: &str) -> Option<f64> {
    let mut numbers = text.split_whitespace().map(str::parse::<f64>);
    match (numbers.next()?, numbers.next()?) {
        (Ok(work), Ok(time)) if work > 0.0 && time > 0.0 => Some(work / time),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use procfs::FromBufRead;

    use super::*;

    const HYBRID: &str = "\
32 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const UNIFIED: &str = "24 22 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const DOCKER: &str = "35 31 0:32 /docker/4f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";

    fn located(groups: &str, mounts: &str) -> Cgroup {
        let groups = ProcessCGroups::from_buf_read(groups.as_bytes()).unwrap();
        let mounts = procfs::process::MountInfos::from_buf_read(mounts.as_bytes()).unwrap();
        Cgroup::locate(&groups, &mounts.0)
    }

    #[test]
    fn a_group_is_found_in_every_kind_of_hierarchy() {
        let table = [
            ("4:memory:/shop/a\n1:cpu,cpuacct:/\n0::/\n", HYBRID, "/sys/fs/cgroup/memory/shop/a"),
            ("0::/system.slice/shop.service\n", UNIFIED, "/sys/fs/cgroup/system.slice/shop.service"),
            ("0::/\n", UNIFIED, "/sys/fs/cgroup"),
            ("0::/../outside\n", UNIFIED, "/sys/fs/cgroup"),
            ("4:memory:/docker/4f\n0::/\n", DOCKER, "/sys/fs/cgroup/memory"),
            ("4:memory:/docker/4f/inner\n0::/\n", DOCKER, "/sys/fs/cgroup/memory/inner"),
            ("4:memory:/elsewhere\n", DOCKER, "/sys/fs/cgroup/memory"),
            // Version 1 is known to the kernel, but only the unified hierarchy is mounted.
            ("4:memory:/\n0::/b\n", UNIFIED, "/sys/fs/cgroup/b"),
        ];
        for (groups, mounts, expected) in table {
            let memory = located(groups, mounts).memory.unwrap();
            assert_eq!(memory.dir, Path::new(expected), "{groups}");
        }
        assert_eq!(located("", HYBRID), Cgroup::default());
    }

    #[test]
    fn the_groups_around_are_asked_too() {
        let place = located("0::/a/b\n", UNIFIED).cpu.unwrap();
        let dirs: Vec<_> = place.upwards().map(Path::to_path_buf).collect();
        assert_eq!(dirs, ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"].map(PathBuf::from));
    }

    #[test]
    fn files_are_read_in_the_forms_of_both_versions() {
        let events = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n";
        assert_eq!(count_of("oom_kill", events), Some(2));
        assert_eq!(count_of("oom_kill", "oom_kill_disable 1\nunder_oom 0\noom_kill 7\n"), Some(7));
        assert_eq!(count_of("oom_kill", "oom_kill_disable 0\nunder_oom 0\n"), None);

        assert_eq!(limit_in("67108864\n"), Some(64 << 20));
        assert_eq!(limit_in("max\n"), None);
        assert_eq!(limit_in("9223372036854771712\n"), None);

        assert_eq!(quota_in("150000 100000\n"), Some(1.5));
        assert_eq!(quota_in("max 100000\n"), None);
        assert_eq!(quota_in("-1\n 100000\n"), None);
        assert_eq!(quota_in("50000"), None);
    }

    #[test]
    fn the_group_of_this_process_is_looked_at_without_a_failure() {
        let own = Cgroup::of_self();
        let _ = (own.oom_kills(), own.memory_limit(), own.cpu_quota());
    }
}
