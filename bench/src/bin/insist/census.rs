//! Who has answered: each process is told of once, on a line of its own, at its first answer.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The processes that have answered any of the clients.
#[derive(Debug)]
pub(crate) struct Census {
    seen: Mutex<BTreeSet<u32>>,
}

impl Census {
    pub(crate) const fn new() -> Self {
        Self { seen: Mutex::new(BTreeSet::new()) }
    }

    pub(crate) fn see(&self, pid: u32) {
        if self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(pid) {
            println!("{pid}");
        }
    }
}
