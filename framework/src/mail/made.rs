//! What a process knows of the messages and questions that it has made: how many there were, and how long the last was.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The most bytes that are set aside for a message before it is made.
const LIKELY: usize = 64 << 10;

/// Of the messages and questions of this process.
#[derive(Debug, Default)]
pub(crate) struct Made {
    count: AtomicU64,
    last_length: AtomicUsize,
}

impl Made {
    /// A number that no other message or question of this process has.
    pub(crate) fn next_number(&self) -> u64 {
        self.count.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How many bytes the next is likely to have.
    pub(crate) fn likely_length(&self) -> usize {
        self.last_length.load(Ordering::Relaxed)
    }

    /// The last has so many bytes.
    pub(crate) fn note_length(&self, length: usize) {
        // What is long may have been an exception, and its memory costs little in comparison.
        self.last_length.store(length.min(LIKELY), Ordering::Relaxed);
    }
}
