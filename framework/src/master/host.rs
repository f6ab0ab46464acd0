//! What this machine, or the part of it that we may use, offers: processors and memory.

use std::fmt;

use rustix::thread::sched_getaffinity;

use crate::cgroup::Cgroup;

/// What there is to use.
#[derive(Debug)]
pub(crate) struct Host {
    /// How many processors a cluster should count on: the affinity, or the quota if it is less.
    pub(crate) processors: usize,
    affinity: Option<u32>,
    quota: Option<f64>,
    memory: Option<u64>,
}

impl Host {
    /// Looks at the affinity of this process and at its control group.
    pub(crate) fn look(cgroup: &Cgroup) -> Self {
        Self {
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            affinity: sched_getaffinity(None).ok().map(|set| set.count()),
            quota: cgroup.cpu_quota(),
            memory: cgroup.memory_limit(),
        }
    }
}

/// For the log: what the default number of workers was made of.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} processors", self.processors)?;
        match self.affinity {
            Some(affinity) => write!(f, " (affinity {affinity}, ")?,
            None => f.write_str(" (affinity unknown, ")?,
        }
        match self.quota {
            Some(quota) => write!(f, "quota {quota:.2})")?,
            None => f.write_str("no quota)")?,
        }
        match self.memory {
            Some(bytes) => write!(f, ", at most {} MiB of memory", bytes >> 20),
            None => Ok(()),
        }
    }
}
