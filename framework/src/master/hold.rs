//! How long a process that sends mail is held up by receivers for whom much waits: a moment. One that takes nothing in that
//! time holds nobody up again before it goes on.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::bus::link::Sender;

/// How long a receiver that takes nothing may hold up a sender.
const PATIENCE: Duration = Duration::from_millis(250);

/// What a sender waits for.
#[derive(Debug)]
pub(super) struct Hold {
    crowded: Vec<Sender>,
    until: Instant,
}

impl Hold {
    /// A hold from now on, if there is anybody to wait for.
    pub(super) fn by(crowded: Vec<Sender>) -> Option<Self> {
        (!crowded.is_empty()).then(|| Self { crowded, until: Instant::now() + PATIENCE })
    }

    /// Returns when there is nothing to wait for any more. Cancel safe.
    pub(super) async fn over(&mut self) {
        while let Some(receiver) = self.crowded.last() {
            if timeout_at(self.until, receiver.roomy()).await.is_err() {
                receiver.give_up_waiting();
            }
            self.crowded.pop();
        }
    }
}
