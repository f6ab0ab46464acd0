//! What was lost of the mail that came, as the status shows it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::bus::control::Pulse;

/// Counts from the start of the process.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    unheard: AtomicU64,
    missed: AtomicU64,
    unreadable: AtomicU64,
    /// What subscriptions left that were given up while the process took leave, by topic: what waited, and what was missed.
    left_behind: Mutex<BTreeMap<&'static str, (u64, u64)>>,
}

impl Losses {
    /// So many messages were on topics that nobody here follows, or not any more.
    pub(super) fn note_unheard(&self, count: u64) {
        self.unheard.fetch_add(count, Ordering::Relaxed);
    }

    /// So many messages were missed by a subscription that was too slow.
    pub(super) fn note_missed(&self, count: u64) {
        self.missed.fetch_add(count, Ordering::Relaxed);
    }

    /// A message was of another type than its topic's.
    pub(crate) fn note_unreadable(&self) {
        self.unreadable.fetch_add(1, Ordering::Relaxed);
    }

    /// A subscription was given up while the process took leave: so many messages waited, and so many more were missed.
    pub(super) fn note_left_behind(&self, topic: &'static str, waiting: u64, missed: u64) {
        let mut left = self.lock();
        let left = left.entry(topic).or_default();
        *left = (left.0 + waiting, left.1 + missed);
    }

    /// What was left so.
    pub(super) fn left_behind(&self) -> BTreeMap<&'static str, (u64, u64)> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, (u64, u64)>> {
        self.left_behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The figures with these.
    pub(crate) fn count(&self, pulse: Pulse) -> Pulse {
        Pulse {
            unheard: self.unheard.load(Ordering::Relaxed),
            missed: self.missed.load(Ordering::Relaxed),
            unreadable: self.unreadable.load(Ordering::Relaxed),
            ..pulse
        }
    }
}
