//! Callers on the control socket who have said nothing yet: so many are listened to, the latest ones, and not for long. They
//! take no place from those who speak.

use std::collections::VecDeque;
use std::time::Duration;

use interprocess::local_socket::tokio::Stream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::caller::{Caller, hear};

/// How long a caller may take to say what it wants.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// How many there may be.
const MOST: usize = 64;

/// What became of a caller.
#[derive(Debug)]
pub(super) enum Heard {
    /// It has said what it wants.
    Asked(Caller),
    /// It said something else, or may not ask.
    Wrong(String),
    /// It said nothing in time, or others came in its place.
    Nothing,
}

/// The callers, each heard by a task of its own.
#[derive(Debug, Default)]
pub(super) struct Silent {
    tasks: JoinSet<Heard>,
    /// In the order in which they came.
    order: VecDeque<AbortHandle>,
}

impl Silent {
    /// Listens to one more; the one who has been silent for longest makes room where there is none.
    pub(super) fn take(&mut self, stream: Stream) {
        self.order.retain(|task| !task.is_finished());
        if self.order.len() >= MOST {
            self.push_out();
        }
        self.order.push_back(self.tasks.spawn(async {
            match timeout(PATIENCE, hear(stream)).await {
                Ok(Ok(caller)) => Heard::Asked(caller),
                Ok(Err(problem)) => Heard::Wrong(problem),
                Err(_) => Heard::Nothing,
            }
        }));
    }

    /// Ends the one who has been silent for longest. Returns whether there was one.
    pub(super) fn push_out(&mut self) -> bool {
        self.order.retain(|task| !task.is_finished());
        let longest = self.order.pop_front();
        longest.iter().for_each(AbortHandle::abort);
        longest.is_some()
    }

    /// What became of the next of them; `None` when there is nobody. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Heard> {
        let heard = self.tasks.join_next().await?;
        // Who made room was ended before it could say so.
        Some(heard.unwrap_or(Heard::Nothing))
    }
}
