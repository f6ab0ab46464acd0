//! How long a process that sends mail is held up by receivers for whom much waits: until they keep up, or the patience with
//! them is over, which `bus::link` knows.

use futures_util::future::join_all;

use crate::bus::link::Sender;

/// What a sender waits for.
#[derive(Debug)]
pub(super) struct Hold {
    crowded: Vec<Sender>,
}

impl Hold {
    /// A hold from now on, if there is anybody to wait for.
    pub(super) fn by(crowded: Vec<Sender>) -> Option<Self> {
        (!crowded.is_empty()).then_some(Self { crowded })
    }

    /// Returns when there is nothing to wait for any more. Cancel safe.
    pub(super) async fn over(&self) {
        join_all(self.crowded.iter().map(Sender::keep_up)).await;
    }
}
