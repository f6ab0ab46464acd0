//! What was lost of the mail that came, as the status shows it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::bus::control::Pulse;

/// Counts from the start of the process.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    unheard: AtomicU64,
    missed: AtomicU64,
    unreadable: AtomicU64,
}

impl Losses {
    /// So many messages were on topics that nobody here follows.
    pub(super) fn note_unheard(&self, count: u64) {
        self.unheard.fetch_add(count, Ordering::Relaxed);
    }

    /// So many messages were missed by a subscription that was too slow.
    pub(crate) fn note_missed(&self, count: u64) {
        self.missed.fetch_add(count, Ordering::Relaxed);
    }

    /// A message was of another type than its topic's.
    pub(crate) fn note_unreadable(&self) {
        self.unreadable.fetch_add(1, Ordering::Relaxed);
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
