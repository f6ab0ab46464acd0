//! What a process asks its master, and who waits for which answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{MasterGone, Process};
use crate::bus::frame::Frame;

/// The requests that have no answer yet, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Requests {
    last: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Bytes>>>,
}

impl Requests {
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Bytes>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> (Waiting<'_>, oneshot::Receiver<Bytes>) {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (answer, answered) = oneshot::channel();
        self.waiting().insert(number, answer);
        (Waiting { requests: self, number }, answered)
    }

    /// The answer to request `number` came.
    pub(super) fn answered(&self, number: u64, answer: Bytes) {
        if let Some(waiting) = self.waiting().remove(&number) {
            let _ = waiting.send(answer);
        }
    }
}

/// Somebody who waits for the answer to a request, and forgets it when they give up.
struct Waiting<'a> {
    requests: &'a Requests,
    number: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.requests.waiting().remove(&self.number);
    }
}

impl Process {
    /// Sends a request, made for a number, and waits for the answer with that number. Cancel safe, but the
    /// request may have been carried out.
    pub(crate) async fn request(&self, make: impl FnOnce(u64) -> Frame) -> Result<Bytes, MasterGone> {
        let (waiting, answered) = self.shared.requests.open();
        self.send(make(waiting.number)).await?;
        answered.await.map_err(|_| MasterGone)
    }
}
