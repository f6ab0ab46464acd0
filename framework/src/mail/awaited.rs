//! Who waits for what comes back under a number: for an answer, for a receipt.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Those who wait for a `T`, by the numbers of what they sent.
#[derive(Debug)]
pub(super) struct Awaited<T> {
    waiting: Mutex<HashMap<u64, oneshot::Sender<T>>>,
}

impl<T> Awaited<T> {
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<T>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it will arrive.
    pub(super) fn expect(&self, number: u64) -> oneshot::Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        self.waiting().insert(number, sender);
        receiver
    }

    /// It came; what nobody waits for is dropped.
    pub(super) fn came(&self, number: u64, what: T) {
        let waiting = self.waiting().remove(&number);
        if let Some(waiting) = waiting {
            let _ = waiting.send(what);
        }
    }

    /// Nobody waits any more; whether it was still to come.
    pub(super) fn forget(&self, number: u64) -> bool {
        self.waiting().remove(&number).is_some()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting().is_empty()
    }
}

impl<T> Default for Awaited<T> {
    fn default() -> Self {
        Self { waiting: Mutex::default() }
    }
}
