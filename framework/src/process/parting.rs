//! How a process takes leave when its work is done: it has the master say what the last mail is, and gives those for whom
//! mail came the rest of its time to take it.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::{OnceCell, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{MasterGone, Process};
use crate::bus::frame::{Frame, Kind};

/// What there is at least: a part of what the master allows beyond the time that it names. Whoever leaves without being
/// asked has no more, because nobody comes in its place before it has ended.
const RESERVE: Duration = Duration::from_secs(1);

/// How long the last that was said may take to be written when the time is over: another part of it.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How much time there is, and whether all mail has come.
#[derive(Debug, Default)]
pub(super) struct Parting {
    /// From when on how much.
    allowed: watch::Sender<Option<(Instant, Duration)>>,
    farewell: CancellationToken,
    /// Whether the master knows.
    said: OnceCell<()>,
}

impl Parting {
    /// From now on there is no more time than this.
    pub(super) fn allow(&self, grace: Duration) {
        self.allowed.send_if_modified(|allowed| {
            let is_less = allowed.is_none_or(|allowed| grace < rest_of(allowed));
            if is_less {
                *allowed = Some((Instant::now(), grace));
            }
            is_less
        });
    }

    /// What is left of it; `None` when nobody said how much there is.
    fn rest(&self) -> Option<Duration> {
        self.allowed.borrow().map(rest_of)
    }

    /// Does this as far as there is time; `None` if there is too little. It may change meanwhile.
    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut allowed = self.allowed.subscribe();
        let mut work = pin!(work);
        loop {
            let time = self.rest().unwrap_or_default().max(RESERVE);
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                () = sleep(time) => return None,
                // Its sender lives in `self`, so that this cannot fail.
                _ = allowed.changed() => {}
            }
        }
    }

    /// No mail comes after what has come.
    pub(super) fn farewell(&self) {
        self.farewell.cancel();
    }
}

fn rest_of((from, grace): (Instant, Duration)) -> Duration {
    grace.saturating_sub(from.elapsed())
}

impl Process {
    /// Says that this process takes nothing new, once: what is on its way comes, and then the farewell. Cancel safe.
    pub(crate) async fn say_leaving(&self) -> Result<(), MasterGone> {
        let say = || self.send(Frame::new(Kind::Leaving, 0, vec![]));
        self.shared.parting.said.get_or_try_init(say).await.copied()
    }

    /// Does this as far as there is time to leave, and in a part of what the master allows beyond that when there is none;
    /// `None` if that is too little.
    pub(crate) async fn in_time_to_leave<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.shared.parting.in_time(work).await
    }

    /// Takes leave: what was confirmed to others as queued for this process reaches its subscriptions, and the questions
    /// that it has are answered, as far as there is time. Says in the log what nobody took. Cancel safe.
    pub(crate) async fn take_leave(&self) {
        let in_time = self.in_time_to_leave(async {
            self.say_leaving().await?;
            self.shared.parting.farewell.cancelled().await;
            self.mail().finish().await;
            self.shared.sender.flush().await;
            Ok::<(), MasterGone>(())
        });
        // If the master is gone, so are we.
        if in_time.await.is_none() {
            let _ = timeout(LAST_WORDS, self.shared.sender.flush()).await;
        }
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

    #[tokio::test(start_paused = true)]
    async fn who_was_not_asked_to_leave_has_the_reserve() {
        let parting = Parting::default();
        assert_eq!(parting.in_time(sleep(RESERVE / 2)).await, Some(()));
        assert_eq!(parting.in_time(sleep(RESERVE * 2)).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_hears_of_less_time() {
        let parting = Parting::default();
        parting.allow(Duration::from_secs(30));
        let begun = Instant::now();
        let shorten = async {
            sleep(Duration::from_secs(5)).await;
            parting.allow(Duration::from_secs(2));
        };
        let (done, ()) = tokio::join!(parting.in_time(std::future::pending::<()>()), shorten);
        assert_eq!(done, None);
        // The clock stands still but for what is waited for.
        let took = begun.elapsed();
        assert!(Duration::from_secs(7) <= took && took < Duration::from_secs(8), "{took:?}");
    }
}
