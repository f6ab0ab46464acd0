//! Whether a SIGKILL that nobody here sent was the kernel's: its counter of kills for want of memory has
//! risen since the last look. The control group's files are read elsewhere.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cgroup::Cgroup;

/// How long a kill that explains no child's death is remembered, at least: it was some other process's.
const MEMORY: Duration = Duration::from_secs(5);

/// The kernel's kills in our control group; clones count together.
#[derive(Debug, Clone)]
pub(super) struct OomKills {
    group: Cgroup,
    ledger: Arc<Mutex<Ledger>>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Ledger {
    seen: u64,
    unexplained: u64,
}

impl OomKills {
    /// Kills count from now on.
    pub(super) fn of(group: Cgroup) -> Self {
        let seen = group.oom_kills().unwrap_or_default();
        Self { group, ledger: Arc::new(Mutex::new(Ledger { seen, unexplained: 0 })) }
    }

    /// Whether a kill of the kernel's explains one more death by SIGKILL.
    pub(super) fn explain_one(&self) -> bool {
        self.with_ledger(Ledger::claim)
    }

    /// Forgets, again and again, the kills that were nobody's of ours; never returns.
    pub(super) async fn forget_in_time(self) {
        let mut pace = tokio::time::interval(MEMORY);
        loop {
            pace.tick().await;
            self.with_ledger(Ledger::turn_over);
        }
    }

    fn with_ledger<T>(&self, act: impl FnOnce(&mut Ledger, u64) -> T) -> T {
        let counter = self.group.oom_kills().unwrap_or_default();
        act(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner), counter)
    }
}

impl Ledger {
    fn look(&mut self, counter: u64) {
        self.unexplained += counter.saturating_sub(self.seen);
        self.seen = counter;
    }

    fn claim(&mut self, counter: u64) -> bool {
        self.look(counter);
        let explained = self.unexplained > 0;
        self.unexplained -= u64::from(explained);
        explained
    }

    /// What happened since the last turn stays for one more.
    fn turn_over(&mut self, counter: u64) {
        self.unexplained = 0;
        self.look(counter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_rose_by_n_explains_n_deaths() {
        let mut ledger = Ledger { seen: 4, unexplained: 0 };
        assert!(!ledger.claim(4));
        assert!(ledger.claim(6));
        assert!(ledger.claim(6));
        assert!(!ledger.claim(6));
        assert!(ledger.claim(7));
    }

    #[test]
    fn a_kill_that_was_nobodys_of_ours_is_forgotten() {
        let mut ledger = Ledger::default();
        ledger.turn_over(1);
        assert!(ledger.unexplained == 1, "it may be one of which we have not heard yet");
        ledger.turn_over(1);
        assert!(!ledger.claim(1));
    }
}
