//! The states of a process: observing them, and taking what the master sends of them.

use std::pin::pin;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{Claims, Process};
use crate::bus::frame::{Frame, Kind};
use crate::bus::payload::Payload;
use crate::bus::{CodecError, Topic, topic};
use crate::error::BoxError;
use crate::gathered::Gathered;
use crate::state::{ObserveError, Observed, Stored};
use crate::wanted::Wanted;

/// How long a process without free descriptors waits until it asks for a state again.
const AGAIN: Duration = Duration::from_secs(1);

/// How long a state is waited for without a word.
const SILENT: Duration = Duration::from_secs(10);

/// Waits for something, and has it noticed, once, that this takes long. Cancel safe if that is.
async fn noticing_delay<O>(waiting: impl Future<Output = O>, notice: impl FnOnce()) -> O {
    let mut waiting = pin!(waiting);
    if let Ok(output) = tokio::time::timeout(SILENT, &mut waiting).await {
        return output;
    }
    notice();
    waiting.await
}

impl Process {
    pub(crate) async fn observe<T>(&self, topic: &str) -> Result<Observed<T>, ObserveError>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let warn = || {
            tracing::warn!(
                "`observe` of the state `{topic}` waits: nobody has published it, and a keyed state has `observe_key`"
            );
        };
        noticing_delay(self.shared.states.observe(topic), warn).await
    }

    pub(crate) async fn observe_key<T: Topic>(&self, key: &str) -> Result<Observed<T>, ObserveError> {
        let warn = || {
            let name = T::NAME;
            tracing::warn!(
                "`observe_key` of `{name}[{key}]` waits: nobody publishes `{name}` by key, or this key has no value yet"
            );
        };
        noticing_delay(self.shared.states.observe_key(key), warn).await
    }

    /// The keys that this agent is asked for.
    pub(crate) fn wanted(&self) -> &Wanted {
        &self.shared.wanted
    }

    /// The names of the states that this process publishes.
    pub(crate) fn claims(&self) -> &Claims {
        &self.shared.claims
    }

    /// What the workers have contributed.
    pub(crate) fn gather<T: Topic>(&self) -> Result<Gathered<T>, ObserveError> {
        self.shared.contributions.gather()
    }

    /// See [`Contributions::book`].
    pub(crate) fn book_contribution(
        &self,
        topic: &'static str,
        bytes: usize,
        limit: usize,
    ) -> Result<(), usize> {
        self.shared.contributions.book(topic, bytes, limit)
    }

    pub(crate) fn latest_state(&self, topic: &str) -> Option<(u64, Payload)> {
        self.shared.states.latest(topic)
    }

    /// Takes a version into this process's own view.
    pub(crate) fn store(&self, topic: &str, version: u64, payload: Payload) -> Result<Stored, CodecError> {
        self.shared.states.store(topic, version, payload)
    }

    /// Tells the master which keys are observed here, whenever that changes.
    pub(super) async fn tell_interests(self) {
        loop {
            let (topic, is_observed) = self.shared.states.next_interest().await;
            let kind = if is_observed { Kind::Observe } else { Kind::Unobserve };
            if self.send(Frame::about(kind, &topic, 0, &[])).await.is_err() {
                return;
            }
        }
    }

    /// Takes what concerns states; the rest is not for a child.
    pub(super) async fn take_of_states(&self, frame: &Frame) -> Result<(), BoxError> {
        match frame.kind() {
            Kind::State => self.take_state(frame).await?,
            Kind::Unobserve => {
                self.shared.states.refuse(frame.topic(), &String::from_utf8_lossy(frame.payload()));
            }
            Kind::Wanted => self.shared.wanted.add(frame.topic()),
            Kind::Unwanted => self.shared.wanted.remove(frame.topic()),
            Kind::Contribution => self.shared.contributions.take(frame)?,
            Kind::Withdrawn => self.shared.contributions.withdraw(frame),
            kind => return Err(format!("frames of the kind {kind:?} are not for a child").into()),
        }
        Ok(())
    }

    /// The memory of a version found no place here, for want of descriptors. The version before it stays, and the
    /// newest is asked for again in a moment.
    fn ask_again(&self, frame: &Frame) {
        let (topic, version) = (frame.topic().to_owned(), frame.number());
        let name = topic::display(&topic);
        tracing::warn!(
            "version {version} of the state `{name}` found no place here, for the limit of open files is reached: \
             raise that limit; the state is asked for again in {AGAIN:?}"
        );
        let process = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(AGAIN).await;
            let why_not = "no descriptor was free";
            let ack = Frame::about(Kind::Ack, &topic, version, why_not.as_bytes()).about_loss();
            // A master that is gone needs no answer.
            let _ = process.send(ack).await;
        });
    }

    /// Takes a version of a state, and tells the master whether this process runs it.
    async fn take_state(&self, frame: &Frame) -> Result<(), BoxError> {
        if frame.lost_descriptors() {
            self.ask_again(frame);
            return Ok(());
        }
        let (topic, version) = (frame.topic(), frame.number());
        let stored = Payload::of_frame(frame)
            .map_err(BoxError::from)
            .and_then(|payload| Ok(self.store(topic, version, payload)?));
        let why_not = match &stored {
            Ok(Stored::Runs) => String::new(),
            Ok(Stored::Unobserved) => "nobody observes it here".to_owned(),
            Err(problem) => problem.to_string(),
        };
        if let Err(problem) = &stored {
            let stays = self.latest_state(topic).map(|(number, _)| number);
            tracing::error!("{}", untaken(topic, version, stays, problem));
        }
        self.send(Frame::about(Kind::Ack, topic, version, why_not.as_bytes())).await?;
        Ok(())
    }
}

/// What the log says of a version that this process does not take.
fn untaken(topic: &str, version: u64, stays: Option<u64>, problem: &BoxError) -> String {
    let name = topic::display(topic);
    let rest =
        stays.map_or_else(|| "there is none before it".to_owned(), |old| format!("version {old} stays"));
    format!("version {version} of the state `{name}` is not taken here, and {rest}: {problem}")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_version_that_is_not_taken_is_told_with_the_one_that_stays() {
        let problem = "there is a string, which does not fit".into();
        for (topic, stays, told) in [
            (
                "flags",
                Some(7),
                "version 8 of the state `flags` is not taken here, and version 7 stays: there is",
            ),
            (
                "flags",
                None,
                "version 8 of the state `flags` is not taken here, and there is none before it: ",
            ),
            ("price\0tea", Some(7), "version 8 of the state `price[tea]` is not taken here"),
        ] {
            let words = untaken(topic, 8, stays, &problem);
            assert!(words.starts_with(told), "{words}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_is_noticed_once_and_only_when_it_is_long() {
        for (seconds, expected) in [(9, 0), (11, 1), (3600, 1)] {
            let noticed = Cell::new(0);
            let wait = async {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                seconds
            };
            assert_eq!(noticing_delay(wait, || noticed.set(noticed.get() + 1)).await, seconds);
            assert_eq!(noticed.get(), expected, "{seconds} s");
        }
    }
}
