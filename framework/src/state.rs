//! States as a process sees them: the latest version of each, decoded once and read without a lock.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::bus::CodecError;
use crate::bus::codec;

/// One version of a state.
#[derive(Debug)]
struct Version<T> {
    number: u64,
    value: T,
}

/// What [`Observed::get`] returns: one version, which stays as it is however long it is held.
pub struct Snapshot<T>(Arc<Version<T>>);

impl<T> Snapshot<T> {
    /// The version's number; it rises with every change, also across restarts of the agent.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.0.number
    }
}

impl<T> Clone for Snapshot<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Snapshot<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Snapshot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("version", &self.version()).field("value", &**self).finish()
    }
}

/// A state that follows the agent's: always the latest version that arrived here. Clones are cheap.
pub struct Observed<T> {
    cell: Arc<Cell<T>>,
    changes: watch::Receiver<u64>,
}

impl<T> Observed<T> {
    /// The latest version. Takes no lock and never waits.
    #[must_use]
    pub fn get(&self) -> Snapshot<T> {
        Snapshot(self.cell.current.load_full())
    }

    /// Waits for a version that this handle has not returned from here before, and returns the latest. A
    /// slow caller misses versions in between, never the last. Cancel safe.
    ///
    /// Waits for ever once the master is gone; the process ends then.
    pub async fn changed(&mut self) -> Snapshot<T> {
        if self.changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.changes.mark_unchanged();
        self.get()
    }
}

impl<T> Clone for Observed<T> {
    fn clone(&self) -> Self {
        Self { cell: Arc::clone(&self.cell), changes: self.changes.clone() }
    }
}

impl<T: fmt::Debug> fmt::Debug for Observed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observed").field(&self.get()).finish()
    }
}

struct Cell<T> {
    current: ArcSwap<Version<T>>,
}

/// A cell whose type only its observers know.
trait Feed: Any + Send + Sync {
    fn put(&self, topic: &str, number: u64, payload: &[u8]) -> Result<(), CodecError>;
}

impl<T: DeserializeOwned + Send + Sync + 'static> Feed for Cell<T> {
    fn put(&self, topic: &str, number: u64, payload: &[u8]) -> Result<(), CodecError> {
        let value = codec::decode(&describe(topic), payload)?;
        self.current.store(Arc::new(Version { number, value }));
        Ok(())
    }
}

/// What is known of one topic.
struct Entry {
    number: u64,
    payload: Bytes,
    feed: Option<Arc<dyn Feed>>,
    changes: watch::Sender<u64>,
}

/// All states of one process.
#[derive(Default)]
pub(crate) struct States {
    entries: Mutex<HashMap<String, Entry>>,
}

/// A state that cannot be observed.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// What travels under the topic's name is not of this type.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The topic is observed as another type already.
    #[error("the state `{0}` is observed as another type in this process")]
    OtherType(String),
}

impl States {
    /// A version arrived. A payload that does not fit the observers' type is an error and changes nothing
    /// for them.
    pub(crate) fn store(&self, topic: &str, number: u64, payload: Bytes) -> Result<(), CodecError> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(topic.to_owned()).or_insert_with(Entry::empty);
        if number <= entry.number {
            return Ok(());
        }
        if let Some(feed) = &entry.feed {
            feed.put(topic, number, &payload)?;
        }
        entry.number = number;
        entry.payload = payload;
        entry.changes.send_replace(number);
        Ok(())
    }

    /// The latest version of a topic as it travelled.
    pub(crate) fn latest(&self, topic: &str) -> Option<(u64, Bytes)> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// The observed state, or what to wait for.
    #[allow(clippy::type_complexity, reason = "the inner result is an either, not a failure")]
    fn try_observe<T>(&self, topic: &str) -> Result<Result<Observed<T>, watch::Receiver<u64>>, ObserveError>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(topic.to_owned()).or_insert_with(Entry::empty);
        let changes = entry.changes.subscribe();
        if entry.number == 0 {
            return Ok(Err(changes));
        }
        let cell = match &entry.feed {
            Some(feed) => {
                let feed: Arc<dyn Any + Send + Sync> = feed.clone();
                feed.downcast::<Cell<T>>().map_err(|_| ObserveError::OtherType(topic.to_owned()))?
            }
            None => {
                let value = codec::decode(&describe(topic), &entry.payload)?;
                let version = Version { number: entry.number, value };
                Arc::new(Cell { current: ArcSwap::from_pointee(version) })
            }
        };
        entry.feed = Some(cell.clone());
        Ok(Ok(Observed { cell, changes }))
    }
}

impl Entry {
    fn empty() -> Self {
        Self { number: 0, payload: Bytes::new(), feed: None, changes: watch::Sender::new(0) }
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_map().entries(entries.iter().map(|(topic, entry)| (topic, entry.number))).finish()
    }
}

fn describe(topic: &str) -> String {
    format!("the state `{topic}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(number: u32) -> Bytes {
        codec::encode("a number", &number).unwrap().into()
    }

    #[tokio::test]
    async fn observers_see_the_latest_version_and_hear_of_changes() {
        let states = Arc::new(States::default());
        let waiting = tokio::spawn({
            let states = Arc::clone(&states);
            async move { states.observe::<u32>("n").await.unwrap() }
        });
        tokio::task::yield_now().await;
        states.store("n", 1, payload(10)).unwrap();
        let mut observed = waiting.await.unwrap();
        assert_eq!((*observed.get(), observed.get().version()), (10, 1));
        let held = observed.get();
        states.store("n", 2, payload(20)).unwrap();
        states.store("n", 3, payload(30)).unwrap();
        assert_eq!((*observed.changed().await, *held), (30, 10));
    }

    #[tokio::test]
    async fn an_older_version_changes_nothing() {
        let states = States::default();
        states.store("n", 5, payload(50)).unwrap();
        states.store("n", 4, payload(40)).unwrap();
        assert_eq!(*states.observe::<u32>("n").await.unwrap().get(), 50);
        assert_eq!(states.latest("n").unwrap().0, 5);
        assert!(states.latest("other").is_none());
    }

    #[tokio::test]
    async fn a_payload_of_another_type_leaves_the_last_good_value() {
        let states = States::default();
        states.store("n", 1, payload(1)).unwrap();
        let observed = states.observe::<u32>("n").await.unwrap();
        let text = codec::encode("a text", &"x").unwrap();
        assert!(states.store("n", 2, text.into()).unwrap_err().to_string().contains("the state `n`"));
        assert_eq!((*observed.get(), observed.get().version()), (1, 1));
        assert!(matches!(states.observe::<String>("n").await, Err(ObserveError::OtherType(_))));
    }
}
