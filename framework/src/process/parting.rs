//! How a process takes leave when its work is done: it has the master say what the last mail is, and gives those for whom
//! mail came the rest of its time to take it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;
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
    /// Whether the master knows.
    said: OnceCell<()>,
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
    /// Says that this process takes nothing new, once: what is on its way comes, and then the farewell. Cancel safe.
    pub(crate) async fn say_leaving(&self) -> Result<(), MasterGone> {
        let say = || self.send(Frame::new(Kind::Leaving, 0, vec![]));
        self.shared.parting.said.get_or_try_init(say).await.copied()
    }

    /// How much time there is to leave, and a part of what the master allows beyond that when there is none.
    pub(crate) fn time_to_leave(&self) -> Duration {
        self.shared.parting.rest().unwrap_or(self.launch().http.drain_timeout).max(RESERVE)
    }

    /// Takes leave: what was confirmed to others as queued for this process reaches its subscriptions, and the questions
    /// that it has are answered, as far as there is time. Says in the log what nobody took. Cancel safe.
    pub(crate) async fn take_leave(&self) {
        let in_time = timeout(self.time_to_leave(), async {
            self.say_leaving().await?;
            self.shared.parting.farewell.cancelled().await;
            self.mail().finish().await;
            self.shared.sender.flush().await;
            Ok::<(), MasterGone>(())
        });
        // If the master is gone, so are we.
        let _ = in_time.await;
        for untaken in self.mail().untaken() {
            tracing::warn!("leaving with {untaken}");
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
