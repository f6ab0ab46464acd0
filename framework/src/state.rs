//! States as a process sees them: the latest version of each. `observed` is what authors hold of them, `interest` which
//! keyed ones somebody holds.

mod interest;
mod observed;

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use self::interest::{Hold, Interests};
use self::observed::{Cell, Feed, Trouble};
use crate::bus::payload::Payload;
use crate::bus::topic::{self, BadTopic};
use crate::bus::{CodecError, Topic};

pub use self::observed::{Observed, Snapshot};

/// What is known of one topic.
struct Entry {
    number: u64,
    payload: Payload,
    feed: Option<Arc<dyn Feed>>,
    changes: watch::Sender<u64>,
    /// Of a keyed state: who is interested.
    hold: Weak<Hold>,
    /// Why it cannot be observed.
    trouble: Option<Trouble>,
}

/// All states of one process.
#[derive(Default)]
pub(crate) struct States {
    entries: Mutex<HashMap<String, Entry>>,
    interests: Arc<Interests>,
}

/// What became of a version that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    /// This process runs it, or a newer one.
    Runs,
    /// Nobody observes this key any more.
    Unobserved,
}

/// A state that cannot be observed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObserveError {
    /// What travels under the topic's name is not of this type.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The topic is observed as another type already.
    #[error("the state `{0}` is observed as another type in this process")]
    OtherType(String),
    /// The name or the key cannot be used.
    #[error(transparent)]
    Topic(#[from] BadTopic),
    /// Who publishes the keyed state [refuses](crate::KeyFeed::refuse) this key, or the master does, because too many are
    /// observed.
    #[error("the state `{state}` cannot be observed: {reason}")]
    Refused {
        /// The state, with its key.
        state: String,
        /// Why.
        reason: String,
    },
}

impl States {
    /// A version arrived. A payload that does not fit the observers' type is an error and leaves them their value, and ends
    /// a refusal like any other.
    pub(crate) fn store(&self, topic: &str, number: u64, payload: Payload) -> Result<Stored, CodecError> {
        let mut entries = self.entries();
        if topic::split(topic).is_some() && !entries.get(topic).is_some_and(Entry::is_held) {
            return Ok(Stored::Unobserved);
        }
        let entry = entries.entry(topic.to_owned()).or_insert_with(Entry::empty);
        if number <= entry.number {
            return Ok(Stored::Runs);
        }
        let trouble = payload.refusal().map(Trouble::Refused);
        match (&entry.feed, &trouble) {
            (Some(feed), Some(refused)) => feed.trouble(refused),
            (Some(feed), None) => {
                feed.put(&describe(topic), number, &payload)
                    .inspect_err(|misfit| entry.note_misfit(misfit))?;
            }
            (None, _) => {}
        }
        entry.trouble = trouble;
        entry.number = number;
        entry.payload = payload;
        entry.changes.send_replace(number);
        Ok(Stored::Runs)
    }

    /// The latest version of a topic as it travelled.
    pub(crate) fn latest(&self, topic: &str) -> Option<(u64, Payload)> {
        let entries = self.entries();
        entries.get(topic).filter(|entry| entry.number > 0).map(|entry| (entry.number, entry.payload.clone()))
    }

    /// Observes a topic, waiting for its first version. Cancel safe.
    pub(crate) async fn observe<T>(&self, topic: &str) -> Result<Observed<T>, ObserveError>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        loop {
            let mut changes = match self.try_observe(topic)? {
                Ok(observed) => return Ok(observed),
                Err(changes) => changes,
            };
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Observes a key of a topic, waiting for its first version. Cancel safe.
    pub(crate) async fn observe_key<T: Topic>(&self, key: &str) -> Result<Observed<T>, ObserveError> {
        let topic = topic::keyed(T::NAME, key)?;
        let hold = self.hold(&topic);
        Ok(self.observe(&topic).await?.held_by(hold))
    }

    fn hold(&self, topic: &str) -> Arc<Hold> {
        let mut entries = self.entries();
        let entry = entries.entry(topic.to_owned()).or_insert_with(Entry::empty);
        if let Some(hold) = entry.hold.upgrade() {
            return hold;
        }
        let hold = Arc::new(Hold::new(topic, &self.interests));
        // What others held before was forgotten with them: its next version may be any.
        *entry = Entry { hold: Arc::downgrade(&hold), ..Entry::empty() };
        hold
    }

    /// The next topic whose observers came or went, and whether there are any now. One without is forgotten. Cancel
    /// safe. For one caller.
    pub(crate) async fn next_interest(&self) -> (String, bool) {
        let topic = self.interests.next().await;
        let mut entries = self.entries();
        let is_held = entries.get(&topic).is_some_and(Entry::is_held);
        if !is_held {
            entries.remove(&topic);
        }
        (topic, is_held)
    }

    /// The master does not let a key be observed.
    pub(crate) fn refuse(&self, topic: &str, reason: &str) {
        if let Some(entry) = self.entries().get_mut(topic) {
            entry.trouble = Some(Trouble::Refused(reason.to_owned()));
            entry.changes.send_replace(0);
        }
    }

    /// The observed state, or what to wait for.
    #[allow(clippy::type_complexity, reason = "the inner result is an either, not a failure")]
    fn try_observe<T>(&self, topic: &str) -> Result<Result<Observed<T>, watch::Receiver<u64>>, ObserveError>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let mut entries = self.entries();
        let entry = entries.entry(topic.to_owned()).or_insert_with(Entry::empty);
        let changes = entry.changes.subscribe();
        if let Some(trouble) = &entry.trouble {
            return Err(trouble.of(topic));
        }
        if entry.number == 0 {
            return Ok(Err(changes));
        }
        let cell = match &entry.feed {
            Some(feed) => {
                let feed: Arc<dyn Any + Send + Sync> = feed.clone();
                feed.downcast::<Cell<T>>().map_err(|_| ObserveError::OtherType(topic::display(topic)))?
            }
            None => Arc::new(Cell::new(entry.number, entry.payload.decode(&describe(topic))?)),
        };
        entry.feed = Some(cell.clone());
        Ok(Ok(Observed::new(cell, changes)))
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn empty() -> Self {
        Self {
            number: 0,
            payload: Payload::Bytes(Bytes::new()),
            feed: None,
            changes: watch::Sender::new(0),
            hold: Weak::new(),
            trouble: None,
        }
    }

    fn is_held(&self) -> bool {
        self.hold.strong_count() > 0
    }

    /// The observers could not read a version. Those of a key that was refused have to hear that this is over; others have
    /// their value, and so has who comes later.
    fn note_misfit(&mut self, misfit: &CodecError) {
        if self.trouble.is_some() {
            self.trouble = Some(Trouble::Unfit(misfit.clone()));
            self.changes.send_replace(self.number);
        }
    }
}

impl Trouble {
    /// As who wants to observe the state is told of it.
    fn of(&self, topic: &str) -> ObserveError {
        match self.clone() {
            Self::Refused(reason) => ObserveError::Refused { state: topic::display(topic), reason },
            Self::Unfit(misfit) => misfit.into(),
        }
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.entries().iter().map(|(topic, entry)| (topic, entry.number))).finish()
    }
}

fn describe(topic: &str) -> String {
    format!("the state `{}`", topic::display(topic))
}

#[cfg(test)]
mod tests;
