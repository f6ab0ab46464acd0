//! How long a process that sends mail is held up: until its mail has been passed on, and then for a moment by receivers
//! for whom much waits. One that takes nothing in that time holds nobody up again before it goes on.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::event::Taken;
use crate::bus::link::Sender;

/// How long a receiver that takes nothing may hold up a sender.
const PATIENCE: Duration = Duration::from_millis(250);

/// What a sender waits for.
#[derive(Debug)]
pub(super) struct Hold {
    taken: Option<oneshot::Receiver<Vec<Sender>>>,
    crowded: Vec<Sender>,
    until: Instant,
}

impl Hold {
    /// A hold, and where to tell it what there is to wait for.
    pub(super) fn new() -> (Self, Taken) {
        let (tell, taken) = oneshot::channel();
        (Self { taken: Some(taken), crowded: Vec::new(), until: Instant::now() }, tell)
    }

    /// Returns when there is nothing to wait for any more. Cancel safe.
    pub(super) async fn over(&mut self) {
        if let Some(taken) = &mut self.taken {
            self.crowded = taken.await.unwrap_or_default();
            self.taken = None;
            self.until = Instant::now() + PATIENCE;
        }
        while let Some(receiver) = self.crowded.last() {
            if timeout_at(self.until, receiver.roomy()).await.is_err() {
                receiver.give_up_waiting();
            }
            self.crowded.pop();
        }
    }
}
