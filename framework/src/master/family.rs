//! Which processes are the master's own children, and what it does with those that it did not start: as the
//! subreaper of all that its children leave behind, or as process 1, it inherits orphans and takes leave of
//! them when they end. Its own children are left to those who wait for them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use procfs::process::{Process, all_processes};
use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};
use tokio::signal::unix::{SignalKind, signal};

/// The children that the master has started and not yet taken leave of. Clones are the same family.
#[derive(Debug, Clone, Default)]
pub(super) struct Family {
    pids: Arc<Mutex<HashSet<u32>>>,
}

/// While this exists, somebody waits for the child.
#[derive(Debug)]
pub(super) struct Member {
    pid: u32,
    family: Family,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.family.pids().remove(&self.pid);
    }
}

impl Family {
    /// A family that from now on also takes in whom its children leave behind.
    pub(super) fn found() -> Self {
        if let Err(error) = set_child_subreaper(Some(getpid())) {
            tracing::warn!("what children leave behind cannot be found: {error}");
        }
        Self::default()
    }

    /// A child that was started just now; its status is for whoever holds the member.
    pub(super) fn admit(&self, pid: u32) -> Member {
        self.pids().insert(pid);
        Member { pid, family: self.clone() }
    }

    /// Takes leave of orphans that have ended, and tells whether others live on.
    pub(super) fn bury_strangers(&self) -> bool {
        let known = self.pids().clone();
        let strangers = children().into_iter().filter(|pid| !known.contains(pid));
        let mut alive = false;
        for pid in strangers.filter_map(pid_of) {
            match waitpid(Some(pid), WaitOptions::NOHANG) {
                Ok(Some((_, status))) => {
                    tracing::debug!("an orphan has ended: pid {pid}, status {:#x}", status.as_raw());
                }
                Ok(None) => alive = true,
                Err(_) => {}
            }
        }
        alive
    }

    /// Does so whenever a child ends; never returns.
    pub(super) async fn keep_clean(self) {
        let Ok(mut child_ended) = signal(SignalKind::child()) else {
            return;
        };
        loop {
            self.bury_strangers();
            child_ended.recv().await;
        }
    }

    fn pids(&self) -> MutexGuard<'_, HashSet<u32>> {
        self.pids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// All children of this process. The kernel gives orphans to its first thread, which also starts our own.
fn children() -> Vec<u32> {
    let listed = Process::myself().and_then(|own| own.task_main_thread()?.children());
    listed.unwrap_or_else(|_| children_by_looking_at_everybody())
}

/// For kernels that keep no list.
fn children_by_looking_at_everybody() -> Vec<u32> {
    let own = getpid().as_raw_nonzero().get();
    let stats = all_processes().into_iter().flatten().filter_map(|process| process.ok()?.stat().ok());
    stats.filter(|stat| stat.ppid == own).filter_map(|stat| u32::try_from(stat.pid).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_list_of_children_is_what_a_look_at_everybody_finds() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let found =
            (children().contains(&child.id()), children_by_looking_at_everybody().contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        // The list is of what the first thread started, and tests run in others.
        assert!(found.1, "{found:?}");
    }
}
