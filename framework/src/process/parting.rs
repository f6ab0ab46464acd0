//! How a process takes leave when its work is done: it has the master say what the last mail is, and gives those for whom
//! mail came the rest of its time to take it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{MasterGone, Process};
use crate::bus::frame::{Frame, Kind};

/// What there is at least: a part of what the master allows beyond the time that it names.
const RESERVE: Duration = Duration::from_secs(1);

/// How much time there is, and whether all mail has come.
#[derive(Debug, Default)]
pub(super) struct Parting {
    /// From when on how much.
    allowed: Mutex<Option<(Instant, Duration)>>,
    farewell: CancellationToken,
}

impl Parting {
    fn allowed(&self) -> MutexGuard<'_, Option<(Instant, Duration)>> {
        self.allowed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on there is no more time than this.
    pub(super) fn allow(&self, grace: Duration) {
        if self.rest().is_none_or(|rest| grace < rest) {
            *self.allowed() = Some((Instant::now(), grace));
        }
    }

    /// What is left of it; `None` when nobody said how much there is.
    fn rest(&self) -> Option<Duration> {
        self.allowed().map(|(from, grace)| grace.saturating_sub(from.elapsed()))
    }

    /// No mail comes after what has come.
    pub(super) fn farewell(&self) {
        self.farewell.cancel();
    }
}

impl Process {
    /// Takes leave: what was confirmed to others as queued for this process reaches its subscriptions, and the questions
    /// that it has are answered, as far as there is time. Says in the log what nobody took. Cancel safe.
    pub(crate) async fn take_leave(&self) {
        let time = self.shared.parting.rest().unwrap_or(self.launch().http.drain_timeout).max(RESERVE);
        let in_time = timeout(time, async {
            self.send(Frame::new(Kind::Leaving, 0, vec![])).await?;
            self.shared.parting.farewell.cancelled().await;
            self.mail().finish().await;
            self.shared.sender.flush().await;
            Ok::<(), MasterGone>(())
        });
        // If the master is gone, so are we.
        let _ = in_time.await;
        for (topic, count) in self.mail().untaken() {
            tracing::warn!("leaving with {count} messages on `{topic}` that its subscription did not take");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_can_shorten_the_time_and_nothing_makes_it_longer() {
        let parting = Parting::default();
        assert_eq!(parting.rest(), None);
        parting.allow(Duration::from_secs(60));
        parting.allow(Duration::from_millis(u64::MAX));
        assert!(parting.rest().is_some_and(|rest| rest <= Duration::from_secs(60)));
        parting.allow(Duration::ZERO);
        assert_eq!(parting.rest(), Some(Duration::ZERO));
    }
}
